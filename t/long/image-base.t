#!/usr/bin/perl

# Dockerfile.base, built by buildah on a Debian of mmdebstrap's, as an image
# of a virtual machine: what it promises is in it.  Takes some minutes and the
# network of the host.

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

for my $program (qw(mmdebstrap buildah)) {
    plan skip_all => "$program is not installed"
        unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $dir = tmp_dir();
my $buildah = "buildah --root $dir/storage --runroot $dir/run "
    . '--storage-driver overlay';

# Directories that belong to others' ids, which our own cleaning up may lack.
END { system "$buildah rm --all >/dev/null 2>&1; rm -rf $dir/storage" if $dir }

my ($release) = (slurp('/etc/os-release') // '') =~ /^VERSION_CODENAME=(\w+)/m;

sub sh {
    my ($what, $command) = @_;
    my ($status, $out, $err) = run_command(['sh', '-ec', $command],
        timeout => 700);

    is($status, 0, $what) or BAIL_OUT(substr $out . $err, -2000);
}

sh('a Debian', "mmdebstrap --variant=minbase --quiet $release $dir/root.tar");
sh('as an image', "c=\$($buildah from scratch); "
    . "$buildah add -q \$c $dir/root.tar / && $buildah commit -q \$c "
    . "localhost/debian && $buildah rm \$c && rm $dir/root.tar");
sh('the base image', 'cd ' . top_dir() . " && BUILDAH='$buildah' "
    . "BUILD_ARGS='--pull-never --build-arg BASE=localhost/debian' "
    . "scripts/image.sh $dir/base.img dockerfile:Dockerfile.base");
is(`$buildah containers -q | wc -l`, "0\n", 'buildah keeps nothing of it');

my $d = Driver->new(agent => Vm::agent(), dev => 0,
    images => { base => "$dir/base.img" },
    env => { DRIVER => 'qemu', DRIVER_KERNEL => Vm::kernel() });
my $r = $d->start(1, image => 'base', timeout => 90000,
    limits => { memory => 512 << 20 });
ok($r->{ok}, 'boots') or diag(json_encode($r));

sub run {
    my $r = http(unix => $d->socket(1), method => 'POST',
        preface => "CONTROL $Driver::KEY\n", path => '/api/execute',
        timeout => 120, json => { command => $_[0] });

    return $r->{json}{stdout} // json_encode($r);
}

is(run('node -e "console.log(6 * 7)"'), '42', 'node');
is(run('python3 -c "print(6 * 7)"'), '42', 'python3');
is(run("command -v $_ >/dev/null && echo yes"), 'yes', $_)
    for qw(git curl bash file ps s3fs fusermount mksquashfs);
is(run('id -u sandbox; stat -c %U /workspace'), "1000\nsandbox",
    'an unprivileged user');
is(run('/sandbox-agent --version'), `@{[Vm::agent()]} --version` =~ s/\n//r,
    'the agent');

ok($d->destroy(1)->{ok}, 'destroyed');
is($d->quit(), 0, 'the end');
done_testing();
