#!/usr/bin/perl

# Our own kernel: built (once, in build/vm/own), booted, what it has and what
# it hasn't; and how long a start takes beside one with Debian's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Driver;
use Harness;
use Test::More;
use Time::HiRes qw(time);
use Vm;

Vm->plan;
plan skip_all => 'what builds a kernel is missing (scripts/deps.sh kernel)'
    if !-s top_dir() . '/build/vm/own/version'
    && grep { my $p = $_; !grep { -x "$_/$p" } split /:/, $ENV{PATH} }
        qw(flex bison bc);
alarm_after(7500);

my ($status, $out, $err) = run_command(['make', '--no-print-directory',
    'kernel'], cwd => top_dir(), timeout => 7000);
is($status, 0, 'make kernel') or BAIL_OUT("$out$err");

my $own = top_dir() . '/build/vm/own';
ok(-s "$own/$_", "there is a $_") for qw(vmlinux config version);
is(join(' ', glob "$own/modules/* $own/vsock/*"), '', 'and no module');

my $d;

sub begin {
    my ($kernel) = @_;

    $d = Driver->new(agent => Vm::agent(), dev => 0,
        images => { vm => Vm::image() },
        env => { DRIVER => 'qemu', DRIVER_KERNEL => $kernel });
}

sub start {
    my $t = time;
    my $r = $d->start(1, image => 'vm', timeout => 120000,
        limits => { memory => 128 << 20, disk => 64 << 20 });

    $r->{ok} or diag(json_encode($r));
    run('echo');

    return time - $t;
}

sub run {
    my $r = http(unix => $d->socket(1), method => 'POST',
        preface => "CONTROL $Driver::KEY\n", path => '/api/execute',
        timeout => 120, json => { command => $_[0] });

    return $r->{json}{stdout} // json_encode($r);
}

sub median { return (sort { $a <=> $b } @_)[@_ / 2] }

# ---- what it has

begin($own);
start();
chomp(my $version = slurp("$own/version"));
is(run('uname -r'), $version, 'it boots');
for my $type (qw(overlay squashfs erofs ext4 tmpfs devtmpfs fuse virtiofs
                 cgroup2)) {
    like(run('cat /proc/filesystems'), qr/\b$type$/m, "$type");
}
like(run('cat /sys/fs/cgroup/cgroup.controllers'), qr/\b$_\b/,
    "groups limit $_") for qw(cpu memory pids);
is(run("test -e /proc/self/ns/$_ && echo yes"), 'yes', "namespaces: $_")
    for qw(user pid net mnt uts ipc cgroup);
is(run('busybox zcat /proc/config.gz | busybox grep -c =m'), '0', 'its options can be read');
is(run('test -e /proc/modules || echo none'), 'none', 'no modules');
is(run('test -e /dev/mem || test -e /dev/kmem || echo none'), 'none',
    'nor memory as a file');
like(run('cat /sys/devices/system/cpu/vulnerabilities/meltdown'),
    qr/Vulnerable|PTI|Not affected/, 'it knows about processors');
like(run('cat /sys/kernel/security/lsm /proc/sys/kernel/seccomp/actions_avail '
    . '2>/dev/null'), qr/kill_process/, 'seccomp');

# ---- sleep, wake, and an orderly end

run('echo kept >/run/kept');
my $r = $d->sleep_now(1);
ok($r->{memory}, 'it sleeps with its memory') or diag(json_encode($r));
start();
is(run('cat /run/kept'), 'kept', 'and wakes');
$r = $d->stop(1, 20000);
ok($r->{ok}, 'it ends in order') or diag(json_encode($r));
start();
is(run('echo again'), 'again', 'and boots again');
$d->destroy(1);

# ---- how long it takes

sub measure {
    my @times;

    for (1 .. 5) {
        push @times, start();
        $d->destroy(1);
    }

    return median(@times);
}

my $time = measure();
is($d->quit(), 0, 'the driver ends');
begin(Vm::kernel());
my $debian = measure();
is($d->quit(), 0, 'so does the other');
diag(sprintf 'start to first command: %.2f s; with Debian\'s kernel: %.2f s',
    $time, $debian);

done_testing();
