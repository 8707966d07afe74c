#!/usr/bin/perl

# The store of images: what t/image.t leaves out, and images made by
# mmdebstrap and buildah.

use strict;
use warnings;

use Fcntl qw(:flock);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Harness;
use ImageStore;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

ImageStore::plan();
alarm_after(1500);

my $dir = tmp_dir();
my $s = ImageStore->new($dir);

mkdir "$dir/root";
mkdir "$dir/root/bin";
spew("$dir/root/bin/tool", "one\n", 0755);
my @build = ('build', 'base', "dir:$dir/root");

# ---- what is wrong with a command

$s->refused(qr/build, import, list or remove/, 2);
$s->refused(qr/no command/, 2, 'mend', 'x');
$s->refused(qr/no option --fast/, 2, '--fast', 'list');
$s->refused(qr/takes a name and a source/, 2, 'build', 'x');
$s->refused(qr/name 'Big' must be 1 to 63/, 2, 'build', 'Big', "dir:$dir");
$s->refused(qr/name '' must be/, 2, 'build', '', "dir:$dir");
$s->refused(qr/that of the image made by --dev/, 2, 'build', 'host',
    "dir:$dir");
$s->refused(qr/the store's own/, 2, 'build', 'sha256', "dir:$dir");
$s->refused(qr/source 'ftp:x' is not/, 2, 'build', 'x', 'ftp:x');
$s->refused(qr/--max-size must be 1 to 1048576, not '0'/, 2, '--max-size', 0,
    'list');
$s->refused(qr/--timeout must be 1 to 86400, not '1h'/, 2, '--timeout', '1h',
    'list');

# ---- what is put into one

spew("$dir/agent", "the agent\n", 0755);
is($s->image('--agent', "$dir/agent", @build), 0, 'an image');
like(`unsquashfs -ll $dir/store/base`,
    qr{drwxrwxrwt root/root .*/tmp\ndrwxr-xr-x root/root .*/workspace\n},
    'has directories that all need');
$s->image('list');
like($s->{out}, qr/^base +[0-9a-f]{12} +1 squashfs false  dir:/m,
    'listed for people');

mkdir "$dir/root/usr";
mkdir "$dir/root/usr/bin";
spew("$dir/root/usr/bin/sandbox-agent", "its own\n", 0755);
is($s->image('--agent', "$dir/agent", @build), 0, 'with an agent of its own');
is($s->inside('base', 'sandbox-agent'), '', 'it gets no other');
chown 1234, 1234, "$dir/root/bin/tool" if $> == 0;
is($s->image('--all-root', @build), 0, 'all root\'s');
unlike(`unsquashfs -lln $dir/store/base`, qr/1234/, 'owners are not kept then');
is($s->files(), 1, 'what was replaced is gone');

# ---- brought along

is($s->image('import', 'copy', 'store/base'), 0, 'a file with a file system');
is($s->files(), 1, 'is the same as it was');
system 'tar', '-C', "$dir/root", '-cf', "$dir/root.tar", '.';
is($s->image('import', 'tar', 'root.tar'), 0, 'a tar file') or diag($s->{err});
is($s->inside('tar', 'bin/tool'), "one\n", 'with what is in it');
is($s->image('import', 'dir', 'root'), 0, 'a directory');
is($s->images()->{dir}{source}, "dir:$dir/root", 'which is listed as such');
spew("$dir/garbage", 'x' x 5000);
$s->refused(qr/neither an archive nor an image/, 1, 'import', 'x', 'garbage');
$s->refused(qr/no such file/, 1, 'import', 'x', 'missing');
mkdir "$dir/empty";
$s->refused(qr/empty/, 1, 'build', 'x', "dir:$dir/empty");
$s->refused(qr/is no directory/, 1, 'build', 'x', "dir:$dir/missing");
$s->refused(qr/no such file/, 1, 'build', 'x', "dockerfile:$dir/missing");
$s->refused(qr/no image own/, 1, 'remove', 'own');

# ---- bounds

open my $random, '<', '/dev/urandom';
read $random, my $noise, 3 << 20;
mkdir "$dir/large";
spew("$dir/large/noise", $noise);
$s->refused(qr/may have 1 MiB/, 1, '--max-size', 1, 'build', 'x',
    "dir:$dir/large");
truncate "$dir/garbage", 2 << 20;
system 'dd', 'status=none', 'conv=notrunc', "if=$dir/store/base",
    "of=$dir/garbage", 'bs=4k', 'count=1';
$s->refused(qr/larger than 1 MiB/, 1, '--max-size', 1, 'import', 'x',
    'garbage');
POSIX::mkfifo("$dir/never", 0600);
unlink "$dir/root/usr/bin/sandbox-agent";
my $t = time;
$s->refused(qr/more than 1 s/, 1, '--timeout', 1, '--agent', "$dir/never",
    @build);
cmp_ok(time - $t, '<', 15, 'in time');
is($s->inside('base', 'bin/tool'), "one\n", 'the name is still the old one\'s');

# ---- two at once, and one that is ended

sub begin {
    my $pid = start_process(cmd => [$s->command('--agent', "$dir/never",
        @build)], log => "$dir/log");

    ok(wait_for(sub { -e "$dir/store/.work/base/image.lock" }, 10),
        'one is being made');

    return $pid;
}

sub running {
    return grep { (slurp("/proc/$_/cmdline") // '') =~ /\Q$dir\E/ }
        map { m{(\d+)} } glob '/proc/[0-9]*';
}

my $builder = begin();
$s->refused(qr/base is being made/, 1, @build);
is($s->image('build', 'other', "dir:$dir/root"), 0,
    'another isn\'t kept from it');
ok(-e "$dir/store/.work/base", 'and takes nothing away from it');
kill 'TERM', $builder;
ok(wait_for(sub { !process_alive($builder) }, 20), 'it ends when it is told');
ok(!-e "$dir/store/.work/base", 'nothing of it is left');
is_deeply([running()], [], 'no program either');

$builder = begin();
kill 'KILL', $_ for descendants($builder), $builder;
ok(wait_for(sub { !process_alive($builder) }, 10), 'it was killed');
is($s->image('remove', 'other'), 0, 'the next command');
ok(!-e "$dir/store/.work/base", 'cleans up after it');

# ---- a store that others may write to

chmod 0777, "$dir/store";
$s->refused(qr/written to by others/, 1, 'build', 'x', "dir:$dir/root");
chmod 0755, "$dir/store";

# ---- made by programs

$s->{timeout} = 900;

SKIP: {
    skip 'no mmdebstrap as root', 1 if $> || !-x '/usr/bin/mmdebstrap';

    is($s->image('build', 'debian', 'debian:busybox-static'), 0, 'a Debian')
        or diag($s->{err});
    my $first = $s->{out};
    is($s->inside('debian', 'usr/lib/os-release') =~ /^ID=debian$/m, 1, 'it is one');
    is($s->image('build', 'debian', 'debian:busybox-static'), 0, 'once more');
    is($s->{out}, $first, 'is the same');
}

SKIP: {
    skip 'no buildah as root', 1 if $> || !-x '/usr/bin/buildah';

    my $buildah = "buildah --root $dir/storage --runroot $dir/run "
        . '--storage-driver overlay';

    $ENV{BUILDAH} = $buildah;
    mkdir "$dir/context";
    spew("$dir/context/tool", "of the context\n", 0755);
    spew("$dir/context/Dockerfile", "FROM scratch\nCOPY tool /bin/tool\n");

    is($s->image('build', 'built', 'dockerfile:context/Dockerfile'), 0,
        'a Dockerfile') or diag($s->{err});
    is($s->inside('built', 'bin/tool'), "of the context\n", 'was built');
    my $built = $s->{out};

    is(system("cd $dir/context && $buildah bud -q -f Dockerfile -t "
        . "localhost/t . >/dev/null && for to in oci-archive:$dir/a.tar "
        . "oci:$dir/layout docker-archive:$dir/d.tar:x; do "
        . "$buildah push -q localhost/t \$to || exit 1; done && "
        . "$buildah rmi -f localhost/t >/dev/null"), 0, 'OCI images');

    for my $path (qw(a.tar layout d.tar)) {
        is($s->image('import', 'built', $path), 0, "$path is brought in")
            or diag($s->{err});
        is($s->inside('built', 'bin/tool'), "of the context\n", 'and is it');
    }

    is(`$buildah containers -q; $buildah images -q`, '', 'nothing is left there');
    system "$buildah rm --all >/dev/null 2>&1; rm -rf $dir/storage";
}

done_testing();
