#!/usr/bin/perl

# The module against stock proxy_pass, in one nginx worker, to the same Unix
# socket backend with the same headers and keepalive: requests per second
# (alternating, medians), processor time of the worker and user-space
# instructions per request (callgrind).
#
#   edge.pl [SECONDS-PER-ROUND [ROUNDS]]

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";
use EdgeCost;
use Harness;
use Time::HiRes qw(sleep time);

$| = 1;

my $seconds = shift // 3;
my $rounds = shift // 5;
my $dir = tmp_dir();
my $e = EdgeCost->new;

sub median {
    my @v = sort { $a <=> $b } @_;

    return $v[@v / 2];
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
    my $before = used();
    my (undef, $out, $e) = run_command(['wrk', '-t1', '-c16', "-d${seconds}s",
        '-s', $lua, "http://127.0.0.1:$port/"], timeout => $seconds + 30);

    die "wrk: $out$e" if $out =~ /Non-2xx/;

    my ($rate) = $out =~ m{Requests/sec:\s+([\d.]+)} or die "wrk: $out$e";
    my ($n) = $out =~ /^\s+(\d+) requests in/m or die "wrk: $out$e";

    return ($rate, (used() - $before) / $n);
}

# The worker's processor time so far, in us.
sub used {
    my ($worker) = grep { $_ != $e->{nginx} } descendants($e->{nginx});

    return (split ' ', slurp("/proc/$worker/schedstat"))[0] / 1000;
}

print "# the edge: the module against stock proxy_pass, one worker, the same\n",
    "# Unix socket backend; medians of $rounds rounds of $seconds s\n",
    "# single: stock with a new connection for each request, which is what the\n",
    "# module has to do where no kept connection fits; its cpu: the worker's\n",
    "# processor time for a request, to that with stock\n",
    "# sandboxes (3 exposures each)  traffic to        stock/s single/s module/s",
    "  to stock to single its cpu\n";

for my $count (1, 1000, 100_000) {
    $e->start($count, 'worker_processes 1;');

    my ($port, $nginx) = @{$e}{qw(port nginx)};

    for my $hot ($count == 1 ? (3) : (48, 20_000)) {
        my (%rate, %cpu);
        for (1 .. $rounds) {
            for my $domain (qw(stock single localhost)) {
                my ($rate, $cpu) = wrk($port, $domain, $count, $hot);

                push @{ $rate{$domain} }, $rate;
                push @{ $cpu{$domain} }, $cpu;
            }
        }
        my $ratio = sub {
            my ($of, $to) = @_;

            return median(map { $of->{localhost}[$_] / $of->{$to}[$_] }
                0 .. $rounds - 1);
        };

        printf "%-31d %-16s %8.0f %8.0f %8.0f  %8.3f %9.3f %9.3f\n", $count,
            $hot == 20_000 ? 'all, at random' : "$hot names",
            (map { median(@{ $rate{$_} }) } qw(stock single localhost)),
            $ratio->(\%rate, 'stock'), $ratio->(\%rate, 'single'),
            $ratio->(\%cpu, 'stock');
    }

    if ($count == 100_000) {
        my ($worker) = grep { $_ != $nginx } descendants($nginx);
        my ($rss) = (slurp("/proc/$worker/status") // '')
            =~ /^RssShmem:\s+(\d+)/m;
        printf "# shared memory in use with 100,000 sandboxes and 300,000 "
            . "exposures: %d MiB\n", ($rss || 0) / 1024;
    }

    $e->stop;
}

# What the check of a private preview's cookie adds to a request: the worker's
# processor time for each, beside that of a preview by token with some cookie.
# (Nothing waits for it, and a busy machine doesn't count.)
sub cpu {
    my ($host, $cookie) = @_;
    my $before = used();
    my (undef, $out, $err) = run_command(['wrk', '-t1', '-c4',
        "-d${seconds}s", '-H', "Host: $host", '-H', "Cookie: $cookie",
        '-H', 'Sec-Fetch-Site: none', "http://127.0.0.1:$e->{port}/"],
        timeout => $seconds + 30);

    die "wrk: $out$err" if $out =~ /Non-2xx/;
    my ($n) = $out =~ /^\s+(\d+) requests in/m or die "wrk: $out$err";

    return (used() - $before) / $n;
}

$e->{private} = 1;
$e->start(1000, 'worker_processes 1;');

my ($name, $cookie) = $e->private(1000);
my (@private, @token);

for (1 .. $rounds) {
    push @private, cpu($name, $cookie);
    push @token, cpu($name =~ s/^8000/8001/r,
        $cookie =~ s/^__Host-sandbox/other/r);
}
printf "# processor time of a request: token %.1f us, private %.1f us, %+.1f us "
    . "for the cookie\n", median(@token), median(@private),
    median(map { $private[$_] - $token[$_] } 0 .. $#token);
$e->stop;

print "# user-space instructions per request (callgrind)\n";
for my $boxes (1, 16) {
    my %i = $e->instructions(1000, $boxes, 'stock', 'localhost');

    printf "token %.0f, private %.0f: %+.0f for the cookie\n", $i{token},
        $i{private}, $i{private} - $i{token} if $boxes == 1;

    printf "%2d names: stock %.0f, module %.0f: %+.1f %%\n", 3 * $boxes,
        $i{stock}, $i{localhost}, 100 * ($i{localhost} / $i{stock} - 1);
}
