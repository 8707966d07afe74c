#!/usr/bin/perl

# What was under way when its sandbox was destroyed, died, was put to sleep or
# could not be reached any more: a stream of the API ends with an error that
# says so, in order, a WebSocket with a close frame; a request without an answer
# is told that it was interrupted.  What is an app's own is left alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use IO::Select;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

alarm_after(240);

my $CUT = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    . "Transfer-Encoding: chunked\r\n\r\n";

my $WS = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    . "Connection: Upgrade\r\n\r\n";

sub chunk { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0] }

# The events of a stream: [name, data, JSON of the data].
sub events {
    my ($text) = @_;

    return map {
        my $data = join "\n", /^data: (.*)$/mg;

        length $data ? [/^event: (.*)$/m ? $1 : '', $data, json_decode($data)]
            : ();
    } split /\n\n+/, $text;
}

# ---- at the edge, with an agent that leaves as told

my $slow = free_port();
my $e = Edge->new(workers => 1);
$e->{more_servers} = <<"EOC";
    server {
        listen 127.0.0.1:$slow sndbuf=8k;
        server_name api.test;
        sandbox_api on;
        sandbox_api_keys $e->{dir}/keys;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Host \$sandbox_host;
            proxy_buffering on;
            proxy_buffers 64 16k;
            proxy_pass http://sandboxes;
        }
        location ~ /watch\$ {
            proxy_http_version 1.1;
            proxy_set_header Host \$sandbox_host;
            limit_rate 400k;
            proxy_pass http://sandboxes;
        }
    }
EOC
my $agent = $e->agent(1, agent => { raw => {
    '/bridge/exec' => $CUT . chunk("event: stdout\ndata: eA==\n\nevent: stdo"),
    '/api/execute/stream' => $CUT . chunk(qq(data: {"type":"start"}\n\ndata: {"ty)),
    '/bridge/contexts/c/code' => $CUT . chunk(qq(data: {"type":"stdout","text":"x"}\n\n)),
    '/api/ping' => '',
    '/api/version' => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n" . chunk('{"a":'),
    '/api/read/stream' => "HTTP/1.1 200 OK\r\nContent-Type: "
        . "text/event-stream\r\nContent-Length: 99\r\n\r\ndata: 1\n\n",
    '/api/watch' => $CUT . chunk(qq(data: {"type":"watching"}\n\n)) . "0\r\n\r\n",
    '/app' => $CUT . chunk("data: 1\n\n"),
    '/bridge/pty' => "$WS\x82\x02hi",
    '/cut' => "$WS\x82\x05hi",
    '/said' => "$WS\x82\x02hi\x88\x02\x03\xe8",
    '/open' => "$WS\x82\x02hi",
    map { $_ => $CUT . chunk("data: " . 'x' x 600_000 . "\n\n") }
        '/bridge/process/p/stream', '/bridge/watch',
} });
$e->start;

my $box = '/v1/sandbox/box1';
my $began = time();
my $r = $e->api(POST => "$box/exec", json => { argv => ['x'] });
ok($r->{complete}, 'a stream that breaks off ends in order');
my @got = events($r->{body});
is_deeply($got[0], ['stdout', 'eA==', undef], 'with what there was');
is($got[-1][0], 'error', 'and an error');
is_deeply($got[-1][2], { code => 'operation_interrupted',
    error => "The sandbox can't be reached any more" }, 'that says why');
like($r->{body}, qr/\nevent: stdo\n\nevent: error\n/,
    'behind the event that was cut off');
cmp_ok(time() - $began, '>', 1, 'after sandboxd could have said more');

$r = $e->api(POST => "$box/api/execute/stream", json => { command => 'x' });
ok($r->{complete}, 'the same of the container API');
@got = events($r->{body});
is(scalar @got, 3, '(three events)');
is($got[1][2], undef, 'half an event is no JSON');
is($got[2][2]{$_}, "The sandbox can't be reached any more", "$_ says why")
    for qw(error data message);
is($got[2][2]{type}, 'error', 'the type');
is($got[2][2]{code}, 'OPERATION_INTERRUPTED', 'the code');
like($got[2][2]{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    'the time');

$r = $e->api(POST => "$box/contexts/c/code", json => { code => 'x' });
@got = events($r->{body});
is($got[-1][2]{ename}, 'OperationInterrupted', 'and of a cell');
is(ref $got[-1][2]{traceback}, 'ARRAY', 'with a traceback');

$r = $e->api(POST => "$box/api/watch", json => { path => 'x' });
is($r->{body}, qq(data: {"type":"watching"}\n\n), 'an end is an end');

for my $case (['no stream', GET => '/api/version'],
    ['one with a length', POST => '/api/read/stream'],
    ["an app's", GET => '/proxy/8000/app'])
{
    my ($what, $method, $path) = @$case;

    $r = $e->api($method, $box . $path,
        $method eq 'POST' ? (json => { path => 'x' }) : ());
    ok(!$r->{complete}, "$what breaks off");
    unlike($r->{body}, qr/interrupted/i, 'without a word of ours');
}
$r = $e->get('8000-box1-tok.preview.test', '/app');
ok(!$r->{complete} && $r->{body} eq "data: 1\n\n", 'and so does a preview');

# What was sent before is still on its way, for longer than anybody asks why.
for my $path ('/process/p/stream', '/watch') {
    my $c = http_connect(port => $slow);

    http_send($c, ($path eq '/watch' ? 'POST' : 'GET') . " $box$path HTTP/1.1\r\n"
        . "Host: api.test\r\nAuthorization: Bearer $Edge::KEY\r\n"
        . "Content-Length: 0\r\n\r\n");
    sleep 2;
    $r = http_read($c);
    @got = events($r->{body});
    is(length $got[0][1], 600_000, "$path: what was sent");
    is($got[-1][2]{code}, 'OPERATION_INTERRUPTED', 'and the end');
    ok($r->{complete}, 'in order');
}

# A client that is slow, one that has left, and an old one.
my $s = http_connect(port => $e->{port});
http_send($s, "POST $box/exec HTTP/1.1\r\nHost: api.test\r\nAuthorization: "
    . "Bearer $Edge::KEY\r\nContent-Length: 2\r\n\r\n{}");
IO::Select->new($s)->can_read(10);
close $s;
$r = $e->raw("POST $box/exec HTTP/1.0\r\nHost: api.test\r\nAuthorization: "
    . "Bearer $Edge::KEY\r\nContent-Length: 2\r\n\r\n{}");
like($r->{body}, qr/event: error\ndata: \{.*\}\n\n\z/, 'HTTP/1.0');

$r = $e->api(GET => "$box/api/ping");
is($r->{status}, 502, 'no answer at all: 502');
is($r->{json}{code}, 'sandbox_unreachable', 'since it runs');
$s = http_connect(port => $e->{port});
http_send($s, "GET $box/api/ping HTTP/1.1\r\nHost: api.test\r\nAuthorization: "
    . "Bearer $Edge::KEY\r\n\r\n");
sleep 0.3;
close $s;

# WebSockets: [opcode, payload] of all frames, and how long the end took.
sub frames {
    my ($w) = @_;
    my ($began, @got) = (time());

    while (my @frame = $w->receive(20)) {
        push @got, $frame[0] == 8 && length $frame[1] > 1
            ? [8, unpack 'na*', $frame[1]] : [@frame];
    }

    return (\@got, time() - $began);
}

sub ws {
    my ($port, $host, $path, $key) = @_;

    return WebSocket->connect(port => $port, host => $host, path => $path,
        headers => $key ? [['Authorization', "Bearer $key"]] : []);
}

my ($got, $took) = frames(ws($e->{port}, 'api.test', "$box/pty", $Edge::KEY));
is_deeply($got, [[2, 'hi'],
    [8, 1011, "The sandbox can't be reached any more"]],
    'a terminal that breaks off is closed');
my @preview = ($e->{port}, '8000-box1-tok.preview.test');
for my $case (['/open', [[2, 'hi']], 'an app may just end'],
    ['/cut', [], 'nothing is put into a frame'],
    ['/said', [[2, 'hi'], [8, 1000, '']], 'nor behind the close frame'])
{
    my ($path, $want, $what) = @$case;

    ($got, $took) = frames(ws(@preview, $path));
    is_deeply($got, $want, $what);
    cmp_ok($took, '<', 1, 'soon');
}

# Somebody who waits for an app's answer.  sandboxd tells of the end before it
# answers the next question.
$s = http_connect(port => $e->{port});
http_send($s, "GET $box/proxy/8000/slow?60 HTTP/1.1\r\nHost: api.test\r\n"
    . "Authorization: Bearer $Edge::KEY\r\n\r\n");
ok(wait_for(sub { $agent->log =~ m{^GET /slow}m }, 10), 'an app is slow');
my $visit = http_connect(port => $e->{port});
http_send($visit, "POST /slow?60 HTTP/1.1\r\nHost: $preview[1]\r\n"
    . "Content-Length: 0\r\n\r\n");
ok(wait_for(sub { $agent->log =~ m{^POST /slow}m }, 10), 'to a visitor, too');
my $held = ws(@preview, '/hold');
is($held->{response}{status}, 101, 'and a WebSocket of a preview is open');
$e->daemon->gone(kind => 'exposure', slot => 1, label => '8000-box1-tok');
$e->daemon->gone(kind => 'sandbox', slot => 1, id => 'box1');
is($e->api(GET => "$box/running")->{json}{running} ? 1 : 0, 0, 'it is gone');
$agent->stop;
$r = http_read($s);
is("$r->{status} $r->{json}{code}", '409 operation_interrupted',
    'and who waited for it is told');
$r = http_read($visit);
is("$r->{status} $r->{json}{code}", '502 OPERATION_INTERRUPTED',
    'a visitor as well');
is($r->{json}{error}, 'The sandbox was destroyed', 'why');
($got) = frames($held);
is_deeply($got->[-1], [8, 1001, 'The sandbox was destroyed'],
    'and so is the WebSocket');

# On its way to sleep a sandbox is left by one thing after the other: what was
# kept of it is written before anybody is told that it sleeps.
for my $case (['asleep', 'OPERATION_INTERRUPTED', 1012],
    ['running', 'SERVICE_NOT_RESPONDING', undef])
{
    my ($state, $code, $close) = @$case;
    my $slot = $state eq 'asleep' ? 2 : 3;
    my $gone = $e->agent($slot);
    my $at = "8000-box$slot-tok.preview.test";

    $visit = http_connect(port => $e->{port});
    http_send($visit, "POST /slow?60 HTTP/1.1\r\nHost: $at\r\n"
        . "Content-Length: 0\r\n\r\n");
    $held = ws($e->{port}, $at, '/hold');
    ok(wait_for(sub { $gone->log =~ m{^POST /slow}m }, 10),
        'an app that is slow');
    $held->receive(10);
    my %box = (slot => $slot, id => "box$slot", key => $e->key($slot));
    $e->daemon->sandbox(%box, state => 'sleeping');
    is($e->api(GET => "/v1/sandbox/box$slot")->{status}, 200, '(it is known)');
    $gone->stop;
    sleep 0.4;
    $e->daemon->sandbox(%box, state => $state);
    is(http_read($visit)->{json}{code}, $code, "$state in the end");
    ($got) = frames($held);
    is($got->[-1] && $got->[-1][0] == 8 ? $got->[-1][1] : undef, $close,
        '... and so for a WebSocket');
}
$e->stop;
$e->no_alerts;

# ---- real sandboxes

my $h2 = free_port();
$s = System->start(api_conf => "listen 127.0.0.1:$h2 http2;");

sub request {
    my ($method, $path, $json) = @_;
    my $body = $json ? json_encode($json) : '';
    my $sock = http_connect(port => $s->{port});

    http_send($sock, "$method /v1/sandbox/$path HTTP/1.1\r\nHost: "
        . "localhost:$s->{port}\r\nAuthorization: Bearer $s->{key}\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body");

    return { s => $sock, text => '' };
}

sub reads {
    my ($q, $re) = @_;
    my $end = time() + 30;
    my $sel = IO::Select->new($q->{s});

    while ($q->{text} !~ $re) {
        return 0 if time() > $end;
        next unless $sel->can_read(0.2);
        sysread($q->{s}, $q->{text}, 65536, length $q->{text}) or return 0;
    }

    return 1;
}

my $tick = 'while :; do echo tick; sleep 0.2; done';

# Everything that can be under way in a sandbox.
sub under_way {
    my ($id) = @_;
    my %open;

    $s->api(POST => "/v1/sandbox/$id/api/process/start", json => {
        command => $tick, processId => 'p', sessionId => '__DISABLE_SESSION__' });
    $open{bridge} = request(POST => "$id/exec", { argv => ['sh', '-c', $tick] });
    $open{exec} = request(POST => "$id/api/execute/stream",
        { command => $tick, sessionId => 'x' });
    $open{logs} = request(GET => "$id/api/process/p/stream");
    $open{watch} = request(POST => "$id/api/watch", { path => '/workspace' });

    $open{terminal} = ws($s->{port}, "localhost:$s->{port}",
        "/v1/sandbox/$id/pty?session=t", $s->{key});
    is($open{terminal}{response}{status}, 101, "$id: a terminal");
    $open{terminal}->receive(30);

    ok(reads($open{$_}, $_ eq 'bridge' ? qr/dGlja/ : $_ eq 'watch'
        ? qr/watching/ : qr/tick/), "$id: $_")
        for grep { $_ ne 'terminal' } sort keys %open;

    return %open;
}

# Visitors of an app that answers nobody: a program and a browser.
sub visitors {
    my ($id) = @_;
    my $app = "python3 -c 'import socket, time; s = socket.create_server("
        . '("127.0.0.1", 8000), backlog=9); time.sleep(600)' . "'";

    ok($s->serve($id, 8000, $app), "$id: an app that answers nobody");
    my ($host) = $s->expose($id, 8000)->{url} =~ m{//([^/]+)};

    return map {
        my $v = http_connect(port => $s->{port});

        http_send($v, "$_ / HTTP/1.1\r\nHost: $host\r\nAccept: "
            . ($_ eq 'GET' ? 'text/html' : '*/*')
            . "\r\nContent-Length: 0\r\n\r\n");
        $v;
    } 'POST', 'GET';
}

sub visits_end {
    my ($re, $program, $browser) = @_;
    my $r = http_read($program);

    is("$r->{status} " . ($r->{json}{code} // ''), '502 OPERATION_INTERRUPTED',
        'a visitor is told') or diag($r->{body});
    like($r->{json}{error}, $re, 'why');
    $r = http_read($browser);
    like($r->{body}, qr{<h1>The preview was interrupted</h1>\n<p>The sandbox has stopped:},
        'and so is a person');
}

# They end with an error, in order.
sub ends {
    my ($re, $code, %open) = @_;
    my $terminal = delete $open{terminal};

    if ($terminal) {
        my ($frames) = frames($terminal);

        is("$frames->[-1][0] $frames->[-1][1]", "8 $code", 'a terminal is closed');
        like($frames->[-1][2], $re, 'with the reason');
    }

    for (sort keys %open) {
        my $r = http_read($open{$_}{s}, buffer => $open{$_}{text});
        my @got = events($r->{body});
        my $last = $got[-1][2] || {};

        ok($r->{complete}, "$_ ends in order");
        like($last->{error}, $re, 'with the reason')
            or diag(substr $r->{body}, -300);
        is(lc($last->{code} // ''), 'operation_interrupted', 'and the code');
    }
}

my %open = under_way('one');
my $waiting = request(POST => 'one/api/execute', { command => 'sleep 60' });
my ($out, $pid) = ("$s->{dir}/h2.out");
$pid = start_process(log => $out, cmd => ['curl', '-sN',
    '--http2-prior-knowledge', '-w', '\n%{http_code} %{http_version}\n',
    '-H', "Authorization: Bearer $s->{key}",
    '-d', json_encode({ argv => ['sh', '-c', $tick] }),
    "http://localhost:$h2/v1/sandbox/one/exec"]);
ok(wait_for(sub { (slurp($out) // '') =~ /dGlja/ }, 20), 'one: HTTP/2');
ok(wait_for(sub {
    $s->exec('one', 'grep -aqs "^sleep.60" /proc/[0-9]*/cmdline && echo yes', body => {
        sessionId => '__DISABLE_SESSION__' })->{stdout} =~ /yes/;
}, 20), 'one: a command');

is($s->api(DELETE => '/v1/sandbox/one')->{status}, 204, 'destroyed meanwhile');
ends(qr/^The sandbox was destroyed$/, 1001, %open);
$r = http_read($waiting->{s});
is($r->{status}, 409, 'who waited is told') or diag($r->{body});
is($r->{json}{code}, 'operation_interrupted', 'by a code');
is($r->{json}{error}, 'The sandbox was destroyed', 'and a reason');
is($r->{json}{httpStatus}, 409, 'in the form of its API');
my $status = wait_for(sub { !process_alive($pid) }, 20)
    ? stop_process($pid) : -1;
is($status, 0, 'HTTP/2: an orderly end');
like(slurp($out), qr/event: error\ndata: \{[^\n]*was destroyed[^\n]*\}\n\n\n200 2\n/,
    'with the error');

# ---- the end of its own

%open = under_way('two');
my @visitors = visitors('two');
$waiting = request(POST => 'two/api/execute', { command => 'sleep 60' });
my $raw = request(POST => 'two/exec', { argv => ['sleep', '60'] });
my $wait2 = "$s->{dir}/h2.wait";
my $pid2 = start_process(log => $wait2, cmd => ['curl', '-sN',
    '--http2-prior-knowledge', '-w', '\n%{http_code} %{http_version}\n',
    '-H', "Authorization: Bearer $s->{key}", '-d', '{"command":"sleep 60"}',
    "http://localhost:$h2/v1/sandbox/two/api/execute"]);
sleep 1;
kill 'KILL', $s->sandbox_pid('two');
my $ended = qr/^The sandbox has stopped: it was ended by signal 9$/;
ends($ended, 1012, %open);
$r = http_read($waiting->{s});
is("$r->{status} $r->{json}{code}", '409 operation_interrupted',
    'who waited is told');
like($r->{json}{error}, $ended, 'why');
$r = http_read($raw->{s}, buffer => $raw->{text});
like($r->{body}, qr/interrupted/, 'by the other route, too');
wait_for(sub { !process_alive($pid2) }, 20);
stop_process($pid2);
like(slurp($wait2), qr/has stopped: .*\n409 2\n\z/s, 'and by HTTP/2');
visits_end($ended, @visitors);
is($s->exec('two', 'echo again')->{stdout}, 'again', 'and it starts afresh');

# ---- asked to sleep

%open = under_way('three');
@visitors = visitors('three');
is($s->api(POST => '/v1/sandbox/three/sleep')->{status}, 200, 'put to sleep');
my $slept = $s->machines
    ? qr/^The sandbox has stopped: it was put to sleep, its memory is kept$/
    : qr/^The sandbox has stopped: it was put to sleep$/;
ends($slept, 1012, watch => delete $open{watch});
visits_end($slept, @visitors);

# A machine's processes sleep, too, and none of them has ended.
ends($slept, 1012, %open) if $s->machines;
my ($closed) = $s->machines ? () : frames(delete $open{terminal});
is($closed->[-1][0], 8, 'a terminal is closed') if $closed;

# What is asked to end first has an exit code to tell.
for ($s->machines ? () : sort keys %open) {
    my $r = http_read($open{$_}{s}, buffer => $open{$_}{text});

    ok($r->{complete}, "$_ ends in order");
    like($r->{body}, qr/"exit_?code":143.*\n\n\z/i, 'with what there is');
}

$s->stop;
done_testing();
