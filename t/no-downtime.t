#!/usr/bin/perl

# Reloads, resizes and upgrades of nginx, and sandboxd's restarts, under load
# of every kind: no request fails, and streams go on.  t/long/reloads.t reloads
# a hundred times.
# It is about what comes in time: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Harness;
use IO::Select;
use Load;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Traffic;
use WebSocket;
use ZoneMemory;

my $reloads = $ENV{RELOADS} || 10;

alarm_after(400 + 30 * $reloads);

my $s = System->start(workers => 2, server_conf => Traffic::locations());
my $t = Traffic->new($s);

ok($t->{url}, 'a server, and its preview');

# ---- reloads under load ---------------------------------------------------

for my $timeout ('', 'worker_shutdown_timeout 60s;') {
    my $l = Load->new;

    $s->{main_conf} = $timeout;
    ok($s->reload(conf => 1), 'another configuration');
    $t->all($l);
    for my $i (1 .. ($reloads + 1) / 2) {
        # now and then with another size: an empty zone that is filled again
        $s->{zone} = $s->{zone} eq '16m' ? '24m' : '16m' if $i % 3 == 0;
        $s->reload(conf => 1);
        $l->turns(1);
    }
    my ($n, @bad) = $l->end;

    cmp_ok($n, '>', 4 * $reloads, "$n requests and streams while nginx was "
        . 'reloaded' . ($timeout ? ", with $timeout" : ''));
    is(join("\n", @bad[0 .. ($#bad > 5 ? 5 : $#bad)]), '', 'none has failed');
}


# ---- requests that wait while workers exit --------------------------------

# sandboxd stands still, so that a start takes as long as we like.
sub standing_still {
    my ($code) = @_;

    kill 'STOP', $s->{daemon};
    my @got = $code->();
    kill 'CONT', $s->{daemon};

    return @got;
}

$s->{main_conf} = '';
$s->reload(conf => 1);
$s->exec('sleeper', 'true', timeout => 60);
$s->kill_sandbox('sleeper');

my $key = "Host: localhost:$s->{port}\r\nAuthorization: Bearer $s->{key}\r\n";
my $body = join '', map { pack 'N', $_ } 1 .. 1 << 20;
my ($c, $up, $ws, @exiting);

standing_still(sub {
    $c = http_connect(port => $s->{port});
    http_send($c, "GET /v1/sandbox/sleeper/api/ping HTTP/1.1\r\n${key}\r\n");
    $up = http_connect(port => $s->{port});
    http_send($up, "PUT /v1/sandbox/sleeper/file/workspace/up HTTP/1.1\r\n${key}"
        . 'Content-Length: ' . length($body) . "\r\n\r\n"
        . substr $body, 0, 50_000);
    $ws = http_connect(port => $s->{port});
    http_send($ws, "GET /v1/sandbox/sleeper/pty HTTP/1.1\r\n${key}"
        . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        . "Sec-WebSocket-Version: 13\r\n"
        . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    sleep 0.5;
    @exiting = $s->nginx_workers;
    for (1 .. 3) { $s->reload; sleep 0.2 }
});
http_send($up, substr $body, 50_000);
is(http_read($c, timeout => 60)->{status}, 200,
    'a request that waits outlives three reloads');
is(http_read($up, timeout => 60)->{status}, 200, 'so does an upload');
is(sha256_hex($s->api(GET => '/v1/sandbox/sleeper/file/workspace/up')->{body}),
    sha256_hex($body), 'all of it');
is(http_read($ws, timeout => 60)->{status}, 101, 'and a handshake');
close $_ for $c, $up, $ws;
ok(wait_for(sub { !grep { process_alive($_) } @exiting }, 20),
    'then their workers go');

# ---- a worker that exits knows what was taken back since ------------------

# It serves connections that it accepted before, and those of HTTP/2; with
# another size of the zone, its zone is not that of the new workers.
for my $what ('the same zone', 'another zone') {
    my @old = map { http_connect(port => $s->{port}) } 1 .. 16;
    my $e = $s->expose($t->{id}, 8000 + 1);
    my $sse = http_connect(port => $s->{port});

    http_send($sse, "GET /sse?n=100&ms=100 HTTP/1.1\r\nHost: $t->{host}\r\n\r\n");
    is($s->preview($e->{url})->{status}, 502, 'an exposure');
    sleep 0.3;
    $s->{zone} = $s->{zone} eq '16m' ? '24m' : '16m'
        if $what eq 'another zone';
    $s->reload(conf => 1);
    $s->api(DELETE => "/v1/sandbox/$t->{id}/ports/8001");
    my %status;

    $status{ $s->preview($e->{url}, socket => $_, timeout => 60)->{status} }++
        for @old;
    is_deeply(\%status, { 404 => 16 }, 'an exposure that was taken back is '
        . "gone in workers that exit, too, with $what")
        or diag(json_encode(\%status));
    close $sse;
}

# ---- a WebSocket and worker_shutdown_timeout ------------------------------

$s->{main_conf} = 'worker_shutdown_timeout 1s;';
$s->reload(conf => 1);
$ws = WebSocket->connect(port => $s->{port}, host => $t->{host}, path => '/ws');
is(($ws->receive)[1], 'hello', 'a WebSocket');
$s->reload;
$ws->send('still there');
is(($ws->receive)[1], 'still there', 'outlives a reload');
{
    my $sel = IO::Select->new($ws->{s});
    my $got = $sel->can_read(30) ? sysread $ws->{s}, my $bytes, 100 : undef;

    is($got, 0, 'until worker_shutdown_timeout ends it, which is seen as an '
        . 'end, not as an error');
}
$ws = WebSocket->connect(port => $s->{port}, host => $t->{host}, path => '/ws');
is(($ws->receive)[1], 'hello', 'and may come back at once');

# ---- a WebSocket and sandboxd ---------------------------------------------

for my $round (1 .. 2) {
    $s->kill_daemon;
    $ws->send("without sandboxd $round");
    is(($ws->receive)[1], "without sandboxd $round",
        'a WebSocket goes on when sandboxd is killed');
    $s->start_daemon;
    $ws->send("with another one $round");
    is(($ws->receive)[1], "with another one $round", 'and when it is back');
}
is($ws->close, 1000, 'to its end');

# ---- the zone's lock, held by a worker that is killed ---------------------

$s->{main_conf} = '';
$s->reload(conf => 1);

SKIP: {
    my ($victim, $other) = $s->nginx_workers;
    my $memory = ZoneMemory->open($victim, $s->{zone});

    skip 'this zone can not be written', 5 unless $memory;

    my $l = Load->new;

    $t->events($l);
    $t->websocket($l);
    $l->turns(1);
    $memory->lock($victim);
    my @wait;

    # One by one: who holds the lock stands still with its first request, and
    # takes no second one.
    for (1 .. 8) {
        push @wait, http_connect(port => $s->{port});
        http_send($wait[-1], "GET /locked HTTP/1.1\r\nHost: $t->{host}\r\n"
            . "Connection: close\r\n\r\n");
        sleep 0.1;
    }
    kill 'KILL', $victim;
    my @status = map { http_read($_, timeout => 30)->{status} } @wait;

    ok((grep { $_ == 200 } @status) >= 1,
        "the other worker goes on when a worker is killed with the zone's lock")
        or diag("@status");
    ok(!(grep { $_ != 200 && $_ != 0 } @status), 'nobody gets another answer');
    ok(wait_for(sub { slurp($s->{error_log}) =~ /was locked by $victim/ }, 10),
        'the master has freed it');
    is($s->preview($t->{url}, timeout => 30)->{status}, 200, 'all is well');
    is($s->api(GET => '/v1/sandbox/app', timeout => 30)->{status}, 200,
        'with sandboxd, too');
    $l->end;
}

# ---- another binary -------------------------------------------------------

# An nginx that is in the foreground takes no orders to upgrade.
{
    stop_process(delete $s->{nginx}, 'QUIT', 20);
    my $conf = $s->nginx_conf =~ s/daemon off/daemon on/r;
    spew("$s->{ngx}/nginx.conf", $conf);
    is((run_command([$ENV{SANDBOX_NGINX} || '/usr/sbin/nginx', '-p',
        "$s->{ngx}/", '-e', $s->{error_log}, '-c', "$s->{ngx}/nginx.conf"],
        env => { san_env() }))[0], 0, 'nginx in the background');
    $s->{nginx} = wait_for(sub { pid_file('nginx.pid') }, 10);
}

sub pid_file { return (slurp("$s->{ngx}/$_[0]") // '') =~ /^(\d+)/ ? $1 : 0 }

sub workers_of {
    my ($master) = @_;

    return grep { (slurp("/proc/$_/cmdline") // '') =~ /worker process/
        && slurp("/proc/$_/stat") =~ /\) \S $master / } descendants($master);
}

# A master that was started by another one; the old one serves no more.
sub upgrade {
    my ($master) = @_;

    kill 'USR2', $master;
    my $new = wait_for(sub {
        my $pid = pid_file('nginx.pid');

        $pid && $pid != $master && -e "$s->{ngx}/nginx.pid.oldbin"
            && 2 == workers_of($pid) ? $pid : 0;
    }, 20);
    kill 'WINCH', $master;
    ok(wait_for(sub {
        !grep { (slurp("/proc/$_/cmdline") // '') =~ /worker process(?! is shut)/ }
            workers_of($master);
    }, 20), "the old binary's workers exit");

    return $new;
}

{
    my $l = Load->new;
    my $old = $s->{nginx};

    END { kill 'TERM', grep { $_ } map { pid_file($_) } 'nginx.pid',
        'nginx.pid.oldbin' }
    $t->all($l);
    $l->turns(1);
    my $e = $s->expose($t->{id}, 8002);
    my $new = upgrade($old);

    ok($new, 'another binary is started');
    $l->turns(2);
    is($s->preview($e->{url})->{status}, 502, 'it knows what there is');
    $s->api(DELETE => "/v1/sandbox/$t->{id}/ports/8002");
    is($s->preview($e->{url})->{status}, 404, 'and what there is not');

    # the way back
    kill 'HUP', $old;
    ok(wait_for(sub { 2 <= workers_of($old) }, 20), 'the way back');
    kill 'QUIT', $new;
    ok(wait_for(sub { pid_file('nginx.pid') == $old }, 60),
        "the new binary's master is gone");
    $l->turns(2);

    # and forth, for good
    $new = upgrade($old);
    kill 'QUIT', $old;
    $l->turns(2);
    my ($n, @bad) = $l->end;

    cmp_ok($n, '>', 20, "$n requests and streams during upgrades");
    is(join("\n", @bad[0 .. ($#bad > 5 ? 5 : $#bad)]), '', 'none has failed');
    # the old master stays for the streams of its workers
    ok(wait_for(sub { !process_alive($old) }, 20), 'the old one ends');
    is($s->preview($t->{url})->{status}, 200, 'the new binary serves');
    kill 'QUIT', $new;
    ok(wait_for(sub { !process_alive($new) }, 20), 'and ends');
    delete $s->{nginx};
}

$s->stop(allow => qr/worker process \d+ exited on signal 9|was locked by/);
done_testing();
