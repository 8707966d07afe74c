#!/usr/bin/perl

# What clients of the container API are used to: each situation with the bytes
# of its answer, through nginx.  Files are in contract-files.t, the bridge API
# in contract-bridge.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Contract;
use Harness;
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $s = Contract->start;

subtest 'base' => sub {
    is(call(GET => '/api/ping')->{status}, 200,
        'the first request starts the sandbox');

    rows_ok(
        ['ping', GET => '/api/ping', undef, 200,
            '{"success":true,"status":"healthy","message":"pong",'
            . '"timestamp":<ts>}'],
        ['a query does not matter', GET => '/api/ping?x=1', undef, 200,
            '{"success":true,"status":"healthy",<any>}'],
        ['version', GET => '/api/version', undef, 200,
            '{"success":true,"version":<s>,"timestamp":<ts>}'],
        ['commands', GET => '/api/commands', undef, 200,
            '{"success":true,"availableCommands":[],"count":0,'
            . '"timestamp":<ts>}'],
    );

    my $r = call(GET => '/api/ping');
    is($r->{headers}{'content-type'}, 'application/json', 'JSON');
    is($r->{headers}{'access-control-allow-origin'}, '*', 'CORS: origin');
    is($r->{headers}{'access-control-allow-methods'},
        'GET, POST, PUT, DELETE, OPTIONS', 'CORS: methods');
    is($r->{headers}{'access-control-allow-headers'},
        'Content-Type, Authorization, X-Session-Id, X-Sandbox-Id, X-Trace-Id',
        'CORS: headers');
    is(call(GET => '/api/process/nope')
        ->{headers}{'access-control-allow-origin'}, '*', 'CORS with errors');

    # What nginx refuses has the members of both forms.
    for my $case ([GET => '/api/health', 404], [GET => '/api/nope', 404],
        [GET => '/api/ping/', 404], [GET => '/api', 404],
        [GET => '/api/execute', 405], [PATCH => '/api/ping', 405],
        [GET => '/api/backup/create', 405], [POST => '/api/backup/nope', 404])
    {
        my ($method, $path, $status) = @$case;

        row_ok(["$method $path", $method, $path, undef, $status,
            qq({"error":<s>,"code":<s>,"message":<s>,"context":{},)
            . qq("httpStatus":$status,"timestamp":<ts>})]);
    }
    like(call(GET => '/api/execute')->{headers}{allow}, qr/POST/,
        '405 says what is allowed');
    row_ok(['outside of it there are none of these', POST => '/nope', undef,
        404, '{"error":<s>,"code":"not_found"}']);
    is(call(OPTIONS => '/api/execute')->{status}, 405, 'OPTIONS');
    $r = $s->api(GET => '/v1/sandbox/c/api/ping', no_key => 1);
    is($r->{status}, 401, 'no key');
    is($r->{json}{httpStatus}, 401, 'in this form, too');
};


subtest 'sessions' => sub {
    my $made = '{"success":true,"data":{"id":<id>,<any>},'
        . '"containerPlacementId":null,"timestamp":<ts>}';
    (my $named = $made) =~ s/<id>/"s1"/;

    rows_ok(
        ['create', POST => '/api/session/create',
            '{"id":"s1","env":{"FOO":"bar"},"cwd":"/tmp"}', 200, $named],
        ['again', POST => '/api/session/create', '{"id":"s1"}', 409,
            error_of(409, 'SESSION_ALREADY_EXISTS',
                "Session 's1' already exists",
                '{"sessionId":"s1","containerPlacementId":null}')],
        ['no body', POST => '/api/session/create', undef, 200, $made],
        ['no JSON', POST => '/api/session/create', '{bad', 200, $made],
        ['its directory and environment', POST => '/api/execute',
            '{"command":"pwd; echo $FOO","sessionId":"s1"}', 200,
            result('/tmp\nbar', '', 0, 's1')],
        ['a directory that is none', POST => '/api/session/create',
            '{"id":"s2","cwd":"/nonexistent"}', 200, '{"success":true,<any>'],
        ['... is no error later either', POST => '/api/execute',
            '{"command":"cd .","sessionId":"s2"}', 200,
            result('', '', 0, 's2')],
        ['a slash and a blank in the id', POST => '/api/session/create',
            '{"id":"a/b c"}', 200, '{"success":true,<any>'],
        ['and a command there', POST => '/api/execute',
            '{"command":"pwd","sessionId":"a/b c"}', 200,
            result('/workspace', '', 0, 'a/b c')],
        ['null and odd values', POST => '/api/session/create',
            q({"id":"senv","env":{"A":null,"B":"x y'\"z"}}), 200,
            '{"success":true,<any>'],
        ['... as they were', POST => '/api/execute',
            '{"command":"echo \"[$A][$B]\"","sessionId":"senv"}', 200,
            result(q([][x y'\\"z]), '', 0, 'senv')],
        ['an id that is no string', POST => '/api/session/create',
            '{"id":42}', 400, invalid('id', 'id must be a string')],
        ['the reserved id', POST => '/api/session/create',
            '{"id":"__DISABLE_SESSION__"}', 400, invalid('id', '<any>')],
        ['a time limit for all its commands', POST => '/api/session/create',
            '{"id":"s3","commandTimeoutMs":1500}', 200,
            '{"success":true,<any>'],
        ['... is kept', POST => '/api/execute',
            '{"command":"echo a; sleep 20","sessionId":"s3"}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to execute "
                . "command 'echo a; sleep 20' in session 's3': Command "
                . 'timeout after 1500ms', '{"timedOut":true,"timeoutMs":1500,'
                . '"command":"echo a; sleep 20","stdout":"a","stderr":""}')],
        ['and the session goes on', POST => '/api/execute',
            '{"command":"echo next","sessionId":"s3","timeoutMs":20000}', 200,
            result('next', '', 0, 's3')],
        ['delete', POST => '/api/session/delete', '{"sessionId":"s2"}', 200,
            '{"success":true,"sessionId":"s2","timestamp":<ts>}'],
        ['delete an unknown one', POST => '/api/session/delete',
            '{"sessionId":"zzz"}', 500, error_of(500, 'INTERNAL_ERROR',
                "Session 'zzz' not found", '{"sessionId":"zzz",'
                . '"originalError":"Session not found"}')],
        ['delete without an id', POST => '/api/session/delete', '{}', 400,
            invalid('sessionId', 'sessionId is required')],
        ['delete with no JSON', POST => '/api/session/delete', '{', 400,
            error_of(400, 'VALIDATION_FAILED', 'Invalid request body<any>',
                '{}')],
    );

    my %has = map { $_ => 1 } @{ call(GET => '/api/session/list')
        ->{json}{data} };
    ok($has{s1} && $has{'a/b c'} && !$has{s2}, 'list: ids, of the living');

    # A deletion doesn't wait for what runs.
    my $sock = begin('/api/execute', { command => 'sleep 60',
        sessionId => 'doomed' });
    ok(wait_for(sub { grep { $_ eq 'doomed' } @{ call(
        GET => '/api/session/list')->{json}{data} } }, 20), 'a session works');
    is(call(POST => '/api/session/delete', { sessionId => 'doomed' })
        ->{status}, 200, 'it is deleted under a command');
    my $r = http_read($sock, timeout => 60);
    is("$r->{status} $r->{json}{code}", '410 SESSION_DESTROYED',
        'which is told');
    is_deeply($r->{json}{context}, { sessionId => 'doomed' }, 'in its context');
};


subtest 'execute' => sub {
    my $in = sub {
        my ($name, $command, $stdout, $stderr, $code, %o) = @_;

        return [$name, POST => '/api/execute', { command => $command, %o },
            200, result($stdout, $stderr, $code, $o{sessionId})];
    };
    my $terminated = sub {
        my ($name, $command, $sid, $code) = @_;

        return ([$name, POST => '/api/execute', { command => $command,
            sessionId => $sid }, 410, error_of(410, 'SESSION_TERMINATED',
                "Session '$sid' shell exited (exit code: $code)",
                qq({"sessionId":"$sid","exitCode":$code}))],
            $in->("... and the id is good for a new one", 'echo x', 'x', '',
                0, sessionId => $sid));
    };

    rows_ok(
        $in->('nothing', 'true', '', '', 0),
        $in->('one line loses its end', 'echo hi', 'hi', '', 0),
        $in->('both outputs', 'echo out; echo err >&2; echo out2',
            'out\nout2', 'err', 0),
        $in->('no end to lose', 'printf abc', 'abc', '', 0),
        $in->('only one is lost', 'printf "a\n\n"', 'a\n', '', 0),
        $in->('an empty line', 'echo', '', '', 0),
        $in->('CR LF', 'printf "a\r\nb\r\n"', 'a\r\nb\r', '', 0),
        $in->('UTF-8', 'printf "h\303\251 \360\237\230\200"',
            "h\xc3\xa9 \xf0\x9f\x98\x80", '', 0),
        $in->('what is not', 'printf "a\377b\303"',
            "a\xef\xbf\xbdb\xef\xbf\xbd", '', 0),
        $in->('NUL bytes are kept', 'printf "a\0b\001\n"',
            'a\u0000b\u0001', '', 0),
        $in->('an exit code', '(exit 3)', '', '', 3),
        $in->('no such command', 'nosuchcmd_zz', '',
            'bash: <any>nosuchcmd_zz: command not found', 127),
        $in->('not executable', '/etc/passwd', '',
            'bash: <any>/etc/passwd: Permission denied', 126),
        $in->('a signal', q(sh -c 'kill -9 $$'), '', '<any>', 137),
        $in->('a syntax error leaves the session', ')', '',
            '<any>syntax error near unexpected token<any>', 2,
            sessionId => 'syn'),
        $in->('an open quote, too', 'echo "abc', '', '<any>unexpected EOF<any>',
            2, sessionId => 'syn'),
        $in->('it is the same', 'echo alive', 'alive', '', 0,
            sessionId => 'syn'),
        $terminated->('exit', 'exit 3', 'sx', 3),
        $terminated->('exec', 'exec true', 'sexec', 0),
        $terminated->('kill', 'kill -9 $$', 'skill', 137),
        $terminated->('set -e', 'set -e; false; echo x', 'sse', 1),
        $in->('cwd', 'pwd', '/tmp', '', 0, cwd => '/tmp'),
        $in->('... of this command only', 'pwd', '/workspace', '', 0),
        $in->('a cwd that is none', 'pwd', '',
            "Failed to change directory to '/no/such'", 1, cwd => '/no/such'),
        $in->('cd stays', 'cd /usr', '', '', 0),
        $in->('...', 'pwd; cd /workspace', '/usr', '', 0),
        $in->('env', 'echo $E1', q(v1 $x 'q'), '', 0,
            env => { E1 => q(v1 $x 'q') }),
        $in->('... of this command only', 'echo [$E1]', '[]', '', 0),
        $in->('variables, functions and options stay',
            'export P=1; f(){ echo F$1; }; set -o pipefail', '', '', 0),
        $in->('...', 'f $P; false | true', 'F1', '', 1),
        $in->('', 'set +o pipefail', '', '', 0),
        $in->('$? is not', 'false', '', '', 1),
        $in->('...', 'echo $?', '0', '', 0),
        $in->('a job in the background is not waited for',
            'sleep 30 & echo started', 'started', '', 0),
        $in->('standard input is empty', 'cat; echo done', 'done', '', 0),
        $in->('or what was sent', 'cat', 'in\nput', '', 0,
            stdin => "in\nput"),
        $in->('a here-document', "cat <<EOF\na\n  b\nEOF", 'a\n  b', '', 0),
        $in->('one without its end', "cat <<EOF\na", '', '<any>end-of-file'
            . '<any>', 2),
        $in->('a comment', 'echo a # b', 'a', '', 0),
        $in->('no limit', 'echo z', 'z', '', 0, timeoutMs => 0),
        $in->('an unseen session', 'pwd', '/workspace', '', 0,
            sessionId => 'brandnew'),
        $in->('without a session the text is whole',
            'pwd; echo $0 $-; echo x', '/workspace\n/bin/bash hBc\nx\n', '',
            0, sessionId => '__DISABLE_SESSION__'),
        $in->('and a limit is an exit code', 'echo a; sleep 20', 'a\n',
            '<any>Command timed out after 1500ms\n', 124,
            sessionId => '__DISABLE_SESSION__', timeoutMs => 1500),
        $in->('an empty command', '', '', '', 0),
        $in->('a blank one', '   ', '', '', 0),
        $in->('9000 characters', 'echo ' . 'a' x 9000, 'a' x 9000, '', 0),
        ['a limit', POST => '/api/execute', '{"command":"echo p; sleep 20; '
            . 'echo late","timeoutMs":1500,"sessionId":"st"}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "<any>in session 'st': "
                . 'Command timeout after 1500ms', '{"timedOut":true,'
                . '"timeoutMs":1500,"command":<s>,"stdout":"p","stderr":""}')],
        $in->('the session is free', 'echo next', 'next', '', 0,
            sessionId => 'st'),
        ['a variable that has no name', POST => '/api/execute',
            '{"command":"true","env":{"A-B":"x"}}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to execute "
                . "command 'true' in session 'default': Invalid environment "
                . 'variable name: A-B', '{"command":"true","stderr":"Invalid '
                . 'environment variable name: A-B"}')],
        ['a blank session', POST => '/api/execute',
            '{"command":"true","sessionId":"  "}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to execute "
                . "command 'true': sessionId must not be empty or whitespace",
                '{"command":"true","stderr":"sessionId must not be empty or '
                . 'whitespace"}')],
        ['a session in a header', POST => '/api/execute',
            '{"command":"pwd; cd /var"}', 200,
            result('/workspace', '', 0, 'hs'),
            headers => { 'X-Session-Id' => 'hs' }],
        ['... in the query', POST => '/api/execute?session=hs',
            '{"command":"pwd"}', 200, result('/var', '', 0, 'hs')],
        ['... in its other member', POST => '/api/execute?sessionId=hs',
            '{"command":"pwd"}', 200, result('/var', '', 0, 'hs')],
        ['the body goes first', POST => '/api/execute?session=hs',
            '{"command":"pwd","sessionId":"s1"}', 200,
            result('/tmp', '', 0, 's1')],
        ['another content type', POST => '/api/execute', '{"command":"echo"}',
            200, result('', '', 0), headers => {
                'Content-Type' => 'text/plain' }],
        ['in the background', POST => '/api/execute',
            '{"command":"sleep 0.2; echo bg","background":true}', 200,
            '{"success":true,"processId":<id>,"pid":<n>,"command":"sleep 0.2; '
            . 'echo bg","timestamp":<ts>}'],
        ['no command', POST => '/api/execute', '{}', 400,
            invalid('command', 'command is required')],
        ['a number', POST => '/api/execute', '{"command":5}', 400,
            invalid('command', 'command must be a string')],
        ['a value of env', POST => '/api/execute',
            '{"command":"true","env":{"N":5}}', 400,
            invalid('env', 'env.N must be a string')],
        map({ ["no object: $_", POST => '/api/execute', $_, 400,
            error_of(400, 'VALIDATION_FAILED', '<any>', '{}')] }
            'null', '[]', '{bad', '', 'command=echo', "{\"command\":\"\xff\"}"),
    );
};


subtest 'execute as a stream' => sub {
    my $start = sub { qq({"type":"start","command":"$_[0]","timestamp":<ts>}) };
    my $out = sub { qq({"type":"$_[0]","data":"$_[1]","timestamp":<ts>}) };
    my $end = sub { qq({"type":"complete","exitCode":$_[0],"timestamp":<ts>}) };
    my $stream = sub { [$_[0], POST => '/api/execute/stream', $_[1], 200,
        sse(@_[2 .. $#_])] };

    rows_ok(
        $stream->('echo', '{"command":"echo hi"}', $start->('echo hi'),
            $out->(stdout => 'hi\n'), $end->(0)),
        $stream->('in order', '{"command":"echo a; sleep 0.7; echo b >&2; '
            . 'sleep 0.7; echo c"}', $start->('<any>'),
            $out->(stdout => 'a\n'), $out->(stderr => 'b\n'),
            $out->(stdout => 'c\n'), $end->(0)),
        $stream->('no newline is added', '{"command":"printf abc"}',
            $start->('printf abc'), $out->(stdout => 'abc'), $end->(0)),
        $stream->('no such command', '{"command":"nosuchcmd_zz"}',
            $start->('nosuchcmd_zz'), $out->(stderr =>
                '<any>nosuchcmd_zz: command not found\n'), $end->(127)),
        $stream->('true', '{"command":"true"}', $start->('true'), $end->(0)),
        $stream->('cwd', '{"command":"pwd","cwd":"/tmp"}', $start->('pwd'),
            $out->(stdout => '/tmp\n'), $end->(0)),
        $stream->('a cwd that is none', '{"command":"pwd","cwd":"/no/such"}',
            $start->('pwd'), $out->(stderr =>
                q(Failed to change directory to '/no/such'\n)), $end->(1)),
        $stream->('env', '{"command":"echo $Q","env":{"Q":"1"}}',
            $start->('echo $Q'), $out->(stdout => '1\n'), $end->(0)),
        $stream->('state does not stay', '{"command":"cd /usr; export ZZ=1"}',
            $start->('<any>'), $end->(0)),
        ['...', POST => '/api/execute', '{"command":"pwd; echo [$ZZ]"}', 200,
            result('/workspace\n[]', '', 0)],
        $stream->('exit ends the command', '{"command":"exit 3"}',
            $start->('exit 3'), $end->(3)),
        $stream->('a signal', '{"command":"kill -9 $BASHPID"}',
            $start->('<any>'), $end->(137)),
        $stream->('an open quote', '{"command":"echo \"abc"}',
            $start->('<any>'), $out->(stderr => '<any>unexpected EOF<any>'),
            $end->(2)),
        $stream->('a limit', '{"command":"sleep 20","timeoutMs":200}',
            $start->('sleep 20'),
            $out->(stderr => 'Command timed out after 200ms\n'), $end->(124)),
        $stream->('a job does not hold it up', '{"command":"sleep 30 & echo"}',
            $start->('<any>'), $out->(stdout => '\n'), $end->(0)),
        $stream->('a session of its own', '{"command":"pwd",'
            . '"sessionId":"s1"}', $start->('pwd'), $out->(stdout => '/tmp\n'),
            $end->(0)),
        $stream->('bytes that are no text',
            '{"command":"printf \'\\\\377\\\\000x\\\\n\'"}', $start->('<any>'),
            $out->(stdout => "\xef\xbf\xbd" . '\u0000x\n'), $end->(0)),
        ['empty', POST => '/api/execute/stream', '{"command":""}', 400,
            error_of(400, 'INVALID_COMMAND',
                'Invalid command: empty command provided', '{}')],
        ['no JSON', POST => '/api/execute/stream', '{', 400,
            error_of(400, 'VALIDATION_FAILED', '<any>', '{}')],
    );

    my $r = call(POST => '/api/execute/stream', { command => 'printf a; '
        . 'sleep 0.2; printf "\303"; sleep 0.2; printf "\251"; printf b >&2',
        sessionId => '__DISABLE_SESSION__' });
    is(join('|', joined($r->{body})), "start|stdout:a\x{e9}|stderr:b|"
        . 'complete=0', 'a character that came in two parts');
    unlike($r->{body}, qr/\xef\xbf\xbd/, '... is sent as one');
    is($r->{headers}{'content-type'}, 'text/event-stream', 'its type');
    is($r->{headers}{'cache-control'}, 'no-cache', 'not to be kept');
    is($r->{headers}{'access-control-allow-origin'}, '*', 'CORS');

    # A stream is a process.
    call(POST => '/api/execute/stream', { command => 'echo listed' });
    is(scalar grep({ $_->{command} eq 'echo listed' } @{ call(
        GET => '/api/process/list?status=completed')->{json}{processes} }), 1,
        'it is in the list');

    # The client leaves; the command goes on as a process.
    my $sock = begin('/api/execute/stream', { command => 'sleep 1; touch '
        . '/workspace/left' });
    my $sel = IO::Select->new($sock);
    $sel->can_read(30) and sysread $sock, my $buf, 65536;
    close $sock;
    ok(wait_for(sub { call(POST => '/api/exists', { path =>
        '/workspace/left' })->{json}{exists} }, 30),
        'what was begun goes on without its reader');
};


subtest 'processes' => sub {
    my $loop = 'for i in 1 2 3; do echo line$i; echo err$i >&2; sleep 0.1; '
        . 'done; exit 7';
    my $r = row_ok(['start', POST => '/api/process/start', { command => $loop,
        sessionId => 'pp' }, 200, '{"success":true,"processId":<id>,"pid":<n>,'
        . '"command":<s>,"timestamp":<ts>}']);
    my $id = $r->{json}{processId};

    $r = call(GET => "/api/process/$id/stream");
    is(join('|', grep { !/^std/ } joined($r->{body})), 'process_info|'
        . 'exit:Process failed with exit code 7=7', 'its stream: the frames');
    is(join('', grep { /^stdout/ } joined($r->{body})) =~ s/stdout://gr,
        "line1\nline2\nline3\n", '... all its output');
    is(join('', grep { /^stderr/ } joined($r->{body})) =~ s/stderr://gr,
        "err1\nerr2\nerr3\n", '... all its errors');

    rows_ok(
        ['... which is there again later', GET => "/api/process/$id/stream",
            undef, 200, sse(qq({"type":"process_info","processId":"$id",)
            . '"command":<s>,"status":"failed","timestamp":<ts>}',
            map({ my ($t, $d) = @$_; qq({"type":"$t","data":"$d",)
                . qq("processId":"$id","timestamp":<ts>}) }
                [stdout => 'line1\nline2\nline3\n'],
                [stderr => 'err1\nerr2\nerr3\n']),
            qq({"type":"exit","processId":"$id","exitCode":7,"data":"Process )
            . 'failed with exit code 7","timestamp":<ts>}')],
        ['get', GET => "/api/process/$id", undef, 200,
            qq({"success":true,"process":{"id":"$id","pid":<n>,"command":<s>,)
            . '"status":"failed","startTime":<ts>,"endTime":<ts>,'
            . '"exitCode":7},"timestamp":<ts>}'],
        ['logs', GET => "/api/process/$id/logs", undef, 200,
            qq({"success":true,"processId":"$id",)
            . '"stdout":"line1\nline2\nline3\n",'
            . '"stderr":"err1\nerr2\nerr3\n","timestamp":<ts>}'],
        ['kill one that is over', DELETE => "/api/process/$id", undef, 404,
            error_of(404, 'COMMAND_NOT_FOUND', "Command '$id' not found or "
                . "already completed in session 'pp'",
                qq({"command":"$id"}))],
        ['a name of its own', POST => '/api/process/start',
            '{"command":"echo up; sleep 100","processId":"my-proc"}', 200,
            '{"success":true,"processId":"my-proc","pid":<n>,<any>}'],
        ['... which is taken then', POST => '/api/process/start',
            '{"command":"true","processId":"my-proc"}', 409,
            error_of(409, 'RESOURCE_BUSY', '<any>', '{<any>}')],
        ['get a running one', GET => '/api/process/my-proc', undef, 200,
            '{"success":true,"process":{"id":"my-proc","pid":<n>,"command":'
            . '"echo up; sleep 100","status":"running","startTime":<ts>},'
            . '"timestamp":<ts>}'],
        ['the running ones', GET => '/api/process/list?status=running', undef,
            200, '{"success":true,"processes":[<any>{"id":"my-proc","pid":<n>,'
            . '"command":<s>,"status":"running","startTime":<ts>}<any>],'
            . '"timestamp":<ts>}'],
        ['no such status', GET => '/api/process/list?status=zzz', undef, 200,
            '{"success":true,"processes":[],"timestamp":<ts>}'],
    );
    ok(wait_for(sub { call(GET => '/api/process/my-proc/logs')
        ->{json}{stdout} eq "up\n" }, 30), 'it says something');
    rows_ok(
        ['kill', DELETE => '/api/process/my-proc', undef, 200,
            '{"success":true,"processId":"my-proc","timestamp":<ts>}'],
        ['... is told', GET => '/api/process/my-proc', undef, 200,
            '{"success":true,"process":{<any>"status":"killed",<any>'
            . '"exitCode":143},<any>}'],
        ['twice', DELETE => '/api/process/my-proc', undef, 404,
            error_of(404, 'COMMAND_NOT_FOUND', '<any>',
                '{"command":"my-proc"}')],
        ['its logs stay', GET => '/api/process/my-proc/logs', undef, 200,
            '{"success":true,"processId":"my-proc","stdout":"up\n",'
            . '"stderr":"","timestamp":<ts>}'],
        map({ ["unknown: @$_", @$_, undef, 404, error_of(404,
            'PROCESS_NOT_FOUND', 'Process nope not found',
            '{"processId":"nope"}')] } [GET => '/api/process/nope'],
            [GET => '/api/process/nope/logs'],
            [GET => '/api/process/nope/stream'],
            [DELETE => '/api/process/nope']),
        ['empty', POST => '/api/process/start', '{"command":" "}', 400,
            error_of(400, 'INVALID_COMMAND',
                'Invalid command: empty command provided', '{}')],
        ['no JSON', POST => '/api/process/start', '{', 400,
            error_of(400, 'VALIDATION_FAILED', '<any>', '{}')],
        ['an id with dots and slashes', POST => '/api/process/start',
            '{"command":"echo x","processId":"../../x"}', 200,
            '{"success":true,"processId":"../../x",<any>}'],
        ['an empty id', POST => '/api/process/start',
            '{"command":"echo x","processId":""}', 200,
            '{"success":true,"processId":<id>,<any>}'],
    );

    # What is short is over, and its output there, when it is asked for.
    for my $case (['nosuch_zz', 127, '', '<any>nosuch_zz: command not found\n'],
        ['pwd; echo $A', 0, '/tmp\n1\n', '', cwd => '/tmp',
            env => { A => "1" }],
        ['pwd', 1, '', q(Failed to change directory to '/no/such'\n),
            cwd => '/no/such'], ['exit 3', 3, '', ''],
        ['echo a', 0, 'a\n', '', sessionId => '__DISABLE_SESSION__'])
    {
        my ($command, $code, $stdout, $stderr, %o) = @$case;
        my $pid = call(POST => '/api/process/start', { command => $command,
            %o })->{json}{processId};

        # A machine under load may need more than the moment that is given.
        my $state = wait_for(sub { my $p = call(GET => "/api/process/$pid")
            ->{json}{process}; $p->{status} ne 'running' && $p }, 30) || {};
        is($state->{exitCode}, $code, "$command: its code");
        row_ok(["$command: its logs", GET => "/api/process/$pid/logs", undef,
            200, qq({"success":true,"processId":"$pid","stdout":"$stdout",)
            . qq("stderr":"$stderr","timestamp":<ts>})]);
    }

    # SIGTERM is not for everybody.
    call(POST => '/api/process/start', { processId => 'stubborn',
        command => 'trap "" TERM; echo ready; while :; do sleep 0.1; done' });
    ok(wait_for(sub { call(GET => '/api/process/stubborn/logs')
        ->{json}{stdout} =~ /ready/ }, 30), 'a process that ignores SIGTERM');
    my $begun = time();
    row_ok(['is killed', DELETE => '/api/process/stubborn', undef, 200,
        '{"success":true,"processId":"stubborn","timestamp":<ts>}']);
    cmp_ok(time() - $begun, '>', 4, '... after it was given time');
    is(call(GET => '/api/process/stubborn')->{json}{process}{exitCode}, 137,
        '... and that is its code');

    call(POST => '/api/process/start', { command => 'sleep 100' }) for 1 .. 3;
    my $n = @{ call(GET => '/api/process/list?status=running')
        ->{json}{processes} };
    cmp_ok($n, '>=', 3, 'three are running, at least');

    row_ok(['all are killed', DELETE => '/api/process/kill-all', undef, 200,
        '{"success":true,"cleanedCount":<n>,"timestamp":<ts>}']);
    is_deeply(call(GET => '/api/process/list?status=running')
        ->{json}{processes}, [], 'none is running');
};


subtest 'waiting for a port' => sub {
    my $watched = '{"type":"watching","port":8099}';

    row_ok(['a server', POST => '/api/process/start', { processId => 'web',
        command => 'python3 -m http.server 8099 --bind 127.0.0.1' }, 200,
        '{"success":true,"processId":"web",<any>}']);
    rows_ok(
        ['http', POST => '/api/port-watch', '{"port":8099,"mode":"http",'
            . '"path":"/","processId":"web"}', 200, sse($watched,
            '{"type":"ready","port":8099,"statusCode":200}')],
        ['tcp', POST => '/api/port-watch', '{"port":8099,"mode":"tcp"}', 200,
            sse($watched, '{"type":"ready","port":8099}')],
        ['another status', POST => '/api/port-watch', '{"port":8099,'
            . '"mode":"http","path":"/zzz","statusMin":404,"statusMax":404}',
            200, sse($watched,
            '{"type":"ready","port":8099,"statusCode":404}')],
        ['not in time', POST => '/api/port-watch', '{"port":8099,'
            . '"mode":"http","statusMin":500,"timeoutMs":300,'
            . '"statusMax":599}', 200, sse($watched, '{"type":"error",'
            . '"port":8099,"error":"Port 8099 was not ready within 300ms",'
            . '"code":"PROCESS_READY_TIMEOUT"}')],
        ['an unknown process', POST => '/api/port-watch', '{"port":8099,'
            . '"mode":"tcp","processId":"nope"}', 200, sse($watched,
            '{"type":"error","port":8099,"error":"Process not found"}')],
        ['a process that ends', POST => '/api/process/start',
            '{"command":"sleep 0.5; exit 4","processId":"short"}', 200,
            '{<any>}'],
        ['... before its port is ready', POST => '/api/port-watch',
            '{"port":8098,"mode":"tcp","processId":"short","interval":100}',
            200, sse('{"type":"watching","port":8098}',
            '{"type":"process_exited","port":8098,"exitCode":4}')],
        ['no port', POST => '/api/port-watch', '{}', 400,
            invalid('port', 'port is required')],
        ['a port that is none', POST => '/api/port-watch',
            '{"port":70000,"mode":"tcp"}', 400, invalid('port', '<any>')],
        ['no JSON', POST => '/api/port-watch', '{', 400,
            error_of(400, 'VALIDATION_FAILED', '<any>', '{}')],
        ['the server is killed', DELETE => '/api/process/web', undef, 200,
            '{<any>}'],
    );
};


subtest 'watch' => sub {
    my $version;

    call(POST => '/api/execute', { command => 'mkdir -p /workspace/w/sub' });
    rows_ok(
        ['a directory that is none', POST => '/api/watch',
            '{"path":"/workspace/zzz"}', 404, error_of(404, 'FILE_NOT_FOUND',
                'Path does not exist: /workspace/zzz',
                '{"path":"/workspace/zzz"}')],
        ['no path', POST => '/api/watch', '{}', 400,
            error_of(400, 'VALIDATION_FAILED',
                'path is required and must be a non-empty string', '{}')],
        ['any directory', POST => '/api/watch/check', '{"path":"/etc"}', 200,
            '{"success":true,"status":"unchanged","version":<s>,'
            . '"timestamp":<ts>}'],
        ['a check', POST => '/api/watch/check', '{"path":"w"}', 200,
            '{"success":true,"status":"unchanged","version":<s>,'
            . '"timestamp":<ts>}'],
    );
    $version = call(POST => '/api/watch/check', { path => 'w' })
        ->{json}{version};
    like($version, qr/^watch-\d+-\d{13}:0$/, 'its version');
    call(POST => '/api/execute', { command => 'touch /workspace/w/f' });
    row_ok(['what has changed', POST => '/api/watch/check',
        { path => 'w', since => $version }, 200, '{"success":true,'
        . '"status":"changed","version":"' . $version =~ s/:0$/:1/r
        . '","timestamp":<ts>}']);
    row_ok(['no JSON', POST => '/api/watch', '{', 400, error_of(400,
        'VALIDATION_FAILED', '<any>', '{<any>}')]);
    row_ok(['what is unknown', POST => '/api/watch/check',
        { path => 'w', since => 'watch-1-1:0' }, 200,
        '{"success":true,"status":"resync","reason":"restarted",'
        . '"version":<s>,"timestamp":<ts>}']);

    # Live: each is seen before the next is done.
    my ($body, @seen) = ('');
    my @steps = ('mkdir sub/new', 'touch sub/new/f', 'mv sub/new sub/old',
        'rm -r /workspace/w');
    my $r = call(POST => '/api/watch', { path => 'w' }, timeout => 120,
        on_data => sub {
            $body .= $_[0];
            my $n = () = $body =~ /^data: .*\n\n/mg;
            if ($n > @seen) {
                push @seen, (1) x ($n - @seen);
                my $step = shift @steps;
                call(POST => '/api/execute',
                    { command => "cd /workspace/w; $step" }) if $step;
            }
            return 1;
        });
    is($r->{status}, 200, 'a stream');
    is($r->{headers}{'content-type'}, 'text/event-stream', 'of events');
    ok($r->{complete}, 'that ends properly');
    my $event = sub {
        my ($type, $path, $dir) = @_;
        return quotemeta(qq(data: {"type":"event","eventType":"$type",)
            . qq("path":"/workspace/w/$path","isDirectory":$dir,"timestamp":"))
            . qr/[^"]*"\}\n\n/;
    };
    my $begin = quotemeta 'data: {"type":"watching","path":"/workspace/w",'
        . '"watchId":"watch-';
    my $steps = join '', $event->('create', 'sub/new', 'true'),
        $event->('create', 'sub/new/f', 'false'),
        $event->('move_from', 'sub/new', 'true'),
        $event->('move_to', 'sub/old', 'true');
    my $end = quotemeta 'data: {"type":"stopped","reason":"deleted"}';
    like($body, qr/^$begin\d+-\d{13}"\}\n\n$steps(?:data: .*\n\n)*$end\n\n$/,
        'what happened, as it happened');
};

$s->stop;
done_testing();
