package WorkerClient;

# Speaks the workers' protocol with sandboxd (docs/protocol.md, section 1), and
# starts a sandboxd to speak with.  Core modules only.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use Exporter qw(import);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Time::HiRes qw(sleep time);

use Harness;

our @EXPORT = qw(daemon_start daemon_kill daemon_stop worker random_hex);

# The texts of frames that named a directory of the host, which none may.
our @leaks;

my $JSON = JSON::PP->new->utf8->canonical;


sub random_hex {
    my ($bytes) = @_;

    return join '', map { sprintf '%02x', int rand 256 } 1 .. $bytes;
}


# daemon_start(dir => DIR, args => [...], env => {...}) starts sandboxd with
# its state in DIR and waits for its socket; a second call with what the first
# one returned starts it again.
sub daemon_start {
    my (%o) = @_;
    my $d = { %o };

    $d->{run} = "$d->{dir}/run";
    $d->{secret_file} = "$d->{dir}/secret";
    $d->{sock} = "$d->{run}/control.sock";
    $d->{log} = "$d->{dir}/sandboxd.log";
    unlink $d->{sock};

    $d->{pid} = start_process(
        cmd => [build_dir() . '/sandboxd', '--state-dir', "$d->{dir}/state",
                '--run-dir', $d->{run}, '--secret-file', $d->{secret_file},
                '--agent', build_dir() . '/sandbox-agent', '--dev',
                '--log-level', 'debug', @{ $d->{args} || [] }],
        log => $d->{log}, env => $d->{env} || {});

    wait_for(sub {
        !process_alive($d->{pid})
            || IO::Socket::UNIX->new(Peer => $d->{sock}, Type => SOCK_STREAM)
    }, 30, 0.005);

    process_alive($d->{pid})
        or die "sandboxd did not start:\n" . (slurp($d->{log}) // '');

    $d->{secret} = slurp($d->{secret_file});
    chomp $d->{secret};

    return $d;
}


# As if by accident; the sandboxes live on.
sub daemon_kill {
    my ($d) = @_;

    return stop_process(delete $d->{pid}, 'KILL');
}


# In order; the wait status.
sub daemon_stop {
    my ($d, $signal) = @_;

    return stop_process(delete $d->{pid}, $signal || 'TERM', 40);
}


# worker($d, zone => HEX, seq => N, ack => 0): connected and past its hello, or
# undef.  Events are acknowledged as they are read, unless ack is 0.
sub worker {
    my ($d, %o) = @_;
    my $s = IO::Socket::UNIX->new(Peer => $d->{sock}, Type => SOCK_STREAM)
        or return undef;
    my $w = bless {
        socket => $s, in => '', next => 2, ack => $o{ack} // 1,
        zone => $o{zone} // random_hex(16), events => [], answers => {},
        seq => $o{seq} // 0, dir => $d->{dir} // "\0",
    }, 'WorkerClient';

    $w->{challenge} = $w->frame(5) or return undef;
    return $w if $o{raw};

    my $nonce = random_hex(32);

    $w->send({ id => 1, op => 'hello', version => 1, nonce => $nonce,
        pid => $$, zone => $w->{zone}, seq => $w->{seq},
        incarnation => $o{incarnation} // '',
        proof => hmac_sha256_hex("worker:$w->{challenge}{nonce}:$nonce:"
            . $w->{zone}, $o{secret} // $d->{secret}), %{ $o{hello} || {} } });

    my $answer = $w->frame(5) or return undef;

    return undef unless $answer->{ok} && $answer->{result}{proof}
        eq hmac_sha256_hex("sandboxd:$nonce:$w->{challenge}{nonce}",
            $d->{secret});

    $w->{hello} = $answer->{result};

    return $w;
}


sub send_bytes {
    my ($w, $bytes) = @_;

    return http_send($w->{socket}, $bytes, 20);
}


sub send {
    my ($w, $object) = @_;
    my $text = $JSON->encode($object);

    return $w->send_bytes(pack('N', length $text) . $text);
}


# The next frame, or undef after so many seconds or at the end (then `eof`).
sub frame {
    my $text = frame_text(@_);

    return defined $text ? $JSON->decode($text) : undef;
}


# Its text.
sub frame_text {
    my ($w, $seconds) = @_;
    my $end = time() + ($seconds // 10);
    my $sel = IO::Select->new($w->{socket});

    while (1) {
        if (length $w->{in} >= 4) {
            my $len = unpack 'N', $w->{in};

            if (length $w->{in} >= 4 + $len) {
                my $text = substr $w->{in}, 4, $len;

                substr($w->{in}, 0, 4 + $len) = '';
                push @leaks, $text if index($text, $w->{dir}) >= 0;
                return $text;
            }
        }

        my $left = $end - time();

        return undef if $left < 0 || $w->{eof};
        next unless $sel->can_read($left);
        $w->{eof} = 1
            unless sysread $w->{socket}, $w->{in}, 262144, length $w->{in};
    }
}


# Takes in one frame: an event goes into `events`, an answer into `answers`.
sub step {
    my ($w, $seconds) = @_;
    my $f = $w->frame($seconds) or return 0;

    if ($f->{event}) {
        push @{ $w->{events} }, $f;
        $w->{seq} = $f->{record}{seq};
        $w->send({ op => 'ack', seq => $f->{record}{seq} })
            if $f->{ack} && $w->{ack};

    } else {
        $w->{answers}{ $f->{id} } = $f;
    }

    return $f;
}


# Sends a request, without waiting for its answer; its id.
sub ask {
    my ($w, $op, %members) = @_;
    my $id = $w->{next}++;

    return undef unless $w->send({ id => $id, op => $op, %members });

    return $id;
}


# The answer of a request that was asked; undef if none comes in time.
sub answer {
    my ($w, $id, $seconds) = @_;
    my $end = time() + ($seconds // 30);

    until ($w->{answers}{$id}) {
        my $left = $end - time();

        return undef if $left < 0 || $w->{eof};
        $w->step($left);
    }

    return delete $w->{answers}{$id};
}


# Asks and waits; the result, or the error (with `code`) of a failure.
sub call {
    my ($w, $op, %members) = @_;
    my $a = $w->answer($w->ask($op, %members), delete $members{timeout})
        or return { code => 'no answer' };

    return $a->{ok} ? $a->{result} : $a->{error};
}


# Everything that comes within so many seconds.
sub drain {
    my ($w, $seconds) = @_;
    my $end = time() + $seconds;

    while ((my $left = $end - time()) > 0) {
        last if $w->{eof};
        $w->step($left);
    }
}


# All records, page by page, as a hash by kind and name.
sub sync_all {
    my ($w, %o) = @_;
    my $from = $o{from} // 0;
    my %all;

    while (1) {
        my $page = $w->call('sync', from => $from,
            full => exists $o{from} ? JSON::PP::false : JSON::PP::true);

        return $page if $page->{code};
        $all{ ($_->{kind} eq 'sandbox' ? "s $_->{id}" : "e $_->{label}") }
            = $_ for @{ $page->{records} };
        return \%all unless defined $page->{next};
        $from = $page->{next};
    }
}


sub close {
    my ($w) = @_;

    CORE::close $w->{socket};
}

1;
