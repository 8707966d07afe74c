package Vm;

# What virtual machines are made of: a kernel, unpacked from Debian's package,
# and a small image of this machine's own programs.  Both are made once and
# kept in build/vm.
#
#   Vm->plan;                   # skips the test with the reason, or dies where
#                               # what is needed should be there
#   my $s = System->start(driver => 'qemu');
#   Vm::keeper($s, 'id'), Vm::qemu($s, 'id')    # their pids

use strict;
use warnings;

use Harness;
use Test::More ();

my $DIR = top_dir() . '/build/vm';


sub kernel { return "$DIR/kernel" }
sub image { return "$DIR/test.img" }

# With what other tests' sandboxes run (make image): for SANDBOX_DRIVER=qemu.
sub base_image { return "$DIR/base.img" }

# What runs in a guest has to be static, and the instrumented one isn't.
sub agent { return top_dir() . '/build/sandbox-agent' }


sub make {
    my ($what, @cmd) = @_;

    return if -s $what;
    my ($status, $out, $err) = run_command(\@cmd, timeout => 300);
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


# The arguments of sandboxd.
sub arguments {
    return ('--driver', 'qemu', '--accel', 'tcg', '--kernel', kernel(),
            '--image', $ENV{SANDBOX_DRIVER} ? 'base=' . base_image()
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

1;
