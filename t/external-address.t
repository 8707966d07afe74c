#!/usr/bin/perl

# Sandboxes that others run, at addresses: which ones are taken, and that they
# are reached, lost, found and taken over like those at sockets.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use IO::Socket::INET;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(400);

my $net = '127.77.' . ($$ >> 8 & 255);
my $host = "$net." . ($$ & 255 || 1);
my $s = System->new(http_conf => 'sandbox_wake_timeout 20s;');
my $dir = "$s->{dir}/far";
my $key = sprintf '%032x', $$ * 7919;

mkdir $_ for $dir, "$dir/workspace";
spew("$dir/key", "$key\n");
$s->{daemon_args} = ['--external-net', "$net.0/24", '--external-net',
    '10.0.0.0/8', '--external-cids', '1000-1999'];
$s->start;

sub start_agent {
    my ($port) = @_;
    my $pid = start_process(log => "$dir/log", name => 'sandbox-agent',
        env => { ASAN_OPTIONS => 'detect_leaks=0' },
        cmd => [build_dir() . '/sandbox-agent', '--listen',
                "tcp:$host:$port", '--key-file', "$dir/key", '--workspace',
                "$dir/workspace"]);

    wait_for(sub { IO::Socket::INET->new(PeerAddr => $host,
        PeerPort => $port) }, 20) or die 'no agent: ', slurp("$dir/log");

    return $pid;
}

sub put {
    my ($id, %endpoint) = @_;

    return $s->api(PUT => "/v1/external/$id",
        json => { endpoint => \%endpoint, key => $key });
}

sub record { return $s->api(GET => "/v1/sandbox/$_[0]")->{json} || {} }
sub ping { return $s->api(GET => "/v1/sandbox/$_[0]/api/ping") }

my $port = IO::Socket::INET->new(LocalAddr => $host, Listen => 1)->sockport;
my $agent = start_agent($port);
my %at = (kind => 'tcp', address => $host, port => $port);

# ---- which addresses

for ('127.0.0.1', '127.77.0.1' =~ /^\Q$net\E/ ? '127.78.0.1' : '127.77.0.1',
     '169.254.169.254', '11.0.0.1', '0.0.0.0', '::1', '::ffff:10.0.0.1')
{
    my $r = put('no', %at, address => $_);

    is("$r->{status} $r->{json}{code}", '403 endpoint_not_allowed', "$_: no");
}
for (999, 2000) {
    is(put('no', kind => 'vsock', cid => $_, port => 1)->{status}, 403,
        "cid $_: no");
}
is($s->api(GET => '/v1/sandbox/no')->{status}, 404, 'nothing came of them');
is(put('a' x 128, %at)->{json}{code}, 'invalid_id', 'an id that is too long');

my $r = put('vm', kind => 'vsock', cid => 1000, port => 1);

is_deeply([$r->{status}, $r->{json}{state}], [200, 'unreachable'],
    'a virtual machine that is not there') or diag $r->{body};
is(ping('vm')->{json}{code}, 'sandbox_unreachable', 'is not reached');

# ---- like any other

$r = put('far', %at);
is_deeply([$r->{status}, $r->{json}{state}, $r->{json}{endpoint}],
    [200, 'running', \%at], 'an agent at an address is registered')
    or diag $r->{body}, slurp($s->{daemon_log});
my $epoch = $r->{json}{epoch};

is($s->exec('far', 'echo $((6 * 7))')->{stdout}, '42', 'a command in it');
my $file = "/v1/sandbox/far/api/file?path=$dir/workspace/f";

$s->api(PUT => $file, body => 'x' x 1_000_000);
is(-s "$dir/workspace/f", 1_000_000, 'a file is streamed into it');
is(length $s->api(GET => $file)->{body}, 1_000_000, 'and out of it');

my $app = free_port();
my $server = start_process(log => "$s->{dir}/server.log",
    cmd => ['python3', '-m', 'http.server', $app, '--bind', '127.0.0.1',
            '--directory', "$dir/workspace"]);

spew("$dir/workspace/page", "far away\n");
wait_for(sub { http_connect(port => $app) }, 20);
my $url = $s->expose('far', $app)->{url};

is($s->preview("${url}page")->{body}, "far away\n", 'a preview of it');
is($s->api(POST => '/v1/sandbox/far/sleep')->{json}{code}, 'unsupported',
    'it does not sleep');
my @sockets = glob "$s->{run}/s/*";
is("@sockets", '', 'there is no socket for it');

# ---- two ids, one agent: a rename, as an orchestrator may do it

$r = put('same', %at);
is(ping($_)->{status}, 200, "$_ is reached") for 'same', 'far';
is($s->api(DELETE => '/v1/sandbox/same')->{status}, 204, 'one is forgotten');
is(ping('far')->{status}, 200, 'the other one stays');

# ---- lost and found

stop_process($agent, 'TERM', 20);
$r = ping('far');
is("$r->{status} $r->{json}{code}", '503 sandbox_unreachable',
    'one that has ended is noticed') or diag $r->{body};
is(record('far')->{state}, 'unreachable', 'and said to be');
like(record('far')->{reason}, qr/refused/, 'why');
is($s->preview("${url}page")->{status}, 503, 'also to visitors');
$agent = start_agent($port);
ok(wait_for(sub { record('far')->{state} eq 'running' }, 60),
    'it comes back, and is found');
cmp_ok(record('far')->{epoch}, '>', $epoch, 'with another epoch');
is($s->preview("${url}page")->{body}, "far away\n", 'and its preview');
$epoch = record('far')->{epoch};

# ---- restarts

$s->kill_daemon;
is($s->preview("${url}page")->{body}, "far away\n", 'without sandboxd');
$s->start_daemon;
ok(wait_for(sub { (record('far')->{state} // '') eq 'running' }, 20),
    'a killed sandboxd: it is still there');
is(record('far')->{epoch}, $epoch, 'with the same epoch');
is(ping('far')->{status}, 200, 'and is reached');
stop_process(delete $s->{nginx}, 'QUIT', 30);
$s->start_nginx;
is($s->preview("${url}page")->{body}, "far away\n", 'a new zone knows it, too');

# It moves, to a place that is allowed no more by the next sandboxd.
stop_process($agent, 'TERM', 20);
$port = IO::Socket::INET->new(LocalAddr => $host, Listen => 1)->sockport;
$agent = start_agent($port);
is(put('far', %at, port => $port)->{json}{state}, 'running', 'it moves');
is($s->preview("${url}page")->{body}, "far away\n", 'and is reached there');
stop_process(delete $s->{daemon}, 'TERM', 30);
$s->{daemon_args} = ['--external-net', '10.0.0.0/8'];
$s->start_daemon;
ok(wait_for(sub { (record('far')->{state} // '') eq 'unreachable' }, 20),
    'where it is not allowed any more, it is left');
like(record('far')->{reason}, qr/--external-net/, 'and that is why');
is(ping('far')->{status}, 503, 'it is not reached');

stop_process($_, 'TERM', 20) for $agent, $server;
$s->stop;

for ([['--external-net', '10.0.0.1/8'], qr/--external-net/],
     [['--external-net', 'example.com'], qr/--external-net/],
     [['--external-cids', '2-7'], qr/--external-cids/])
{
    my ($status, undef, $err) = run_command([build_dir() . '/sandboxd',
        '--state-dir', 'x', '--run-dir', 'y', '--secret-file', 'z', '--agent',
        'a', '--dev', @{ $_->[0] }]);

    is($status >> 8, 2, "@{ $_->[0] }: refused");
    like($err, $_->[1], 'by its name');
}

done_testing();
