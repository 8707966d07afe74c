#!/usr/bin/perl

# Background processes, streams and the bridge's exec: real exit codes, whole
# output, one last event, and a kill that takes the whole tree.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use MIME::Base64;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $dir = tmp_dir();
my $agent = AgentClient->start();
my %no = (sessionId => '__DISABLE_SESSION__');


sub start {
    my ($command, %o) = @_;

    return $agent->post('/api/process/start', { command => $command, %o });
}


sub state_of {
    my ($id) = @_;

    return $agent->get("/api/process/$id")->{json}{process} || {};
}


sub ended {
    my ($id) = @_;

    wait_for(sub { (state_of($id)->{status} // '') ne 'running' }, 20);

    return state_of($id);
}


sub stream {
    my ($command, %o) = @_;
    my $r = $agent->post('/api/execute/stream',
                         { command => $command, %o }, timeout => 30);

    return ($r, AgentClient->frames($r->{body}));
}


sub text_of {
    my ($type, @frames) = @_;

    return join '', map { $_->{data} } grep { $_->{type} eq $type } @frames;
}


# What bash says is what a user's own would say.

for (['nosuch_zz', 127, "bash: nosuch_zz: command not found\n"],
     ['cd /no/such', 1, "bash: cd: /no/such: No such file or directory\n"],
     ["true\nf(){ \$((1/0)); }; f", 1, qr{^bash: 1/0: division by 0 }],
     [')', 2, qr{^bash: eval: line 1: syntax error near unexpected token `\)'}],
     ['echo "a', 2, qr{^bash: eval: line 1: unexpected EOF while looking}])
{
    my ($command, $code, $want) = @$_;
    my ($r, @frames) = stream($command);
    my $got = text_of('stderr', @frames);

    is($frames[-1]{exitCode}, $code, "a stream's status: $command");
    ok(ref $want ? $got =~ $want : $got eq $want, 'and message') or diag($got);
}

{
    my ($r, @frames) = stream("echo \$LINENO\n(echo \$LINENO); ls /proc/self/fd"
                              . "; f(){ sleep 0.1 & }; f");
    is(text_of('stdout', @frames), "1\n2\n0\n1\n2\n3\n",
         'lines are counted from one, and no descriptor is left over');
    is(text_of('stderr', @frames), '', 'nothing about jobs');
}

# The table.

{
    my $r = start('echo out; echo err >&2; exit 3', processId => 'p1');
    is($r->{status}, 200, 'start');
    like($r->{body}, qr/^\{"success":true,"processId":"p1","pid":\d+,"command":"echo out; echo err >&2; exit 3","timestamp":"[^"]+"\}$/,
         'what is answered');
    my $p = ended('p1');
    is($p->{exitCode}, 3, 'exit code');
    is($p->{status}, 'failed', 'status');
    ok($p->{endTime} && $p->{startTime} le $p->{endTime}, 'times');
    is($p->{pid}, $r->{json}{pid}, 'pid');
    $r = $agent->get('/api/process/p1/logs');
    is("$r->{json}{stdout}|$r->{json}{stderr}", "out\n|err\n", 'logs');
    is($r->{json}{processId}, 'p1', 'named');
    $r = start('true', processId => 'p1');
    is($r->{status}, 409, 'the same id again');
    $r = $agent->request('DELETE', '/api/process/p1');
    is($r->{status}, 404, 'kill what has ended');
    is($r->{json}{code}, 'COMMAND_NOT_FOUND', 'code');

    $r = start('true');
    like($r->{json}{processId}, qr/^proc_\d{13}_[0-9a-z]{6}$/, 'an id');
    is(ended($r->{json}{processId})->{status}, 'completed', 'completed');
    $r = start('echo x', processId => '');
    like($r->{json}{processId}, qr/^proc_/, 'an empty id');
    $r = start('echo x', processId => '../../x');
    is($r->{json}{processId}, '../../x', 'an odd id');
    ended('..%2f..%2fx');
    $r = $agent->get('/api/process/..%2f..%2fx/logs');
    is($r->{json}{stdout}, "x\n", 'can be asked for');

    for my $what ('', '/logs', '/stream') {
        $r = $agent->get("/api/process/nope$what");
        is($r->{status}, 404, "unknown$what");
        is($r->{json}{code}, 'PROCESS_NOT_FOUND', 'code');
        is($r->{json}{context}{processId}, 'nope', 'context');
    }
    $r = $agent->request('DELETE', '/api/process/nope');
    is($r->{status}, 404, 'kill what is unknown');
    for my $blank ('', "  \n") {
        $r = start($blank);
        is($r->{status}, 400, 'an empty command');
        is($r->{json}{code}, 'INVALID_COMMAND', 'code');
    }
    is($agent->post('/api/execute/stream', { command => ' ' })->{status}, 400,
       'an empty command, streamed');
}

# Exit codes are those of waitpid.

for my $session ({}, { sessionId => 'x' }, \%no) {
    my $name = $session->{sessionId} // 'default';
    my $n = 0;
    for (['exit 0', 0, 'completed'], ['exit 5', 5, 'failed'],
         ['nosuch_zz', 127, 'failed'], ['kill -9 $BASHPID', 137, 'killed'],
         ['kill -TERM $BASHPID', 143, 'killed'],
         ['exec sh -c "exit 7"', 7, 'failed'], ['if', 2, 'failed'],
         ['sleep 0.1; exit 300', 44, 'failed'])
    {
        my ($command, $code, $status) = @$_;
        my $id = "x-$name-" . $n++;
        my $r = start($command, processId => $id, %$session);
        my $p = ended($id);
        is_deeply([$r->{status}, $p->{exitCode}, $p->{status}],
                  [200, $code, $status], "$name: $command");
    }
}

# State is inherited, changes are lost, jobs are not seen.

{
    $agent->execute('cd /usr; export A=1; B=2; f(){ echo "f $1"; }; ' .
                    'umask 027', sessionId => 'in');
    my $r = start('pwd; echo $A $B; f x; umask; cd /; export A=9; f(){ :; }',
                  sessionId => 'in', processId => 'inherit');
    ended('inherit');
    is($agent->get('/api/process/inherit/logs')->{json}{stdout},
       "/usr\n1 2\nf x\n0027\n", 'state is inherited');
    is($agent->execute('pwd; echo $A; f y; jobs; echo "[$!]"',
                       sessionId => 'in')->{stdout},
       "/usr\n1\nf y\n[]", 'and not changed');
    $r = start('pwd; echo "$E"; cat', sessionId => 'in', processId => 'opts',
               cwd => '/tmp', env => { E => "a'b\n" }, stdin => 'in');
    ended('opts');
    is($agent->get('/api/process/opts/logs')->{json}{stdout},
       "/tmp\na'b\n\nin", 'directory, environment, input');
    start('pwd', sessionId => 'in', processId => 'nodir', cwd => '/no/such');
    is(ended('nodir')->{exitCode}, 1, 'no such directory');
    is($agent->get('/api/process/nodir/logs')->{json}{stderr},
       "Failed to change directory to '/no/such'\n", 'told');
    my $begin = time;
    start('sleep 30', sessionId => 'in', processId => 'long');
    is($agent->execute('echo free', sessionId => 'in')->{stdout}, 'free',
       'the session is free while it runs');
    cmp_ok(time - $begin, '<', 20, 'at once');
    $agent->request('DELETE', '/api/process/long');
}

# Kills.

for my $session ({ sessionId => 'kill' }, \%no) {
    my $name = $session->{sessionId};
    my $id = "tree-$name";
    start("sleep 501 & (setsid sleep 502 >/dev/null 2>&1 &) ; " .
          "(sleep 503 & sh -c 'sleep 504; true'; true) & " .
          "bash -c 'trap \"\" HUP; sleep 505 & disown; exec sleep 506' & " .
          'echo up; wait', processId => $id, %$session);
    ok(wait_for(sub {
        ($agent->get("/api/process/$id/logs")->{json}{stdout} // '') eq "up\n"
    }, 10), "$name: up");
    sleep 0.3;
    my @sleeps = grep { (slurp("/proc/$_/cmdline") // '')
                        =~ /^sleep\0\d+\0$/ } $agent->children;
    is(scalar @sleeps, 6, "$name: six children");
    my $begin = time;
    my $r = $agent->request('DELETE', "/api/process/$id", timeout => 20);
    is($r->{status}, 200, "$name: killed");
    cmp_ok(time - $begin, '<', 15, "$name: soon");
    is(scalar(grep { process_alive($_) } @sleeps), 0,
       "$name: the whole tree, double-forked children too");
    my $p = state_of($id);
    is("$p->{status} $p->{exitCode}", 'killed 143', "$name: status");

    start('trap "echo term" TERM; echo up; while :; do sleep 0.1; done',
          processId => "trap-$name", %$session);
    wait_for(sub { $agent->get("/api/process/trap-$name/logs")
                       ->{json}{stdout} }, 10);
    $begin = time;
    $agent->request('DELETE', "/api/process/trap-$name", timeout => 20);
    cmp_ok(time - $begin, '>', 4, "$name: SIGTERM has its time");
    cmp_ok(time - $begin, '<', 25, "$name: SIGKILL follows");
    $p = state_of("trap-$name");
    is("$p->{status} $p->{exitCode}", 'killed 137', "$name: status");
    like($agent->get("/api/process/trap-$name/logs")->{json}{stdout},
         qr/^up\n(term\n)+$/, "$name: its last words");

    # Nothing ends what a handler runs to end in order, within 5 seconds: a
    # machine that stood still for so long is tried once more.
    my ($saves, $saved);
    for my $try (1 .. 3) {
        $saves = "saves$try-$name";
        start('trap "sh -c \"sleep 0.7; echo saved\"; exit 0" TERM; echo up; '
              . 'while :; do sleep 0.1; done', processId => $saves, %$session);
        wait_for(sub { $agent->get("/api/process/$saves/logs")
                           ->{json}{stdout} }, 10);
        $agent->request('DELETE', "/api/process/$saves", timeout => 30);
        $saved = $agent->get("/api/process/$saves/logs")->{json}{stdout};
        last if $saved eq "up\nsaved\n";
    }
    is($saved, "up\nsaved\n", "$name: a handler's own programs have their time");

    start("echo up; exec sleep 100", processId => "fast-$name", %$session);
    $begin = time;
    $agent->request('DELETE', "/api/process/fast-$name");
    cmp_ok(time - $begin, '<', 4, "$name: a plain one goes at once");
}

# A job that is killed leaves the others of its session alone.
{
    start('sleep 600', processId => 'a1', sessionId => 'two');
    start('sleep 601', processId => 'a2', sessionId => 'two');
    my $j = $agent->execute('sleep 602 & echo $!', sessionId => 'two');
    $agent->request('DELETE', '/api/process/a1');
    is(state_of('a1')->{status}, 'killed', 'one is killed');
    is(state_of('a2')->{status}, 'running', 'another lives');
    ok(process_alive($j->{stdout}), 'and the job of the shell');
    my $r = $agent->request('DELETE', '/api/process/kill-all');
    is($r->{json}{cleanedCount}, 1, 'kill-all counts');
    is(state_of('a2')->{status}, 'killed', 'and kills');
    $r = $agent->get('/api/process/list?status=running');
    is_deeply($r->{json}{processes}, [], 'none is left running');
    $r = $agent->get('/api/process/list');
    cmp_ok(scalar @{ $r->{json}{processes} }, '>', 20, 'the others are kept');
    $r = $agent->get('/api/process/list?status=zzz');
    is_deeply($r->{json}{processes}, [], 'no such status');
}

# A fork bomb of many sleeps.
{
    start('for i in $(seq 200); do sleep 700 & done; wait',
          processId => 'many', %no);
    sleep 0.5;
    my $begin = time;
    $agent->request('DELETE', '/api/process/many', timeout => 30);
    cmp_ok(time - $begin, '<', 25, '200 children');
    is(scalar(grep { (slurp("/proc/$_/cmdline") // '') =~ /^sleep\x00700/ }
              $agent->children), 0, 'all dead');
}

# Timeouts.

for my $session ({ sessionId => 't' }, \%no) {
    my $name = $session->{sessionId};
    my ($r, @f) = stream('echo a; (setsid sleep 801 &); sleep 800; echo b',
                         timeoutMs => 300, %$session);
    is(text_of('stdout', @f), "a\n", "$name: what came before the timeout");
    is(text_of('stderr', @f), "Command timed out after 300ms\n",
       "$name: told");
    is($f[-1]{type} . ' ' . $f[-1]{exitCode}, 'complete 124', "$name: 124");
    is(scalar(grep { (slurp("/proc/$_/cmdline") // '') =~ /^sleep\x0080/ }
              $agent->children), 0, "$name: the tree is dead");
}

{
    my $r = $agent->post('/api/session/create', { id => 'st',
                                                  commandTimeoutMs => 200 });
    $r = $agent->post('/api/execute', { command => 'echo part; sleep 30; ' .
        "touch $dir/bad", sessionId => 'st' });
    is($r->{status}, 500, 'the timeout of a session');
    is($r->{json}{code}, 'COMMAND_EXECUTION_ERROR', 'code');
    is($r->{json}{message}, "Failed to execute command 'echo part; sleep 30; " .
       "touch $dir/bad' in session 'st': Command timeout after 200ms",
       'message');
    is($r->{json}{context}{stdout}, 'part', 'with the output');
    $r = $agent->post('/api/execute', { command => 'sleep 0.4; echo ok',
        sessionId => 'st', timeoutMs => 5000 });
    is($r->{json}{stdout}, 'ok', "a command's own goes before it");
    ok(!-e "$dir/bad", 'the rest of the list did not run');
}

# Streams.

{
    my ($r, @f) = stream('echo a; echo b >&2; printf c; exit 4',
                         sessionId => 'str');
    is($r->{headers}{'content-type'}, 'text/event-stream', 'content type');
    is($r->{headers}{'cache-control'}, 'no-cache', 'cache control');
    like($r->{body}, qr/^data: \{"type":"start","command":"[^"]+","timestamp":"[^"]+"\}\n\n/,
         'the first frame');
    like($r->{body}, qr/\n\ndata: \{"type":"complete","exitCode":4,"timestamp":"[^"]+"\}\n\n$/,
         'the last frame');
    is(text_of('stdout', @f), "a\nc", 'output, without a line feed of ours');
    is(text_of('stderr', @f), "b\n", 'error output');
    is(scalar(grep { $_->{type} eq 'complete' || $_->{type} eq 'error' } @f),
       1, 'one end');

    for (['exit 3', 3], ['kill -9 $BASHPID', 137], ['echo "abc', 2],
         ['true', 0])
    {
        ($r, @f) = stream($_->[0], sessionId => 'str');
        is($f[-1]{exitCode}, $_->[1], "stream of $_->[0]");
    }
    is($agent->execute('echo alive', sessionId => 'str')->{stdout}, 'alive',
       'the session lives');

    # Pieces come when they are written, and characters stay whole.
    my (@at, $begin);
    $begin = time;
    $agent->post('/api/execute/stream', { command => q{printf 'x\303'; } .
        q{sleep 1; printf '\251y'; sleep 0.4; printf '\360\237'},
        sessionId => 'str' }, on_data => sub {
            push @at, [time - $begin, $_[0]];
            return 1;
        });
    my @out = grep { $_->[1] =~ /stdout/ } @at;
    cmp_ok($out[1][0] - $out[0][0], '>', 0.3, 'the first piece at once');
    like($out[0][1], qr/"data":"x"/, 'without half a character');
    my $all = join '', map { $_->[1] } @at;
    my @frames = AgentClient->frames($all);
    is(text_of('stdout', @frames), "x\x{e9}y\x{fffd}", 'whole characters');

    my $id;
    ($r, @f) = stream('sleep 3 & echo hi', sessionId => 'str');
    is(text_of('stdout', @f), "hi\n", 'a job that holds the output');
    is($f[-1]{exitCode}, 0, 'does not hold the end');

    ($r, @f) = stream('head -c 4000000 /dev/zero | tr "\\0" y',
                      sessionId => 'str');
    is(length text_of('stdout', @f), 4000000, 'a line of 4 MB');

    # It goes on when the client leaves.
    my $s = $agent->connect;
    my $body = json_encode({ command => "echo one; sleep 1; echo two; " .
                             "touch $dir/went-on", sessionId => 'str' });
    http_send($s, "POST /api/execute/stream HTTP/1.1\r\nHost: x\r\n" .
              'Content-Length: ' . length($body) . "\r\n\r\n$body");
    sleep 0.3;
    close $s;
    ok(wait_for(sub { -e "$dir/went-on" }, 10), 'the client left, it goes on');
    my ($p) = grep { $_->{command} =~ /went-on/ }
        @{ $agent->get('/api/process/list')->{json}{processes} };
    ended($p->{id});
    is($agent->get("/api/process/$p->{id}/logs")->{json}{stdout},
       "one\ntwo\n", 'and can be found among the processes');

    # What ends with the session.
    $s = $agent->connect;
    $body = json_encode({ command => 'echo x; sleep 60',
                          sessionId => 'gone' });
    http_send($s, "POST /api/execute/stream HTTP/1.1\r\nHost: x\r\n" .
              'Content-Length: ' . length($body) . "\r\n\r\n$body");
    sleep 0.3;
    $agent->post('/api/session/delete', { sessionId => 'gone' });
    my $got = '';
    sysread $s, $got, 3 - length $got, length $got while length($got) < 3;
    $r = http_read($s, timeout => 30);
    @f = AgentClient->frames($r->{body});
    is($f[-1]{type} . ' ' . $f[-1]{exitCode}, 'complete 137',
       'a stream in a deleted session tells the real end');
    ok($r->{complete}, 'and ends properly');
}

# /api/process/{id}/stream

{
    start('for i in 1 2 3; do echo l$i; sleep 0.2; done; exit 7',
          processId => 'ps', sessionId => 'ps');
    my $r = $agent->get('/api/process/ps/stream');
    my @f = AgentClient->frames($r->{body});
    like($r->{body}, qr/^data: \{"type":"process_info","processId":"ps","command":"[^"]+","status":"running","timestamp":"[^"]+"\}\n\n/,
         'process_info');
    like($r->{body}, qr/data: \{"type":"exit","processId":"ps","exitCode":7,"data":"Process failed with exit code 7","timestamp":"[^"]+"\}\n\n$/,
         'exit');
    is(text_of('stdout', @f), "l1\nl2\nl3\n", 'all output');
    my $again = $agent->get('/api/process/ps/stream');
    is(text_of('stdout', AgentClient->frames($again->{body})),
       "l1\nl2\nl3\n", 'of one that has ended too');

    start('sleep 0.3; seq 50000', processId => 'readers', %no);
    my @s = map { my $s = $agent->connect;
                  http_send($s, "GET /api/process/readers/stream HTTP/1.1\r\n" .
                            "Host: x\r\n\r\n"); $s } 1 .. 5;
    close pop @s;
    my $want = join '', map { "$_\n" } 1 .. 50000;
    for my $s (@s) {
        my $got = '';
        sysread $s, $got, 3 - length $got, length $got while length($got) < 3;
        my $text = text_of('stdout',
            AgentClient->frames(http_read($s, timeout => 20)->{body}));
        ok($text eq $want, 'each of several readers gets everything');
    }
}

# background:true

{
    my $r = $agent->post('/api/execute', { command => 'echo bg; sleep 0.1',
                                           background => JSON::PP::true() });
    like($r->{json}{processId}, qr/^proc_/, 'background');
    ended($r->{json}{processId});
    is($agent->get("/api/process/$r->{json}{processId}/logs")
           ->{json}{stdout}, "bg\n", 'logs');
}

# The bridge.

sub bridge {
    my ($body, %headers) = @_;
    my $r = $agent->request('POST', '/bridge/exec', json => $body,
                            headers => \%headers, timeout => 30);
    my @e = AgentClient->events($r->{body});

    return ($r, join('', map { decode_base64($_->{data}) }
                     grep { ($_->{event} // '') eq 'stdout' } @e),
            join('', map { decode_base64($_->{data}) }
                 grep { ($_->{event} // '') eq 'stderr' } @e), $e[-1]);
}

{
    my ($r, $out, $err, $end) = bridge({ argv => ['sh', '-c',
        'echo out; echo err >&2; exit 3'] });
    is($r->{status}, 200, 'bridge exec');
    is("$out|$err", "out\n|err\n", 'output');
    is("$end->{event} $end->{data}", 'exit {"exit_code":3}', 'exit');
    like($r->{body}, qr/^event: stdout\ndata: b3V0Cg==\n\n/m, 'its bytes');

    my @odd = ('', ' ', "a'b", "a\"b\$c`d`", "l1\nl2\r\tx", '\\', '*', '~',
               '#x', "\x{e9}\x{1f600}", '-n', '{a,b}', '!x', ';', '$(id)');
    ($r, $out) = bridge({ argv => ['printf', '%s\\0', @odd] });
    my $want = join '', map { my $x = $_; utf8::encode($x); "$x\0" } @odd;
    ok($out eq $want, 'words come as they are') or diag($out);

    ($r, $out) = bridge({ argv => ['printf', '\\377\\000\\303'] });
    is($out, "\xff\0\xc3", 'raw bytes');
    ($r, $out, $err, $end) = bridge({ argv => ['nosuch_zz'] });
    is($end->{data}, '{"exit_code":127}', 'unknown command');
    ($r, $out, $err, $end) = bridge({ argv => ['sleep', '60'],
                                      timeout_ms => 200 });
    is($err, "Command timed out after 200ms\n", 'timeout');
    is($end->{data}, '{"exit_code":124}', '124 of it');
    ($r, $out) = bridge({ argv => ['cat'], stdin => 'in' });
    is($out, 'in', 'input');
    ($r, $out) = bridge({ argv => ['sh', '-c', 'echo $A'],
                          env => { A => 'x y' } });
    is($out, "x y\n", 'environment');

    my %s = ('Session-Id' => 'br');
    ($r, $out, $err, $end) = bridge({ argv => ['cd', '/usr'] }, %s);
    is($end->{data}, '{"exit_code":0}', 'cd in a session');
    ($r, $out) = bridge({ argv => ['pwd'] }, %s);
    is($out, "/usr\n", 'lasts');
    ($r, $out, $err, $end) = bridge({ argv => ['sh', '-c', 'echo a; sleep 60'],
                                      timeout_ms => 200 }, %s);
    is("$out$end->{data}", "a\n" . '{"exit_code":124}', 'timeout');
    ($r, $out) = bridge({ argv => ['pwd'] }, %s);
    is($out, "/usr\n", 'the session lives');
    ($r, $out, $err, $end) = bridge({ argv => ['exit', '3'] }, %s);
    is($end->{event}, 'error', 'the end of the shell is an error');
    like($end->{data}, qr/"code":"exec_error"/, 'its code');

    for (['no JSON', undef, {}, 400], ['no argv', {}, {}, 400],
         ['no words', { argv => [] }, {}, 400],
         ['a number', { argv => ['a', 1] }, {}, 400],
         ['cwd', { argv => ['a'], cwd => 1 }, {}, 400],
         ['timeout', { argv => ['a'], timeout_ms => 'x' }, {}, 400],
         ['env', { argv => ['a'], env => { 'a b' => '' } }, {}, 400],
         ['outside', { argv => ['a'], cwd => '/etc' }, {}, 403],
         ['out of it', { argv => ['a'], cwd => '/workspace/../etc' }, {}, 403],
         ['session', { argv => ['a'] }, { 'Session-Id' => 'a..b' }, 400],
         ['session', { argv => ['a'] }, { 'Session-Id' => 'a/b' }, 400])
    {
        my ($name, $body, $headers, $status) = @$_;
        $r = $agent->request('POST', '/bridge/exec', headers => $headers,
            body => defined $body ? json_encode($body) : '{');
        is($r->{status}, $status, "bad exec: $name");
        is($r->{json}{code}, 'invalid_request', 'code');
        ok($r->{json}{error}, 'text');
    }

    $r = $agent->post('/bridge/session', { id => 'bs', cwd => '/usr',
                                           env => { Q => '1' } });
    is($r->{body}, '{"id":"bs"}', 'bridge session');
    ($r, $out) = bridge({ argv => ['sh', '-c', 'pwd; echo $Q'] },
                        'Session-Id' => 'bs');
    is($out, "/usr\n1\n", 'with its options');
    $r = $agent->post('/bridge/session', { id => 'bs' });
    is("$r->{status} $r->{json}{code}", '502 session_error', 'again');
    $r = $agent->request('POST', '/bridge/session');
    like($r->{body}, qr/^\{"id":"session_/, 'without a body');
    $r = $agent->request('DELETE', '/bridge/session/bs');
    is($r->{json}{sessionId}, 'bs', 'deleted');
    $r = $agent->request('DELETE', '/bridge/session/bs');
    is("$r->{status} $r->{json}{code}", '502 session_error', 'unknown');
}

is($agent->stop, 0, 'ends in order');
ok(!$agent->{left}, 'and leaves nothing') or diag("@{ $agent->{left} }");

done_testing();
