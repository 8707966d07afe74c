package AgentClient;

# Starts the agent by itself on a Unix socket in a temporary directory and
# talks to it: HTTP after a CONTROL line, raw bytes after any other.

use strict;
use warnings;

use Harness;
use IO::Select;
use Time::HiRes qw(sleep time);

my $SEQ = 0;


# AgentClient->start(env => {...}, args => [...], before => [...]) dies if the
# agent doesn't answer within 10 s.  args go behind the agent's own, before is
# a command that execs what follows it.
sub start {
    my ($class, %o) = @_;
    my $dir = $o{dir} || tmp_dir();
    my $key = sprintf '%016x%016x', $$, time() * 1000 + $SEQ++;
    my $self = bless { dir => $dir, key => $key, socket => "$dir/agent",
                       log => "$dir/agent.log" }, $class;

    spew("$dir/key", "$key\n");
    $self->{pid} = start_process(
        cmd => [@{ $o{before} || [] }, build_dir() . '/sandbox-agent',
                '--listen', $self->{socket}, '--key-file', "$dir/key",
                @{ $o{args} || [] }],
        log => $self->{log}, name => 'sandbox-agent',
        env => { ASAN_OPTIONS => 'detect_leaks=0',
                 UBSAN_OPTIONS => 'halt_on_error=1', %{ $o{env} || {} } });

    wait_for(sub { -S $self->{socket} && $self->get('/api/ping')->{status}
                   == 200 }, 10)
        or die "the agent doesn't answer: " . (slurp($self->{log}) // '');

    return $self;
}


sub pid { return $_[0]{pid} }
sub log_text { return slurp($_[0]{log}) // '' }


# A connection with its first line sent (CONTROL if none is given).
sub connect {
    my ($self, $line) = @_;
    my $s = http_connect(unix => $self->{socket}) or return;

    http_send($s, $line // "CONTROL $self->{key}\n");

    return $s;
}


# $agent->request('POST', '/api/x', json => {...}, headers => {...},
# body => ..., timeout => SECONDS, on_data => sub); what Harness::http returns.
sub request {
    my ($self, $method, $path, %o) = @_;

    return http(unix => $self->{socket}, preface => "CONTROL $self->{key}\n",
                method => $method, path => $path, %o);
}


sub get { my ($self, $path, %o) = @_; return $self->request('GET', $path, %o) }
sub post {
    my ($self, $path, $json, %o) = @_;
    return $self->request('POST', $path, json => $json, %o);
}


# The JSON answer of a command.
sub execute {
    my ($self, $command, %o) = @_;
    my $timeout = delete $o{wait};

    return $self->post('/api/execute', { command => $command, %o },
                       timeout => $timeout // 30)->{json};
}


# The events of an SSE body: [{ event => ..., data => text }...].
sub events {
    my ($class, $body) = @_;
    my @events;

    for my $block (split /\n\n/, $body) {
        my %e;
        for (split /\n/, $block) {
            next if /^:/;
            my ($n, $v) = /^(\w+): ?(.*)$/s or next;
            $e{$n} = exists $e{$n} ? "$e{$n}\n$v" : $v;
        }
        push @events, \%e if %e;
    }

    return @events;
}


# The decoded frames of /api/execute/stream and /api/process/{id}/stream.
sub frames {
    my ($class, $body) = @_;

    return map { json_decode($_->{data}) } $class->events($body);
}


# Open descriptors of the agent.
sub fd_count {
    my ($self) = @_;
    opendir my $dh, "/proc/$self->{pid}/fd" or return -1;
    my $n = grep { /^\d+$/ } readdir $dh;

    return $n;
}


# Processes below the agent, itself not counted.
sub children {
    my ($self) = @_;

    return grep { $_ != $self->{pid} } descendants($self->{pid});
}


# Its wait status; everything below it must be gone soon after.
sub stop {
    my ($self, $signal) = @_;
    my @below = $self->children;
    my $status = stop_process(delete $self->{pid}, $signal);

    $self->{left} = [grep { process_alive($_) } @below]
        unless wait_for(sub { !grep { process_alive($_) } @below }, 30);

    return $status;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);
    return unless $self->{pid};

    # Its own end may be what the test has failed for.
    my $dead = !process_alive($self->{pid});
    my $status = stop_process(delete $self->{pid});

    print STDERR "# the agent had ended by itself, wait status $status\n"
        if $dead && defined $status;
}

1;
