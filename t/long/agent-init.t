#!/usr/bin/perl

# The agent as the init of a real virtual machine: Debian's kernel for clouds
# under QEMU's emulation, the agent as /init of its first file system.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(make_path);
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

my $AGENT = build_dir() . '/sandbox-agent';
my $KEY = '00112233445566778899aabbccddeeff';
my $FUTURE = 2_000_000_000;         # May 2033

# In this order.
my @MODULES = qw(virtio_ring virtio virtio_mmio virtio_blk failover
    net_failover virtio_net vsock vmw_vsock_virtio_transport_common
    vsock_loopback);

chomp(my $arch = `uname -m`);
plan skip_all => 'the machine is an x86-64' if $arch ne 'x86_64';
plan skip_all => 'no qemu-system-x86_64' unless grep { -x "$_/qemu-system-x86_64" }
    split /:/, $ENV{PATH};

alarm_after(300);


# The kernel and its modules, unpacked but not installed.
sub kernel {
    my $dir = build_dir() . '/kernel';

    unless (-e "$dir/done") {
        system('rm', '-rf', $dir);
        make_path($dir);
        my ($name) = `apt-cache depends linux-image-cloud-amd64`
            =~ /Depends: (linux-image-\S+)/ or return;
        system("cd $dir && apt-get -q download $name >download.log 2>&1") == 0
            or return;
        my ($deb) = glob "$dir/*.deb";
        system('dpkg-deb', '-x', $deb, $dir) == 0 or return;
        unlink $deb;
        spew("$dir/done", '');
    }

    return $dir;
}

my $kernel = kernel()
    or plan skip_all => 'the kernel package can not be fetched';
my ($vmlinuz) = glob "$kernel/boot/vmlinuz-*";


# Connects to a port of vsock on this very machine; what it is sent.
my $PEER = <<'C';
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>
int main(void) {
    struct sockaddr_vm a; char b[100]; ssize_t n; int s;
    memset(&a, 0, sizeof(a));
    a.svm_family = AF_VSOCK; a.svm_cid = VMADDR_CID_LOCAL; a.svm_port = 7000;
    s = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *) &a, sizeof(a)) != 0) {
        perror("connect"); return 1;
    }
    (void) !write(s, "CONTROL 00112233445566778899aabbccddeeff\n", 41);
    n = read(s, b, sizeof(b));
    printf("%zd\n", n);
    return 0;
}
C


sub first_file_system {
    my ($dir, $command) = @_;
    my $n = 10;

    make_path("$dir/root/$_") for qw(bin lib lib64 etc lib/sandbox-modules);
    system('cp', $AGENT, "$dir/root/init") == 0 or die;
    spew("$dir/root/command", $command);
    spew("$dir/root/etc/passwd", "root:x:0:0::/root:/bin/bash\n");

    my ($busybox) = grep { -x } map { "$_/busybox" } split /:/, $ENV{PATH};
    for my $program ('/bin/bash', $busybox) {
        my $name = $program =~ s{.*/}{}r;
        system('cp', '-L', $program, "$dir/root/bin/$name") == 0 or die;
        for my $lib (`ldd $program 2>/dev/null` =~ m{(/lib\S+)}g) {
            make_path("$dir/root" . $lib =~ s{/[^/]*$}{}r);
            system('cp', '-L', $lib, "$dir/root$lib") == 0 or die;
        }
    }
    symlink 'busybox', "$dir/root/bin/$_"
        for qw(sh cat date hostname ifconfig kill ls mount ps sleep setsid
               sync tail wc);

    for my $module (@MODULES) {
        chomp(my $path = `find $kernel -name '$module.ko*' | head -n 1`);
        $n++;
        if ($path =~ /\.xz$/) {
            system("xz -dc $path > $dir/root/lib/sandbox-modules/$n-$module.ko");
        } elsif ($path) {
            system('cp', $path, "$dir/root/lib/sandbox-modules/$n-$module.ko");
        }
    }

    spew("$dir/peer.c", $PEER);
    system('gcc', '-static', '-o', "$dir/root/bin/peer", "$dir/peer.c") == 0
        or die 'gcc';
    system("cd $dir/root && find . | busybox cpio -o -H newc 2>/dev/null"
        . " > $dir/initramfs") == 0 or die 'cpio';

    return "$dir/initramfs";
}


sub machine {
    my ($command) = @_;
    my $dir = tmp_dir();
    my $port = free_port();
    my $initramfs = first_file_system($dir, $command);
    my $boot = json_encode({ version => 1, key => $KEY, id => 'vm',
        hostname => 'machine-2', time => $FUTURE * 1000, dns => ['10.0.2.3'],
        entropy => '5a' x 64, env => { FROM_BOOT => 'yes' },
        command => ['sh', '/command'],
        network => { interface => 'eth0', address => '10.0.2.15',
                     prefix => 24, gateway => '10.0.2.2' } });

    spew("$dir/boot.img", $boot . "\0" x (65536 - length $boot));

    my $pid = start_process(name => 'qemu', log => "$dir/console", cmd => [
        'qemu-system-x86_64', '-M', 'microvm,rtc=on,pit=on,pic=on',
        '-accel', 'tcg', '-cpu', 'max', '-m', '256', '-nodefaults',
        '-no-user-config', '-nographic', '-serial', 'stdio', '-no-reboot',
        '-kernel', $vmlinuz, '-initrd', $initramfs, '-append',
        'console=ttyS0 reboot=t panic=-1 quiet tsc_early_khz=2500000'
        . ' no_timer_check mitigations=off nokaslr cryptomgr.notests audit=0'
        . ' SANDBOX_INIT=1 SANDBOX_LISTEN=tcp:10.0.2.15:5000'
        . ' SANDBOX_BOOT_FILE=/dev/vda stray',
        '-drive', "id=boot,file=$dir/boot.img,format=raw,if=none",
        '-device', 'virtio-blk-device,drive=boot',
        '-netdev', "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-10.0.2.15:5000",
        '-device', 'virtio-net-device,netdev=net',
    ]);

    return { pid => $pid, dir => $dir, port => $port,
             console => sub { slurp("$dir/console") // '' } };
}


sub ask {
    my ($m, $method, $path, %o) = @_;

    return http(port => $m->{port}, preface => "CONTROL $KEY\n",
                method => $method, path => $path, timeout => 30, %o);
}


sub run {
    my ($m, $command) = @_;

    return ask($m, 'POST', '/api/execute', json => { command => $command })
        ->{json} || {};
}


sub ends {
    my ($m) = @_;

    ok(wait_for(sub { !process_alive($m->{pid}) }, 60), 'the machine ends')
        or diag($m->{console}->());

    return stop_process($m->{pid}, 'KILL');
}


subtest 'a machine' => sub {
    my $begun = time();
    my $m = machine("echo command \$SANDBOX_STARTED > /dev/console\n"
        . "(setsid sleep 1000 &)\nwhile :; do sleep 1; done\n");

    ok(wait_for(sub { (ask($m, 'GET', '/api/ping', timeout => 5)->{status} // 0) == 200 },
        120), 'answers') or diag($m->{console}->());
    diag(sprintf 'start to first answer: %.1f s', time() - $begun);
    ok(wait_for(sub { $m->{console}->() =~ /command true/ }, 60),
        'the command runs beside it');

    my $r = run($m, 'echo $FROM_BOOT $$');
    like($r->{stdout} // '', qr/^yes \d+/, 'commands run');
    is(run($m, 'hostname; cat /etc/hostname')->{stdout}, "machine-2\nmachine-2",
        'with a hostname');
    cmp_ok(run($m, 'date +%s')->{stdout}, '>=', $FUTURE, 'a clock');
    like(run($m, 'cat /proc/mounts')->{stdout}, qr{ /dev devtmpfs }, 'devices');
    like(run($m, 'cat /proc/mounts')->{stdout}, qr{ $_->[0] $_->[1] }, $_->[0])
        for ['/proc', 'proc'], ['/sys', 'sysfs'], ['/dev/pts', 'devpts'],
            ['/dev/shm', 'tmpfs'], ['/run', 'tmpfs'],
            ['/sys/fs/cgroup', 'cgroup2'];
    like(run($m, 'ifconfig lo')->{stdout}, qr/127\.0\.0\.1/, 'loopback');
    is(run($m, 'ulimit -n; ulimit -Hn')->{stdout}, "1024\n524288", 'limits');
    is(run($m, 'tail -c +1 /dev/vda | wc -c; cat /dev/vda | tail -c +1 | '
        . 'while read -n 1 c; do echo "found"; break; done')->{stdout}, '65536',
        'the boot object is wiped');

    run($m, "echo $KEY > /run/key; /init --listen vsock:7000 --key-file "
        . '/run/key >/run/log 2>&1 &');
    ok(wait_for(sub { (run($m, 'peer 2>&1')->{stdout} // '') =~ /^(0|-1)$/ }, 30),
        'over vsock nobody but the host is let in')
        or diag(run($m, 'peer 2>&1; cat /run/log')->{stdout});

    run($m, '(setsid sh -c "sleep 0.1 & exit" &) ; sleep 0.5');
    unlike(run($m, 'ps')->{stdout}, qr/ Z /, 'nothing stays a zombie');

    $begun = time();
    ask($m, 'POST', '/api/process/start', json => { command => 'sleep 0.5; kill -TERM 1' });
    is(ends($m), 0, 'SIGTERM powers it off');
    like($m->{console}->(), qr/ends with 0.*init: (?:power off|restart)/s,
        'in order');
    unlike($m->{console}->(), qr/panic|warn: |error: /i, 'without a complaint')
        or diag($m->{console}->());
};


subtest "a command's end" => sub {
    my $m = machine("exit 9\n");

    is(ends($m), 0, 'powers it off');
    like($m->{console}->(), qr/ends with 9/, 'and its code is on the console')
        or diag($m->{console}->());
};


done_testing();
