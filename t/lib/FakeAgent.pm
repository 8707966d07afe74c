package FakeAgent;

# An agent at the edge, for tests of the module alone: listens on
# <dir>/s/<slot>, checks the first line and the key, and plays the agent's API
# or an app behind it.  Each connection has a process of its own.
#
#   my $a = FakeAgent->start(dir => $dir, slot => 1, key => $hex, name => 'a');
#   # raw => { path => bytes }: exactly these bytes, then the end
#   (tcp => '127.77.1.2:7000': there instead of its slot's socket;
#    vmm => 1024: behind a VMM, at this vsock port)
#   $a->log       every connection and request, as text
#   $a->connections, $a->open_connections: how many there were, and are
#   $a->stop
#
# What a port does (any other: an app that answers, see app()):
#
#   9001 ERR refused   9002 ERR limit    9003 ERR key      9004 garbage
#   9005 OK in pieces  9006 closes       9007 says nothing 9008 OK, no HTTP
#   9009 OK, closes    9011 ERR refused once, then an app
#   9012 OK late, behind what it has read of the request
#   9013 ERR refused after reading everything that comes

use strict;
use warnings;

use Digest::SHA ();
use Harness;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw(sleep time);
use WebSocket ();


sub start {
    my ($class, %o) = @_;
    my $self = bless { %o }, $class;

    $self->{name} //= 'agent';
    $self->{log} = "$self->{dir}/agent-$self->{slot}.log";
    $self->{path} = sprintf '%s/s/%08x', $self->{dir}, $self->{slot};
    spew($self->{log}, '', 0666);
    $self->listen_now unless $o{later};

    return $self;
}


# Listens, after some seconds if told so.
sub listen_now {
    my ($self, $delay) = @_;
    my $l = $delay ? undef : $self->bind_now;
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        if ($delay) { sleep $delay; $l = $self->bind_now }
        $self->serve($l);
        POSIX::_exit(0);
    }

    $self->{pid} = $pid;

    return $self;
}


sub bind_now {
    my ($self) = @_;

    return IO::Socket::INET->new(LocalAddr => $self->{tcp}, Listen => 512,
        ReuseAddr => 1) || die "$self->{tcp}: $!" if $self->{tcp};

    mkdir "$self->{dir}/s";
    unlink $self->{path};

    my $l = IO::Socket::UNIX->new(Local => $self->{path}, Listen => 512,
        Type => SOCK_STREAM) or die "$self->{path}: $!";

    chmod 0666, $self->{path};

    return $l;
}


sub stop {
    my ($self, %o) = @_;

    if (my $pid = delete $self->{pid}) {
        kill 'TERM', $pid;
        waitpid $pid, 0;
    }
    unlink $self->{path} if $o{unlink};
}


sub log { return slurp($_[0]{log}) }

sub connections {
    my @n = $_[0]->log =~ /^connection /mg;

    return scalar @n;
}

# How many of them are open.
sub open_connections {
    my ($self) = @_;

    return scalar grep { $_ != $self->{pid} } descendants($self->{pid});
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $!);

    $self->stop if $self->{pid};
}


sub note {
    my ($self, $text) = @_;

    open my $fh, '>>', $self->{log} or return;
    syswrite $fh, $text;
}


sub serve {
    my ($self, $l) = @_;
    my %children;

    # A child that ended before its number was noted stays among them, and the
    # number may be somebody else's by now.
    my $end = sub {
        kill 'KILL', grep { waitpid($_, POSIX::WNOHANG()) == 0 } keys %children;
    };

    local $SIG{TERM} = sub {
        $end->();
        POSIX::_exit(0);
    };
    local $SIG{CHLD} = sub {
        while ((my $pid = waitpid(-1, POSIX::WNOHANG())) > 0) {
            delete $children{$pid};
        }
    };
    local $SIG{PIPE} = 'IGNORE';

    my $n = 0;
    my $parent = getppid();
    my $sel = IO::Select->new($l);

    while (1) {
        if (!$sel->can_read(0.5)) {
            $end->(), return if getppid() != $parent;
            next;
        }
        my $c = $l->accept or next;
        $n++;
        my $pid = fork() // next;
        if ($pid == 0) {
            $SIG{TERM} = $SIG{CHLD} = 'DEFAULT';
            close $l;
            $self->{n} = $n;
            eval { $self->connection($c) };
            $self->note("died: $@") if $@;
            POSIX::_exit(0);
        }
        $children{$pid} = 1;
        close $c;
    }
}


sub connection {
    my ($self, $c) = @_;
    my $in = '';

    while (index($in, "\n") < 0) {
        return if length $in > 64;
        sysread($c, $in, 65536, length $in) or return;
    }

    my ($line) = $in =~ s/^([^\n]*)\n// ? $1 : '';

    if ($self->{vmm}) {
        $self->note("vmm: $line\n");
        return if $line ne "CONNECT $self->{vmm}";
        syswrite $c, $_ for 'OK 10', "73741824\n";

        while (index($in, "\n") < 0) {
            sysread($c, $in, 65536, length $in) or return;
        }

        ($line) = $in =~ s/^([^\n]*)\n// ? $1 : '';
    }

    $self->note("connection $self->{n}: $line\n"
        . (length $in ? "with the request\n" : ''));

    my ($port, $key) = $line =~ /^(?:CONTROL|CONNECT (\d+)) ([0-9a-f]{32})$/
        or return syswrite $c, "ERR key\n";

    $port //= 0;
    return syswrite $c, "ERR key\n" if $key ne $self->{key};

    my $fault = $port;

    if ($fault == 9011) {
        my $flag = "$self->{log}.9011";

        $fault = -e $flag ? 0 : 9001;
        spew($flag, '') if $fault;
    }

    if ($fault == 9001) { return syswrite $c, "ERR refused\n" }
    if ($fault == 9002) { return syswrite $c, "ERR limit\n" }
    if ($fault == 9003) { return syswrite $c, "ERR key\n" }
    if ($fault == 9004) {
        return syswrite $c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    }
    if ($fault == 9005) {
        for (split //, "OK\n") { syswrite $c, $_; sleep 0.03 }
    }
    if ($fault == 9006) { return }
    if ($fault == 9007) { sleep 60; return }
    if ($fault == 9008) {
        return syswrite $c, "OK\nroot:x:0:0:root:/root:/bin/sh\n";
    }
    if ($fault == 9009) { return syswrite $c, "OK\n" }
    if ($fault == 9012) { sleep 0.3; syswrite $c, "OK\n" }
    if ($fault == 9013) {
        syswrite $c, "ERR refused\n";
        return;
    }

    syswrite $c, "OK\n" unless $fault == 9005 || $fault == 9012;

    while ($self->request($c, \$in, $port)) { }
}


# One request of an app (port > 0) or of the agent's API.
sub request {
    my ($self, $c, $in, $port) = @_;

    until ($$in =~ /\r\n\r\n/) {
        sysread($c, $$in, 65536, length $$in) or return 0;
    }

    $$in =~ s/^(.*?\r\n)\r\n//s;
    my $head = $1;

    $self->note("request on $port:\n$head\n");

    my ($method, $uri) = $head =~ m{^(\S+) (\S+) HTTP/1\.1\r\n} or return 0;
    my ($length) = $head =~ /^content-length: *(\d+)/mi;
    my $chunked = $head =~ /^transfer-encoding: *chunked/mi;
    my $sha = Digest::SHA->new(256);
    my $size = 0;

    if ($head =~ /^upgrade: websocket/mi && !defined $self->{raw}{$uri}) {
        $self->websocket($c, $in, $head);
        return 0;
    }

    if ($head =~ /^expect: 100-continue/mi) {
        syswrite $c, "HTTP/1.1 100 Continue\r\n\r\n";
    }

    if ($length) {
        while ($size < $length) {
            if (!length $$in) { sysread($c, $$in, 262144) or return 0 }
            my $part = substr $$in, 0, $length - $size, '';

            $sha->add($part);
            $size += length $part;
        }

    } elsif ($chunked) {
        while (1) {
            while ($$in !~ /^[0-9a-f]+\r\n/i) {
                sysread($c, $$in, 262144, length $$in) or return 0;
            }
            $$in =~ s/^([0-9a-f]+)\r\n//i;
            my $n = hex $1;
            while (length($$in) < $n + 2) {
                sysread($c, $$in, 262144, length $$in) or return 0;
            }
            $sha->add(substr $$in, 0, $n, '');
            substr($$in, 0, 2) = '';
            $size += $n;
            last if $n == 0;
        }
    }

    return $self->app($c, $method, $uri, $head, $size, $sha->hexdigest);
}


# /raw?HEX          exactly these bytes, then closes
# /big?N            N bytes
# /sse?N            N events, one each 100 ms
# /status?N         this status
# /slow?S           answers after S seconds
# /hints?N          N early hints before its answer
# /close            answers, then closes the connection
# /late             answers, and says more when nobody has asked
# else              what it was asked, as JSON
sub app {
    my ($self, $c, $method, $uri, $head, $size, $sha) = @_;
    my ($path, $arg) = split /\?/, $uri, 2;

    if (defined(my $raw = $self->{raw}{$path})) {
        syswrite $c, $raw;
        return 0;
    }

    if ($path eq '/raw') {
        syswrite $c, pack 'H*', $arg;
        return 0;
    }

    if ($path eq '/big') {
        my $left = $arg;
        my $block = join '', map { chr } 0 .. 255;

        $block x= 256;
        syswrite $c, "HTTP/1.1 200 OK\r\nContent-Length: $arg\r\n\r\n";
        while ($left > 0) {
            my $n = syswrite $c, $block, $left < 65536 ? $left : 65536;
            return 0 unless defined $n;
            $left -= $n;
            $block = substr($block, $n) . substr $block, 0, $n;
        }
        return 1;
    }

    if ($path eq '/sse') {
        syswrite $c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            . "Connection: close\r\n\r\n";
        for (1 .. $arg) {
            syswrite $c, "data: $_\n\n" or return 0;
            sleep 0.1;
        }
        return 0;
    }

    sleep $arg if $path eq '/slow';
    syswrite $c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" x $arg
        if $path eq '/hints';

    my $body = json_encode({ name => $self->{name}, method => $method,
        uri => $uri, head => $head, size => $size, sha => $sha,
        connection => $self->{n} });
    my $status = $path eq '/status' ? "$arg Status" : '200 OK';

    syswrite $c, "HTTP/1.1 $status\r\nContent-Type: application/json\r\n"
        . ($path eq '/close' ? "Connection: close\r\n" : '')
        . 'Content-Length: ' . length($body) . "\r\n\r\n"
        . ($method eq 'HEAD' ? '' : $body);

    if ($path eq '/late') {
        sleep 0.2;
        syswrite $c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    }

    return $path ne '/close';
}


# Accepts, says hello at once, and sends everything back.
sub websocket {
    my ($self, $c, $in, $head) = @_;
    my ($key) = $head =~ /^sec-websocket-key: *(\S+)/mi;
    my $accept = Digest::SHA::sha1_base64(
        $key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';

    syswrite $c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        . "Connection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n"
        . "\x81\x05hello";

    # no frames are looked at: bytes come back as they are
    syswrite $c, $$in if length $$in;
    while (sysread $c, my $data, 65536) {
        syswrite $c, $data;
    }
}

1;
