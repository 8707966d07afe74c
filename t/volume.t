#!/usr/bin/perl

# A file of 1 GiB goes in and comes out through the control API and through a
# preview: the hashes are equal, and nginx and the agent don't grow.
# (not with the sanitizers: it is about numbers)

use strict;
use warnings;

use Digest::SHA;
use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(time);

alarm_after(400);

my $mib = $ENV{SANDBOX_VOLUME_MIB} || 1024;
my $size = $mib << 20;
my $s = System->start(workers => 1);

# 1 MiB that differs from its neighbours by a counter at its front.
my $block = join '', map { pack 'N', ($_ * 2654435761) & 0xffffffff }
    1 .. 262144;

sub piece { return pack('Q>', $_[0]) . substr $block, 8 }

my $sha = Digest::SHA->new(256);
$sha->add(piece($_)) for 1 .. $mib;
my $want = $sha->hexdigest;

is($s->exec('vol', 'true')->{exitCode}, 0, 'a sandbox runs');

my ($worker) = $s->nginx_workers;
my $agent = $s->sandbox_pid('vol');

sub rss {
    my ($pid) = @_;

    return (slurp("/proc/$pid/status") // '') =~ /^VmRSS:\s+(\d+)/m ? $1 : 0;
}

my %before = (nginx => rss($worker), agent => rss($agent));
my %most = %before;

sub sample {
    my $n = rss($worker);
    my $a = rss($agent);

    $most{nginx} = $n if $n > $most{nginx};
    $most{agent} = $a if $a > $most{agent};
}

sub upload {
    my ($method, $host, $path, @headers) = @_;
    my $sock = http_connect(port => $s->{port});

    http_send($sock, "$method $path HTTP/1.1\r\nHost: $host\r\n"
        . join('', map { "$_\r\n" } @headers)
        . "Connection: close\r\nContent-Length: $size\r\n\r\n");
    for my $i (1 .. $mib) {
        http_send($sock, piece($i), 60) or last;
        sample() if $i % 32 == 0;
    }
    return http_read($sock, timeout => 120);
}

my $begun = time();
my $r = upload(PUT => "localhost:$s->{port}",
    '/v1/sandbox/vol/file/workspace/big.bin', "Authorization: Bearer $s->{key}");
my $took = time() - $begun;

is($r->{status}, 200, sprintf '%d MiB are uploaded (%.0f MB/s)', $mib,
    $size / 1e6 / $took) or diag($r->{body} || $r->{raw});
is($s->exec('vol', 'stat -c %s /workspace/big.bin')->{stdout}, $size,
    'all of it is there');
like($s->exec('vol', 'sha256sum /workspace/big.bin')->{stdout}, qr/^$want /,
    'with the same hash');

$sha = Digest::SHA->new(256);
my $n = 0;
$begun = time();
$r = $s->api(GET => '/v1/sandbox/vol/file/workspace/big.bin', timeout => 200,
    on_data => sub { $sha->add($_[0]); sample() if $n++ % 64 == 0; 1 });
$took = time() - $begun;
is($r->{received}, $size, sprintf 'it is downloaded (%.0f MB/s)',
    $size / 1e6 / $took);
is($sha->hexdigest, $want, 'with the same hash');

$s->api(PUT => '/v1/sandbox/vol/file/workspace/echo.py',
    body => slurp(top_dir() . '/t/apps/echo.py'));
ok($s->serve('vol', 8000, 'python3 /workspace/echo.py 8000'), 'a server inside');
my $e = $s->expose('vol', 8000);
my ($host) = $e->{url} =~ m{//([^/]+)};
$r = upload(POST => $host, '/up');
is($r->{json}{sha256}, $want, 'an upload through a preview');

$n = 0;
$r = $s->preview($e->{url}, path => "/big?n=$size", timeout => 200,
    on_data => sub { sample() if $n++ % 64 == 0; 1 });
is($r->{received}, $size, 'a download through a preview');

# A client that doesn't read holds a bounded buffer, not a gigabyte.
my $stalled = http_connect(port => $s->{port});
http_send($stalled, "GET /v1/sandbox/vol/file/workspace/big.bin HTTP/1.1\r\n"
    . "Host: localhost:$s->{port}\r\nAuthorization: Bearer $s->{key}\r\n\r\n");
sleep 2;
sample();
close $stalled;

cmp_ok($most{nginx} - $before{nginx}, '<', 8192,
    "nginx grew by no more than 8 MiB (by " . ($most{nginx} - $before{nginx})
    . ' kB)');
cmp_ok($most{agent} - $before{agent}, '<', 4096,
    "the agent by no more than 4 MiB (by " . ($most{agent} - $before{agent})
    . ' kB)');
is(scalar(grep { (stat $_)[7] } glob "$s->{ngx}/tmp/*/*"), 0,
    'nginx kept no temporary file');

$s->stop;
done_testing();
