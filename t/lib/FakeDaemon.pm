package FakeDaemon;

# A sandboxd at the edge, for tests of the module alone: speaks
# docs/protocol.md, section 1, over <dir>/control.sock, from records that the
# test gives it, with faults on demand.  It runs in a process of its own that
# takes commands (JSON lines) over a pair of sockets.
#
#   my $d = FakeDaemon->start(dir => $dir);
#   $d->sandbox(slot => 1, id => 'demo', state => 'running', key => $hex);
#   $d->expose(slot => 1, label => '8000-demo', port => 8000);
#   $d->gone(kind => 'exposure', slot => 1, label => '8000-demo');
#   $d->fault(start_delay => 1, start_error => {...}, ...);
#   $d->stats       { calls => {op => n}, seq, acks, caught_up, hellos,
#                     connections }
#   $d->stop; $d->serve;    # the state stays
#
# Faults: start_delay, resolve_delay (seconds), start_error, resolve_error
# (error objects), start_port_error (by the port that asks), silent (op => 1), bad_proof, bad_frame, drop (connections
# now), resync (answers it once), page (records a page), dribble (bytes one by
# one), sync_delay.  start_run => {slot, epoch, key} says what a start makes of
# a sandbox.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use Harness;
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Socket;
use Time::HiRes qw(sleep time);


sub start {
    my ($class, %o) = @_;
    my $self = bless { fault => {}, sandboxes => {}, exposures => {},
                       tombs => [], seq => 0, calls => {}, acks => [],
                       caught_up => [], hellos => [], page => 500, %o }, $class;

    $self->{secret} //= 's' x 40;
    $self->{incarnation} //= unpack 'H*', join '', map { chr int rand 256 }
        1 .. 16;
    spew("$self->{dir}/secret", "$self->{secret}\n", 0600);

    return $self->serve;
}


# Begins to serve; again after stop().
sub serve {
    my ($self) = @_;

    socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or die "socketpair: $!";

    my $path = "$self->{dir}/control.sock";

    unlink $path;

    my $l = IO::Socket::UNIX->new(Local => $path, Listen => 128,
        Type => SOCK_STREAM) or die "$path: $!";
    chmod 0666, $path;

    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        close $ours;
        eval { $self->loop($l, $theirs) };
        print STDERR "# fake sandboxd: $@" if $@;
        POSIX::_exit(0);
    }

    close $theirs;
    $self->{pid} = $pid;
    $self->{control} = $ours;
    $self->{buffer} = '';

    return $self;
}


# Takes the state back, so that serve() goes on from it.
sub stop {
    my ($self) = @_;
    my $pid = $self->{pid} or return;
    my $state = $self->command({ do => 'state' });

    $self->kill_now;
    $self->{$_} = $state->{$_} for keys %{ $state || {} };
}


sub kill_now {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    kill 'KILL', $pid;
    waitpid $pid, 0;
    close delete $self->{control};
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $!);

    $self->kill_now if $self->{pid};
}


sub command {
    my ($self, $command) = @_;
    my $c = $self->{control};

    syswrite $c, json_encode($command) . "\n";
    while (index($self->{buffer}, "\n") < 0) {
        sysread($c, $self->{buffer}, 65536, length $self->{buffer})
            or return undef;
    }
    $self->{buffer} =~ s/^([^\n]*)\n//;

    return json_decode($1);
}


sub sandbox {
    my ($self, %o) = @_;

    return $self->command({ do => 'record', record => {
        kind => 'sandbox', state => 'running', epoch => 1,
        key => $o{key} // '', %o } });
}


sub expose {
    my ($self, %o) = @_;

    return $self->command({ do => 'record', record => {
        kind => 'exposure', access => 'token', host => 'local', gen => 1,
        %o } });
}


sub gone {
    my ($self, %o) = @_;
    my $quiet = delete $o{quiet};

    return $self->command({ do => 'record', quiet => $quiet,
        record => { %o, gone => JSON::PP::true() } });
}


# An event just as it is, without a change of what the daemon knows; with the
# next sequence number, if it has none.
sub event { return $_[0]->command({ do => 'event', record => $_[1] }) }

sub fault {
    my ($self, %o) = @_;

    return $self->command({ do => 'fault', fault => \%o });
}

sub stats { return $_[0]->command({ do => 'stats' }) }

sub fill {
    my ($self, %o) = @_;

    return $self->command({ do => 'fill', %o });
}


# ---- the process ----------------------------------------------------------

sub loop {
    my ($self, $l, $control) = @_;
    my $sel = IO::Select->new($l, $control);
    my (%peer, @later, $cbuf);

    local $SIG{PIPE} = 'IGNORE';
    local $SIG{TERM} = 'DEFAULT';

    $self->{log} = [sort { $a->{seq} <=> $b->{seq} } map { @$_ }
        [values %{ $self->{sandboxes} }], [values %{ $self->{exposures} }],
        $self->{tombs}];
    $self->{peers} = \%peer;
    $self->{later} = \@later;
    $cbuf = '';

    while (1) {
        @later = sort { $a->[0] <=> $b->[0] } @later;
        my $wait = @later ? $later[0][0] - time() : 1;
        $wait = 0 if $wait < 0;

        for my $fh ($sel->can_read($wait)) {
            if ($fh == $l) {
                my $c = $l->accept or next;
                my $p = { fh => $c, in => '', n => ++$self->{accepted},
                          state => 'hello',
                          nonce => join('', map { sprintf '%02x',
                              int rand 256 } 1 .. 32) };

                $peer{$c} = $p;
                $sel->add($c);
                $self->put($p, { op => 'challenge', version => 1,
                                 nonce => $p->{nonce} });
                next;
            }

            if ($fh == $control) {
                sysread($control, $cbuf, 65536, length $cbuf) or return;
                while ($cbuf =~ s/^([^\n]*)\n//) {
                    my $answer = $self->obey(json_decode($1));

                    for my $p (values %peer) {
                        next unless $p->{dead};
                        $sel->remove($p->{fh});
                        close $p->{fh};
                        delete $peer{$p->{fh}};
                    }
                    syswrite $control, json_encode($answer) . "\n";
                }
                next;
            }

            my $p = $peer{$fh} or next;
            my $n = sysread $fh, $p->{in}, 262144, length $p->{in};

            while ($n && length $p->{in} >= 4) {
                my $len = unpack 'N', $p->{in};

                last if length $p->{in} < 4 + $len;
                my $frame = json_decode(substr $p->{in}, 4, $len);
                substr($p->{in}, 0, 4 + $len) = '';
                $self->frame($p, $frame);
            }

            if (!$n || $p->{dead}) {
                $sel->remove($fh);
                delete $peer{$fh};
                close $fh;
            }
        }

        while (@later && $later[0][0] <= time()) {
            (shift @later)->[1]->();
        }
    }
}


sub put {
    my ($self, $p, $frame) = @_;
    my $text = json_encode($frame);
    my $data = pack('N', length $text) . $text;

    if ($self->{fault}{bad_frame}) {
        delete $self->{fault}{bad_frame};
        $data = pack('N', 4) . '{"a:';
    }

    if ($self->{fault}{dribble}) {
        for (split //, $data) { syswrite $p->{fh}, $_; sleep 0.0002 }
        return;
    }

    while (length $data) {
        my $n = syswrite $p->{fh}, $data;
        if (!defined $n) { $p->{dead} = 1; return }
        substr($data, 0, $n) = '';
    }
}


sub answer {
    my ($self, $p, $id, $result, $error) = @_;

    return if $p->{dead} || !$self->{peers}{$p->{fh}};
    $self->put($p, $error ? { id => $id, ok => JSON::PP::false(),
                              error => $error }
                          : { id => $id, ok => JSON::PP::true(),
                              result => $result });
}


sub after {
    my ($self, $seconds, $code) = @_;

    return $code->() unless $seconds;
    push @{ $self->{later} }, [time() + $seconds, $code];
}


sub change {
    my ($self, $record) = @_;
    my ($kind, $gone) = @$record{qw(kind gone)};

    $record->{seq} = ++$self->{seq};
    $record->{$_} += 0 for grep { exists $record->{$_} }
        qw(slot epoch port seq gen);

    if ($kind eq 'sandbox') {
        if ($gone) { delete $self->{sandboxes}{$record->{slot}} }
        else { $self->{sandboxes}{$record->{slot}} = $record }
    } else {
        if ($gone) { delete $self->{exposures}{$record->{label}} }
        else { $self->{exposures}{$record->{label}} = $record }
    }
    push @{ $self->{tombs} }, $record if $gone;
    push @{ $self->{log} }, $record;

    return $record;
}


sub tell {
    my ($self, $record, $ack) = @_;

    for my $p (values %{ $self->{peers} }) {
        next unless $p->{state} eq 'ready';
        $self->put($p, { event => 'change', record => $record,
                         ack => $ack ? JSON::PP::true()
                                     : JSON::PP::false() });
    }
}


sub obey {
    my ($self, $c) = @_;
    my $do = $c->{do};

    if ($do eq 'record') {
        my $record = $self->change($c->{record});

        $self->tell($record, $record->{gone}) unless $c->{quiet};
        return { seq => $record->{seq} };
    }

    if ($do eq 'event') {
        $c->{record}{seq} //= ++$self->{seq}
            if ref $c->{record} eq 'HASH' && $c->{record}{kind};
        $self->tell($c->{record}, 0);
        return {};
    }

    if ($do eq 'fault') {
        $self->{fault} = { %{ $self->{fault} }, %{ $c->{fault} } };
        if (delete $self->{fault}{drop}) {
            $_->{dead} = 1 for values %{ $self->{peers} };
        }
        return {};
    }

    # Many changes of one sandbox at once.
    if ($do eq 'burst') {
        for my $i (1 .. $c->{count}) {
            $self->tell($self->change({ kind => 'sandbox', slot => $c->{slot},
                id => $c->{id}, state => 'asleep', epoch => $i, key => '',
                at => 0, reason => 'x' x 200 }), 0);
        }
        return { seq => $self->{seq} };
    }

    if ($do eq 'fill') {
        for my $i ($c->{from} .. $c->{to}) {
            $self->change({ kind => 'sandbox', slot => $i, id => "s$i",
                state => $c->{state} // 'asleep', epoch => 1,
                key => $c->{key} // '' });
            for my $port (8000 .. 7999 + ($c->{ports} // 1)) {
                $self->change({ kind => 'exposure', slot => $i, port => $port,
                    label => "$port-s$i-tok", access => 'token',
                    host => 'local' });
            }
        }
        return { seq => $self->{seq} };
    }

    if ($do eq 'state') {
        return { map { $_ => $self->{$_} }
            qw(sandboxes exposures tombs seq calls acks caught_up hellos) };
    }

    return { calls => $self->{calls}, seq => $self->{seq},
             acks => $self->{acks},
             caught_up => $self->{caught_up}, hellos => $self->{hellos},
             connections => scalar grep { $_->{state} eq 'ready' }
                 values %{ $self->{peers} } };
}


sub frame {
    my ($self, $p, $f) = @_;
    my $op = $f->{op} // '';
    my $fault = $self->{fault};

    if ($p->{state} eq 'hello') {
        my $proof = hmac_sha256_hex(
            "worker:$p->{nonce}:$f->{nonce}:$f->{zone}", $self->{secret});

        if ($op ne 'hello' || $f->{proof} ne $proof) {
            $self->{calls}{bad_hello}++;
            $p->{dead} = 1;
            return;
        }
        push @{ $self->{hellos} }, $f;
        $p->{state} = 'ready';
        my $ours = hmac_sha256_hex("sandboxd:$f->{nonce}:$p->{nonce}",
            $fault->{bad_proof} ? 'x' x 40 : $self->{secret});

        return $self->answer($p, $f->{id}, { seq => $self->{seq} + 0,
            incarnation => $self->{incarnation}, proof => $ours });
    }

    $self->{calls}{$op}++;
    return if $fault->{silent} && $fault->{silent}{$op};

    if ($op eq 'ack') {
        push @{ $self->{$f->{all} ? 'caught_up' : 'acks'} }, $f->{seq};
        return;
    }

    my $method = $self->can("op_$op")
        or return $self->answer($p, $f->{id}, undef,
            { code => 'unknown_op', status => 400, message => "no $op" });

    return $self->$method($p, $f);
}


# Every tenant has a prefix that follows from its name.
sub op_tenant {
    my ($self, $p, $f) = @_;
    my @letters = ('a' .. 'z', 2 .. 7);
    my $sum = 7;

    $sum = ($sum * 33 + ord) % 2**25 for split //, $f->{name};

    return $self->answer($p, $f->{id}, { prefix => 't' . join('',
        map { $letters[($sum >> 5 * $_) & 31] } 0 .. 4) });
}


sub holds {
    my ($self, $record) = @_;
    my $now = $record->{kind} eq 'sandbox'
        ? $self->{sandboxes}{$record->{slot}}
        : $self->{exposures}{$record->{label}};

    return $now && $now->{seq} == $record->{seq};
}


sub op_sync {
    my ($self, $p, $f) = @_;

    if (!$f->{full} && $self->{fault}{resync}) {
        delete $self->{fault}{resync};
        return $self->answer($p, $f->{id}, undef, { code => 'resync',
            status => 409, message => 'tombstones are gone' });
    }

    # From the first change that is newer, in their order, what still holds.
    my $log = $self->{log};
    my ($low, $high) = (0, scalar @$log);

    while ($low < $high) {
        my $middle = int(($low + $high) / 2);

        if ($log->[$middle]{seq} <= $f->{from}) { $low = $middle + 1 }
        else { $high = $middle }
    }

    my $page = $self->{fault}{page} || $self->{page};
    my (@all, $next);

    for (; $low < @$log; $low++) {
        my $record = $log->[$low];

        next unless $record->{gone} ? !$f->{full} : $self->holds($record);
        if (@all == $page) { $next = $all[-1]{seq}; last }
        push @all, $record;
    }

    my %r = (records => \@all, next => $next, seq => $self->{seq});

    return $self->after($self->{fault}{sync_delay},
        sub { $self->answer($p, $f->{id}, \%r) });
}


sub op_resolve {
    my ($self, $p, $f) = @_;

    return $self->after($self->{fault}{resolve_delay}, sub {
        my ($e, $s);

        return $self->answer($p, $f->{id}, undef,
            $self->{fault}{resolve_error}) if $self->{fault}{resolve_error};

        if (defined $f->{label}) {
            $e = $self->{exposures}{$f->{label}};
            $s = $e && $self->{sandboxes}{$e->{slot}};
        } else {
            ($s) = grep { $_->{id} eq $f->{sandbox} }
                values %{ $self->{sandboxes} };
        }

        return $s ? $self->answer($p, $f->{id},
                        { records => [grep { $_ } $e, $s] })
                  : $self->answer($p, $f->{id}, undef,
                        { code => 'not_found', status => 404,
                          message => 'No such name' });
    });
}


sub op_start {
    my ($self, $p, $f) = @_;

    return $self->after($self->{fault}{start_delay}, sub {
        my ($s) = grep { $_->{id} eq $f->{sandbox} }
            values %{ $self->{sandboxes} };

        return $self->answer($p, $f->{id}, undef,
            $self->{fault}{start_error}) if $self->{fault}{start_error};

        my $refused = $self->{fault}{start_port_error}{$f->{port} // 0};

        $self->{calls}{start_create}++ if $f->{create};
        $self->{calls}{start_wake_off}++ if defined $f->{wake} && !$f->{wake};

        return $self->answer($p, $f->{id}, undef, $refused) if $refused;

        if (!$s && $f->{create}) {
            $s = { kind => 'sandbox', slot => $self->{next_slot}++ || 900,
                   id => $f->{sandbox}, state => 'created', epoch => 0 };
        }

        return $self->answer($p, $f->{id}, undef, { code => 'not_found',
            status => 404, message => 'No such sandbox' }) unless $s;

        my $run = ($self->{fault}{start_run} || {})->{$s->{slot}};

        if ($run || $s->{state} ne 'running') {
            $s = $self->change({ %$s, state => 'running',
                epoch => $s->{epoch} + 1, %{ $run || {} } });
            $self->tell($s, 0);
            delete $self->{fault}{start_run}{$s->{slot}} if $run;
        }

        $self->answer($p, $f->{id}, { records => [$s] });
    });
}


sub op_metrics {
    my ($self, $p, $f) = @_;

    return $self->answer($p, $f->{id}, { starts => { ok => 7, failed => 2,
        queued => 1, starting => 3, bounds => [100, 1000],
        counts => [4, 2, 1], sum => 2500 }, oomKills => 12,
        disk => { promised => 7 << 40, budget => undef },
        memory => { promised => 5 << 30, budget => 6 << 30 } });
}


sub op_get {
    my ($self, $p, $f) = @_;
    my ($s) = grep { $_->{id} eq $f->{sandbox} }
        values %{ $self->{sandboxes} };

    return $s ? $self->answer($p, $f->{id},
                    { sandbox => { id => $s->{id}, state => $s->{state} } })
              : $self->answer($p, $f->{id}, undef, { code => 'not_found',
                    status => 404, message => 'No such sandbox' });
}


sub op_ports {
    my ($self, $p, $f) = @_;
    my ($s) = grep { $_->{id} eq $f->{sandbox} }
        values %{ $self->{sandboxes} };

    return $self->answer($p, $f->{id}, undef, { code => 'not_found',
        status => 404, message => 'No such sandbox' }) unless $s;

    return $self->answer($p, $f->{id}, { exposures =>
        [grep { $_->{slot} == $s->{slot} }
         values %{ $self->{exposures} }] });
}


sub op_list {
    my ($self, $p, $f) = @_;

    return $self->answer($p, $f->{id}, { cursor => undef, sandboxes =>
        [map { { id => $_->{id}, state => $_->{state} } }
         values %{ $self->{sandboxes} }] });
}


# It remembers nothing.
sub op_events {
    my ($self, $p, $f) = @_;
    my $lost = defined $f->{since} && $f->{since} != $self->{seq};

    return $self->answer($p, $f->{id}, { events => [], seq => $self->{seq} + 0,
        more => JSON::PP::false(),
        lost => $lost ? JSON::PP::true() : JSON::PP::false() });
}


sub op_health {
    my ($self, $p, $f) = @_;

    return $self->answer($p, $f->{id}, { errors => $self->{fault}{ill} || [] });
}

1;
