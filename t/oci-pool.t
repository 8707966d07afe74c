#!/usr/bin/perl

# Sandboxes that the driver prepares before anybody has asked for them: what
# they have of their owner afterwards, and what ends them before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use Driver;

alarm_after(120);

my $dir = tmp_dir();
my $d = Driver->new(dir => $dir);
my $info = $d->info();

if ($info->{error}) {
    plan skip_all => "no sandboxes here: $info->{message}";
}

my $before = $d->leftovers();
my $unused = "$dir/state/sandboxes/%08x/layer/unused";

sub unused { return -e sprintf $unused, $_[0] }

# ---- prepared, then somebody's ---------------------------------------------

my $r = $d->prepare(1);
ok($r->{ok}, 'prepares one') or diag json_encode($r), slurp("$dir/log");
my $pid = $r->{pid};
ok(process_alive($pid), 'that runs');
ok(unused(1), 'and is marked as nobody\'s');

$r = $d->start(1, id => 'owner', env => { SECRET => 'mine' });
ok($r->{ok}, 'is given to a sandbox') or diag json_encode($r),
    slurp("$dir/log");
is($r->{pid}, $pid, 'the same process');
ok(!unused(1), 'is nobody\'s no more');
is($d->inside(1, 'hostname; cat /etc/hostname; grep 127.0.1.1 /etc/hosts; '
    . 'ls -d /workspace'), "owner\nowner\n127.0.1.1\towner\n/workspace\n",
    'has its name');
is($d->inside(1, 'ls -A /root /home /opt /tmp /workspace | grep -v : | grep .'),
    ".bashrc\n.profile\n", 'and nothing of anybody else');

$d->inside(1, 'echo data > /workspace/f; echo other > /etc/hostname');
ok($d->stop(1)->{ok}, 'stops');
$r = $d->start(1, id => 'owner');
ok($r->{ok}, 'and starts again, as any other');
is($d->inside(1, 'cat /workspace/f /etc/hostname'), "data\nother\n",
    'with what it had');
ok($d->destroy(1)->{ok}, 'is destroyed');

# ---- other limits ----------------------------------------------------------

SKIP: {
    skip 'no limits here', 6 if !$info->{memory};

    my $mine = 128 * 1048576;

    $pid = $d->prepare(2, defaults => { memory => 64 * 1048576 })->{pid};
    $r = $d->start(2, id => 'more', limits => { memory => $mine },
        defaults => { memory => 64 * 1048576 });
    ok($r->{ok}, 'with other limits it starts') or diag json_encode($r);
    isnt($r->{pid}, $pid, 'afresh');
    is($d->inside(2, 'hostname; cat /etc/hostname'), "more\nmore\n",
        'with its name');
    $d->destroy(2);

    # What is on its way to its end when the driver is begins nothing anew.
    $d->prepare(2, defaults => { memory => 64 * 1048576 });
    $d->send_start(2, id => 'late', limits => { memory => $mine },
        defaults => { memory => 64 * 1048576 });
    is($d->quit(), 0, 'the driver ends meanwhile');
    is(($d->answer_to('start', 2, 5) // {})->{code}, 'shutting_down',
        'and the start does, with that');
    $d->spawn();
    $d->info();
    ok($d->destroy(2)->{ok}, 'what it was prepared with goes');
}

# ---- one that dies before ---------------------------------------------------

$pid = $d->prepare(3)->{pid};
kill 'KILL', $pid;
ok($d->exited(3, 20), 'the end of a prepared one is told');
$r = $d->start(3, id => 'late');
ok($r->{ok}, 'its slot starts from the beginning') or diag json_encode($r);
is($d->inside(3, 'cat /etc/hostname'), "late\n", 'with the right name');
$d->destroy(3);

$pid = $d->prepare(4)->{pid};
kill 'KILL', $pid;
$r = $d->start(4, id => 'race');
ok($r->{ok} || $r->{code} eq 'start_failed',
    'one that dies when it is needed is a start, or a failure that says so')
    or diag json_encode($r);
$d->destroy(4);

# ---- unused ones go ---------------------------------------------------------

$d->prepare(5);
ok($d->destroy(5)->{ok}, 'a prepared one is destroyed');
$pid = $d->prepare(6)->{pid};
is($d->prepare(6)->{code}, 'busy', 'a slot is prepared once');
ok($d->stop(6, 0)->{ok}, 'stopped');
ok(!process_alive($pid), 'it has ended');
$d->destroy(6);

$d->left_as($before, 'nothing is left');

# ---- kill -9 of the driver --------------------------------------------------

$pid = $d->prepare(7)->{pid};
$d->prepare(8);
$r = $d->start(8, id => 'lives');
my $used = $r->{pid};
$d->quit('KILL');
ok(wait_for(sub { !process_alive($pid) }, 20),
    'a prepared one ends with its driver');
ok(process_alive($used), 'one that is somebody\'s lives on');

$d->spawn();
$d->info();
$d->send(op => 'adopt', slot => 8, pid => $used,
    start_time => $r->{start_time});
ok($d->answer_to('adopt', 8)->{ok}, 'and is taken over');
$d->send(op => 'sweep', keep => { '00000008' => JSON::PP::true });
ok($d->answer_to('sweep')->{ok}, 'the rest is swept');
is($d->inside(8, 'hostname'), "lives\n", 'not the one that was taken over');
$d->destroy(8);
wait_for(sub { !-e "$dir/state/sandboxes/00000007" }, 20);
$d->left_as($before, 'nothing is left');

is($d->quit(), 0, 'the driver ends cleanly');
done_testing();
