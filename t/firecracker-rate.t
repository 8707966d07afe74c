#!/usr/bin/perl

# The limits of a Firecracker machine's network: as its sandbox's policy has
# them, from its start on, when they change, after a wake and after a restart of
# sandboxd.  Firecracker is played as in t/firecracker.t, the network is as in
# t/network.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Firecracker;
use Harness;
use NetWorld;
use System;
use Test::More;
use Vm;

delete $ENV{SANDBOX_DRIVER};

BEGIN {
    Firecracker->plan;
    NetWorld->enter;
}

alarm_after(200);

my $w = NetWorld->new;
my %slow = (timeout => 30);
my $s = System->start(driver => 'firecracker', workers => 1,
    daemon_args => ['--network-pool', '100.64.9.0/24']);

sub network {
    my ($id, $network) = @_;
    my $r = $s->api(PATCH => "/v1/sandbox/$id", %slow,
        json => { network => $network });

    is($r->{status}, 200, '(changed)') or diag json_encode($r);
}

# What its Firecracker was told, one after the other.
sub told {
    my ($id) = @_;
    my $console = sprintf '%s/microvms/%08x/console', $s->{state},
        Vm::slot($s, $id);

    return join ' ', (slurp($console) // '') =~ /^played: rate (\d+ \d+)$/mg;
}

sub told_is {
    my ($id, $want, $what) = @_;

    ok(wait_for(sub { told($id) eq $want }, 20), $what) or diag told($id);
}

my $r = $s->api(POST => '/v1/sandbox', %slow, json => { id => 'one',
    network => { outbound => 'on', bandwidth => '1M' } });
is($r->{status}, 200, 'one with a bandwidth') or diag json_encode($r);
is($s->exec('one', 'echo up', %slow)->{stdout}, 'up', 'runs')
    or diag slurp($s->{daemon_log});
my $all = '1048576 1048576';
told_is('one', $all, 'which is its limit both ways');

network('one', { outbound => 'on', bandwidth => 50_000 });
told_is('one', $all .= ' 50000 50000', 'another one');

# What a memory knows is not what counts.
is($s->api(POST => '/v1/sandbox/one/sleep', %slow)->{status}, 200, 'sleeps');
network('one', { outbound => 'on', bandwidth => 60_000 });
is($s->exec('one', 'echo up', %slow)->{stdout}, 'up', 'wakes');
like($s->api(GET => '/v1/sandbox/one')->{json}{epoch}, qr/^2$/, '(it has)');
told_is('one', $all .= ' 60000 60000', 'with what was changed meanwhile');

$s->kill_daemon;
$s->start_daemon;
told_is('one', $all .= ' 60000 60000', 'told again by the next sandboxd');

network('one', { outbound => 'on' });
told_is('one', $all .= ' 0 0', 'and no limit any more');

$s->api(POST => '/v1/sandbox', %slow, json => { id => 'two',
    network => { outbound => 'on' } });
is($s->exec('two', 'echo up', %slow)->{stdout}, 'up', 'one without');
is(told('two'), '', '... is told nothing');

$s->stop;
done_testing();
