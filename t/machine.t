#!/usr/bin/perl

# The driver of virtual machines without any: what it says of its health when
# something of the host is missing, and that KVM is tried once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Driver;
use Harness;
use Test::More;

plan skip_all => 'needs root for networks' if $> != 0;
plan skip_all => 'no /dev/net/tun' if !-e '/dev/net/tun';
alarm_after(60);

my $dir = tmp_dir();
my $tried = "$dir/tried";

mkdir "$dir/kernel";
mkdir "$dir/kernel/modules";
spew("$dir/kernel/vmlinux", 'none');
spew("$dir/vmm", "#!/bin/sh\necho once >>$tried\necho sandbox-agent: here\n",
    0755);

# A machine with KVM, as far as it is only looked at.
mkdir "$dir/dev";
my $over = "$dir/dev";
my @kvm = ('unshare', '-m', 'sh', '-ec', "mount -t tmpfs over $over; "
    . "mkdir $over/up $over/work; mount -t overlay -o lowerdir=/dev,"
    . "upperdir=$over/up,workdir=$over/work over /dev; touch /dev/kvm; "
    . 'exec "$@"', 'sh');

sub driver {
    my ($accel, @wrap) = @_;

    return Driver->new(dir => $dir, images => {}, wrap => \@wrap,
        env => { DRIVER => 'qemu', DRIVER_KERNEL => "$dir/kernel",
        DRIVER_VMM => "$dir/vmm", DRIVER_ACCEL => $accel });
}

sub health {
    my ($d) = @_;

    $d->send(op => 'health');

    return $d->take(sub { ($_[0]{op} // '') eq 'health' });
}

# ---- health

my $d = driver('tcg');
is($d->info->{name}, 'qemu', 'a driver');
ok(health($d)->{ok}, 'which is well');
for my $gone (['kernel/vmlinux', qr/kernel can't be read: No such/],
    ['state/initramfs', qr/boot from can't be read: No such/],
    ['vmm', qr/runs machines can't be run: No such/],
    ['state/machines', qr/layers can't be written: No such/],
    ['run/s', qr/sockets can't be written: No such/])
{
    my ($path, $why) = @$gone;

    rename "$dir/$path", "$dir/away" or die "$path: $!";
    my $r = health($d);
    ok(!$r->{ok}, "not without $path");
    like($r->{message}, $why, 'which it says');
    rename "$dir/away", "$dir/$path" or die "$path: $!";
}
ok(health($d)->{ok}, 'well again');
chmod 0644, "$dir/vmm";
ok(!health($d)->{ok}, 'not with a program that is none');
chmod 0755, "$dir/vmm";
is($d->quit, 0, 'it ends');
ok(!-e $tried, 'nothing was tried');

# ---- KVM

for my $round (1, 2) {
    $d = driver('auto', @kvm);
    is($d->info->{name}, 'qemu', "start $round");
    $d->quit;
}
is(slurp($tried), "once\n", 'KVM is tried once');
spew("$dir/kernel/vmlinux", 'another');
$d = driver('auto', @kvm);
is($d->info->{name}, 'qemu', 'with another kernel');
$d->quit;
is(slurp($tried), "once\nonce\n", 'it is tried again');

# ---- groups

# Trying what groups are good for must not touch that of a template's machine,
# which an earlier sandboxd may have left.
sub groups {
    my $hash = -3750763034362895579;        # FNV-1a

    { use integer; $hash = ($hash ^ ord) * 1099511628211
          for split //, "$dir/state/machines"; }

    return map { sprintf "$_/sandboxd-%016x", $hash } '/sys/fs/cgroup',
        glob '/sys/fs/cgroup/*';
}

$d = driver('tcg');
is($d->info->{name}, 'qemu', 'a driver');
my @left = grep { -d } groups();
mkdir "$_/ffffffff" for @left;
my $process = start_process(cmd => ['sleep', 60]);
spew("$_/ffffffff/cgroup.procs", $process) for @left;
my @limits = grep { -e } map { ("$_/ffffffff/memory.limit_in_bytes",
    "$_/ffffffff/memory.max", "$_/ffffffff/pids.max") } @left;
my %limit = map { $_ => slurp($_) } @limits;
is($d->quit, 0, 'it ends');
$d = driver('tcg');
is($d->info->{name}, 'qemu', 'another one');
is(slurp($_), $limit{$_}, "left alone: $_") for @limits;
unlike(slurp("$dir/log"), qr/cgroup .* stays/, 'and nothing waits for it');
stop_process($process);
rmdir "$_/ffffffff" for @left;
is($d->quit, 0, 'it ends');

done_testing;
