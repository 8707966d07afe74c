#!/usr/bin/perl

# The agent under load and over time: no hang, no mix-up, no leak of
# descriptors, processes or memory, and nothing inside that can look into it.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);

my $agent = AgentClient->start();
my $pid = $agent->pid;


sub rss {
    my ($kb) = (slurp("/proc/$pid/status") // '') =~ /VmRSS:\s+(\d+)/;

    return $kb;
}


# Sends a request on a connection of its own; the socket.
sub begin {
    my ($path, $json) = @_;
    my $s = $agent->connect;
    my $body = json_encode($json);

    http_send($s, "POST $path HTTP/1.1\r\nHost: x\r\nContent-Length: " .
              length($body) . "\r\n\r\n$body");

    return $s;
}


sub finish {
    my ($s, $seconds) = @_;
    my $got = '';

    while (length $got < 3) {
        sysread($s, $got, 3 - length $got, length $got) or last;
    }

    return http_read($s, timeout => $seconds // 60);
}


# Sixteen sessions, each with streams and commands at the same time.

{
    my (@work, @bad);
    for my $n (1 .. 16) {
        for my $k (1 .. 4) {
            push @work, ["$n.$k", begin('/api/execute/stream',
                { sessionId => "load$n", command =>
                  "for i in \$(seq 20); do echo s$n.$k.\$i; " .
                  'sleep 0.01; done; exit ' . $k })];
            push @work, ["$n.$k", begin('/api/execute',
                { sessionId => "load$n", command => "echo e$n.$k" })];
        }
    }
    for (@work) {
        my ($name, $s) = @$_;
        my $r = finish($s);
        if ($r->{json}) {
            push @bad, "exec $name: $r->{body}"
                if $r->{json}{stdout} ne "e$name";
            next;
        }
        my @f = AgentClient->frames($r->{body});
        my $out = join '', map { $_->{data} }
            grep { $_->{type} eq 'stdout' } @f;
        my ($k) = $name =~ /\.(\d)/;
        push @bad, "stream $name: $r->{body}"
            if $out ne join('', map { "s$name.$_\n" } 1 .. 20)
               || $f[-1]{type} ne 'complete' || $f[-1]{exitCode} != $k;
    }
    is(scalar @bad, 0, '64 streams and 64 commands in 16 sessions')
        or diag($bad[0]);
}

# Timeouts of every kind, and the session is usable after each.

{
    my @kinds = ('sleep 5; touch ' . $agent->{dir} . '/bad',
        'g(){ while :; do :; done; }; while :; do g; done',
        'while :; do sleep 1; done', 'sleep 9 | cat', 'x=$(sleep 9)',
        'sleep 9 & wait', 'read < <(sleep 9)', '( sleep 9 )',
        'set -m; sleep 5', 'cat /dev/zero >/dev/null');
    my ($bad, $worst, $text) = (0, 0, '');
    my @shells = map { { } } @kinds;

    for my $round (1 .. 20) {
        my $start = time;
        my @s = map { begin('/api/execute', { command => $kinds[$_],
            sessionId => "to$_", timeoutMs => 20 + $round }) } 0 .. $#kinds;
        my @r = map { finish($_) } @s;
        my $took = time - $start;
        $worst = $took if $took > $worst;
        @s = map { begin('/api/execute', { command =>
            'echo ok; echo $$ >&2', sessionId => "to$_" }) } 0 .. $#kinds;
        for my $k (0 .. $#kinds) {
            my $after = finish($s[$k])->{json};
            $shells[$k]{$after->{stderr} // ''} = 1;
            next if $r[$k]{status} == 500 && ($after->{stdout} // '') eq 'ok';
            $bad++;
            $text .= sprintf "%s: %s within %.1f s, then %s\n", $kinds[$k],
                substr($r[$k]{body}, 0, 300), $took, json_encode($after);
        }
    }
    is($bad, 0, '200 timeouts, the session usable after each')
        or diag($text);
    cmp_ok($worst, '<', 30, 'none took long');
    is(scalar(grep { keys %$_ > 1 } @shells), 0,
       'and every session has kept its shell');
    ok(!-e "$agent->{dir}/bad", 'the rest of a list never ran');
}

{
    my @hard = (['a child that ignores SIGINT and SIGTERM',
          q{bash -c 'trap "" INT TERM; sleep 60'; true}, 500],
         ['a shell that ignores SIGINT', 'trap "" INT; while :; do :; done',
          410],
         ['a shell that traps SIGINT', 'trap : INT; while :; do :; done',
          410]);
    my $start = time;
    my @running = map {
        my $job = $agent->execute('sleep 900 & echo $!',
                                  sessionId => "hard$_");
        [$job->{stdout}, begin('/api/execute', { command => $hard[$_][1],
            sessionId => "hard$_", timeoutMs => 100 })];
    } 0 .. $#hard;
    for my $n (0 .. $#hard) {
        my ($name, undef, $status) = @{ $hard[$n] };
        my ($job, $s) = @{ $running[$n] };
        is(finish($s)->{status}, $status, $name);
        cmp_ok(time - $start, '<', 30, 'ends in time');
        is($agent->execute('echo ok', sessionId => "hard$n", wait => 60)
               ->{stdout}, 'ok', 'and the session is usable');
        ok(process_alive($job), 'an older job was spared');
        kill 'KILL', $job;
    }
}

# A limit of time that is over while the shell is still starting.

{
    my ($bad, $slow, %shells) = (0, 0);
    for my $ms (1, 3, 6, 10, 15) {
        my @ids = map { "new$ms.$_" } 1 .. 8;
        my $start = time;
        my @s = map { begin('/api/execute', { command => 'sleep 20',
            sessionId => $_, timeoutMs => $ms }) } @ids;
        for (@s) {
            my $r = finish($_);
            next if $r->{status} == 500;
            $bad++;
            diag($r->{body});
        }
        $slow++ if time - $start > 15;
        @s = map { begin('/api/session/delete', { sessionId => $_ }) } @ids;
        finish($_) for @s;
    }
    is($bad, 0, 'no shell is lost by it');
    is($slow, 0, 'and nobody waits for the command');
}

# Many sessions.

{
    my @ids = map { "m$_" } 1 .. 60;
    my @s = map { begin('/api/session/create', { id => $_ }) } @ids;
    my $bad = grep { finish($_)->{status} != 200 } @s;
    is($bad, 0, '60 sessions');
    @s = map { begin('/api/execute', { command => "echo $_",
                                       sessionId => $_ }) } @ids;
    $bad = 0;
    for my $i (0 .. $#s) {
        $bad++ if (finish($s[$i])->{json}{stdout} // '') ne $ids[$i];
    }
    is($bad, 0, 'each answers its own');
    @s = map { begin('/api/session/delete', { sessionId => $_ }) } @ids;
    $bad = grep { finish($_)->{status} != 200 } @s;
    is($bad, 0, 'deleted');
}

# Nothing adds up.  Warm everything first, then count.

sub round {
    my ($name, $n) = @_;
    my %leak = (sessionId => "leak$name");
    my %no = (sessionId => '__DISABLE_SESSION__');

    for my $i (1 .. $n) {
        $agent->execute('echo x; (true &)', %leak);
        $agent->execute('true', %no);
        $agent->post('/api/execute/stream', { command => 'echo y', %leak });
        $agent->execute('exit 1', sessionId => "exit$name");
        my $p = $agent->post('/api/process/start', { command => 'sleep 50',
            $i % 2 ? %leak : %no });
        $agent->request('DELETE', "/api/process/$p->{json}{processId}");
        $agent->post('/api/session/create', { id => "made$name" });
        $agent->post('/api/session/delete', { sessionId => "made$name" });
        my $s = begin('/api/execute/stream', { command => 'sleep 0.01',
                                               %leak });
        close $s;
        $s = $agent->connect("CONNECT 9 $agent->{key}\n");
        sysread $s, my $gone, 64;
        close $s;
    }
}


# Four clients at one time.
sub rounds {
    my ($n) = @_;
    my @kids = map {
        my $kid = fork // die "fork: $!";
        if ($kid == 0) {
            round($_, $n);
            POSIX::_exit(0);
        }
        $kid;
    } 1 .. 4;

    waitpid $_, 0 for @kids;

    # What was left behind ends by itself; on a busy machine that takes a while.
    wait_for(sub { !@{ $agent->get('/api/process/list?status=running')
                           ->{json}{processes} } }, 60);
}


# The number, when it has stayed the same for a second.
sub at_rest {
    my ($code) = @_;
    my ($n, $since) = (-1, time);

    wait_for(sub {
        my $now = $code->();
        ($n, $since) = ($now, time) if $now != $n;
        return time - $since > 1;
    }, 60);

    return $n;
}

{
    rounds(5);
    my $kids = at_rest(sub { scalar $agent->children });
    my $fds = at_rest(sub { $agent->fd_count });
    my $memory = rss();
    rounds(25);
    ok(wait_for(sub { $agent->children <= $kids + 3 }, 60),
       'no process is left') or diag(scalar($agent->children) . " of $kids");
    ok(wait_for(sub { $agent->fd_count <= $fds + 8 }, 60),
       'no descriptor is left') or diag(`ls -l /proc/$pid/fd`);
    cmp_ok(rss(), '<=', $memory + (is_san() ? 100000 : 2000),
           'no memory is left');
    ok(wait_for(sub { !grep { (slurp("/proc/$_/stat") // '') =~ /\) Z / }
                      $agent->children }, 30), 'no zombie');
}

# Nothing inside can look into the agent.

SKIP: {
    my $r = $agent->execute("cat /proc/$pid/environ /proc/$pid/cmdline " .
        "2>/dev/null | tr '\\0' '\\n'", sessionId => 'spy');
    unlike($r->{stdout}, qr/$agent->{key}/,
           'the key is not in its command line or environment');
    $r = $agent->execute('env; set', sessionId => 'spy');
    unlike($r->{stdout}, qr/$agent->{key}/, 'nor in that of a session');

    skip 'only root can become another user', 4 if $> != 0;
    my $who = "setpriv --reuid \$(id -u) --bounding-set -all --inh-caps -all " .
        '--ambient-caps -all --no-new-privs';
    skip 'no setpriv', 4
        if $agent->execute("$who true", sessionId => 'spy')->{exitCode} != 0;

    # The same user without capabilities: what a sandbox has.
    my $below = "setpriv --bounding-set -all --inh-caps -all " .
        '--ambient-caps -all --securebits +noroot,+no_setuid_fixup ' .
        '--no-new-privs';
    for my $what ("readlink /proc/$pid/fd/0", "cat /proc/$pid/environ",
                  "cat /proc/$pid/maps", "head -c 1 /proc/$pid/mem")
    {
        my $t = $agent->execute("$below $what", sessionId => 'spy');
        isnt($t->{exitCode}, 0, "refused: " . (split ' ', $what)[0] . ' ' .
             ($what =~ m{/(\w+)$})[0]) or diag($t->{stdout}, $t->{stderr});
    }
}

# A shim that is killed: what was below it goes, the call is told.

{
    my $j = $agent->execute('echo $$', sessionId => 'shim');
    my ($parent) = slurp("/proc/$j->{stdout}/stat") =~ /\) \S (\d+)/;
    my $s = begin('/api/execute', { command => 'sleep 950',
                                    sessionId => 'shim' });
    sleep 0.3;
    kill 'KILL', $parent;
    my $r = finish($s);
    is($r->{status}, 410, 'the shim of a session is killed');
    is($agent->execute('echo ok', sessionId => 'shim')->{stdout}, 'ok',
       'a fresh shell');
    ok(wait_for(sub { !grep { (slurp("/proc/$_/cmdline") // '')
                              =~ /^sleep\x00950/ } $agent->children }, 30),
       'nothing is left of it');

    my $p = $agent->post('/api/process/start', { command => 'sleep 951',
        sessionId => '__DISABLE_SESSION__', processId => 'lost' });
    ($parent) = slurp("/proc/$p->{json}{pid}/stat") =~ /\) \S (\d+)/;
    kill 'KILL', $parent;
    ok(wait_for(sub { $agent->get('/api/process/lost')->{json}{process}
                      {status} eq 'error' }, 30), 'a process is told as lost');
    ok(wait_for(sub { !process_alive($p->{json}{pid}) }, 30), 'and dead');
}

# SIGTERM while all kinds of things run.

{
    $agent->post('/api/process/start', { command => 'trap "" TERM; ' .
        '(setsid sleep 960 &); while :; do sleep 1; done' });
    $agent->post('/api/process/start', { command => 'sleep 961',
        sessionId => '__DISABLE_SESSION__' });
    begin('/api/execute', { command => 'sleep 962', sessionId => 'end' });
    sleep 0.3;
    my $start = time;
    is($agent->stop, 0, 'ends in order');
    cmp_ok(time - $start, '<', 9, 'soon');
    ok(!$agent->{left}, 'and leaves nothing') or diag("@{ $agent->{left} }");
}

# SIGKILL: the shims notice.

{
    my $other = AgentClient->start();
    $other->post('/api/process/start', { command => '(setsid sleep 970 &) ; ' .
                                         'sleep 971' });
    $other->execute('sleep 972 &', sessionId => 'x');
    sleep 0.3;
    my @below = $other->children;
    cmp_ok(scalar @below, '>', 4, 'an agent with processes');
    $other->stop('KILL');
    ok(wait_for(sub { !grep { process_alive($_) } @below }, 30),
       'is killed: nothing of it is left');
}

done_testing();
