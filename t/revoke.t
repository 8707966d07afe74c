#!/usr/bin/perl

# What was revoked or destroyed is gone when the answer comes: for every
# worker, also one that did not run meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use WorkerClient;

alarm_after(120);

my $s = System->start(workers => 2);
my @stopped;

END { kill 'CONT', @stopped }

$s->api(PUT => '/v1/sandbox/app/file/workspace/echo.py',
    body => slurp(top_dir() . '/t/apps/echo.py'));
ok($s->serve('app', 8000, 'python3 /workspace/echo.py 8000 app'), 'a server');

sub halt {
    @stopped = @_;
    kill 'STOP', @stopped;
    wait_for(sub { @stopped == grep { (slurp("/proc/$_/stat") // '') =~ /\) T / }
        @stopped }, 5);
}

sub go_on { kill 'CONT', splice @stopped }

# Open connections that have been used, to both workers.
sub connections {
    my ($url) = @_;
    my @open = map { http_connect(port => $s->{port}) } 1 .. 24;

    $s->preview($url, socket => $_, keepalive => 1) for @open;

    return @open;
}

# ---- one worker stands still

for my $what ('a port is taken back', 'a token changes',
    'the sandbox is destroyed')
{
    for my $n (0, 1) {
        my $e = $s->expose('app', 8000);
        my @open = connections($e->{url});

        is(scalar(grep { $s->preview($e->{url}, socket => $_, keepalive => 1)
            ->{status} == 200 } @open), 24, "$what: served before");

        my @workers = $s->nginx_workers;

        halt($workers[$n]);
        # The other one has to take this.
        my ($r, $t);
        my $ok = wait_for(sub {
            $t = time();
            $r = $what =~ /destroyed/
                ? $s->api(DELETE => '/v1/sandbox/app', timeout => 6)
                : $what =~ /token/
                ? $s->api(POST => '/v1/sandbox/app/ports', timeout => 6,
                    json => { port => 8000, token => "other${n}token" })
                : $s->api(DELETE => '/v1/sandbox/app/ports/8000',
                    timeout => 6);
            $r->{status} =~ /^20[04]$/ ? 1 : 0;
        }, 20);
        ok($ok, "$what while worker $n stands still");

        # Requests that wait for it are answered by what the zone says then.
        http_send($_, "GET / HTTP/1.1\r\nHost: "
            . ($e->{url} =~ m{//([^/]+)})[0] . "\r\nConnection: close\r\n\r\n")
            for @open;
        go_on();

        my %got;
        $got{ http_read($_, timeout => 10)->{status} }++ for @open;
        is_deeply(\%got, { 404 => 24 }, 'nobody gets there any more')
            or diag(json_encode(\%got));

        next unless $what =~ /destroyed/ && $n == 0;
        $s->api(PUT => '/v1/sandbox/app/file/workspace/echo.py',
            body => slurp(top_dir() . '/t/apps/echo.py'));
        $s->serve('app', 8000, 'python3 /workspace/echo.py 8000 app');
    }
}

# ---- all of them do

# Another nginx's worker revokes; this one's zone is dropped after 3 s.
$s->api(PUT => '/v1/sandbox/app/file/workspace/echo.py',
    body => slurp(top_dir() . '/t/apps/echo.py'));
ok($s->serve('app', 8000, 'python3 /workspace/echo.py 8000 app'), 'once more');

my $secret = slurp($s->{secret});
chomp $secret;
my $w = worker({ sock => "$s->{run}/control.sock", secret => $secret });
my $e = $s->expose('app', 8000);
my @open = connections($e->{url});

halt($s->nginx_workers);
my $t = time();
is_deeply($w->call('unexpose', sandbox => 'app', port => 8000), {},
    'a port is taken back while all of an nginx stands still');
my $waited = time() - $t;
ok($waited > 2.5 && $waited < 5, sprintf 'after %.1f s', $waited);
http_send($_, "GET / HTTP/1.1\r\nHost: " . ($e->{url} =~ m{//([^/]+)})[0]
    . "\r\nConnection: close\r\n\r\n") for @open;
go_on();

my %got;
$got{ http_read($_, timeout => 10)->{status} }++ for @open;
is_deeply(\%got, { 404 => 24 }, 'it serves nothing that is revoked when it '
    . 'goes on') or diag(json_encode(\%got));
ok(wait_for(sub { $s->api(GET => '/v1/sandbox/app')->{status} == 200 }, 5),
    'and finds its way back');

$w->close;
$s->stop;
done_testing();
