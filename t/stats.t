#!/usr/bin/perl

# What a sandbox uses: while it runs, after it has stopped, and that asking
# starts nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use EventStream;
use Harness;
use System;
use WorkerClient;

alarm_after(180);

my $s = System->start;

sub events {
    my $e = EventStream->open(port => $s->{port}, host => "localhost:$s->{port}",
        path => '/v1/events', headers => [['Authorization',
        "Bearer $s->{key}"]]);

    $e->next;

    return $e;
}

# All of them, of all sandboxes, since sandboxd began.
sub counted {
    my $w = worker({ sock => "$s->{run}/control.sock",
        secret => slurp($s->{secret}) =~ s/\n\z//r }) or return -1;
    my $n = $w->call('metrics')->{oomKills};

    $w->close;

    return $n;
}

sub oom { return $s->api(GET => '/v1/sandbox/busy')->{json}{oom} }
sub stats { return $s->api(GET => "/v1/sandbox/$_[0]/stats")->{json} }

is($s->api(GET => '/v1/sandbox/nobody/stats')->{status}, 404,
    'an id that was never seen has none, and is not made');
is($s->api(GET => '/v1/sandbox/nobody')->{status}, 404, 'it is not');

my $made = $s->api(POST => '/v1/sandbox', json => { id => 'new' })->{json};
my $r = stats('new');
is_deeply([@$r{qw(id state startedAt uptimeMs network)},
        $r->{memory}{current}, $r->{pids}{current}, $r->{cpu}{usageNs}],
    ['new', 'created', undef, 0, undef, 0, 0, 0], 'one that never ran');
is($r->{disk}{bytes}, 0, 'has written nothing');
$r = $s->api(GET => '/v1/sandbox/new')->{json};
is($r->{state}, 'created', 'and still doesn\'t run');
is_deeply($r->{oom}, { kills => 0, at => undef, process => undef },
    '... and has lost nothing');

# ---- running -----------------------------------------------------------------

my %asked = (id => 'busy', resources => { memory => '200M', pids => 100,
                                          cpu => 0.5 });
my $cpu = 1;
if ($s->api(POST => '/v1/sandbox', json => \%asked)->{status} == 422) {
    $cpu = 0;
    delete $asked{resources};
    $s->api(POST => '/v1/sandbox', json => \%asked);
}

$s->exec('busy', 'dd if=/dev/zero of=/tmp/f bs=1M count=20 2>/dev/null;'
    . 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; (sleep 30 & )');
$r = stats('busy');
is($r->{state}, 'running', 'a running one');
cmp_ok($r->{uptimeMs}, '>', 0, 'has an uptime');

SKIP: {
    skip 'no limits here', 9 if !$cpu;
    cmp_ok($r->{cpu}{usageNs}, '>', 50_000_000, 'has used the processor');
    cmp_ok($r->{cpu}{usageNs}, '<', 120e9, 'not for ever');
    is($r->{cpu}{limit}, 0.5, 'its share');
    ok(defined $r->{cpu}{throttledPeriods}, 'how often it was too much');
    cmp_ok($r->{memory}{current}, '>', 15 << 20, 'memory, with files in it');
    cmp_ok($r->{memory}{peak}, '>=', $r->{memory}{current}, 'its peak')
        if defined $r->{memory}{peak};
    # Of a machine it is its VMM's, which needs some itself.
    cmp_ok($r->{memory}{limit}, $s->machines ? '>' : '==', 200 << 20,
        'its limit');

    SKIP: {
        $s->only_containers("a machine's processes are its kernel's", 2);
        cmp_ok($r->{pids}{current}, '>=', 3, 'processes');
        is($r->{pids}{limit}, 100, 'and how many it may have');
    }
}

SKIP: {
    skip 'no limits here', 1 if !$cpu || $> != 0;
    my $kills = $r->{memory}{oomKills};
    my $e = events();

    $s->exec('busy', 'head -c 400M /dev/zero | tail > /dev/null',
        body => { sessionId => '__DISABLE_SESSION__' });
    cmp_ok(stats('busy')->{memory}{oomKills} // 0, '>', $kills // 0,
        'what the kernel has killed for want of memory');
    ok($e->until(sub { ($_[0]{json}{oomKills} // 0) > 0 }, 30),
        'whoever follows events is told');
    $e->close;
    cmp_ok(oom()->{kills}, '>', 0, 'and the record says it');
    like(oom()->{at}, qr/^20\d\d-.*Z$/, '... and when');
    ok(wait_for(sub { counted() == oom()->{kills} }, 30),
        '... and the metrics of all') or diag(counted());

    # Those that sandboxd didn't see, and then those of another run.
    my $pid = $s->sandbox_pid('busy');
    $kills = oom()->{kills};
    $s->kill_daemon;
    $s->exec('busy', 'head -c 400M /dev/zero | tail > /dev/null',
        body => { sessionId => '__DISABLE_SESSION__' });
    $s->start_daemon;
    ok(wait_for(sub { oom()->{kills} == $kills + 1 }, 30),
        'one that happened while sandboxd was away') or diag(oom()->{kills});
    ok(wait_for(sub { counted() == 1 }, 30),
        '... which is all that this sandboxd has counted') or diag(counted());
    is($s->sandbox_pid('busy'), $pid, '... in a sandbox that runs on');
    kill 'KILL', $pid;
    ok(wait_for(sub { stats('busy')->{state} eq 'asleep' }, 20), 'asleep');
    is(oom()->{kills}, $kills + 1, '... it is not forgotten');
    $s->exec('busy', 'head -c 400M /dev/zero | tail > /dev/null',
        body => { sessionId => '__DISABLE_SESSION__' });
    ok(wait_for(sub { oom()->{kills} == $kills + 2 }, 30),
        "... and the next run's come on top") or diag(oom()->{kills});
    is(stats('busy')->{memory}{oomKills}, 1, '... unlike in the statistics');

    # However many there are, they are told every ten seconds at most.
    my (%told, $begun);

    $e = events();
    $begun = time;
    $s->exec('busy', 'for i in 1 2 3 4 5 6 7 8; do '
        . 'head -c 400M /dev/zero | tail > /dev/null; sleep 0.4; done',
        body => { sessionId => '__DISABLE_SESSION__' });
    $kills += 8;
    while (!$told{$kills + 2} && time < $begun + 60 * slower()) {
        my $event = $e->next(30 * slower()) or last;
        $told{$event->{json}{oomKills} // ''} = 1;
    }
    ok($told{$kills + 2}, 'many, which are all told in the end');
    cmp_ok(scalar(keys %told), '<=', 2 + (time - $begun) / 10,
        '... but not each by itself');
    $e->close;

    # Just before an end that nobody saw: without its file, sandboxd doesn't
    # take it over.
    $s->exec('busy', 'head -c 400M /dev/zero | tail > /dev/null',
        body => { sessionId => '__DISABLE_SESSION__' });
    $s->kill_daemon;
    unlink glob "$s->{run}/r/*";
    $s->start_daemon;
    is(oom()->{kills}, $kills + 3, 'also one before an end that nobody saw');
    is($s->api(GET => '/v1/sandbox/busy')->{json}{state}, 'asleep',
        '... of a sandbox that has ended');
}

# ---- its files ---------------------------------------------------------------

SKIP: {
    $s->only_containers('a machine has a disk, whose blocks are counted', 11);
    $s->exec('busy', 'head -c 3000000 /dev/urandom > /workspace/data;'
        . 'mkdir -p /workspace/a/b; cp /workspace/data /workspace/a/b;'
        . 'ln /workspace/data /workspace/again; ln -s / /workspace/root');
    is(stats('busy')->{disk}{bytes}, undef,
        'nobody counts files while they may change');

    # As if by accident: it stops, and nobody starts it.
    my $pid = $s->sandbox_pid('busy');
    kill 'KILL', $pid;
    ok(wait_for(sub { stats('busy')->{state} eq 'asleep' }, 20), 'it has stopped');
    ok(wait_for(sub { defined stats('busy')->{disk}{bytes} }, 20),
        'its files are counted');
    $r = stats('busy');
    cmp_ok($r->{disk}{bytes}, '>', 6_000_000, 'both files');
    cmp_ok($r->{disk}{bytes}, '<', 7_500_000, 'each once, whatever it links to');
    like($r->{disk}{measuredAt}, qr/^20\d\d-.*Z$/, 'at a time');
    ok(!$r->{disk}{partial}, 'all of them');
    is($r->{memory}{current}, 0, 'no memory');
    is($s->api(GET => '/v1/sandbox/busy')->{json}{state}, 'asleep',
        'asking doesn\'t wake it');

    my $bytes = $r->{disk}{bytes};
    $s->exec('busy', 'rm /workspace/a/b/data');
    is(stats('busy')->{disk}{bytes}, $bytes,
        'awake again, the last figure stands');
    kill 'KILL', $s->sandbox_pid('busy');
    ok(wait_for(sub {
        my $r = stats('busy');

        return $r->{state} eq 'asleep' && $r->{disk}{bytes} < 4_000_000;
    }, 20), 'until it is counted anew');
}

# ---- a bounded disk ----------------------------------------------------------

SKIP: {
    $r = $s->api(POST => '/v1/sandbox', json => { id => 'bounded',
        resources => { disk => '64M' } });
    skip 'no bounded disks here', 3 if $r->{status} == 422;

    $s->exec('bounded', 'head -c 5000000 /dev/urandom > /workspace/data; sync');
    $r = stats('bounded');
    is($r->{disk}{limit}, 64 << 20, 'the limit of a bounded disk');
    cmp_ok($r->{disk}{bytes}, '>', 5_000_000, 'what it takes, while it runs');
    cmp_ok($r->{disk}{bytes}, '<=', 64 << 20, 'which is within the limit');
}

$s->stop;
done_testing();
