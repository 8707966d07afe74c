#!/usr/bin/perl

# Virtual machines whose root takes away the network that the agent is reached
# by: it is noticed and said, and nobody waits for long; one that comes back is
# taken back, one that doesn't starts anew after a sleep.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
alarm_after(560);

my $s = System->start(driver => 'qemu', workers => 1, timeout => 120,
    http_conf => 'sandbox_wake_timeout 60s;');

sub boot { return $s->run('one', 'cat /proc/sys/kernel/random/boot_id') }

# Status, code and seconds of a question to the agent.
sub question {
    my $t = time;
    my $r = $s->api(GET => '/v1/sandbox/one/api/process/list');

    return ("$r->{status} " . ($r->{json}{code} // ''), time - $t);
}

is($s->api(POST => '/v1/sandbox', json => { id => 'one', resources => {
    memory => '128M', disk => '64M' } })->{status}, 200, 'a machine');
my $boot = boot();
ok($boot, 'runs') or diag slurp($s->{daemon_log});
$s->run('one', 'echo kept > /workspace/kept; sync');

my (undef, $sockets) = run_command(['nsenter', '-t', Vm::keeper($s, 'one'),
    '-n', 'ss', '-Htno', 'dport', '=', ':5000']);
like($sockets, qr/timer:\(keepalive,/,
    'a connection that says nothing is looked after') or diag($sockets);

# ---- for a while

my $t = time;
my $r = $s->api(POST => '/v1/sandbox/one/api/execute', json => {
    command => 'busybox ip link set eth0 down; busybox sleep 75; '
        . 'busybox ip link set eth0 up; echo back > /tmp/back' });
is("$r->{status} " . ($r->{json}{code} // ''), '502 sandbox_unreachable',
    'the command that takes the network down is given up');
cmp_ok(time - $t, '<', 50, '... within a bound');

is($s->record('one')->{state}, 'unreachable', 'the record says so');
is($s->record('one')->{reason}, "its agent doesn't answer", '... and why');
my ($what, $took) = question();
is($what, '503 sandbox_unreachable', 'who asks it is told so');
cmp_ok($took, '<', 15, '... without a long wait');

ok($s->state_within('one', 'running', 90), 'it is there again')
    or diag slurp($s->{daemon_log});
is(boot(), $boot, '... the same machine');
ok(wait_for(sub { $s->run('one', 'cat /tmp/back') eq 'back' }, 20, 0.5),
    '... in which all went on');

# ---- for good, by another way

$s->api(POST => '/v1/sandbox/one/api/execute', json => { command =>
    '(busybox sleep 2; busybox ip link set eth0 down; '
    . 'busybox ip addr flush dev eth0; '
    . 'busybox ip link set eth0 address 02:00:00:00:00:09; '
    . 'busybox ip link set eth0 up) > /dev/null 2>&1 &' });
sleep 14;
($what, $took) = question();
is($what, '503 sandbox_unreachable', 'another address: nobody is there');
cmp_ok($took, '<', 40, '... which is known in half a minute');
is($s->record('one')->{state}, 'unreachable', '... to the record, too');

is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'put to sleep');
ok($s->state_within('one', 'asleep', 40), '... it sleeps');
isnt(boot(), $boot, '... and boots at its next use');
is($s->run('one', 'cat /workspace/kept'), 'kept', '... with its files');
is(scalar(() = slurp($s->{daemon_log}) =~ /its agent doesn't answer/g), 2,
    'each time it was logged once');

is($s->api(DELETE => '/v1/sandbox/one')->{status}, 204, 'destroyed');
$s->stop;
done_testing();
