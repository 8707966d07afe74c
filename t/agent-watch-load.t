#!/usr/bin/perl

# Watching what is large, too fast, or made to do harm: bounded, told, and
# nobody else waits for it.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use File::Path qw(make_path remove_tree);
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);
use WatchClient;

alarm_after(280);

my $dir = tmp_dir();
my $agent = AgentClient->start(args => ['--workspace', $dir]);


sub send_watch {
    my ($a, $request, %o) = @_;
    my $body = json_encode($request);

    return WatchClient->open($a->connect,
        "POST /api/watch HTTP/1.1\r\nHost: x\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body", preface => 1, %o);
}

sub watch { return send_watch($agent, @_) }


sub held { return WatchClient->held($_[0]->pid) }


sub holds { return WatchClient->holds($_[0]->pid, @_[1 .. 2]) }

sub nothing_held {
    my ($what, $a) = @_;

    return holds($a || $agent, 0, "$what: nothing is held");
}


# Ten thousand directories.

{
    my $top = "$dir/large";

    for my $i (1 .. 100) {
        mkdir $_ for $top, "$top/$i", map { "$top/$i/$_" } 1 .. 99;
    }

    my @gone = map { watch({ path => $top, include => ["x$_"] },
                           no_wait => 1) } 1 .. 5;
    $_->close for @gone;
    nothing_held('those who left');

    my $w = watch({ path => $top }, no_wait => 1);
    my $slow = 0;
    my $pings = 0;
    until (@{ $w->poll->{frames} } || $w->{eof}) {
        my $begun = time();
        is($agent->get('/api/ping')->{status}, 200, 'others are answered')
            unless $pings++;
        my $took = time() - $begun;
        $slow = $took if $took > $slow;
    }
    is($w->{frames}[0]{type}, 'watching', 'all of it is watched');
    cmp_ok($slow, '<', 10, 'no request waited for it');
    holds($agent, 10001, 'each directory');
    spew("$top/100/99/f", '');
    ok($w->has('create 100/99/f'), 'the last one, too');
    $w->close;
    nothing_held('a large tree');
    remove_tree($top);
}


# The kernel's queue runs over while we can't read it.

{
    my $top = "$dir/queue";

    mkdir $top;
    my $w = watch({ path => $top });
    my $v = $agent->post('/api/watch/check', { path => $top })
        ->{json}{version};
    kill 'STOP', $agent->pid;
    for my $i (1 .. 9000) {     # more than the queue holds
        spew("$top/f$i", '');
        unlink "$top/f$i";
    }
    make_path("$top/late/deep");
    spew("$top/late/deep/f", '');
    kill 'CONT', $agent->pid;
    ok($w->until(sub { $w->frames('resync') }, 60), 'it is told');
    my ($r) = $w->frames('resync');
    is("$r->{reason} " . join(' ', sort keys %$r),
       'overflow reason timestamp type', 'how');
    holds($agent, 3, 'and what was missed is watched');

    # There may be a second resync, for what fell out of the kernel's queue.
    my $n = 0;
    ok(wait_for(sub {
        my $name = 'late/deep/after' . $n++;

        spew("$top/$name", '');
        $w->until(sub { grep { $_ eq "create $name" } $w->told }, 2);
    }, 30), 'which is told');
    is($agent->post('/api/watch/check', { path => $top, since => $v })
       ->{json}{status}, 'changed', 'a check knows');
    $w->close;
    remove_tree($top);
}


# A client that doesn't read.

{
    my $top = "$dir/stalled";

    mkdir $top;
    my $w = watch({ path => $top });
    my $other = watch({ path => $top });
    my $pid = fork() // die;
    if ($pid == 0) {
        for my $i (1 .. 15000) {
            my $name = "$top/" . 'n' x 200 . $i;
            open my $f, '>', $name;
            unlink $name;
            sleep 0.001 if $i % 20 == 0;
        }
        POSIX::_exit(0);
    }
    ok($other->until(sub {
        splice @{ $other->{frames} }, 1;
        waitpid($pid, POSIX::WNOHANG()) == $pid;
    }, 60), 'the other reads');

    # On a slow machine even this one may have missed something; not for long.
    my $i = 0;
    ok(wait_for(sub {
        my $name = 'end' . $i++;
        spew("$top/$name", '');
        $other->until(sub { grep { $_ eq "create $name" } $other->told }, 2);
    }, 60), 'and is told to the end');
    ok($w->until(sub { $w->frames('resync') }, 60),
       'one that reads late is told that it has missed something');
    spew("$top/more", '');
    ok($w->has('create more'), 'and goes on');
    $_->close for $w, $other;
    remove_tree($top);
    nothing_held('stalled');
}


# Directories come and go by the thousands.

{
    my $top = "$dir/churn";

    mkdir $top;
    my @w = (watch({ path => $top }), watch({ path => $dir }));
    my @pids;
    for my $n (1 .. 2) {
        my $pid = fork() // die;
        if ($pid == 0) {
            my $end = time() + 2;
            for (my $i = 0; time() < $end; $i++) {
                my $d = "$top/p$n-" . $i % 50;
                make_path("$d/x/y");
                rename "$d/x", "$d/z";
                rmdir $_ for "$d/z/y", "$d/z", $d;
            }
            POSIX::_exit(0);
        }
        push @pids, $pid;
    }
    my ($slow, $running) = (0, 2);
    while ($running) {
        my $begun = time();
        is($agent->get('/api/ping')->{status}, 200, 'others are answered')
            unless $slow;
        my $took = time() - $begun;
        $slow = $took if $took > $slow;
        splice @{ $_->poll->{frames} }, 1 for @w;
        $running = grep { waitpid($_, POSIX::WNOHANG()) == 0 } @pids;
    }
    cmp_ok($slow, '<', 10, 'no request waited for it');
    make_path("$top/after/deep");
    spew("$top/after/deep/f", '');
    for my $w (@w) {
        my $p = $w->{frames}[0]{path} eq $top ? '' : 'churn/';
        my $done = 0;
        $w->until(sub {
            $done ||= grep { $_ eq "create ${p}after/deep/f" } $w->told;
            splice @{ $w->{frames} }, 1;
            $done;
        }, 60);
        ok($done, 'and in the end all is told');
    }
    ok(wait_for(sub { held($agent) <= 6 }, 30), 'what went is not watched')
        or diag(scalar held($agent));
    $_->close for @w;
    nothing_held('churn');
}


# As many as are allowed.

{
    my @w;

    mkdir "$dir/limit";
    for my $i (1 .. 70) {
        last unless $agent->post('/api/watch/check', { path => 'limit',
            include => ["c$i"] })->{status} == 200;
        push @w, $i;
    }
    is(@w, 70, 'checks make room for checks');
    @w = map { watch({ path => 'limit', include => ["s$_"] }) } 1 .. 64;
    is((grep { $_->{status} == 200 } @w), 64, 'and for streams');
    my $r = watch({ path => 'limit' });
    is($r->{status}, 503, 'but there is an end');
    like($r->{text}, qr/RESOURCE_BUSY.*at most 64/, 'that is told');
    push @w, map { watch({ path => 'limit', include => ['s1'] }) } 1 .. 192;
    is((grep { $_->{status} == 200 } @w), 256, 'many clients');
    $r = watch({ path => 'limit', include => ['s1'] });
    like("$r->{status} $r->{text}", qr/^503 .*at most 256/, 'but not any');
    holds($agent, 1, 'one directory is watched once');
    $_->close for @w;
    nothing_held('limits');
    is(watch({ path => 'limit' })->{status}, 200, 'then there is room again');
}


# The kernel's own limits.

SKIP: {
    my $probe = 'echo 60 >/proc/sys/user/max_inotify_watches';

    skip 'no user namespace can be made here: its limits are not tested', 9
        if (run_command(['unshare', '-Ur', 'sh', '-c', $probe]))[0] != 0;

    my $home = tmp_dir();
    my $few = AgentClient->start(args => ['--workspace', $home],
        before => ['unshare', '-Ur', 'sh', '-c', "$probe; exec \"\$@\"", '-']);

    make_path(map { "$home/many/$_" } 1 .. 100);
    make_path("$home/few");
    my $ok = send_watch($few, { path => 'few' });
    is($ok->{status}, 200, 'a small tree');
    my $r = send_watch($few, { path => 'many' });
    is($r->{status}, 500, 'more than the kernel watches');
    my $e = json_decode($r->{text});
    is($e->{code}, 'WATCH_START_ERROR', 'is an error');
    like($e->{message}, qr/user\.max_inotify_watches is 60$/, 'that says why');
    holds($few, 1, 'which leaves nothing');

    make_path(map { "$home/few/$_" } 1 .. 100);
    ok($ok->until(sub { $ok->{eof} }), 'a tree that grows too large ends');
    like($ok->{frames}[-1]{error} // '', qr/max_inotify_watches is 60$/,
         'with an error');
    nothing_held('the limit', $few);
    is(send_watch($few, { path => 'few', recursive => \0 })->{status}, 200,
       'and others go on');
    $few->stop;
}


is($agent->get('/api/ping')->{status}, 200, 'the agent is well');
is(($agent->log_text =~ /runtime error|AddressSanitizer/) ? 1 : 0, 0,
   'nothing in its log');

done_testing();
