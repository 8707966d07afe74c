#!/usr/bin/perl

# /v1/sandbox/{id}/proxy/{port}: a port inside for who has a key.  What the
# service is sent, what comes back, and what never gets inside.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(240);

my $s = System->start;
my $base = '/v1/sandbox/app/proxy/8000';

# It answers with what it was sent, and with what it is told to.
$s->api(PUT => '/v1/sandbox/app/file/workspace/echo.py', body => <<'EOP');
import http.server, json
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do(self):
        n = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(n).decode()
        text = json.dumps({'method': self.command, 'path': self.path,
                           'body': body, 'raw': str(self.headers)}).encode()
        self.send_response(302 if 'to=' in self.path else 200)
        if 'to=' in self.path:
            self.send_header('Location', self.path.split('to=')[1])
        self.send_header('Set-Cookie', 'a=1; Domain=localhost')
        self.send_header('Set-Cookie', 'b=2; Path=' + self.path)
        self.send_header('X-Accel-Redirect', '/v1/openapi.json')
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(text)
    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do
    do_OPTIONS = do_PATCH = do_REPORT = do
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), H).serve_forever()
EOP

my $r = $s->api(GET => $base);
is($r->{status}, 502, 'nothing listens yet');
is($r->{json}{code}, 'service_not_responding', 'in the form of the API');
like($r->{json}{error}, qr/8000/, 'it says which port');

ok($s->serve('app', 8000, 'python3 echo.py'), '(a service)');

for my $case ([$base, '/'], ["$base/", '/'], ["$base?x=1", '/?x=1'],
    ["$base/a/b?x=%2F", '/a/b?x=%2F'], ["$base/a%2fb%20c", '/a%2fb%20c'],
    ["$base/..%2f..%2fapi/execute", '/..%2f..%2fapi/execute'],
    ["$base/x//", '/x//'])
{
    $r = $s->api(GET => $case->[0]);
    is($r->{json}{path}, $case->[1], "$case->[0] is $case->[1]")
        or diag($r->{raw} // $r->{body});
}

$r = $s->api(POST => "$base/form", body => 'abc', headers => {
    Cookie => 'app=1', 'X-Forwarded-For' => '6.6.6.6', 'X-Real-IP' => '6.6.6.6',
    'X-Sandbox-Name' => 'other', Forwarded => 'for=6.6.6.6',
    'X-Original-URL' => '/admin', 'X-Custom' => 'kept' });
is($r->{json}{method}, 'POST', 'the method');
is($r->{json}{body}, 'abc', 'and the body get there');
my $raw = $r->{json}{raw};
like($raw, qr/^Host: localhost:8000$/m, 'Host is the local one');
like($raw, qr/^Cookie: app=1$/m, "the app's cookies are the app's");
like($raw, qr/^X-Custom: kept$/m, 'and its headers');
unlike($raw, qr/\Q$s->{key}\E/, 'our key stays outside');
unlike($raw, qr/^Authorization/m, 'all of that header does');
unlike($raw, qr/6\.6\.6\.6|^X-Sandbox|^Forwarded|^X-Original/mi,
    'nothing forged gets in');

for my $method (qw(PUT DELETE OPTIONS PATCH REPORT)) {
    is($s->api($method => "$base/m")->{json}{method}, $method, $method);
}

is($s->api(HEAD => "$base/m")->{status}, 200, 'HEAD');

my %h = %{ $s->api(GET => $base)->{headers} };
is($h{'content-security-policy'}, 'sandbox',
    "what an app sends is not shown as the API's own");
is($h{'set-cookie'}, "b=2; Path=$base",
    'a cookie stays on its host, below its port');
is($s->api(GET => "$base/a/")->{headers}{'set-cookie'}, "b=2; Path=$base/a/",
    'with a path of its own');
ok(!$h{'x-accel-redirect'}, 'nginx is not commanded');

for my $case (['/login', "http://localhost:$s->{port}$base/login"],
    ['http://localhost:8000/x?y', "http://localhost:$s->{port}$base/x?y"],
    ['https://example.com/', 'https://example.com/'],
    ['//example.com/', '//example.com/'])
{
    is($s->api(GET => "$base/?to=$case->[0]")->{headers}{location},
        $case->[1], "a redirect to $case->[0]");
}

# ---- who may

is($s->api(GET => $base, no_key => 1)->{status}, 401, 'not without a key');
is($s->api(GET => "/v1/sandbox/app/proxy/$_")->{status}, 400, "no port: $_")
    for '0', '80', '3000', '65536', '08000', '+8000', 'x';
is($s->api(GET => '/v1/sandbox/app/proxy')->{status}, 404, 'no port at all');
is($s->api(TRACE => $base)->{status}, 405, 'TRACE is refused');
is_deeply($s->api(GET => '/v1/sandbox/app/ports')->{json}{ports}, [],
    'nothing is exposed by it');
is($s->api(GET => '/v1/sandbox/new/proxy/8000')->{status}, 502,
    'it starts a sandbox as any operation inside does');
is($s->api(GET => '/v1/sandbox/new')->{json}{state}, 'running',
    'which runs then');

# ---- WebSocket: bytes after the upgrade go both ways

$s->api(PUT => '/v1/sandbox/app/file/workspace/ws.py', body => <<'EOP');
import base64, hashlib, socket
l = socket.create_server(('127.0.0.1', 8001))
while True:
    c, _ = l.accept()
    head = b''
    while b'\r\n\r\n' not in head:
        d = c.recv(4096)
        if not d: break
        head += d
    if b'Sec-WebSocket-Key: ' not in head:
        c.close()
        continue
    key = head.split(b'Sec-WebSocket-Key: ')[1].split(b'\r\n')[0]
    accept = base64.b64encode(hashlib.sha1(
        key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest())
    c.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n'
              b'Connection: Upgrade\r\nSec-WebSocket-Accept: ' + accept
              + b'\r\n\r\n')
    while True:
        d = c.recv(4096)
        if not d: break
        c.sendall(b'<' + d + b'>')
    c.close()
EOP
ok($s->serve('app', 8001, 'python3 ws.py'), '(a WebSocket service)');

$r = $s->api(GET => '/v1/sandbox/app/proxy/8001/socket', keepalive => 1,
    headers => [[Connection => 'Upgrade'], [Upgrade => 'websocket'],
        ['Sec-WebSocket-Version' => 13],
        ['Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==']]);
is($r->{status}, 101, 'a WebSocket opens');
is($r->{headers}{'sec-websocket-accept'}, 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    'with the service itself');

my $got = $r->{rest};
syswrite $r->{socket}, 'ping';
wait_for(sub {
    IO::Select->new($r->{socket})->can_read(0.1)
        && sysread($r->{socket}, $got, 4096, length $got);
    $got eq '<ping>';
}, 10);
is($got, '<ping>', 'and bytes go both ways');
close $r->{socket};

$s->stop;
done_testing();
