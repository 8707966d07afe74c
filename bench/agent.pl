#!/usr/bin/perl

# The agent beside the floor: bench/agent.c with what it asks, which is an
# agent by itself, an nginx by itself, and (unless BENCH_DIRECT is set) a
# sandbox behind nginx.  BENCH_ONLY=TEXT measures the lines that hold the text.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";
use AgentClient;
use Harness;

$| = 1;

my $top = top_dir();
my $dir = tmp_dir();
my @cc = ('gcc', '-O2', '-std=gnu11', '-Wall', '-Wextra',
          '-Wno-unused-parameter', '-D_GNU_SOURCE');

sub must {
    my (@command) = @_;
    my ($status, $out, $err) = run_command(\@command, timeout => 120);

    die "@command: $err" if $status != 0;
    return $out;
}

must(@cc, '-o', "$dir/bench", map { "$top/bench/$_" }
     qw(agent.c agent_calls.c agent_floors.c client.c work.c));
must(@cc, '-o', "$dir/ready", map { "$top/bench/$_" } qw(ready.c client.c));

# A plain nginx: small answers, files, and PUT.

mkdir "$dir/$_" for qw(nginx files put);
chmod 0755, $dir;
my $small = '{"success":true,"exitCode":0,"stdout":"","stderr":"",'
    . '"command":"true","duration":0,"timestamp":"2026-01-01T00:00:00.000Z"}';
my $kilo = substr($small, 0, -1) . ',"content":"' . ('x' x 1024) . '"}';
my $user = $> == 0 ? 'user root;' : '';

spew("$dir/nginx/nginx.conf", <<"CONF");
$user
daemon off;
worker_processes 1;
pid $dir/nginx/pid;
error_log $dir/nginx/error.log warn;
events { worker_connections 512; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 100000000;
    client_max_body_size 64m;
    client_body_temp_path $dir/nginx/body;
    proxy_temp_path $dir/nginx/proxy;
    fastcgi_temp_path $dir/nginx/fastcgi;
    uwsgi_temp_path $dir/nginx/uwsgi;
    scgi_temp_path $dir/nginx/scgi;
    default_type application/json;
    server {
        listen unix:$dir/nginx/socket;
        location = /small { return 200 '$small'; }
        location = /kilo { return 200 '$kilo'; }
        location /files/ { alias $dir/files/; }
        location /put/ { alias $dir/put/; dav_methods PUT; }
    }
}
CONF

my @nginx = ('nginx', '-c', "$dir/nginx/nginx.conf", '-e',
             "$dir/nginx/error.log", '-p', $dir);
my @agent = (build_dir() . '/sandbox-agent', '--listen', "$dir/ready.sock",
             '--key-file', "$dir/key");
spew("$dir/key", "00000000000000000000000000000000\n");

sub line {
    my ($name, $unit, $got, $floor_name, $floor, $limit) = @_;

    printf "%-29s %-5s %9.2f %9s %9s  %-26s %9s %6s  %-9s %s\n", $name,
        $unit, $got, '', '', $floor_name, $floor,
        $floor ? sprintf('%.2f', $got / $floor) : '', $limit,
        $got > $limit ? 'missed' : '';
}

sub ready {
    my (@args) = @_;

    chomp(my $ms = must("$dir/ready", 20, @args));
    return $ms;
}

my $only = $ENV{BENCH_ONLY} // '';
if (index('start to first 200', $only) >= 0) {
    line('start to first 200', 'ms',
         ready("$dir/ready.sock", '00000000000000000000000000000000',
               '/api/ping', @agent), 'start of nginx',
         ready("$dir/nginx/socket", '', '/small', @nginx), 10);
}
line('binary', 'MB', (-s build_dir() . '/sandbox-agent') / 1e6, '', '', 2)
    if index('binary', $only) >= 0;

unlink "$dir/nginx/socket";
my $nginx = start_process(cmd => \@nginx, log => "$dir/nginx/log");
wait_for(sub { -S "$dir/nginx/socket" }, 10) or die "no nginx";

my $agent = AgentClient->start(args => ['--workspace', "$dir/files"]);
my (@front, $system);

if (!$ENV{BENCH_DIRECT}) {
    require System;
    $system = System->start(workers => 1);
    $system->api(POST => '/v1/sandbox', json => { id => 'bench-agent' });
    my $r = $system->api(POST => '/v1/sandbox/bench-agent/api/mkdir',
        json => { path => "$dir/files", recursive => JSON::PP::true });
    $system->api(POST => '/v1/sandbox/bench-agent/api/write',
        json => { path => "$dir/files/small.txt", content => 'x' x 1024 });
    die "no sandbox: $r->{status} $r->{body}" if $r->{status} != 200;
    @front = ($system->{port}, '/v1/sandbox/bench-agent', $system->{key});
}

sleep 1;
my $pid = start_process(env => { BENCH_FLOORS => "$dir/floors" },
    cmd => ["$dir/bench", $agent->{socket}, $agent->{key},
    $agent->{pid}, "$dir/nginx/socket", $nginx, "$dir/files", @front]);
waitpid $pid, 0;
my $status = $?;

# The same with Node's client: its HTTP floor, and the bare work as above.

if ($only eq '') {
    my %floor = map { my ($n, $ms, $aim) = split /\t/; ($n => [$ms, $aim + 0]) }
        split /\n/, slurp("$dir/floors") // '';
    my $got = json_decode(must('node', "$top/bench/agent.mjs",
        $agent->{socket}, $agent->{key}, "$dir/nginx/socket", "$dir/files"));

    print "\n# with Node's http client\n";
    for my $name ('ping', 'exec `true` in a session', 'exec `/bin/true`',
                  'exec without a session', 'stream: first byte',
                  'stream: first stdout', 'write 1 KiB', 'read 1 KiB',
                  'exists')
    {
        my ($ms, $aim) = @{ $floor{$name} };
        my $base = $got->{HTTP} + $ms - $floor{ping}[0];

        printf "%-29s %-5s %9.3f %9s %9s  %-26s %9.3f %6.2f  %-9s %s\n", $name,
            'ms', $got->{$name}, '', '', 'as above', $base,
            $got->{$name} / $base, $aim ? sprintf('%.1fx', $aim) : '',
            $aim && $got->{$name} / $base > $aim ? 'missed' : '';
    }
}

$agent->stop;
if ($system) {
    $system->api(DELETE => '/v1/sandbox/bench-agent');
    $system->stop(quiet => 1);
}
stop_process($nginx);
exit($status == 0 ? 0 : 1);
