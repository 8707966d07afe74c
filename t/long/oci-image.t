#!/usr/bin/perl

# A Debian made by mmdebstrap as an image, for root and for an ordinary user.
# Takes a minute and the network of the host.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;

use CleanMachine;
use Driver;
use Harness;

alarm_after(900);

plan skip_all => 'root makes the image' unless $> == 0;

my $dir = tmp_dir();
chmod 0755, $dir;

plan skip_all => 'mmdebstrap is not installed'
    unless grep { -x "$_/mmdebstrap" } split /:/, $ENV{PATH};

my $mirror = CleanMachine::mirror()
    or plan skip_all => 'apt has no Debian here';

# The release of this machine: its keys are here.
my ($release) = (slurp('/etc/os-release') // '') =~ /^VERSION_CODENAME=(\w+)/m;
my ($status, $out, $err) = run_command(['mmdebstrap', '--variant=minbase',
    '--mode=root', $release || 'stable', "$dir/image.tar",
    $mirror], timeout => 600);

is($status, 0, 'mmdebstrap makes an image') or BAIL_OUT($err);

mkdir "$dir/$_", 0755 for qw(root user);
is(system('tar', '-xf', "$dir/image.tar", '-C', "$dir/root"), 0, 'extracted');

my $drive = sub {
    my ($name, $d, $image) = @_;
    my $r = $d->start(1, image => 'debian', id => 'deb');

    ok($r->{ok}, "$name: starts") or diag json_encode($r);
    like($d->inside(1, 'cat /etc/debian_version; id; hostname'),
        qr/^\d+\.\d+\nuid=0\(root\).*\ndeb\n$/, "$name: it is a Debian");
    is($d->inside(1, 'stat -c %U:%G:%a /usr /usr/bin/passwd /etc/shadow'),
        "root:root:755\nroot:root:4755\nroot:shadow:640\n",
        "$name: its files belong to whom they should");
    is(($d->inside(1, <<'SH'))[1], 0, "$name: it can be changed");
set -e
useradd -m user; su user -c 'id -un; echo hello > ~/f'
echo '#!/bin/sh' > /usr/bin/new; rm /usr/bin/env; mv /usr/share/doc /usr/docs
mkdir -p /tmp/p/DEBIAN
printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@m>\nDescription: p\n' > /tmp/p/DEBIAN/control
mkdir -p /tmp/p/usr/bin; echo echo packaged > /tmp/p/usr/bin/packaged
chmod 755 /tmp/p/usr/bin/packaged; dpkg-deb -b /tmp/p /tmp/p.deb; dpkg -i /tmp/p.deb
test "$(packaged)" = packaged; chown user:user /usr/bin/new
SH
    ok(!-e "$image/usr/bin/new" && -e "$image/usr/bin/env"
        && -d "$image/usr/share/doc", "$name: the image stays as it is");
    ok($d->stop(1)->{ok} && $d->start(1, image => 'debian', id => 'deb')->{ok},
        "$name: started again");
    is($d->inside(1, 'cat /home/user/f; ls /usr/bin/env 2>&1; ls -d /usr/docs;'
        . 'stat -c %U /usr/bin/new; dpkg -s p | grep Status'), <<'OUT',
hello
ls: cannot access '/usr/bin/env': No such file or directory
/usr/docs
user
Status: install ok installed
OUT
        "$name: with its changes");
    ok($d->destroy(1)->{ok}, "$name: destroyed");
    is($d->quit(), 0, "$name: the driver ends");
};

$drive->('root', Driver->new(images => { debian => "$dir/root" }, dev => 0),
    "$dir/root");

# The user's files are those of its subordinate ids.
my $user = Driver->new(user => $Driver::USER, subids => 1, dev => 0);
my @as_user = @{ $user->{o}{wrap} };

$user->quit();
chown $Driver::USER, $Driver::USER, "$dir/user";

is(system(@as_user, 'unshare', '--user', '--map-root-user', '--map-auto',
    'tar', '-C', "$dir/user", '--exclude=./dev/*', '-xf', "$dir/image.tar"), 0,
    'extracted by an ordinary user');

$user->{images}{debian} = "$dir/user";
$user->spawn();
$drive->('user', $user, "$dir/user");

done_testing();
