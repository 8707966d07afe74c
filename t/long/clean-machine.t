#!/usr/bin/perl

# `make run` and `make test` on machines that have nothing: Debian 12 and 13,
# as root and as an ordinary user.  CLEAN_RELEASES and CLEAN_USERS choose, and
# CLEAN_WHAT=run does without the tests.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use CleanMachine;
use Harness;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'needs root to make a machine' if $> != 0;

my @releases = split ' ', $ENV{CLEAN_RELEASES} || 'bookworm trixie';
my @users = split ' ', $ENV{CLEAN_USERS} || 'root dev';

for my $release (@releases) {
    my ($m, $why) = CleanMachine->make($release);

    SKIP: {
        skip "$release: $why", 1 unless $m;
        $m->add_source->add_user;
        try($m, $release);
    }
}

sub try {
    my ($m, $release) = @_;

    for my $user (@users) {
        my $src = $user eq 'root' ? '/src' : '/home/dev/src';
        my $port = free_port();
        my $log = tmp_dir() . '/log';
        my $begun = time();

        # make run, in the foreground, ended as by Ctrl-C.
        my $pid = start_process(cmd => [$m->command(
            "cd $src && exec env SANDBOX_PORT=$port make run",
            user => $user)], log => $log);

        wait_for(sub { !process_alive($pid)
            || (slurp($log) // '') =~ /Ctrl-C stops everything/ }, 600, 0.5);

        my $said = slurp($log) // '';
        my ($host) = $said =~ m{Preview\s+http://([^/\s]+)};

        ok($host, sprintf('%s, %s: make run comes up (%.0f s)', $release,
            $user, time() - $begun)) or diag(substr($said, -3000));
        is(http(port => $port, host => $host // 'x')->{status}, 200,
            "$release, $user: its preview answers");

        my ($run) = grep { (slurp("/proc/$_/cmdline") // '')
            =~ m{scripts/run\.sh} } descendants($pid);
        kill 'INT', $run if $run;
        ok(wait_for(sub { !process_alive($pid) }, 60),
            "$release, $user: it ends");
        stop_process($pid, 'KILL', 10);
        next if ($ENV{CLEAN_WHAT} // '') eq 'run';

        $begun = time();
        my ($status, $out, $err) = $m->run("cd $src && make test 2>&1",
            user => $user, timeout => 1800);
        my ($line) = ($out // '') =~ /^(\d+ passed, 0 failed)$/m;

        ok($status == 0 && $line, sprintf(
            '%s, %s: make test passes (%s, %.0f s)', $release, $user,
            $line // 'no', time() - $begun))
            or diag(join "\n", grep { /not ok|Failed|Result|failed|rror/ }
                split /\n/, substr($out // '', -20000));
    }
}

done_testing();
