#!/usr/bin/perl

# What clients of the bridge API are used to: each situation with the bytes of
# its answer, through nginx, and one such client as it exists.  Also both APIs
# with much output, many streams, slow readers and long silences.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Contract;
use Digest::SHA qw(sha256_hex);
use Harness;
use MIME::Base64;
use Test::More;
use Time::HiRes qw(time);

alarm_after(240);

my $s = Contract->start;

# ---- opened now, looked at in the end: two streams on which nothing happens

call(POST => '/api/mkdir', { path => '/workspace/f' });

my $idle_api = begin('/api/execute/stream', { command => 'sleep 17; echo x',
    sessionId => 'idle' });
my $idle_bridge = begin('/exec', { argv => ['sh', '-c', 'sleep 17; echo x'] });


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
        ['hydrate of nothing', POST => '/hydrate', '', 400,
            '{"error":"Empty tar payload","code":"invalid_request"}'],
        ['of what is no archive', POST => '/hydrate', 'garbage', 400,
            '{"error":<s>,"code":"invalid_request"}'],
        ['of an empty archive', POST => '/hydrate', "\0" x 1024, 200,
            '{"ok":true}'],
        ['persist without dots', POST => '/persist?excludes=../x', undef, 400,
            '{"error":"exclude paths must not contain \\"..\\"",'
            . '"code":"invalid_request"}'],
        map({ ["not built: $_->[1]", @$_, '{}', 501,
            '{"error":<s>,"code":"not_implemented"}'] }
            [POST => '/mount'],
            [POST => '/unmount'], [POST => '/tunnel/8000']),
        ['pty without an upgrade', GET => '/pty', undef, 400,
            '{"error":"WebSocket upgrade required","code":"invalid_request"}'],
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

    sub read {
        my ($self, $path) = @_;

        return $self->request(GET => "/file/$path");
    }
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
        timeout_ms => 1500);
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
        cmp_ok($took, '<', 60, sprintf '... in %.2f s', $took);
    }

    # A reader that doesn't read holds up nobody, and nothing grows.
    my $size = 40_000_000;
    my $slow = begin('/api/execute/stream', { sessionId => 'slow',
        command => "head -c $size /dev/zero | tr '\\0' y; echo done >&2" });

    # Sixteen at once, in one session, each for itself.
    my $begun = time();
    my @sock = map { begin('/api/execute/stream', { command =>
        "sleep 4; echo only $_" }) } 1 .. 16;
    my @got = map { join '|', joined(http_read($_, timeout => 60)->{body}) }
        @sock;
    my $took = time() - $begun;

    is_deeply(\@got, [map { "start|stdout:only $_\n|complete=0" } 1 .. 16],
        'sixteen streams, each with its own');
    cmp_ok($took, '<', 48, sprintf 'at the same time (%.1f s)', $took);

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
};

$s->stop;
done_testing();
