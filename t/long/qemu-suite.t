#!/usr/bin/perl

# Tests of the whole system that were written with containers in mind, run with
# virtual machines instead (SANDBOX_DRIVER=qemu).  Left out is what looks into
# containers from outside (oci*.t, inside.t), what the pool or the host's own
# programs are needed for (pool.t, run.t), and what starts so many sandboxes
# that emulation would take hours (many.t, crash.t).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use Test::More;
use Time::HiRes qw(time);
use Vm;

Vm->plan;

my @files = qw(preview terminal environment events sleep contract-files);

alarm_after(60 + 600 * @files);

my ($status, $out, $err) = run_command(['make', '-s', 'image'],
    cwd => top_dir(), timeout => 300);
is($status, 0, 'an image with what they run') or BAIL_OUT($out . $err);

for my $file (@files) {
    my $begun = time;

    ($status, $out, $err) = run_command([$^X, '-It/lib', "t/$file.t"],
        cwd => top_dir(), timeout => 600,
        env => { SANDBOX_DRIVER => 'qemu' });
    is($status, 0, sprintf '%s.t (%.0f s)', $file, time - $begun)
        or diag(join "\n", grep { /^not ok|^#/ } split /\n/, $out . $err);
}

done_testing();
