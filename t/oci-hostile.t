#!/usr/bin/perl

# What a hostile guest could take away from the host, or learn of it and of
# the other sandboxes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;

use Harness;
use Driver;

alarm_after(120);

my $d = Driver->new();
my $info = $d->info();
my $before = $d->leftovers();

if ($info->{error}) {
    plan skip_all => "no sandboxes here: $info->{message}";
}

my $machine = (POSIX::uname())[4];
my %nr = $machine eq 'x86_64'
    ? (inotify_init1 => 294, io_setup => 206, prlimit64 => 302)
    : $machine eq 'aarch64'
    ? (inotify_init1 => 26, io_setup => 0, prlimit64 => 261)
    : ();

sub inotify { return syscall $nr{inotify_init1}, 0 }

my $r = $d->start(1);
ok($r->{ok}, 'starts') or diag json_encode($r), slurp("$d->{dir}/log");

# ---- what the kernel counts per user or per host ---------------------------

SKIP: {
    skip "no numbers of system calls for $machine", 8 unless %nr;

    $d->inside(1, "perl -e '\$| = 1;"
        . " 1 while syscall($nr{inotify_init1}, 0) >= 0;"
        . " print qq{full\n}; sleep 60' > /tmp/inotify 2>&1 &");
    ok(wait_for(sub { $d->inside(1, 'cat /tmp/inotify') eq "full\n" }, 20),
        'a guest takes all the inotify instances that it can get');

    my $fd = $> == 0 ? inotify() : 0;
    cmp_ok($fd, '>=', 0, "which aren't those of the host's root");
    POSIX::close($fd) if $fd > 0;
    $d->inside(1, 'kill $(pidof perl)');

    is($d->inside(1, "perl -e '\$c = pack q{Q}, 0;"
        . " print syscall($nr{io_setup}, 64, \$c), q{ }, \$! + 0'"), '-1 38',
        'no aio, of which the host has little');

    is($d->inside(1, q{perl -e 'while (@f < 400 && open my $f, "+<",}
        . q{ "/dev/ptmx") { push @f, $f } print scalar @f'}), 256,
        'no more terminals than a sandbox needs');

    # The host's core_pattern may name a program.
    is($d->inside(1, 'grep core /proc/self/limits | tr -s " "'),
        "Max core file size 1 1 bytes \n", 'nothing of a crash reaches it');
    is($d->inside(1, 'ulimit -c 0 && grep core /proc/self/limits'
        . ' | tr -s " "'), "Max core file size 1 1 bytes \n", 'nor later');

    my $set = 'perl -e \'$n = pack q{QQ}, 0, 0; print syscall(%d, 0, %s, $n,'
        . ' 0), q{ }; open F, q{/proc/self/limits};'
        . ' print join q{ }, map { /^Max core.*?(\d+)/ } <F>\'';

    is($d->inside(1, sprintf $set, $nr{prlimit64}, '4'), '0 1',
        'in whatever way');
    is($d->inside(1, sprintf $set, $nr{prlimit64}, '0x700000004'), '0 1',
        'the number is written');
}

is($d->inside(1, 'ulimit -n 100; ulimit -n'), "100\n",
    'other limits can be lowered');

# ---- the host's facts --------------------------------------------------------

for my $path (qw(/proc/cmdline /proc/diskstats /proc/partitions /proc/keys)) {
    is($d->inside(1, "cat $path"), '', "$path is empty");
}

is($d->inside(1, 'ls /sys/fs /sys/firmware'), "/sys/firmware:\n\n/sys/fs:\n",
    'nothing of filesystems and firmware');

SKIP: {
    skip 'no bounded disks for this user on this host', 2 unless $info->{disk};

    $r = $d->start(2, limits => { disk => 32 << 20 });
    ok($r->{ok}, 'a neighbour with a disk') or diag json_encode($r);
    unlike($d->inside(1, 'cat /sys/block/*/loop/backing_file'
        . ' /sys/class/block/*/loop/backing_file'
        . ' /sys/dev/block/*/loop/backing_file 2>/dev/null; echo .'),
        qr/sandboxes/, 'whose file is nowhere to be seen');
    $d->destroy(2);
}

# ---- the host's devices ------------------------------------------------------

is((stat '/dev/null')[4], 0, "the host's null device is root's");
isnt(($d->inside(1, 'chmod 600 /dev/null'))[1], 0,
    "a guest can't close it to others");

is($d->complaints(), '', 'the driver had nothing to complain about');

# ---- what an agent says --------------------------------------------------------

# This agent doesn't hide its descriptors, as the real one does.
sub say_as_agent {
    my ($perl) = @_;

    return $d->inside(1, q{perl -e '$fd = syscall(438, syscall(434, 1, 0), 2,}
        . qq{ 0); open F, qq{>&=\$fd}; $perl'});
}

sub log_has {
    my ($text) = @_;

    return wait_for(sub { slurp("$d->{dir}/log") =~ $text }, 10);
}

say_as_agent('syswrite F, qq{first\\nsecond\\rforged\\n}');
ok(log_has(qr/^\S+ info: slot 00000001: agent: first$/m),
    'an agent\'s words are logged');
like(slurp("$d->{dir}/log"),
    qr/^\S+ info: slot 00000001: agent: second\?forged$/m,
    'on lines that begin with its slot');

is(say_as_agent('$n++ while syswrite F, q{x} x 1024 . qq{\\n}; '
    . 'print $n > 100 ? q{all} : q{some}, q{ }, $!+0'), 'some 11',
    'one that talks too much loses words, not time');
cmp_ok(-s "$d->{dir}/log", '<', 10000, 'and fills nobody\'s log');

ok($d->destroy(1)->{ok}, 'destroyed');
$r = $d->start(3);
kill 'KILL', $d->{pid};
waitpid delete $d->{pid}, 0;
$d->spawn();
$d->send(op => 'adopt', slot => 3, pid => $r->{pid},
    start_time => $r->{start_time});
ok($d->answer_to('adopt', 3)->{ok}, 'another driver takes one over');
spew("$d->{dir}/log", '');
$d->inside(3, q{perl -e '$fd = syscall(438, syscall(434, 1, 0), 2, 0);}
    . q{ open F, qq{>&=$fd}; syswrite F, qq{after\n}'});
ok(log_has(qr/slot 00000003: agent: after$/m), 'with what it says');

# ---- what the real agent reads when it starts ------------------------------------

$d->inside(3, 'rm /etc/passwd; mkfifo /etc/passwd');
$d->stop(3);
$d->quit();
$d = Driver->new(dir => $d->{dir}, agent => build_dir() . '/sandbox-agent');
$r = $d->start(3, timeout => 10000);
ok($r->{ok}, 'a pipe in the place of /etc/passwd keeps no agent waiting')
    or diag json_encode($r);

ok($d->destroy(3)->{ok}, 'destroyed');
$d->left_as($before, 'nothing is left behind');
is($d->quit(), 0, 'the driver ends');

done_testing();
