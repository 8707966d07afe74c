#!/usr/bin/perl

# Waiting for a port: never ready before it is, never after its process has
# ended, and nothing is left when the client goes.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use IO::Socket::INET;
use Socket qw(IPPROTO_IPV6 AF_INET6 SOCK_STREAM pack_sockaddr_in6 inet_pton
              unpack_sockaddr_in6);
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $dir = tmp_dir();
my $agent = AgentClient->start();

# A server that answers each path in its own way and writes down what it was
# asked.
spew("$dir/server.pl", <<'PERL');
use IO::Socket::INET;
$| = 1;
$SIG{CHLD} = 'IGNORE';
my ($port, $log) = @ARGV;
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
    Listen => 64, ReuseAddr => 1) or die "listen: $!";
print "up\n";
while (my $c = $l->accept) {
    next if fork;
    my $head = '';
    while ($head !~ /\r\n\r\n/) { sysread $c, $head, 4096, length $head or last }
    open my $f, '>>', $log; syswrite $f, $head; close $f;
    my ($path) = $head =~ /^GET (\S+) /;
    my $redirect = sub { syswrite $c, "HTTP/1.1 302 Found\r\nLocation: $_[0]\r\n\r\n" };
    if ($path eq '/') { syswrite $c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }
    elsif ($path eq '/slow') { syswrite $c, "HTTP/1.1 "; sleep 1; syswrite $c, "204 No\r\n\r\n" }
    elsif ($path eq '/never') { sleep 60 }
    elsif ($path eq '/noise') { syswrite $c, "SSH-2.0-x\r\n"; sleep 60 }
    elsif ($path eq '/endless') { syswrite $c, "HTTP/1.1 200 OK\r\n"; 1 while syswrite $c, "A: " . ('b' x 4000) . "\r\n" }
    elsif ($path eq '/close') { }
    elsif ($path eq '/to') { $redirect->('/slow') }
    elsif ($path eq '/up') { $redirect->('x/../?y') }
    elsif ($path eq '/?y') { syswrite $c, "HTTP/1.1 201 Made\r\n\r\n" }
    elsif ($path eq '/circle') { $redirect->('/circle') }
    elsif ($path eq '/away') { $redirect->('https://example.com/') }
    elsif ($path eq '/other') { $redirect->("http://localhost:$port/") }
    elsif ($path =~ m{^/later}) { syswrite $c, 'HTTP/1.1 ' . (-e "$log.now" ? 200 : 503) . " x\r\n\r\n" }
    else { syswrite $c, "HTTP/1.1 404 Not Found\r\n\r\n" }
    exit;
}
PERL


sub start {
    my ($command, %o) = @_;

    return $agent->post('/api/process/start',
        { command => $command, sessionId => '__DISABLE_SESSION__', %o });
}


# The events of a watch.
sub watch {
    my ($port, %o) = @_;
    my $wait = delete $o{wait};
    my $r = $agent->post('/api/port-watch',
        { port => $port, mode => 'http', interval => 100, %o },
        timeout => $wait // 30);

    return ($r, AgentClient->frames($r->{body}));
}


# The last event as text.
sub last_of {
    my ($r, @f) = watch(@_);
    my $e = $f[-1] || {};

    return join ' ', map { $_ // '' } $e->{type},
        $e->{statusCode} // $e->{exitCode} // $e->{error} // ();
}


sub open_watch {
    my (%o) = @_;
    my $s = $agent->connect;
    my $body = json_encode({ interval => 100, %o });

    http_send($s, "POST /api/port-watch HTTP/1.1\r\nHost: x\r\n" .
              'Content-Length: ' . length($body) . "\r\n\r\n$body");

    return $s;
}


sub finish {
    my ($s, $seconds) = @_;
    my $got = '';

    while (length $got < 3) {
        sysread($s, $got, 3 - length $got, length $got) or last;
    }

    return AgentClient->frames(http_read($s, timeout => $seconds // 30)
                               ->{body});
}


my $port = free_port();
my $log = "$dir/asked";
my $web = start("exec perl $dir/server.pl $port $log", processId => 'web');

is($web->{status}, 200, 'a server starts');

# HTTP.

{
    my ($r, @f) = watch($port, processId => 'web');
    is($r->{status}, 200, 'a port is watched');
    is($r->{headers}{'content-type'}, 'text/event-stream', 'content type');
    is($r->{headers}{'cache-control'}, 'no-cache', 'cache control');
    is($r->{body}, qq(data: {"type":"watching","port":$port}\n\n) .
       qq(data: {"type":"ready","port":$port,"statusCode":200}\n\n),
       'its bytes');
    ok($r->{complete}, 'a proper end');
    like(slurp($log), qr{^GET / HTTP/1\.1\r\nHost: localhost:$port\r\n},
         'what the port was asked');

    my $begin = time;
    is(last_of($port), 'ready 200', 'without a process');
    is(last_of($port, mode => undef), 'ready 200', 'http is the default');
    is(last_of($port, path => '/slow'), 'ready 204', 'an answer in pieces');
    is(last_of($port, path => 'x', statusMin => 404, statusMax => 404),
       'ready 404', 'a path without a slash, another status');
    is(last_of($port, path => '/to'), 'ready 204', 'a redirect is followed');
    is(last_of($port, path => '/up'), 'ready 201', 'a relative one');
    is(last_of($port, path => '/other'), 'ready 200', 'one with a host');
    is(last_of($port, path => '/away'), 'ready 302',
       'one that leads elsewhere is the answer');
    is(last_of($port, path => '/circle', statusMin => 302, statusMax => 302),
       'ready 302', 'who asks for a redirect gets it');

    unlink $log;
    is(last_of($port, path => "/a b\r\nX: y#z", statusMin => 404,
               statusMax => 404), 'ready 404', 'an odd path');
    like(slurp($log), qr{^GET /a%20b%0D%0AX:%20y HTTP/1\.1\r\nHost: }m,
         'stays in its line');
}

# What isn't ready.

for (['/missing', {}], ['/', { statusMin => 500, statusMax => 599 }],
     ['/noise', {}], ['/close', {}], ['/circle', {}], ['/endless', {}],
     ['/never', {}])
{
    my ($path, $o) = @$_;
    my ($r, @f) = watch($port, path => $path, timeoutMs => 600, %$o);
    is($f[-1]{type}, 'error', "not ready: $path");
    is($f[-1]{code}, 'PROCESS_READY_TIMEOUT', 'the time is over');
    is($f[-1]{error}, "Port $port was not ready within 600ms", 'told');
}

{
    my $s = open_watch(port => $port, path => '/later');
    sleep 0.5;
    spew("$log.now", '');
    my @f = finish($s);
    is_deeply([map { "$_->{type}" . ($_->{statusCode} // '') } @f],
              ['watching', 'ready200'], 'ready as soon as it is');
    unlink "$log.now";
}

# TCP, and nobody there.

{
    my $free = free_port();
    is(last_of($port, mode => 'tcp'), 'ready', 'a connection is enough');
    my ($r) = watch($port, mode => 'tcp');
    is($r->{body}, qq(data: {"type":"watching","port":$port}\n\n) .
       qq(data: {"type":"ready","port":$port}\n\n), 'its bytes');
    for my $mode ('tcp', 'http') {
        is(last_of($free, mode => $mode, timeoutMs => 350),
           "error Port $free was not ready within 350ms",
           "$mode: nobody listens");
    }

    my $s = open_watch(port => $free, mode => 'tcp');
    sleep 0.35;
    my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $free, Listen => 1, ReuseAddr => 1);
    ok($l, 'the port is free while it is watched');
    my @f = finish($s);
    is($f[-1]{type}, 'ready', 'somebody listens, nobody accepts: ready');
    close $l;

    # Nothing listens on any of these, and each number is one that the kernel
    # may choose for the prober's own end.
    my ($from, $to) = split ' ', slurp('/proc/sys/net/ipv4/ip_local_port_range');
    my @none = grep { !IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                              PeerPort => $_) }
        map { $from + int rand($to - $from) } 1 .. 40;
    my @s = map { open_watch(port => $_, mode => 'tcp', timeoutMs => 1500) }
        @none;
    my @ready;
    for my $i (0 .. $#s) {
        my @e = finish($s[$i]);
        push @ready, $none[$i] if $e[-1]{type} ne 'error';
    }
    is_deeply(\@ready, [], 'no port is ready by a connection with itself');
}

# Where the kernel has but one number to give away, a connection to it from
# here would be one with itself.

SKIP: {
    spew("$dir/net.pl", <<'PERL');
socket(my $s, 2, 2, 0) or die "socket: $!";
my $flags = pack('a16s x22', 'lo', 0x41);
ioctl($s, 0x8914, $flags) or die "lo: $!";
open my $f, '>', '/proc/sys/net/ipv4/ip_local_port_range' or die "range: $!";
syswrite $f, "40001 40001\n" or die "range: $!";
exec @ARGV;
PERL
    my @before = ('unshare', '-n', 'perl', "$dir/net.pl");
    my ($status, $out, $err) = run_command([@before, 'true']);
    skip "no network of its own: $err", 2 if $status != 0;
    my $alone = AgentClient->start(before => \@before);
    for my $mode ('tcp', 'http') {
        my $r = $alone->post('/api/port-watch', { port => 40001,
            mode => $mode, interval => 100, timeoutMs => 500,
            statusMin => 100, statusMax => 999 });
        my @f = AgentClient->frames($r->{body});
        is($f[-1]{type}, 'error', "$mode: no connection with itself");
    }
    $alone->stop;
}

# IPv6 only.

SKIP: {
    my $l;
    socket($l, AF_INET6, SOCK_STREAM, 0)
        && setsockopt($l, IPPROTO_IPV6, 26, pack('i', 1))
        && bind($l, pack_sockaddr_in6(0, inet_pton(AF_INET6, '::1')))
        && listen($l, 5) or skip "no IPv6 here: $!", 1;
    my ($six) = unpack_sockaddr_in6(getsockname $l);
    is(last_of($six, mode => 'tcp'), 'ready', 'a port of ::1');
}

# With a process.

{
    my ($r, @f) = watch($port, processId => 'nope');
    is($r->{body}, qq(data: {"type":"watching","port":$port}\n\n) .
       qq(data: {"type":"error","port":$port,"error":"Process not found"}\n\n),
       'an unknown process');

    my $free = free_port();
    start('sleep 0.5; exit 4', processId => 'short');
    my $begin = time;
    ($r, @f) = watch($free, processId => 'short', mode => 'tcp',
                     interval => 10000);
    is($r->{body}, qq(data: {"type":"watching","port":$free}\n\n) .
       qq(data: {"type":"process_exited","port":$free,"exitCode":4}\n\n),
       'a process that ends first');
    cmp_ok(time - $begin, '<', 8, 'is told at once, not at the next probe');
    is(last_of($port, processId => 'short'), 'process_exited 4',
       'one that has ended is never ready, whoever answers');
    start('exec sleep 30', processId => 'killed');
    my $s = open_watch(port => $free, mode => 'tcp', processId => 'killed');
    $agent->request('DELETE', '/api/process/killed');
    @f = finish($s);
    is("$f[-1]{type} $f[-1]{exitCode}", 'process_exited 143',
       'a killed one, with its code');

    # In a session, and in the queue of one.
    my $third = free_port();
    start("perl $dir/server.pl $third $dir/asked2", processId => 'in',
          sessionId => 'watch');
    is(last_of($third, processId => 'in'), 'ready 200',
       'a process of a session');
    my $busy = $agent->connect;
    my $body = json_encode({ command => 'sleep 1', sessionId => 'watch' });
    http_send($busy, "POST /api/execute HTTP/1.1\r\nHost: x\r\n" .
              'Content-Length: ' . length($body) . "\r\n\r\n$body");
    my $queued = $agent->connect;
    $body = json_encode({ command => 'exec sleep 30', sessionId => 'watch',
                          processId => 'queued' });
    http_send($queued, "POST /api/process/start HTTP/1.1\r\nHost: x\r\n" .
              'Content-Length: ' . length($body) . "\r\n\r\n$body");
    ok(wait_for(sub { grep { $_->{id} eq 'queued' }
            @{ $agent->get('/api/process/list')->{json}{processes} } }, 10),
       'a process that waits for its session');
    ($r, @f) = watch($third, processId => 'queued');
    my $p = $agent->get('/api/process/queued')->{json}{process};
    ok($p->{pid}, 'is not ready before it runs') or diag($r->{body});
    is($f[-1]{type}, 'ready', 'but then');
    $agent->request('DELETE', "/api/process/$_") for 'queued', 'in';
}

# Bad requests.

for (['no port', {}], ['port', { port => 0 }], ['port', { port => 65536 }],
     ['port', { port => 1.5 }], ['port', { port => '80' }],
     ['port', { port => -1 }], ['mode', { port => 80, mode => 'udp' }],
     ['mode', { port => 80, mode => 1 }], ['path', { port => 80, path => 1 }],
     ['path', { port => 80, path => '/' . 'x' x 5000 }],
     ['path', { port => 80, path => "/\0" }],
     ['statusMin', { port => 80, statusMin => 99 }],
     ['statusMin', { port => 80, statusMin => 400 }],
     ['statusMax', { port => 80, statusMax => 'x' }],
     ['interval', { port => 80, interval => 'x' }],
     ['interval', { port => 80, interval => -1 }],
     ['timeoutMs', { port => 80, timeoutMs => -1 }],
     ['processId', { port => 80, processId => 1 }])
{
    my ($name, $body) = @$_;
    my $r = $agent->post('/api/port-watch', $body);
    is($r->{status}, 400, "bad request: $name");
    is($r->{json}{code}, 'VALIDATION_FAILED', 'code');
    like($r->{json}{context}{validationErrors}[0]{field}, qr/^(?:$name|port)$/,
         'names the member');
}
is($agent->request('POST', '/api/port-watch', body => '{')->{status}, 400,
   'no JSON');

# The client leaves: the probes stop.  Many at once: bounded.

{
    sleep 0.2;
    my $fds = $agent->fd_count;
    my @s = map { open_watch(port => $port, path => "/missing$_") } 1 .. 20;
    ok(wait_for(sub { (slurp($log) // '') =~ m{GET /missing20 } }, 20),
       'twenty watches');
    close $_ for @s;
    ok(wait_for(sub { $agent->fd_count <= $fds }, 20),
       'the clients leave: no descriptor is left')
        or diag($agent->fd_count . " of $fds");
    ok(wait_for(sub {
        unlink $log;
        sleep 0.5;
        (slurp($log) // '') !~ /missing/;
    }, 20), 'and no port is asked any more');

    my $free = free_port();
    # Some more, since what is asked in between takes a place as well.
    @s = map { open_watch(port => $free, mode => 'tcp') } 1 .. 140;
    my $r;
    ok(wait_for(sub {
        $r = $agent->post('/api/port-watch', { port => $free, mode => 'tcp',
                                               timeoutMs => 1 });
        $r->{status} == 503
    }, 30), 'a watch too many');
    is($r->{json}{code}, 'RESOURCE_BUSY', 'is refused');
    close $_ for @s;
    ok(wait_for(sub { $agent->post('/api/port-watch', { port => $free,
            mode => 'tcp', timeoutMs => 1 })->{status} == 200 }, 30),
       'when they are gone there is room again');
}

is($agent->stop, 0, 'ends in order');
ok(!$agent->{left}, 'and leaves nothing') or diag("@{ $agent->{left} }");

done_testing();
