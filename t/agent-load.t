#!/usr/bin/perl

# The agent under load and over time: no hang, no mix-up, no leak of
# descriptors, processes or memory, and nothing inside that can look into it.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use IO::Select;
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
    my ($bad, $worst) = (0, 0);
    my $text = '';

    for my $round (1 .. 20) {
        for my $kind (@kinds) {
            my $start = time;
            my $r = $agent->post('/api/execute', { command => $kind,
                sessionId => 'to', timeoutMs => 20 + $round },
                timeout => 20);
            my $took = time - $start;
            my $after = $agent->execute('echo ok', sessionId => 'to',
                                        wait => 20);
            $worst = $took if $took > $worst;
            if ($r->{status} != 500 || ($after->{stdout} // '') ne 'ok') {
                $bad++;
                $text .= sprintf "%s: %s after %.1f s, then %s\n", $kind,
                    substr($r->{body}, 0, 300), $took,
                    json_encode($after);
            }
        }
    }
    is($bad, 0, '200 timeouts, the session usable after each')
        or diag($text);
    cmp_ok($worst, '<', 3, 'none took long');
    ok(!-e "$agent->{dir}/bad", 'the rest of a list never ran');
}

for (['a child that ignores SIGINT and SIGTERM',
      q{bash -c 'trap "" INT TERM; sleep 60'; true}, 500],
     ['a shell that ignores SIGINT', 'trap "" INT; while :; do :; done', 410],
     ['a shell that traps SIGINT', 'trap : INT; while :; do :; done', 410])
{
    my ($name, $command, $status) = @$_;
    my $job = $agent->execute('sleep 900 & echo $!', sessionId => 'hard');
    my $start = time;
    my $r = $agent->post('/api/execute', { command => $command,
        sessionId => 'hard', timeoutMs => 100 }, timeout => 30);
    is($r->{status}, $status, $name);
    cmp_ok(time - $start, '<', 8, 'ends in time');
    is($agent->execute('echo ok', sessionId => 'hard')->{stdout}, 'ok',
       'and the session is usable');
    ok(process_alive($job->{stdout}), 'an older job was spared');
    kill 'KILL', $job->{stdout};
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
    my ($n) = @_;

    for my $i (1 .. $n) {
        $agent->execute('echo x; (true &)', sessionId => 'leak');
        $agent->execute('true', sessionId => '__DISABLE_SESSION__');
        $agent->post('/api/execute/stream', { command => 'echo y',
                                              sessionId => 'leak' });
        $agent->execute('exit 1', sessionId => 'leak2');
        my $p = $agent->post('/api/process/start', { command => 'sleep 50',
            sessionId => $i % 2 ? 'leak' : '__DISABLE_SESSION__' });
        $agent->request('DELETE', "/api/process/$p->{json}{processId}");
        $agent->post('/api/session/create', { id => 'leak3' });
        $agent->post('/api/session/delete', { sessionId => 'leak3' });
        my $s = begin('/api/execute/stream', { command => 'sleep 0.01',
                                               sessionId => 'leak' });
        close $s;
        $s = $agent->connect("CONNECT 9 $agent->{key}\n");
        sysread $s, my $gone, 64;
        close $s;
    }
    sleep 0.5;
}

{
    round(20);
    my ($fds, $kids, $memory) = ($agent->fd_count,
                                 scalar($agent->children), rss());
    round(100);
    wait_for(sub { $agent->children <= $kids + 2 }, 5);
    cmp_ok($agent->fd_count, '<=', $fds + 8, 'no descriptor is left')
        or diag(`ls -l /proc/$pid/fd`);
    cmp_ok(scalar($agent->children), '<=', $kids + 3, 'no process is left');
    cmp_ok(rss(), '<=', $memory + (is_san() ? 100000 : 2000),
           'no memory is left');
    my @zombies = grep { (slurp("/proc/$_/stat") // '') =~ /\) Z / }
        $agent->children;
    sleep 0.3;
    @zombies = grep { (slurp("/proc/$_/stat") // '') =~ /\) Z / } @zombies;
    is(scalar @zombies, 0, 'no zombie');
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
    my $r = finish($s, 10);
    is($r->{status}, 410, 'the shim of a session is killed');
    is($agent->execute('echo ok', sessionId => 'shim')->{stdout}, 'ok',
       'a fresh shell');
    ok(wait_for(sub { !grep { (slurp("/proc/$_/cmdline") // '')
                              =~ /^sleep\x00950/ } $agent->children }, 5),
       'nothing is left of it');

    my $p = $agent->post('/api/process/start', { command => 'sleep 951',
        sessionId => '__DISABLE_SESSION__', processId => 'lost' });
    ($parent) = slurp("/proc/$p->{json}{pid}/stat") =~ /\) \S (\d+)/;
    kill 'KILL', $parent;
    ok(wait_for(sub { $agent->get('/api/process/lost')->{json}{process}
                      {status} eq 'error' }, 5), 'a process is told as lost');
    ok(wait_for(sub { !process_alive($p->{json}{pid}) }, 5), 'and dead');
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
    cmp_ok(time - $start, '<', 6, 'soon');
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
    ok(wait_for(sub { !grep { process_alive($_) } @below }, 10),
       'is killed: nothing of it is left');
}

done_testing();
