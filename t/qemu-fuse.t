#!/usr/bin/perl

# File systems of programs (FUSE) in a virtual machine: the kernel has the module
# when somebody opens the device, whoever that is, and not before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
alarm_after(200);

my %slow = (timeout => 60);
my $modules = () = glob Vm::kernel() . '/modules/fuse/*fuse.ko';
my $s = System->start(driver => 'qemu', workers => 1,
    http_conf => 'sandbox_wake_timeout 60s;');

sub run {
    my ($command) = @_;
    my $r = $s->exec('one', $command, %slow);

    return $r->{stdout} // json_encode($r);
}

$s->api(POST => '/v1/sandbox', json => { id => 'one',
    resources => { memory => '128M', disk => '64M' } });

is(run("stat -c '%a %t:%T' /dev/fuse"), '666 a:e5', 'there is a device')
    or diag slurp($s->{daemon_log});
is(run('busybox grep -c ^fuse /proc/modules'), '0', 'and no module yet');

# Whom nobody answers, but who is mounted.
is(run('mkdir /mnt/x; exec 3<>/dev/fuse && busybox mount -t fuse'
    . ' -o fd=3,rootmode=40000,user_id=0,group_id=0 none /mnt/x'
    . ' && busybox grep -c "^none /mnt/x fuse " /proc/mounts; busybox umount -l /mnt/x'),
    '1', 'a file system of a program\'s is mounted');
is(run('busybox grep -c ^fuse /proc/modules'), $modules, 'by a module that came '
    . 'for it, if the kernel has none of its own');
is(run("stat -c '%a' /dev/fuse"), '666', 'the device is still everybody\'s');
$s->api(POST => '/v1/sandbox/one/sleep', %slow);
is(run('exec 3<>/dev/fuse && echo open'), 'open', 'also after a sleep');
$s->api(DELETE => '/v1/sandbox/one');
$s->stop;
done_testing();
