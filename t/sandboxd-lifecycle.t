# Real sandboxes: starting, joining a start, dying, destroying at any moment,
# living on while sandboxd is away.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use WorkerClient;

alarm_after(240);

my $d = daemon_start(dir => tmp_dir());
my $w = worker($d);
my $true = JSON::PP::true;

sub start { return $w->call('start', sandbox => $_[0], create => $true) }
sub state { return $w->call('get', sandbox => $_[0])->{sandbox}{state} }
sub sock { return sprintf '%s/s/%08x', $d->{run}, $_[0]{slot} }

# The agent of a record answers to its key.
sub ping {
    my ($record) = @_;
    my $r = http(unix => sock($record), path => '/api/ping', timeout => 5,
        preface => "CONTROL $record->{key}\n");

    return $r->{status} == 200;
}

# The host's pid of a sandbox's first process, from the log.
sub pid_of {
    my ($record) = @_;
    my $slot = sprintf '%08x', $record->{slot};
    my ($pid) = slurp($d->{log})
        =~ /.*slot $slot, epoch $record->{epoch}, pid (\d+)/s;

    return $pid;
}

# ---- start

my $a = start('a')->{records}[0] // {};
is($a->{state}, 'running', 'a sandbox is created by its first use and runs');
is($a->{epoch}, 1, 'its first run');
like($a->{key}, qr/^[0-9a-f]{32}$/, 'with a key');
ok(ping($a), 'the agent answers');
is_deeply([map { $_->{record}{state} } grep { $_->{record}{id} eq 'a' }
    @{ $w->{events} }], ['created', 'starting', 'running'],
    'its states, in order, before the answer');
is_deeply(start('a')->{records}[0], $a, 'started again: the same run');

my $second = worker($d);
$w->call('create', options => { id => 'b' });
$w->{events} = [];
my @asked = map { [$_, $_->ask('start', sandbox => 'b')] }
    map { ($w, $second) } 1 .. 20;
my %keys = map { ($_->[0]->answer($_->[1])->{result}{records}[0]{key}
    // 'none') => 1 } @asked;
is(scalar keys %keys, 1, '40 callers of two workers join one start');
is(scalar(grep { $_->{record}{state} eq 'starting' } @{ $w->{events} }), 1,
    'there was one');

$second->close;

# ---- it dies

my $pid = pid_of($a);
$w->{events} = [];
my $t = time;
kill 'KILL', $pid;
wait_for(sub { $w->step(0.1); $w->{events}[0] }, 5);
is($w->{events}[0]{record}{state}, 'asleep', 'a death is told');
is($w->{events}[0]{record}{key}, '', 'its key is gone');
ok(time - $t < 1, 'at once');
like($w->call('get', sandbox => 'a')->{sandbox}{reason}, qr/signal 9/,
    'with its reason');
my $a2 = start('a')->{records}[0];
is($a2->{state}, 'running', 'the next start works');
is($a2->{slot}, $a->{slot}, 'under the same slot');
is($a2->{epoch}, 2, 'as a run of its own');
isnt($a2->{key}, $a->{key}, 'with another key');
ok(ping($a2) && !ping({ %$a2, key => $a->{key} }),
    'that alone opens it');

# ---- destroy

my $n = 0;
for my $delay (0, 0.001, 0.004, 0.008, 0.012, 0.02, 0.04) {
    my $id = 'd' . ++$n;
    my $first = $w->ask('start', sandbox => $id, create => $true);

    sleep $delay;
    my $kill = $w->ask('destroy', sandbox => $id);
    my $twice = $w->ask('destroy', sandbox => $id);
    my $again = $w->ask('start', sandbox => $id, create => $true);
    my $f = $w->answer($first);
    my $r = $w->answer($again);

    ok($w->answer($kill)->{ok} && $w->answer($twice)->{ok},
        "destroyed twice $delay s into its start");
    ok($f->{ok} || $f->{error}{code} eq 'operation_interrupted',
        'the start has come to its end or was interrupted');
    ok($r->{ok} && ping($r->{result}{records}[0]),
        'and the same id starts afresh');
    $w->call('destroy', sandbox => $id);
}

ok(wait_for(sub { (() = glob "$d->{run}/s/*") == 2 }, 10),
    'nothing is left of them but the two that run');

# ---- what can't be done

SKIP: {
    my $record = $w->call('create', options => { id => 'limits' })->{sandbox};
    my %can = %{ $record->{resources} };
    my @not = grep { !defined $can{$_} } qw(memory pids);

    is_deeply([sort @{ $record->{unenforced} }], [sort @not],
        'defaults that are not enforced are listed as such');
    for my $name (qw(memory pids)) {
        my $r = $w->call('create', options => { id => "l$name",
            resources => { $name => $name eq 'pids' ? 100 : '64M' } });

        is($r->{code} // 'created', defined $can{$name} ? 'created'
            : 'unenforceable', "a limit of $name");
    }
}

# ---- sandboxd is killed: they live on

my $b = $w->call('resolve', sandbox => 'b')->{records}[0];
my $c = start('c')->{records}[0];

for my $round (1 .. 3) {
    daemon_kill($d);
    ok(ping($a2) && ping($b), "round $round: they go on without sandboxd");

    if ($round == 2) {
        kill 'KILL', pid_of($c);
        ok(wait_for(sub { !ping($c) }, 5), 'one dies meanwhile');
    }

    $d = daemon_start(%$d);
    $w = worker($d);
    for my $record ($a2, $b) {
        my $now = $w->call('resolve', sandbox => $record->{id})
            ->{records}[0];

        is_deeply([@{$now}{qw(slot epoch key state)}],
            [@{$record}{qw(slot epoch key state)}],
            "$record->{id} has its run, epoch and key");
        ok(ping($now), 'and answers');
    }
}
is(state('c'), 'asleep', 'the one that died is known to be asleep');
my $c2 = start('c')->{records}[0];
ok($c2 && ping($c2) && $c2->{epoch} > $c->{epoch}, 'and starts again');

kill 'KILL', pid_of($a2);
ok(wait_for(sub { state('a') eq 'asleep' }, 5),
    'the death of one that was taken over is noticed');

# ---- killed at any moment of many starts: nothing runs that nobody knows

for my $round (1 .. 6) {
    $w->ask('start', sandbox => "k$round-$_", create => $true) for 1 .. 8;
    sleep 0.01 * $round;
    daemon_kill($d);
    $d = daemon_start(%$d);
    $w = worker($d);

    my %running = map { sprintf('%08x', $_->{slot}) => $_ }
        grep { $_->{state} && $_->{state} eq 'running' }
        values %{ $w->sync_all };
    my %socks = map { m{/([0-9a-f]{8})$} ? ($1 => 1) : () }
        glob "$d->{run}/s/*";

    is_deeply([sort keys %socks], [sort keys %running],
        "round $round: sockets are of those that run ("
        . scalar(keys %running) . ')');
    is(scalar(grep { !ping($_) } values %running), 0,
        'all that are said to run do');
    $w->answer($_) for map { $w->ask('destroy', sandbox => $_->{id}) }
        grep { $_->{id} =~ /^k/ } @{ $w->call('list', limit => 500)
            ->{sandboxes} };
}

# Destroyed and killed at once: the files go all the same.
$w->ask('destroy', sandbox => $_) for 'c', 'limits', 'lmemory', 'lpids';
sleep 0.02;
daemon_kill($d);
$d = daemon_start(%$d);
$w = worker($d);
ok($_->{ok}, 'destroyed once more, by the next sandboxd')
    for map { $w->answer($_, 5) || {} }
        map { $w->ask('destroy', sandbox => $_) }
        'c', 'limits', 'lmemory', 'lpids';
my %slots = map { sprintf('%08x', $_->{slot}) => 1 }
    grep { $_->{kind} eq 'sandbox' } values %{ $w->sync_all };
ok(wait_for(sub {
    !grep { m{/([0-9a-f]{8})$} && !$slots{$1} }
        glob "$d->{dir}/state/sandboxes/*"
}, 10), 'no writable layer without a record');

# Destroyed a moment before the end, when the removal can't go on.
ok($w->answer($w->ask('start', sandbox => 'doomed', create => $true), 60)->{ok},
    'one more');
my ($helper) = grep { (slurp("/proc/$_/comm") // '') eq "sandboxd-oci\n"
    && (slurp("/proc/$_/stat") // '') =~ /\) \w $d->{pid} / }
    map { m{^/proc/(\d+)} } glob '/proc/[0-9]*';
ok($helper, 'who removes files');
kill 'STOP', $helper;
ok($w->answer($w->ask('destroy', sandbox => 'doomed'), 20)->{ok},
    'it is destroyed, slowly');
$t = time;
is(daemon_stop($d), 0, 'the end');
cmp_ok(time - $t, '<', 4.5, '... does not wait for its files');
sub trash { return scalar(my @t = glob "$d->{dir}/state/sandboxes/trash-*") }
is(trash(), 1, '... which are there');
$d = daemon_start(%$d);
$w = worker($d);
ok(wait_for(sub { !trash() }, 20), '... for the next sandboxd');

# ---- the end, in order: they live on

is(daemon_stop($d), 0, 'SIGTERM');
ok(ping($b), 'leaves them running');
$d = daemon_start(%$d, args => ['--stop-on-exit', '--starts', '4']);
$w = worker($d);
is($w->call('resolve', sandbox => 'b')->{records}[0]{key}, $b->{key},
    'the next one takes them over');

# ---- many at once, four at a time

# What takes long doesn't hold up others, so that a slow machine has one more.
my $most;
for my $try (1 .. 3) {
    my @many = map { $w->ask('start', sandbox => "m$try-$_", create => $true) }
        1 .. 24;
    is(scalar(grep { !$w->answer($_, 60)->{ok} } @many), 0,
        '24 starts, 4 at a time');
    $most = 0;
    my $now = 0;
    for (grep { ($_->{record}{id} // '') =~ /^m$try-/ } @{ $w->{events} }) {
        $now++ if $_->{record}{state} eq 'starting';
        $now-- if $_->{record}{state} eq 'running';
        $most = $now if $now > $most;
    }
    last if $most == 4;
}
is($most, 4, 'and no more');

# ---- and with --stop-on-exit they don't

my $pid_b = pid_of($b);
$t = time;
is(daemon_stop($d), 0, 'SIGTERM with --stop-on-exit');
note sprintf '27 sandboxes ended in %.1f s', time - $t;
ok(!process_alive($pid_b), 'ends them all');
is(join(' ', glob "$d->{run}/s/*"), '', 'no socket is left');
is(join(' ', glob "$d->{run}/r/*"), '', 'no run file');
my @left = grep { (slurp("/proc/$_/mountinfo") // '') =~ /\Q$d->{dir}\E/ }
    map { m{^/proc/(\d+)} } glob '/proc/[0-9]*';
is("@left", '', 'no process with a mount of theirs');
unlike(slurp($d->{log}), qr/Sanitizer|runtime error| error: /,
    'nothing bad was logged');

$d = daemon_start(%$d, args => ['--stop-on-exit']);
$w = worker($d);
is(state('b'), 'asleep', 'they are asleep for the next sandboxd');
is(daemon_stop($d), 0, 'the end');

is("@WorkerClient::leaks", '', 'no frame named a directory of the host');

done_testing();
