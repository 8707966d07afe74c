#!/usr/bin/perl

# Tests of the whole system that were written with containers in mind, run with
# virtual machines instead (SANDBOX_DRIVER=qemu).  What of them only containers
# can do says so where it is skipped (System.pm).  Left out are files
#
# - that are about containers themselves: oci*.t, pool.t (long/qemu-pool.t),
#   network.t and network-rules.t (long/network-qemu.t), silent.t
#   (qemu-silent.t), disk-budget.t (with a part of its own for machines);
# - in which no sandbox of this host's runs: those of the module with daemons
#   and agents that are played (module-*.t, private.t, ...), external*.t,
#   vsock.t, domains.t, conf-examples*.t, sandboxd-*.t, agent-*.t;
# - that are about what a container takes, or how fast it is: the numbers of
#   agent-archive-load.t are the agent's as a process of the host's;
# - that start the host's own programs: run.t, install.t, doctor.t.
#
# QEMU_SUITE names some of the files instead; TEST_JOBS (2) run at a time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

Vm->plan;

my $TIMEOUT = 900;
my $ATONCE = $ENV{TEST_JOBS} || 2;

# Those that take longest begin.
my @files = qw(no-downtime many crash apps stats interrupted volume contract
    wake sleep preview revoke reload protocols options tenants wake-policy
    sdk-examples sdk-typescript sdk-python sdk-browser cors-browser vite
    interpreter inside inside-streams terminal environment events health
    contract-files contract-bridge contract-replay api api-create api-docs
    api-proxy bad-input openapi operations-docs);

@files = split ' ', $ENV{QEMU_SUITE} if $ENV{QEMU_SUITE};
alarm_after(60 + $TIMEOUT * @files / $ATONCE);

# As many, and as much, as an emulated processor can do.
my %env = (SANDBOX_DRIVER => 'qemu', SANDBOX_MANY => 6, CRASH_ROUNDS => 2,
           RELOADS => 8, SANDBOX_VOLUME_MIB => 128);
my $dir = tmp_dir();

ok(-s Vm::suite_image(), 'an image with what they run');

my (%begun, %running);

sub begin {
    my ($file) = @_;
    my $pid = start_process(log => "$dir/$file", cwd => top_dir(),
        env => \%env, cmd => ['timeout', $TIMEOUT, $^X, '-It/lib',
        "t/$file.t"]);

    $begun{$pid} = time;
    $running{$pid} = $file;
}

sub ended {
    my ($pid) = @_;
    my $file = delete $running{$pid};
    my $took = time - $begun{$pid};
    my $status = stop_process($pid);
    my $all = slurp("$dir/$file") // '';

    is($status, 0, sprintf '%s.t (%.0f s)', $file, $took)
        or diag(join "\n", grep { /^not ok|^#|^Bail/ } split /\n/, $all);
    note("$file: $_") for do { my %seen; grep { !$seen{$_}++ }
        $all =~ /# skip (.*)/gi };
}

while (@files || %running) {
    begin(shift @files) while @files && keys %running < $ATONCE;
    ended($_) for grep { !process_alive($_) } keys %running;
    sleep 0.1;
}

done_testing();
