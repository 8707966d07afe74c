#!/usr/bin/perl

# What is left of sandboxes: after many starts one after another and at once,
# and after the driver, its helper or a launch was killed at any moment.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use Driver;

alarm_after(240);

my $d = Driver->new();
my $info = $d->info();

plan skip_all => "no sandboxes here: $info->{message}" if $info->{error};

my %limits = $info->{memory}
    ? (defaults => { memory => 256 << 20, pids => 200, cpu => 1 }) : ();
my $before = $d->leftovers();
my $namespaces = namespaces();


# Kinds of namespaces are counted over all processes; others that run at the
# same time come and go, so that only ours count: those of the helper's uid.
sub namespaces {
    my %seen;

    for my $pid (descendants($d->{pid})) {
        for my $kind (qw(user mnt net pid ipc uts cgroup)) {
            my $ns = readlink "/proc/$pid/ns/$kind" or next;

            $seen{$ns} = 1;
        }
    }

    return scalar keys %seen;
}


sub percentiles {
    my @s = sort { $a <=> $b } @_;

    return sprintf 'p50 %.1f ms, p99 %.1f ms', $s[@s / 2] / 1000,
        $s[int(@s * 0.99)] / 1000;
}

# ---- many --------------------------------------------------------------------

my (@us, $failed);

for my $slot (1 .. 100) {
    my $r = $d->start($slot, %limits);

    $failed++, diag json_encode($r) unless $r->{ok};
    push @us, $r->{us};
    $r = $d->destroy($slot);
    $failed++, diag json_encode($r) unless $r->{ok};
}

is($failed, undef, '100 sandboxes one after another');
note 'start to first ping, one after another: ', percentiles(@us);
$d->left_as($before, 'leave nothing');

@us = ();
$d->send_start($_, %limits) for 201 .. 250;
for (201 .. 250) {
    my $r = $d->answer_to('start');

    $failed++, diag json_encode($r) unless $r && $r->{ok};
    push @us, $r->{us};
}
is($failed, undef, '50 sandboxes at once');
note 'start to first ping, 50 at once: ', percentiles(@us);
ok(wait_for(sub { $d->agents() == 50 }, 5), 'all of them run');
is(scalar(grep { $d->inside($_, 'hostname') ne "box$_\n" } 201 .. 250), 0,
    'each is itself');

$d->send(op => 'destroy', slot => $_) for 201 .. 250;
for (201 .. 250) {
    my $r = $d->answer_to('destroy');

    $failed++, diag json_encode($r) unless $r && $r->{ok};
}
is($failed, undef, 'are destroyed at once');
$d->left_as($before, 'and leave nothing');
is(namespaces(), $namespaces, 'nor namespaces');

# ---- adoption -------------------------------------------------------------------

my $one = $d->start(1, %limits);
my $two = $d->start(2, %limits);
my $three = $d->start(3, %limits);

$d->inside(1, 'echo data > /workspace/f');
is($d->quit('KILL'), 9, 'the driver is killed');
is($d->inside(1, 'cat /workspace/f'), "data\n", 'sandboxes go on');

$d->spawn();

my $adopt = sub {
    my ($slot, $pid, $start) = @_;

    $d->send(op => 'adopt', slot => $slot, pid => $pid, start_time => $start);

    return $d->answer_to('adopt')->{ok} ? 1 : 0;
};

is($adopt->(1, $one->{pid}, $one->{start_time} + 1), 0,
    'another start time is another process');
is($adopt->(1, $$, 1), 0, 'as is another process');
is($adopt->(1, 4194000, 1), 0, 'or none');
is($adopt->(9, $one->{pid}, $one->{start_time}), 0, 'a slot without a socket');
is($adopt->(1, $one->{pid}, $one->{start_time}), 1, 'the right one is adopted');
is($adopt->(1, $one->{pid}, $one->{start_time}), 0, 'once');
is($d->start(2)->{code}, 'already_running', "what wasn't adopted still runs");
is($d->inside(2, 'echo well'), "well\n", 'and is left alone');

$d->send(op => 'sweep', keep => { '00000001' => \1, '00000002' => \0 });
ok($d->answer_to('sweep')->{ok}, 'swept');
is($d->inside(1, 'cat /workspace/f'), "data\n", 'the adopted one goes on');
ok(!process_alive($two->{pid}), "the one that doesn't run by its record ended");
ok(-d "$d->{dir}/state/sandboxes/00000002", 'and kept its files');
ok(!process_alive($three->{pid}), 'the unknown one ended');
ok(wait_for(sub { !-e "$d->{dir}/state/sandboxes/00000003" }, 5),
    'and lost its files');
ok($d->stop(1)->{ok}, 'the adopted one can be stopped');
is($d->exited(1, 5)->{status}, -1, 'how it ended is not known');
ok($d->start(1)->{ok} && $d->start(2)->{ok}, 'both start again');
is($d->inside(1, 'cat /workspace/f'), "data\n", 'with their files');
$d->destroy($_) for 1, 2;

# ---- what is being deleted keeps its name ---------------------------------------

{
    my $layers = "$d->{dir}/state/sandboxes";

    for my $dir ('00000009', map { "trash-00000009-$_" } 0 .. 9) {
        mkdir "$layers/$dir";
        spew("$layers/$dir/lock", '');
    }
    $d->quit('KILL');
    $d->spawn();
    $d->send(op => 'sweep', keep => {});
    $d->answer_to('sweep');
    ok(wait_for(sub { !(() = glob "$layers/{,trash-}00000009*") }, 20),
        'files whose removal was cut off don\'t keep others');
}

# ---- killed at any moment ----------------------------------------------------------

for my $round (1 .. 20) {
    $d->send_start($_, %limits) for 1 .. 3;
    sleep($round * 0.002);
    $d->quit('KILL');
    $d->spawn();
    $d->send(op => 'sweep', keep => {});
    $d->answer_to('sweep') or diag "no sweep in round $round";
}

wait_for(sub { !$d->leftovers()->{layers} }, 60)
    or diag join(" ", glob "$d->{dir}/state/sandboxes/*"), $d->complaints;
$d->left_as($before,
    'killed while it starts sandboxes, 20 times: nothing is left');
ok($d->start(1, %limits)->{ok}, 'and starts go on');

# The helper dies: what runs goes on, the next start has a new one.
my ($helper) = grep { (slurp("/proc/$_/comm") // '') eq "sandboxd-oci\n" }
    descendants($d->{pid});

ok($helper, 'there is a helper');
kill 'KILL', $helper;
wait_for(sub { !process_alive($helper) }, 5);
is($d->inside(1, 'echo well'), "well\n", 'it dies, sandboxes go on');
ok($d->start(2, %limits)->{ok}, 'and more can be started');
ok($d->destroy(1)->{ok} && $d->destroy(2)->{ok}, 'and destroyed');

# crun dies.
for my $round (1 .. 10) {
    $d->send_start(1, %limits);
    sleep(0.002 + $round * 0.0005);
    for my $pid (descendants($d->{pid})) {
        kill 'KILL', $pid
            if (slurp("/proc/$pid/cmdline") // '') =~ /^crun\0/;
    }
    my $r = $d->answer_to('start') || {};

    diag json_encode($r) unless $r->{ok} || ($r->{code} // '') =~ /^start_/;
    $d->destroy(1);
}
$d->left_as($before, 'killed launches leave nothing');

# The agent dies while it is used.
my $r = $d->start(1, %limits);
my @busy = map { $d->connect(1) } 1 .. 20;
kill 'KILL', $r->{pid};
is($d->exited(1, 5)->{status}, 9, 'a killed agent is noticed');
is(scalar(grep { my $x = ''; sysread $_, $x, 1; length $x } @busy), 0,
    'its connections are closed');
$d->destroy(1);

$d->left_as($before, 'nothing is left behind');
is($d->quit(), 0, 'the driver ends');

# The helper's number is another process's by the time that a new one is made:
# in a namespace of its own, where the next number can be told.
SKIP: {
    skip 'needs root', 4 if $> != 0;

    $d = Driver->new(wrap => ['unshare', '--pid', '--fork', '--mount-proc',
        '--kill-child']);
    ok($d->start(1)->{ok}, 'a sandbox in a pid namespace')
        or skip 'no sandboxes there', 3;
    ($helper) = grep { (slurp("/proc/$_/comm") // '') eq "sandboxd-oci\n" }
        descendants($d->{pid});
    my ($number) = slurp("/proc/$helper/status") =~ /^NSpid:.*\t(\d+)$/m;
    my ($driver) = grep { (slurp("/proc/$_/comm") // '') =~ /^driver-shell/ }
        descendants($d->{pid});

    kill 'KILL', $helper;
    ok(wait_for(sub { !-e "/proc/$helper" }, 20), 'its helper is reaped');
    my $heir = start_process(cmd => ['nsenter', '-t', $driver, '-p', '-m', 'sh',
        '-c', 'echo ' . ($number - 1) . ' >/proc/sys/kernel/ns_last_pid; '
        . "sleep 60 & echo \$! >$d->{dir}/heir; wait"]);
    wait_for(sub { -s "$d->{dir}/heir" }, 10);
    is(slurp("$d->{dir}/heir"), "$number\n", 'its number is taken');
    ok($d->start(2)->{ok} && process_alive($heir)
       && (grep { (slurp("/proc/$_/comm") // '') eq "sleep\n" }
           descendants($heir)), 'a new helper ends nobody else');
    $d->destroy($_) for 1, 2;
    stop_process($heir);
    $d->quit();
}

done_testing();
