#!/usr/bin/perl

# Connections to sandboxes that are kept for further requests: by
# sandbox_keepalive, by nginx's own keepalive, by both.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(sleep);

alarm_after(180);

my $d = 'preview.test';
my @ports = (8000 .. 8007);

sub host { my ($slot, $port) = @_; return "$port-box$slot-tok.$d" }

sub edge {
    my ($keepalive, %o) = @_;
    my $e = Edge->new(keepalive => $keepalive, %o);

    $e->agent($_, ports => $o{ports} || \@ports) for 1 .. $o{boxes} || 1;

    return $e->start;
}

# ---- what all ways of keeping have in common

for my $keepalive ('sandbox_keepalive 16', 'keepalive 16',
    'sandbox_keepalive 2; keepalive 16')
{
    my $e = edge($keepalive);
    my $a = $e->{agents}{1};
    my @n;

    push @n, $e->get(host(1, 8000))->{json}{connection} for 1 .. 8;
    is_deeply(\@n, [(1) x 8], "$keepalive: one connection for all requests");
    is($e->get(host(1, 8001))->{json}{connection}, 2, 'another for a port');
    $e->api(GET => '/v1/sandbox/box1/api/ping') for 1 .. 4;
    is($a->connections, 3, 'another for the agent itself');
    is($e->get(host(1, 8000), '/', method => 'POST', body => 'x')
        ->{json}{connection}, 4, 'and for a POST to an app');
    is($e->get(host(1, 8000), '/close')->{status}, 200, 'an app that closes');
    is($e->get(host(1, 8000))->{status}, 200, 'is connected to anew');
    $e->stop;
    $e->no_alerts;
}

# ---- how many, how long

# nginx's own, which newer versions have without being told, adds nothing.

{
    my $e = edge('sandbox_keepalive 8 per_sandbox=4 requests=5 timeout=60s; '
        . 'keepalive 16', boxes => 3);
    my @agents = map { $e->{agents}{$_} } 1 .. 3;
    my @n = map { $e->get(host(1, 8000))->{json}{connection} } 1 .. 6;

    is_deeply(\@n, [1, 1, 1, 1, 1, 2], 'no more requests than it is told');

    $e->get(host(1, $_)) for @ports;
    ok(wait_for(sub { $agents[0]->open_connections == 4 }, 20),
        'no more for one sandbox');
    @n = map { $e->get(host(1, $_))->{json}{connection} } 8004 .. 8007;
    my $last = $agents[0]->connections;
    is_deeply(\@n, [$last - 3 .. $last], 'the last ones are kept');

    $e->get(host($_, 8003)), $e->get(host($_, 8004)) for 2, 3;
    is($agents[0]->open_connections, 4, 'all fit');
    $e->get(host(2, 8005));
    ok(wait_for(sub { $agents[0]->open_connections == 3 }, 20),
        'one more takes the place of what was used longest ago');
    $e->get(host(1, 8005));
    is($agents[0]->connections, $last, 'and of nothing else');
    $e->stop;
    $e->no_alerts;
}

{
    my $e = edge('sandbox_keepalive 8 timeout=1s');
    my $a = $e->{agents}{1};

    $e->get(host(1, $_)) for @ports;
    is($a->open_connections, 8, 'all are kept');
    ok(wait_for(sub { $a->open_connections == 0 }, 30), 'and then closed');
    is($e->get(host(1, 8000))->{status}, 200, 'the next request is served');
    ok(wait_for(sub { $a->open_connections == 0 }, 30), 'and closed again');
    $e->stop;
    $e->no_alerts;
}

{
    my $e = edge('sandbox_keepalive 8 time=1s timeout=60s; keepalive 16');
    my $a = $e->{agents}{1};

    $e->get(host(1, 8000));
    sleep 1.2;
    $e->get(host(1, 8000)) for 1, 2;
    is($a->connections, 2, 'what is too old serves one more request');
    $e->stop;
}

# ---- a worker that has no connections to spare

{
    my $e = edge('sandbox_keepalive 64 per_sandbox=64 timeout=60s',
        connections => 64, ports => [8000 .. 8079]);
    my $a = $e->{agents}{1};
    my @status = map { $e->get(host(1, $_))->{status} } 8000 .. 8079;

    is_deeply(\@status, [(200) x 80], 'with few worker_connections');
    cmp_ok($a->open_connections, '<', 60, 'not all of them are kept');
    cmp_ok($a->open_connections, '>', 20, 'but some');
    ok(!$e->logged(qr/worker_connections are not enough/), 'nobody lacked one');
    $e->stop;
    $e->no_alerts;
}

# ---- what ends them at once

my $e = edge('sandbox_keepalive 64 timeout=10m', boxes => 2);
my ($a, $b) = map { $e->{agents}{$_} } 1, 2;

sub fill {
    $e->get(host($_, 8000)), $e->get(host($_, 8001)),
        $e->api(GET => "/v1/sandbox/box$_/api/ping") for 1, 2;
    return $a->open_connections == 3 && $b->open_connections == 3;
}

sub left {
    my ($n, $what) = @_;

    ok(wait_for(sub { $a->open_connections == $n }, 20), $what)
        or diag($a->open_connections, ' are open');
    is($b->open_connections, 3, 'the other sandbox keeps its own');
}

my %box = (slot => 1, id => 'box1', key => $e->key(1));

ok(fill(), 'three connections for each');
$e->daemon->sandbox(%box, state => 'running', epoch => 1);
$e->daemon->sandbox(%box, state => 'sleeping', epoch => 1);
$e->daemon->sandbox(%box, state => 'running', epoch => 1);
$e->get(host(1, 8000));
is($a->connections, 3, 'a run that goes on keeps its connections');

$e->daemon->expose(slot => 1, port => 8000, label => '8000-box1-tok',
    host => 'public');
left(2, 'a port is exposed otherwise');
ok(fill(), 'a new connection');
$e->daemon->gone(kind => 'exposure', slot => 1, label => '8001-box1-tok');
left(1, 'a port is not exposed any more');
$e->daemon->expose(slot => 1, port => 8001, label => '8001-box1-tok');
wait_for(sub { $e->get(host(1, 8001))->{status} == 200 }, 20);
ok(fill(), 'exposed again');
$e->daemon->sandbox(%box, state => 'running', epoch => 2);
left(0, 'another run');
ok(fill(), 'which has its own');
$e->daemon->sandbox(%box, state => 'asleep', epoch => 2);
left(0, 'it sleeps');
$e->daemon->sandbox(%box, state => 'running', epoch => 3);
wait_for(sub { $e->get(host(1, 8001))->{status} == 200 }, 20);
ok(fill(), 'it runs again');

$e->get(host(1, 8000), '/late');
left(2, 'an app says what nobody has asked for');
my $r = $e->get(host(1, 8000));
is($r->{json}{name}, 'box1', 'which is nobody\'s answer');
ok(fill(), 'three for each');

$e->daemon->stop;
$e->daemon->serve;
ok(wait_for(sub { $a->open_connections + $b->open_connections == 0 }, 30),
    'changes may have been missed while sandboxd was away');
wait_for(sub { $e->connected && fill() }, 20);
ok(fill(), 'three for each, once more');

$e->reload;
ok(wait_for(sub { $a->open_connections + $b->open_connections == 0 }, 30),
    'a worker that exits closes what it has kept');
ok(fill(), 'the next one has its own');
$e->daemon->gone(kind => 'sandbox', slot => 1, id => 'box1');
left(0, 'a sandbox that is destroyed');

$e->stop;
$e->no_alerts;

# ---- what the configuration may say

for my $c (['sandbox_keepalive 0', qr/it must be 1 to 65536/],
    ['sandbox_keepalive 65537', qr/it must be 1 to 65536/],
    ['sandbox_keepalive x', qr/invalid number of connections "x"/],
    ['sandbox_keepalive 8 timeout=x', qr/invalid parameter "timeout=x"/],
    ['sandbox_keepalive 8 timeout=', qr/invalid parameter "timeout="/],
    ['sandbox_keepalive 8 timeout=0', qr/invalid parameter "timeout=0"/],
    ['sandbox_keepalive 8 per_sandbox=0', qr/invalid parameter "per_sandbox=0"/],
    ['sandbox_keepalive 8 requests=-1', qr/invalid parameter "requests=-1"/],
    ['sandbox_keepalive 8 other=1', qr/invalid parameter "other=1"/],
    ['sandbox_keepalive 8; sandbox_keepalive 8', qr/is duplicate/])
{
    my ($status, $text) = Edge->new(keepalive => $c->[0])->test_conf;

    ok($status != 0, "refused: $c->[0]");
    like($text, $c->[1], 'and says why');
}

my ($status, $text) = Edge->new(more_servers =>
    'upstream other { sandbox_keepalive 8; server 127.0.0.1:1; }')->test_conf;

ok($status != 0, 'refused: an upstream without sandboxes');
like($text, qr/needs "sandbox" before it/, 'and says why');

done_testing();
