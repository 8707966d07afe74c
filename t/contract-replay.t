#!/usr/bin/perl

# What was asked of a server of this API once, asked of the agent again, in the
# same order: each answer byte by byte.  Where it differs from the one given
# there, docs/compatibility.md says why.
#
#   here                     base, sessions, commands, streams, processes,
#                            ports, git, and what harmed sessions there
#   agent-interpreter*.t     contexts and cells
#   contract-files.t         files, watches and archives, through the system
#   contract.t               commands, processes, ports, through the system
#   contract-bridge.t        the bridge API
#
# What needs other clients, servers or more time is in agent-<area>.t: terminals
# and WebSockets, backups, the supervisor.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Contract;
use Harness;
use Test::More;

alarm_after(300);

my $dir = tmp_dir();
my $work = "$dir/work";
mkdir $work;

my $agent = Contract->agent(args => ['--workspace', $work],
                            env => { SANDBOX_VERSION => '0.12.7' });
my $gone = error_of(404, 'UNKNOWN_ERROR',
                    'The requested endpoint was not found', '{}');


sub not_allowed {
    my ($method, $allowed) = @_;

    return error_of(405, 'UNKNOWN_ERROR',
                    "Method $method is not allowed here: $allowed", '{}');
}


# A command and its result in a session, or in none that is named.
sub runs {
    my ($name, $command, $stdout, $stderr, $code, %o) = @_;

    return [$name, POST => '/api/execute', { command => $command, %o }, 200,
            result($stdout, $stderr, $code, $o{sessionId})];
}


sub dies {
    my ($name, $command, $sid, $code) = @_;

    return [$name, POST => '/api/execute', { command => $command,
        sessionId => $sid }, 410, error_of(410, 'SESSION_TERMINATED',
            "Session '$sid' shell exited (exit code: $code)",
            qq({"sessionId":"$sid","exitCode":$code}))];
}


# A stream: its start, [out|err => text]..., its exit code.
sub streams {
    my ($name, $body, @frames) = @_;
    my $code = pop @frames;

    return [$name, POST => '/api/execute/stream', $body, 200,
        sse('{"type":"start","command":<s>,"timestamp":<ts>}',
            map({ qq({"type":"std$_->[0]","data":"$_->[1]","timestamp":<ts>}) }
                @frames),
            qq({"type":"complete","exitCode":$code,"timestamp":<ts>}))];
}


sub no_object {
    my ($path, $body) = @_;

    return ["$path: " . ($body // 'nothing'), POST => $path, $body, 400,
            error_of(400, 'VALIDATION_FAILED', '<any>', '{}')];
}


subtest 'base' => sub {
    rows_ok(
        ['a greeting', GET => '/', undef, 200, 'Hello from sandbox-agent!'],
        ['ping', GET => '/api/ping', undef, 200,
            '{"success":true,"status":"healthy","message":"pong",'
            . '"timestamp":<ts>}'],
        ['a query', GET => '/api/ping?x=1', undef, 200,
            '{"success":true,"status":"healthy","message":"pong",'
            . '"timestamp":<ts>}'],
        ['version', GET => '/api/version', undef, 200,
            '{"success":true,"version":"0.12.7","timestamp":<ts>}'],
        ['commands', GET => '/api/commands', undef, 200,
            '{"success":true,"availableCommands":[],"count":0,'
            . '"timestamp":<ts>}'],
        map({ ["@$_", @$_, undef, 404, $gone] }
            [GET => '/api/health'], [GET => '/api/shutdown'], [GET => '/nope'],
            [GET => '/api/ping/'], [OPTIONS => '/zzz'], [GET => '/ws'],
            [GET => '/api/ws'], [GET => '/rpc'], [GET => '/api/exposed-ports'],
            [POST => '/api/expose-port'], [POST => '/api/unexpose-port'],
            [DELETE => '/api/exposed-ports/8080'], [GET => '/proxy/8099/']),
        ['GET for POST', GET => '/api/execute', undef, 405,
            not_allowed(GET => 'POST, OPTIONS')],
        ['PATCH', PATCH => '/api/ping', undef, 405,
            not_allowed(PATCH => 'GET, HEAD, OPTIONS')],
        ['OPTIONS', OPTIONS => '/api/execute', undef, 200, ''],
        ['WebSocket on a route that has none', GET => '/ws', undef, 404, $gone,
            headers => { Upgrade => 'websocket', Connection => 'Upgrade' }],
    );

    # Every answer, errors and streams too.
    for ([GET => '/api/ping'], [GET => '/nope'], [GET => '/api/execute'],
         [OPTIONS => '/api/execute'], [GET => '/api/process/nope'],
         [POST => '/api/execute/stream', '{"command":"true",'
          . '"sessionId":"__DISABLE_SESSION__"}'])
    {
        my $h = call(@$_)->{headers};

        is_deeply([@{$h}{map { "access-control-allow-$_" }
                         qw(origin methods headers)}],
            ['*', 'GET, POST, PUT, DELETE, OPTIONS', 'Content-Type, '
             . 'Authorization, X-Session-Id, X-Sandbox-Id, X-Trace-Id'],
            "CORS: @$_[0, 1]");
    }
};


subtest 'sessions' => sub {
    my $made = sub { '{"success":true,"data":{"id":' . $_[0] . ',"ready":true,'
        . qq("cwd":"$_[1]"},"containerPlacementId":null,"timestamp":<ts>}) };

    rows_ok(
        ['none yet', GET => '/api/session/list', undef, 200,
            '{"success":true,"data":[],"timestamp":<ts>}'],
        ['create', POST => '/api/session/create',
            '{"id":"s1","env":{"FOO":"bar"},"cwd":"/tmp"}', 200,
            $made->('"s1"', '/tmp')],
        ['again', POST => '/api/session/create', '{"id":"s1"}', 409,
            error_of(409, 'SESSION_ALREADY_EXISTS',
                "Session 's1' already exists",
                '{"sessionId":"s1","containerPlacementId":null}')],
        ['no body', POST => '/api/session/create', undef, 200,
            $made->('<id>', $work)],
        ['no JSON', POST => '/api/session/create', '{bad', 200,
            $made->('<id>', $work)],
        ['a directory that is none', POST => '/api/session/create',
            '{"id":"s2","cwd":"/nonexistent"}', 200, $made->('"s2"', $work)],
        runs('where it is', 'pwd', $work, '', 0, sessionId => 's2'),
        ['a limit', POST => '/api/session/create',
            '{"id":"s3","commandTimeoutMs":300}', 200, $made->('"s3"', $work)],
        ['... is kept', POST => '/api/execute',
            '{"command":"sleep 20","sessionId":"s3"}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to execute command"
                . " 'sleep 20' in session 's3': Command timeout after 300ms",
                '{"timedOut":true,"timeoutMs":300,"command":"sleep 20",'
                . '"stdout":"","stderr":""}')],
        ['a number', POST => '/api/session/create', '{"id":42}', 400,
            invalid('id', 'id must be a string')],
        ['a slash and a blank', POST => '/api/session/create',
            '{"id":"a/b c"}', 200, $made->('"a/b c"', $work)],
        runs('... are an id', 'pwd', $work, '', 0, sessionId => 'a/b c'),
        ['null, and odd values', POST => '/api/session/create',
            q({"id":"senv","env":{"A":null,"B":"x y'\"z"}}), 200,
            $made->('"senv"', $work)],
        runs('... of its environment', 'echo "[$A][$B]"', q([][x y'\\"z]), '',
            0, sessionId => 'senv'),
        ['the list', GET => '/api/session/list', undef, 200,
            '{"success":true,"data":["s1",<id>,<id>,"s2","s3","a/b c","senv"],'
            . '"timestamp":<ts>}'],
        ['delete', POST => '/api/session/delete', '{"sessionId":"s2"}', 200,
            '{"success":true,"sessionId":"s2","timestamp":<ts>}'],
        map({ ["delete $_, which isn't there", POST => '/api/session/delete',
            { sessionId => $_ }, 500, error_of(500, 'INTERNAL_ERROR',
                "Session '$_' not found", qq({"sessionId":"$_",)
                . '"originalError":"Session not found"}')] }
            's2', 'zzz', 'default'),
        ['delete nothing', POST => '/api/session/delete', '{}', 400,
            invalid('sessionId', 'sessionId is required')],
        ['delete with no JSON', POST => '/api/session/delete', '{', 400,
            error_of(400, 'VALIDATION_FAILED', 'Invalid request body<any>',
                '{}')],
    );
};


subtest 'commands' => sub {
    rows_ok(
        runs('true', 'true', '', '', 0),
        runs('both outputs', 'echo out; echo err >&2; echo out2', 'out\nout2',
            'err', 0),
        runs('bytes', q(printf '\001\001\001x\000\377\376'),
            '\u0001\u0001\u0001x\u0000' . "\xef\xbf\xbd" x 2, '', 0),
        runs('no such command', 'nosuchcmd_zz', '',
            'bash: nosuchcmd_zz: command not found', 127),
        runs('not executable', '/etc/passwd', '',
            'bash: /etc/passwd: Permission denied', 126),
        runs('a signal', 'bash -c "kill -9 \$\$"', '', '', 137),
        runs('a syntax error', ')', '', "bash: eval: line 1: syntax error near "
            . "unexpected token `)'<any>", 2, sessionId => 'syn'),
        runs('an open if', 'if true; then echo x', '', 'bash: eval: line 3: '
            . "syntax error near unexpected token `}'<any>", 2,
            sessionId => 'syn'),
        runs('an open quote', 'echo "abc', '', 'bash: eval: line 1: unexpected '
            . 'EOF while looking for matching `\\"\'', 2, sessionId => 'syn'),
        runs('... and the session lives', 'echo alive', 'alive', '', 0,
            sessionId => 'syn'),
        dies('exit', 'exit 3', 'sx', 3),
        runs('a fresh one', 'echo again', 'again', '', 0, sessionId => 'sx'),
        runs('... that stays', 'pwd', $work, '', 0, sessionId => 'sx'),
        dies('exec', 'exec true', 'sx', 0),
        dies('SIGKILL', 'kill -9 $$', 'sx', 137),
        dies('set -e', 'set -e; false; echo x', 'sx', 1),
        runs('set -u is no reason to die', 'set -u; echo $X', '',
            'bash: X: unbound variable', 1, sessionId => 'sx'),
        runs('... and stays', 'echo x; echo $X', 'x', 'bash: X: unbound '
            . 'variable', 1, sessionId => 'sx'),
        runs('cwd', 'pwd', '/tmp', '', 0, cwd => '/tmp'),
        runs('cwd that is none', 'pwd', '',
            "Failed to change directory to '/no/such'", 1, cwd => '/no/such'),
        ['... without a session', POST => '/api/execute',
            '{"command":"pwd","cwd":"/no/such",'
            . '"sessionId":"__DISABLE_SESSION__"}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to change "
                . "directory to '/no/such': No such file or directory",
                '{"command":"pwd"}')],
        runs('cd with cwd is undone', 'cd /usr', '', '', 0, cwd => '/tmp'),
        runs('...', 'pwd', $work, '', 0),
        runs('state', 'export P=1; f(){ echo F$1; }; alias ll="echo l"', '',
            '', 0),
        runs('... that is used', 'f $P; ll', 'F1\nl', '', 0),
        runs('env', 'echo "$E1"; printf %s "$E2"', q(v1  $x 'q'\na\nb), '', 0,
            env => { E1 => q(v1  $x 'q'), E2 => "a\nb" }),
        runs('... only then', 'echo "[$E1]"', '[]', '', 0),
        runs('null does not override', 'echo $P', '1', '', 0,
            env => { P => undef }),
        runs('an empty value is one', 'echo ${P-unset}', '', '', 0,
            env => { P => '' }),
        ['a name that is none', POST => '/api/execute',
            '{"command":"true","env":{"A-B":"x"}}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to execute command"
                . " 'true' in session 'default': Invalid environment variable "
                . 'name: A-B', '{"command":"true","stderr":"Invalid '
                . 'environment variable name: A-B"}')],
        ['a value that is none', POST => '/api/execute',
            '{"command":"echo $N","env":{"N":5}}', 400,
            invalid('env', 'env.N must be a string')],
        runs('$? is not kept', 'false', '', '', 1),
        runs('...', 'echo $?', '0', '', 0),
        runs('pipefail', 'set -o pipefail; false | true', '', '', 1),
        runs('... stays', 'false | true', '', '', 1),
        runs('... until', 'set +o pipefail', '', '', 0),
        runs('a job', 'sleep 30 & echo started', 'started', '', 0),
        runs('input', 'cat; read x; echo $?', '1', '', 0),
        runs('a limit of zero is none', 'echo z', 'z', '', 0, timeoutMs => 0),
        runs('an empty command', '', '', '', 0),
        runs('a blank one', '   ', '', '', 0),
        ['NUL in a command', POST => '/api/execute',
            '{"command":"echo a\u0000b"}', 200, '{"success":true,"exitCode":0,'
            . '"stdout":"ab","stderr":"","command":"echo ab",<any>}'],
        ['no command', POST => '/api/execute', '{}', 400,
            invalid('command', 'command is required')],
        ['a number', POST => '/api/execute', '{"command":5}', 400,
            invalid('command', 'command must be a string')],
        map({ no_object('/api/execute', $_) } 'null', '[]', '{bad', '',
            'command=echo'),
        ['a blank session', POST => '/api/execute',
            '{"command":"true","sessionId":"  "}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to execute "
                . "command 'true': sessionId must not be empty or whitespace",
                '{"command":"true","stderr":"sessionId must not be empty or '
                . 'whitespace"}')],
        ['a session in the header', POST => '/api/execute',
            '{"command":"pwd; cd /var"}', 200, result($work, '', 0, 'hs'),
            headers => { 'X-Session-Id' => 'hs' }],
        ['... in the query', POST => '/api/execute?session=hs',
            '{"command":"pwd"}', 200, result('/var', '', 0, 'hs')],
        ['... of a stream', POST => '/api/execute/stream?sessionId=hs',
            '{"command":"pwd"}', 200, '<any>"data":"/var\\n"<any>'],
        ['processes and files look into the body only', POST =>
            '/api/exists?session=hs', '{"path":"lib"}', 200,
            '{"success":true,"path":"lib","exists":false,"timestamp":<ts>}',
            headers => { 'X-Session-Id' => 'hs' }],
        ['...', POST => '/api/exists', '{"path":"lib","sessionId":"hs"}', 200,
            '{"success":true,"path":"lib","exists":true,"timestamp":<ts>}'],
        runs('without a session', 'pwd; echo $0 $-; echo x',
            "$work" . '\n/bin/bash hBc\nx\n', '', 0,
            sessionId => '__DISABLE_SESSION__'),
        ['in the background', POST => '/api/execute',
            '{"command":"echo bg","background":true}', 200,
            '{"success":true,"processId":<id>,"pid":<n>,"command":"echo bg",'
            . '"timestamp":<ts>}'],
        ['... nothing', POST => '/api/execute',
            '{"command":"","background":true}', 400, error_of(400,
                'INVALID_COMMAND', 'Invalid command: empty command provided',
                '{}')],
        runs('nothing of the server is seen in its shell', 'trap; alias; '
            . 'jobs; compgen -A function; compgen -v | grep -iE "agent|shim|'
            . 'sandbox|cleanup"; ls /proc/self/fd | tr "\n" " "', '0 1 2 3 ',
            '', 0, sessionId => 'clean'),
    );

    my $r = call(POST => '/api/execute',
        { command => 'head -c 1000000 /dev/zero | tr "\0" x' });
    ok($r->{json}{stdout} eq 'x' x 1_000_000, 'a megabyte, one line');
    $r = call(POST => '/api/execute', { command => 'yes 0123456789abcde | '
        . 'head -c 1000000', sessionId => 'mb' });
    ok("$r->{json}{stdout}\n" eq "0123456789abcde\n" x 62_500,
        '... many lines');

    # A shell that dies between two calls is told once.
    row_ok(runs('a late death', '(until [ -e late ]; do sleep 0.01; done; '
        . 'kill -9 $$) & echo', '', '', 0, sessionId => 'late'));
    spew("$work/late", '');

    my $first;
    ok(wait_for(sub { $first = call(POST => '/api/execute', { command => ':',
        sessionId => 'late' }); $first->{status} == 410 }, 30), 'is told');
    is($first->{json}{context}{exitCode}, 137, '... with its code');
    row_ok(runs('... once', 'echo x', 'x', '', 0, sessionId => 'late'));
};


subtest 'streams' => sub {
    rows_ok(
        streams('echo', '{"command":"echo hi"}', [out => 'hi\n'], 0),
        streams('in order', '{"command":"echo a; sleep 0.7; echo b >&2; '
            . 'sleep 0.7; echo c"}', [out => 'a\n'], [err => 'b\n'],
            [out => 'c\n'], 0),
        streams('no newline', '{"command":"printf abc"}', [out => 'abc'], 0),
        streams('blank lines', q({"command":"printf 'a\\\\n\\\\nb\\\\n'"}),
            [out => 'a\n\nb\n'], 0),
        streams('no such command', '{"command":"nosuchcmd_zz"}',
            [err => 'bash: nosuchcmd_zz: command not found\n'], 127),
        streams('true', '{"command":"true"}', 0),
        streams('cwd', '{"command":"pwd","cwd":"/tmp"}', [out => '/tmp\n'], 0),
        streams('env', '{"command":"echo $Q","env":{"Q":"1"}}',
            [out => '1\n'], 0),
        streams('pieces of a line', '{"command":"printf abc; sleep 0.3; '
            . 'printf def; sleep 0.3; echo"}', [out => 'abcdef\n'], 0),
        streams('bytes', q({"command":"printf '\\\\377\\\\000x\\\\n'"}),
            [out => "\xef\xbf\xbd" . '\u0000x\n'], 0),
        streams('a limit', '{"command":"sleep 20; echo x","timeoutMs":200}',
            [err => 'Command timed out after 200ms\n'], 124),
        streams('without a session', '{"command":"echo a; printf b",'
            . '"sessionId":"__DISABLE_SESSION__"}', [out => 'a\nb'], 0),
        map({ ["nothing: '$_'", POST => '/api/execute/stream',
            qq({"command":"$_"}), 400, error_of(400, 'INVALID_COMMAND',
                'Invalid command: empty command provided', '{}')] } '', '  '),
        no_object('/api/execute/stream', '{'),
    );
};


# Each of these hung, broke off or took its session with it.
subtest 'what harmed sessions' => sub {
    my $n = 0;

    for my $case (
        ['an open quote', 'echo "abc', [err => 'bash: eval: line 1: unexpected '
            . 'EOF while looking for matching `\\"\'\n'], 2],
        ['exit', 'exit 3', 3],
        ['no such directory', 'pwd', [err =>
            q(Failed to change directory to '/no/such'\n)], 1, '/no/such'],
        ['kill -9', 'kill -9 $BASHPID', 137],
        ['a child that holds the output', 'sleep 30 & echo hi',
            [out => 'hi\n'], 0],
        ['state', 'cd /usr; export ZZ=1', 0])
    {
        my ($name, $command, @frames) = @$case;
        my $cwd = $frames[-1] =~ m{^/} ? pop @frames : undef;
        my $sid = 'h' . ++$n;

        rows_ok(streams("stream: $name", { command => $command,
                sessionId => $sid, $cwd ? (cwd => $cwd) : () }, @frames),
            runs('the session lives', 'echo alive; pwd; echo [$ZZ]',
                'alive\n' . $work . '\n[]', '', 0, sessionId => $sid));
    }

    my $r = call(POST => '/api/execute/stream', { sessionId => 'h9',
        command => 'head -c 1000000 /dev/zero | tr "\0" x' });
    my @frames = AgentClient->frames($r->{body});
    ok(join('', map { $_->{data} // '' } @frames) eq 'x' x 1_000_000,
        'a line of a megabyte is all there');
    is("$frames[0]{type} $frames[-1]{type} $frames[-1]{exitCode}",
        'start complete 0', '... between its start and its end');
    rows_ok(
        runs('an open quote', 'echo "unterminated', '', '<any>unexpected '
            . 'EOF<any>', 2, sessionId => 'h1'),
        runs('the same session', 'echo alive', 'alive', '', 0,
            sessionId => 'h1'),
        runs('another', 'echo alive', 'alive', '', 0, sessionId => 'h1x'),
        ['a file', POST => '/api/read', '{"path":"/etc/hostname"}', 200,
            '{"success":true,"path":"/etc/hostname","content":<s>,'
            . '"timestamp":<ts>,"encoding":"utf-8","isBinary":false,'
            . '"mimeType":"text/plain","size":<n>}'],
    );
};


subtest 'processes' => sub {
    my $started = sub { my ($name, $id, $body) = @_;
        return [$name, POST => '/api/process/start', { processId => $id,
            sessionId => 'pp', %$body }, 200, qq({"success":true,"processId":)
            . qq("$id","pid":<n>,"command":<s>,"timestamp":<ts>})] };
    my $is = sub { my ($name, $id, $status, $code) = @_;
        return [$name, GET => "/api/process/$id", undef, 200, '{"success":true,'
            . qq("process":{"id":"$id","pid":<n>,"command":<s>,"status":)
            . qq("$status","startTime":<ts>,"endTime":<ts>,"exitCode":$code},)
            . '"timestamp":<ts>}'] };
    my $logs = sub { my ($id, $stdout, $stderr) = @_;
        return ["logs of $id", GET => "/api/process/$id/logs", undef, 200,
            qq({"success":true,"processId":"$id","stdout":"$stdout",)
            . qq("stderr":"$stderr","timestamp":<ts>})] };
    my $over = sub { my ($id) = @_;
        return ["$id is over", DELETE => "/api/process/$id", undef, 404,
            error_of(404, 'COMMAND_NOT_FOUND', "Command '$id' not found or "
                . "already completed in session 'pp'", qq({"command":"$id"}))];
    };
    my $ended = sub { my ($id) = @_;
        wait_for(sub { call(GET => "/api/process/$id")->{json}{process}{status}
            ne 'running' }, 30) };

    # name, what it is asked, its status, code and output
    for my $case (
        ['p1', { command => 'nosuch_zz' }, 'failed', 127, '',
            'bash: nosuch_zz: command not found\n'],
        ['p2', { command => 'pwd; echo $A', cwd => '/tmp', env => { A => '1' }
            }, 'completed', 0, '/tmp\n1\n', ''],
        ['p3', { command => 'pwd', cwd => '/no/such' }, 'failed', 1, '',
            q(Failed to change directory to '/no/such'\n)],
        ['p4', { command => 'exit 3' }, 'failed', 3, '', ''],
        ['p5', { command => 'sleep 20; echo x', timeoutMs => 200 }, 'failed',
            124, '', 'Command timed out after 200ms\n'],
        ['p6', { command => 'echo x; kill -9 $BASHPID' }, 'killed', 137,
            'x\n', ''])
    {
        my ($id, $body, $status, $code, $stdout, $stderr) = @$case;

        row_ok($started->($body->{command}, $id, $body));
        ok($ended->($id), 'ends');
        rows_ok($is->($status, $id, $status, $code),
            $logs->($id, $stdout, $stderr), $over->($id));
    }

    row_ok($started->('a long one', 'p9', { command => 'echo up; sleep 100' }));
    ok(wait_for(sub { call(GET => '/api/process/p9/logs')->{json}{stdout} }, 30),
        'is up');
    rows_ok(
        ['kill', DELETE => '/api/process/p9', undef, 200,
            '{"success":true,"processId":"p9","timestamp":<ts>}'],
        $is->('killed', 'p9', 'killed', 143), $over->('p9'),
        $logs->('p9', 'up\n', ''),
        map({ ["the id of $_, which is over", POST => '/api/process/start',
            { command => 'true', processId => $_ }, 409, error_of(409,
                'RESOURCE_BUSY', "There is a process '$_' already", '{<any>}')]
            } 'p1', 'p9'),
        ['no id', GET => '/api/process/', undef, 404, error_of(404,
            'PROCESS_NOT_FOUND', 'Process  not found', '{"processId":""}')],
        ['a slash', GET => '/api/process/a%2Fb', undef, 404, error_of(404,
            'PROCESS_NOT_FOUND', 'Process a/b not found',
            '{"processId":"a/b"}')],
        no_object('/api/process/start', '{'),
        ['a blank session', POST => '/api/process/start',
            '{"command":"true","sessionId":" "}', 500, '{<any>sessionId must '
            . 'not be empty or whitespace<any>'],
    );
};


subtest 'ports' => sub {
    my $watched = '{"type":"watching","port":<n>}';
    my $port = free_port();
    my $none = free_port();

    rows_ok(
        ['a server', POST => '/api/process/start', { processId => 'web',
            command => "python3 -m http.server $port --bind 127.0.0.1" }, 200,
            '{"success":true,"processId":"web",<any>}'],
        ['http', POST => '/api/port-watch', { port => $port, mode => 'http',
            path => '/', processId => 'web' }, 200, sse($watched,
            '{"type":"ready","port":<n>,"statusCode":200}')],
        ['tcp', POST => '/api/port-watch', { port => $port, mode => 'tcp' },
            200, sse($watched, '{"type":"ready","port":<n>}')],
        ['a status', POST => '/api/port-watch', { port => $port,
            mode => 'http', path => '/zzz', statusMin => 404,
            statusMax => 404 }, 200, sse($watched,
            '{"type":"ready","port":<n>,"statusCode":404}')],
        ['never ready', POST => '/api/port-watch', { port => $none,
            mode => 'tcp', interval => 100, timeoutMs => 300 }, 200,
            sse($watched, '{"type":"error","port":<n>,"error":"Port '
            . "$none was not ready within 300ms\","
            . '"code":"PROCESS_READY_TIMEOUT"}')],
        ['an unknown process', POST => '/api/port-watch', { port => $none,
            mode => 'tcp', processId => 'nope' }, 200, sse($watched,
            '{"type":"error","port":<n>,"error":"Process not found"}')],
        ['a process', POST => '/api/process/start', { processId => 'short',
            command => 'sleep 0.3; exit 4' }, 200, '{<any>}'],
        ['... that ends', POST => '/api/port-watch', { port => $none,
            mode => 'tcp', processId => 'short', interval => 100 }, 200,
            sse($watched, '{"type":"process_exited","port":<n>,'
            . '"exitCode":4}')],
        map({ ["no port: $_", POST => '/api/port-watch', $_, 400,
            invalid('port', '<any>')] } '{}', '{"port":0,"mode":"tcp"}',
            '{"port":70000,"mode":"tcp"}'),
        no_object('/api/port-watch', '{'),
        ['the end', DELETE => '/api/process/web', undef, 200, '{<any>}'],
    );
};


subtest 'git' => sub {
    my $failed = sub { my ($name, $body, $status, $code, $words, $context) = @_;
        return [$name, POST => '/api/git/checkout', $body, $status,
            error_of($status, $code, "Failed to clone repository "
                . "'$body->{repoUrl}': $words", qq({"repository":)
                . qq("$body->{repoUrl}",$context,"exitCode":128,)
                . qq("stderr":"$words"}))] };
    my $url = "file://$dir/repo";

    rows_ok(
        runs('a repository', "git init -q -b master $dir/repo && git -C "
            . "$dir/repo -c user.email=a\@b -c user.name=n commit -q "
            . '--allow-empty -m x', '', '', 0),
        ['clone', POST => '/api/git/checkout', { repoUrl => $url,
            targetDir => "$work/r" }, 200, qq({"success":true,"repoUrl":"$url",)
            . qq("branch":"master","targetDir":"$work/r","timestamp":<ts>})],
        $failed->('again', { repoUrl => $url, targetDir => "$work/r" }, 500,
            'GIT_CLONE_FAILED', "fatal: destination path '$work/r' already "
            . 'exists and is not an empty directory.',
            qq("targetDir":"$work/r")),
        $failed->('no such branch', { repoUrl => $url, branch => 'nope',
            targetDir => "$work/r2" }, 404, 'GIT_BRANCH_NOT_FOUND',
            "Cloning into '$work/r2'...\\nfatal: Remote branch nope not found "
            . 'in upstream origin', qq("branch":"nope","targetDir":"$work/r2")),
        $failed->('no such repository', { repoUrl => "file://$dir/zzz" }, 404,
            'GIT_REPOSITORY_NOT_FOUND', "Cloning into '$work/zzz'...\\n<any>",
            qq("targetDir":"$work/zzz")),
        $failed->('no URL at all', { repoUrl => 'not a url' }, 404,
            'GIT_REPOSITORY_NOT_FOUND',
            "fatal: repository 'not a url' does not exist",
            qq("targetDir":"$work/repository")),
        map({ ["nothing: $_", POST => '/api/git/checkout', $_, 400,
            error_of(400, 'INVALID_GIT_URL', "Invalid Git URL '': Git URL must "
                . 'be a non-empty string', '{"validationErrors":[{"field":'
                . '"repoUrl","message":"Git URL must be a non-empty string",'
                . '"code":"INVALID_GIT_URL"}]}')] } '{}', '{"repoUrl":""}'),
    );
};

$agent->stop;
done_testing();
