#!/usr/bin/perl

# A short run of every fuzzer, from its seeds.  FUZZ_SECONDS makes it longer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Test::More;

my @sources = sort glob(top_dir() . '/t/fuzz/*.c');
my $seconds = $ENV{FUZZ_SECONDS} || 2;

plan skip_all => 'the fuzzers are instrumented already' if is_san();
plan tests => 2 * @sources;

for my $source (@sources) {
    my ($name) = $source =~ m{([^/]+)\.c$};
    my $seeds = top_dir() . "/t/fuzz/corpus/$name";
    my $dir = tmp_dir();

    ok(scalar(() = glob("$seeds/*")), "fuzz $name has seeds");

    mkdir "$dir/corpus";
    my ($status, $out, $err) = run_command(
        [top_dir() . "/build/fuzz/$name", "-max_total_time=$seconds",
         '-timeout=25', '-rss_limit_mb=1024', '-print_final_stats=1',
         "-artifact_prefix=$dir/", "$dir/corpus", $seeds],
        timeout => $seconds + 60, dir => $dir);
    my ($runs) = ($err // '') =~ /number_of_executed_units: (\d+)/;

    ok(defined $status && $status == 0 && ($runs || 0) > 100,
        "fuzz $name: " . ($runs || 0) . ' runs')
        or diag(substr($err // '', -4000));
}
