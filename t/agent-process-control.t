#!/usr/bin/perl

# Running processes: more input and its end, signals by name and number, and
# waiting for an end or a line.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use IO::Select;
use MIME::Base64;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $dir = tmp_dir();
my $agent = AgentClient->start();
my %no = (sessionId => '__DISABLE_SESSION__');


sub start {
    my ($id, $command, %o) = @_;
    my $r = $agent->post('/api/process/start',
        { command => $command, processId => $id, %o });

    diag($r->{body}) if $r->{status} != 200;
    return $r;
}


sub input {
    my ($id, %o) = @_;

    return $agent->post("/api/process/$id/stdin", \%o);
}


sub signal_to {
    my ($id, $signal, %o) = @_;

    return $agent->post("/api/process/$id/signal", { signal => $signal, %o });
}


sub wait_of {
    my ($id, %o) = @_;

    return $agent->post("/api/process/$id/wait", \%o, timeout => 60);
}


sub ended {
    my ($id) = @_;

    return wait_of($id, timeoutMs => 30000)->{json};
}


sub out {
    my ($id, $query) = @_;

    return $agent->get("/api/process/$id/logs" . ($query // ''))->{json}
        {stdout};
}


# Sends a request and leaves its answer for later.
sub begin {
    my ($path, $json) = @_;
    my $s = $agent->connect;
    my $body = json_encode($json);

    http_send($s, "POST $path HTTP/1.1\r\nHost: x\r\nContent-Length: " .
              length($body) . "\r\n\r\n$body");

    return $s;
}


sub finish {
    my ($s) = @_;
    my $got = '';

    while (length $got < 3) {
        sysread($s, $got, 3 - length $got, length $got) or last;
    }

    return http_read($s, timeout => 60);
}


# Input.

for my $session ({ sessionId => 'in' }, \%no) {
    my $n = $session->{sessionId};

    start("cat-$n", 'cat; echo "[end]"', stdinOpen => JSON::PP::true(),
          stdin => "first\n", %$session);
    is(wait_of("cat-$n", pattern => 'first', timeoutMs => 30000)->{status},
       200, "$n: what came with the start");
    my $r = input("cat-$n", data => "second \x{e9}\n");
    is($r->{status}, 200, "$n: more input");
    like($r->{body}, qr/^\{"success":true,"processId":"cat-$n","accepted":10,"timestamp":"[^"]+"\}$/,
         "$n: how much");
    input("cat-$n", data => encode_base64("\0\xff\n", ''),
          encoding => 'base64');
    is(wait_of("cat-$n", pattern => 'second', timeoutMs => 30000)
       ->{json}{line}, "second \x{e9}", "$n: is read");
    is($agent->get("/api/process/cat-$n")->{json}{process}{status}, 'running',
       "$n: it runs on");
    $r = input("cat-$n", data => 'last', end => JSON::PP::true());
    is($r->{json}{ended}, 1, "$n: the end");
    is(ended("cat-$n")->{exitCode}, 0, "$n: it ends");
    is(out("cat-$n"), "first\nsecond \x{e9}\n\0\x{fffd}\nlast[end]\n",
       "$n: all of it, in order");
    $r = input("cat-$n", data => 'x');
    is("$r->{status} $r->{json}{code}", '409 PROCESS_ERROR',
       "$n: to one that has ended");
    is($r->{json}{context}{exitCode}, 0, "$n: with its code");

    # A megabyte at a time goes through a program that reads slowly.
    start("slow-$n", 'exec perl -e "sleep 1; local \$/; \$_ = <STDIN>; ' .
          'print length"', stdinOpen => JSON::PP::true(), %$session);
    my $sum = 0;
    for my $i (1 .. 4) {
        $r = input("slow-$n", data => 'y' x 1000000, timeoutMs => 30000,
                   end => $i == 4 ? JSON::PP::true() : undef);
        $sum += $r->{json}{accepted} // 0;
    }
    is($sum, 4000000, "$n: as much as it takes");
    ended("slow-$n");
    is(out("slow-$n"), '4000000', "$n: nothing is lost");

    # One that doesn't read.
    start("deaf-$n", 'exec sleep 60', stdinOpen => JSON::PP::true(),
          %$session);
    my ($taken, $refused) = (0);
    for (1 .. 40) {
        $r = input("deaf-$n", data => 'z' x 100000, timeoutMs => 50);
        if ($r->{status} != 200) { $refused = $r; last }
        $taken += 100000;
    }
    ok($refused, "$n: one that doesn't read takes no more at last");
    is("$refused->{status} $refused->{json}{code}", '409 RESOURCE_BUSY',
       "$n: told");
    cmp_ok($taken, '<=', 1200000, "$n: after a bounded queue");
    cmp_ok($refused->{json}{context}{waiting}, '>', 500000,
           "$n: and how much waits");
    my @s = map { begin("/api/process/deaf-$n/stdin",
        { data => 'q' x 1000000, timeoutMs => 60000 }) } 1 .. 3;
    ok(process_alive($agent->get("/api/process/deaf-$n")->{json}{process}
                     {pid}), "$n: it still runs");
    close pop @s;
    $agent->request('DELETE', "/api/process/deaf-$n");
    is_deeply([map { finish($_)->{status} } @s], [409, 409],
              "$n: who waits is told of its end");

    # One that closes its input.
    start("shut-$n", 'exec <&-; echo shut; sleep 60',
          stdinOpen => JSON::PP::true(), %$session);
    wait_of("shut-$n", pattern => 'shut', timeoutMs => 30000);
    $r = undef;
    ok(wait_for(sub { $r = input("shut-$n", data => 'x');
                      $r->{status} == 409 }, 10), "$n: closed");
    like($r->{json}{message}, qr/has closed its input/, "$n: told");
    $agent->request('DELETE', "/api/process/shut-$n");

    # Not open.
    start("plain-$n", 'cat; sleep 60', stdin => 'x', %$session);
    $r = input("plain-$n", data => 'x');
    is($r->{status}, 409, "$n: one that was started without");
    like($r->{json}{message}, qr/stdinOpen/, "$n: says how");
    $agent->request('DELETE', "/api/process/plain-$n");

    # The end at once, and twice.
    start("end-$n", 'wc -c; sleep 30', stdinOpen => JSON::PP::true(),
          %$session);
    is(input("end-$n", end => JSON::PP::true())->{status}, 200,
       "$n: only the end");
    $r = input("end-$n", end => JSON::PP::true());
    is($r->{status}, 409, "$n: once");
    is(wait_of("end-$n", pattern => '0', timeoutMs => 30000)->{status}, 200,
       "$n: it was read");
    $agent->request('DELETE', "/api/process/end-$n");
}

{
    start('bad', 'exec cat', stdinOpen => JSON::PP::true(), %no);
    for (['data', {}], ['data', { data => 1 }],
         ['data', { data => 'x*', encoding => 'base64' }],
         ['encoding', { data => 'x', encoding => 'latin1' }],
         ['end', { end => 1 }], ['timeoutMs', { data => 'x',
                                                timeoutMs => 'x' }])
    {
        my $r = input('bad', %{ $_->[1] });
        is($r->{status}, 400, "bad input: $_->[0]");
        is($r->{json}{context}{validationErrors}[0]{field}, $_->[0], 'named');
    }
    my $r = input('bad', data => 'x' x 1048577);
    is($r->{status}, 413, 'too much at once');
    $r = input('nope', data => 'x');
    is($r->{status}, 404, 'an unknown process');
    $r = $agent->post('/api/execute', { command => 'cat',
        stdinOpen => JSON::PP::true() });
    is($r->{status}, 400, 'a command that is waited for');
    $r = $agent->post('/api/process/start', { command => 'cat',
        stdinOpen => JSON::PP::true(), stdin => 'x' x 1048577 });
    is($r->{status}, 400, 'too much at the start');
    $agent->request('DELETE', '/api/process/bad');

    # A stream is a process as well.
    my $s = begin('/api/execute/stream', { command => 'read x; echo "got $x"',
        stdinOpen => JSON::PP::true(), processId => 'streamed', %no });
    ok(wait_for(sub { input('streamed', data => "it\n")->{status} == 200 },
                20), 'input for a stream');
    $r = finish($s);
    is($r->{headers}{'x-process-id'}, 'streamed', 'which is named');
    like($r->{body}, qr/got it/, 'and reads it');
}

# Signals.

for my $session ({ sessionId => 'sig' }, \%no) {
    my $n = $session->{sessionId};
    my $trap = 'for s in HUP USR1 WINCH; do trap "echo got $s" $s; done; ' .
        'echo up; while :; do sleep 0.05; done';

    start("trap-$n", $trap, %$session);
    wait_of("trap-$n", pattern => 'up', timeoutMs => 30000);
    for (['SIGHUP', 'HUP'], ['USR1', 'USR1'], [28, 'WINCH'], ['1', 'HUP'],
         ['usr1', 'USR1'])
    {
        my ($signal, $name) = @$_;
        my $at = length out("trap-$n");
        my $r = signal_to("trap-$n", $signal, tree => JSON::PP::false());
        is($r->{json}{signal}, "SIG$name", "$n: signal $signal");
        is(wait_of("trap-$n", pattern => "got $name", stdoutOffset => $at,
                   timeoutMs => 30000)->{status}, 200, "$n: it came");
    }
    my $r = signal_to("trap-$n", 'KILL');
    is($r->{status}, 200, "$n: KILL is sent");
    is(ended("trap-$n")->{exitCode}, 137, "$n: and ends it");
    $r = signal_to("trap-$n", 'HUP');
    is("$r->{status} $r->{json}{code}", '404 COMMAND_NOT_FOUND',
       "$n: to one that is over");

    # To all of it.
    start("all-$n", 'for i in 1 2 3; do bash -c "trap \"echo child \\$i; ' .
          'exit\" USR2; echo here; while :; do sleep 0.05; done" & done; ' .
          'trap "echo self" USR2; wait; wait; echo done; sleep 60', %$session);
    wait_for(sub { (() = (out("all-$n") // '') =~ /here/g) == 3 }, 30);
    signal_to("all-$n", 'SIGUSR2');
    ok(wait_for(sub { my $t = out("all-$n") // '';
                      $t =~ /self/ && (() = $t =~ /child/g) == 3 }, 30),
       "$n: the whole tree gets it") or diag(out("all-$n"));
    $agent->request('DELETE', "/api/process/all-$n");

    # DELETE with a signal: asked with it, then killed.
    start("int-$n", 'trap "echo int; exit 7" INT; trap "" TERM; echo up; ' .
          'while :; do sleep 0.05; done', %$session);
    wait_of("int-$n", pattern => 'up', timeoutMs => 30000);
    $r = $agent->request('DELETE', "/api/process/int-$n?signal=SIGINT",
                         timeout => 30);
    is($r->{status}, 200, "$n: DELETE with SIGINT");
    my $p = $agent->get("/api/process/int-$n")->{json}{process};
    is("$p->{status} $p->{exitCode}", 'killed 7', "$n: what came of it");
    start("kill-$n", 'trap "" TERM; echo up; while :; do sleep 0.05; done',
          %$session);
    wait_of("kill-$n", pattern => 'up', timeoutMs => 30000);
    my $begin = time;
    $agent->request('DELETE', "/api/process/kill-$n?signal=9", timeout => 30);
    cmp_ok(time - $begin, '<', 4, "$n: DELETE with SIGKILL doesn't wait");
    is(ended("kill-$n")->{exitCode}, 137, "$n: its code");

    # A stopped one can be killed.
    start("stop-$n", 'exec sleep 60', %$session);
    signal_to("stop-$n", 'STOP');
    $begin = time;
    $agent->request('DELETE', "/api/process/stop-$n", timeout => 30);
    cmp_ok(time - $begin, '<', 4, "$n: a stopped one is killed at once");

    # A program that leaves its group, its parent and its environment.
    start("leave-$n", 'env -i setsid sh -c "sleep 5.5512 & exec sleep ' .
          '5.5513" & disown; (env -i setsid sleep 5.5514 &); echo up; ' .
          'exec sleep 60', %$session);
    wait_of("leave-$n", pattern => 'up', timeoutMs => 30000);
    my $left = sub { grep { (slurp("/proc/$_/cmdline") // '')
                            =~ /^sleep\x005\.551/ } $agent->children };
    ok(wait_for(sub { $left->() == 3 }, 4), "$n: three that left");
    $agent->request('DELETE', "/api/process/leave-$n", timeout => 30);
    is(scalar($left->()), 0, "$n: are killed with it");
}

{
    start('s', 'exec sleep 60', %no);
    for my $bad ('NOPE', '', 0, 65, -1, 1.5, '0', undef, [], JSON::PP::true())
    {
        my $r = signal_to('s', $bad);
        is($r->{status}, 400, 'no signal: ' . ($bad // 'null'));
        is($r->{json}{context}{validationErrors}[0]{field}, 'signal', 'named');
    }
    is(signal_to('s', 'HUP', tree => 1)->{status}, 400, 'tree is a boolean');
    is(signal_to('nope', 'HUP')->{status}, 404, 'an unknown process');
    my $r = $agent->request('DELETE', '/api/process/s?signal=NOPE');
    is($r->{status}, 400, 'DELETE with one that is none');
    is($r->{json}{context}{validationErrors}[0]{field}, 'signal', 'named');
    is($agent->get('/api/process/s')->{json}{process}{status}, 'running',
       'and nothing has happened');
    $agent->request('DELETE', '/api/process/s');
}

# Waiting.

for my $session ({ sessionId => 'wait' }, \%no) {
    my $n = $session->{sessionId};

    # The rest of a line has 50 ms to come: on a busy machine it may be late
    # once.  One program says it all, since a new one takes its time there.
    my ($r, $id);
    for my $try (1 .. 5) {
        $agent->request('DELETE', "/api/process/$id") if $try > 1;
        $id = "w-$n-$try";
        start($id, q{exec perl -e '$| = 1; print "one\npor";
              select undef, undef, undef, 0.2; print "t 80";
              select undef, undef, undef, 0.02; print "80 ready\n";
              print STDERR "err: x\n"; sleep 60'}, %$session);
        $r = wait_of($id, condition => 'log', pattern => 'port',
                     timeoutMs => 30000);
        last if ($r->{json}{line} // '') eq 'port 8080 ready';
    }
    like($r->{body}, qr/^\{"success":true,"processId":"$id","line":"port 8080 ready","stream":"stdout","offset":4,"next":19,"timestamp":"[^"]+"\}$/,
         "$n: the whole line");
    $r = wait_of($id, pattern => '^p(.)rt (\\d+)', regex =>
                 JSON::PP::true(), timeoutMs => 30000);
    is_deeply($r->{json}{match}, ['port 8080', 'o', '8080'], "$n: groups");
    $r = wait_of($id, pattern => 'ERR', flags => 'i',
                 regex => JSON::PP::true(), timeoutMs => 30000);
    is("$r->{json}{stream} $r->{json}{line}", 'stderr err: x',
       "$n: of the other output");
    $r = wait_of($id, pattern => 'err', stream => 'stdout',
                 timeoutMs => 100);
    is($r->{status}, 408, "$n: of one output only");
    is_deeply([map { $r->{json}{$_} } 'code', 'message'],
        ['PROCESS_READY_TIMEOUT', 'Process did not become ready within ' .
         '100ms. Waiting for: "err"'], "$n: told");
    is_deeply([@{ $r->{json}{context} }{qw(processId condition timeout)}],
              [$id, '"err"', 100], "$n: its context");
    $r = wait_of($id, pattern => 'one', stdoutOffset => 4,
                 timeoutMs => 100);
    is($r->{status}, 408, "$n: from an offset on");
    $r = wait_of($id, timeoutMs => 100);
    is($r->{json}{context}{condition}, 'process exit', "$n: the end");
    $agent->request('DELETE', "/api/process/$id");
    $r = wait_of($id);
    like($r->{body}, qr/^\{"success":true,"processId":"$id","exitCode":143,"status":"killed","timestamp":"[^"]+"\}$/,
         "$n: of one that has ended");
    is(wait_of($id, pattern => 'ready')->{json}{line}, 'port 8080 ready',
       "$n: its output stays");
    $r = wait_of($id, pattern => 'never(');
    is($r->{status}, 500, "$n: and what never came never comes");
    is_deeply([map { $r->{json}{$_} } 'code', 'message'],
        ['PROCESS_EXITED_BEFORE_READY', 'Process exited with code 143 before '
         . 'becoming ready. Waiting for: "never("'], "$n: told");
    is_deeply([@{ $r->{json}{context} }{qw(processId condition exitCode)}],
              [$id, '"never("', 143], "$n: its context");

    # Who waits while it ends.
    start("e-$n", 'read x; printf "last words"; exit 5',
          stdinOpen => JSON::PP::true(), %$session);
    my @s = map { begin("/api/process/e-$n/wait", $_) }
        {}, { pattern => 'words' }, { pattern => 'other' },
        { pattern => 's$', regex => JSON::PP::true() };
    input("e-$n", data => "\n");
    my @r = map { finish($_)->{json} } @s;
    is($r[0]{exitCode}, 5, "$n: an end that is waited for");
    is($r[1]{line}, 'last words', "$n: a last line without its end");
    is($r[2]{code}, 'PROCESS_EXITED_BEFORE_READY', "$n: what didn't come");
    is_deeply($r[3]{match}, ['s'], "$n: a pattern for the last line");

    # A prompt, and a line that is never whole.
    start("p-$n", 'printf "Password: "; sleep 60', %$session);
    is(wait_of("p-$n", pattern => 'Password', timeoutMs => 30000)
       ->{json}{line}, 'Password: ', "$n: a prompt");
    $agent->request('DELETE', "/api/process/p-$n");
}

{
    # Much output, long lines.
    start('much', 'seq 400000; echo the needle; sleep 60', %no);
    is(wait_of('much', pattern => 'needle', timeoutMs => 60000)->{json}{line},
       'the needle', 'after two megabytes');
    is(wait_of('much', pattern => '^39(9{4})$', regex => JSON::PP::true(),
               timeoutMs => 60000)->{json}{match}[1], '9999', 'a pattern too');
    $agent->request('DELETE', '/api/process/much');
    start('long', 'head -c 3000000 /dev/zero | tr "\\0" x; printf needle; ' .
          'head -c 100000 /dev/zero | tr "\\0" y; sleep 60', %no);
    my $r = wait_of('long', pattern => 'xneedley', timeoutMs => 60000);
    is($r->{status}, 200, 'in a line of three megabytes');
    cmp_ok(length $r->{json}{line}, '<=', 16384, 'of which a part is told');
    $agent->request('DELETE', '/api/process/long');
    start('spin', 'while :; do printf "\\r|"; printf "\\r- ready"; ' .
          'sleep 0.01; done', %no);
    is(wait_of('spin', pattern => 'ready', timeoutMs => 30000)->{status}, 200,
       'a line that never rests');
    $agent->request('DELETE', '/api/process/spin');

    start('b', 'exec sleep 60', %no);
    for (['condition', { condition => 'x' }], ['condition',
         { condition => 1 }], ['pattern', { condition => 'log' }],
         ['pattern', { pattern => '' }], ['pattern', { pattern => 1 }],
         ['pattern', { pattern => 'x' x 1025 }],
         ['pattern', { pattern => '(', regex => JSON::PP::true() }],
         ['pattern', { pattern => '(a)\\1', regex => JSON::PP::true() }],
         ['flags', { pattern => 'a', flags => 'x', regex =>
                     JSON::PP::true() }],
         ['regex', { pattern => 'a', regex => 1 }],
         ['stream', { pattern => 'a', stream => 'x' }],
         ['timeoutMs', { timeoutMs => -1 }],
         ['stdoutOffset', { pattern => 'a', stdoutOffset => 5 }],
         ['stderrOffset', { pattern => 'a', stderrOffset => -1 }])
    {
        my $r = wait_of('b', %{ $_->[1] });
        is($r->{status}, 400, "bad wait: $_->[0]");
        is($r->{json}{context}{validationErrors}[0]{field}, $_->[0], 'named');
    }
    is(wait_of('nope')->{status}, 404, 'an unknown process');

    # Many wait, some leave.
    my $fds = $agent->fd_count;
    my @s = map { begin('/api/process/b/wait', { pattern => "x$_" }) }
        1 .. 270;
    ok(wait_for(sub { $r = wait_of('b', timeoutMs => 1);
                      $r->{status} == 503 }, 30), 'one too many');
    close shift @s for 1 .. 128;
    ok(wait_for(sub { wait_of('b', timeoutMs => 1)->{status} == 408 }, 30),
       'some leave: there is room');
    $agent->request('DELETE', '/api/process/b');
    my @r = map { finish($_)->{json}{code} } @s;
    is(scalar(grep { !/^(?:PROCESS_EXITED_BEFORE_READY|RESOURCE_BUSY)$/ } @r),
       0, 'all the others are told');
    cmp_ok(scalar(grep { /EXITED/ } @r), '>=', 120, 'of the end');
    close $_ for @s;
    ok(wait_for(sub { $agent->fd_count <= $fds }, 10), 'nothing is left')
        or diag($agent->fd_count . " of $fds");
}

# Who looks through much output lets the others in between.

{
    start('large', q{yes "$(printf 'a%.0s' $(seq 900))" | head -c 20000000},
          %no);
    ended('large');

    my $s = begin('/api/process/large/wait',
        { pattern => '(a|b)*c$', regex => JSON::PP::true() });
    sysread $s, my $line, 3;
    is($agent->get('/api/ping')->{status}, 200, 'a ping meanwhile');
    ok(!IO::Select->new($s)->can_read(0), 'comes before the end of the search');
    is(http_read($s, timeout => 60)->{json}{code},
       'PROCESS_EXITED_BEFORE_READY', 'which comes, too');
}

is($agent->stop, 0, 'ends in order');
ok(!$agent->{left}, 'and leaves nothing') or diag("@{ $agent->{left} }");

done_testing();
