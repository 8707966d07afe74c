#!/usr/bin/perl

# Tickets, with which browsers open WebSockets of the API, and keys in the
# address of a terminal: what they open, that they do it once, and that nobody
# gets to see them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

alarm_after(240);

my $e = Edge->new(workers => 4, more_servers => <<'EOC');
    log_format all '$request|$request_uri|$args|$arg_authorization|'
                   '$http_sec_websocket_protocol';
    access_log %%NGX%%/all.log all;

    server {
        listen 127.0.0.1:%%PORT%%;
        server_name query.test;
        sandbox_api on;
        sandbox_api_query_auth on;
        sandbox_api_keys %%DIR%%/keys;
        location = /returned { return 204; }
        location / {
            include %%PROXY%%;
            proxy_pass http://sandboxes;
        }
    }
EOC

my %with = (NGX => $e->{ngx}, PORT => $e->{port}, DIR => $e->{dir},
    PROXY => top_dir() . '/conf-examples/sandbox_proxy.conf');

$e->{more_servers} =~ s/%%(\w+)%%/$with{$1}/g;

my $agent = $e->agent(1, id => 'demo');
my $other = $e->agent(2, id => 'other');
$e->start;

my $origin = 'https://app.example.test';
my @seen;

sub ticket {
    my ($id, %o) = @_;
    my $r = $e->api(POST => "/v1/sandbox/$id/ticket",
        json => { origin => $origin, %o });

    push @seen, $r->{json}{ticket} if $r->{json} && $r->{json}{ticket};

    return $r;
}

sub socket_to {
    my ($path, $protocols, %o) = @_;
    my $w = WebSocket->connect(port => $e->{port}, host => $o{host} || $e->{api},
        path => "/v1/sandbox/$path", headers => [
            defined $protocols ? ['Sec-WebSocket-Protocol', $protocols] : (),
            exists $o{origin} ? (defined $o{origin} ? ['Origin', $o{origin}]
                : ()) : ['Origin', $origin], @{ $o{headers} || [] }]);

    return $w->{response};
}

# ---- one ticket, one WebSocket

my $r = ticket('demo');
is($r->{status}, 200, 'a ticket') or diag($r->{body});
like($r->{json}{protocol}, qr/^sandbox-ticket\.[\w-]{50,272}$/,
    'and the entry to send it in');
is($r->{json}{expiresIn}, 60, 'for a minute');
is($r->{json}{route}, '/pty', 'for a terminal');
is($r->{headers}{'cache-control'}, 'no-store', 'which no cache keeps');

my $p = $r->{json}{protocol};

is(socket_to('demo/pty', $p, origin => undef)->{status}, 401,
    'without an Origin: no');
is(socket_to('demo/pty', $p, origin => 'https://evil.test')->{status}, 401,
    'of another Origin: no');
is(socket_to('demo/pty', $p, origin => "$origin:443")->{status}, 401,
    'or another spelling of it: no');
is(socket_to('other/pty', $p)->{status}, 401, 'into another sandbox: no');
is(socket_to('demo/ws/pty', $p)->{status}, 401, 'on another route: no');
is(socket_to('demo/proxy/8000/', $p)->{status}, 401, 'or to a port: no');
is($e->get($e->{api}, '/v1/sandbox/demo/pty', headers =>
    { Origin => $origin, 'Sec-WebSocket-Protocol' => $p })->{status}, 401,
    'without a handshake: no');
is($e->get($e->{api}, '/v1/sandbox/demo/exec', method => 'POST',
    headers => { Origin => $origin, 'Sec-WebSocket-Protocol' => $p,
        Upgrade => 'websocket' })->{status}, 401, 'with another method: no');
is($e->get($e->{api}, '/v1/sandbox/demo', headers => { Origin => $origin,
    'Sec-WebSocket-Protocol' => $p, Upgrade => 'websocket' })->{status}, 401,
    'for a record: no');
is(socket_to('demo/pty', substr($p, 0, -1))->{status}, 401, 'a part: no');

$r = socket_to('demo/pty?cols=100', $p);
is($r->{status}, 101, 'as it was meant: yes');
is($r->{headers}{'sec-websocket-protocol'}, $p,
    'a browser gets an answer that it takes');
like($agent->log, qr{^GET /bridge/pty\?cols=100 HTTP}m,
    'the query reaches the agent');
is(socket_to('demo/pty', $p)->{status}, 401, 'a second time: no');
is_deeply([map { socket_to('demo/pty', $p)->{status} } 1 .. 12],
    [(401) x 12], 'nor in any other worker');

$p = ticket('demo')->{json}{protocol};
$r = socket_to('demo/pty', "chat, $p ,v2");
is($r->{status}, 101, 'beside other protocols');
like($agent->log, qr/^Sec-WebSocket-Protocol: chat,v2\r$/m,
    'which are all that the agent is offered');

# Twenty at the same time: one gets through.
$p = ticket('demo')->{json}{protocol};
my @socks = map { http_connect(port => $e->{port}) } 1 .. 20;
http_send($_, "GET /v1/sandbox/demo/pty HTTP/1.1\r\nHost: $e->{api}\r\n"
    . "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: $origin\r\n"
    . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    . "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: $p\r\n\r\n")
    for @socks;
my %got;
$got{http_read($_, timeout => 30)->{status}}++ for @socks;
is_deeply(\%got, { 101 => 1, 401 => 19 }, 'a race has one winner');

# ---- other routes, time, and what may be asked for

for my $route ('/ws/pty', '/proxy/8000', '/proxy/8000/ws/x%20y') {
    $r = ticket('demo', route => $route);
    is(socket_to("demo$route?a=b", $r->{json}{protocol})->{status}, 101,
        "a ticket for $route");
}
$p = ticket('demo', route => '/proxy/8000/a')->{json}{protocol};
is(socket_to('demo/proxy/8000/b', $p)->{status}, 401, 'not for another path');
is(socket_to('demo/proxy/8001/a', $p)->{status}, 401, 'or another port');

$p = ticket('demo', expires => 1)->{json}{protocol};
sleep 2.1;
is(socket_to('demo/pty', $p)->{status}, 401, 'one that has ended');

for my $case ([origin => undef], [origin => 'app.example.test'],
    [origin => 'https://a/'], [origin => '*'], [origin => 'null'],
    [origin => 7], [expires => 61], [expires => 0], [expires => '2m'],
    [scope => 'admin'], [scope => 1], [route => '/exec'], [route => 'pty'],
    [route => '/../other/pty'], [route => '/pty?x'], [route => 1],
    [route => '/'], [route => '/proxy/80'], [route => '/file/workspace/x'],
    [route => '/proxy/8000/' . 'a' x 1025])
{
    my ($name, $value) = @$case;

    $r = ticket('demo', $name => $value);
    is("$r->{status} " . ($r->{json}{field} // ''), "400 $name",
        "$name: " . substr json_encode($value), 0, 30);
}
is($e->api(POST => '/v1/sandbox/demo/ticket')->{json}{field}, 'origin',
    'an Origin is needed');
is($e->get($e->{api}, '/v1/sandbox/demo/ticket', method => 'POST')
    ->{status}, 401, 'and a key');
like(ticket('demo', colour => 1)->{json}{warnings}[0], qr/^colour/,
    'an unknown member is named');

# With a key a ticket isn't needed, nor spent, nor passed on.
$p = ticket('demo')->{json}{protocol};
is(socket_to('demo/pty', $p, headers =>
    [['Authorization', "Bearer $Edge::KEY"]])->{status}, 101, 'with a key');
is(socket_to('demo/pty', $p)->{status}, 101, 'the ticket is still good');

$p = ticket('demo')->{json}{protocol};
ok($e->reload, 'a reload');
is(socket_to('demo/pty', $p)->{status}, 101, 'which tickets survive');
is(socket_to('demo/pty', $p)->{status}, 401, 'and their use');
is($e->get("8000-demo-tok.preview.test", '/', headers =>
    { 'Sec-WebSocket-Protocol' => ticket('demo')->{json}{protocol} })
    ->{status}, 200, 'sent to a preview by mistake');

# ---- keys in the address

my $q = "authorization=Bearer%20$Edge::KEY";

is(socket_to("demo/pty?$q&cols=90", undef, host => 'query.test')->{status},
    101, 'a key in the address of a terminal, where that is on');
like($agent->log, qr{^GET /bridge/pty\?cols=90 HTTP}m, 'is taken out of it');
is(socket_to("demo/pty?$q")->{status}, 401, 'where it is off: no');
is(socket_to("demo/ws/pty?$q", undef, host => 'query.test')->{status}, 401,
    'on another route: no');
is($e->get('query.test', "/v1/sandbox/demo?$q")->{status}, 401,
    'for a record: no');
is($e->get('query.test', "/v1/sandbox/demo/exec?$q", method => 'POST')
    ->{status}, 401, 'for a command: no');
is(socket_to("demo/pty?$q", undef, host => 'query.test', headers =>
    [['Authorization', 'Bearer wrong']])->{status}, 401,
    'beside a wrong header: no');
is(socket_to('demo/pty?authorization=Bearer%20wrong', undef,
    host => 'query.test')->{status}, 401, 'a wrong one: no');
is($e->get('query.test', "/v1/sandbox/demo/pty?$q", headers =>
    { Authorization => "Bearer $Edge::KEY" })->{json}{uri}, '/bridge/pty',
    'with a header as well it is taken out all the same');
is($e->get($e->{api}, "/v1/sandbox/demo/file/workspace/x?$q", headers =>
    { Authorization => "Bearer $Edge::KEY" })->{json}{uri},
    '/bridge/file/workspace/x', 'on any route');
$e->raw("GET /v1/sandbox/demo/pty?$q HTTP/9.9\r\nHost: query.test\r\n\r\n");
$e->raw("GET /v1/sandbox/demo/pty?$q HTTP/1.1\r\nBad header\r\n"
    . "Host: query.test\r\nHost: x\r\n\r\n");

# ---- nobody sees them

is($e->get('query.test', '/returned', headers =>
    { 'Sec-WebSocket-Protocol' => ticket('demo')->{json}{protocol} })
    ->{status}, 204, 'answered before the gate');
$e->stop;
push @seen, $Edge::KEY;
my $inside = $agent->log . $other->log;
my $logs = join '', map { slurp($_) // '' } "$e->{ngx}/all.log",
    "$e->{ngx}/access.log";

ok(@seen > 10, scalar(@seen) . ' secrets');
is(scalar(grep { index($inside, $_) >= 0 } @seen), 0, 'none has gone inside');
is(scalar(grep { index($logs, $_) >= 0 } @seen), 0, 'or into an access log');

# A line that can't be read is in the error log before anybody is asked.
my $errors = join "\n", grep { !/client sent invalid/ } split /\n/,
    slurp($e->{error_log});
is(scalar(grep { index($errors, $_) >= 0 } @seen), 0,
    'or into the error log');

$e->no_alerts;
done_testing();
