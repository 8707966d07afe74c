#!/usr/bin/perl

# What wakes a sandbox that sleeps, and what waits for that: each kind of
# request, many at once, across a reload, a restart of sandboxd and a destroy;
# limits that last.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

alarm_after(240);

my $s = System->start(workers => 2);
my $key = "Host: localhost:$s->{port}\r\nAuthorization: Bearer $s->{key}\r\n";
my $base = '/v1/sandbox/box';

sub record { return $s->api(GET => $base)->{json} }

# Puts it to sleep; its epoch.
sub asleep {
    $s->api(POST => "$base/sleep", timeout => 60);
    wait_for(sub { record()->{state} eq 'asleep' }, 20);

    return record()->{epoch};
}

sub woke {
    my ($epoch, $what) = @_;
    my $r = record();

    is("$r->{state} " . ($r->{epoch} - $epoch), 'running 1', "$what wakes it, "
        . 'once');
}

$s->exec('box', 'echo kept > /workspace/file', timeout => 60);
my $url = $s->expose('box', 8000, limits => { requestsPerSecond => 1000,
    bodySize => '4M' })->{url};
my ($host) = $url =~ m{//([^/]+)};

# ---- each kind of request --------------------------------------------------

my $epoch = asleep();
is($s->api(GET => $base)->{json}{state}, 'asleep', 'a look wakes nothing');
is($s->exec('box', 'cat /workspace/file')->{stdout}, 'kept', 'a command');
woke($epoch, 'a command');

$epoch = asleep();
my $r = $s->api(POST => "$base/exec", json => { argv => ['echo', 'hello'] });
like($r->{body}, qr/event: exit/, 'a stream');
woke($epoch, 'a stream');

my $body = join '', map { pack 'N', $_ } 1 .. 1 << 19;
my $c;
$epoch = asleep();
$c = http_connect(port => $s->{port});
http_send($c, "PUT $base/file/workspace/up HTTP/1.1\r\n${key}"
    . "Transfer-Encoding: chunked\r\n\r\n");
for (my $at = 0; $at < length $body; $at += 1 << 18) {
    http_send($c, "40000\r\n" . substr($body, $at, 1 << 18) . "\r\n");
}
http_send($c, "0\r\n\r\n");
is(http_read($c, timeout => 60)->{status}, 200, 'an upload that streams');
woke($epoch, 'an upload');
is(sha256_hex($s->api(GET => "$base/file/workspace/up")->{body}),
    sha256_hex($body), 'which is whole');

$epoch = asleep();
my $ws = WebSocket->connect(port => $s->{port}, host => "localhost:$s->{port}",
    path => "$base/pty", headers => [[Authorization => "Bearer $s->{key}"]],
    timeout => 60);
ok($ws && $ws->{ok}, "a terminal's handshake");
woke($epoch, 'a handshake');
$ws->close;

# Of the app nothing is left; the sandbox is there all the same.
$epoch = asleep();
$r = $s->preview($url, timeout => 60);
is("$r->{status} $r->{json}{code}", '502 SERVICE_NOT_RESPONDING', 'a visitor');
woke($epoch, 'a visitor');

$epoch = asleep();
$r = http(port => $s->{port}, host => $host, path => '/ws', timeout => 60,
    headers => { Connection => 'Upgrade', Upgrade => 'websocket',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==' });
is($r->{status}, 502, "a visitor's handshake");
woke($epoch, "a visitor's handshake");

# ---- many, and what happens meanwhile ---------------------------------------

sub parked {
    my ($n) = @_;
    my @c = map { http_connect(port => $s->{port}) } 1 .. $n;

    http_send($c[$_], $_ % 2
        ? "GET / HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n"
        : "GET $base/api/ping HTTP/1.1\r\n${key}Connection: close\r\n\r\n")
        for 0 .. $#c;

    return @c;
}

sub answers { return join ' ', map { http_read($_, timeout => 60)->{status} } @_ }

$epoch = asleep();
is(answers(parked(20)), join(' ', (200, 502) x 10), 'twenty at once');
woke($epoch, 'twenty');

# sandboxd stands still: the start takes as long as we like
$epoch = asleep();
kill 'STOP', $s->{daemon};
my @c = parked(6);
sleep 0.3;
my @old = $s->nginx_workers;
$s->reload;
kill 'CONT', $s->{daemon};
is(answers(@c), join(' ', (200, 502) x 3), 'six that wait across a reload');
woke($epoch, 'six');
ok(wait_for(sub { !grep { process_alive($_) } @old }, 20),
    'then their workers end');

$epoch = asleep();
kill 'STOP', $s->{daemon};
@c = parked(6);
sleep 0.3;
$s->kill_daemon;
$s->start_daemon;
my $got = answers(@c);
like($got, qr/^(?:(?:200|502|503) ?){6}$/,
    "those whose sandboxd is killed have an answer ($got)");
is($s->exec('box', 'cat /workspace/file', timeout => 60)->{stdout}, 'kept',
    'and the sandbox its files');

# ---- limits last ----------------------------------------------------------

$r = $s->api(GET => "$base/ports/8000")->{json}{limits};
is_deeply([@$r{qw(requestsPerSecond bodySize)}], [1000, 4 << 20],
    "an exposure's limits outlive sandboxd");
is($s->preview($url, method => 'POST', body => 'x' x (5 << 20))->{status}, 413,
    'and hold');
$r = $s->api(PATCH => $base, json => { limits => { connections => 7 } });
is($r->{json}{options}{limits}{connections}, 7,
    "a sandbox's limits are changed") or diag $r->{body};
is_deeply($r->{json}{warnings} // [], [], '... at once');
$s->kill_daemon;
$s->start_daemon;
is(record()->{options}{limits}{connections}, 7, "so do a sandbox's that were changed");

# ---- destroyed while somebody waits ---------------------------------------

asleep();
kill 'STOP', $s->{daemon};
@c = parked(4);
my $d = http_connect(port => $s->{port});
http_send($d, "DELETE $base HTTP/1.1\r\n${key}Connection: close\r\n\r\n");
sleep 0.3;
kill 'CONT', $s->{daemon};
like(answers(@c), qr/^(?:(?:200|404|409|502|503) ?){4}$/,
    'destroyed while four wait: each has an answer');
is(http_read($d, timeout => 60)->{status}, 204, 'and it is gone');
is($s->preview($url)->{status}, 404, 'with its exposure');

$s->stop;
done_testing();
