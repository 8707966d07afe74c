#!/usr/bin/perl

# Machines whose image is no squashfs: the modules of an erofs are only loaded
# where an image isn't, and one may be an ext4.  Of each, what is in it, that it
# stays as it is, and that its machine can write over it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Driver;
use Harness;
use Test::More;
use Vm;

Vm->plan;
alarm_after(300);

my $dir = tmp_dir();
my %make = (
    erofs => sub { ['mkfs.erofs', '--quiet', $_[1], $_[0]] },
    ext4 => sub { ['mke2fs', '-q', '-F', '-t', 'ext4', '-d', @_, '64M'] },
);

sub run {
    my ($status, $out, $err) = run_command([@_], timeout => 120);

    die "@_: $err" if $status != 0;

    return $out;
}

run('unsquashfs', '-q', '-n', '-d', "$dir/tree", Vm::image());
run($make{$_}->("$dir/tree", "$dir/$_.img")->@*) for sort keys %make;

my %before = map { $_ => run('sha256sum', "$dir/$_.img") } keys %make;
my $d = Driver->new(dir => $dir, agent => Vm::agent(),
    images => { squashfs => Vm::image(),
        map { $_ => "$dir/$_.img" } keys %make },
    env => { DRIVER => 'qemu', DRIVER_KERNEL => Vm::kernel(),
        DRIVER_TEMPLATES => 0 });
my ($slot, %modules) = (0);

for my $type ('squashfs', sort keys %make) {
    my $r = $d->start(++$slot, image => $type, timeout => 60000,
        defaults => { memory => 128 << 20, disk => 96 << 20 });

    ok($r->{ok}, "a machine whose image is of type $type starts")
        or diag(json_encode($r));

    my $said = http(unix => $d->socket($slot), method => 'POST',
        preface => "CONTROL $Driver::KEY\n", path => '/api/execute',
        timeout => 60, json => { command => 'cat /proc/filesystems '
        . '/proc/modules; echo changed >/bin/new && cat /bin/new' })
        ->{json}{stdout} // '';

    like($said, qr/^\s+$type$/m, 'its kernel has that file system');
    like($said, qr/^changed$/m, 'what is changed is over it');
    $modules{$type} = $said =~ /^erofs /m ? 1 : 0;
    ok($d->destroy($slot)->{ok}, 'it ends');
}

is($modules{squashfs}, 0, 'what an image doesn\'t need is not loaded')
    if glob Vm::kernel() . '/modules/*.ko';
is($modules{erofs}, 1, 'and what it needs is')
    if glob Vm::kernel() . '/modules/*.ko';
is(run('sha256sum', "$dir/$_.img"), $before{$_}, "the $_ is as it was")
    for sort keys %make;
$d->quit;

done_testing();
