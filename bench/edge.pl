#!/usr/bin/perl

# The module against stock proxy_pass, in one nginx worker, to the same Unix
# socket backend with the same headers and keepalive: requests per second
# (alternating, medians) and user-space instructions per request (callgrind).
#
#   edge.pl [SECONDS-PER-ROUND [ROUNDS]]

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";
use Harness;
use Time::HiRes qw(sleep time);

$| = 1;

my $seconds = shift // 3;
my $rounds = shift // 5;
my $top = top_dir();
my $dir = tmp_dir();
my $module = build_dir() . '/ngx_http_sandbox_module.so';

mkdir "$dir/$_" for qw(run run/s ngx);
spew("$dir/secret", 's' x 64 . "\n", 0600);

my ($status, undef, $err) = run_command(['gcc', '-O2', '-Wall', '-Wextra',
    '-D_GNU_SOURCE', '-o', "$dir/backend", "$top/bench/backend.c"]);
die "backend: $err" if $status != 0;

my $backend = start_process(cmd => ["$dir/backend", "$dir/plain.sock",
    "$dir/agent.sock"], log => "$dir/backend.log");

sub median {
    my @v = sort { $a <=> $b } @_;

    return $v[@v / 2];
}

sub conf {
    my ($port, $main) = @_;

    return <<"END";
load_module $module;
$main
daemon off;
pid $dir/ngx/nginx.pid;
error_log $dir/ngx/error.log warn;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path $dir/ngx/b;
    proxy_temp_path $dir/ngx/p;
    fastcgi_temp_path $dir/ngx/f;
    uwsgi_temp_path $dir/ngx/u;
    scgi_temp_path $dir/ngx/s;
    keepalive_requests 1000000;

    sandbox_zone name=sandboxes 256m;
    sandbox_daemon unix:$dir/run/control.sock secret=$dir/secret;

    upstream sandboxes { sandbox; keepalive 64; keepalive_requests 1000000; }
    upstream stock {
        server unix:$dir/plain.sock;
        keepalive 64;
        keepalive_requests 1000000;
    }
    upstream single { server unix:$dir/plain.sock; }
    map \$http_upgrade \$stock_connection { default ""; websocket upgrade; }

    server {
        listen 127.0.0.1:$port;
        server_name *.localhost;
        sandbox_preview localhost;
        location / {
            include $top/conf-examples/sandbox_proxy.conf;
            proxy_pass http://sandboxes;
        }
    }
    server {
        listen 127.0.0.1:$port;
        server_name *.stock;
        include $dir/stock.conf;
        location / { proxy_pass http://stock; }
    }
    server {
        listen 127.0.0.1:$port;
        server_name *.single;
        include $dir/stock.conf;
        location / { proxy_pass http://single; }
    }
}
END
}

# What sandbox_proxy.conf and the module do, by stock directives.
spew("$dir/stock.conf", <<'END');
proxy_http_version 1.1;
proxy_set_header Host localhost:8000;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $stock_connection;
proxy_set_header X-Forwarded-Host $host;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
proxy_set_header X-Sandbox-Name stock;
proxy_buffering off;
proxy_request_buffering off;
client_max_body_size 0;
END

# Starts feed and nginx, waits until the zone answers for the last sandbox.
sub bring_up {
    my ($count, $main, @wrap) = @_;
    my $port = free_port();
    my $feed = start_process(cmd => ['perl', "$top/bench/feed.pl",
        "$dir/run/control.sock", "$dir/secret", $count],
        log => "$dir/feed.log");

    wait_for(sub { -S "$dir/run/control.sock" }, 10) or die 'feed';
    for my $slot (1 .. $count) {
        my $name = sprintf '%s/run/s/%08x', $dir, $slot;
        -l $name or symlink "$dir/agent.sock", $name or die "$name: $!";
    }

    spew("$dir/ngx/nginx.conf", conf($port, $main));
    my $nginx = start_process(cmd => [@wrap, '/usr/sbin/nginx', '-p',
        "$dir/ngx/", '-e', "$dir/ngx/error.log", '-c', "$dir/ngx/nginx.conf"],
        log => "$dir/ngx/stderr.log");
    my $host = sprintf '8002-box%d-abcdefgh.localhost', $count - 1;

    wait_for(sub {
        process_alive($nginx) or die slurp("$dir/ngx/stderr.log");
        (http(port => $port, host => $host)->{status} || 0) == 200
    }, 60, 0.2) or die "the zone was not filled:\n"
        . slurp("$dir/ngx/error.log");

    return ($port, $feed, $nginx);
}

sub wrk {
    my ($port, $domain, $count, $hot) = @_;
    my $lua = "$dir/wrk.lua";

    # Hosts are made beforehand, so that the client's work is equal.
    spew($lua, <<"END");
local hosts, n = {}, 0
local ports = { 8000, 8001, 8002 }
function init(args)
    math.randomseed(4711)
    for i = 1, $hot do
        local box = math.random(0, $count - 1)
        hosts[i] = wrk.format("GET", "/", { Host = ports[i % 3 + 1]
            .. "-box" .. box .. "-abcdefgh.$domain" })
    end
end
function request()
    n = n % $hot + 1
    return hosts[n]
end
END
    my (undef, $out, $e) = run_command(['wrk', '-t1', '-c16', "-d${seconds}s",
        '-s', $lua, "http://127.0.0.1:$port/"], timeout => $seconds + 30);

    die "wrk: $out$e" if $out =~ /Non-2xx/;

    return $out =~ m{Requests/sec:\s+([\d.]+)} ? $1 : die "wrk: $out$e";
}

print "# the edge: the module against stock proxy_pass, one worker, the same\n",
    "# Unix socket backend; medians of $rounds rounds of $seconds s\n",
    "# single: stock with a new connection for each request, which is what the\n",
    "# module has to do where no kept connection fits\n",
    "# sandboxes (3 exposures each)  traffic to        stock/s single/s module/s",
    "  to stock to single\n";

for my $count (1, 1000, 100_000) {
    my ($port, $feed, $nginx) = bring_up($count, 'worker_processes 1;');

    for my $hot ($count == 1 ? (3) : (48, 20_000)) {
        my (@stock, @single, @ours);
        for (1 .. $rounds) {
            push @stock, wrk($port, 'stock', $count, $hot);
            push @single, wrk($port, 'single', $count, $hot);
            push @ours, wrk($port, 'localhost', $count, $hot);
        }
        my @ratio = map { $ours[$_] / $stock[$_] } 0 .. $#ours;
        my @fair = map { $ours[$_] / $single[$_] } 0 .. $#ours;

        printf "%-31d %-16s %8.0f %8.0f %8.0f  %8.3f %9.3f\n", $count,
            $hot == 20_000 ? 'all, at random' : "$hot names",
            median(@stock), median(@single), median(@ours), median(@ratio),
            median(@fair);
    }

    if ($count == 100_000) {
        my ($worker) = grep { $_ != $nginx } descendants($nginx);
        my ($rss) = (slurp("/proc/$worker/status") // '')
            =~ /^RssShmem:\s+(\d+)/m;
        printf "# shared memory in use with 100,000 sandboxes and 300,000 "
            . "exposures: %d MiB\n", ($rss || 0) / 1024;
    }

    stop_process($nginx, 'TERM', 10);
    stop_process($feed, 'TERM', 5);
}

# Instructions: nginx in one process under callgrind, the difference between a
# short and a long run of keepalive requests.
sub instructions {
    my ($domain, $n) = @_;
    my $out = "$dir/callgrind.out";
    my ($port, $feed, $nginx) = bring_up(1000,
        'master_process off;', 'valgrind', '--tool=callgrind', '-q',
        "--callgrind-out-file=$out");
    my $s = http_connect(port => $port);

    for my $i (1 .. $n) {
        my $r = http(socket => $s, keepalive => 1,
            host => sprintf '800%d-box%d-abcdefgh.%s', $i % 3, $i % 16,
            $domain);
        die "status $r->{status}" if $r->{status} != 200;
    }
    close $s;
    stop_process($nginx, 'TERM', 30);
    stop_process($feed, 'TERM', 5);

    my ($total) = (slurp($out) // '') =~ /^(?:summary|totals): (\d+)/m
        or die 'callgrind wrote no summary';

    return $total;
}

print "# user-space instructions per request (callgrind, 1,000 sandboxes)\n";
my %i;
for my $domain (qw(stock localhost)) {
    my ($few, $many) = (200, 1200);
    $i{$domain} = (instructions($domain, $many) - instructions($domain, $few))
        / ($many - $few);
}
printf "stock %.0f, module %.0f: %+.1f %%\n", $i{stock}, $i{localhost},
    100 * ($i{localhost} / $i{stock} - 1);
