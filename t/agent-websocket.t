#!/usr/bin/perl

# WebSockets of the agent through a real socket: the handshake, what a client
# may send and what not, closing, pings, and clients that vanish.  The frames
# themselves, case by case: unit/websocket.c.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AgentClient;
use Digest::SHA qw(sha1_base64);
use Harness;
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

plan skip_all => 'there is no /dev/ptmx here' unless -c '/dev/ptmx';

alarm_after(240);

my $dir = tmp_dir();
my $agent = AgentClient->start(args => ['--workspace', $dir],
    env => { SANDBOX_WS_PING_MS => 600_000 });
prepare($agent, 'w');
my $path = '/ws/pty?sessionId=w';
my $key = 'dGhlIHNhbXBsZSBub25jZQ==';


# Makes a session whose shells know nothing of this machine's dotfiles: a shell
# that is killed in them may leave a lock there.
sub prepare {
    my ($on, $session) = @_;

    $on->post('/api/session/create', { id => $session,
                                       env => { HOME => $dir } });
}

# A handshake by hand: what Harness::http returns.
sub shake {
    my ($method, $headers, %o) = @_;

    return http(unix => $agent->{socket}, preface => "CONTROL $agent->{key}\n",
        method => $method, path => $path, headers => $headers, keepalive => 1,
        %o);
}

sub good { return (['Upgrade', 'websocket'], ['Connection', 'Upgrade'],
    ['Sec-WebSocket-Version', '13'], ['Sec-WebSocket-Key', $key]) }

# The good one with one header in another way; undef leaves it out.
sub with {
    my ($name, @values) = @_;

    return [(grep { lc $_->[0] ne lc $name } good()),
            map { [$name, $_] } @values];
}

sub open_one {
    my ($on, $session) = @_;
    $on ||= $agent;
    $session ||= 'w';
    my $w = WebSocket->connect(unix => $on->{socket}, timeout => 30,
        path => "/ws/pty?sessionId=$session",
        preface => "CONTROL $on->{key}\n");

    return undef unless $w && $w->{ok};
    while (my ($op, $data) = $w->receive(30)) {
        return $w if $op == 1 && $data eq '{"type":"ready"}';
    }

    return undef;
}

# The next frame that isn't output: (opcode, payload).
sub answer {
    my ($w, $seconds) = @_;

    while (my ($op, $data) = $w->receive($seconds // 30)) {
        return ($op, $data) unless $op == 2;
    }

    return ();
}

sub close_code {
    my ($w) = @_;
    my ($op, $data) = answer($w);

    return 'nothing' unless defined $op;
    return "opcode $op: $data" unless $op == 8;
    return length $data ? unpack 'n', $data : 1005;
}

# Nothing follows and the connection ends.
sub is_over {
    my ($w) = @_;
    my $end = time() + 20;
    my $sel = IO::Select->new($w->{s});

    while (time() < $end) {
        next unless $sel->can_read(0.2);
        my $n = sysread $w->{s}, my $rest, 65536;
        return 1 if !$n;
        return 0;
    }

    return 0;
}

sub raw { return http_send($_[0]{s}, $_[1]) }

# ---- handshakes

{
    my $r = shake('GET', [good()]);
    is($r->{status}, 101, 'a handshake');
    is($r->{headers}{'sec-websocket-accept'}, 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
       'the answer to its key');
    like($r->{headers}{upgrade}, qr/^websocket$/i, 'Upgrade');
    like($r->{headers}{connection}, qr/^upgrade$/i, 'Connection');
    ok(!exists $r->{headers}{'sec-websocket-extensions'}
       && !exists $r->{headers}{'sec-websocket-protocol'},
       'nothing that was not asked for');
    close $r->{socket};

    for (['Upgrade', 'WebSocket'], ['Connection', 'keep-alive, Upgrade'],
         ['Connection', 'keep-alive', 'upgrade'],
         ['Upgrade', 'foo, websocket'],
         ['Sec-WebSocket-Extensions', 'permessage-deflate'],
         ['Origin', 'http://evil.example'])
    {
        my ($name, @values) = @$_;
        $r = shake('GET', with($name, @values));
        is($r->{status}, 101, "$name: @values");
        ok(!exists $r->{headers}{'sec-websocket-extensions'},
           '... no extension');
        close $r->{socket};
    }

    for ([undef], ['12'], ['8'], ['14'], ['13x'], ['']) {
        $r = shake('GET', with('Sec-WebSocket-Version', grep defined, @$_));
        is($r->{status}, 426, 'version ' . ($_->[0] // 'absent'));
        is($r->{headers}{'sec-websocket-version'}, '13', '... says which');
        close $r->{socket};
    }

    for (undef, '', 'x', 'dGhlIHNhbXBsZSBub25jZQ', 'dGhlIHNhbXBsZSBub25j',
         'dGhlIHNhbXBsZSBub25jZWE=', '!' x 24, 'A' x 5000)
    {
        $r = shake('GET', with('Sec-WebSocket-Key', grep defined, $_));
        is($r->{status}, 400, 'key ' . substr $_ // 'absent', 0, 30);
        close $r->{socket};
    }
    $r = shake('GET', with('Sec-WebSocket-Key', $key, $key));
    is($r->{status}, 400, 'two keys');
    close $r->{socket};
    $r = shake('GET', [good()], body => 'x');
    is($r->{status}, 400, 'a body');
    close $r->{socket};

    for (['Upgrade'], ['Connection'], ['Upgrade', 'h2c'],
         ['Connection', 'close'])
    {
        my ($name, @values) = @$_;
        $r = shake('GET', with($name, @values));
        is("$r->{status} $r->{body}", '503 WebSocket upgrade failed',
           "$name: " . ($values[0] // 'absent'));
        close $r->{socket};
    }

    my $s = $agent->connect;
    http_send($s, "GET $path HTTP/1.0\r\nHost: x\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } good()) . "\r\n");
    local $/;
    like(scalar <$s>, qr/HTTP\/1\.1 503/, 'HTTP/1.0');
    is(shake('POST', [good()], body => '')->{status}, 405, 'POST');

    # An error leaves the connection to HTTP.
    $r = shake('GET', with('Sec-WebSocket-Version', 8));
    http_send($r->{socket}, "GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n");
    is(http_read($r->{socket})->{status}, 200, 'HTTP goes on after a 426');
    close $r->{socket};

    # Frames that don't wait for the answer.
    $s = $agent->connect;
    http_send($s, "GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n"
        . "GET $path HTTP/1.1\r\nHost: x\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } good()) . "\r\n"
        . WebSocket::frame(0x89, 'early') . WebSocket::frame(0x81, 'bad')
        . WebSocket::frame(0x88, pack 'n', 1000));
    my $all = <$s>;
    like($all, qr/^OK\nHTTP\/1\.1 200.*"healthy".*HTTP\/1\.1 101 /s,
         'a request before the handshake');
    like($all, qr/\x8a\x05early/, 'frames right behind it: a ping');
    like($all, qr/Invalid control message.*\x88\x02\x03\xe8\z/s,
         '... a text, and a close');
}

# ---- pings and messages

{
    my $w = open_one();

    for my $payload ('', 'hello', "\0\xff\xfe", 'x' x 125) {
        $w->send($payload, 9);
        is_deeply([answer($w)], [10, $payload], 'a pong to a ping of '
            . length($payload));
    }
    raw($w, join '', map { WebSocket::frame(0x89, "p$_") } 1 .. 10);
    is(join(' ', map { (answer($w))[1] } 1 .. 10),
       join(' ', map { "p$_" } 1 .. 10), 'ten at once, in order');
    $w->send('unasked', 10);

    for my $byte (split //, WebSocket::frame(0x89, 'slow')) {
        raw($w, $byte);
        sleep 0.005;
    }
    is_deeply([answer($w)], [10, 'slow'], 'byte by byte');

    raw($w, WebSocket::frame(0x01, '{"type":"res') . WebSocket::frame(0x89, 'in')
        . WebSocket::frame(0x00, 'ize","cols"') . WebSocket::frame(0x80, ':1}'));
    is_deeply([answer($w)], [10, 'in'], 'a ping between fragments');
    like((answer($w))[1], qr/whole numbers/, '... and the message as a whole');

    is($w->close(1000), 1000, 'closed');
    ok(is_over($w), '... to its end') if fileno $w->{s};
}

# ---- closing

for (['', 1005], [pack('n', 1000), 1000], [pack('n', 1001) . 'bye', 1001],
     [pack('n', 3000), 3000], [pack('n', 4999), 4999])
{
    my $w = open_one();
    $w->send($_->[0], 8);
    is(close_code($w), $_->[1], "close: $_->[1] is answered with itself");
    ok(is_over($w), '... and the connection ends');
}

# ---- what may not be

{
    my $other = open_one();
    my @cases = (
        ['a reserved bit', WebSocket::frame(0xc1, 'x'), 1002],
        ['an unknown opcode', WebSocket::frame(0x83, 'x'), 1002],
        ['an unknown control opcode', WebSocket::frame(0x8b, ''), 1002],
        ['not masked', "\x81\x01x", 1002],
        ['a ping in fragments', WebSocket::frame(0x09, 'x'), 1002],
        ['a ping of 126 bytes', WebSocket::frame(0x89, 'x' x 126), 1002],
        ['the end of nothing', WebSocket::frame(0x80, 'x'), 1002],
        ['a message in another',
         WebSocket::frame(0x01, 'x') . WebSocket::frame(0x81, 'y'), 1002],
        ['a length in too long a form', "\x81\xfe\x00\x01aaaaa", 1002],
        ['no UTF-8', WebSocket::frame(0x81, "\xff"), 1007],
        ['UTF-8 that is cut', WebSocket::frame(0x81, "\xc3"), 1007],
        ['a surrogate', WebSocket::frame(0x01, "\xed\xa0"), 1007],
        ['half a close code', WebSocket::frame(0x88, 'x'), 1002],
        ['close code 1005', WebSocket::frame(0x88, pack 'n', 1005), 1002],
        ['close code 1006', WebSocket::frame(0x88, pack 'n', 1006), 1002],
        ['close code 2000', WebSocket::frame(0x88, pack 'n', 2000), 1002],
        ['a reason that is no UTF-8',
         WebSocket::frame(0x88, pack('n', 1000) . "\xff"), 1007],
        ['too long a message', "\x82\xff" . pack('Q>', 1048577) . 'abcd',
         1009],
        ['a length of 2^62', "\x82\xff" . pack('Q>', 2 ** 62) . 'abcd', 1009],
        ['fragments that are too long together',
         WebSocket::frame(0x02, 'x' x 600_000)
             . WebSocket::frame(0x80, 'x' x 600_000), 1009],
    );

    for (@cases) {
        my ($name, $bytes, $code) = @$_;
        my $w = open_one();
        raw($w, $bytes);
        is(close_code($w), $code, "$name: $code");
        ok(is_over($w), '... and the end');
    }

    $other->send('still', 9);
    is_deeply([answer($other)], [10, 'still'], 'others notice nothing');
    $other->close;
}

# ---- clients that vanish

{
    open_one()->close;
    wait_for(sub { 0 }, 0.3);
    my $before = $agent->fd_count;

    # Many more than the descriptors of shells that wait for a session.
    for (1 .. 200) {
        my $w = open_one();
        raw($w, "\x82\xff") if $_ & 1;
        close $w->{s};
    }
    for (1 .. 5) {
        prepare($agent, "gone$_");
        my $s = $agent->connect;
        http_send($s, "GET /ws/pty?sessionId=gone$_ HTTP/1.1\r\nHost: x\r\n"
            . join('', map { "$_->[0]: $_->[1]\r\n" } good()) . "\r\n");
        close $s;
    }
    $agent->post('/api/session/delete', { sessionId => "gone$_" }) for 1 .. 5;
    ok(wait_for(sub { $agent->fd_count <= $before + 100 }, 30),
       'no descriptor is left of clients that went away')
        or diag($before, ' ', $agent->fd_count);

    # Pings, and none that answers.
    my $quick = AgentClient->start(args => ['--workspace', $dir],
        env => { SANDBOX_WS_PING_MS => 1000 });
    prepare($quick, 'q');
    my $w = open_one($quick, 'q');
    my $lazy = open_one($quick, 'q');
    my $pings = 0;
    my $end = time() + 30;

    while ($pings < 4 && time() < $end) {
        my ($op, $data) = answer($w, 10);
        last unless defined $op;
        if ($op == 9) {
            $pings++;
            $w->send($data, 10);
        }
    }
    is($pings, 4, 'a silent client is asked again and again');
    my @got = answer($lazy, 5);
    is($got[0], 9, 'another one is asked, too');
    ok(is_over($lazy), '... and let go when it says nothing');
    $w->send('{}');
    $w->send('here', 9);
    my ($op, $data);
    do { ($op, $data) = answer($w) } while (defined $op && $op == 9);
    is("$op $data", '10 here', '... the first is there still');
    $w->close;
    $quick->stop;
    is_deeply($quick->{left} || [], [], 'nothing is left of it');
}

$agent->stop;
is_deeply($agent->{left} || [], [], 'nothing is left');

done_testing();
