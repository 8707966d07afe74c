#!/usr/bin/perl

# Tests of the whole system on a real Firecracker's machines, where there is
# one: SANDBOX_FIRECRACKER, or /usr/bin/firecracker, with its jailer beside it,
# on a host with KVM.  scripts/kvm-suite.sh makes what it needs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use Test::More;
use Time::HiRes qw(time);
use Vm;

my $program = $ENV{SANDBOX_FIRECRACKER} // '/usr/bin/firecracker';
my $jailer = $program =~ s{[^/]*$}{jailer}r;
my (undef, $report) = run_command([build_dir() . '/sandboxd', 'doctor',
    '--json', '--driver', 'firecracker',
    -x $program ? ('--firecracker', $program) : (),
    -x $jailer ? ('--jailer', $jailer) : ()], timeout => 60);
my @problems = @{ json_decode($report)->{problems} };

plan skip_all => join '; ', @problems if @problems;
Vm->plan;

my @files = qw(preview terminal environment events sleep contract-files);

alarm_after(60 + 300 * @files);

my ($status, $out, $err) = run_command(['make', '-s', 'image'],
    cwd => top_dir(), timeout => 300);
is($status, 0, 'an image with what they run') or BAIL_OUT($out . $err);

for my $file (@files) {
    my $begun = time;

    ($status, $out, $err) = run_command([$^X, '-It/lib', "t/$file.t"],
        cwd => top_dir(), timeout => 300,
        env => { SANDBOX_DRIVER => 'firecracker' });
    is($status, 0, sprintf '%s.t (%.0f s)', $file, time - $begun)
        or diag(join "\n", grep { /^not ok|^#/ } split /\n/, $out . $err);
}

done_testing();
