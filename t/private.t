#!/usr/bin/perl

# Private previews: who is let in, what is told to the others, and what of all
# that the app and the logs get to see.  Browsers are in browser.t.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use JSON::PP ();
use MIME::Base64 qw(encode_base64 decode_base64);
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

alarm_after(240);

my $e = Edge->new(workers => 2, server_conf => <<'EOC', more_servers => <<'EOC');
        error_page 418 /never;
        location = /returned { return 204; }
EOC
    log_format all '$request|$request_uri|$args|$query_string|$http_cookie|'
                   '$cookie___Host_sandbox|$arg_sandbox_link|$http_referer|'
                   '$http_authorization';
    access_log %%NGX%%/all.log all;
EOC

$e->{more_servers} =~ s/%%NGX%%/$e->{ngx}/g;

my ($true, $false) = (JSON::PP::true(), JSON::PP::false());
my $agent = $e->agent(1, id => 'demo', ports => []);
my $other = $e->agent(2, id => 'other', ports => []);
my $d = $e->daemon;

sub expose {
    my ($id, $slot, %o) = @_;

    return $d->expose(slot => $slot, port => 8000, label => "8000-$id",
        access => 'private', gen => 1000 + $slot, %o);
}

expose('demo', 1);
expose('other', 2);
$d->expose(slot => 1, port => 8001, label => '8001-demo', access => 'public');
$e->start;

my $host = '8000-demo.preview.test';
my $at = "$host:$e->{port}";
my %nav = ('Sec-Fetch-Site' => 'cross-site', 'Sec-Fetch-Mode' => 'navigate',
    'Sec-Fetch-Dest' => 'document', Accept => 'text/html');
my %own = ('Sec-Fetch-Site' => 'same-origin', 'Sec-Fetch-Mode' => 'cors',
    'Sec-Fetch-Dest' => 'empty');

sub link_to {
    my ($id, %o) = @_;

    return $e->api(POST => "/v1/sandbox/$id/ports/8000/link", json => { %o },
        host => "$e->{api}:$e->{port}");
}

# Opens a link; the cookie that it gives.
sub cookie {
    my ($id, %o) = @_;
    my $headers = delete $o{headers} || \%nav;
    my $url = link_to($id, %o)->{json}{url} or return '';
    my ($h, $path) = $url =~ m{^http://([^/]+)(/.*)$};
    my $r = $e->get($h, $path, headers => $headers);

    return ($r->{headers}{'set-cookie'} // '') =~ /^([^;]+)/ ? $1 : '';
}

sub get { my ($path, %h) = @_; return $e->get($at, $path, headers => \%h) }

# ---- strangers

my $unknown = $e->get("8000-nobody.preview.test:$e->{port}", '/x');
my $r = get('/x');

sub bytes {
    my ($answer) = @_;
    my $text = $answer->{head} . $answer->{body};

    $text =~ s/^Date:.*\n//m;

    return $text;
}

is($r->{status}, 404, 'without anything: 404');
is(bytes($r), bytes($unknown), 'the same bytes as for an unknown name');
for my $h ({ Cookie => '__Host-sandbox=' . 'A' x 59 },
    { Cookie => '__Host-sandbox=x' }, { Authorization => 'Bearer nonsense' },
    { %nav }, { %own, Cookie => '__Host-sandbox=' })
{
    is(bytes($e->get($at, '/x', headers => $h)),
        bytes($e->get("8000-nobody.preview.test:$e->{port}", '/x',
            headers => $h)), 'also with ' . join ' ', %$h);
}
is(get('/x?sandbox_link=' . 'A' x 59)->{status}, 404, 'a made-up link');
is($agent->log, '', 'and nothing has reached the sandbox');
is($d->stats->{calls}{start}, undef, 'or been started');

# ---- links

$r = link_to('demo', expires => '2h', path => '/a/b?c=d#top');
is($r->{status}, 200, 'a link') or diag($r->{body});
my $link = $r->{json}{url};
like($link, qr{^http://\Q$at\E/a/b\?c=d&sandbox_link=[\w-]{59}#top$},
    'its address');
is($r->{json}{embed}, $false, 'not for frames');
like($r->{json}{expiresAt}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/,
    'and its end');
is($r->{headers}{'cache-control'}, 'no-store', 'which no cache keeps');

$link =~ s/#.*//;
my ($path) = $link =~ m{^http://[^/]+(/.*)};
my ($token) = $link =~ /sandbox_link=([\w-]+)/;

$r = get($path, %nav);
is($r->{status}, 302, 'it is exchanged for a cookie');
is($r->{headers}{location}, '/a/b?c=d', 'at the clean address');
like($r->{headers}{'set-cookie'}, qr/^__Host-sandbox=[\w-]{59}; Path=\/; Secure; HttpOnly; Max-Age=(?:7200|719\d); SameSite=Lax$/,
    'the cookie');
is($r->{headers}{'cache-control'}, 'no-store', 'no cache keeps it');
is($r->{headers}{'referrer-policy'}, 'no-referrer', 'nobody is told of it');
my ($cookie) = $r->{headers}{'set-cookie'} =~ /^([^;]+)/;

isnt($cookie, "__Host-sandbox=$token", 'is no copy of the link');
is(get('/', %nav, Cookie => "__Host-sandbox=$token")->{status}, 404,
    'and a link is no cookie');
is(get('/?sandbox_link=' . substr($cookie, 15), %nav)->{status}, 404,
    'nor a cookie a link');
is($agent->log, '', 'nothing of it has reached the sandbox');

$r = get('/a/b?c=d', %nav, Cookie => "a=b; $cookie; c=d");
is($r->{status}, 200, 'with the cookie the preview is there');
is($r->{headers}{'cache-control'}, 'private', 'for no shared cache');
like($r->{json}{head}, qr/^Cookie: a=b; c=d\r$/m,
    'and the app gets its own cookies alone');

for my $case (
    [expires => 0], [expires => -1], [expires => '31d'], [expires => 'soon'],
    [expires => '1w'], [expires => 1.5], [expires => 2592001],
    [expires => ''], [expires => 's'], [expires => $true],
    [embed => 'yes'], [embed => 1],
    [path => 'x'], [path => ''], [path => '//evil.test'],
    [path => '/\\evil.test'], [path => "/\t/evil.test"], [path => '/a b'],
    [path => "/a\r\nX: y"], [path => '/' . 'a' x 2048], [path => 7],
    [path => 'http://evil.test/'], [hostname => 'evil.test'], [hostname => 1])
{
    my ($name, $value) = @$case;

    $r = link_to('demo', $name => $value);
    is("$r->{status} " . ($r->{json}{field} // ''), "400 $name",
        "$name: " . substr json_encode($value), 0, 30);
}
for my $value (1, '90s', '10m', '30d', 2592000) {
    is(link_to('demo', expires => $value)->{status}, 200, "expires: $value");
}
like(link_to('demo', colour => 'red')->{json}{warnings}[0], qr/^colour/,
    'an unknown member is named');
is($e->api(POST => '/v1/sandbox/demo/ports/8000/link')->{status}, 200,
    'no body: all defaults');
is($e->api(POST => '/v1/sandbox/demo/ports/8001/link')->{json}{code},
    'not_private', 'of a public port');
is($e->api(POST => '/v1/sandbox/demo/ports/8002/link')->{json}{code},
    'port_not_exposed', 'of a port that is not exposed');
is($e->api(POST => '/v1/sandbox/nobody/ports/8000/link')->{status}, 404,
    'of no sandbox');
is($e->get($e->{api}, '/v1/sandbox/demo/ports/8000/link', method => 'POST')
    ->{status}, 401, 'without a key');

# ---- redirects stay here

for my $evil ('//evil.test/', '/\\evil.test/', '//evil.test', '///x') {
    $r = get("$evil?sandbox_link=$token", %nav);
    is($r->{status}, 400, "a link with the path $evil");
    is($r->{headers}{location}, undef, 'redirects nowhere');
    is($r->{headers}{'set-cookie'}, undef, 'and gives nothing');
}
$r = $e->raw("GET http://$at/x?sandbox_link=$token HTTP/1.1\r\nHost: $at\r\n"
    . "Connection: close\r\n\r\n");
is($r->{headers}{location}, '/x', 'an absolute request target');
for my $case (["/?sandbox_link=$token&a=1&b", '/?a=1&b'],
    ["/?a=1&sandbox_link=$token&b=2", '/?a=1&b=2'],
    ["/?sandbox_link=$token&sandbox_link=$token", '/'],
    ["/%2F%2Fevil.test/?sandbox_link=$token", '/%2F%2Fevil.test/'],
    ["/a/../b?sandbox_link=$token", '/a/../b'])
{
    is(get($case->[0], %nav)->{headers}{location}, $case->[1],
        $case->[0] =~ s/\Q$token\E/…/gr);
}

# ---- where a cookie counts

my @tries = (
    [200, 'the own page fetches', { %own }],
    [200, 'its form', { %own, 'Sec-Fetch-Mode' => 'navigate' }, 'POST'],
    [200, 'typed in', { 'Sec-Fetch-Site' => 'none',
        'Sec-Fetch-Mode' => 'navigate', 'Sec-Fetch-Dest' => 'document' }],
    [200, 'a link on a foreign page', { %nav }],
    [200, 'what its own page loads ahead', { %own,
        'Sec-Purpose' => 'prefetch' }],
    [403, 'loaded ahead for a foreign page', { %nav,
        'Sec-Purpose' => 'prefetch' }],
    [403, 'for one that the browser keeps to itself', { %nav,
        'Sec-Fetch-Site' => 'none', 'Sec-Purpose' => 'prefetch;prerender' }],
    [200, 'on a sibling', { %nav, 'Sec-Fetch-Site' => 'same-site' }],
    [403, 'a foreign form', { %nav }, 'POST'],
    [403, "a sibling's form", { %nav, 'Sec-Fetch-Site' => 'same-site' },
        'POST'],
    [403, 'HEAD from elsewhere', { %nav }, 'HEAD'],
    [403, 'a sibling fetches', { %own, 'Sec-Fetch-Site' => 'same-site' }],
    [403, 'a foreign page fetches', { %own,
        'Sec-Fetch-Site' => 'cross-site' }],
    [403, 'a foreign image', { 'Sec-Fetch-Site' => 'cross-site',
        'Sec-Fetch-Mode' => 'no-cors', 'Sec-Fetch-Dest' => 'image' }],
    [403, "a sibling's frame", { %nav, 'Sec-Fetch-Site' => 'same-site',
        'Sec-Fetch-Dest' => 'iframe' }],
    [403, 'a foreign object', { %nav, 'Sec-Fetch-Dest' => 'object' }],
    [403, 'who does not say', {}],
    [403, 'who says nonsense', { 'Sec-Fetch-Site' => 'Same-Origin' }],
);
for my $t (@tries) {
    my ($status, $what, $h, $method) = @$t;

    $r = $e->get($at, '/', headers => { %$h, Cookie => $cookie },
        method => $method || 'GET');
    is($r->{status}, $status, $what);
    is($r->{headers}{'cache-control'}, $status == 200 ? 'private'
        : 'no-store', 'and what caches may do') if $status != 200;
}
like($e->get($at, '/', headers => { Cookie => $cookie })->{json}{code},
    qr/^CROSS_SITE$/, 'the error has a name');

sub socket_of {
    my (%h) = @_;

    return WebSocket->connect(port => $e->{port}, host => $at, path => '/ws',
        headers => [map { [$_, $h{$_}] } sort keys %h])->{response}{status};
}

is(socket_of(Cookie => $cookie, Origin => "http://$at"), 101,
    'a WebSocket of the own page');
is(socket_of(Cookie => $cookie, Origin => "https://$at"), 101,
    'behind a proxy that speaks TLS');
is(socket_of(Cookie => $cookie, Origin => "http://8000-other.preview.test"
    . ":$e->{port}", 'Sec-Fetch-Site' => 'same-site'), 403, 'of a sibling');
is(socket_of(Cookie => $cookie, %own), 403,
    'without an Origin, whatever else is said');
is(socket_of(Cookie => $cookie, Origin => 'null', %own), 403, 'of nobody');
is(socket_of(Cookie => $cookie, Origin => "http://$at.evil.test"), 403,
    'of a name that begins the same');
is(socket_of(Origin => "http://$at"), 404, 'without a cookie');
is($e->get($at, '/', headers => { Cookie => $cookie, %own,
    Upgrade => 'h2c' })->{status}, 403, 'another Upgrade is no way round');

# ---- what it is bound to

my $theirs = cookie('other');
like($theirs, qr/^__Host-sandbox=/, 'the cookie of another preview');
is(get('/', %own, Cookie => $theirs)->{status}, 404, 'opens not this one');
is(get('/', %own, Cookie => "$theirs; $cookie")->{status}, 200,
    'nor is it in the way of the right one');
$d->expose(slot => 1, port => 8003, label => '8003-demo', access => 'private',
    gen => 1001);
is($e->get("8003-demo.preview.test:$e->{port}", '/', headers =>
    { %own, Cookie => $cookie })->{status}, 404, 'another port of the sandbox');
$d->expose(slot => 1, port => 8000, label => 'custom.test',
    access => 'private', gen => 1001);
is($e->get("custom.test:$e->{port}", '/', headers =>
    { %own, Cookie => $cookie })->{status}, 404, 'another name of the same');

my $raw = decode_base64((substr($cookie, 15) =~ tr{-_}{+/}r) . '=');
$d->gone(kind => 'exposure', slot => 1, label => 'custom.test');
for my $i (0, 1, 2, 7, 8, 11, 12, 43) {
    my $bad = $raw;

    substr($bad, $i, 1) ^= "\x01";
    $bad = encode_base64($bad, '') =~ tr{+/=}{-_}dr;
    is(get('/', %own, Cookie => "__Host-sandbox=$bad")->{status}, 404,
        "a changed byte $i");
}
my $key = hmac_sha256('sandbox: links, cookies and tickets, 1', 's' x 40);
my ($body, $mac) = $raw =~ /^(.{12})(.{32})$/s;
my $bound = pack('N/a* N N n N/a*', $body, 6, 1, 8000, $host);
is(hmac_sha256($bound, $key), $mac, 'an HMAC over all that it is bound to');

# ---- its end

my $short = cookie('demo', expires => 2);
my ($s_link) = link_to('demo', expires => 2)->{json}{url} =~ m{^http://[^/]+(/.*)};
is(get('/', %own, Cookie => $short)->{status}, 200, 'a short access');
ok(wait_for(sub { get('/', %own, Cookie => $short)->{status} == 403 }, 6),
    'ends');
is(get('/', %own, Cookie => $short)->{json}{code}, 'LINK_EXPIRED',
    'and says so');
ok(wait_for(sub { get($s_link, %nav)->{status} == 403 }, 6),
    'and so does its link');
is(get($s_link, %nav, Cookie => $cookie)->{headers}{location}, '/',
    'which is no harm to who has access');

expose('demo', 1, gen => 77);
my @all = map { get('/', %own, Cookie => $cookie)->{json}{code} // '' }
    1 .. 20;
is_deeply(\@all, [('LINK_EXPIRED') x 20],
    'rotation ends cookies in every worker');
is(get($path, %nav)->{status}, 403, 'and links');
my $new = cookie('demo');
is(get('/', %own, Cookie => $new)->{status}, 200, 'new ones work');
is(get('/', %own, Cookie => "$cookie; $new")->{status}, 200,
    'beside an old one');
$d->gone(kind => 'exposure', slot => 1, label => '8000-demo');
is(get('/', %own, Cookie => $new)->{status}, 404, 'nothing is left of it');
expose('demo', 3, gen => 77);
$e->agent(3, id => 'demo2', ports => []);
is(get('/', %own, Cookie => $new)->{status}, 404,
    'also when the name is that of another sandbox');
expose('demo', 1, gen => 78);
$cookie = cookie('demo');
($path) = link_to('demo', path => '/z')->{json}{url} =~ m{^http://[^/]+(/.*)};

# A request that waits for its sandbox when access is withdrawn.
$d->sandbox(slot => 4, id => 'late', state => 'asleep');
expose('late', 4);
my $late = cookie('late');
$d->fault(start_delay => 1.5, start_run => { 4 => { key => $e->key(4) } });
my $s = http_connect(port => $e->{port});
http_send($s, "GET / HTTP/1.1\r\nHost: 8000-late.preview.test:$e->{port}\r\n"
    . "Cookie: $late\r\nSec-Fetch-Site: none\r\nConnection: close\r\n\r\n");
ok(wait_for(sub { $d->stats->{calls}{start} }, 5), 'a request waits');
expose('late', 4, gen => 9);
is(http_read($s, timeout => 30)->{status}, 404,
    'and is refused when access is withdrawn meanwhile');

# ---- survivors

ok($e->reload, 'a reload');
is(get('/', %own, Cookie => $cookie)->{status}, 200, 'cookies survive it');
$e->stop;
$e->start;
is(get('/', %own, Cookie => $cookie)->{status}, 200, 'and a restart');

# ---- keys

is(get('/', Authorization => "Bearer $Edge::KEY")->{status}, 200,
    'a key of the API');
unlike($agent->log, qr/\Q$Edge::KEY\E/, 'which stays outside');
like($e->get($at, '/', headers => [['Authorization', "Bearer $Edge::KEY"],
    ['Authorization', 'Bearer x']])->{status}, qr/^40[04]$/, 'one of two');
is($e->get($at, '/p', method => 'POST', body => 'x', headers =>
    { Authorization => "Bearer $Edge::KEY" })->{status}, 200,
    'any method');
is(scalar(grep { get('/', %own, Authorization => "Bearer of-the-app-$_",
    Cookie => $cookie)->{status} == 200 } 1 .. 30), 30,
    'an app has tokens of its own');
is($e->api(GET => '/v1/sandbox', headers => { Authorization => 'Bearer wrong' })
    ->{status}, 401, 'which are no wrong keys');
is(get('/', %own, Authorization => 'Bearer of-the-app', Cookie => $cookie)
    ->{json}{head} =~ /^Authorization: Bearer of-the-app/m, 1,
    "the app's own goes through");

# ---- links where none is needed

$r = $e->get("8001-demo.preview.test:$e->{port}", "/q?sandbox_link=$token&x=1");
is($r->{headers}{location}, '/q?x=1', 'a link to what is public now');
is($r->{headers}{'set-cookie'}, undef, 'gives no cookie');
$r = $e->get($at, "/q?sandbox_link=$token&x=1", method => 'POST', body => 'x',
    headers => { %own, Cookie => $cookie });
is($r->{json}{uri}, '/q?x=1', 'in a POST it is taken out');

# ---- answers

sub answer {
    my (@headers) = @_;
    my $bytes = join "\r\n", 'HTTP/1.1 200 OK', @headers, 'Content-Length: 2',
        '', 'ok';

    return get('/raw?' . unpack('H*', $bytes), %own, Cookie => $cookie);
}

for my $case ([[], 'private'],
    [['Cache-Control: public, max-age=60'], 'private,max-age=60'],
    [['cache-control: S-MaxAge=9,no-cache="a,public"'],
        'private,no-cache="a,public"'],
    [['Cache-Control: private="x", no-store'], 'private,no-store'],
    [['Cache-Control: '], 'private'])
{
    is(answer(@{ $case->[0] })->{headers}{'cache-control'}, $case->[1],
        "caches: @{ $case->[0] }");
}
$r = answer('Surrogate-Control: max-age=9', 'CDN-Cache-Control: max-age=9',
    'Edge-Control: max-age=9', 'Some-CDN-Cache-Control: max-age=9',
    'Set-Cookie: __Host-sandbox=evil; Path=/; Secure',
    "Set-Cookie: __Host-sandbox \t =evil; Path=/; Secure",
    'Set-Cookie: =__Host-sandbox=evil; Path=/; Secure', 'Set-Cookie: a=b');
is($r->{headers}{$_}, undef, "no $_") for 'surrogate-control',
    'cdn-cache-control', 'edge-control', 'some-cdn-cache-control';
is_deeply([map { $_->[1] } grep { lc $_->[0] eq 'set-cookie' } @{ $r->{all} }],
    ['a=b'], 'an app has no say in our cookie');

# ---- nothing of ours inside, or in a log

is($e->get("8001-demo.preview.test:$e->{port}", '/', headers =>
    { Cookie => $cookie })->{json}{head} =~ /cookie/i, '',
    'a public preview does not get the cookie either');
is($e->get($at, '/', headers => [%own ? map { [$_, $own{$_}] } keys %own : (),
    ['Cookie', "x=1; $cookie"], ['Cookie', "$cookie"], ['Cookie', 'y=2']])
    ->{status}, 200, 'several Cookie headers');
$e->raw("GET /?sandbox_link=$token HTTP/9.9\r\nHost: $at\r\n\r\n");
$e->raw("GET /?sandbox_link=$token HTTP/1.1\r\nHost: $at\r\nBad header\r\n\r\n");
get($path, %nav);
like($e->get($at, '/r', headers => [(map { [$_, $own{$_}] } keys %own),
    ['Cookie', $cookie], ['Referer', "http://$at/x?a=b&sandbox_link=$token"],
    ['Referer', "http://$at/y?sandbox_link=$token&c=d"]])->{status},
    qr/^(?:200|400)$/, 'two pages at the address of a link');
$r = get('/r', %own, Cookie => $cookie,
    Referer => "http://$at/x?a=b&sandbox_link=$token");
like($r->{json}{head}, qr{^Referer: http://localhost:8000/x\?a=b\r$}m,
    'a page at the address of a link is named without it');
is(get('/returned', %own, Cookie => "e=f; $cookie")->{status}, 204,
    'answered before the gate');
$e->get('8000-nobody.preview.test', '/',
    headers => { Referer => "http://$at/?sandbox_link=$token" });
$e->stop;

my $everything = $agent->log . $other->log;
my @secrets = map { substr $_, 0, 40 } $token, substr($cookie, 15),
    substr($theirs, 15), substr($new, 15), $path =~ /link=(.*)/;

for my $secret (@secrets) {
    unlike($everything, qr/\Q$secret\E/, 'no credential has gone inside');
    unlike(slurp("$e->{ngx}/all.log") . slurp("$e->{ngx}/access.log"),
        qr/\Q$secret\E/, 'or into an access log');
    my @lines = grep { /\Q$secret\E/ && !/client sent invalid/ }
        split /\n/, slurp($e->{error_log});
    is("@lines", '', 'or into the error log');
}
like(slurp("$e->{ngx}/all.log"), qr{^GET /returned HTTP[^|]*(?:\|[^|]*){3}\|e=f\|}m,
    "of cookies, the app's own are logged");
like(slurp("$e->{ngx}/all.log"), qr{^GET /a/b\?c=d HTTP/1\.1\|/a/b\?c=d\|c=d}m,
    'a link is logged without its token');
unlike($everything, qr/^cookie: *\r?$/mi, 'no empty Cookie header');

$e->no_alerts;
done_testing();
