#!/usr/bin/perl

# Private previews in a real browser, and what a page on a sibling, which is
# the same site to browsers, can do to one: nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Browser;
use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

Browser::program() or plan skip_all => 'there is no Chromium';
is_san() and plan skip_all => 'the browser is the same with sanitizers';

alarm_after(600);

my $e = Edge->new(workers => 2, listen_options => 'ssl',
    server_conf => 'error_page 418 /never;');
my ($api_port, $dir) = (free_port(), $e->{dir});

run_command(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
    'ec_paramgen_curve:prime256v1', '-nodes', '-days', 2, '-subj', '/CN=test',
    '-keyout', "$dir/tls.key", '-out', "$dir/tls.crt"]);
$e->{http_conf} = "ssl_certificate $dir/tls.crt;\n"
    . "ssl_certificate_key $dir/tls.key;\n";
$e->{more_servers} = <<"EOC";
    server {
        listen 127.0.0.1:$api_port;
        server_name plain.test;
        sandbox_scheme https;
        sandbox_api on;
        sandbox_api_keys $dir/keys;
    }
EOC

my $mine = $e->agent(1, id => 'mine', ports => []);
my $evil = $e->agent(2, id => 'evil', ports => []);

$e->daemon->expose(slot => 1, port => 8000, label => '8000-mine',
    access => 'private', gen => 5);
$e->daemon->expose(slot => 2, port => 8000, label => '8000-evil',
    access => 'public');
$e->start;

my $own = "https://8000-mine.preview.test:$e->{port}";
my $sibling = "https://8000-evil.preview.test:$e->{port}";

sub link_to {
    my (%o) = @_;

    return http(port => $api_port, host => 'plain.test', method => 'POST',
        path => '/v1/sandbox/mine/ports/8000/link',
        headers => { Authorization => "Bearer $Edge::KEY" },
        json => { hostname => "preview.test:$e->{port}", %o })->{json}{url};
}

# A page of an app's own, as FakeAgent serves it.
sub page_at {
    my ($origin, $html, @headers) = @_;
    my $raw = join "\r\n", 'HTTP/1.1 200 OK', 'Content-Type: text/html',
        @headers, 'Content-Length: ' . length $html, '', $html;

    return "$origin/raw?" . unpack 'H*', $raw;
}

# What has reached the private sandbox since the last time.
my $seen = 0;
sub reached {
    my $log = $mine->log;
    my $new = substr $log, $seen;

    $seen = length $log;

    return join ' ', grep { !m{^/favicon} } $new =~ /^(?:GET|POST|PUT) (\S+)/mg;
}

my $b = Browser->start(map => ['*.preview.test', 'api.test', 'rebind.test',
    'other.test']);
my $p = $b->page;

# ---- a link, pages, fetch, WebSocket

$p->open("$own/");
is($p->status, 404, 'a stranger sees nothing');
is($p->eval('document.title'), 'No preview here', 'but a page');
is(reached(), '', 'and nothing reaches the sandbox');

$p->open(link_to(path => '/a?b=c'));
is($p->url, "$own/a?b=c", 'a link leads to the clean address');
is($p->status, 200, 'where the preview is');
is(reached(), '/a?b=c', 'once');
my ($cookie) = grep { $_->{name} eq '__Host-sandbox' } $p->cookies("$own/");
ok($cookie && $cookie->{httpOnly} && $cookie->{secure}, 'with a cookie');
is($p->eval('document.cookie'), '', 'that the page can not read');
$p->open("$own/b");
is($p->status, 200, 'another page');
is($p->eval('fetch("/c").then(r => r.status)'), 200, 'its fetch');
is($p->eval('fetch("/d", {method: "POST", body: "x"}).then(r => r.status)'),
    200, 'its POST');
my $socket = 'new Promise(ok => { const w = new WebSocket(%s); '
    . 'w.onmessage = m => ok(m.data); w.onerror = () => ok("refused") })';
is($p->eval(sprintf $socket, qq{"wss:" + location.host + "/ws"} =~ s/wss:/wss:\/\//r),
    'hello', 'its WebSocket');
unlike($mine->log, qr/__Host-sandbox|sandbox_link/, 'nothing of ours inside');
reached();

# ---- from a sibling

$p->open(page_at($sibling, '<title>evil</title><body></body>'));
is($p->eval('document.title'), 'evil', "a sibling's page");

for my $case (
    ['a fetch', qq{fetch("$own/x1", {credentials: "include", mode: "no-cors"}).then(r => r.type, () => "failed")}],
    ['with CORS', qq{fetch("$own/x2", {credentials: "include"}).then(r => r.status, () => "failed")}],
    ['a POST', qq{fetch("$own/x3", {method: "POST", credentials: "include", mode: "no-cors", body: "x"}).then(r => r.type, () => "failed")}],
    ['an image', qq{new Promise(ok => { const i = new Image(); i.onload = () => ok("loaded"); i.onerror = () => ok("failed"); i.src = "$own/x4" })}],
    ['a script', qq{new Promise(ok => { const i = document.createElement("script"); i.onload = () => ok("loaded"); i.onerror = () => ok("failed"); i.src = "$own/x5"; document.body.append(i) })}],
    ['a WebSocket', sprintf($socket, qq{"wss://8000-mine.preview.test:$e->{port}/x6"})],
    ['a frame', qq{new Promise(ok => { const i = document.createElement("iframe"); i.onload = () => ok("done"); i.src = "$own/x7"; document.body.append(i) })}],
    ['a form', qq{new Promise(ok => { const i = document.createElement("iframe"); i.name = "t"; document.body.append(i); const f = document.createElement("form"); f.action = "$own/x8"; f.method = "POST"; f.target = "t"; document.body.append(f); i.onload = () => ok("done"); f.submit() })}],
    ['an object', qq{new Promise(ok => { const i = document.createElement("object"); i.onload = () => ok("loaded"); i.onerror = () => ok("failed"); i.data = "$own/x9"; document.body.append(i) })}],
    ['an EventSource', qq{new Promise(ok => { const i = new EventSource("$own/xa", {withCredentials: true}); i.onopen = () => ok("open"); i.onerror = () => { i.close(); ok("failed") } })}],
    ['a style', qq{new Promise(ok => { const i = document.createElement("link"); i.rel = "stylesheet"; i.onload = () => ok("loaded"); i.onerror = () => ok("failed"); i.href = "$own/xb"; document.head.append(i) })}],
    ['a module', qq{import("$own/xc").then(() => "loaded", () => "failed")}],
    ['a video', qq{new Promise(ok => { const i = document.createElement("video"); i.onloadeddata = () => ok("loaded"); i.onerror = () => ok("failed"); i.src = "$own/xd"; document.body.append(i) })}],
    ['a worker', qq{new Promise(ok => { const u = URL.createObjectURL(new Blob(["try { importScripts('$own/xe'); postMessage('loaded') } catch { postMessage('failed') }"])); new Worker(u).onmessage = m => ok(m.data) })}],
    ['a service worker', qq{navigator.serviceWorker.register("$own/xf", {scope: "$own/"}).then(() => "registered", () => "failed")}],
)
{
    my ($what, $code) = @$case;

    $p->eval($code);
    is(reached(), '', "$what does not reach it");
}

# What is sent without an answer that a page could wait for, and what is loaded
# ahead, where the browser does so.
$p->eval(qq{navigator.sendBeacon("$own/z1", "x");
    const a = document.createElement("a"); a.href = "#"; a.ping = "$own/z2";
    document.body.append(a); a.click();
    const f = document.createElement("link"); f.rel = "prefetch";
    f.href = "$own/z3"; document.head.append(f);
    const r = document.createElement("script"); r.type = "speculationrules";
    r.textContent = JSON.stringify({prefetch: [{source: "list",
        urls: ["$own/z4"], eagerness: "immediate"}], prerender: [{source:
        "list", urls: ["$own/z5"], eagerness: "immediate"}]});
    document.head.append(r); 1});
my $came = sub { join ' ', sort keys %{ { map { $_ => 1 }
    (slurp("$e->{ngx}/access.log") // '') =~ m{ /(z\d) }g } } };
wait_for(sub { $came->() eq 'z1 z2 z3 z4 z5' }, 30);
like($came->(), qr/^z1\b/, 'a beacon and others: ' . $came->());
is(reached(), '', 'none reaches it');
$p->eval(qq{location.href = "$own/z4"; 1});
ok($p->wait(sub { $p->url eq "$own/z4" }, 30), 'who then goes there');
is($p->status, 200, 'gets there');
is(reached(), '/z4', 'and not what was loaded ahead');
$p->open(page_at($sibling, '<title>evil</title><body></body>'));

# A form that fills the window.
$p->eval(qq{const g = document.createElement("form"); g.action = "$own/y1"; g.method = "POST"; document.body.append(g); g.submit(); 1});
ok($p->wait(sub { $p->url eq "$own/y1" }, 30), 'a form that fills the window');
is(reached(), '', 'does not either');

# Cookies for the whole domain, by a page and by an answer.
$p->open(page_at($sibling, '<title>toss</title><body></body>',
    'Set-Cookie: __Host-sandbox=x; Domain=preview.test; Path=/; Secure',
    'Set-Cookie: tossed=1; Domain=preview.test; Path=/; Secure',
    'Clear-Site-Data: "*"'));
$p->eval('document.cookie = "__Host-sandbox=x; Domain=preview.test; Path=/; '
    . 'Secure"; 1');
my @now = $p->cookies("$own/");
is(join(' ', map { "$_->{name}=$_->{value}" } @now),
    "__Host-sandbox=$cookie->{value}",
    'no cookie of a sibling gets there, and none is cleared');

# ---- the API

for my $url ("https://api.test:$e->{port}/v1/sandbox",
    "https://rebind.test:$e->{port}/v1/sandbox")
{
    my $r = $p->eval(qq{fetch("$url", {credentials: "include"}).then(r => r.text(), () => "failed")});

    unlike($r, qr/sandboxes/, "no way to $url");
}
$p->open("https://rebind.test:$e->{port}/v1/sandbox");
is($p->status, 404, 'a name that points here is no API');

# ---- frames

my $frame = sub {
    my ($url) = @_;

    $p->open(page_at("https://8000-evil.preview.test:$e->{port}",
        "<title>f</title><iframe src=\"$url\"></iframe>"));
    return reached();
};

is($frame->(link_to(path => '/f1')), '', 'a link does not open in a frame');
like($frame->(link_to(path => '/f2', embed => JSON::PP::true())), qr{^/f2$},
    'one that may be embedded does');

# ---- no redirect to elsewhere, and the end

my ($pass) = link_to() =~ /(sandbox_link=.*)/;
$p->open("$own//other.test/?$pass");
like($p->url, qr/^\Q$own\E/, 'no redirect to another host');
is($p->status, 400, 'but an error');

$e->daemon->expose(slot => 1, port => 8000, label => '8000-mine',
    access => 'private', gen => 6);
$p->open("$own/after");
is($p->status, 403, 'rotation ends it');
is($p->eval('document.title'), 'This link is not valid any more',
    'and says so');
$p->screenshot($ENV{SANDBOX_SCREENSHOT}) if $ENV{SANDBOX_SCREENSHOT};

$b->stop;
$e->stop;
$e->no_alerts;
done_testing();
