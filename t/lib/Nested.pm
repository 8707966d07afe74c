package Nested;

# Tests of what only another kernel has: run in a virtual machine of ours, with
# Debian's kernel and more modules, and the programs of this machine.
#
#   Nested::run(test => 't/vsock.t', modules => 'vsock_loopback',
#       least => 15);               # tests that are passed at least
#
# packages: more of Debian's; files: of build/, to be there as well; args: for
# the test; memory, disk (MiB), cpu, timeout (s).

use strict;
use warnings;

use Driver;
use Harness;
use Test::More;
use Vm;

my @packages = qw(bash coreutils libc-bin procps perl nginx python3 util-linux
    mount crun uidmap iproute2 grep sed findutils hostname);


# What the programs are linked with.
sub packages {
    my @all = (@packages, @_);
    my %seen = map { $_ => 1 } @all;

    for my $file (map { m{=> (/\S+)} } split /\n/,
        `ldd ${\ top_dir()}/build/sandboxd`)
    {
        my ($package) = map { (`dpkg -S $_ 2>/dev/null` // '') =~ /^([^:]+)/ }
            $file, $file =~ s{^/usr}{}r, "/usr$file";

        push @all, $package if $package && !$seen{$package}++;
    }

    return @all;
}


sub kernel {
    my ($modules) = @_;
    my $kernel = top_dir() . '/build/vm/kernel-' . $modules =~ s/ /-/gr;
    my ($status, $out, $err) = run_command(
        [top_dir() . '/scripts/kernel.sh', $kernel], timeout => 300,
        env => { KERNEL_MODULES => $modules });

    is($status, 0, "a kernel with $modules") or BAIL_OUT("$out$err");

    return $kernel;
}


sub image {
    my ($dir, %o) = @_;
    my $top = top_dir();
    my ($status, $out, $err) = run_command(["$top/scripts/image.sh",
        "$dir/image", 'host:' . join ',', packages(@{ $o{packages} || [] })],
        timeout => 300);

    is($status, 0, 'an image') or BAIL_OUT("$out$err");

    system 'mkdir', '-p', "$dir/more/project/build";
    system 'cp', '-a', "$top/t", "$top/conf-examples", "$dir/more/project";
    for my $file (qw(sandboxd sandbox-agent ngx_http_sandbox_module.so),
        @{ $o{files} || [] })
    {
        my ($to) = "$dir/more/project/build/$file" =~ m{(.*)/};

        system 'mkdir', '-p', $to;
        system 'cp', '-a', "$top/build/$file", $to;
    }
    is(system("mksquashfs $dir/more $dir/image -no-progress -quiet -no-xattrs "
        . '-no-recovery >/dev/null'), 0, 'with what is tested');

    return "$dir/image";
}


sub run {
    my (%o) = @_;
    my $timeout = $o{timeout} || 900;
    my $dir = tmp_dir();
    my $d = Driver->new(agent => Vm::agent(), dev => 0,
        images => { v => image($dir, %o) },
        env => { DRIVER => 'qemu', DRIVER_KERNEL => kernel($o{modules}) });
    my $r = $d->start(1, image => 'v', timeout => 120000,
        limits => { memory => ($o{memory} || 1024) << 20,
                    disk => ($o{disk} || 512) << 20,
                    $o{cpu} ? (cpu => $o{cpu}) : () });
    ok($r->{ok}, 'boots') or diag(json_encode($r));

    my $in = sub {
        my $r = http(unix => $d->socket(1), method => 'POST',
            preface => "CONTROL $Driver::KEY\n", path => '/api/execute',
            timeout => $timeout, json => { command => $_[0] });

        return $r->{json} // {};
    };

    # What sandboxes have for nginx to run.
    $in->('echo www-data:x:33:33::/:/usr/sbin/nologin >>/etc/passwd; '
        . 'echo www-data:x:33: >>/etc/group; mkdir -p /var/log/nginx '
        . '/var/lib/nginx');

    $r = $in->("cd /project && perl $o{test} @{ $o{args} || [] } 2>&1");
    my @lines = split /\n/, $r->{stdout} // '';
    my $count = 0;

    for (@lines) {
        if (/^(ok|not ok) \d+ (?:- )?(.*)/) {
            ok($1 eq 'ok', "inside: $2" =~ s/#/--/gr);
            $count++;
        }
    }

    is($r->{exitCode}, 0, 'inside: the end') or diag(join "\n", @lines);
    cmp_ok($count, '>', $o{least}, 'and its tests were run')
        or diag(json_encode($r));

    ok($d->destroy(1)->{ok}, 'destroyed');
    is($d->quit(), 0, 'the end');

    return @lines;
}

1;
