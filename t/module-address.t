#!/usr/bin/perl

# Agents at addresses, as the module sees them: connections that take their
# time, that fail, that are kept, and that are for nobody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use IO::Socket::INET;
use POSIX ();
use Socket;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(200);

my $e = Edge->new(workers => 1, http_conf => 'sandbox_wake_timeout 20s;');
my $d = $e->daemon;
my $host = '127.77.' . ($$ >> 8 & 255) . '.' . ($$ & 255 || 1);
my $key = $e->key(1);


sub tcp {
    my ($port) = @_;

    return { kind => 'tcp', address => $host, port => $port };
}

sub port_of {
    my $l = IO::Socket::INET->new(LocalAddr => $host, Listen => 1) or die $!;

    return $l->sockport;
}

my $port = port_of();
my $agent = FakeAgent->start(dir => $e->{dir}, slot => 1, key => $key,
    name => 'far', tcp => "$host:$port");

$d->sandbox(slot => $_, id => "box$_", key => $key, endpoint => tcp($port))
    for 1, 2;
$d->expose(slot => $_, port => 8000, label => "8000-box$_-tok") for 1, 2;
$d->expose(slot => 1, port => 8001, label => '8001-box1-tok');
$e->start;

sub get { return $e->get("$_[0].preview.test", $_[1] // '/') }

my $r = get('8000-box1-tok');

is($r->{status}, 200, 'a preview of an agent at an address')
    or diag $r->{body}, slurp($e->{error_log});
is($agent->connections, 1, 'one connection');
get('8000-box1-tok') for 1 .. 3;
is($agent->connections, 1, 'which is kept');

# ---- what is kept is for the same sandbox, run, kind and port alone

is(get('8000-box2-tok')->{status}, 200, 'another sandbox at the same address');
is($agent->connections, 2, 'has a connection of its own');
get('8001-box1-tok');
is($agent->connections, 3, 'and so has another port');
$e->api(GET => '/v1/sandbox/box1/api/ping');
is($agent->connections, 4, 'and the API');
$d->sandbox(slot => 1, id => 'box1', key => $key, endpoint => tcp($port),
    epoch => 2);
ok(wait_for(sub { get('8000-box1-tok'); $agent->connections == 5 }, 20),
    'and another run');
get('8000-box1-tok') for 1 .. 3;
is($agent->connections, 5, 'which is kept as well');

# ---- bodies and WebSockets

my $body = join '', map { chr(65 + $_ % 26) } 0 .. 300_000;

$r = $e->get('8000-box1-tok.preview.test', '/', method => 'POST',
    body => $body);
is($r->{status}, 200, 'a body is streamed there');
is($r->{json}{size}, 300_001, 'all of it');
$r = $e->get('8000-box1-tok.preview.test', '/big?3000000');
is(length $r->{body}, 3_000_000, 'and one from there');
{
    my $w = http_connect(port => $e->{port});

    http_send($w, "GET /ws HTTP/1.1\r\nHost: 8000-box1-tok.preview.test\r\n"
        . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        . "Sec-WebSocket-Version: 13\r\n"
        . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    is(http_read($w, timeout => 20)->{status}, 101, 'a WebSocket');
}

# ---- gone: the gate is asked once more

my $other = port_of();
my $calls = $d->stats->{calls}{start} // 0;

$d->fault(start_run => { 1 => { slot => 1, epoch => 3, key => $key,
    endpoint => tcp($port) } });
$d->sandbox(slot => 1, id => 'box1', key => $key, endpoint => tcp($other),
    epoch => 2);
ok(wait_for(sub { get('8000-box1-tok')->{status} == 200
                  && ($d->stats->{calls}{start} // 0) > $calls }, 20),
    'nobody is at the address: another run is asked for, and reached');

# From an address to a socket, and back, while a request waits.

my $near = FakeAgent->start(dir => $e->{dir}, slot => 1, key => $key,
    name => 'near');

$d->fault(start_delay => 0.3, start_run => { 1 => { slot => 1, epoch => 5,
    key => $key, endpoint => { kind => 'unix' } } });
$d->sandbox(slot => 1, id => 'box1', key => $key, endpoint => tcp($other),
    epoch => 4);
ok(wait_for(sub { get('8000-box1-tok')->{status} == 200
                  && $near->connections }, 20),
    'a request that waited goes to a socket');
$near->stop(unlink => 1);

my $n = $agent->connections;

$d->fault(start_delay => 0.3, start_run => { 1 => { slot => 1, epoch => 7,
    key => $key, endpoint => tcp($port) } });
$d->sandbox(slot => 1, id => 'box1', key => $key,
    endpoint => { kind => 'unix' }, epoch => 6);
ok(wait_for(sub { get('8000-box1-tok')->{status} == 200
                  && $agent->connections > $n }, 20),
    'and one to an address');

$d->fault(start_error => { status => 503, code => 'sandbox_unreachable',
    message => 'it is gone', retry_after => 7 });
$d->sandbox(slot => 1, id => 'box1', key => $key, endpoint => tcp($other),
    epoch => 8);
wait_for(sub { $r = get('8000-box1-tok'); $r->{status} == 503 }, 20);
is("$r->{status} $r->{json}{code}", '503 sandbox_unreachable',
    'one that is not found again');
is($r->{headers}{'retry-after'}, 7, 'with when to come back');
$d->fault(start_error => undef, start_delay => 0);

# ---- connections that take their time

# A queue that is full: what comes is not answered before there is room.
sub full {
    my $l = IO::Socket::INET->new(LocalAddr => $host, Listen => 1) or die $!;
    my @held;

    listen $l, 0;
    for (1 .. 8) {
        my $c = IO::Socket::INET->new(Proto => 'tcp', Blocking => 0) or die $!;

        connect $c, pack_sockaddr_in($l->sockport, inet_aton($host));
        push @held, $c;
    }
    sleep 0.1;

    return ($l, \@held);
}

# A request in a process of its own; its status.
sub later {
    my ($label, $listener) = @_;

    pipe my $read, my $write or die $!;
    my $pid = fork() // die $!;

    if ($pid == 0) {
        close $listener;
        my $got = get($label);

        syswrite $write, $got->{status};
        POSIX::_exit(0);
    }
    close $write;

    return sub {
        sysread $read, my $status, 10;
        waitpid $pid, 0;
        return $status // 'none';
    };
}

my ($l, $held) = full();

$d->sandbox(slot => 2, id => 'box2', key => $key, endpoint =>
    tcp($l->sockport), epoch => 2);

my $status = later('8000-box2-tok', $l);

sleep 0.5;
close $_ for @$held;

{
    my $slow = bless { dir => $e->{dir}, slot => 2, key => $key,
        name => 'slow', log => "$e->{dir}/agent-slow.log" }, 'FakeAgent';
    my $pid = fork() // die $!;

    spew($slow->{log}, '', 0666);
    if ($pid == 0) {
        $slow->serve($l);
        POSIX::_exit(0);
    }
    $slow->{pid} = $pid;
    is($status->(), 200, 'one that connects late is waited for');
    $slow->stop;
}
close $l;

# It ends while a connection is on its way.
($l, $held) = full();
$calls = $d->stats->{calls}{start} // 0;
$d->fault(start_run => { 2 => { slot => 2, epoch => 4, key => $key,
    endpoint => tcp($port) } });
$d->sandbox(slot => 2, id => 'box2', key => $key, endpoint =>
    tcp($l->sockport), epoch => 3);
$status = later('8000-box2-tok', $l);
sleep 0.5;
close $l;
close $_ for @$held;
is($status->(), 200, 'one that fails late is asked for once more');
is($d->stats->{calls}{start} // 0, $calls + 1, 'with one question');

# ---- behind a VMM's socket

my $vm = FakeAgent->start(dir => $e->{dir}, slot => 7, key => $key,
    name => 'vm', vmm => 4294967294);

$d->sandbox(slot => 7, id => 'box7', key => $key,
    endpoint => { kind => 'unix', vsockPort => 4294967294 });
$d->expose(slot => 7, port => 65000, label => '65000-box7-tok');
wait_for(sub { get('65000-box7-tok')->{status} != 404 }, 20);
$r = get('65000-box7-tok');
is($r->{status}, 200, "a preview behind a VMM's socket") or diag $r->{body};
is($r->{json}{name}, 'vm', 'of the agent there');
like($vm->log, qr/^vmm:\ CONNECT\ 4294967294\n
    connection\ \d+:\ CONNECT\ 65000\ [0-9a-f]{32}\nwith\ the\ request/mx,
    'all lines come with the request');
$n = $vm->connections;
$r = $e->get('65000-box7-tok.preview.test', '/', method => 'POST',
    body => $body);
is($r->{json}{size}, 300_001, 'a body');
is($e->api(GET => '/v1/sandbox/box7/api/ping')->{json}{name}, 'vm', 'the API');
$vm->stop(unlink => 1);
$d->fault(start_run => { 7 => { slot => 7, epoch => 2, key => $key,
    endpoint => tcp($port) } });
is(get('65000-box7-tok')->{json}{name}, 'far', 'it moves to an address');

# ---- a virtual machine that is not there

SKIP: {
    socket my $vsock, 40, SOCK_STREAM, 0
        or skip 'this host has no AF_VSOCK', 1;
    close $vsock;
    $d->fault(start_run => { 7 => { slot => 7, epoch => 4, key => $key,
        endpoint => tcp($port) } });
    $d->sandbox(slot => 7, id => 'box7', key => $key, epoch => 3,
        endpoint => { kind => 'vsock', cid => 1000, port => 1024 });
    ok(wait_for(sub {
        my $calls = $d->stats->{calls}{start} // 0;

        ($e->get('65000-box7-tok.preview.test', '/', method => 'POST',
            body => $body)->{json}{name} // '') eq 'far'
            && $d->stats->{calls}{start} > $calls
    }, 30), 'it is asked for once more, with its body');
}

# ---- nobody is asked where visitors wake nothing

$d->sandbox(slot => 6, id => 'box6', key => '', state => 'unreachable',
    endpoint => { kind => 'tcp' });
$d->expose(slot => 6, port => 8000, label => '8000-box6-tok', wake => 'off');
wait_for(sub { get('8000-box6-tok')->{status} != 404 }, 20);
$calls = $d->stats->{calls}{start} // 0;
$r = get('8000-box6-tok');
is("$r->{status} $r->{json}{code}", '503 sandbox_unreachable',
    'who wakes nothing is told that it is not reached');
is($d->stats->{calls}{start} // 0, $calls, 'and sandboxd is not asked');

# ---- what is no address

$d->sandbox(slot => 3, id => 'box3', key => $key, endpoint => $_)
    for { kind => 'tcp', address => 'localhost', port => 80 },
        { kind => 'tcp', port => 80 }, { kind => 'tcp', address => $host },
        { kind => 'vsock', cid => 2, port => 80 }, { kind => 'pipe' }, {};
$d->sandbox(slot => 4, id => 'box4', key => $key, state => 'unreachable',
    endpoint => { kind => 'tcp' });
ok(wait_for(sub {
    my @bad = slurp($e->{error_log}) =~ /sent an event that is none/g;
    @bad == 6;
}, 20), 'what is no address is no record');

# ---- the zone takes back what it gave

$d->sandbox(slot => 4, id => 'box4', key => $key, epoch => $_,
    endpoint => $_ % 3 ? tcp($port) : { kind => 'unix' },
    state => $_ % 2 ? 'running' : 'unreachable') for 1 .. 200;
$d->sandbox(slot => 5, id => 'box' . 'x' x 124, key => $key,
    endpoint => tcp($port));
$d->gone(kind => 'sandbox', slot => $_, id => "box$_") for 4, 5;
ok(wait_for(sub { get('8000-box1-tok')->{status} }, 10), 'it goes on');

$agent->stop;
$e->stop;
$e->no_alerts;
done_testing();
