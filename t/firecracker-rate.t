#!/usr/bin/perl

# The limits of a Firecracker machine's network, as its sandbox's policy has
# them, and of its disk: from its start on, when they change, after a wake and
# after a restart of sandboxd.  Firecracker is played as in t/firecracker.t, the network is as in
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
    daemon_args => ['--network-pool', '100.64.9.0/24',
        '--machine-disk-rate', '8M', '--machine-disk-ops', 500]);

sub network {
    my ($id, $network) = @_;
    my $r = $s->api(PATCH => "/v1/sandbox/$id", %slow,
        json => { network => $network });

    is($r->{status}, 200, '(changed)') or diag json_encode($r);
}

# What its Firecracker was told, one after the other.
sub told {
    my ($id, $what) = @_;
    my $console = sprintf '%s/microvms/%08x/console', $s->{state},
        Vm::slot($s, $id);

    $what //= 'rate';

    return join ' ', (slurp($console) // '') =~ /^played: $what (\d+ \d+)$/mg;
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
is(told('one', '/drives/disk'), '8388608 500', 'its disk is limited');
is(told('one', '/drives/root'), '', 'its image is not');

network('one', { outbound => 'on', bandwidth => 50_000 });
told_is('one', $all .= ' 50000 50000', 'another one');

# What a memory knows is not what counts.
is($s->api(POST => '/v1/sandbox/one/sleep', %slow)->{status}, 200, 'sleeps');
network('one', { outbound => 'on', bandwidth => 60_000 });
is($s->exec('one', 'echo up', %slow)->{stdout}, 'up', 'wakes');
like($s->api(GET => '/v1/sandbox/one')->{json}{epoch}, qr/^2$/, '(it has)');
told_is('one', $all .= ' 60000 60000', 'with what was changed meanwhile');

is(told('one', '/drives/disk'), '8388608 500 8388608 500',
    'and with the limit of its disk');

$s->kill_daemon;
$s->{daemon_args} = ['--network-pool', '100.64.9.0/24'];
$s->start_daemon;
told_is('one', $all .= ' 60000 60000', 'told again by the next sandboxd');

network('one', { outbound => 'on' });
told_is('one', $all .= ' 0 0', 'and no limit any more');

# That a memory may have, too.
is($s->api(POST => '/v1/sandbox/one/sleep', %slow)->{status}, 200, 'sleeps');
is($s->exec('one', 'echo up', %slow)->{stdout}, 'up', 'wakes');
ok(wait_for(sub { told('one', '/drives/disk') =~ / 0 0$/ }, 20),
    'a disk without limits by now') or diag told('one', '/drives/disk');

$s->api(POST => '/v1/sandbox', %slow, json => { id => 'two',
    network => { outbound => 'on' } });
is($s->exec('two', 'echo up', %slow)->{stdout}, 'up', 'one without');
is(told('two') . told('two', '/drives/disk'), '', '... is told nothing');

$s->stop;
done_testing();
