#!/usr/bin/perl

# The TypeScript client in a page of another origin, in headless Chromium: it
# works where the configuration names the origin, and nowhere else.
# The browser is what is tested: not with the sanitizers.

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

alarm_after(600);

my $tsc = npm_package('typescript', '5.9.3')
    or plan skip_all => 'no npm registry, and the compiler is not there';
my $site = tmp_dir();

# Its types are another test's matter.
my ($status, $out, $err) = run_command(['node', "$tsc/bin/tsc", '-p',
    top_dir() . '/sdk/typescript', '--outDir', "$site/dist/esm", '--module',
    'ES2022', '--moduleResolution', 'bundler', '--noCheck'], timeout => 180);
is($status, 0, 'the client compiles') or BAIL_OUT("$out$err");
spew("$site/dist/page.html", '<!doctype html><title>page</title>');

my $port = free_port();
my $s = System->start(workers => 1,
    api_conf => "sandbox_api_cors http://app.test:$port;",
    http_conf => <<"EOC");
    server {
        listen 127.0.0.1:$port;
        server_name app.test evil.test;
        root $site/dist;
        types { text/html html; text/javascript js; }
    }
EOC
my $api = "http://localhost:$s->{port}";
my $b = Browser->start(map => ['app.test', 'evil.test']);
my $p = $b->page;

# The value of a function of a page that has the client, as JSON.
sub in_page {
    my ($code) = @_;

    return $p->eval(<<"EOC");
(async () => {
  const sdk = await import('/esm/index.js');
  const options = { endpoint: '$api', apiKey: '$s->{key}',
    retry: { maxAttempts: 1 } };
  const box = sdk.getSandbox(options, 'box');
  $code
})().catch((e) => `\${e.name}: \${e.code}: \${e.message}`)
EOC
}

$p->open("http://app.test:$port/page.html");
is($p->eval('document.title'), 'page', 'a page of another origin');
is(in_page('return (await box.exec("echo from a page")).stdout'),
    'from a page', 'runs a command');
is(in_page('await box.writeFile("/workspace/a.txt", "text");'
    . ' return (await box.readFile("/workspace/a.txt")).content'), 'text',
    'writes and reads a file');
is(in_page('try { await box.readFile("/workspace/none"); return "read" }'
    . ' catch (e) { return `${e instanceof sdk.FileNotFoundError} ${e.code}` }'),
    'true FILE_NOT_FOUND', 'reads an error');
is(in_page('const seen = []; for await (const e of sdk.parseSSEStream('
    . ' await box.execStream("echo 1; sleep 0.2; echo 2"))) seen.push(e.type);'
    . ' return seen.join(" ")'), 'start stdout stdout complete',
    'reads a stream');
is($p->eval("fetch('$api/v1/sandbox/box', { headers: { Authorization: "
    . "'Bearer $s->{key}' } }).then((r) => /^\"[0-9a-f]+\"\$/.test("
    . "r.headers.get('ETag')))") ? 1 : 0, 1, 'sees an ETag');
is($p->eval("fetch('$api/v1/sandbox').then((r) => r.status)"), 401,
    'sees that it needs a key');
is($p->eval("fetch('$api/health', { credentials: 'include' })"
    . ".then((r) => r.status, () => 'failed')"), 'failed',
    'and no cookie helps');

is(in_page(<<'EOC'), 'OperationInterruptedError: OPERATION_INTERRUPTED: The sandbox was destroyed', 'a stream that is interrupted says so');
  const call = box.exec('sleep 60', { stream: true }).then(() => 'done',
    (e) => `${e.name}: ${e.code}: ${e.message}`);
  for (;;) {
    const list = await box.listProcesses();
    if (list.some((one) => one.status === 'running')) break;
    await new Promise((ok) => setTimeout(ok, 50));
  }
  await box.destroy();
  return call;
EOC

$p->open("http://evil.test:$port/page.html");
for (["fetch('$api/v1/sandbox')", 'without a key'],
    ["fetch('$api/v1/sandbox', { headers: { Authorization: 'Bearer "
        . "$s->{key}' } })", 'with one'],
    ["fetch('$api/health')", 'for its health'],
    ["fetch('$api/v1/sandbox', { method: 'POST', body: '{}' })", 'to make one'])
{
    is($p->eval("$_->[0].then((r) => r.status, () => 'failed')"), 'failed',
        "a page that nobody has named can't ask: $_->[1]");
}
like(in_page('return (await box.exec("id")).stdout'), qr/^\w*Error: /,
    'nor with the client');
is(scalar @{ $s->api(GET => '/v1/sandbox')->{json}{sandboxes} }, 0,
    'and has made nothing');

$b->stop;
$s->stop;
done_testing();
