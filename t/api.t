#!/usr/bin/perl

# The control API through the whole system: what each route takes, answers and
# refuses, and that only what is inside a sandbox makes or starts one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep);

alarm_after(240);

my $s = System->start;
my $id_form = qr/^[a-z2-7]{26}$/;

sub states {
    my %state = map { $_->{id} => $_->{state} }
        @{ $s->api(GET => '/v1/sandbox')->{json}{sandboxes} || [] };

    return \%state;
}

# An error has this form and these headers, whoever gives it.
sub is_error {
    my ($r, $status, $code, $what) = @_;
    my $ok = $r->{status} == $status && ($r->{json}{code} || '') eq $code
        && length($r->{json}{error} || '')
        && $r->{headers}{'content-type'} eq 'application/json'
        && ($r->{headers}{'content-length'} || 0) == length $r->{body}
        && ($r->{headers}{'cache-control'} || '') eq 'no-store'
        && ($status != 503 || ($r->{headers}{'retry-after'} || '') =~ /^\d+$/);

    ok($ok, $what) or diag("$r->{status} ", $r->{head} // '', "\n",
        $r->{body} // '');
}

# ---- keys

my $r = $s->api(GET => '/v1/sandbox', no_key => 1);
is_error($r, 401, 'unauthorized', 'no key');
is($r->{body}, '{"error":"Unauthorized","code":"unauthorized"}',
    'in the words that clients know');
is($r->{headers}{'www-authenticate'}, 'Bearer', 'and how to do better');

for my $case (["bearer $s->{key}", 200, 'the scheme has no case'],
    ["Bearer   $s->{key} ", 200, 'blanks around it do not matter'],
    ["Bearer $s->{key}x", 401, 'one character more'],
    ['Bearer ' . substr($s->{key}, 0, -1), 401, 'one less'],
    ["Bearer \U$s->{key}", 401, 'the key has case'],
    ["Bearer$s->{key}", 401, 'no blank'], ["Basic $s->{key}", 401, 'Basic'],
    ['Bearer ' . 'x' x 4000, 401, 'a long one'],
    ["Bearer $s->{key},Bearer $s->{key}", 401, 'a list'])
{
    is($s->api(GET => '/v1/sandbox', no_key => 1,
        headers => { Authorization => $case->[0] })->{status}, $case->[1],
        "key: $case->[2]");
}

for my $path ('/v1/sandbox/none', '/v1/nope', '/v1', '/v1/sandbox/BAD/exec',
    '/v1/openapi.json', '/v1/sandbox/a/mount', '/v1/sandbox/a/exec')
{
    is($s->api(POST => $path, no_key => 1)->{status}, 401,
        "without a key $path is 401");
}

is_error($s->api(GET => '/favicon.ico', no_key => 1), 404, 'not_found',
    'outside /v1 there is nothing to guard');

# ---- create

$r = $s->api(POST => '/v1/sandbox');
is($r->{status}, 200, 'created without a body');
like($r->{json}{id}, $id_form, 'with an id that clients take');
is($r->{headers}{'content-type'}, 'application/json', 'in JSON');
is($s->api(POST => '/v1/sandbox', json => {})->{status}, 200,
    'and with an empty object');

$r = $s->api(POST => '/v1/sandbox', json => { id => 'one',
    env => { A => 'secret' }, labels => { team => 'x' } });
is($r->{status}, 200, 'created by name');
ok($r->{json}{created}, 'it is new');
is($r->{json}{state}, 'created', 'and not started');
is_deeply($r->{json}{env}, ['A'], 'values of env are not shown');

$r = $s->api(POST => '/v1/sandbox', json => { id => 'one',
    env => { A => 'secret' }, labels => { team => 'x' } });
is($r->{status}, 200, 'the same again');
ok(!$r->{json}{created}, 'is the one that is there');
is($s->api(POST => '/v1/sandbox', json => { id => 'one' })->{status}, 409,
    'with other options it is a conflict');

$r = $s->api(POST => '/v1/sandbox', json => { id => 'two', colour => 'red' });
is($r->{status}, 200, 'an unknown member is ignored');
like("@{ $r->{json}{warnings} || [] }", qr/colour/, 'and named');

$r = $s->api(POST => '/v1/sandbox', json => { resources => { rum => 1 } });
is_error($r, 400, 'invalid_request', 'but not in resources');
like($r->{json}{error}, qr/rum/, 'named there, too');

is($s->api(POST => '/v1/sandbox', json => { id => 'MixedCase',
    normalizeId => JSON::PP::true() })->{json}{id}, 'mixedcase',
    'normalizeId folds');

for my $case (['{"id":', 'cut'], ['[]', 'an array'], ['1', 'a number'],
    ['{"id":"a1","id":"a2"}', 'a member twice'],
    ['{"env":{"A":"1","A":"2"}}', 'a member twice further in'],
    ["{\"id\":\"\xff\"}", 'no UTF-8'], ['{} {}', 'more than one'],
    ['{"id":["a"]}', 'a list as id'])
{
    is_error($s->api(POST => '/v1/sandbox', body => $case->[0]), 400,
        'invalid_request', "create refuses $case->[1]");
}

is_error($s->api(POST => '/v1/sandbox', json => { id => $_ }), 400,
    'invalid_id', "no id: $_") for 'tabcde-x', 'a.b', '-', 'Upper';

# ---- bodies over the limit, whatever client_max_body_size says

my $fits = '{"labels":{"a":"' . 'x' x 100 . '"}' . ' ' x (65536 - 119) . '}';
is(length $fits, 65536, '(the largest body)');
is($s->api(POST => '/v1/sandbox', body => $fits)->{status}, 200,
    'a body of 64 KiB');

my $chunk = sub {
    return join('', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
        unpack '(a9000)*', $_[0]) . "0\r\n\r\n";
};

is($s->api(POST => '/v1/sandbox', body => $chunk->($fits),
    headers => { 'Transfer-Encoding' => 'chunked' })->{status}, 200,
    'in chunks');

$r = $s->api(POST => '/v1/sandbox', body => "$fits ");
is_error($r, 413, 'payload_too_large', 'one byte more');
is($r->{json}{limit}, 65536, 'with the limit');
is_error($s->api(POST => '/v1/sandbox', body => $chunk->("$fits "),
    headers => { 'Transfer-Encoding' => 'chunked' }), 413,
    'payload_too_large', 'in chunks');
is_error($s->api(POST => '/v1/sandbox', body => $chunk->('x' x 500000),
    headers => { 'Transfer-Encoding' => 'chunked' }), 413,
    'payload_too_large', 'much more in chunks');

# The body in pieces, slowly.
{
    my $sock = http_connect(port => $s->{port});

    http_send($sock, "POST /v1/sandbox HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $s->{key}\r\nContent-Length: 14\r\n"
        . "Connection: close\r\n\r\n");
    for (split //, '{"id":"slowl"}') {
        http_send($sock, $_);
        sleep 0.01;
    }
    is(http_read($sock)->{json}{id}, 'slowl', 'a body byte by byte');

    # One that never ends is gone with its connection.
    $sock = http_connect(port => $s->{port});
    http_send($sock, "POST /v1/sandbox HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $s->{key}\r\nContent-Length: 9\r\n\r\n{");
    close $sock;
}

# ---- several requests on one connection, errors among them

{
    my $sock = http_connect(port => $s->{port});
    my @got;

    for my $case ([GET => '/v1/nope'], [GET => '/v1/sandbox/one'],
        [POST => '/v1/sandbox', '{"id":7}'], [DELETE => '/v1/sandbox/none'],
        [GET => '/v1/sandbox/one/running'], [GET => '/health'])
    {
        my ($method, $path, $body) = @$case;
        my $res = $s->api($method => $path, socket => $sock, keepalive => 1,
            defined $body ? (body => $body) : ());

        push @got, $res->{status};
    }
    is("@got", '404 200 400 204 200 200', 'one connection serves them all');
}

# ---- records

$r = $s->api(GET => '/v1/sandbox/one');
is($r->{json}{id}, 'one', 'a record');
is($r->{json}{labels}{team}, 'x', 'with its labels');
is_error($s->api(GET => '/v1/sandbox/nobody'), 404, 'not_found',
    'a record that is none');
is($s->api(HEAD => '/v1/sandbox/one')->{status}, 200, 'HEAD');

my (@ids, $cursor);
do {
    my $res = $s->api(GET => '/v1/sandbox?limit=2'
        . (defined $cursor ? "&cursor=$cursor" : ''))->{json};

    push @ids, map { $_->{id} } @{ $res->{sandboxes} };
    $cursor = $res->{cursor};
    fail('pages end') if @ids > 100;
} while (defined $cursor && @ids <= 100);

is_deeply([sort @ids], [sort keys %{ states() }],
    'pages of two show what one page shows');

for my $limit ('0', '501', 'x', '-1', '') {
    $r = $s->api(GET => "/v1/sandbox?limit=$limit");
    is_error($r, 400, 'invalid_request', "limit=$limit");
    is($r->{json}{field}, 'limit', 'names it');
}

# ---- what must neither create nor start

for my $case ([GET => '/v1/sandbox/ghost'],
    [GET => '/v1/sandbox/ghost/running'],
    [GET => '/v1/sandbox/ghost/ports'], [DELETE => '/v1/sandbox/ghost'],
    [DELETE => '/v1/sandbox/ghost/ports/8000'],
    [POST => '/v1/sandbox/ghost/ports', '{"port":8000}'],
    [POST => '/v1/sandbox/ghost/nope'], [GET => '/v1/sandbox/ghost/api/nope'],
    [GET => '/v1/sandbox/ghost/exec'], [POST => '/v1/sandbox/ghost/mount'],
    [GET => '/v1/sandbox/ghost/file/etc/passwd'],
    [GET => '/v1/sandbox/one'], [GET => '/v1/sandbox/one/running'],
    [GET => '/v1/sandbox/one/ports'], [POST => '/v1/sandbox/one/nope'],
    [POST => '/v1/sandbox/one/ports', '{"port":8000}'])
{
    my ($method, $path, $body) = @$case;

    $s->api($method => $path, defined $body ? (body => $body) : ());
}

ok(!exists states()->{ghost}, 'none of that creates');
is(states()->{one}, 'created', 'nor starts');
is($s->api(GET => '/v1/sandbox/ghost/running')->{body}, '{"running":false}',
    'what was never seen does not run');
is_error($s->api(GET => '/v1/sandbox/tabcde-x/running'), 400,
    'invalid_request', 'reserved ids');
is($s->api(GET => '/v1/sandbox/Bad')->{json}{error},
    'Invalid sandbox ID format', 'malformed ids, in known words');

# ---- methods and routes that aren't

$r = $s->api(PATCH => '/v1/sandbox');
is_error($r, 405, 'method_not_allowed', 'a wrong method');
is($r->{headers}{allow}, 'GET, HEAD, POST', 'with the right ones');
is($s->api(PROPFIND => '/v1/sandbox/one/exec')->{headers}{allow}, 'POST',
    'for a method that nobody knows, too');
is_error($s->api(POST => '/v1/sandbox/one/mount'), 501, 'not_implemented',
    'a route that is not built');
is_error($s->api(GET => '/v1/sandbox/one/'), 404, 'not_found',
    'a slash at the end');
is_error($s->api(GET => '/v1/sandbox/one/file/'), 400, 'invalid_request',
    'an empty file path');
is_error($s->api(GET => '/v1/sandbox/one/file/x'), 403, 'invalid_request',
    'a file outside /workspace');

# ---- inside: the first operation creates and starts

$r = $s->api(PUT => '/v1/sandbox/lazy/file/workspace/d/%23%3F%25%20x',
    body => 'bytes');
is($r->{status}, 200, 'a file goes into a sandbox that was never seen')
    or diag($r->{body});
is(states()->{lazy}, 'running', 'that runs now');
is($s->api(GET => '/v1/sandbox/lazy/running')->{body}, '{"running":true}',
    'and says so');
is($s->exec('lazy', 'cat "/workspace/d/#?% x"')->{stdout}, 'bytes',
    'under the name that was meant');
is($s->api(GET => '/v1/sandbox/lazy/file/workspace/d/../d/%23%3f%25%20x')
    ->{body}, 'bytes', 'and comes back');
is($s->api(HEAD => '/v1/sandbox/lazy/file/workspace/d/%23%3f%25%20x')
    ->{headers}{'content-length'}, 5, 'HEAD of a file');
$r = $s->api(POST => '/v1/sandbox/lazy/exec',
    json => { argv => ['sh', '-c', 'echo out; echo err >&2; exit 4'] });
is($r->{headers}{'content-type'}, 'text/event-stream', 'exec streams');
like($r->{body}, qr/event: stdout\ndata: b3V0Cg==\n\n/, 'stdout');
like($r->{body}, qr/event: stderr\ndata: ZXJyCg==\n\n/, 'stderr');
like($r->{body}, qr/event: exit\ndata: \{"exit_code": ?4\}\n\n\z/, 'exit');

# What has to be there already makes nothing: a stream that is taken up again
# after its sandbox was destroyed, say.
for my $case ([GET => 'api/process/p/stream', 'PROCESS_NOT_FOUND'],
    [GET => 'api/process/p', 'PROCESS_NOT_FOUND'],
    [GET => 'process/p/logs', 'process_not_found'],
    [POST => 'api/process/p/wait', 'PROCESS_NOT_FOUND'],
    [DELETE => 'api/contexts/c', 'CONTEXT_NOT_FOUND'],
    [POST => 'contexts/c/code', 'context_not_found'],
    [DELETE => 'session/s', 'not_found'])
{
    my ($method, $path, $code) = @$case;

    $r = $s->api($method, "/v1/sandbox/ghost/$path",
        $method eq 'POST' ? (json => {}) : ());
    is("$r->{status} " . ($r->{json}{code} // ''), "404 $code",
        "in a sandbox that was never seen: $method $path");
}
ok(!exists states()->{ghost}, '... none of which makes one');
is($s->api(GET => '/v1/sandbox/lazy/api/process/p')->{json}{code},
    'PROCESS_NOT_FOUND', 'in one that is there the agent says the same');

$r = $s->api(POST => '/v1/sandbox/lazy/session', json => { id => 'work' });
is($r->{json}{id}, 'work', 'a session');
is($s->api(DELETE => '/v1/sandbox/lazy/session/work')->{status}, 200, 'ends');
is($s->api(GET => '/v1/sandbox/lazy/api/ping')->{json}{status}, 'healthy',
    'the container API');
unlike($s->exec('lazy', 'cat /proc/self/environ /proc/1/environ')->{stdout},
    qr/\Q$s->{key}\E/, 'the key is nowhere inside');

# What the API promises of the agent, the agent has.
my $paths = $s->api(GET => '/v1/openapi.json')->{json}{paths};
my @missing;

for my $path (grep { m{/(?:api|exec|session|file)(?:/|$)} } sort keys %$paths) {
    for my $method (sort keys %{ $paths->{$path} }) {
        (my $uri = $path) =~ s/\{id\}/lazy/;

        $uri =~ s/\{name\}/nosuch/;
        $uri =~ s/\{path\}/workspace\/promised/;
        my $res = $s->api(uc $method => $uri,
            $method =~ /^(?:post|put)$/ ? (body => '{}') : ());

        push @missing, "$method $path" if $res->{status} == 405
            || $res->{status} == 501 || $res->{body} =~ /endpoint was not/;
    }
}
is("@missing", '', 'the agent has every route that is described');

# ---- ports

$r = $s->api(POST => '/v1/sandbox/lazy/ports', json => { port => 8000 });
is($r->{status}, 200, 'a port is exposed');
my $token = $r->{json}{token};
like($token, qr/^[a-z2-7]{16}$/, 'with a token');
is($r->{json}{url}, "http://8000-lazy-$token.localhost:$s->{port}/",
    'and a URL on the port that the caller came by');
is($s->api(PUT => '/v1/sandbox/lazy/ports/8000')->{json}{token}, $token,
    'PUT is the same');
$r = $s->api(PUT => '/v1/sandbox/lazy/ports/8001',
    json => { access => 'public', name => 'open', host => 'public' });
is($r->{json}{url}, "http://8001-lazy.localhost:$s->{port}/", 'a public one');
is($r->{json}{token}, undef, 'has no token');
is($r->{json}{name}, 'open', 'but a name');

$r = $s->api(GET => '/v1/sandbox/lazy/ports');
is(join(' ', map { "$_->{port}:$_->{status}" } @{ $r->{json}{ports} }),
    '8000:active 8001:active', 'a list by port');
is($s->api(GET => '/v1/sandbox/lazy/ports/8001')->{json}{name}, 'open', 'one');
is_error($s->api(GET => '/v1/sandbox/lazy/ports/8002'), 404,
    'port_not_exposed', 'one that is not exposed');
is($s->api(GET => "/v1/sandbox/lazy/ports?hostname=localhost:9")->{json}
    {ports}[1]{url}, 'http://8001-lazy.localhost:9/', 'a port in hostname');

for my $case ([{ port => 8000, hostname => 'elsewhere.example' }, 'hostname'],
    [{ port => 8000, hostname => 'localhost:99999' }, 'hostname'],
    [{ port => 8000, hostname => 7 }, 'hostname'],
    [{ port => 8000, name => 'x' x 65 }, 'name'],
    [{ port => 8000, access => 'anybody' }, 'access'], [{}, 'port'])
{
    $r = $s->api(POST => '/v1/sandbox/lazy/ports', json => $case->[0]);
    is($r->{status}, 400, "a wrong $case->[1]");
    is($r->{json}{field}, $case->[1], 'is named') or diag($r->{body});
}

is_error($s->api(PUT => '/v1/sandbox/lazy/ports/8000', json => { port => 1 }),
    400, 'invalid_request', 'two ports in one request');
is_error($s->api(GET => '/v1/sandbox/lazy/ports/08000'), 400, 'invalid_port',
    'a port is spelled in one way');
is_error($s->api(POST => '/v1/sandbox/' . 'a' x 60 . '/ports',
    json => { port => 8000 }), 404, 'not_found',
    'a port of no sandbox');
is($s->api(DELETE => '/v1/sandbox/lazy/ports/8001')->{status}, 204,
    "a port is taken back, time $_") for 1, 2;

# ---- destroy

is($s->api(DELETE => '/v1/sandbox/lazy')->{status}, 204, 'destroyed');
is($s->api(GET => '/v1/sandbox/lazy')->{status}, 404, 'and gone');
is($s->api(DELETE => '/v1/sandbox/lazy')->{status}, 204, 'again: the same');

# ---- hosts

for my $host ('127.0.0.1', "127.0.0.1:$s->{port}", 'LOCALHOST') {
    is($s->api(GET => '/health', host => $host)->{status}, 200,
        "answers on $host");
}
for my $host ("x.localhost:$s->{port}", '127.0.0.2', 'example.com') {
    isnt($s->api(GET => '/health', host => $host)->{json}{ok}, 1,
        "does not answer on $host");
}

# ---- several preview domains, and none

sub reload_with {
    my (%change) = @_;

    $s->{$_} = $change{$_} for keys %change;
    spew("$s->{ngx}/nginx.conf", $s->nginx_conf);
    $s->reload;
}

my $other = "server { listen 127.0.0.1:$s->{port};"
    . ' server_name *.other.test; sandbox_preview other.test; }';

reload_with(http_conf => $other);
ok(wait_for(sub {
    $r = $s->api(POST => '/v1/sandbox/one/ports', json => { port => 8000 });
    $r->{status} == 400 }, 10), 'with two domains one has to be named');
is($r->{json}{field}, 'hostname', 'by hostname');
like($r->{json}{error}, qr/localhost/, 'one of them');
like($r->{json}{error}, qr/other\.test/, 'or the other');
$r = $s->api(POST => '/v1/sandbox/one/ports',
    json => { port => 8000, hostname => 'other.test' });
like($r->{json}{url}, qr{^http://8000-one-\w+\.other\.test:$s->{port}/$},
    'then it is taken');
is($s->api(GET => '/v1/sandbox/one/ports')->{status}, 200,
    'a list can do without');
reload_with(http_conf => '');
ok(wait_for(sub { $s->api(POST => '/v1/sandbox/one/ports',
    json => { port => 8000 })->{status} == 200 }, 10),
    'with one there is no choice again');

# ---- the description

$r = $s->api(GET => '/v1/openapi.json');
is($r->{json}{openapi}, '3.1.0', 'OpenAPI 3.1');
is_deeply($r->{json}{security}, [{ bearer => [] }], 'with its key');
ok($r->{json}{paths}{'/v1/sandbox/{id}/exec'}{post}, 'and exec');

SKIP: {
    my $script = 'import json, sys, openapi_spec_validator as v;'
        . ' v.validate(json.load(sys.stdin))';

    skip 'no openapi_spec_validator in this Python', 1
        if system('python3 -c "import openapi_spec_validator" 2>/dev/null');
    spew("$s->{dir}/openapi.json", $r->{body});
    my ($status, undef, $err) = run_command(['python3', '-c', $script],
        stdin => "$s->{dir}/openapi.json");
    is($status, 0, 'a validator finds nothing wrong with it') or diag($err);
}

# ---- without sandboxd

stop_process(delete $s->{daemon}, 'TERM', 30);
ok(wait_for(sub { $s->api(GET => '/health')->{status} == 503 }, 10),
    'health says that sandboxd is gone');
$r = $s->api(GET => '/health', no_key => 1);
is_deeply([$r->{json}{ok} ? 1 : 0, ref $r->{json}{errors}], [0, 'ARRAY'],
    'with the errors');
my %waiting;
for my $case ([GET => '/v1/sandbox'], [POST => '/v1/sandbox'],
    [GET => '/v1/sandbox/one/running'], [DELETE => '/v1/sandbox/one'],
    [POST => '/v1/sandbox/one/ports', '{"port":8000}'])
{
    my ($method, $path, $body) = (@$case, '');
    my $sock = $waiting{"$method $path"} = http_connect(port => $s->{port});

    http_send($sock, "$method $path HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $s->{key}\r\nConnection: close\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
}
is_error(http_read($waiting{$_}, timeout => 30), 503, 'unavailable',
    "$_ is 503") for sort keys %waiting;
$s->start_daemon;
ok(wait_for(sub { $s->api(GET => '/health')->{status} == 200 }, 15),
    'it comes back');
is($s->api(GET => '/v1/sandbox/one')->{json}{id}, 'one', 'and knows it all');

$s->stop;
done_testing();
