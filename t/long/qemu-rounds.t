#!/usr/bin/perl

# Virtual machines that are started, put to sleep with and without their
# memory, woken, killed and destroyed, many times (QEMU_ROUNDS): nothing of
# them stays.  And how long a start takes beside what QEMU and its kernel need
# at least.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Driver;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

Vm->plan;

my $rounds = $ENV{QEMU_ROUNDS} || 40;

alarm_after(120 + 60 * $rounds);

my $d = Driver->new(agent => Vm::agent(), dev => 0,
    images => { vm => Vm::image() },
    env => { DRIVER => 'qemu', DRIVER_KERNEL => Vm::kernel() });
my %limits = (limits => { memory => 128 << 20, disk => 64 << 20, pids => 100 });
my $key = $Driver::KEY;


sub begin {
    my ($slot) = @_;

    $key = join '', map { sprintf '%x', rand 16 } 1 .. 32;

    return $d->start($slot, image => 'vm', key => $key, timeout => 60000,
        %limits);
}

sub run {
    my ($slot, $command) = @_;
    my $r = http(unix => $d->socket($slot), preface => "CONTROL $key\n",
        method => 'POST', path => '/api/execute', timeout => 60,
        json => { command => $command });

    return $r->{json}{stdout} // "status $r->{status}";
}

# The whole machine's: a keeper, QEMU or TAP of ours that has been forgotten.
sub left {
    my $n = 0;

    for my $pid (map { m{/proc/(\d+)} } glob '/proc/[0-9]*') {
        $n++ if (slurp("/proc/$pid/cmdline") // '')
            =~ m{\Q$d->{dir}\E/state/machines/};
    }

    return $n + (() = glob "$d->{dir}/run/s/*")
        + (() = glob "$d->{dir}/state/machines/*");
}

sub descriptors { return scalar(() = glob "/proc/$d->{pid}/fd/*") }

sub median {
    my @sorted = sort { $a <=> $b } @_;

    return $sorted[@sorted / 2] // 0;
}


# ---- the floor: the same kernel and first file system, with nothing to do

my $floor = 0;

{
    my ($got, $out, $dir) = (0, '', tmp_dir());
    my @times;

    begin(1);
    $d->destroy(1);

    for (1 .. 5) {
        my $t = time;

        run_command(['/usr/bin/qemu-system-x86_64', '-M',
            'microvm,rtc=on,pit=on,pic=on', '-accel', 'tcg,tb-size=64',
            '-cpu', 'max', '-m', '128M', '-nodefaults', '-no-user-config',
            '-no-reboot', '-display', 'none', '-serial', "file:$dir/console",
            '-kernel', Vm::kernel() . '/vmlinux', '-initrd',
            "$d->{dir}/state/initramfs", '-append',
            'console=ttyS0 reboot=t panic=-1 quiet tsc_early_khz=2500000 '
            . 'no_timer_check nokaslr mitigations=off pci=off '
            . 'random.trust_cpu=on cryptomgr.notests audit=0 '
            . '8250.nr_uarts=1 i8042.noaux i8042.nomux i8042.dumbkbd '
            . 'SANDBOX_INIT=1'], timeout => 60);
        push @times, time - $t;
    }

    $floor = median(@times);
    like(slurp("$dir/console") // '', qr/sandbox-agent/, 'the floor has begun');
}

# ---- rounds

my (@boots, @sleeps, @wakes, @bad);
my $descriptors = descriptors();

for my $round (1 .. $rounds) {
    my $slot = 1 + $round % 3;
    my $t = time;
    my $r = begin($slot);

    if (!$r->{ok} || run($slot, "echo r$round > /workspace/f; cat /workspace/f")
        ne "r$round")
    {
        push @bad, "$round: start: " . json_encode($r);
        $d->destroy($slot);
        next;
    }
    push @boots, time - $t;

    $t = time;
    $r = $d->sleep_now($slot);
    push @sleeps, time - $t;
    push @bad, "$round: sleep: " . json_encode($r) unless $r->{memory};

    $t = time;
    $r = begin($slot);
    push @bad, "$round: wake: " . json_encode($r)
        if !$r->{ok} || run($slot, 'cat /workspace/f') ne "r$round";
    push @wakes, time - $t;

    # Ended in one of the ways there are, at any moment.
    if ($round % 4 == 0) {
        kill 'KILL', $r->{pid};
        $d->exited($slot, 20) or push @bad, "$round: no end";
    } elsif ($round % 4 == 1) {
        kill 'KILL', grep { $_ != $r->{pid} } descendants($r->{pid});
        my $e = $d->exited($slot, 20);
        push @bad, "$round: " . json_encode($e // {})
            if ($e->{why} // '') !~ /signal 9/;
    } elsif ($round % 4 == 2) {
        $r = $d->stop($slot, 5000);
        push @bad, "$round: stop: " . json_encode($r) unless $r->{ok};
    }

    $r = $d->destroy($slot);
    push @bad, "$round: destroy: " . json_encode($r) unless $r->{ok};

    # One that is given up while it starts.
    if ($round % 8 == 0) {
        $d->start($slot, image => 'vm', key => $key, %limits,
            timeout => 1 + int rand 1500);
        $d->destroy($slot);
    }
}

is("@bad[0 .. ($#bad > 4 ? 4 : $#bad)]", '', "$rounds rounds");
is(left(), 0, 'no process, socket, directory or memory is left');
cmp_ok(descriptors(), '<=', $descriptors + 2, 'nor a descriptor');
is($d->leftovers()->{groups}, 0, 'nor a group');
is($d->leftovers()->{zombies}, 0, 'nor a zombie');

diag(sprintf 'start to first command: %.2f s; QEMU, kernel and modules alone, '
    . 'to their end: %.2f s; asleep with memory: %.2f s; awake and a command: '
    . '%.2f s', median(@boots), $floor, median(@sleeps), median(@wakes));

is($d->quit(), 0, 'the driver ends');
done_testing();
