#!/usr/bin/perl

# What sleep has kept of a machine stays of use until the machine goes on,
# whatever is killed, and is of no use from then on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep);
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
alarm_after(400);

my $s = System->start(driver => 'qemu', daemon_args => ['--starts', 1],
    timeout => 90, http_conf => 'sandbox_wake_timeout 60s;');

# A machine that hardly gets on may lose a command.
sub boot_id {
    my $id = '';

    for (1 .. 3) {
        $id = $s->run('one', 'cat /proc/sys/kernel/random/boot_id');
        last if $id =~ /^[0-9a-f-]{36}$/;
    }

    return $id;
}

$s->api(POST => '/v1/sandbox', json => { id => 'one',
    resources => { memory => '128M', disk => '96M' } });
my $boot = boot_id();
my $machine = sprintf '%s/machines/%08x', $s->{state}, Vm::slot($s, 'one');

sub to_sleep {
    is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200,
        'sleeps');
    like(slurp("$machine/end"), qr/^asleep /, 'its memory is kept');
}

# A request that wakes it, and the machine that it wakes, stopped before it has
# gone on.
sub half_awake {
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        $s->exec('one', 'true');
        POSIX::_exit(0);
    }

    my ($keeper, $qemu);
    ok(wait_for(sub {
        ($keeper) = values %{ Vm::keepers($s) } or return 0;
        ($qemu) = grep { (slurp("/proc/$_/cmdline") // '') =~ /^\S*qemu-sys/ }
            descendants($keeper);

        return $qemu && kill 'STOP', $qemu;
    }, 60, 0.002), 'a wake begins');

    return ($pid, $keeper, $qemu);
}

# ---- everything is killed

to_sleep();
my ($pid, $keeper, $qemu) = half_awake();
ok(wait_for(sub { slurp("$machine/end") =~ /^asleep .{49} [0-9a-f-]{36}$/ },
    20), 'it is marked');
sleep 0.3;
$s->kill_daemon;
kill 'KILL', $keeper;
ok(wait_for(sub { !%{ Vm::keepers($s) } }, 20), 'all of it is killed');
like(slurp("$machine/end"), qr/^asleep /, 'what was kept is there');
ok(-s "$machine/memory" && -s "$machine/state", 'all of it');
$s->start_daemon;
is(boot_id(), $boot, 'the next wake makes use of it');
waitpid $pid, 0;
is(slurp("$machine/end"), '', 'and uses it up');
ok(wait_for(sub { !-s "$machine/memory" && !-s "$machine/state" }, 20),
    'its room is given back');

# ---- QEMU alone, and the keeper alone

to_sleep();
($pid, $keeper, $qemu) = half_awake();
kill 'KILL', $qemu;
waitpid $pid, 0;
is(boot_id(), $boot, 'a QEMU that is killed is started once more');

to_sleep();
($pid, $keeper, $qemu) = half_awake();
kill 'KILL', $keeper;
waitpid $pid, 0;
is(boot_id(), $boot, 'a keeper as well');

# ---- it has gone on

to_sleep();
$s->run('one', 'echo kept > /workspace/f; sync');
kill 'KILL', Vm::qemu($s, 'one');
ok(wait_for(sub { $s->api(GET => '/v1/sandbox/one')->{json}{state}
    eq 'asleep' }, 20), 'it is killed');
is($s->run('one', 'cat /workspace/f'), 'kept', 'one that has gone on boots');
my $next = boot_id();
isnt($next, $boot, 'it does');

# ---- crashes of the host

to_sleep();
spew("$machine/end", slurp("$machine/end") . ' '
    . '00000000-0000-0000-0000-000000000000');
isnt(boot_id(), $next,
    'a wake that a crash of the host has interrupted is a boot');

# ---- sleep right after a wake

$boot = boot_id();
for my $round (1 .. 3) {
    to_sleep();
    is(boot_id(), $boot, "round $round");
}

$s->api(DELETE => '/v1/sandbox/one');
ok(wait_for(sub { !-e $machine }, 20), 'nothing is left');

$s->stop;
done_testing();
