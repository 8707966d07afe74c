#!/usr/bin/perl

# sandboxd doctor: versions, what the host has, what is known against them, and
# its status.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use Test::More;

alarm_after(60);

my $dir = tmp_dir();

sub doctor {
    my ($status, $out, $err) = run_command(
        [build_dir() . '/sandboxd', 'doctor', @_], timeout => 50,
        env => is_san() ? { ASAN_OPTIONS => 'detect_leaks=0' } : {});

    return ($status >> 8, $out, $err);
}

# A program that says that it is of this version.
sub program {
    my ($name, $text) = @_;

    spew("$dir/$name", "#!/bin/sh\n$text\n", 0755);

    return "$dir/$name";
}

my ($status, $out, $err) = doctor('--json');
my $all = json_decode($out);
my %has = map { $_->{name} => $_ } @{ $all->{programs} };

is($status, 0, 'nothing is wrong with what is here') or diag($out, $err);
like($has{$_}{version}, qr/^\d+\.\d+/, "the version of $_")
    for qw(sandboxd kernel sqlite libuv openssl nginx crun);
ok(exists $has{$_}, "a word on $_")
    for qw(qemu firecracker jailer vhost-device-vsock);
for (qw(kvm cgroup network vsock disk)) {
    like($all->{host}{$_}{state}, qr/^(absent|closed|no guests|partly|works)$/,
        "what there is of $_: $all->{host}{$_}{state}");
    ok($all->{host}{$_}{detail}, '... in a sentence');
}
is($all->{host}{kvm}{state}, 'absent', 'no KVM') if !-e '/dev/kvm';
is($all->{host}{network}{state}, 'works', 'networks')
    if $> == 0 && -e '/dev/net/tun';

($status, $out) = doctor();
like($out, qr/^nginx +\Q$has{nginx}{version}\E  \S+nginx$/m, 'as text');
like($out, qr/^kvm +\Q$all->{host}{kvm}{state}\E \(/m, '... of the host too');

# ---- disks

sub disk {
    my ($state) = @_;

    ($status, $out) = doctor('--state-dir', $state, '--json');
    is($status, 0, 'disks are no problem');

    return @{ json_decode($out)->{host}{disk} }{qw(state detail)};
}

sub sparse {
    my ($path, $size) = @_;

    spew($path, 'x' x 4096);
    truncate $path, $size or die "$path: $!";
}

my ($state, $detail) = disk("$dir/nothing");
is("$state, $detail", "absent, $dir/nothing: No such file or directory",
    'no state directory');
mkdir "$dir/$_" for qw(state state/sandboxes state/machines state/microvms
    state/sandboxes/0000000a state/machines/0000000b state/machines/0000000c
    state/microvms/0000000d state/machines/trash-0000000e-1
    state/sandboxes/0000000f state/sandboxes/0000000f/layer);
($state, $detail) = disk("$dir/state");
is($state, 'works', 'no disks');
like($detail, qr/^0 disks of 0\.0 GiB in all, of which 0\.0 GiB are written; [0-9.]+ of [0-9.]+ GiB are free$/,
    '... is said');
sparse("$dir/state/sandboxes/0000000a/disk", 512 << 20);
sparse("$dir/state/machines/0000000b/disk", 1 << 30);
sparse("$dir/state/microvms/0000000d/disk", 512 << 20);
sparse("$dir/state/machines/trash-0000000e-1/disk", 1 << 30);
symlink "$dir/state/machines/0000000b/disk",
    "$dir/state/machines/0000000c/disk";
($state, $detail) = disk("$dir/state");
like($detail, qr/^3 disks of 2\.0 GiB in all/, 'disks are added up');

my ($free) = `df --output=avail -B 1 '$dir'` =~ /(\d+)\s*$/;
SKIP: {
    skip 'a file can\'t be as large as all that is free', 3
        if !eval { sparse("$dir/state/machines/0000000c/big", $free * 2); 1 };
    rename "$dir/state/machines/0000000c/big",
        "$dir/state/machines/0000000c/disk";
    ($state, $detail) = disk("$dir/state");
    is($state, 'partly', 'more than is free');
    like($detail, qr/^4 disks .*, which is not enough for all of them: see --disk-budget$/,
        '... is said');
}

# ---- what is known

($status, $out) = doctor('--firecracker',
    program(firecracker => 'echo Firecracker v1.14.3'), '--jailer',
    program(jailer => 'echo Jailer v1.14.0'));
is($status, 1, 'one that is too old is a problem');
like($out, qr/^problem: firecracker: sandboxd takes none before/m, '... named');
like($out, qr/^CVE-2026-5747 firecracker 1\.14\.3: .*--enable-pci.*\n +https:/m,
    'what is known against it, where it is from');
like($out, qr/^CVE-2026-1386 jailer 1\.14\.0: /m, '... and the jailer');
unlike($out, qr/^problem: CVE-2026-(?:5747|1386)/m,
    '... which are no problem here');
like($out, qr/^problem: CVE-2026-122192: /m, '... but this is');

($status, $out) = doctor('--firecracker',
    program(firecracker => 'echo Firecracker v1.16.2'), '--jailer',
    program(jailer => 'echo Jailer v1.16.2'));
is($status, 0, 'later ones are none');
unlike($out, qr/ (?:firecracker|jailer) 1\.16\.2:/, '... and nothing is known');

($status, $out) = doctor('--crun', program(crun => 'echo crun version 1.4.3'));
like($out, qr/^problem: CVE-2022-27650: /m, 'one that concerns is a problem');
is($status, 1, '... in the status too');

# ---- what is wanted

($status, $out) = doctor('--driver', 'oci,firecracker', '--json',
    '--firecracker', "$dir/none");
$all = json_decode($out);
is($status, 1, 'what is wanted and missing is a problem');
ok((grep { /none: doesn't say/ } @{ $all->{problems} }), '... by its path');
ok((grep { /^Firecracker needs KVM: / } @{ $all->{problems} }), '... KVM too')
    if !-e '/dev/kvm';

# Channels to QEMU's machines.
my $vsock = program(vsock => 'echo vhost-device-vsock 0.3.0');
($status, $out) = doctor('--qemu-channel', 'vhost-user-vsock',
    '--vhost-device-vsock', $vsock);
is($status, 0, 'a channel that can be had');
like($out, qr/^vhost-device-vsock +0\.3\.0  \Q$vsock\E$/m, '... by a program');
($status, $out) = doctor('--qemu-channel', 'vhost-user-vsock',
    '--vhost-device-vsock', "$dir/none");
is($status, 1, '... which is not there');
($status, $out) = doctor('--qemu-channel', 'vhost-vsock');
SKIP: {
    skip 'there is /dev/vhost-vsock', 2 if -e '/dev/vhost-vsock';
    is($status, 1, 'one that the kernel hasn\'t');
    like($out, qr{^problem: the channel vhost-vsock: no /dev/vhost-vsock}m,
        '... is a problem');
}

# ---- programs that do as they like

my $begun = time;
($status, $out) = doctor('--crun', program(crun => 'exec sleep 50'));
is($status, 1, 'one that never answers');
like($out, qr/^problem: \S+crun: doesn't say its version$/m, '... is named');
cmp_ok(time - $begun, '<', 20, '... in time');
($status, $out) = doctor('--crun', program(crun => 'yes | head -c 100000'));
like($out, qr/^crun +unknown/m, 'one that says a lot of nothing');

for (['--nonsense'], ['more'], ['--driver'], ['--qemu-channel', 'auto']) {
    ($status, $out, $err) = doctor(@$_);
    is($status, 2, "no option: @$_");
    like($err, qr/^Usage: sandboxd doctor/m, '... and what there is');
}
($status, $out) = doctor('--help');
is($status, 0, 'help');
like($out, qr/^Usage: sandboxd doctor/, '... is printed');

done_testing();
