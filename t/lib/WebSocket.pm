package WebSocket;

# A small WebSocket client (RFC 6455) for tests: handshake, text, binary,
# close, and frames of any kind.  No extensions.

use strict;
use warnings;

use Digest::SHA qw(sha1);
use Harness;
use IO::Select;
use MIME::Base64 qw(encode_base64);
use Test::More ();
use Time::HiRes qw(time);


# WebSocket->connect(port, host, path, headers => [[n, v]...]); the object's
# {response} is the handshake's, whatever its status.  To an agent itself:
# unix => PATH, preface => first line.
sub connect {
    my ($class, %o) = @_;
    my $key = encode_base64(join('', map { chr int rand 256 } 1 .. 16), '');
    my $s = http_connect(%o) or return undef;
    my $r = http(socket => $s, keepalive => 1, host => $o{host},
        path => $o{path} || '/', timeout => $o{timeout} // 15,
        preface => $o{preface},
        headers => [['Upgrade', 'websocket'], ['Connection', 'Upgrade'],
                    ['Sec-WebSocket-Key', $key],
                    ['Sec-WebSocket-Version', 13], @{ $o{headers} || [] }]);
    my $accept = encode_base64(
        sha1($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'), '');

    return bless {
        s => $s, response => $r, in => $r->{rest} // '', key => $key,
        ok => $r->{status} == 101
              && ($r->{headers}{'sec-websocket-accept'} || '') eq $accept,
    }, $class;
}


sub send {
    my ($self, $data, $opcode) = @_;

    return http_send($self->{s}, frame(($opcode // 1) | 0x80, $data));
}


# A masked frame; the first byte is given whole.
sub frame {
    my ($first, $data) = @_;
    my $n = length $data;
    my $mask = pack 'N', int rand 2**32;
    my $head = chr $first;

    $head .= $n < 126 ? chr(0x80 | $n)
        : $n < 65536 ? chr(0x80 | 126) . pack('n', $n)
        : chr(0x80 | 127) . pack('Q>', $n);

    return $head . $mask
        . ($data ^ substr($mask x (int($n / 4) + 1), 0, $n));
}


sub send_binary { return $_[0]->send($_[1], 2) }


# The next frame: (opcode, payload), or nothing at the end or the deadline.
sub receive {
    my ($self, $seconds) = @_;
    my $end = time() + ($seconds // 15);
    my $sel = IO::Select->new($self->{s});

    while (1) {
        my $in = $self->{in};

        if (length $in >= 2) {
            my ($b0, $b1) = unpack 'CC', $in;
            my ($n, $at) = ($b1 & 127, 2);

            if ($n == 126 && length $in >= 4) {
                ($n, $at) = (unpack('n', substr $in, 2, 2), 4);
            } elsif ($n == 127 && length $in >= 10) {
                ($n, $at) = (unpack('Q>', substr $in, 2, 8), 10);
            } elsif ($n > 125) {
                $n = 1e12;
            }
            if (length $in >= $at + $n) {
                $self->{in} = substr $in, $at + $n;
                return ($b0 & 15, substr $in, $at, $n);
            }
        }

        return () if time() > $end;
        next unless $sel->can_read(0.2);
        sysread($self->{s}, $self->{in}, 262144, length $self->{in})
            or return ();
    }
}


# All that comes until it matches; nothing, and what came is told, if it doesn't.
sub until_like {
    my ($self, $re) = @_;
    my $seen = '';

    while (my ($op, $data) = $self->receive(30)) {
        $seen .= $data if $op != 8;
        return $seen if $seen =~ $re;
        last if $op == 8;
    }

    Test::More::diag("not seen: $re in $seen");

    return undef;
}


sub close {
    my ($self, $code) = @_;

    $self->send(pack('n', $code // 1000), 8);
    my @frame = $self->receive(5);
    close $self->{s};

    return @frame && $frame[0] == 8 && length $frame[1] >= 2
        ? unpack 'n', $frame[1] : undef;
}

1;
