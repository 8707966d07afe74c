#!/usr/bin/perl

# QEMU's machines reached by the kernel's vsock: t/vhost-vsock.t, in a virtual
# machine whose kernel has vhost_vsock, and which runs QEMU itself.  Slow: it is
# emulation in emulation.  A part of it alone:
#
#   prove -It/lib t/long/vhost-vsock.t :: forks

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Harness;
use Nested;
use Test::More;
use Vm;

Vm->plan;
alarm_after(3600);

diag(grep { s/^# (?=.*after)// } map { "$_\n" } Nested::run(
    test => 't/vhost-vsock.t', args => [@ARGV], modules => 'vhost_vsock tun',
    least => @ARGV ? 5 : 60,
    packages => ['qemu-system-x86', 'e2fsprogs'], memory => 1600, disk => 4096,
    cpu => 2, timeout => 3000,
    files => [map { "vm/$_" } qw(kernel test.img)]));
done_testing();
