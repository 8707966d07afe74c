#!/usr/bin/perl

# What clients of the container API and of the bridge API are used to: each
# situation with the bytes of its answer, through nginx.  In the expected
# texts <n> stands for a number, <ts> for a time, <s> for any string, <id>
# for a generated id and <any> for anything; a suggestion may be there or not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Harness;
use IO::Select;
use MIME::Base64;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $s = System->start;

my %stands_for = (
    n => '\d+', any => '.*',
    ts => '"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"',
    s => '"(?:[^"\\\\]|\\\\.)*"',
    id => '"(?:proc_\d{13}_[a-z0-9]{6}|session_\d{13}_[0-9a-f]{12})"',
);


sub expected {
    my ($text) = @_;
    my $re = join '', map { /^<(\w+)>$/ && $stands_for{$1} || quotemeta }
        split /(<\w+>)/, $text;

    return qr/^$re\n?$/s;
}


# Path below the sandbox, so that a row reads like the container's own API.
sub call {
    my ($method, $path, $body, %o) = @_;

    return $s->api($method => "/v1/sandbox/c$path", timeout => 60, %o,
        !defined $body ? () : ref $body ? (json => $body) : (body => $body));
}


# A row: [name, method, path, body, status, answer, more for the request].
sub row_ok {
    my ($row) = @_;
    my ($name, $method, $path, $body, $status, $answer, %o) = @$row;
    my $r = call($method, $path, $body, %o);
    (my $got = $r->{body} // '') =~ s/,"suggestion":"[^"]*"\}$/}/;

    $got = merged($got) if $got =~ /^event: /;

    ok($r->{status} == $status && $got =~ expected($answer), $name)
        or diag("expected $status $answer\n     got $r->{status} ",
            substr $got, 0, 2000);

    return $r;
}


sub rows_ok { row_ok($_) for @_ }


# The error of the container API.
sub error_of {
    my ($status, $code, $message, $context) = @_;
    my ($operation) = $context =~ /"operation":("[^"]+")/;

    return qq({"code":"$code","message":"$message","context":$context,)
        . ($operation ? qq("operation":$operation,) : '')
        . qq("httpStatus":$status,"timestamp":<ts>});
}


sub invalid {
    my ($field, $message) = @_;

    return error_of(400, 'VALIDATION_FAILED', '<any>', '{"validationErrors":'
        . qq([{"field":"$field","message":"$message","code":<s>}]}));
}


sub result {
    my ($stdout, $stderr, $code, $sid) = @_;

    return '{"success":' . ($code ? 'false' : 'true')
        . qq(,"exitCode":$code,"stdout":"$stdout","stderr":"$stderr",)
        . '"command":<s>,"duration":<n>,"timestamp":<ts>'
        . (defined $sid ? qq(,"sessionId":"$sid") : '') . '}';
}


sub bridge { return join '', map { "event: $_->[0]\ndata: $_->[1]\n\n" } @_ }

sub sse { return join '', map { "data: $_\n\n" } @_ }


# Adjacent output of one stream is one: where a program's writes are cut into
# events is up to the clock.
sub joined {
    my ($body, $member) = @_;
    my @frames;

    for my $f (map { json_decode($_) } $body =~ /^data: (.*)$/mg) {
        if (@frames && ($f->{type} || '') =~ /^std/
            && $frames[-1]{type} eq $f->{type})
        {
            $frames[-1]{data} .= $f->{data};
        } else {
            push @frames, { %$f };
        }
    }

    return map {
        my $f = $_;
        $f->{type} . (defined $f->{data} ? ":$f->{data}" : '')
            . (defined $f->{exitCode} ? "=$f->{exitCode}" : '')
    } @frames;
}


# The same for the bridge's events, as bytes again.
sub merged {
    my ($body) = @_;
    my @events;

    for ($body =~ /\G(event: \w+\ndata: .*\n\n)/g) {
        my ($name, $data) = /^event: (\w+)\ndata: (.*)\n/;

        if (@events && $name =~ /^std/ && $events[-1][0] eq $name) {
            $events[-1][1] = encode_base64(decode_base64($events[-1][1])
                . decode_base64($data), '');
        } else {
            push @events, [$name, $data];
        }
    }
    $body =~ /\G(?:event: \w+\ndata: .*\n\n)*/g;

    return bridge(@events) . substr $body, pos $body;
}


# A request whose answer is read later.
sub begin {
    my ($path, $body) = @_;
    my $sock = http_connect(port => $s->{port}) or die "connect: $!";
    my $text = json_encode($body);

    http_send($sock, "POST /v1/sandbox/c$path HTTP/1.1\r\n"
        . "Host: localhost:$s->{port}\r\nAuthorization: Bearer $s->{key}\r\n"
        . "Connection: close\r\nContent-Length: " . length($text)
        . "\r\n\r\n$text");

    return $sock;
}


# ---- opened now, looked at in the end: two streams on which nothing happens

my $wake_up = call(GET => '/api/ping');
my $idle_api = begin('/api/execute/stream', { command => 'sleep 17; echo x',
    sessionId => 'idle' });
my $idle_bridge = begin('/exec', { argv => ['sh', '-c', 'sleep 17; echo x'] });


subtest 'base' => sub {
    is($wake_up->{status}, 200, 'the first request starts the sandbox');

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
        [POST => '/api/git/checkout', 501], [POST => '/api/watch', 501],
        [POST => '/api/execute/code', 501])
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
            '{"id":"s3","commandTimeoutMs":300}', 200,
            '{"success":true,<any>'],
        ['... is kept', POST => '/api/execute',
            '{"command":"echo a; sleep 20","sessionId":"s3"}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "Failed to execute "
                . "command 'echo a; sleep 20' in session 's3': Command "
                . 'timeout after 300ms', '{"timedOut":true,"timeoutMs":300,'
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
            '<any>Command timed out after 300ms\n', 124,
            sessionId => '__DISABLE_SESSION__', timeoutMs => 300),
        $in->('an empty command', '', '', '', 0),
        $in->('a blank one', '   ', '', '', 0),
        $in->('9000 characters', 'echo ' . 'a' x 9000, 'a' x 9000, '', 0),
        ['a limit', POST => '/api/execute', '{"command":"echo p; sleep 20; '
            . 'echo late","timeoutMs":300,"sessionId":"st"}', 500,
            error_of(500, 'COMMAND_EXECUTION_ERROR', "<any>in session 'st': "
                . 'Command timeout after 300ms', '{"timedOut":true,'
                . '"timeoutMs":300,"command":<s>,"stdout":"p","stderr":""}')],
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
        $stream->('in order', '{"command":"echo a; sleep 0.3; echo b >&2; '
            . 'sleep 0.3; echo c"}', $start->('<any>'),
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

    # The stream that is open since the beginning is not to be ended here.
    my %keep = map { $_->{id} => 1 } grep { $_->{command} =~ /^sleep 17/ }
        @{ call(GET => '/api/process/list')->{json}{processes} };
    is(scalar keys %keep, 1, 'a stream is a process');
};


subtest 'files' => sub {
    my $written = sub { qq({"success":true,"path":"$_[0]","timestamp":<ts>}) };
    my $read = sub {
        my ($path, $content, $encoding, $mime, $size) = @_;
        my $binary = $encoding eq 'base64' ? 'true' : 'false';

        return qq({"success":true,"path":"$path","content":"$content",)
            . qq("timestamp":<ts>,"encoding":"$encoding",)
            . qq("isBinary":$binary,"mimeType":"$mime","size":$size});
    };
    my $file = sub {
        my ($status, $code, $message, $path, $operation, $more) = @_;

        return error_of($status, $code, $message, qq({"path":"$path",)
            . qq("operation":"$operation") . ($more // '<any>') . '}');
    };
    my $w = '/workspace/f';

    rows_ok(
        ['write', POST => '/api/write', qq({"path":"$w/a.txt","content":)
            . '"hello\n"}', 200, $written->("$w/a.txt")],
        ['read', POST => '/api/read', qq({"path":"$w/a.txt"}), 200,
            $read->("$w/a.txt", 'hello\n', 'utf-8', 'text/plain', 6)],
        ['as base64', POST => '/api/read', qq({"path":"$w/a.txt",)
            . '"encoding":"base64"}', 200,
            $read->("$w/a.txt", 'aGVsbG8K', 'base64', 'text/plain', 6)],
        ['write base64', POST => '/api/write', qq({"path":"$w/b.bin",)
            . '"content":"AAEC//4=","encoding":"base64"}', 200,
            $written->("$w/b.bin")],
        ['bytes are read as base64', POST => '/api/read',
            qq({"path":"$w/b.bin"}), 200, $read->("$w/b.bin", 'AAEC//4=',
                'base64', 'application/octet-stream', 5)],
        map({ ["or as $_", POST => '/api/read', qq({"path":"$w/b.bin",)
            . qq("encoding":"$_"}), 200, $read->("$w/b.bin",
                '\u0000\u0001\u0002' . "\xef\xbf\xbd" x 2, 'utf-8',
                'application/octet-stream', 5)] } 'utf-8', 'utf8'),
        ['no base64', POST => '/api/write', qq({"path":"$w/c.bin",)
            . '"content":"!!!","encoding":"base64"}', 400,
            error_of(400, 'VALIDATION_FAILED', "Invalid base64 content for "
                . "'$w/c.bin': must contain only A-Z, a-z, 0-9, +, /, =<any>",
                '{"validationErrors":[{"field":"content","message":<s>,'
                . '"code":"INVALID_BASE64"}]}')],
        ['no content', POST => '/api/write', qq({"path":"$w/d.txt"}), 400,
            invalid('content', '<any>')],
        ['a number', POST => '/api/write', qq({"path":"$w/d","content":5}),
            400, invalid('content', '<any>')],
        ['no such encoding', POST => '/api/read', qq({"path":"$w/a.txt",)
            . '"encoding":"latin9"}', 400, invalid('encoding', '<any>')],
        ['an empty file', POST => '/api/write', qq({"path":"$w/e.txt",)
            . '"content":""}', 200, $written->("$w/e.txt")],
        ['...', POST => '/api/read', qq({"path":"$w/e.txt"}), 200,
            $read->("$w/e.txt", '', 'utf-8', 'text/plain', 0)],
        ['directories are made', POST => '/api/write',
            qq({"path":"$w/no/such/x.txt","content":"x"}), 200,
            $written->("$w/no/such/x.txt")],
        ['a relative path', POST => '/api/write',
            '{"path":"rel.txt","content":"x"}', 200, $written->('rel.txt')],
        ['...', POST => '/api/read', '{"path":"/workspace/rel.txt"}', 200,
            $read->('/workspace/rel.txt', 'x', 'utf-8', 'text/plain', 1)],
        ['relative to a session', POST => '/api/execute',
            qq({"command":"cd $w/no","sessionId":"sfile"}), 200,
            result('', '', 0, 'sfile')],
        ['...', POST => '/api/read', '{"path":"such/x.txt",'
            . '"sessionId":"sfile"}', 200, $read->('such/x.txt', 'x', 'utf-8',
                'text/plain', 1)],
        ['dots', POST => '/api/read', '{"path":"../../etc/hostname"}', 200,
            $read->('../../etc/hostname', 'c\n', 'utf-8', 'text/plain', 2)],
        ['quotes', POST => '/api/write', qq({"path":"$w/q'\\"\$x y.txt",)
            . q("content":"it's $HOME `id`\n"}), 200,
            $written->(qq($w/q'\\"\$x y.txt))],
        ['lone surrogates', POST => '/api/write', qq({"path":"$w/uni.txt",)
            . '"content":"h\u00e9\ud83d\ude00\u0000\ud800"}', 200,
            $written->("$w/uni.txt")],
        ['...', POST => '/api/read', qq({"path":"$w/uni.txt"}), 200,
            $read->("$w/uni.txt", "h\xc3\xa9\xf0\x9f\x98\x80" . '\u0000'
                . "\xef\xbf\xbd", 'utf-8', 'text/plain', 11)],
        ['write to a directory', POST => '/api/write', qq({"path":"$w",)
            . '"content":"x"}', 400, $file->(400, 'IS_DIRECTORY',
                "Failed to write file '$w': Is a directory", $w,
                'file.write')],
        ['missing', POST => '/api/read', qq({"path":"$w/zz"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "File not found: $w/zz", "$w/zz",
                'file.read', '')],
        ['a directory', POST => '/api/read', qq({"path":"$w"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "File not found: $w", $w,
                'file.read')],
        ['a device', POST => '/api/read', '{"path":"/dev/null"}', 404,
            $file->(404, 'FILE_NOT_FOUND', 'File not found: /dev/null<any>',
                '/dev/null', 'file.read')],
        ['a name that is too long', POST => '/api/read', { path =>
            "$w/" . 'n' x 300 }, 400, $file->(400, 'NAME_TOO_LONG', '<any>',
                "$w/" . 'n' x 300, 'file.read')],
        map({ my ($name, $body, $why) = @$_; [$name, POST => '/api/read',
            $body, 400, error_of(400, 'VALIDATION_FAILED', '<any>',
                '{"validationErrors":[{"field":"path","message":"'
                . "$why\"," . '"code":"INVALID_PATH"}]}')] }
            ['an empty path', '{"path":""}', 'Path must be a non-empty string'],
            ['no path', '{}', 'Path must be a non-empty string'],
            ['a NUL', '{"path":"/a\u0000b"}', 'Path contains null bytes'],
            ['too long', '{"path":"/' . 'a' x 4097 . '"}',
                'Path too long (max 4096 characters)']),
        ['no JSON', POST => '/api/read', '{', 400, error_of(400,
            'VALIDATION_FAILED', '<any>', '{<any>}')],
    );

    # Bytes that name no character, in an error's message.
    call(POST => '/api/execute', { command =>
        qq(cd $w; mkdir -p "\$(printf 'bad\\377')/x"; cd bad*) ,
        sessionId => 'bad' });
    row_ok(['a session whose directory is no text', POST => '/api/read',
        '{"path":"zz","sessionId":"bad"}', 404, $file->(404, 'FILE_NOT_FOUND',
            'File not found: zz', 'zz', 'file.read', '')]);
    for my $path ('/api/process/%ff', '/api/process/%ff/logs') {
        row_ok(["bytes in $path", GET => $path, undef, 404, error_of(404,
            'PROCESS_NOT_FOUND', "Process \xef\xbf\xbd not found",
            qq({"processId":"\xef\xbf\xbd"}))]);
    }
    for my $length (190 .. 202) {
        my $r = call(POST => '/api/execute', { env => { 'A-B' => 'x' },
            command => ('x' x $length) . "\x{e9}\x{1f600}" x 9 });
        my $ok = $r->{status} == 500 && $r->{json}
            && $r->{json}{code} eq 'COMMAND_EXECUTION_ERROR';

        ok($ok, "a command quoted up to a character's middle, $length")
            or diag($r->{status}, ' ', $r->{body});
    }
    is(call(POST => '/api/execute?session=%ff', '{"command":"true"}')
        ->{status}, 400, 'a session whose name is no text');

    row_ok(['some files', POST => '/api/execute', { command => "cd $w; "
        . q(printf '\211PNG\r\n\032\n\0\0\0\rIHDR' > p.png; )
        . q(echo '{}' > j.json; echo 'print(1)' > x.py; )
        . q(echo '<html></html>' > h.html; echo 'a,b' > c.csv; )
        . q(printf 'bad\377utf8 text\n' > l1.txt; : > .hid; ln -s a.txt lnk; )
        . 'ln -s gone dangling; mkfifo ff; mkdir d1 d1/.h; : > d1/.h/in; '
        . 'cd /workspace' }, 200, result('', '', 0)]);
    rows_ok(
        map({ my ($name, @want) = @$_; ["type of $name", POST => '/api/read',
            { path => "$w/$name" }, 200, $read->("$w/$name", @want)] }
            ['p.png', 'iVBORw0KGgoAAAANSUhEUg==', 'base64', 'image/png', 16],
            ['j.json', '{}\n', 'utf-8', 'application/json', 3],
            ['x.py', 'print(1)\n', 'utf-8', 'text/<any>', 9],
            ['h.html', '<html></html>\n', 'utf-8', 'text/html', 14],
            ['c.csv', 'a,b\n', 'utf-8', 'text/csv', 4],
            ['l1.txt', "bad\xef\xbf\xbdutf8 text" . '\n', 'utf-8',
                'text/plain', 14]),
        map({ my ($name, $is) = @$_; ["exists: $name", POST => '/api/exists',
            { path => "$w/$name" }, 200, qq({"success":true,"path":"$w/$name",)
            . qq("exists":$is,"timestamp":<ts>})] }
            ['a.txt', 'true'], ['zz', 'false'], ['d1', 'true'],
            ['lnk', 'true'], ['dangling', 'false']),
        ['mkdir', POST => '/api/mkdir', qq({"path":"$w/m"}), 200,
            qq({"success":true,"path":"$w/m","recursive":false,)
            . '"timestamp":<ts>}'],
        ['a path of them', POST => '/api/mkdir', qq({"path":"$w/m2/x/y",)
            . '"recursive":true}', 200, qq({"success":true,"path":)
            . qq("$w/m2/x/y","recursive":true,"timestamp":<ts>})],
        ['... again', POST => '/api/mkdir', qq({"path":"$w/m2/x/y",)
            . '"recursive":true}', 200, '{"success":true,<any>}'],
        map({ my ($name, $path) = @$_; [$name, POST => '/api/mkdir',
            { path => "$w/$path" }, 500, error_of(500, 'FILESYSTEM_ERROR',
                'mkdir operation failed with exit code 1', qq({"path":)
                . qq("$w/$path",<any>"exitCode":1,"stderr":<s>})
                =~ s/<any>/"operation":"directory.create",<any>/r)] }
            ['it exists', 'm'], ['no parent', 'm3/x/y'],
            ['it is a file', 'a.txt']),
        ['list', POST => '/api/list-files', qq({"path":"$w/m2"}), 200,
            qq({"success":true,"path":"$w/m2","files":[{"name":"x",)
            . qq("absolutePath":"$w/m2/x","relativePath":"x",)
            . '"type":"directory","size":<n>,"modifiedAt":<s>,'
            . '"mode":"rwxr-xr-x","permissions":{"readable":true,'
            . '"writable":true,"executable":true}}],"count":1,'
            . '"timestamp":<ts>}'],
        ['an empty one', POST => '/api/list-files', qq({"path":"$w/m"}), 200,
            qq({"success":true,"path":"$w/m","files":[],"count":0,)
            . '"timestamp":<ts>}'],
        ['a missing one', POST => '/api/list-files', qq({"path":"$w/zz"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "Directory not found: $w/zz",
                "$w/zz", 'directory.list')],
        ['a file', POST => '/api/list-files', qq({"path":"$w/a.txt"}), 400,
            $file->(400, 'NOT_DIRECTORY', "Path is not a directory: $w/a.txt",
                "$w/a.txt", 'directory.list')],
        ['rename', POST => '/api/rename', qq({"oldPath":"$w/a.txt",)
            . qq("newPath":"$w/a2.txt"}), 200, qq({"success":true,"path":)
            . qq("$w/a.txt","newPath":"$w/a2.txt","timestamp":<ts>})],
        ['move', POST => '/api/move', qq({"sourcePath":"$w/a2.txt",)
            . qq("destinationPath":"$w/d1/a3.txt"}), 200,
            qq({"success":true,"path":"$w/a2.txt","newPath":"$w/d1/a3.txt",)
            . '"timestamp":<ts>}'],
        ['into a directory', POST => '/api/move',
            qq({"sourcePath":"$w/d1/a3.txt","destinationPath":"$w/m"}), 200,
            '{"success":true,<any>}'],
        ['... is where it is', POST => '/api/exists',
            qq({"path":"$w/m/a3.txt"}), 200, '{<any>"exists":true,<any>}'],
        ['rename: missing', POST => '/api/rename', qq({"oldPath":"$w/zz",)
            . qq("newPath":"$w/y"}), 404, $file->(404, 'FILE_NOT_FOUND',
                "Source file not found: $w/zz", "$w/zz", 'file.rename', '')],
        ['move: missing', POST => '/api/move', qq({"sourcePath":"$w/zz",)
            . qq("destinationPath":"$w/y"}), 404, $file->(404,
                'FILE_NOT_FOUND', "Source file not found: $w/zz", "$w/zz",
                'file.move', '')],
        ['move: no parent', POST => '/api/move', qq({"sourcePath":)
            . qq("$w/e.txt","destinationPath":"$w/nope/e.txt"}), 500,
            error_of(500, 'FILESYSTEM_ERROR', 'Move operation failed with '
                . 'exit code 1', qq({"path":"$w/e.txt","operation":)
                . qq("file.move","sourcePath":"$w/e.txt","destinationPath":)
                . qq("$w/nope/e.txt","exitCode":1,"stderr":<s>}))],
        ['delete', POST => '/api/delete', qq({"path":"$w/e.txt"}), 200,
            $written->("$w/e.txt")],
        ['... again', POST => '/api/delete', qq({"path":"$w/e.txt"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "File not found: $w/e.txt",
                "$w/e.txt", 'file.delete')],
        map({ ["delete $_", POST => '/api/delete', qq({"path":"$_"}), 400,
            $file->(400, 'IS_DIRECTORY', 'Cannot delete directory with '
                . "deleteFile() at '$_'. Use exec('rm -rf <path>') instead."
                =~ s/<path>/<any>/r, $_, 'file.delete')] } "$w/d1", '/'),
        ['delete nothing', POST => '/api/delete', '{"path":""}', 400,
            invalid('path', 'Path must be a non-empty string')],
        ['read as a stream', POST => '/api/read/stream',
            qq({"path":"$w/h.html"}), 200, sse('{"type":"metadata","mimeType":'
            . '"text/html","size":14,"isBinary":false,"encoding":"utf-8"}',
            '{"type":"chunk","data":"<any>html></html>\n"}',
            '{"type":"complete","bytesRead":14}')],
        ['bytes', POST => '/api/read/stream', qq({"path":"$w/b.bin"}), 200,
            sse('{"type":"metadata","mimeType":"application/octet-stream",'
            . '"size":5,"isBinary":true,"encoding":"base64"}',
            '{"type":"chunk","data":"AAEC//4="}',
            '{"type":"complete","bytesRead":5}')],
        map({ ["no file: $_", POST => '/api/read/stream', qq({"path":"$_"}),
            200, sse(qq({"type":"error","error":"File not found: $_"}))] }
            "$w/zz", $w),
    );

    my $names = sub { join ' ', sort map { $_->{relativePath} } @{ call(
        POST => '/api/list-files', { path => "$w/$_[0]", options => $_[1] })
        ->{json}{files} } };
    is($names->('d1', {}), '', 'hidden ones are not listed');
    is($names->('d1', { includeHidden => 1 == 1 ? JSON::PP::true() : 0 }),
        '.h', 'but when asked for');
    is($names->('m2', { recursive => JSON::PP::true() }), 'x x/y',
        'recursively');

    my %type = map { $_->{name} => $_->{type} } @{ call(POST =>
        '/api/list-files', { path => $w })->{json}{files} };
    is(join(' ', map { "$_=" . ($type{$_} // '?') } qw(d1 lnk ff p.png)),
        'd1=directory lnk=symlink ff=other p.png=file', 'types');

    # Text in pieces of bytes: characters stay whole.
    call(POST => '/api/execute', { command =>
        "yes \$'\\303\\251\\360\\237\\230\\200' | head -c 300000 "
        . "> $w/wide.txt" });
    my $r = call(POST => '/api/read/stream', { path => "$w/wide.txt" });
    my @frames = map { json_decode($_) } $r->{body} =~ /^data: (.*)$/mg;
    my $text = join '', map { $_->{data} // '' } @frames;
    utf8::encode($text);
    is($frames[0]{size}, 300000, 'a long text: its size');
    is($frames[-1]{bytesRead}, 300000, '... all of it was read');
    cmp_ok(scalar @frames, '>', 5, '... in pieces');
    is(substr($text, 0, 299997), substr("\xc3\xa9\xf0\x9f\x98\x80\n" x 42858,
        0, 299997), '... with no character cut');
};


# ---- the bridge

subtest 'bridge: exec' => sub {
    my $out = sub { [stdout => encode_base64($_[0], '')] };
    my $err = sub { [stderr => encode_base64($_[0], '')] };
    my $exit = sub { [exit => qq({"exit_code":$_[0]})] };
    my $refused = sub { qq({"error":"$_[1]","code":"$_[0]"}) };
    my $h = { 'Session-Id' => 'bs.1' };

    rows_ok(
        ['bytes', POST => '/exec', '{"argv":["echo","hi"]}', 200,
            bridge($out->("hi\n"), $exit->(0))],
        ['no end of line is added', POST => '/exec',
            '{"argv":["printf","abc"]}', 200, bridge($out->('abc'),
            $exit->(0))],
        ['raw', POST => '/exec', '{"argv":["printf","\\\\377\\\\000"]}', 200,
            bridge($out->("\xff\0"), $exit->(0))],
        ['errors and a code', POST => '/exec',
            '{"argv":["sh","-lc","echo e >&2; exit 7"]}', 200,
            bridge($err->("e\n"), $exit->(7))],
        ['words stay words', POST => '/exec', '{"argv":["printf","<%s>",'
            . q("a b","","$HOME","`id`","it's","*","a\\\\b","\n\t","\u00e9"]}),
            200, bridge($out->("<a b><><\$HOME><`id`><it's><*><a\\b><\n\t>"
            . "<\xc3\xa9>"), $exit->(0))],
        ['no such program', POST => '/exec', '{"argv":["nosuchcmd_zz"]}', 200,
            "event: stderr\ndata: <any>\n\n" . bridge($exit->(127))],
        ['a limit', POST => '/exec', '{"argv":["sleep","20"],'
            . '"timeout_ms":200}', 200, bridge($err->(
            "Command timed out after 200ms\n"), $exit->(124))],
        ['... in a session as well', POST => '/exec', '{"argv":["sleep","20"],'
            . '"timeout_ms":200}', 200, bridge($err->(
            "Command timed out after 200ms\n"), $exit->(124)), headers => $h],
        ['cwd', POST => '/exec', '{"argv":["pwd"],"cwd":"/workspace/f"}', 200,
            bridge($out->("/workspace/f\n"), $exit->(0))],
        ['a relative one', POST => '/exec', '{"argv":["pwd"],"cwd":"f/../f"}',
            200, bridge($out->("/workspace/f\n"), $exit->(0))],
        ['outside', POST => '/exec', '{"argv":["pwd"],"cwd":"/workspace/../'
            . 'etc"}', 403, $refused->('invalid_request',
            'cwd must resolve to a location within /workspace')],
        ['a session keeps its state', POST => '/exec',
            '{"argv":["cd","/workspace/f"]}', 200, bridge($exit->(0)),
            headers => $h],
        ['...', POST => '/exec', '{"argv":["pwd"]}', 200,
            bridge($out->("/workspace/f\n"), $exit->(0)), headers => $h],
        ['a shell that ends', POST => '/exec', '{"argv":["exit","3"]}', 200,
            '<any>event: <any>', headers => $h],
        map({ my ($name, $body, $more) = @$_; [$name, POST => '/exec', $body,
            400, '{"error":<s>,"code":"invalid_request"}', %{ $more || {} }] }
            ['no argv', '{}'], ['an empty one', '{"argv":[]}'],
            ['no strings', '{"argv":["a",1]}'], ['no list', '{"argv":"ls"}'],
            ['a NUL', '{"argv":["a\u0000"]}'],
            ['no JSON', '{'], ['no object', '[]'], ['no body', ''],
            ['a limit that is none', '{"argv":["a"],"timeout_ms":"x"}'],
            map { ["session id '$_'", '{"argv":["true"]}', { headers => {
                'Session-Id' => $_ } }] } 'a b', 'a/b', 'a..b', 'x' x 129),
    );

    my $r = call(POST => '/exec', { argv => ['true'] });
    is($r->{headers}{'content-type'}, 'text/event-stream', 'its type');
    is($r->{headers}{'cache-control'}, 'no-cache', 'not to be kept');
    $r = call(POST => '/exec', { argv => ['sh', '-c',
        'printf "\303"; sleep 0.4; printf "\251"'] });
    is($r->{body}, bridge($out->("\xc3\xa9"), $exit->(0)),
        'a character is not cut between two events');
};


subtest 'bridge: files, sessions and the rest' => sub {
    my $octets = join '', map { chr } 0 .. 255;

    rows_ok(
        ['put', PUT => '/file/workspace/b/x%20y.bin', $octets, 200,
            '{"ok":true}'],
        ['get', GET => '/file/workspace/b/x%20y.bin', undef, 200, $octets],
        ['an empty file', PUT => '/file/workspace/b/empty', '', 200,
            '{"ok":true}'],
        ['...', GET => '/file/workspace/b/empty', undef, 200, ''],
        ['a name of %, ? and #', PUT => '/file/workspace/b/%25%3F%23', 'x',
            200, '{"ok":true}'],
        ['... is that name', POST => '/api/exists',
            '{"path":"/workspace/b/%?#"}', 200, '{<any>"exists":true,<any>}'],
        ['missing', GET => '/file/workspace/b/zz', undef, 404,
            '{"error":"File not found: /workspace/b/zz",'
            . '"code":"workspace_read_not_found"}'],
        ['bytes that are no text', GET => '/file/workspace/b/%ff%fe', undef,
            404, qq({"error":"File not found: /workspace/b/\xef\xbf\xbd)
            . qq(\xef\xbf\xbd","code":"workspace_read_not_found"})],
        ['a directory', GET => '/file/workspace/b', undef, 502,
            '{"error":"read failed: <any>","code":"exec_transport_error"}'],
        ['put to a directory', PUT => '/file/workspace/b', 'x', 502,
            '{"error":<s>,"code":"workspace_archive_write_error"}'],
        map({ ["outside: $_->[0] $_->[1]", @$_, $_->[0] eq 'PUT' ? 'x'
            : undef, 403, '{"error":<s>,"code":"invalid_request"}'] }
            [GET => '/file/etc/passwd'],
            [GET => '/file/workspace/../etc/passwd'],
            [GET => '/file/workspace/..%2fetc%2fpasswd'],
            [PUT => '/file/etc/x'], [PUT => '/file/workspacex/y']),
        ['no path', GET => '/file/', undef, 400,
            '{"error":"file path must not be empty","code":"invalid_request"}'],
        ['session', POST => '/session', '{"id":"w1","cwd":"/workspace/b",'
            . '"env":{"K":"v"}}', 200, '{"id":"w1"}'],
        ['... works', POST => '/exec', '{"argv":["sh","-c",'
            . '"echo `pwd` $K"]}', 200,
            bridge([stdout => encode_base64("/workspace/b v\n", '')],
            [exit => '{"exit_code":0}']), headers => { 'Session-Id' => 'w1' }],
        ['... is there', POST => '/session', '{"id":"w1"}', 502,
            '{"error":<s>,"code":"session_error"}'],
        ['without a body', POST => '/session', undef, 200, '{"id":<id>}'],
        ['with a bad one', POST => '/session', '{', 200, '{"id":<id>}'],
        ['delete', DELETE => '/session/w1', undef, 200,
            '{"success":true,"sessionId":"w1","timestamp":<ts>}'],
        ['... twice', DELETE => '/session/w1', undef, 502,
            '{"error":<s>,"code":"session_error"}'],
        ['running', GET => '/running', undef, 200, '{"running":true}'],
        ['a route that is none', GET => '/nope', undef, 404,
            '{"error":<s>,"code":"not_found"}'],
        map({ ["not built: $_->[1]", @$_, '{}', 501,
            '{"error":<s>,"code":"not_implemented"}'] }
            [POST => '/persist'], [POST => '/hydrate'], [POST => '/mount'],
            [POST => '/unmount'], [POST => '/tunnel/8000'],
            [GET => '/pty']),
    );

    my $r = call(GET => '/file/workspace/b/x%20y.bin');
    is($r->{headers}{'content-type'}, 'application/octet-stream', 'its type');
    is($r->{headers}{'content-length'}, 256, 'its length');

    for my $id ('Abc', 'a.b', '-a', 'a-', 'x' x 129, 'a' x 41 . '9') {
        $r = $s->api(POST => "/v1/sandbox/$id/exec",
            json => { argv => ['true'] });
        is("$r->{status} $r->{body}", '400 {"error":"Invalid sandbox ID format'
            . '","code":"invalid_request"}', "no id: " . substr $id, 0, 20);
    }
    $r = $s->api(GET => '/v1/sandbox/c/running', no_key => 1);
    is("$r->{status} $r->{body}",
        '401 {"error":"Unauthorized","code":"unauthorized"}', 'no key');
    is($s->api(GET => '/health', no_key => 1)->{body}, '{"ok":true}',
        'health is for everybody');
    is($s->api(GET => '/v1/openapi.json')->{json}{openapi} =~ /^3\.1/, 1,
        'the description');
};


# ---- a client as it exists: creates, prepares, runs with `env`, reads and
# writes, ends.

{
    package BridgeClient;

    sub new { my ($class, $s) = @_; return bless { s => $s }, $class }

    sub request {
        my ($self, $method, $path, %o) = @_;

        return $self->{s}->api($method => "/v1/sandbox/$self->{id}$path",
            timeout => 60, %o);
    }

    # Reads events line by line, comments left out, and stops at the last one.
    sub exec {
        my ($self, $argv, %o) = @_;
        my @env = map { "$_=$self->{env}{$_}" } sort keys %{ $self->{env} };
        my @argv = (@env ? ('env', @env) : (), @$argv);
        my %result = (stdout => '', stderr => '');
        my ($buffer, $event, @data) = ('');

        my $line = sub {
            my ($text) = @_;

            if ($text =~ /^(event|data): ?(.*)$/s) {
                $1 eq 'event' ? ($event = $2) : push @data, $2;
                return 1;
            }
            return 1 if $text ne '' || !defined $event;

            my $data = join "\n", splice @data;
            my $name = $event;

            undef $event;
            if ($name eq 'exit') {
                $result{exit_code} = main::json_decode($data)->{exit_code};
                return 0;
            }
            if ($name eq 'error') {
                $result{error} = main::json_decode($data)->{error};
                return 0;
            }
            $result{$name} .= MIME::Base64::decode_base64($data);
            return 1;
        };

        my $r = $self->request(POST => '/exec', json => { argv => \@argv,
            timeout_ms => $o{timeout_ms} // 30000 }, on_data => sub {
                $buffer .= $_[0];
                while ($buffer =~ s/^([^\n]*)\n//) {
                    return 0 unless $line->($1);
                }
                return 1;
            });

        return { %result, status => $r->{status} };
    }

    sub write {
        my ($self, $path, $bytes) = @_;

        return $self->request(PUT => "/file/$path", body => $bytes,
            headers => { 'Content-Type' => 'application/octet-stream' });
    }

    sub read { my ($self, $path) = @_; return $self->request(GET => "/file/$path") }
}

subtest 'a client of the bridge' => sub {
    my $client = BridgeClient->new($s);
    my $r = $s->api(POST => '/v1/sandbox');

    is($r->{status}, 200, 'created');
    like($r->{json}{id}, qr/^[a-z2-7]{1,128}$/, 'with an id of its form');
    $client->{id} = $r->{json}{id};
    is($client->request(GET => '/running')->{body}, '{"running":false}',
        'not running yet');

    my $e = $client->exec(['mkdir', '-p', '--', '/workspace']);
    is("$e->{status} $e->{exit_code} $e->{stdout}$e->{stderr}", '200 0 ',
        'the workspace is prepared');
    is($client->request(GET => '/running')->{body}, '{"running":true}',
        'it runs now');

    $client->{env} = { API_TOKEN => 's3 cr3t', LANG => 'C', Q => q("'$x) };
    $e = $client->exec(['sh', '-lc', 'echo "$API_TOKEN|$LANG|$Q"; exit 4']);
    is($e->{stdout}, qq(s3 cr3t|C|"'\$x\n), 'its environment, through env');
    is($e->{exit_code}, 4, 'the exit code');
    $e = $client->exec(['nosuchcmd_zz']);
    is($e->{exit_code}, 127, 'a program that is none');
    $e = $client->exec(['sh', '-c', 'echo early; sleep 30'],
        timeout_ms => 500);
    is($e->{exit_code}, 124, 'one that takes too long');
    is($e->{stdout}, "early\n", '... with what it had said');

    my $tar = join '', map { pack 'N', $_ * 2654435761 % 2 ** 32 }
        1 .. 500_000;
    is($client->write('workspace/dir/a%20b.tar', $tar)->{status}, 200,
        'two megabytes are written');
    $r = $client->read('workspace/dir/a%20b.tar');
    is(sha256_hex($r->{body}), sha256_hex($tar), 'and read');
    is($client->write('workspace/data.txt', 'data: {"x":1}')->{status}, 200,
        'what looks like an event');
    is($client->read('workspace/data.txt')->{body}, 'data: {"x":1}',
        'is no event');
    $r = $client->read('workspace/none');
    is($r->{status}, 404, 'a file that is none');
    ok(length $r->{json}{error}, '... says so');
    $r = $client->read('etc/passwd');
    is($r->{status}, 403, 'one outside');
    ok(length $r->{json}{error}, '... says so');
    is($client->write('etc/x', 'x')->{status}, 403, 'nor to write');
    $client->exec(['ln', '-s', '/etc', '/workspace/out']);
    is($client->read('workspace/out/passwd')->{status}, 403,
        'nor through a link');

    $r = $s->api(DELETE => "/v1/sandbox/$client->{id}");
    is("$r->{status} $r->{body}", '204 ', 'deleted');
    is($client->request(GET => '/running')->{body}, '{"running":false}',
        'gone');
    is($s->api(DELETE => "/v1/sandbox/$client->{id}")->{status}, 204,
        'deleted once more');
};


subtest 'much, many and slow' => sub {
    my $yes = 'yes 0123456789abcde | head -c 10000000';
    my ($n, $tail) = (0, '');
    my $count = sub {
        $n += length $_[0];
        $tail = substr $tail . $_[0], -300;
        return 1;
    };

    for my $case (['/api/execute', { command => $yes }, 10_624_000],
        ['/api/execute/stream', { command => $yes }, 10_624_000],
        ['/exec', { argv => ['sh', '-c', $yes] }, 13_333_334])
    {
        my ($path, $body, $least) = @$case;
        my $begun = time();

        ($n, $tail) = (0, '');
        my $r = call(POST => $path, $body, on_data => $count);
        my $took = time() - $begun;

        ok($r->{complete} && $n >= $least, "10 MB through $path");
        like($tail, qr/"exit_?[cC]ode":0|"sessionId"|"command":"yes/,
            '... up to its end');
        cmp_ok($took, '<', 15, sprintf '... in %.2f s', $took);
    }

    # A reader that doesn't read holds up nobody, and nothing grows.
    my $size = 40_000_000;
    my $slow = begin('/api/execute/stream', { sessionId => 'slow',
        command => "head -c $size /dev/zero | tr '\\0' y; echo done >&2" });

    # Sixteen at once, in one session, each for itself.
    my $begun = time();
    my @sock = map { begin('/api/execute/stream', { command =>
        "sleep 2; echo only $_" }) } 1 .. 16;
    my @got = map { join '|', joined(http_read($_, timeout => 60)->{body}) }
        @sock;
    my $took = time() - $begun;

    is_deeply(\@got, [map { "start|stdout:only $_\n|complete=0" } 1 .. 16],
        'sixteen streams, each with its own');
    cmp_ok($took, '<', 24, sprintf 'at the same time (%.1f s)', $took);

    is(call(POST => '/api/execute', { command => 'echo free',
        sessionId => 'slow' })->{json}{stdout}, 'free',
        'the session of the slow reader is free');

    my ($rss) = slurp('/proc/' . $s->sandbox_pid('c') . '/status')
        =~ /^RssAnon:\s+(\d+)/m;
    cmp_ok($rss, '<', is_san() ? 400_000 : 24_000,
        "the agent holds none of it ($rss KiB)");

    $n = 0;
    my ($type, $last) = (0, '');
    my $r = http_read($slow, timeout => 120, on_data => sub {
        $type += $_[0] =~ tr/y//;
        $last = substr $last . $_[0], -400;
        1;
    });
    cmp_ok($type, '>=', $size, 'and in the end it gets it all');
    like($last, qr/"type":"complete","exitCode":0/, '... to the last frame');
};


subtest 'idle streams' => sub {
    my $r = http_read($idle_api, timeout => 60);

    like($r->{body}, qr/^: ping$/m, 'a comment keeps it open');
    is(join('|', joined($r->{body} =~ s/^: .*\n\n//mgr)),
        "start|stdout:x\n|complete=0", 'and nothing else is changed by it');

    $r = http_read($idle_bridge, timeout => 60);
    like($r->{body}, qr/^: ping\n\n/, 'the same on the bridge');
    is($r->{body} =~ s/^: .*\n\n//mgr, bridge([stdout =>
        encode_base64("x\n", '')], [exit => '{"exit_code":0}']),
        'with the same events');

    row_ok(['all are killed', DELETE => '/api/process/kill-all', undef, 200,
        '{"success":true,"cleanedCount":<n>,"timestamp":<ts>}']);
    is_deeply(call(GET => '/api/process/list?status=running')
        ->{json}{processes}, [], 'none is running');
};

$s->stop;
done_testing();
