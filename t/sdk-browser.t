#!/usr/bin/perl

# The TypeScript client as it is, an ES module in a page of another origin, in
# headless Chromium: commands, streams as they come, files, terminals and
# WebSockets with tickets.
# The client is what is tested: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Browser;
use Harness;
use Npm;
use System;
use Test::More;

Browser::program() or plan skip_all => 'there is no Chromium';
my $tsc = npm_package('typescript', '5.9.3')
    or plan skip_all => 'no npm registry, and the compiler is not there';

alarm_after(300);

my ($dir, $port) = (tmp_dir(), free_port());
my ($status, $out, $err) = run_command(['node', 'build.mjs', "$dir/sdk"],
    cwd => top_dir() . '/sdk/typescript',
    env => { TSC => "$tsc/bin/tsc" }, timeout => 180);
is($status, 0, 'it compiles') or BAIL_OUT("$out$err");
run_command(['chmod', '-R', 'a+rX', $dir]);
spew("$dir/index.html", <<'EOC', 0644);
<!doctype html><title>page</title>
<script type="module">
import * as sdk from '/sdk/esm/index.js'
window.sdk = sdk
window.ready = true
</script>
EOC

my $s = System->start(http_conf => <<"EOC", api_conf =>
    server {
        listen 127.0.0.1:$port;
        root $dir;
        types { text/html html; text/javascript js; }
    }
EOC
    "sandbox_api_cors http://127.0.0.1:$port;");

my $b = Browser->start(map => ['api.test']);
my $p = $b->page;

is($p->open("http://127.0.0.1:$port/"), undef, 'a page of another origin');
ok($p->wait(sub { $p->eval('window.ready') }, 30), 'loads the client');
$p->eval(<<"EOC");
window.sandbox = sdk.getSandbox({ endpoint: 'http://localhost:$s->{port}',
    apiKey: '$s->{key}', retry: { maxAttempts: 2 } }, 'page');
window.log = []
EOC

# js(CODE): what an async function with this body returns
sub js { return $p->eval("(async () => { $_[0] })()") }

is(js('return (await sandbox.exec("echo $((6 * 7))")).stdout'), 42,
    'a command');
is(js(<<'EOC'), 'one two', 'a stream, while it runs');
await sandbox.exec('mkfifo /tmp/go')
const stream = await sandbox.execStream('echo one; read x < /tmp/go; echo two')
const seen = []
for await (const event of sdk.parseSSEStream(stream)) {
    if (event.type === 'stdout') seen.push(event.data.trim())
    if (seen.length === 1 && event.type === 'stdout') {
        await sandbox.startProcess('echo > /tmp/go')
    }
}
return seen.join(' ')
EOC
is(js(<<'EOC'), 'text 256', 'files');
await sandbox.writeFile('/workspace/a', 'text')
const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
await sandbox.writeFile('/workspace/b', bytes)
const { content } = await sandbox.readFile('/workspace/a')
const back = await sdk.collectFile(await sandbox.readFileStream('/workspace/b'))
return content + ' ' + (back.content.length ?? back.content.byteLength)
EOC
is(js(<<'EOC'), 'FileNotFoundError FILE_NOT_FOUND', 'an error is of its class');
try { await sandbox.readFile('/nowhere') } catch (e) {
    return (e instanceof sdk.FileNotFoundError ? 'FileNotFoundError ' : '') + e.code
}
EOC
is(js('return (await sandbox.runCode("6 * 7")).results[0].text'), '42', 'code');
is(js(<<'EOC'), 'AbortError', 'aborting');
const c = new AbortController()
const done = sandbox.exec('sleep 30', { signal: c.signal, sessionId: 'other' })
setTimeout(() => c.abort(), 300)
try { await done } catch (e) { return e.name }
EOC

# ---- WebSockets, with tickets

like(js(<<'EOC'), qr/42 in \/workspace/, 'a terminal');
const socket = await sandbox.terminal({ cols: 80, rows: 24 })
const text = new TextDecoder()
let seen = ''
return await new Promise((resolve) => {
    socket.onmessage = ({ data }) => {
        if (typeof data === 'string') {
            if (JSON.parse(data).type === 'ready') {
                socket.send(new TextEncoder().encode('echo $((6*7)) in $PWD\n'))
            }
            return
        }
        seen += text.decode(data)
        if (/42 in/.test(seen)) { socket.close(); resolve(seen) }
    }
    socket.onclose = (e) => resolve('closed ' + e.code + seen)
})
EOC
ok($s->serve('page', 8765, 'python3 -c "' . <<'EOC' . '"'), 'a service');
import socket, hashlib, base64
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('127.0.0.1', 8765)); s.listen()
while True:
    c, _ = s.accept(); r = b''
    while b'\r\n\r\n' not in r:
        d = c.recv(4096)
        if not d: break
        r += d
    h = {l.split(b':', 1)[0].lower(): l.split(b':', 1)[1].strip() for l in r.split(b'\r\n')[1:] if b':' in l}
    if b'sec-websocket-key' not in h: c.close(); continue
    a = base64.b64encode(hashlib.sha1(h[b'sec-websocket-key'] + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest())
    p = h.get(b'sec-websocket-protocol', b'')
    t = b'protocols: ' + p
    c.sendall(b'HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ' + a + (b'\r\nSec-WebSocket-Protocol: ' + p if p else b'') + b'\r\n\r\n' + bytes([0x81, len(t)]) + t)
EOC
is(js(<<'EOC'), 'chat protocols: chat', 'wsConnect, which shows no ticket inside');
const socket = await sandbox.wsConnect('/any?x=1', 8765, { protocols: ['chat'] })
return await new Promise((resolve) => {
    socket.onmessage = ({ data }) => resolve(socket.protocol + ' ' + data)
    socket.onclose = (e) => resolve('closed ' + e.code)
})
EOC
unlike(join(' ', map { "$_->{request}{url} " . json_encode($_->{request}{headers}) }
    grep { $_->{request}{url} =~ /^ws/ } @{ $p->{sent} }), qr/\Q$s->{key}\E/,
    'no key in a handshake');

# ---- a page that the API doesn't know

my $q = $b->page;
$q->open("http://localhost:$port/");
$q->wait(sub { $q->eval('window.ready') }, 30);
is($q->eval("sdk.getSandbox({ endpoint: 'http://localhost:$s->{port}', "
    . "apiKey: '$s->{key}', retry: { maxAttempts: 1 } }, 'page')"
    . ".exec('true').then(() => 'done', e => e.constructor.name)"),
    'ConnectionLostError', 'a page of an origin that is not listed gets nothing');

$b->stop;
$s->stop;
done_testing();
