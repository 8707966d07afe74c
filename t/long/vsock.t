#!/usr/bin/perl

# AF_VSOCK from nginx and sandboxd to an agent: t/vsock.t in a virtual machine
# whose kernel has vsock_loopback, with the programs of this machine.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Driver;
use Harness;
use Test::More;
use Vm;

Vm->plan;
alarm_after(1500);

my $dir = tmp_dir();
my $top = top_dir();

# ---- the kernel, with the modules of vsock

my $kernel = "$top/build/vm/kernel-vsock";
my ($status, $out, $err) = run_command(["$top/scripts/kernel.sh", $kernel],
    timeout => 300, env => { KERNEL_MODULES => 'vsock_loopback' });
is($status, 0, 'a kernel with vsock_loopback') or BAIL_OUT("$out$err");

# ---- the image: packages, and what is tested

my @packages = qw(bash coreutils libc-bin procps perl nginx python3 util-linux
    mount crun uidmap iproute2 grep sed findutils hostname);
my %seen;

# What the programs are linked with.
for my $file (map { m{=> (/\S+)} } split /\n/, `ldd $top/build/sandboxd`) {
    my ($package) = map { (`dpkg -S $_ 2>/dev/null` // '') =~ /^([^:]+)/ }
        $file, $file =~ s{^/usr}{}r, "/usr$file";

    push @packages, $package if $package && !$seen{$package}++;
}

($status, $out, $err) = run_command(["$top/scripts/image.sh", "$dir/image",
    'host:' . join ',', @packages], timeout => 300);
is($status, 0, 'an image') or BAIL_OUT("$out$err");

mkdir "$dir/more";
mkdir "$dir/more/project";
system 'cp', '-a', "$top/t", "$top/conf-examples", "$dir/more/project";
mkdir "$dir/more/project/build";
system 'cp', map({ "$top/build/$_" } qw(sandboxd sandbox-agent
    ngx_http_sandbox_module.so)), "$dir/more/project/build";
is(system("mksquashfs $dir/more $dir/image -no-progress -quiet -no-xattrs "
    . '-no-recovery >/dev/null'), 0, 'with what is tested');

# ---- in there

my $d = Driver->new(agent => Vm::agent(), dev => 0,
    images => { v => "$dir/image" },
    env => { DRIVER => 'qemu', DRIVER_KERNEL => $kernel });
my $r = $d->start(1, image => 'v', timeout => 120000,
    limits => { memory => 1024 << 20, disk => 512 << 20 });
ok($r->{ok}, 'boots') or diag(json_encode($r));

sub run {
    my ($command) = @_;
    my $r = http(unix => $d->socket(1), method => 'POST',
        preface => "CONTROL $Driver::KEY\n", path => '/api/execute',
        timeout => 900, json => { command => $command });

    return $r->{json} // {};
}

# What sandboxes have for nginx to run.
run('echo www-data:x:33:33::/:/usr/sbin/nologin >>/etc/passwd; '
    . 'echo www-data:x:33: >>/etc/group; mkdir -p /var/log/nginx '
    . '/var/lib/nginx');

$r = run('cd /project && perl t/vsock.t 2>&1');
my @lines = split /\n/, $r->{stdout} // '';
my $count = 0;

for (@lines) {
    /^(ok|not ok) \d+ (?:- )?(.*)/ or next;
    ok($1 eq 'ok', "inside: $2");
    $count++;
}

is($r->{exitCode}, 0, 'inside: the end') or diag(join "\n", @lines);
cmp_ok($count, '>', 15, 'and its tests were run') or diag(json_encode($r));

ok($d->destroy(1)->{ok}, 'destroyed');
is($d->quit(), 0, 'the end');
done_testing();
