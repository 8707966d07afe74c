#!/usr/bin/perl

# The agent's connections: first lines, tunnels, and HTTP that is odd, slow,
# broken or hostile.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use IO::Select;
use IO::Socket::INET;
use Socket;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);
$SIG{PIPE} = 'IGNORE';

my $agent = AgentClient->start();
my $key = $agent->{key};


# Everything up to the end of the stream, or until nothing comes any more.
sub all_of {
    my ($s, $seconds) = @_;
    my $sel = IO::Select->new($s);
    my $got = '';

    while ($sel->can_read($seconds // 3)) {
        sysread($s, $got, 65536, length $got) or return ($got, 1);
    }

    return ($got, 0);
}


sub said {
    my ($line, $seconds) = @_;
    my ($got, $end) = all_of($agent->connect($line), $seconds);

    return $got . ($end ? '|end' : '');
}


# A server inside, which calls the code with each connection.
sub app {
    my ($code, $addr) = @_;
    my $l = IO::Socket::INET->new(LocalAddr => $addr // '127.0.0.1',
        Listen => 128, Proto => 'tcp') or die "listen: $!";
    my $pid = fork();

    if ($pid == 0) {
        $SIG{CHLD} = 'IGNORE';
        while (my $c = $l->accept) {
            if (fork() == 0) { $code->($c); POSIX::_exit(0) }
            close $c;
        }
        POSIX::_exit(0);
    }

    return ($l->sockport, $pid);
}


# First lines.

is(said("CONTROL $key\n", 0.3), "OK\n", 'the key');
is(said('CONTROL ' . ('0' x 32) . "\n"), "ERR key\n|end", 'another key');
for my $bad ("CONTROL\n", "CONTROL \n", "CONTROL $key \n", "control $key\n",
             "CONTROL  $key\n", "CONTROL $key\r\n", "\n", "GET / HTTP/1.1\r\n",
             "CONNECT $key\n", "CONNECT 0 $key\n", "CONNECT 65536 $key\n",
             "CONNECT 080 $key\n", "CONNECT +80 $key\n", "CONNECT -1 $key\n",
             "CONNECT 99999999999 $key\n", "CONNECT 80\n", "CONNECT 80 \n",
             "CONNECT 80  $key\n", 'CONNECT 80 ' . substr($key, 1) . "\n",
             'x' x 64, ('x' x 63) . "\n", "\0" x 64)
{
    (my $name = $bad) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    is(said($bad), "ERR key\n|end", "no first line: $name");
}

{
    my $s = http_connect(unix => $agent->{socket});
    for my $c (split //, "CONTROL $key\nGET /api/ping HTTP/1.1\r\n\r\n") {
        syswrite $s, $c;
        sleep 0.002;
    }
    my ($got) = all_of($s, 0.5);
    like($got, qr/^OK\nHTTP\/1\.1 200 /, 'byte by byte');
}

# Tunnels.

my ($echo, $echo_pid) = app(sub {
    my ($c) = @_;
    my $buf;
    while (sysread $c, $buf, 65536) {
        my $off = 0;
        while ($off < length $buf) {
            $off += syswrite($c, $buf, length($buf) - $off, $off) // last;
        }
    }
    syswrite $c, 'bye';
});

is(said("CONNECT 9 $key\nhello"), "ERR refused\n|end", 'nobody listens');
{
    my $s = $agent->connect("CONNECT $echo $key\nhello");
    sleep 0.2;
    shutdown $s, 1;
    my ($got, $end) = all_of($s);
    is($got . $end, "OK\nhellobye1", 'both ways, with half-close');
}
{
    my $s = $agent->connect("CONNECT $echo $key\nx");
    shutdown $s, 1;
    my ($got) = all_of($s);
    is($got, "OK\nxbye", 'half-closed at once');
}
SKIP: {
    my ($six, $pid) = eval {
        require IO::Socket::IP;
        my $l = IO::Socket::IP->new(LocalHost => '::1', Listen => 5,
                                    Proto => 'tcp') or die;
        my $p = fork();
        if ($p == 0) {
            while (my $c = $l->accept) { syswrite $c, 'six'; close $c }
            POSIX::_exit(0);
        }
        ($l->sockport, $p);
    };
    skip 'no IPv6 here', 1 unless $six;
    is(said("CONNECT $six $key\n"), "OK\nsix|end", 'IPv6 after IPv4');
    kill 'KILL', $pid;
    waitpid $pid, 0;
}
{
    # 32 MB through an echo whose client reads late.
    my $s = $agent->connect("CONNECT $echo $key\n");
    my $n = 32 * 1024 * 1024;
    my $pid = fork();
    if ($pid == 0) {
        my $piece = join '', map { chr(($_ * 7) % 251) } 1 .. 65536;
        for (1 .. $n / 65536) { http_send($s, $piece) or POSIX::_exit(1) }
        shutdown $s, 1;
        POSIX::_exit(0);
    }
    sleep 1;
    my $piece = join '', map { chr(($_ * 7) % 251) } 1 .. 65536;
    my $got = '';
    my ($seen, $bad) = (-3, 0);
    while (sysread $s, my $buf, 1 << 20) {
        $got .= $buf;
        if ($seen == -3 && length $got >= 3) {
            $got =~ s/^OK\n// or $bad++;
            $seen = 0;
        }
        while (length $got >= 65536 && $seen < $n) {
            $bad++ if substr($got, 0, 65536, '') ne $piece;
            $seen += 65536;
        }
    }
    waitpid $pid, 0;
    is($seen, $n, '32 MB there and back');
    is($bad, 0, 'unchanged');
    is($got, 'bye', 'and the end');
    my ($rss) = slurp('/proc/' . $agent->pid . '/status')
        =~ /VmRSS:\s+(\d+)/;
    cmp_ok($rss, '<', is_san() ? 400000 : 20000, 'in little memory');
}
{
    my ($port, $pid) = app(sub { my ($c) = @_; close $c });
    my $bad = 0;
    for (1 .. 200) {
        $bad++ if said("CONNECT $port $key\nGET / HTTP/1.1\r\n\r\n")
            !~ /^OK\n\|end$/;
    }
    is($bad, 0, 'an app that closes at once');
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

kill 'KILL', $echo_pid;
waitpid $echo_pid, 0;

# HTTP.

sub raw {
    my ($data, $seconds) = @_;
    my $s = $agent->connect;

    http_send($s, $data);
    my ($got, $end) = all_of($s, $seconds // 0.4);
    $got =~ s/^OK\n//;

    return ($got, $end, $s);
}

{
    my $r = $agent->get('/api/ping');
    like($r->{body}, qr/^\{"success":true,"status":"healthy","message":"pong","timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}$/,
         'ping');
    is($r->{headers}{'access-control-allow-origin'}, '*', 'CORS origin');
    is($r->{headers}{'access-control-allow-methods'},
       'GET, POST, PUT, DELETE, OPTIONS', 'CORS methods');
    is($r->{headers}{'access-control-allow-headers'}, 'Content-Type, ' .
       'Authorization, X-Session-Id, X-Sandbox-Id, X-Trace-Id',
       'CORS headers');
    ok($r->{headers}{date}, 'Date');
    is($agent->get('/')->{headers}{'content-type'},
       'text/plain; charset=utf-8', 'the root');
    like($agent->get('/api/version')->{json}{version}, qr/^\d+\.\d+\.\d+$/,
         'version');
    is_deeply($agent->get('/api/commands')->{json}{availableCommands}, [],
              'commands');
    is($agent->get('/api/ping?x=1')->{status}, 200, 'a query');

    for my $path ('/nope', '/api/ping/', '/api', '//api/ping', '/api//ping',
                  '/%61pi/ping', '/api%2fping', '/api/../api/ping', '/API/ping')
    {
        $r = $agent->get($path);
        is($r->{status}, 404, "unknown: $path");
        is($r->{json}{code}, 'UNKNOWN_ERROR', 'code');
        is($r->{json}{message}, 'The requested endpoint was not found',
           'message');
    }
    $r = $agent->get('/bridge/nope');
    is_deeply($r->{json}, { error => 'The requested endpoint was not found',
                            code => 'not_found' }, 'unknown to the bridge');
    for my $method ('PATCH', 'DELETE', 'TRACE', 'PROPFIND') {
        $r = $agent->request($method, '/api/ping');
        is($r->{status}, 405, "$method is not allowed");
        is($r->{headers}{allow}, 'GET, HEAD, OPTIONS', 'Allow');
    }
    is($agent->get('/api/execute')->{status}, 405, 'GET of a command');
    $r = $agent->request('OPTIONS', '/api/execute');
    is("$r->{status}$r->{body}", '200', 'OPTIONS');
    is($agent->request('OPTIONS', '/zzz')->{status}, 404, 'of nothing');
    $r = $agent->request('HEAD', '/api/ping');
    is("$r->{status}$r->{body}", '200', 'HEAD');
    cmp_ok($r->{headers}{'content-length'}, '>', 50, 'with a length');
}

{
    my ($got, $end) = raw("GET /api/ping HTTP/1.1\r\n\r\n" x 50);
    is(scalar(() = $got =~ /HTTP\/1\.1 200 /g), 50, '50 requests ahead');
    ok(!$end, 'the connection stays');

    ($got, $end) = raw(join('', map {
        my $b = qq({"command":"sleep 0.$_; echo n$_","sessionId":"p$_"});
        "POST /api/execute HTTP/1.1\r\nContent-Length: " . length($b) .
            "\r\n\r\n$b" } 3, 2, 1), 1.5);
    is(join(',', $got =~ /"stdout":"(n\d)"/g), 'n3,n2,n1',
       'answers in the order of the requests');

    ($got, $end) = raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    like($got, qr/Connection: close/, 'close');
    ok($end, 'closed');
    ($got, $end) = raw("GET / HTTP/1.0\r\n\r\n");
    ok($end && $got =~ /^HTTP\/1\.1 200/, 'HTTP/1.0');

    my $b = '{"command":"echo chunked"}';
    ($got) = raw("POST /api/execute HTTP/1.1\r\nTransfer-Encoding: chunked" .
        "\r\n\r\n" . join('', map { "1\r\n$_\r\n" } split //, $b) .
        "0\r\n\r\n");
    like($got, qr/"stdout":"chunked"/, 'a body in pieces');

    my $s = $agent->connect;
    http_send($s, "POST /api/execute HTTP/1.1\r\nExpect: 100-continue\r\n" .
              'Content-Length: ' . length($b) . "\r\n\r\n");
    ($got) = all_of($s, 0.3);
    is($got, "OK\nHTTP/1.1 100 Continue\r\n\r\n", '100-continue');
    http_send($s, $b);
    ($got) = all_of($s, 0.5);
    like($got, qr/"stdout":"chunked"/, 'then the body');

    $s = $agent->connect;
    http_send($s, "POST /api/execute HTTP/1.1\r\nExpect: 100-continue\r\n" .
              "Content-Length: 99999999999\r\n\r\n");
    ($got, $end) = all_of($s, 1);
    like($got, qr/^OK\nHTTP\/1\.1 413 /, 'too long a body is not asked for');
    ok($end, 'and ends the connection');

    ($got, $end) = raw("POST /api/execute HTTP/1.1\r\nTransfer-Encoding: " .
        "chunked\r\n\r\n" . join('', map { "100000\r\n" . ('x' x 1048576) .
        "\r\n" } 1 .. 17), 2);
    like($got, qr/^HTTP\/1\.1 413 /, 'too long a body in pieces');
    ok($end, 'ends the connection');

    # A body that no handler wants.
    ($got, $end) = raw("GET /api/ping HTTP/1.1\r\nContent-Length: 5\r\n\r\n" .
                       "helloGET / HTTP/1.1\r\n\r\n");
    is(scalar(() = $got =~ /HTTP\/1\.1 200 /g), 2, 'an unwanted body');
    ($got) = raw("POST /nope HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" .
                 ('x' x 300000) . "GET / HTTP/1.1\r\n\r\n", 1);
    like($got, qr/404.*HTTP\/1\.1 200 /s, 'a longer one');
    ($got, $end) = raw("POST /nope HTTP/1.1\r\nContent-Length: 3000000" .
                       "\r\n\r\n" . ('x' x 100000), 1);
    like($got, qr/^HTTP\/1\.1 404/, 'a very long one');
    ok($end, 'ends the connection');
}

for (['nonsense', "GARBAGE\r\n\r\n"], ['a method', "G\@T / HTTP/1.1\r\n\r\n"],
     ['a version', "GET / HTTP/9.9\r\n\r\n"],
     ['no path', "GET nope HTTP/1.1\r\n\r\n"],
     ['an authority', "GET http://x HTTP/1.1\r\n\r\n"],
     ['a NUL in the path', "GET /a%00b HTTP/1.1\r\n\r\n"],
     ['a header', "GET / HTTP/1.1\r\nBad Name: x\r\n\r\n"],
     ['two lengths', "POST / HTTP/1.1\r\nContent-Length: 1\r\n" .
      "Content-Length: 2\r\n\r\nx"],
     ['a length', "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
     ['a negative length', "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"],
     ['length and chunks', "POST / HTTP/1.1\r\nContent-Length: 5\r\n" .
      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
     ['a folded header', "GET / HTTP/1.1\r\nA: b\r\n\0: c\r\n\r\n"])
{
    my ($name, $data) = @$_;
    my ($got, $end) = raw($data, 1);
    like($got, qr/^HTTP\/1\.1 400 /, "malformed: $name");
    ok($end, 'ends the connection');
}

for (['target', 'GET /' . ('a' x 70000) . " HTTP/1.1\r\n\r\n"],
     ['value', "GET / HTTP/1.1\r\nA: " . ('a' x 70000) . "\r\n\r\n"],
     ['name', "GET / HTTP/1.1\r\n" . ('a' x 70000) . ": b\r\n\r\n"],
     ['many', "GET / HTTP/1.1\r\n" . join('', map { "a$_: b\r\n" } 1 .. 200) .
      "\r\n"])
{
    my ($name, $data) = @$_;
    my ($got, $end) = raw($data, 1);
    like($got, qr/^HTTP\/1\.1 431 /, "too large a head: $name");
    ok($end, 'ends the connection');
}

{
    my ($got, $end) = raw("POST /api/execute HTTP/1.1\r\nTransfer-Encoding: " .
                          "chunked\r\n\r\nzz\r\n", 1);
    ok($end, 'a broken chunk ends the connection');
    unlike($got, qr/200/, 'without a result');
    ($got) = raw("GET http://any.host/api/ping HTTP/1.1\r\n\r\n");
    like($got, qr/^HTTP\/1\.1 200/, 'the absolute form');
    ($got) = raw("GET /api/ping HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: " .
                 "h2c\r\n\r\n");
    like($got, qr/^HTTP\/1\.1 200/, 'no upgrade');
}

# A reader that stalls: memory stays small, others are served, the command
# ends.
{
    my @s;
    for (1 .. 4) {
        my $s = $agent->connect;
        my $b = '{"command":"head -c 30000000 /dev/zero | tr \'\\\\0\' x",' .
                qq("sessionId":"stall$_"});
        http_send($s, "POST /api/execute" . ($_ % 2 ? '/stream' : '') .
                  " HTTP/1.1\r\nContent-Length: " . length($b) .
                  "\r\n\r\n$b");
        push @s, $s;
    }
    sleep 2;
    is($agent->get('/api/ping')->{status}, 200, 'others are served');
    my ($rss) = slurp('/proc/' . $agent->pid . '/status')
        =~ /VmRSS:\s+(\d+)/;
    cmp_ok($rss, '<', is_san() ? 500000 : 25000, 'memory stays small');
    my $bad = 0;
    for my $i (0 .. 3) {
        my $got = '';
        sysread $s[$i], $got, 3 - length $got, length $got
            while length $got < 3;
        my $n = 0;
        my $r = http_read($s[$i], timeout => 30, on_data => sub {
            $n += $_[0] =~ tr/x//; return 1 });
        $bad++ if $n < 30000000 || !$r->{complete};
    }
    is($bad, 0, 'and gets all of it later');
}

# Too many connections.
{
    my @s;
    for (1 .. 600) {
        my $s = $agent->connect or last;
        push @s, $s;
    }
    my $got = '';
    sysread $s[-1], $got, 64;
    is($got, "ERR limit\n", 'the 600th connection');
    my $n = 0;
    for my $s (@s) {
        my $b = '';
        sysread $s, $b, 64 unless $s == $s[-1];
        $n++ if $b eq "OK\n";
    }
    is($n, 512, '512 are served');
    @s = ();
    ok(wait_for(sub { $agent->get('/api/ping')->{status} == 200 }, 5),
       'and again when they are gone');
}

# The first line has a deadline.
{
    my $s = http_connect(unix => $agent->{socket});
    syswrite $s, 'CONTROL ';
    my $start = time;
    my ($got, $end) = all_of($s, 40);
    is($got, '', 'no first line: no word');
    ok($end && time - $start > 8 && time - $start < 30, 'after ten seconds');
}

is($agent->stop, 0, 'ends in order');

done_testing();
