#!/usr/bin/perl

# 200 sandboxes with interleaved traffic: nobody ever sees another's bytes.
# (not with the sanitizers: it is about numbers)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(time);

alarm_after(400);

my $count = $ENV{SANDBOX_MANY} || 200;
my $clients = 8;
my $rounds = 600;
my $s = System->start(workers => 2);
my $app = slurp(top_dir() . '/t/apps/echo.py');

# parallel(N, sub { my ($k) = @_; ... return list of complaints })
sub parallel {
    my ($n, $code) = @_;
    my @pipes;

    for my $k (0 .. $n - 1) {
        pipe my $r, my $w;
        my $pid = fork();
        if ($pid == 0) {
            close $r;
            my @bad = eval { $code->($k) };
            push @bad, "died: $@" if $@;
            print $w map { s/\n/ /gr . "\n" } @bad;
            close $w;
            POSIX::_exit(0);
        }
        close $w;
        push @pipes, [$pid, $r];
    }

    return map { my ($pid, $r) = @$_;
                 my @l = <$r>;
                 waitpid $pid, 0;
                 chomp @l;
                 @l } @pipes;
}

my @bad = parallel($clients, sub {
    my ($k) = @_;
    my @bad;

    for (my $i = $k; $i < $count; $i += $clients) {
        my $id = "box$i";
        my $r = $s->api(PUT => "/v1/sandbox/$id/file/workspace/echo.py",
            body => $app, timeout => 60);

        push @bad, "$id: upload $r->{status} $r->{body}" if $r->{status} != 200;
        $r = $s->api(POST => "/v1/sandbox/$id/api/process/start", timeout => 60,
            json => { command => "python3 /workspace/echo.py 8000 name-$id" });
        push @bad, "$id: start $r->{status} $r->{body}" if $r->{status} != 200;
        $r = $s->api(POST => "/v1/sandbox/$id/ports", timeout => 60,
            json => { port => 8000, access => 'public' });
        push @bad, "$id: expose $r->{status} $r->{body}"
            if $r->{status} >= 300;
    }
    return @bad;
});

is(scalar @bad, 0, "$count sandboxes are made, started and exposed")
    or diag(join "\n", @bad[0 .. ($#bad > 5 ? 5 : $#bad)]);

# The servers inside come up one after another: two processors.
my $up = wait_for(sub {
    my $n = 0;
    for my $i (0 .. $count - 1) {
        my $r = $s->preview("http://8000-box$i.localhost:$s->{port}/");
        return 0 if $r->{status} != 200;
    }
    return 1;
}, 120, 0.5);
ok($up, 'all servers inside answer');

my $begun = time();

@bad = parallel($clients, sub {
    my ($k) = @_;
    my @bad;

    srand(4711 + $k);
    for my $n (1 .. $rounds) {
        my $i = int rand $count;
        my $mark = "m$k-$n-" . int rand 1e9;
        my $what = int rand 10;

        if ($what < 8) {
            my $r = $s->preview("http://8000-box$i.localhost:$s->{port}/$mark",
                method => 'POST', body => "$mark\n" x (1 + int rand 50),
                timeout => 60);
            my $j = $r->{json} || {};

            push @bad, "box$i: $r->{status} $r->{body}"
                unless $r->{status} == 200 && ($j->{name} || '') eq "name-box$i"
                       && ($j->{uri} || '') eq "/$mark";
        } else {
            my $j = $s->exec("box$i", "echo $mark \$(hostname)",
                timeout => 60);

            push @bad, "box$i: exec " . json_encode($j)
                unless ($j->{stdout} || '') =~ /^$mark box$i$/;
        }
    }
    return @bad;
});

is(scalar @bad, 0, sprintf('%d requests to %d sandboxes, each answered by '
    . 'the right one (%.0f per second)', $clients * $rounds, $count,
    $clients * $rounds / (time() - $begun)))
    or diag(join "\n", @bad[0 .. ($#bad > 5 ? 5 : $#bad)]);

@bad = parallel($clients, sub {
    my ($k) = @_;
    my @bad;

    for (my $i = $k; $i < $count; $i += $clients) {
        my $r = $s->api(DELETE => "/v1/sandbox/box$i", timeout => 60);
        push @bad, "box$i: $r->{status}" if $r->{status} != 204;
        $r = $s->preview("http://8000-box$i.localhost:$s->{port}/");
        push @bad, "box$i: still $r->{status}" if $r->{status} != 404;
    }
    return @bad;
});
is(scalar @bad, 0, 'all of them are destroyed, and their previews gone')
    or diag(join "\n", @bad[0 .. ($#bad > 5 ? 5 : $#bad)]);

$s->stop;
done_testing();
