#!/usr/bin/perl

# Sandboxes that others run, over AF_VSOCK: nginx and sandboxd connect to an
# agent at a port of this machine's own vsock, which needs the kernel's
# vsock_loopback.  t/long/vsock.t runs this in a virtual machine that has it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use IO::Select;
use Socket qw(SOCK_STREAM);
use System;
use Test::More;
use WebSocket;

use constant AF_VSOCK => 40;

my $CID = 1;                # this machine
my $PORT = 20000 + $$ % 40000;

sub address { return pack 'SSLLx4', AF_VSOCK, 0, $_[1], $_[0] }

sub reaches {
    my ($port) = @_;
    my $to;

    return socket($to, AF_VSOCK, SOCK_STREAM, 0)
        && connect($to, address($CID, $port));
}

{
    my $here;
    plan skip_all => 'no vsock_loopback in this kernel' unless
        socket($here, AF_VSOCK, SOCK_STREAM, 0)
        && bind($here, address(0xffffffff, $PORT)) && listen($here, 5)
        && reaches($PORT);
}

alarm_after(600);

my $s = System->new(http_conf => 'sandbox_wake_timeout 20s;');
my $dir = "$s->{dir}/far";
my $key = sprintf '%032x', $$ * 7919;

mkdir $_ for $dir, "$dir/workspace";
spew("$dir/key", "$key\n");
$s->{daemon_args} = ['--external-cids', $CID];
$s->start;

sub start_agent {
    my ($listen) = @_;
    my ($port) = $listen =~ /vsock:(\d+)/;
    my $pid = start_process(log => "$dir/log", name => 'sandbox-agent',
        env => { ASAN_OPTIONS => 'detect_leaks=0' },
        cmd => [build_dir() . '/sandbox-agent', '--listen', $listen,
                '--key-file', "$dir/key", '--workspace', "$dir/workspace"]);

    wait_for(sub { reaches($port) }, 20) or die 'no agent: ', slurp("$dir/log");

    return $pid;
}

sub put {
    my ($id, $port) = @_;

    return $s->api(PUT => "/v1/external/$id", json => { key => $key,
        endpoint => { kind => 'vsock', cid => $CID, port => $port } });
}

sub record { return $s->api(GET => "/v1/sandbox/$_[0]")->{json} || {} }
sub ping { return $s->api(GET => "/v1/sandbox/$_[0]/api/ping") }

my $agent = start_agent("vsock:$PORT:$CID");

# ---- the API

my $r = put('far', $PORT);
is_deeply([$r->{status}, $r->{json}{state}, $r->{json}{endpoint}],
    [200, 'running', { kind => 'vsock', cid => $CID, port => $PORT }],
    'an agent at a vsock port is registered') or diag $r->{body};
is($s->exec('far', 'echo $((6 * 7))')->{stdout}, '42', 'a command in it');

my $file = "/v1/sandbox/far/api/file?path=$dir/workspace/f";
my $body = join '', map { chr($_ * 7919 & 255) } 1 .. 3_000_000;

$s->api(PUT => $file, body => $body, timeout => 120);
is(-s "$dir/workspace/f", length $body, 'a file is streamed into it');
ok($s->api(GET => $file, timeout => 120)->{body} eq $body, 'and out of it');

$r = $s->api(POST => '/v1/sandbox/far/exec',
    json => { argv => ['sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.1; done'] });
is(() = $r->{body} =~ /^event: stdout/mg, 3, 'a stream of events')
    or diag $r->{body};

# ---- a preview

my $app = free_port();
my $server = start_process(log => "$s->{dir}/server.log",
    cmd => ['python3', '-m', 'http.server', $app, '--bind', '127.0.0.1',
            '--directory', "$dir/workspace"]);

spew("$dir/workspace/page", "far away\n");
wait_for(sub { http_connect(port => $app) }, 60);
my $url = $s->expose('far', $app)->{url};

is($s->preview("${url}page")->{body}, "far away\n", 'a preview of it');
ok($s->preview("${url}f", timeout => 120)->{body} eq $body, 'a large one');
is(scalar(grep { $s->preview("${url}page")->{body} eq "far away\n" } 1 .. 30),
    30, 'many, one after the other');

my $pids = join ' ', $s->nginx_workers;
my @busy = map {
    my $c = http_connect(port => $s->{port});
    my ($host) = $url =~ m{^http://([^/]+)};
    http_send($c, "GET /page HTTP/1.1\r\nHost: $host\r\n\r\n");
    $c;
} 1 .. 20;
is(scalar(grep { (http_read($_, method => 'GET')->{body} // '')
    eq "far away\n" } @busy), 20, 'and at once');

my $ws = WebSocket->connect(port => $s->{port}, host => 'localhost',
    path => '/v1/sandbox/far/ws/pty?sessionId=t', timeout => 60,
    headers => [['Authorization', "Bearer $s->{key}"]]);
ok($ws && $ws->{ok}, 'a WebSocket') or diag json_encode($ws->{response});

# ---- lost and found

stop_process($agent, 'TERM', 20);
$r = ping('far');
is("$r->{status} $r->{json}{code}", '503 sandbox_unreachable',
    'an agent that has ended is noticed') or diag $r->{body};
is(record('far')->{state}, 'unreachable', 'and said to be');
is($s->preview("${url}page")->{status}, 503, 'also to visitors');
$agent = start_agent("vsock:$PORT:$CID");
ok(wait_for(sub { record('far')->{state} eq 'running' }, 60),
    'it comes back, and is found');
is($s->preview("${url}page")->{body}, "far away\n", 'and its preview');

# ---- who is not let in

my $other = start_agent('vsock:' . ($PORT + 1));
$r = put('host', $PORT + 1);
is($r->{json}{state}, 'unreachable', 'an agent that lets only the host in');
$r = put('none', $PORT + 2);
is($r->{json}{state}, 'unreachable', 'a port that nobody listens on');

is(join(' ', $s->nginx_workers), $pids,
    'the workers are those that they were');
$s->api(DELETE => "/v1/sandbox/$_") for qw(far host none);
stop_process($_, 'TERM', 20) for $agent, $other, $server;
$s->stop;

done_testing();
