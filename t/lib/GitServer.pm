package GitServer;

# HTTP in front of `git http-backend`, one process per connection, for the
# repositories in a directory.
#
#   my $s = GitServer->start(root => DIR, user => 'u', password => 'p');
#   $s->url("repo.git"), $s->url('repo.git', 'u:p@')
#
# A request with credentials waits while the file DIR/hold exists (20 s at
# most), so that a test can look around.  Paths with "stall" in them get no
# answer, those with "slow" one byte every 100 ms, "broken" the half of one.

use strict;
use warnings;

use Harness;
use IO::Select;
use IO::Socket::INET;
use MIME::Base64;
use POSIX ();
use Time::HiRes qw(sleep time);


sub start {
    my ($class, %o) = @_;
    my $self = bless { %o }, $class;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => 0, Listen => 64, ReuseAddr => 1) or die "listen: $!";

    $self->{port} = $listen->sockport;
    $self->{log} = "$o{root}/requests";
    $self->{pid} = fork() // die "fork: $!";

    if ($self->{pid} == 0) {
        $SIG{TERM} = 'DEFAULT';
        open STDOUT, '>', '/dev/null';
        $SIG{CHLD} = 'IGNORE';
        while (1) {
            my $c = $listen->accept or next;
            my $pid = fork();
            if (defined $pid && $pid == 0) {
                close $listen;
                alarm 60;
                eval { $self->connection($c) };
                POSIX::_exit(0);
            }
            close $c;
        }
    }

    close $listen;

    return $self;
}


sub url {
    my ($self, $path, $userinfo) = @_;

    return 'http://' . ($userinfo // '') . "127.0.0.1:$self->{port}/$path";
}


sub requests { return slurp($_[0]{log}) // '' }


sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    kill 'TERM', $pid;
    waitpid $pid, 0;
}


sub DESTROY { local ($?, $@, $!); $_[0]->stop }


sub connection {
    my ($self, $c) = @_;
    my $in = '';

    until ($in =~ /\r\n\r\n/) {
        sysread($c, $in, 65536, length $in) or return;
    }

    my ($head, $body) = split /\r\n\r\n/, $in, 2;
    my ($method, $target) = $head =~ m{^(\S+) (\S+)};
    my ($path, $query) = split /\?/, $target, 2;
    my %h = map { /^([^:]+):\s*(.*?)\r?$/ ? (lc $1, $2) : () }
        split /\n/, $head;

    open my $log, '>>', $self->{log};
    syswrite $log, "$method $target " . ($h{authorization} // '-') . "\n";
    close $log;

    # Until the client goes.
    if ($path =~ /stall/) {
        IO::Select->new($c)->can_read(60);
        return;
    }
    if ($path =~ /slow/) {
        syswrite $c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
        while (syswrite $c, 'x') { sleep(0.1) }
        return;
    }
    if ($path =~ /broken/) {
        syswrite $c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n001e";
        return;
    }

    if (defined $self->{user}) {
        my $want = 'Basic '
            . encode_base64("$self->{user}:$self->{password}", '');

        if (($h{authorization} // '') ne $want) {
            syswrite $c, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: "
                . "Basic realm=\"git\"\r\nContent-Length: 0\r\n"
                . "Connection: close\r\n\r\n";
            return;
        }
        my $end = time() + 20;
        sleep(0.02) while -e "$self->{root}/hold" && time() < $end;
    }

    while (length $body < ($h{'content-length'} // 0)) {
        sysread($c, $body, 65536, length $body) or return;
    }

    $self->backend($c, $method, $path, $query, \%h, $body);
}


sub backend {
    my ($self, $c, $method, $path, $query, $h, $body) = @_;

    pipe(my $ir, my $iw) or return;
    pipe(my $or, my $ow) or return;
    $SIG{CHLD} = 'DEFAULT';

    my $pid = fork() // return;
    if ($pid == 0) {
        POSIX::dup2(fileno $ir, 0);
        POSIX::dup2(fileno $ow, 1);
        open STDERR, '>', '/dev/null';
        close $_ for $ir, $iw, $or, $ow, $c;
        %ENV = (PATH => $ENV{PATH}, GIT_PROJECT_ROOT => $self->{root},
                GIT_HTTP_EXPORT_ALL => 1, PATH_INFO => $path,
                QUERY_STRING => $query // '', REQUEST_METHOD => $method,
                CONTENT_TYPE => $h->{'content-type'} // '',
                CONTENT_LENGTH => length $body,
                HTTP_CONTENT_ENCODING => $h->{'content-encoding'} // '',
                GIT_PROTOCOL => $h->{'git-protocol'} // '',
                GIT_CONFIG_COUNT => 1, GIT_CONFIG_KEY_0 => 'safe.directory',
                GIT_CONFIG_VALUE_0 => '*', HOME => $self->{root});
        { no warnings 'exec'; exec 'git', 'http-backend'; }
        POSIX::_exit(127);
    }

    close $_ for $ir, $ow;
    syswrite $iw, $body;
    close $iw;

    my $out = '';
    1 while sysread($or, $out, 65536, length $out);
    waitpid $pid, 0;

    my ($head, $rest) = split /\r?\n\r?\n/, $out, 2;
    my $status = $head =~ s/^Status: ([^\r\n]+)\r?\n?//m ? $1 : '200 OK';
    my $answer = "HTTP/1.1 $status\r\n$head\r\nContent-Length: "
        . length($rest // '') . "\r\nConnection: close\r\n\r\n" . ($rest // '');

    $answer =~ s/\r\n\r\nContent-Length/\r\nContent-Length/;
    while (length $answer) {
        my $n = syswrite $c, $answer or last;
        substr($answer, 0, $n) = '';
    }
}

1;
