#!/usr/bin/perl

# Anything is killed at any moment, under load: the system answers again, what
# was acknowledged is still there, nothing is left behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);

my $rounds = $ENV{CRASH_ROUNDS} || (is_san() ? 3 : 6);
my $s = System->start(workers => 2);
my $app = slurp(top_dir() . '/t/apps/echo.py');

$s->api(PUT => '/v1/sandbox/app/file/workspace/echo.py', body => $app);
ok($s->serve('app', 8000, 'python3 /workspace/echo.py 8000 app'), 'a server');
my $e = $s->expose('app', 8000);
is($s->preview($e->{url})->{status}, 200, 'and its preview');

# Load in the background: creates, exposes, previews.  What was acknowledged
# is written down.
my $dir = tmp_dir();
my @load;

for my $k (0 .. 2) {
    my $pid = fork();
    if ($pid == 0) {
        open my $log, '>>', "$dir/acked.$k";
        $log->autoflush(1);
        my $n = 0;
        while (!-e "$dir/stop") {
            my $id = "r$k-" . $n++;
            my $r = $s->api(POST => '/v1/sandbox', timeout => 20,
                json => { id => $id });
            print $log "sandbox $id\n" if $r->{status} == 200;
            $r = $s->api(POST => "/v1/sandbox/$id/ports", timeout => 20,
                json => { port => 8000, access => 'public' });
            print $log "port $id\n" if $r->{status} == 200
                || $r->{status} == 201;
            $s->preview($e->{url}, timeout => 10);
            if ($n % 5 == 0) {
                $r = $s->api(DELETE => "/v1/sandbox/$id", timeout => 20);
                # Without an answer it may be gone or not.
                print $log $r->{status} == 204 ? "gone $id\n"
                    : "unsure $id\n";
            }
            sleep(0.02);
        }
        close $log;
        POSIX::_exit(0);
    }
    push @load, $pid;
}

sub answers {
    my ($what) = @_;

    ok(wait_for(sub {
        $s->preview($e->{url}, timeout => 5)->{status} == 200
            && $s->api(GET => '/v1/sandbox/app', timeout => 5)->{status} == 200
            && ($s->exec('app', 'echo ok', timeout => 5)->{stdout} || '') =~ /ok/
    }, 20, 0.1), "the system answers after kill -9 of $what");
}

for my $round (1 .. $rounds) {
    my ($one, $two) = $s->nginx_workers;

    kill 'KILL', $one;
    answers("a worker ($round)");

    kill 'KILL', $s->nginx_workers;
    answers("all workers ($round)");

    $s->kill_daemon;
    is($s->preview($e->{url}, timeout => 10)->{status}, 200,
        'previews go on while sandboxd is away');
    $s->start_daemon;
    answers("sandboxd ($round)");
}

# The application was never restarted by any of it.
my $epoch = $s->api(GET => '/v1/sandbox/app')->{json}{epoch};
is($epoch, 1, 'the sandbox lived through it all') or diag($epoch);

# The nginx master: its workers end by themselves or are ended; a new one
# takes over.
my @workers = $s->nginx_workers;
stop_process($s->{nginx}, 'KILL');
kill 'KILL', @workers;
wait_for(sub { !grep { process_alive($_) } @workers }, 5);
unlink "$s->{ngx}/nginx.pid";
$s->start_nginx;
answers('nginx, master and workers');

# The agent, in mid-stream.
my $pid = fork();
if ($pid == 0) {
    my $all = '';

    $s->api(POST => '/v1/sandbox/app/exec', timeout => 20,
        json => { argv => ['sh', '-c', 'echo begin; sleep 15; echo end'] },
        on_data => sub { $all .= $_[0]; spew("$dir/begun", ''); 1 });
    # A stream whose agent died must not look like a success.
    POSIX::_exit($all =~ /exit_code/ ? 1
        : $all =~ /^event: stdout$/m ? 0 : 2);
}
wait_for(sub { -e "$dir/begun" }, 20);
kill 'KILL', $s->sandbox_pid('app');
waitpid $pid, 0;
is($? >> 8, 0, 'a stream whose sandbox died does not report an exit code');
ok(wait_for(sub {
    ($s->exec('app', 'echo ok', timeout => 5)->{stdout} || '') =~ /ok/ }, 15),
    'the next operation starts it afresh');
is($s->exec('app', 'ls /workspace')->{stdout}, 'echo.py',
    'and its files are still there');

spew("$dir/stop", '');
waitpid $_, 0 for @load;

# ---- what was acknowledged

my (%want, $acked);
for my $f (glob "$dir/acked.*") {
    for (split /\n/, slurp($f)) {
        my ($what, $id) = split ' ';
        $acked++;
        if ($what eq 'gone' || $what eq 'unsure') { delete $want{$id} }
        else { $want{$id}{$what} = 1 }
    }
}

my @lost;
for my $id (sort keys %want) {
    push @lost, "sandbox $id" if $want{$id}{sandbox}
        && $s->api(GET => "/v1/sandbox/$id")->{status} != 200;
    push @lost, "port $id" if $want{$id}{port}
        && !@{ $s->api(GET => "/v1/sandbox/$id/ports")->{json}{ports} || [] };
}
cmp_ok($acked || 0, '>', 5, "the load got somewhere ($acked acknowledged)");
is("@lost[0 .. ($#lost > 5 ? 5 : $#lost)]", '', 'no acknowledged record is lost');

# And once more with the whole of it gone at once.
my $agent = $s->sandbox_pid('app');
@workers = $s->nginx_workers;
stop_process($s->{nginx}, 'KILL');
kill 'KILL', @workers;
$s->kill_daemon;
kill 'KILL', $agent;
wait_for(sub { !grep { process_alive($_) } @workers }, 5);
unlink "$s->{ngx}/nginx.pid";
$s->start_daemon;
$s->start_nginx;
ok(wait_for(sub {
    ($s->exec('app', 'echo ok', timeout => 5)->{stdout} || '') =~ /ok/ }, 20),
    'after all of it was killed at once, it works again');
is($s->preview($e->{url})->{status}, 502, 'its exposure is still known');

$s->stop(allow => qr/worker process \d+ exited on signal 9|was locked by/);
done_testing();
