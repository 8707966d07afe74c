#!/usr/bin/perl

# Real applications inside sandboxes, reached through previews: a Node
# WebSocket echo server, Python's file server, a Django form with its origin
# check, server-sent events.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(time);
use WebSocket;

alarm_after(240);

my $s = System->start;
my $apps = top_dir() . '/t/apps';

sub upload {
    my ($id, $file) = @_;

    is($s->api(PUT => "/v1/sandbox/$id/file/workspace/$file",
        body => slurp("$apps/$file"))->{status}, 200, "$file is uploaded");
}

# ---- Node: WebSocket

upload('node', 'ws-echo.js');
ok($s->serve('node', 9000,
    'NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs node /workspace/ws-echo.js 9000'),
    'a Node server starts');

my $e = $s->expose('node', 9000);
my ($host) = $e->{url} =~ m{//([^/]+)};
my $ws = WebSocket->connect(port => $s->{port}, host => $host,
    headers => [['Sec-WebSocket-Protocol', 'other, echo'],
                ['Origin', "http://$host"]]);

ok($ws->{ok}, 'a WebSocket opens') or diag($ws->{response}{raw});
is($ws->{response}{headers}{'sec-websocket-protocol'}, 'echo',
    'with its subprotocol');

my ($op, $data) = $ws->receive;
my $hello = json_decode($data);

is($hello->{host}, 'localhost:9000', 'Host is local for WebSockets as well');
is($hello->{origin}, 'http://localhost:9000', 'and so is its own Origin');

$ws->send('text both ways');
is(($ws->receive)[1], 'text both ways', 'text');
my $binary = join '', map { chr } 0 .. 255;
$ws->send_binary($binary x 1024);
($op, $data) = $ws->receive;
is($op, 2, 'binary');
is($data, $binary x 1024, '256 KiB unharmed');
$ws->send("n$_") for 1 .. 200;
is(join(',', map { ($ws->receive)[1] } 1 .. 200),
    join(',', map { "n$_" } 1 .. 200), '200 frames in order');
$ws->send('close');
($op, $data) = $ws->receive;
is($op, 8, 'the server closes');
is(unpack('n', $data), 4001, 'with its code');
$ws->close;

my $bad = WebSocket->connect(port => $s->{port},
    host => "9000-node-aaaaaaaaaaaaaaaa.localhost:$s->{port}");
is($bad->{response}{status}, 404, 'no upgrade with a wrong token');

# The client sends frames right behind its handshake, in one packet.
my $sock = http_connect(port => $s->{port});
my $mask = "\1\2\3\4";
http_send($sock, "GET / HTTP/1.1\r\nHost: $host\r\nUpgrade: websocket\r\n"
    . "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    . "\x81\x85$mask" . ('early' ^ substr($mask x 2, 0, 5)));
my $got = '';
my $end = time() + 10;
while (time() < $end && $got !~ /early/) {
    sysread($sock, $got, 4096, length $got) or last;
}
like($got, qr/\x81\x05early/, 'early frames arrive');
close $sock;

# h2c must not pass: it would open a second, unseen protocol to the service.
my $h2c = $s->preview($e->{url}, headers => [['Upgrade', 'h2c'],
    ['Connection', 'Upgrade, HTTP2-Settings'], ['HTTP2-Settings', 'AAMAAABk']]);
isnt($h2c->{status}, 101, 'Upgrade passes for websocket only');

# ---- Python: files

my $r = $s->api(PUT => '/v1/sandbox/files/file/workspace/pub/a%20b.txt',
    body => "hello\n");
is($r->{status}, 200, 'a file with a blank in its name');
ok($s->serve('files', 8000, 'cd /workspace/pub && exec python3 -m http.server 8000'),
    "Python's file server starts");
$e = $s->expose('files', 8000);
$r = $s->preview($e->{url}, path => '/a%20b.txt');
is($r->{body}, "hello\n", 'a file');
like($s->preview($e->{url})->{body}, qr/a%20b\.txt/, 'a listing');
is($s->preview($e->{url}, path => '/nothing')->{status}, 404, 'its own 404');
is($s->preview($e->{url}, method => 'HEAD', path => '/a%20b.txt')->{headers}
    {'content-length'}, 6, 'HEAD');

# ---- Django: a form that checks the origin

upload('django', 'django_form.py');
ok($s->serve('django', 8000,
    'python3 /workspace/django_form.py runserver 127.0.0.1:8000 --noreload'),
    'Django starts');
$e = $s->expose('django', 8000);
($host) = $e->{url} =~ m{//([^/]+)};
$r = $s->preview($e->{url});
is($r->{status}, 200, 'the form') or diag($r->{raw} // $r->{body});
my ($token) = $r->{body} =~ /value="(\w+)"/;
my ($cookie) = ($r->{headers}{'set-cookie'} || '') =~ /^(csrftoken=\w+)/;
ok($token && $cookie, 'has a token and a cookie');

my %form = (method => 'POST',
    body => "csrfmiddlewaretoken=$token&word=gotcha");
my @type = ['Content-Type', 'application/x-www-form-urlencoded'];

$r = $s->preview($e->{url}, %form, headers => [@type, ['Cookie', $cookie],
    ['Origin', "http://$host"], ['Referer', "http://$host/"]]);
is($r->{status}, 302, 'the form is taken from its own origin')
    or diag($r->{body});
is($r->{headers}{location}, "http://$host/done",
    'its absolute redirect leads to the preview');
$r = $s->preview($r->{headers}{location} || $e->{url});
is($r->{body}, 'got: gotcha', 'and arrives');
$r = $s->preview($e->{url}, %form, headers => [@type, ['Cookie', $cookie],
    ['Origin', 'http://evil.example']]);
is($r->{status}, 403, 'from another origin it is refused by the framework');

# ---- server-sent events

$r = $s->api(PUT => '/v1/sandbox/sse/file/workspace/echo.py',
    body => slurp("$apps/echo.py"));
ok($s->serve('sse', 8000, 'python3 /workspace/echo.py 8000'), 'a source of events');
$e = $s->expose('sse', 8000);

my @at;
my $begun = time();
$s->preview($e->{url}, path => '/sse?n=5&ms=200', on_data => sub {
    push @at, time() - $begun for $_[0] =~ /data: \d/g;
    1;
});
is(scalar @at, 5, 'five events');
cmp_ok($at[4] - $at[0], '>', 0.5, 'not all at once');

$s->stop;
done_testing();
