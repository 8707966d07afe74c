#!/usr/bin/perl

# Requests that nobody sane sends: each gets an answer or a closed connection,
# none a preview or a route that it shouldn't, none wakes or makes a sandbox,
# none ends a worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(180);

my $s = System->start;
my $auth = "Authorization: Bearer $s->{key}";

sub raw {
    my ($bytes, %o) = @_;
    my $sock = http_connect(port => $s->{port});

    http_send($sock, $bytes);
    shutdown $sock, 1 if $o{half};

    return http_read($sock, timeout => $o{timeout} // 20);
}

is($s->exec('victim', 'true')->{exitCode}, 0, 'a sandbox that runs');
$s->api(PUT => '/v1/sandbox/victim/file/workspace/echo.py',
    body => slurp(top_dir() . '/t/apps/echo.py'));
ok($s->serve('victim', 8000, 'python3 /workspace/echo.py 8000 victim'),
    'a server in it');
my $e = $s->expose('victim', 8000, access => 'public');
my ($host) = $e->{url} =~ m{//([^/]+)};
is($s->api(POST => '/v1/sandbox', json => { id => 'quiet' })->{status}, 200,
    'a sandbox that does not run');
my $quiet = $s->expose('quiet', 8000, access => 'public');

# ---- Host

my %host = (
    'no Host' => "GET / HTTP/1.1\r\n\r\n",
    'no Host, HTTP/1.0' => "GET / HTTP/1.0\r\n\r\n",
    'two Hosts' => "GET / HTTP/1.1\r\nHost: $host\r\nHost: x.localhost\r\n\r\n",
    'two equal Hosts' => "GET / HTTP/1.1\r\nHost: $host\r\nHost: $host\r\n\r\n",
    'an empty Host' => "GET / HTTP/1.1\r\nHost: \r\n\r\n",
    'an address as Host' => "GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n",
    'an IPv6 address' => "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    'another domain' => "GET / HTTP/1.1\r\nHost: 8000-victim.example.com\r\n\r\n",
    'a domain that ends alike' =>
        "GET / HTTP/1.1\r\nHost: 8000-victim.notlocalhost\r\n\r\n",
    'a label below a label' =>
        "GET / HTTP/1.1\r\nHost: 8000-victim.x.localhost\r\n\r\n",
    'a preview and the API in one' =>
        "GET http://8000-victimx.localhost/ HTTP/1.1\r\nHost: $host\r\n\r\n",
    'a NUL in Host' => "GET / HTTP/1.1\r\nHost: 8000-victim\0.localhost\r\n\r\n",
    'a blank in Host' => "GET / HTTP/1.1\r\nHost: 8000-victim .localhost\r\n\r\n",
    'a slash in Host' => "GET / HTTP/1.1\r\nHost: 8000-victim/.localhost\r\n\r\n",
    'userinfo in Host' => "GET / HTTP/1.1\r\nHost: a\@8000-victim.localhost\r\n\r\n",
    'a label of 64' => "GET / HTTP/1.1\r\nHost: 8000-" . 'v' x 59
        . ".localhost\r\n\r\n",
    'a label of 300' => "GET / HTTP/1.1\r\nHost: " . 'v' x 300
        . ".localhost\r\n\r\n",
    'only dots' => "GET / HTTP/1.1\r\nHost: ...localhost\r\n\r\n",
    'no label' => "GET / HTTP/1.1\r\nHost: .localhost\r\n\r\n",
);

for my $what (sort keys %host) {
    my $r = raw($host{$what});

    ok(($r->{status} == 0 || $r->{status} >= 400)
        && ($r->{body} // '') !~ /victim/, "$what: no preview ($r->{status})")
        or diag($r->{body});
}

# absolute-form decides, not Host: it can't be used to reach the API from a
# preview's name, nor the other way round.
my $r = raw("GET http://$host/abs HTTP/1.1\r\nHost: localhost\r\n"
    . "Connection: close\r\n\r\n");
ok($r->{status} >= 400 || ($r->{json}{name} || '') eq 'victim',
    'absolute-form: one name decides');
$r = raw("GET http://localhost/v1/sandbox HTTP/1.1\r\nHost: $host\r\n"
    . "$auth\r\nConnection: close\r\n\r\n");
unlike($r->{body}, qr/"sandboxes"/, 'absolute-form with another Host: no API');
$r = raw("GET /v1/sandbox HTTP/1.1\r\nHost: $host\r\n$auth\r\n"
    . "Connection: close\r\n\r\n");
is($r->{json}{name}, 'victim', 'a preview host has no API, only its service');

for my $name ('10.0.0.1', "127.0.0.2:$s->{port}", 'localhost.example',
    'LOCALHOST.', '[::1]', '2130706433')
{
    $r = raw("GET /v1/sandbox HTTP/1.1\r\nHost: $name\r\n$auth\r\n"
        . "Connection: close\r\n\r\n");
    ok($r->{status} != 200 || lc $name eq 'localhost.',
        "the API does not answer for $name ($r->{status})");
}

# ---- labels

for my $label (qw(08000-victim +8000-victim 8000x-victim 0-victim 70000-victim
    3000-victim 8000--victim 8000-victim- -8000-victim 8000_victim 8000-VICTIM2
    %38000-victim 8000-victim-x 800-victim 80000000000-victim xn--8000-victim))
{
    my $res = $s->preview("http://$label.localhost:$s->{port}/");

    ok($res->{status} == 404 || $res->{status} == 400,
        "no preview for $label ($res->{status})");
}

# ---- ids

for my $id ('UPPER', 'a.b', '-a', 'a-', 'a_b', 'x1' x 32, 't2abcd-x', '%61b%2Fc',
    'a b', "a\0b", '..', '%2e%2e', "\xc3\xa9", 'a;b')
{
    my $path = join '', map { /[A-Za-z0-9%._;-]/ ? $_ : sprintf '%%%02X', ord }
        split //, $id;
    my $res = $s->api(POST => "/v1/sandbox/$path/exec",
        json => { argv => ['true'] });

    ok($res->{status} == 400 || $res->{status} == 404 || $res->{status} == 405,
        "no sandbox is called $path ($res->{status})") or diag($res->{body});

    $res = $s->api(POST => '/v1/sandbox', json => { id => $id });
    is($res->{status}, 400, "nor made by that name");
}

# ---- control paths

my @paths = (
    ['GET', '/v1/sandbox/victim/file/..%2f..%2fapi/ping'],
    ['GET', '/v1/sandbox/victim/file/../../victim/../../etc'],
    ['GET', '/v1/sandbox/victim/file/workspace/../../etc/passwd'],
    ['GET', '/v1/sandbox/victim/file/etc/passwd'],
    ['GET', '/v1/sandbox/victim/file/%2e%2e/%2e%2e/etc/passwd'],
    ['GET', '/v1/sandbox/victim/file/workspace/%2e%2e/etc/passwd'],
    ['GET', '/v1/sandbox/victim/file/workspace%2f..%2fetc%2fpasswd'],
    ['GET', '/v1/sandbox/victim/file//etc/passwd'],
    ['GET', '/v1/sandbox/victim/file/workspace/%00/x'],
    ['GET', '/v1/sandbox/victim/bridge/exec'],
    ['GET', '/v1/sandbox/victim/../../bridge/file/workspace/x'],
    ['GET', '/v1/sandbox//exec'], ['GET', '/v1//sandbox/quiet/nope'],
    ['GET', '/v1/sandbox/quiet/nope'], ['GET', '/v1/sandbox/quiet/exec/x'],
    ['GET', '/bridge/file/workspace/x'], ['GET', '/api/ping'],
    ['GET', '/v1/sandbox/victim/api'], ['GET', '/v2/sandbox'],
);

for (@paths) {
    my ($method, $path) = @$_;
    my $res = raw("$method $path HTTP/1.1\r\nHost: localhost\r\n$auth\r\n"
        . "Connection: close\r\n\r\n");

    # One of them normalises to a true route, and then is that route.
    ok($res->{status} >= 400 && ($res->{body} // '') !~ /root:/
        || ($path =~ m{api/ping$} && $res->{status} == 200
            && ($res->{json}{status} || '') eq 'healthy'),
        "$method $path: $res->{status}") or diag($res->{body});
}

# ---- what doesn't exist or isn't allowed

$r = $s->api(GET => '/v1/nothing');
is($r->{status}, 404, 'an unknown route');
$r = $s->api(PATCH => '/v1/sandbox/quiet/ports');
is($r->{status}, 405, 'a wrong method');
like($r->{headers}{allow} || '', qr/GET.*POST|POST.*GET/, 'says which are right');
is($s->api(GET => '/v1/sandbox/quiet/exec')->{status}, 405, 'GET of exec');
for my $route ('mount', 'unmount', 'tunnel/8000') {
    $r = $s->api(POST => "/v1/sandbox/quiet/$route", json => {});
    is($r->{status}, 501, "$route: 501");
    ok($r->{json}{error}, 'that says so');
}

# ---- forks

is($s->api(POST => '/v1/sandbox/never-seen/fork', json => {})->{status}, 404,
    'a fork of nothing');
SKIP: {
    $s->only_containers('of machines there are forks (long/fork.t)', 3);
    $r = $s->api(POST => '/v1/sandbox/victim/fork', json => { id => 'fork' });
    is_deeply([$r->{status}, $r->{json}{code}], [501, 'unsupported'],
        'of a container') or diag join ' ', $r->{status}, $r->{body};
    like($r->{json}{error}, qr/"oci"/, 'whose driver it names');
    is($s->api(GET => '/v1/sandbox/fork')->{status}, 404, 'makes nothing');
}
is($s->api(POST => '/v1/sandbox/victim/fork', body => '{', headers =>
    [['Content-Type', 'application/json']])->{status}, 400, 'a broken body');

# ---- keys

for my $h (['Authorization', 'Bearer wrong'], ['Authorization', 'Basic eDp5'],
    ['Authorization', "Bearer  $s->{key}x"], ['Authorization', 'Bearer'],
    ['Authorization', ''], ['Cookie', "key=$s->{key}"],
    ['X-Api-Key', $s->{key}])
{
    $r = $s->api(GET => '/v1/sandbox', no_key => 1, headers => [$h]);
    is($r->{status}, 401, "401 for $h->[0]: " . substr $h->[1], 0, 12);
    is($r->{json}{code}, 'unauthorized', 'in the API\'s form');
}
is($s->api(GET => '/v1/sandbox', headers => [['Authorization', 'Bearer x']])
    ->{status} == 200, '', 'two Authorization headers are not a key');
$r = $s->api(GET => "/v1/sandbox?authorization=Bearer%20$s->{key}", no_key => 1);
is($r->{status}, 401, 'nor is a query argument');
is($s->api(GET => '/v1/sandbox/quiet/nope', no_key => 1)->{status}, 401,
    'without a key nothing is said about routes');
is($s->api(GET => '/health', no_key => 1)->{status}, 200, '/health needs none');

# ---- bodies

for my $body ('{', '[]', '"x"', '{"id":"a","id":"b"}', '{"id":7}',
    '{"id":"ok1"', "{\"id\":\"a\0b\"}", '{"id":"x","env":{"A":1}}',
    '{"id":"x","env":[]}', '{"id":"x","resources":{"memroy":1}}',
    '{"id":"x","network":{"allow":["0.0.0.0/0"]}}',
    '{"id":"x","sleepAfter":"soon"}', '{"id":"x","keepAlive":"yes"}',
    "\xff\xfe", '{"a":' x 3000)
{
    $r = $s->api(POST => '/v1/sandbox', body => $body,
        headers => [['Content-Type', 'application/json']]);
    ok($r->{status} == 400 || $r->{status} == 422,
        'refused: ' . substr($body, 0, 40) =~ s/[^ -~]/?/gr . " ($r->{status})")
        or diag($r->{body});
    ok($r->{json}{error} && $r->{json}{code}, 'with a reason');
}
$r = $s->api(POST => '/v1/sandbox', body => '{"id":"' . 'x' x (10 << 20) . '"}',
    headers => [['Content-Type', 'application/json']]);
is($r->{status}, 413, '10 MB where 64 KiB is the limit');
for my $port (0, 80, 1023, 3000, 65536, '"8000"', 8000.5, -1, 'null') {
    $r = $s->api(POST => '/v1/sandbox/quiet/ports',
        body => "{\"port\":$port}");
    is($r->{status}, 400, "port $port is refused") or diag($r->{body});
    like($r->{body}, qr/port/, 'and named');
}
for my $token ('short', 'x' x 17, 'UPPERCASE1', 'has-hyphen', 'bad.char1') {
    $r = $s->api(POST => '/v1/sandbox/quiet/ports',
        json => { port => 8000, token => $token });
    is($r->{status}, 400, "token $token is refused");
}
$r = $s->api(POST => '/v1/sandbox', json => { id => 'a' x 40 });
is($r->{status}, 200, 'an id of 40');
is($s->api(POST => '/v1/sandbox/' . 'a' x 40 . '/ports',
    json => { port => 60000 })->{status}, 200, 'can just be exposed');
$r = $s->api(POST => '/v1/sandbox', json => { id => 'abcdefgh' x 10 });
is($r->{status}, 200, 'a bridge id of 80');
$r = $s->api(POST => '/v1/sandbox/' . 'abcdefgh' x 10 . '/ports',
    json => { port => 8000 });
is($r->{status}, 400, 'can not');
like($r->{body}, qr/63/, 'and the limit is named');

# ---- framing

my @frames = (
    "GET / HTTP/1.1\r\nHost: $host\r\nContent-Length: -1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: $host\r\nContent-Length: 5\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: $host\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST / HTTP/1.1\r\nHost: $host\r\nTransfer-Encoding: gzip\r\n\r\n",
    "GET / HTTP/9.9\r\nHost: $host\r\n\r\n", "\0\0\0\0\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 'GET ' . '/x' x 20000,
    "CONNECT localhost:8000 HTTP/1.1\r\nHost: $host\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
);
for (@frames) {
    $r = raw($_, half => 1, timeout => 3);
    ok($r->{status} == 0 || $r->{status} >= 400,
        'no preview for ' . substr($_, 0, 30) =~ s/[^ -~]/?/gr
        . " ($r->{status})");
}

# ---- and nothing of all that did anything

my $list = $s->api(GET => '/v1/sandbox')->{json}{sandboxes};
is(join(' ', sort map { length $_->{id} > 20 ? length $_->{id} : $_->{id} }
    @$list), '40 80 quiet victim', 'no sandbox was made by the way');
is($s->api(GET => '/v1/sandbox/quiet')->{json}{state}, 'created',
    'the one that did not run still does not');
is($s->api(GET => '/v1/sandbox/quiet/running')->{json}{running},
    JSON::PP::false, 'running says so and does not start it');
is($s->preview($e->{url})->{json}{name}, 'victim', 'the other one answers');

$s->stop;
done_testing();
