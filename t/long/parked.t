#!/usr/bin/perl

# Ten thousand requests wait for one sandbox: one start, all are answered, few
# at a time; waiters are bounded, and who leaves frees his place.  Then the
# same with the whole system, and with HTTP/2.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Edge;
use Harness;
use Socket;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(1200);

# Each takes a descriptor here; in a worker, one for the client, and one for
# the sandbox once it runs.
my ($files) = slurp('/proc/self/limits') =~ /^Max open files\s+(\d+)/m;
my $count = $ENV{PARKED} || ($files >= 20_000 ? 10_000
    : int($files / 2) - 500);

plan skip_all => "only $files files may be open" if $count < 1000;

my $waiters = 'sandbox_waiters 20000; sandbox_waiters_total 20000;'
    . ' sandbox_wake_timeout 10m;';

# So many open connections, each with a request sent.
sub crowd {
    my ($port, $n, $request) = @_;
    my @c;

    for (1 .. $n) {
        socket my $c, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
        connect $c, pack_sockaddr_in($port, INADDR_LOOPBACK) or die "connect: $!";
        syswrite $c, $request;
        push @c, $c;
    }

    return @c;
}

# Their answers, by status.
sub answers {
    my (%status);

    for my $c (@_) {
        my $r = http_read($c, timeout => 300);

        $status{ $r->{complete} ? $r->{status} : "$r->{status} broken" }++;
        close $c;
    }

    return \%status;
}

sub request {
    my ($host, $more, $path) = @_;

    return 'GET ' . ($path // '/') . " HTTP/1.1\r\nHost: $host\r\n"
        . ($more // '') . "Connection: close\r\n\r\n";
}

# ---- the module alone -----------------------------------------------------

{
    my $e = Edge->new(workers => 2, http_conf => $waiters,
        connections => 32_768);
    my $d = $e->daemon;
    my $h = '8000-box1-tok.preview.test';

    $e->agent(1, state => 'asleep');
    $e->agent(2, state => 'asleep');
    $e->start;
    # it starts when all are there
    $d->fault(silent => { start => 1 });
    my @c = crowd($e->{port}, $count, request($h));

    ok(wait_for(sub { ($d->stats->{calls}{start} // 0) >= 1 }, 30), 'a start');
    sleep 3;
    cmp_ok($d->stats->{calls}{start}, '<=', 2,
        "$count requests: one question from each worker");

    # half of them leave
    close $_ for splice @c, 0, $count / 2;
    ok(wait_for(sub { $count / 2 <= (() = slurp("$e->{ngx}/access.log")
        =~ /^499 /mg) }, 60, 0.5), 'half of them leave, which is noticed');
    push @c, crowd($e->{port}, $count / 2, request($h));
    sleep 1;

    # sandboxd comes back and starts it
    $d->fault(silent => {}, drop => 1, start_delay => 1,
        start_run => { 1 => { key => $e->key(1) } });
    my $got = answers(@c);

    is_deeply($got, { 200 => $count }, 'all the others are answered')
        or diag(json_encode($got));
    my ($wait) = sort { $b <=> $a }
        slurp("$e->{ngx}/access.log") =~ /box1 8000 ([\d.]+)/g;
    diag("the last one waited for $wait s");

    # bounded: the rest is told so at once
    $e->{http_conf} = 'sandbox_waiters 1000; sandbox_wake_timeout 60s;';
    $e->reload(conf => 1);
    $d->fault(silent => { start => 1 });
    @c = crowd($e->{port}, 4000, request('8000-box2-tok.preview.test'));
    sleep 3;
    $d->fault(silent => {}, drop => 1, start_delay => 0.5,
        start_run => { 2 => { key => $e->key(2) } });
    $got = answers(@c);
    is(($got->{200} // 0) + ($got->{503} // 0), 4000, 'as many wait as may');
    cmp_ok($got->{200} // 0, '<=', 2000, 'the others are refused')
        or diag(json_encode($got));
    $e->stop;
    $e->no_alerts;
}

# ---- the whole system -----------------------------------------------------

{
    my $h2 = free_port();
    my $s = System->start(workers => 2, http_conf => $waiters,
        api_conf => "listen 127.0.0.1:$h2 http2;", connections => 32_768);

    $s->exec('one', 'true');
    my $pid = $s->sandbox_pid('one');
    my $epoch = $s->api(GET => '/v1/sandbox/one')->{json}{epoch};

    kill 'STOP', $s->{daemon};
    kill 'KILL', $pid;
    wait_for(sub { !process_alive($pid) }, 20);
    my @c = crowd($s->{port}, $count, request("localhost:$s->{port}",
        "Authorization: Bearer $s->{key}\r\n", '/v1/sandbox/one/api/ping'));

    sleep 2;
    kill 'CONT', $s->{daemon};
    my $got = answers(@c);

    is_deeply($got, { 200 => $count }, "$count requests for a real sandbox")
        or diag(json_encode($got));
    my $new = $s->api(GET => '/v1/sandbox/one')->{json}{epoch};
    is($new, $epoch + 1, 'and one start');

    # 20 connections of HTTP/2 with 100 streams
    SKIP: {
        my ($h2load) = grep { -x } map { "$_/h2load" } split /:/, $ENV{PATH};

        skip 'no h2load', 2 unless $h2load;

        $pid = $s->sandbox_pid('one');
        kill 'STOP', $s->{daemon};
        kill 'KILL', $pid;
        wait_for(sub { !process_alive($pid) }, 20);
        my $load = start_process(log => "$s->{dir}/h2load.log",
            cmd => [$h2load, '-n', 2000, '-c', 20, '-m', 100,
            '-H', ":authority: localhost:$s->{port}",
            '-H', "authorization: Bearer $s->{key}",
            "http://127.0.0.1:$h2/v1/sandbox/one/api/ping"]);

        sleep 2;
        kill 'CONT', $s->{daemon};
        wait_for(sub { !process_alive($load) }, 60);
        like(slurp("$s->{dir}/h2load.log"), qr/status codes: 2000 2xx/,
            '2000 requests on 20 connections of HTTP/2')
            or diag(slurp("$s->{dir}/h2load.log"));
        is($s->api(GET => '/v1/sandbox/one')->{json}{epoch}, $epoch + 2,
            'and one start');
    }
    $s->stop;
}

done_testing();
