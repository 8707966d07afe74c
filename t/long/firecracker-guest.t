#!/usr/bin/perl

# The guest that Firecracker is given, under QEMU: Debian's kernel with the
# same command line, the same first file system and the same disks, which have
# no serial numbers.  The agent finds them by their order, listens on vsock, and
# ends the machine by a reset.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Firecracker;
use Harness;
use Test::More;
use Vm;

Vm->plan;
alarm_after(200);

my $dir = tmp_dir();

# As the keeper says it, but for the reset that QEMU's machine has.
my ($line) = slurp(top_dir() . '/sandboxd/fc_keeper.c')
    =~ /^#define LINE((?:\s*"[^\n]*\\\n)+[^\n]*)/m;
$line =~ s/STRING\(VM_GUEST_PORT\)/"5000"/;
$line = join '', $line =~ /"([^"]*)"/g;
like($line, qr/SANDBOX_LISTEN=vsock:5000$/, 'a command line');
$line =~ s/reboot=k/reboot=t/;

my $all = Firecracker::entry('init', 0100755, slurp(Vm::agent()))
    . Firecracker::entry('lib', 040755, '')
    . Firecracker::entry('lib/sandbox-modules', 040755, '');
for my $path (map { glob Vm::kernel() . "/$_/*.ko" } qw(modules vsock)) {
    $all .= Firecracker::entry('lib/sandbox-modules/' . $path =~ s{.*/}{}r,
        0100644, slurp($path));
}
like($all, qr/vmw_vsock_virtio_transport\.ko/, 'modules for vsock');
spew("$dir/initramfs", $all . Firecracker::entry('TRAILER!!!', 0, ''));

my $boot = json_encode({ version => 1, epoch => 1, id => 'guest',
    key => '00112233445566778899aabbccddeeff',
    command => ['sh', '-c', 'exec >/dev/ttyS0; PATH=$PATH:/usr/sbin; '
        . 'echo "told: $(cat /etc/hostname) $(id -u)"; '
        . 'busybox grep -o " / overlay" /proc/mounts; '
        . 'env | busybox grep -c SANDBOX_DISKS; ls -1 /dev/sandbox; '
        . 'cat /sys/class/misc/vsock/dev; kill 1; sleep 20'],
    hostname => 'one' });
spew("$dir/boot", $boot . "\0" x ((1 << 20) - length $boot));
open my $disk, '>', "$dir/disk" or die $!;
truncate $disk, 64 << 20;
close $disk;
is((run_command(['mke2fs', '-q', '-t', 'ext4', "$dir/disk"]))[0], 0, 'a disk');

sub drive {
    my ($id, $path, $more) = @_;

    return ('-drive', "id=$id,file=$path,format=raw,if=none$more",
        '-device', "virtio-blk-device,drive=$id");
}

my ($status, $out, $err) = run_command(['qemu-system-x86_64', '-M',
    'microvm,rtc=on,pit=on,pic=on', '-accel', 'tcg', '-cpu', 'max', '-m', '192',
    '-nodefaults', '-no-user-config', '-nographic', '-serial', 'stdio',
    '-no-reboot', drive('boot', "$dir/boot", ''),
    drive('root', Vm::image(), ',readonly=on'),
    drive('disk', "$dir/disk", ''),
    '-kernel', Vm::kernel() . '/vmlinux', '-initrd', "$dir/initramfs",
    '-append', "$line tsc_early_khz=2500000 no_timer_check"], timeout => 120,
    stdin => '/dev/null');
$out =~ tr/\r//d;

is($status, 0, 'a machine that ends by itself') or diag($err);
like($out, qr/init: ready/, 'its agent listens') or diag($out);
like($out, qr/^.*told: one 0$/m, 'it has found the boot object');
like($out, qr{^ / overlay$}m, 'the image, and the disk over it');
like($out, qr/^0$/m, 'what it was told is not told on');
like($out, qr/^boot\n(?:.*\n)?disk\n(?:.*\n)?root$/m, 'all three disks');
like($out, qr/^\d+:\d+$/m, 'vsock is there');
unlike($out, qr/warn: init|error: /, 'and nothing is amiss');
like($out, qr/init: restart/, 'it ends by a reset');

done_testing();
