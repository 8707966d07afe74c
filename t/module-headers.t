#!/usr/bin/perl

# What the gate takes out of a request and puts in, what is dropped and mapped
# in a response, and what proxy_pass may not do behind the gate's back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use Test::More;

alarm_after(120);

my $e = Edge->new(
    server_conf => <<'EOC',
        location /lost/ {
            proxy_pass http://sandboxes;
        }
        location /own/ {
            include %%PROXY%%;
            proxy_set_header X-Own yes;
            proxy_pass http://sandboxes;
        }
        location /obey/ {
            proxy_http_version 1.1;
            proxy_set_header Host $sandbox_host;
            proxy_pass http://sandboxes/;
        }
        location /secret/ {
            internal;
            return 200 "the secret of the edge";
        }
        location /denied/ {
            deny all;
            include %%PROXY%%;
            proxy_pass http://sandboxes;
        }
        location /any/ {
            satisfy any;
            allow 127.0.0.1;
            include %%PROXY%%;
            proxy_pass http://sandboxes;
        }
        location /sub/ {
            mirror /mirror;
            include %%PROXY%%;
            proxy_pass http://sandboxes;
        }
        location = /mirror {
            internal;
            include %%PROXY%%;
            proxy_pass http://sandboxes;
        }
EOC
    more_servers => <<'EOC',
    server {
        listen 127.0.0.1:%%PORT%%;
        server_name *.behind.test;
        sandbox_preview behind.test;
        sandbox_scheme https;
        location / {
            include %%PROXY%%;
            proxy_pass http://sandboxes;
        }
    }
    server {
        listen 127.0.0.1:%%PORT%%;
        server_name stray.test;
        location / {
            include %%PROXY%%;
            proxy_pass http://sandboxes;
        }
    }
EOC
);

$e->{server_conf} =~ s/%%PROXY%%/top_dir() . '\/conf-examples\/sandbox_proxy.conf'/ge;
$e->{more_servers} =~ s/%%PROXY%%/top_dir() . '\/conf-examples\/sandbox_proxy.conf'/ge;
$e->{more_servers} =~ s/%%PORT%%/$e->{port}/g;

my $a = $e->agent(1, ports => [8000], agent => { raw => { '/api/version' =>
    "HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Domain=test\r\nSet-Cookie: c=d\r\n"
    . "Clear-Site-Data: \"*\"\r\nContent-Length: 2\r\n\r\nok" } });
$e->daemon->expose(slot => 1, label => '8000-public', port => 8000,
    host => 'public', access => 'public');
$e->agent(2, state => 'asleep');
$e->start;

my $h = '8000-box1-tok.preview.test';
my $port = $e->{port};
my $own = "http://$h:$port";

sub head {
    my ($r) = @_;
    my %h;

    for (split /\r\n/, $r->{json}{head} // '') {
        push @{ $h{lc $1} }, $2 if /^([^:]+): ?(.*)$/;
    }

    return \%h;
}

# ---- in -------------------------------------------------------------------

my $r = $e->get("$h:$port", '/x?a=b', headers => [
    ['X-Forwarded-For', '6.6.6.6'], ['X-Forwarded-Host', 'evil'],
    ['X-Forwarded-Proto', 'evil'], ['X-Forwarded-Port', '1'],
    ['X-Forwarded-Anything', 'evil'], ['Forwarded', 'for=evil'],
    ['X-Real-IP', '6.6.6.6'], ['X-Original-URL', 'http://evil/'],
    ['X-Sandbox-Name', 'evil'], ['X-Sandbox-Id', 'evil'],
    ['x-SANDBOX-token', 'evil'], ['Authorization', 'Bearer of-the-app'],
    ['Cookie', 'a=b'], ['X-Other', 'kept'], ['X-Last', 'kept too']]);
my $in = head($r);

unlike($r->{json}{head}, qr/evil|6\.6\.6\.6/, 'nothing forged gets inside');
is_deeply($in->{'x-forwarded-host'}, [$h], 'X-Forwarded-Host');
is_deeply($in->{'x-forwarded-proto'}, ['http'], 'X-Forwarded-Proto');
is_deeply($in->{'x-forwarded-for'}, ['127.0.0.1'], 'X-Forwarded-For');
is_deeply($in->{'x-original-url'}, ["$own/x?a=b"], 'X-Original-URL');
is_deeply($in->{'x-sandbox-name'}, ['box1'], 'X-Sandbox-Name');
is_deeply($in->{host}, ['localhost:8000'], 'Host is the local one');
is_deeply($in->{authorization}, ['Bearer of-the-app'],
    'the app\'s own Authorization passes');
is_deeply($in->{cookie}, ['a=b'], 'and its cookies');
is_deeply([$in->{'x-other'}, $in->{'x-last'}], [['kept'], ['kept too']],
    'and the rest');

$r = $e->get($h, '/', headers => [map { ["X-Sandbox-$_", 'evil'],
    ["X-H$_", $_] } 1 .. 60]);
$in = head($r);
is(scalar(grep { /^x-h\d+$/ } keys %$in), 60, 'many headers, half of them out');
unlike($r->{json}{head}, qr/evil/, 'all of them');

$in = head($e->get('8000-public.preview.test:' . $port));
is_deeply($in->{host}, ["8000-public.preview.test:$port"],
    'Host is the public one where the exposure says so');

for my $case (
    ['Origin', $own, 'http://localhost:8000'],
    ['Origin', "$own.evil.test", "$own.evil.test"],
    ['Origin', "$own/", "$own/"],
    ['Origin', 'https://example.test', 'https://example.test'],
    ['Origin', 'null', 'null'],
    ['Origin', "http://$h", "http://$h"],
    ['Referer', "$own/a/b?c", 'http://localhost:8000/a/b?c'],
    ['Referer', $own, 'http://localhost:8000'],
    ['Referer', "${own}0/", "${own}0/"],
    ['Referer', 'https://example.test/', 'https://example.test/'],
) {
    my ($name, $value, $want) = @$case;

    $in = head($e->get("$h:$port", '/', headers => { $name => $value }));
    is_deeply($in->{lc $name}, [$want], "$name: $value");
}

$in = head($e->get("8000-public.preview.test:$port", '/', headers =>
    { Origin => "http://8000-public.preview.test:$port" }));
is_deeply($in->{origin}, ["http://8000-public.preview.test:$port"],
    'the Origin stays public with a public Host');

# ---- out ------------------------------------------------------------------

sub answer {
    my (@headers) = @_;
    my $raw = join "\r\n", 'HTTP/1.1 200 OK', @headers, 'Content-Length: 2',
        '', 'ok';

    return $e->get("$h:$port", '/raw?' . unpack 'H*', $raw);
}

$r = answer('X-Accel-Redirect: /secret/x');
is($r->{body}, 'ok', 'X-Accel-Redirect is not obeyed');
$r = answer('X-Accel-Limit-Rate: 1', 'X-Accel-Charset: koi8-r',
    'X-Accel-Buffering: yes', 'X-Accel-Expires: 1000');
is($r->{body}, 'ok', 'nor any other X-Accel header');
unlike($r->{head}, qr/x-accel|koi8/i, 'and none gets out');
$r = $e->get($h, '/obey/raw?' . unpack 'H*', "HTTP/1.1 200 OK\r\n"
    . "X-Accel-Redirect: /secret/x\r\nContent-Length: 2\r\n\r\nok");
is($r->{body}, 'ok', 'not even where the location would obey');

for my $cookie ("a=b", "a=b; Path=/; Secure", "a=b; Domain=$h",
    "a=b; domain=.$h", "a=b; Domain=", "a=Domain=x")
{
    is(answer("Set-Cookie: $cookie")->{headers}{'set-cookie'}, $cookie,
        "kept: $cookie");
}

for my $cookie ('a=b; Domain=preview.test', 'a=b; Path=/; DOMAIN = test',
    'a=b;domain=.preview.test;Secure', 'a=b; Domain=x.test',
    "a=b; Domain=$h; Domain=preview.test", 'a=b; Domain=localhost',
    "a=b;\tDomain\t=\tpreview.test")
{
    is(answer("Set-Cookie: $cookie")->{headers}{'set-cookie'}, undef,
        "dropped: $cookie");
}

# Through the API all of them would be on one host.
sub proxied {
    my ($cookie) = @_;

    return $e->api(GET => '/v1/sandbox/box1/proxy/8000/raw?' . unpack 'H*',
        "HTTP/1.1 200 OK\r\nSet-Cookie: $cookie\r\n"
        . "Content-Length: 2\r\n\r\nok")->{headers}{'set-cookie'};
}

is(proxied($_->[0]), $_->[1], "by the API: $_->[0]")
    for ['a=b', 'a=b; Path=/v1/sandbox/box1/proxy/8000'],
        ['a=b; Path=/; Secure', 'a=b; Secure; Path=/v1/sandbox/box1/proxy/8000'],
        ['a=b; Path=/x', 'a=b; Path=/v1/sandbox/box1/proxy/8000/x'],
        ['a=b; Path=/v1/sandbox/box2',
         'a=b; Path=/v1/sandbox/box1/proxy/8000/v1/sandbox/box2'],
        ['a=b; Domain=test', undef];

$r = $e->api(GET => '/v1/sandbox/box1/api/version');
is($r->{body}, 'ok', 'an agent that is not itself any more');
is($r->{headers}{'set-cookie'}, undef, 'sets no cookie of the API');
is($r->{headers}{'clear-site-data'}, undef, 'and takes none away');

$r = answer('Set-Cookie: a=1', 'Set-Cookie: b=2; Domain=test',
    'set-cookie: c=3', 'Clear-Site-Data: "*"');
is_deeply([map { $_->[1] } grep { lc $_->[0] eq 'set-cookie' } @{ $r->{all} }],
    ['a=1', 'c=3'], 'one cookie of several is dropped');
is($r->{headers}{'clear-site-data'}, undef, 'Clear-Site-Data is dropped');

for my $case (
    ['http://localhost:8000/a?b', "$own/a?b"],
    ['http://127.0.0.1:8000', $own],
    ['https://localhost:8000/', "$own/"],
    ['HTTP://LOCALHOST:8000/', "$own/"],
    ['http://localhost:8001/', 'http://localhost:8001/'],
    ['http://localhost:80000/', 'http://localhost:80000/'],
    ['http://localhost/', 'http://localhost/'],
    ['http://localhost:8000.evil.test/', 'http://localhost:8000.evil.test/'],
    ['http://localhost:8000@evil.test/', 'http://localhost:8000@evil.test/'],
    ['https://example.test/?u=http://localhost:8000/',
        'https://example.test/?u=http://localhost:8000/'],
    ['/relative', '/relative'], ['next', 'next'],
) {
    my ($value, $want) = @$case;

    is(answer("Location: $value")->{headers}{location}, $want,
        "Location: $value");
}

$r = answer('Refresh: 1; url=http://localhost:8000/');
is($r->{headers}{refresh}, '1; url=http://localhost:8000/',
    'nothing else is rewritten');

# ---- behind the gate's back -----------------------------------------------

is($e->get($h, '/lost/')->{status}, 500, 'a location that lost Host: 500');
is(head($e->get($h, '/own/'))->{'x-own'}[0], 'yes',
    'one with a header of its own');
is($e->get('stray.test', '/')->{status}, 500,
    'a server without sandbox_preview: 500');
is($e->get($h, '/denied/')->{status}, 403, 'deny all is obeyed');
is($e->get('8000-box2-tok.preview.test', '/denied/')->{status}, 403,
    'for a sandbox that sleeps, too');
is($e->daemon->stats->{calls}{start}, undef, 'which is not woken');
is($e->get($h, '/any/')->{status} =~ /^(?:200|500)$/, 1,
    'satisfy any does not get past the gate');
is($e->get('8000-nobody-tok.preview.test', '/any/')->{status} =~ /^(404|500)$/,
    1, 'with a wrong token');
is($e->get($h, '/sub/')->{status}, 200, 'a mirror');
ok(wait_for(sub { $e->logged(qr/without the gate's consent/) }, 3),
    'a subrequest does not get past the gate');

# ---- control --------------------------------------------------------------

$r = $e->api(POST => '/v1/sandbox/box1/api/execute', json => { a => 1 },
    headers => { Cookie => 'a=b', 'X-Sandbox-Id' => 'evil' });
is($r->{status}, 200, 'a control request reaches the agent');
$in = head($r);
is($r->{json}{uri}, '/api/execute', 'with the agent\'s path');
unlike($r->{json}{head}, qr/authorization|$Edge::KEY|cookie|evil/i,
    'without the key, cookies and what is forged');
like($a->log, qr/^connection \d+: CONTROL [0-9a-f]{32}$/m,
    'on a control connection');
is($e->api(GET => '/v1/sandbox/box1/file/workspace/a%20b%3Fc%25')->{json}{uri},
    '/bridge/file/workspace/a%20b%3Fc%25', 'the path is escaped anew');
for my $path ('file/..%2f..%2fapi/execute', 'file/%2e%2e/%2e%2e/api/execute',
    'api/../../../v1/sandbox', 'api/%2e%2e/x', 'file//../../../api/ping')
{
    my $got = $e->api(GET => "/v1/sandbox/box1/$path");

    unlike($got->{json}{uri} // '', qr{\.\.|//|^/v1}, "no way out: $path");
}
is($e->get($e->{api}, '/v1/sandbox/box1/api/ping')->{status}, 401,
    'no key: 401');
is($e->api(GET => '/v1/sandbox/box1/api/ping',
    headers => { Authorization => 'Bearer nonsense' })->{status}, 401,
    'a wrong key: 401');
is($e->daemon->stats->{calls}{start}, undef, 'and nothing is started');
is($e->get($h, '/v1/sandbox', headers =>
    { Authorization => "Bearer $Edge::KEY" })->{json}{name}, 'box1',
    'a preview host has no API');

for my $host ('evil.test', 'x.api.test', 'api.test..', 'api.test:x') {
    my $got = $e->api(GET => '/v1/sandbox/box1/api/ping', host => $host);

    like($got->{status}, qr/^(?:40[04]|421)$/, "no API on $host");
}

# ---- behind a proxy that ends TLS

($r = $e->get('8000-box1-tok.behind.test', '/x', headers =>
    { Origin => 'https://8000-box1-tok.behind.test' }));
$in = head($r);
is_deeply($in->{'x-forwarded-proto'}, ['https'], 'sandbox_scheme https');
is_deeply($in->{'x-original-url'}, ['https://8000-box1-tok.behind.test/x'],
    'is the public origin\'s');
is_deeply($in->{origin}, ['http://localhost:8000'],
    'which is mapped to the app\'s');
$in = head($e->get('8000-box1-tok.behind.test', '/x', headers =>
    { Origin => 'http://8000-box1-tok.behind.test' }));
is_deeply($in->{origin}, ['http://8000-box1-tok.behind.test'],
    'another scheme is another origin');

# Every byte that was sent to an agent, on any kind of connection.
$e->raw("GET /ws HTTP/1.1\r\nHost: $h\r\nUpgrade: websocket\r\n"
    . "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nX-Sandbox-A: evil\r\n"
    . "Forwarded: evil\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    timeout => 1);
for my $slot (1, 2) {
    my $bytes = $e->{agents}{$slot}->log;

    my $forged = qr/^(?:X-(?:Sandbox|Forwarded|Real|Original)|Forwarded)\S*: .*evil/mi;

    unlike($bytes, qr/\Q$Edge::KEY\E/, "our key isn't in what agent $slot got");
    unlike($bytes, $forged, 'nor is anything forged');
    is(join('', grep { /[0-9a-f]{32}/ && !/^connection / } split /^/, $bytes),
        '', 'and its own key is in first lines alone') if $slot == 2;
}

$e->stop;
$e->no_alerts;
done_testing();
