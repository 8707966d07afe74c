#!/usr/bin/perl

# nginx is reloaded again and again under traffic: no request fails, and the
# zone keeps or regains what it held.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(180);

my $reloads = $ENV{RELOADS} || (is_san() ? 4 : 12);
my $s = System->start(workers => 2);

$s->api(PUT => '/v1/sandbox/app/file/workspace/echo.py',
    body => slurp(top_dir() . '/t/apps/echo.py'));
ok($s->serve('app', 8000, 'python3 /workspace/echo.py 8000 app'), 'a server');
my $e = $s->expose('app', 8000);
my ($host) = $e->{url} =~ m{//([^/]+)};
my $dir = tmp_dir();
my @load;

for my $k (0 .. 3) {
    my $pid = fork();
    if ($pid == 0) {
        my ($n, @bad) = (0);
        while (!-e "$dir/stop") {
            my $r = $k == 3
                ? $s->api(POST => '/v1/sandbox/app/api/execute', timeout => 30,
                    json => { command => 'echo ok',
                              sessionId => '__DISABLE_SESSION__' })
                : $s->preview($e->{url}, timeout => 30,
                    path => $k == 2 ? '/slow?ms=300' : "/$n",
                    $k == 1 ? (method => 'POST', body => 'x' x 50000) : ());
            $n++;
            push @bad, "$k: $r->{status} " . ($r->{body} || $r->{error} || '')
                if $r->{status} != 200 || !$r->{complete};
        }
        spew("$dir/result.$k", join "\n", $n, @bad);
        POSIX::_exit(0);
    }
    push @load, $pid;
}

for my $i (1 .. $reloads) {
    # Every third time with another zone size: an empty zone that is refilled.
    if ($i % 3 == 0) {
        $s->{zone} = $s->{zone} eq '16m' ? '24m' : '16m';
        spew("$s->{ngx}/nginx.conf", $s->nginx_conf);
    }
    my %old = map { $_ => 1 } $s->nginx_workers;
    $s->reload;
    wait_for(sub { grep { !$old{$_} } $s->nginx_workers }, 10);
    sleep(0.3);
}

spew("$dir/stop", '');
waitpid $_, 0 for @load;

my ($n, @bad) = (0);
for my $f (glob "$dir/result.*") {
    my ($count, @lines) = split /\n/, slurp($f);
    $n += $count;
    push @bad, @lines;
}
cmp_ok($n, '>', 50 / slower(), "$n requests during $reloads reloads");
is(scalar @bad, 0, 'none of them failed')
    or diag(join "\n", @bad[0 .. ($#bad > 5 ? 5 : $#bad)]);

is($s->preview($e->{url})->{status}, 200, 'the preview answers');
is($s->api(DELETE => '/v1/sandbox/app/ports/8000')->{status}, 204, 'revoked');
is($s->preview($e->{url})->{status}, 404, 'and gone');

$s->stop;
done_testing();
