#!/usr/bin/perl

# The way of a request through the module: label, first line, answer, and what
# comes of agents and apps that misbehave.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(sha256_hex);
use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(180);

my $e = Edge->new(read_timeout => '2s', server_conf =>
    'sandbox_preview nest.test eu.nest.test a.tree.test tree.test;');
my $a = $e->agent(1, ports => [8000, 8001, 9001 .. 9009, 9011 .. 9013]);
my $b = $e->agent(2);

$e->start;

my $d = 'preview.test';
my $h = "8000-box1-tok.$d";
my $r = $e->get($h, '/a/%2e%2e/b%2Fc?x=1');

is($r->{status}, 200, 'a preview answers');
is($r->{json}{name}, 'box1', 'from its own sandbox');
is($r->{json}{uri}, '/a/%2e%2e/b%2Fc?x=1', 'with the path as it was sent');
like($a->log, qr/^connection 1: CONNECT 8000 [0-9a-f]{32}$/m,
    'the first line names port and key');
like($a->log, qr/^connection 1: .*\nwith the request$/m,
    'and comes in one piece with the request');
unlike($r->{json}{head}, qr/[0-9a-f]{32}/, 'the key is in no header');

is($e->get("8000-box2-tok.$d")->{json}{name}, 'box2',
    'another label, another sandbox');
is($e->get('8000-BOX1-tok.Preview.TEST')->{status}, 200,
    'labels have no case');

is($e->get("8000-box1-tok.$_")->{status}, 200, "below $_")
    for qw(nest.test eu.nest.test tree.test a.tree.test);

# ---- names that are none --------------------------------------------------

my $none = $e->get("8000-nobody-tok.$d");

is($none->{status}, 404, 'an unknown label');
is($none->{json}{code}, 'INVALID_TOKEN', 'answers as the reference does');

for my $host ("08000-box1-tok.$d", "+8000-box1-tok.$d", "8000x-box1-tok.$d",
    "0-box1-tok.$d", "70000-box1-tok.$d", "3000-box1-tok.$d",
    "8000-box1.$d", "8000-box1-to.$d", "8000-box1-tokk.$d",
    "8000-box1-tok-.$d", "x.8000-box1-tok.$d", "8000-box1-tok.x.$d",
    "8000-box1-tok.$d..", "8000-box1-tok.$d:0", "8000-box1-tok.$d:99999",
    "8000-box1-tok.$d:080", "8000-box1-tok.$d:8x", "8000-box1-tok.$d:",
    $d, ".$d", "127.0.0.1", "[::1]", "localhost", ('a' x 64) . ".$d",
    "8000-box1-tok", "8000-box1-tok.other.test", "8000-box1-tok$d",
    "x.8000-box1-tok.eu.nest.test", "8000-box1-tok.us.nest.test")
{
    my $got = $e->get($host);

    ok($got->{status} == 404 && $got->{body} eq $none->{body}
        || $got->{status} == 400, "no preview: $host")
        or diag("$got->{status} $got->{body}");
}

# Nothing in an answer says which part of a name was wrong.
for my $host ("8000-box1-wrong.$d", "8000-box2-tok1.$d", "9999-box1-tok.$d",
    "8000-box1.$d", "x.$d")
{
    my $head = $e->get($host)->{head} =~ s/^Date: .*\r\n//mr;

    is($head, $none->{head} =~ s/^Date: .*\r\n//mr, "the same words: $host");
}
is($e->daemon->stats->{calls}{resolve}, undef,
    'nor does one of them ask sandboxd, which would take longer');

for my $case (
    ['no Host', "GET / HTTP/1.0\r\n\r\n", 404],
    ['no Host in HTTP/1.1', "GET / HTTP/1.1\r\n\r\n", 400],
    ['two Hosts', "GET / HTTP/1.1\r\nHost: $h\r\nHost: 8000-box2-tok.$d\r\n"
        . "Connection: close\r\n\r\n", 400],
    ['absolute form, another Host', "GET http://$h/ HTTP/1.1\r\n"
        . "Host: 8000-box2-tok.$d\r\nConnection: close\r\n\r\n", 404],
    ['absolute form, the same Host', "GET http://$h/ HTTP/1.1\r\n"
        . "Host: $h\r\nConnection: close\r\n\r\n", 200],
    ['absolute form, no Host', "GET http://$h/ HTTP/1.0\r\n\r\n", 404],
    ['an empty Host', "GET / HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n",
        400],
) {
    my ($what, $bytes, $status) = @$case;

    is($e->raw($bytes)->{status}, $status, $what);
}

# ---- agents that misbehave ------------------------------------------------

sub port { return $e->get("$_[0]-box1-tok.$d", $_[1] // '/', @_[2 .. $#_]) }

$r = port(9001);
is($r->{status}, 502, 'nothing listens: 502');
is($r->{json}{code}, 'SERVICE_NOT_RESPONDING', 'with its code');
like($r->{json}{error}, qr/9001/, 'naming the port');

is(port(9002)->{status}, 503, 'the agent has no room: 503');
is(port(9003)->{status}, 502, 'the agent refuses the key: 502');
my $starts = $e->daemon->stats->{calls}{start};
is($starts, 1, 'after asking sandboxd for another run');

$r = port(9004);
is($r->{status}, 502, 'garbage for OK: 502');
unlike($r->{body}, qr/evil/, 'and none of it comes through');

is(port(9005)->{json}{name}, 'box1', 'OK in pieces');
is(port(9006)->{status}, 502, 'closed without an answer: 502');

my $t = time();
is(port(9007)->{status}, 504, 'no answer at all: 504');
cmp_ok(time() - $t, '<', 3.9, 'after one timeout, not two');

$r = port(9008);
is($r->{status}, 502, 'an app that speaks no HTTP: 502');
unlike($r->{body}, qr/root/, 'its bytes do not come through');

is(port(9009)->{status}, 502, 'closed behind OK: 502');
is(port(9012)->{json}{name}, 'box1', 'OK late');
is(port(9013, '/', method => 'POST', body => 'x' x 5_000_000)->{status}, 502,
    'refused while a large body is being sent');

is(port(9011)->{status}, 502, 'refused once');
is(port(9011)->{status}, 200, 'and served then');

# ---- responses that are none ----------------------------------------------

for my $raw ("HTTP/9", "HTTP/1.1 abc\r\n\r\n", "SSH-2.0-x\r\n", "\0\0\0\0\n",
    "<html>hello", "http/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA b\r\n\r\n")
{
    my $got = $e->get($h, '/raw?' . unpack 'H*', $raw);

    is($got->{status}, 502, 'no HTTP: ' . $raw =~ s/[^ -~]/./gr);
    unlike($got->{raw} // $got->{body}, qr/hello|SSH/, 'not passed on');
}

# ---- keepalive ------------------------------------------------------------

$e->get($h, '/') for 1 .. 5;
my $n = $a->connections;

$e->get($h, '/') for 1 .. 5;
is($a->connections, $n, 'connections are used again');
$e->get("8001-box1-tok.$d");
is($a->connections, $n + 1, 'not by another port');
like($a->log, qr/CONNECT 8001 /, 'whose own line was written');

is($e->get($h, '/', method => 'POST', body => 'x')->{json}{size}, 1,
    'a POST is passed');
is($a->connections, $n + 2, 'on a connection of its own');

$e->get($h, '/close');
is($e->get($h)->{status}, 200, 'after the app has closed a connection');

# A request to the agent itself never goes where an app's went, nor the other
# way round: its line alone says which of the two is meant.
$e->agent(3, ports => [8000]);
wait_for(sub { $e->get("8000-box3-tok.$d")->{status} == 200 }, 3);
$e->get("8000-box3-tok.$d") for 1 .. 3;
$e->api(GET => '/v1/sandbox/box3/api/ping') for 1 .. 3;
$e->get("8000-box3-tok.$d") for 1 .. 3;

my $lines = $e->{agents}{3}->log;
my %kind;
for my $part (split /^(?=request on )/m, $lines) {
    my ($port, $uri) = $part =~ m{^request on (\d+):\n\S+ (\S+)} or next;

    $kind{ ($port ? 'app' : 'agent') . ' ' . ($uri =~ m{^/api/} ? 'api' : 'page') }++;
}
is(join(' ', sort map { s/ /:/r } keys %kind), 'agent:api app:page',
    'control requests and previews have connections of their own');

# Nor where an earlier run's went, even while that one still answers.
my $former = delete $e->{agents}{3};

unlink $former->{path};
my $now = FakeAgent->start(dir => $e->{dir}, slot => 3, key => 'a' x 32,
    name => 'the next run');
$e->daemon->sandbox(slot => 3, id => 'box3', key => 'a' x 32, epoch => 2);
sleep 0.1;
my %by = map { $e->get("8000-box3-tok.$d")->{json}{name} // 'none' => 1 } 1 .. 5;
is(join(' ', keys %by), 'the next run',
    'a kept connection to an earlier run is not used again');
$former->stop;
$now->stop(unlink => 1);

# ---- bodies ---------------------------------------------------------------

my $body = join '', map { pack 'N', $_ } 1 .. 800_000;

$r = $e->get($h, '/up', method => 'PUT', body => $body);
is($r->{json}{sha}, sha256_hex($body), 'an upload of 3.2 MB');

$r = $e->get($h, '/up', method => 'POST',
    headers => { 'Transfer-Encoding' => 'chunked' },
    body => join('', map { sprintf "%x\r\n%s\r\n", length, $_ }
        unpack '(a50000)*', $body) . "0\r\n\r\n");
is($r->{json}{sha}, sha256_hex($body), 'the same in chunks');

$r = $e->get($h, '/up', method => 'POST', body => 'abc',
    headers => { Expect => '100-continue' });
is($r->{json}{size}, 3, 'Expect: 100-continue');

$r = $e->get($h, '/big?3000000');
is(length $r->{body}, 3_000_000, 'a download of 3 MB');
is($e->get($h, '/', method => 'HEAD')->{status}, 200, 'HEAD');

# ---- streams --------------------------------------------------------------

my @times;

$t = time();
$r = $e->get($h, '/sse?4', on_data => sub { push @times, time() - $t; 1 });
cmp_ok(scalar @times, '>=', 4, 'server-sent events come one by one');
cmp_ok($times[-1] - $times[0], '>', 0.15, 'the first one at once');

my $s = http_connect(port => $e->{port});

http_send($s, "GET /ws HTTP/1.1\r\nHost: $h\r\nUpgrade: websocket\r\n"
    . "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    . "Origin: http://$h\r\n\r\n");
$r = http_read($s, timeout => 30);
is($r->{status}, 101, 'a WebSocket');
is($r->{headers}{'sec-websocket-accept'}, 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    'is the app\'s');
my $in = $r->{rest};
sysread($s, $in, 100, length $in) while length $in < 7;
is($in, "\x81\x05hello", 'what the app says first comes through');
http_send($s, "\x82\x03abc");
sysread $s, $in, 100;
is($in, "\x82\x03abc", 'bytes go both ways');
close $s;

$r = $e->raw("GET / HTTP/1.1\r\nHost: $h\r\nUpgrade: h2c\r\n"
    . "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    . "Connection: Upgrade, HTTP2-Settings\r\n\r\n");
is($r->{status}, 200, 'an Upgrade that is none of a WebSocket is no upgrade');
unlike($r->{json}{head}, qr/^upgrade/mi, 'nor is it told');

$e->stop;
$e->no_alerts;
done_testing();
