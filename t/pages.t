#!/usr/bin/perl

# What is shown instead of a preview: a page for browsers, JSON for programs,
# one's own page where nginx has an error_page; and, in a real browser, the
# page of a start that tries again by itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Browser;
use Edge;
use Harness;
use Test::More;

alarm_after(180);

my $e = Edge->new(http_conf => 'sandbox_wake_timeout 2s;',
    read_timeout => '1s');
my $proxy = top_dir() . '/conf-examples/sandbox_proxy.conf';
my ($no_wake, $own) = ('nowake.test', 'own.test');

$e->{more_servers} = <<"EOC";
    server {
        listen 127.0.0.1:$e->{port};
        server_name *.$no_wake;
        sandbox_preview $no_wake;
        sandbox_wake off;
        location / {
            include $proxy;
            proxy_pass http://sandboxes;
        }
    }
    server {
        listen 127.0.0.1:$e->{port};
        server_name *.$own;
        sandbox_preview $own;
        sandbox_wake off;
        error_page 404 410 502 503 /own.html;
        location / {
            include $proxy;
            proxy_pass http://sandboxes;
        }
        location = /own.html {
            internal;
            add_header X-Own \$status always;
            return 200 "own page";
        }
    }
EOC

$e->agent(1, ports => [8000, 9001, 9006, 9007, 9008, 9009]);
$e->agent(2, state => 'asleep');
$e->agent(3, state => 'asleep');
$e->start;

my $d = $e->daemon;
my %browser = (Accept => 'text/html,application/xhtml+xml,*/*;q=0.8',
    'Sec-Fetch-Mode' => 'navigate', 'Sec-Fetch-Dest' => 'document');

# shown(HOST, %options): the answer to a browser that navigates there
sub shown {
    my ($host, %o) = @_;

    return $e->get($host, '/', headers => \%browser, timeout => 60, %o);
}

sub title { return ($_[0]{body} =~ m{<title>([^<]*)</title>})[0] // 'none' }
sub refresh { return ($_[0]{body} =~ /http-equiv="refresh" content="(\d+)"/)[0] }

# page(WHAT, ANSWER, STATUS, TITLE, TEXT)
sub page {
    my ($what, $r, $status, $title, $text) = @_;
    my $h = $r->{headers};

    is($r->{status}, $status, "$what: $status");
    is(title($r), $title, '... its title');
    like($r->{body}, $text, '... what it says');
    is($h->{'content-type'}, 'text/html; charset=utf-8', '... a page');
    like($h->{'content-security-policy'} // '', qr/default-src 'none'/,
        '... that loads nothing');
    is($h->{'cache-control'}, 'no-store', '... and is not kept');
    unlike($r->{body}, qr/(?:src|href)=|<script/, '... and links nowhere');
}

# ---- each state ---------------------------------------------------------------

page('nothing there', shown('8000-nobody-tok.preview.test'), 404,
    'No preview here', qr/needs a link that opens it/);
page('asleep, not to be woken', shown("8000-box2-tok.$no_wake"), 410,
    'This sandbox is not running', qr/doesn&#39;t|doesn't/);
page('nobody listens', shown('9001-box1-tok.preview.test'), 502,
    'The preview is not answering', qr/Nothing listens on port 9001 of this/);
page('no answer', shown('9009-box1-tok.preview.test'), 502,
    'The preview is not answering', qr/port 9009 .* closed the connection/);
page('no HTTP', shown('9008-box1-tok.preview.test'), 502,
    'The preview is not answering', qr/port 9008 .* no HTTP/);
page('too slow', shown('9007-box1-tok.preview.test'), 504,
    'The preview takes too long', qr/port 9007 .* did not answer in time/);

# ---- a start ------------------------------------------------------------------

$d->fault(start_delay => 30);
my $r = shown('8000-box2-tok.preview.test');
page('a start that takes its time', $r, 503, 'The sandbox is starting',
    qr/takes a moment to wake/);
ok(refresh($r), 'it tries again by itself, in ' . (refresh($r) // '?') . ' s');
is($r->{headers}{'retry-after'}, refresh($r), 'as Retry-After says')
    or diag json_encode($r->{headers});

$r = shown('8000-box2-tok.preview.test', method => 'POST', body => 'x=1');
is($r->{status}, 503, 'a form');
is(refresh($r), undef, 'is not sent a second time');

my $nasty = '<script>alert(1)</script> "&\'';
$d->fault(start_delay => 0, start_error => { status => 503,
    code => 'start_failed', message => "it said: $nasty", retry_after => 9 });
$r = shown('8000-box3-tok.preview.test');
page('a start that fails', $r, 503, 'The sandbox did not start',
    qr/it said: &lt;script&gt;alert\(1\)&lt;\/script&gt; &quot;&amp;/);
is(refresh($r), 9, 'it tries again when it may');
$d->fault(start_error => undef);

# ---- for whom -----------------------------------------------------------------

for my $case (['a program', Accept => '*/*'],
    ['one that takes JSON', Accept => 'application/json, text/html;q=0.5'],
    ["a page's fetch", Accept => '*/*', 'Sec-Fetch-Mode' => 'cors'],
    ["a page's fetch of HTML", Accept => 'text/html',
        'Sec-Fetch-Mode' => 'cors'])
{
    my ($what, %headers) = @$case;
    my $r = $e->get('9001-box1-tok.preview.test', '/', headers => \%headers);

    is("$r->{status} " . ($r->{json}{code} // 'no JSON'),
        '502 SERVICE_NOT_RESPONDING', "$what gets JSON");
}
$r = shown('9001-box1-tok.preview.test', method => 'HEAD');
is("$r->{status} $r->{body}", '502 ', 'HEAD has no body');
my %of = map { my %h = %{ shown('9001-box1-tok.preview.test', method => $_)
    ->{headers} }; delete $h{date}; ($_ => \%h) } 'GET', 'HEAD';
is_deeply($of{HEAD}, $of{GET}, '... and the headers of GET');
$r = shown('8000-box1-tok.preview.test');
is($r->{json}{name}, 'box1', 'what works is not touched');

# ---- one's own ----------------------------------------------------------------

for my $case (['8000-nobody-tok', 404], ['8000-box2-tok', 410],
    ['9001-box1-tok', 502])
{
    my ($name, $status) = @$case;

    for my $headers (\%browser, { Accept => '*/*' }) {
        $r = $e->get("$name.$own", '/', headers => $headers);
        is("$r->{status} $r->{body}", "$status own page",
            "error_page for $status, "
            . ($headers == \%browser ? 'to a browser' : 'to a program'));
    }
}

# ---- in a browser -------------------------------------------------------------

SKIP: {
    skip 'there is no Chromium', 3 unless Browser::program();
    skip 'the browser is the same with sanitizers', 3 if is_san();

    my $b = Browser->start(map => ['*.preview.test']);
    my $p = $b->page;

    $d->fault(start_delay => 3, start_run => { 2 => { key => $e->key(2) } });
    $p->open("http://8000-box2-tok.preview.test:$e->{port}/");
    is($p->eval('document.title'), 'The sandbox is starting',
        'a sandbox that starts');
    $p->screenshot($ENV{SANDBOX_SCREENSHOT}) if $ENV{SANDBOX_SCREENSHOT};
    $d->sandbox(slot => 2, id => 'box2', key => $e->key(2), state => 'running',
        epoch => 2);
    ok($p->wait(sub { ($p->text // '') =~ /"name":\s*"box2"/ }, 60),
        'is shown when it runs, without a hand') or diag $p->text;
    $p->open("http://9001-box1-tok.preview.test:$e->{port}/");
    ok($p->wait(sub {
        ($p->eval('getComputedStyle(document.body).display') // '') eq 'flex'
    }, 30), 'the page has its style in spite of its policy');
    $b->stop;
}

$e->stop;
$e->no_alerts;
done_testing();
