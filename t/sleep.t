#!/usr/bin/perl

# Sandboxes that go to sleep when nobody uses them, and wake when somebody
# does: who counts as using one, and that no request falls in between.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(600);

my $s = System->start(http_conf => 'sandbox_wake_timeout 60s;');

sub create {
    my ($id, %o) = @_;
    my $r = $s->api(POST => '/v1/sandbox', json => { id => $id, %o });

    return $r->{json};
}

sub state { return $s->api(GET => "/v1/sandbox/$_[0]")->{json}{state} }

sub asleep_within {
    my ($id, $seconds) = @_;

    return wait_for(sub { state($id) eq 'asleep' }, $seconds, 0.1);
}

my $app = <<'EOP';
import http.server, time, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path.startswith('/slow'):
            time.sleep(float(self.path.split('=')[1]))
        self.send_response(200)
        if self.path.startswith('/stream'):
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            n, pause = self.path.split('=')[1].split(',')
            for i in range(int(n)):
                self.wfile.write(b'5\r\ntick\n\r\n')
                self.wfile.flush()
                time.sleep(float(pause))
            self.wfile.write(b'0\r\n\r\n')
            return
        self.send_header('Content-Length', '3')
        self.end_headers()
        self.wfile.write(b'ok\n')
    def do_POST(self):
        n = int(self.headers['Content-Length'])
        got = 0
        while got < n:
            got += len(self.rfile.read(min(65536, n - got)))
        self.send_response(200)
        text = str(got).encode()
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), H).serve_forever()
EOP

# ---- idle -------------------------------------------------------------------

create('idle', sleepAfter => 1);
$s->exec('idle', 'echo kept > /workspace/file');
my $t = time;
ok(asleep_within('idle', 20), 'who is not used goes to sleep');
cmp_ok(time() - $t, '>', 0.7, 'not before its time');
like($s->api(GET => '/v1/sandbox/idle')->{json}{reason}, qr/idle/,
    'the record says why');
is($s->exec('idle', 'cat /workspace/file')->{stdout}, 'kept',
    'it wakes with its files');
is($s->api(GET => '/v1/sandbox/idle')->{json}{epoch}, 2, 'as another run');

create('keep', sleepAfter => 1, keepAlive => JSON::PP::true());
$s->exec('keep', 'true');

# ---- what uses a sandbox ----------------------------------------------------

create('long', sleepAfter => 1);
my $r = $s->api(POST => '/v1/sandbox/long/api/execute',
    json => { command => 'sleep 4; echo done' }, timeout => 30);
is($r->{json}{stdout}, 'done', 'a command of four seconds is not cut off')
    or diag explain $r;
$r = $s->api(POST => '/v1/sandbox/long/api/execute/stream',
    json => { command => 'sleep 4; echo streamed' }, timeout => 30);
like($r->{body}, qr/streamed.*"complete"/s, 'nor is a silent stream');
ok(asleep_within('long', 20), 'afterwards it sleeps');

is(state('keep'), 'running', 'keepAlive never sleeps');

# Processes count only where that was asked for: of two that each have one, the
# other sleeps first, and this one when its process has ended.
create('busy', sleepAfter => 1, activity => 'traffic+processes');
create('quiet', sleepAfter => 1);
for my $id ('busy', 'quiet') {
    is($s->api(POST => "/v1/sandbox/$id/api/process/start", json => {
        command => 'sleep 600', processId => 'p' })->{status}, 200,
        "$id: a process");
}
ok(asleep_within('quiet', 20), 'a process keeps nobody awake');
sleep 2;
is(state('busy'), 'running', '... but with traffic+processes');
$s->api(DELETE => '/v1/sandbox/busy/api/process/p');
ok(asleep_within('busy', 20), '... until it ends');

# ---- requests just when it goes to sleep ------------------------------------

create('edge', sleepAfter => 1);
$s->api(PUT => '/v1/sandbox/edge/file/workspace/app.py', body => $app);
my $url = $s->api(POST => '/v1/sandbox/edge/ports', json => { port => 8000 })
    ->{json}{url};
my (%status, $bad);

for my $i (1 .. 24) {
    my $kind = $i % 3;

    sleep 1 + ($i % 8) * 0.02 - 0.06;
    my $g = $kind == 0
        ? $s->api(GET => '/v1/sandbox/edge/file/workspace/app.py',
            timeout => 60)
        : $kind == 1
        ? $s->api(POST => '/v1/sandbox/edge/api/execute/stream',
            json => { command => 'echo here' }, timeout => 60)
        : $s->api(PUT => '/v1/sandbox/edge/file/workspace/up',
            body => 'x' x 300_000, timeout => 60);

    $status{ $g->{status} // 'none' }++;
    $bad = $g if ($g->{status} // 0) != 200
        || ($kind == 1 && $g->{body} !~ /"complete"/);
}
is_deeply(\%status, { 200 => 24 }, 'requests spaced at sleepAfter: none fails');
ok(!$bad, 'nor is a stream cut off') or diag explain $bad;
cmp_ok($s->api(GET => '/v1/sandbox/edge')->{json}{epoch}, '>', 1,
    'though it slept in between');

# ---- previews ---------------------------------------------------------------

$s->api(POST => '/v1/sandbox/edge/api/process/start',
    json => { command => 'python3 /workspace/app.py' });
ok(wait_for(sub { ($s->preview($url, path => '/')->{status} // 0) == 200 },
    30, 0.05), 'an app');
$r = $s->preview($url, path => '/slow=4', timeout => 60);
is($r->{body}, "ok\n", 'a preview without an answer yet keeps it awake');
$r = $s->preview($url, path => '/stream=8,0.5', timeout => 60);
is(() = $r->{body} =~ /tick/g, 8, 'and so does a stream that moves');
ok(asleep_within('edge', 30), 'then it sleeps');

$s->stop;
done_testing();
