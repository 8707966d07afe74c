#!/usr/bin/perl

# Runs the unit tests (C, with the sanitizers) that `make unit` has built.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Test::More;

my @sources = sort glob(top_dir() . '/t/unit/*.c');

plan skip_all => 'the unit tests are instrumented already' if is_san();
plan tests => scalar @sources;

for my $source (@sources) {
    my ($name) = $source =~ m{([^/]+)\.c$};
    my ($status, $out, $err) =
        run_command([top_dir() . "/build/unit/$name"], timeout => 120);
    my @bad = grep { /^not ok/ } split /\n/, $out // '';
    my ($planned) = ($out // '') =~ /^1\.\.(\d+)$/m;

    ok(defined $status && $status == 0 && !@bad && $planned, "unit $name")
        or diag("status $status\n", substr($out // '', -3000),
                substr($err // '', 0, 3000));
}
