package Vm;

# What virtual machines are made of: a kernel, unpacked from Debian's package,
# and a small image of this machine's own programs.  Both are made once and
# kept in build/vm.
#
#   Vm->plan;                   # skips the test with the reason, or dies where
#                               # what is needed should be there
#   my $s = System->start(driver => 'qemu');
#   Vm::keeper($s, 'id'), Vm::qemu($s, 'id')    # their pids
#   Vm::is_confined('QEMU', $pid);              # tests of those

use strict;
use warnings;

use Fcntl qw(LOCK_EX);
use Harness;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);
use Test::More ();

my $DIR = top_dir() . '/build/vm';


sub kernel { return "$DIR/kernel" }
sub image { return "$DIR/test.img" }

# The same with interpreters, of which Python has drawn random numbers from all
# that it can before anybody asks; undef where this machine's are no packages.
sub code_image {
    my $image = "$DIR/code.img";

    return $image if -s $image;
    return undef if system('dpkg-query -W python3 nodejs >/dev/null 2>&1');

    return make_with($image,
        'bash,coreutils,libc-bin,procps,busybox-static,python3,nodejs', {
        '/usr/lib/python3/dist-packages/sitecustomize.py' =>
            "import multiprocessing.process, random, ssl, tempfile, uuid\n"
            . "random.random(), ssl.RAND_bytes(8), uuid.uuid1()\n"
            . "next(tempfile._get_candidate_names())\n" });
}

# For SANDBOX_DRIVER, where all tests are to run that containers run on this
# machine's own files: with all that they start inside.  Matplotlib doesn't
# start without its file in /etc, of which images of packages have nothing.
sub suite_image {
    my $image = "$DIR/suite.img";
    my $defaults = '/usr/share/matplotlib/mpl-data/matplotlibrc';

    return $image if -s $image;

    return make_with($image, 'bash,coreutils,libc-bin,procps,python3,curl,git,'
        . 'file,findutils,grep,sed,tar,gzip,hostname,iproute2,ca-certificates,'
        . 'perl,busybox-static,squashfs-tools,nodejs,node-ws,esbuild,'
        . 'python3-django,python3-ipython,python3-matplotlib,python3-pandas',
        -e $defaults ? { '/etc/matplotlibrc' => slurp($defaults) } : {});
}

# An image of packages of this machine's, and some files.
sub make_with {
    my ($image, $packages, $files) = @_;
    my $dir = tmp_dir();

    # Once, by one of the tests that want it at the same time.
    open my $lock, '>>', "$image.once" or die "$image.once: $!";
    flock $lock, LOCK_EX;
    return $image if -s $image;

    make("$dir/plain", top_dir() . '/scripts/image.sh', "$dir/plain",
        "host:$packages");
    system('unsquashfs', '-q', '-n', '-d', "$dir/root", "$dir/plain") == 0
        or die 'unsquashfs';
    for my $file (keys %$files) {
        system('mkdir', '-p', "$dir/root$file" =~ s{/[^/]*$}{}r);
        spew("$dir/root$file", $files->{$file}, 0644);
    }
    make($image, top_dir() . '/scripts/image.sh', $image, "dir:$dir/root");

    return $image;
}

# What runs in a guest has to be static, and the instrumented one isn't.
sub agent { return top_dir() . '/build/sandbox-agent' }


sub make {
    my ($what, @cmd) = @_;

    return if -s $what;
    my ($status, $out, $err) = run_command(\@cmd, timeout => 600);
    die "@cmd: $out$err" if $status != 0 || !-s $what;
}


sub plan {
    my ($class) = @_;
    my $skip = $> != 0 ? 'needs root for networks'
        : `uname -m` !~ /^x86_64/ ? 'the machine is an x86-64'
        : !-e '/dev/net/tun' ? 'no /dev/net/tun'
        : system('unshare --net true 2>/dev/null') ? 'no namespaces here'
        : !-x '/usr/bin/qemu-system-x86_64'
            ? 'no qemu-system-x86_64 (scripts/deps.sh vm)'
        : undef;

    Test::More::plan(skip_all => $skip) if $skip;

    make_all();
}


sub make_all {
    make(kernel() . '/version', top_dir() . '/scripts/kernel.sh', kernel());
    make(image(), top_dir() . '/scripts/image.sh', image(),
        'host:bash,coreutils,libc-bin,busybox-static');
}


# The arguments of sandboxd.  VM_QEMU: another one than the system's.
sub arguments {
    return ('--driver', 'qemu', '--accel', 'tcg', '--kernel', kernel(),
            $ENV{VM_QEMU} ? ('--qemu', $ENV{VM_QEMU}) : (),
            '--image', $ENV{SANDBOX_DRIVER} ? 'base=' . suite_image()
                : 'vm=' . image());
}


# Those that run for a System, by slot; not what they fork for a moment.
sub keepers {
    my ($s) = @_;
    my (%slot, %parent);

    for my $pid (map { m{/proc/(\d+)} } glob '/proc/[0-9]*') {
        my $cmd = slurp("/proc/$pid/cmdline") // next;

        next unless $cmd
            =~ m{^sandboxd-vm\0\Q$s->{state}\E/\w+/([0-9a-f]{8})};
        $slot{$pid} = hex $1;
        ($parent{$pid}) = (slurp("/proc/$pid/stat") // '')
            =~ /^.*\) \S (\d+)/s;
    }

    return { map { $slot{$_} => $_ }
        grep { !exists $slot{ $parent{$_} // 0 } } keys %slot };
}


sub slot {
    my ($s, $id) = @_;
    my @slots = (slurp($s->{daemon_log}) // '')
        =~ /: \Q$id\E: (?:running|taken over), slot ([0-9a-f]{8}),/g;

    return @slots ? hex $slots[-1] : -1;
}


sub keeper { return keepers($_[0])->{ slot(@_) } }


sub qemu {
    my $keeper = keeper(@_) or return undef;

    return (grep { (slurp("/proc/$_/cmdline") // '') =~ /^\S*qemu-system/ }
        descendants($keeper))[0];
}


# Tests that a process of a machine's can do nothing; the user that it is.
sub is_confined {
    my ($what, $pid) = @_;
    my $status = slurp("/proc/$pid/status");
    my ($uid) = $status =~ /^Uid:\t(\d+)\t\1\t\1\t\1$/m;

    Test::More::cmp_ok($uid // 0, '>', 0x7effffff,
        "$what is a user without a name");
    Test::More::unlike($status, qr/^Gid:.*\b0\b/m,
        "$what is in no group of root");
    Test::More::like($status, qr/^CapEff:\s+0+$/m,
        "$what has no capabilities");
    Test::More::like($status, qr/^NoNewPrivs:\s+1$/m,
        "$what gets no privileges");
    Test::More::isnt(readlink "/proc/$pid/ns/$_", readlink "/proc/self/ns/$_",
        "$what has a $_ namespace of its own") for qw(net pid mnt ipc);
    Test::More::unlike(slurp("/proc/$pid/cmdline"), qr/[0-9a-f]{32}/,
        "$what has no key on its command line");

    return $uid;
}


# ... and has no files of the host, in the jail that the keeper has made.
sub is_jailed {
    my ($what, $pid) = @_;

    Test::More::is(join(' ', sort map { m{([^/]+)$} } glob "/proc/$pid/root/*"),
        join(' ', sort qw(dev usr vm), grep { -e "/$_" }
        qw(bin lib lib64 sbin)), "$what sees little of the host's files");
}


# Tests that what the keeper connects to, at a name that others could take, is
# not led elsewhere by who has broken out of it.
sub is_not_led {
    my ($s, $id) = @_;
    my $keeper = keeper($s, $id);
    my ($socket) = glob "$s->{run}/s/*";
    my $secret = IO::Socket::UNIX->new(Type => SOCK_STREAM, Listen => 5,
        Local => "$s->{dir}/secret.sock");

    run_command(['nsenter', '-t', $keeper, '-m', 'sh', '-c',
        "mv /vm/s/vsock /vm/s/old; ln -s $s->{dir}/secret.sock /vm/s/vsock"]);
    my $c = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $socket);
    Test::More::is(sysread($c, my $said, 100), 0,
        'a socket that was swapped leads nowhere');
    $secret->blocking(0);
    Test::More::ok(!$secret->accept, '... not to one of the host');
    run_command(['nsenter', '-t', $keeper, '-m', 'mv', '/vm/s/old',
        '/vm/s/vsock']);
}

1;
