package Firecracker;

# Firecracker and its jailer as t/driver/fc_stub.h plays them, and what their
# guests have for an image: an archive with busybox and bash.
#
#   Firecracker->plan;                  # skips the test with the reason
#   my $s = System->start(driver => 'firecracker');     # with the image vm;
#   # images => ['snapshot'], with one more, which fails at that

use strict;
use warnings;

use Harness;
use Test::More ();

my $BUSYBOX = '/bin/busybox';


# The instrumented programs play it with the plain ones: both are static.
sub program { return top_dir() . "/build/stub/$_[0]" }


sub plan {
    my $skip = $> != 0 ? 'needs root for namespaces'
        : `uname -m` !~ /^x86_64/ ? 'the machine is an x86-64'
        : !-e '/dev/net/tun' ? 'no /dev/net/tun'
        : !-x $BUSYBOX ? 'no busybox-static'
        : system('unshare --net true 2>/dev/null') ? 'no namespaces here'
        : undef;

    Test::More::plan(skip_all => $skip) if $skip;
}


# An entry of an archive that the kernel calls "newc".
sub entry {
    my ($name, $mode, $data) = @_;
    my $head = sprintf '070701' . '%08x' x 13, 1, $mode, 0, 0, 1, 0,
        length $data, 0, 0, 0, 0, 1 + length $name, 0;
    my $text = "$head$name\0";

    $text .= "\0" x (-length($text) % 4);

    return $text . $data . "\0" x (-length($data) % 4);
}


# Made once: what sleeps goes on with the image, and kernel, that it had.
sub image {
    my ($dir, %o) = @_;
    my $path = "$dir/image" . ($o{fault} ? "-$o{fault}" : '') . '.cpio';
    my (%made, $all);

    return $path if -e $path;
    $all = entry('etc', 040755, '')
        . entry('etc/passwd', 0100644, "root:x:0:0::/root:/bin/sh\n");

    for my $file ($BUSYBOX, '/bin/bash', `ldd /bin/bash` =~ m{(/\S+)}g) {
        my @parts = split m{/}, substr $file, 1;

        for (map { join '/', @parts[0 .. $_] } 0 .. $#parts - 1) {
            $all .= entry($_, 040755, '') if !$made{$_}++;
        }
        $all .= entry(substr($file, 1), 0100755, slurp($file));
    }

    $all .= entry("bin/$_", 0120777, 'busybox')
        for qw(sh cat echo ls sleep id httpd kill ps true false env mkdir rm
               sync seq date head nc dd touch);
    $all .= entry('fault', 0100644, $o{fault}) if $o{fault};
    $all .= entry('TRAILER!!!', 0, '');

    spew($path, $all, 0644);

    return $path;
}


# A directory as scripts/kernel.sh makes it; nobody looks at the kernel.
sub kernel {
    my ($dir) = @_;

    mkdir $_ for "$dir/kernel", "$dir/kernel/modules", "$dir/kernel/vsock";
    spew("$dir/kernel/vmlinux", 'a kernel') if !-e "$dir/kernel/vmlinux";

    return "$dir/kernel";
}


# The arguments of sandboxd; of a real one for SANDBOX_DRIVER=firecracker.
sub arguments {
    my ($s) = @_;

    return ('--driver', 'firecracker', '--firecracker',
            $ENV{SANDBOX_FIRECRACKER} // '/usr/bin/firecracker',
            '--kernel', Vm::kernel(), '--image', 'base=' . Vm::suite_image())
        if ($ENV{SANDBOX_DRIVER} // '') eq 'firecracker';

    return ('--driver', 'firecracker', '--firecracker', program('firecracker'),
        '--accel', 'kvm', '--kernel', kernel($s->{dir}),
        '--image', 'vm=' . image($s->{dir}),
        map { ('--image', "$_=" . image($s->{dir}, fault => $_)) }
            @{ $s->{images} || [] });
}


# The VMM of a sandbox, which its keeper (Vm.pm) has started.
sub vmm {
    my ($s, $id) = @_;
    my $keeper = Vm::keeper($s, $id) or return undef;

    return (grep { (slurp("/proc/$_/cmdline") // '') =~ m{^/firecracker\0} }
        descendants($keeper))[0];
}

1;
