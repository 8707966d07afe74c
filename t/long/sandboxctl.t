#!/usr/bin/perl

# sandboxctl, typed as a user would, against the running system.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Harness;
use System;
use Test::More;

alarm_after(400);

# Debian's, which has its packages.
my $python = '/usr/bin/python3';
my $dir = top_dir() . '/sdk/python';

my $s = System->start;
my %env = (SANDBOX_ENDPOINT => "http://127.0.0.1:$s->{port}",
           SANDBOX_API_KEY => $s->{key}, PYTHONPATH => $dir,
           PYTHONDONTWRITEBYTECODE => 1);

for (['test_cli.py', 5]) {
    my ($file, $least) = @$_;

    my ($status, $out, $err) = run_command([$python, '-X', 'dev', '-W', 'error',
        '-W', 'ignore::DeprecationWarning', "$dir/test/$file"],
        env => \%env, timeout => 300);

    my ($ran) = $err =~ /^Ran (\d+) tests/m;

    is($status, 0, "$file: all methods") or diag($out, $err);
    cmp_ok($ran // 0, '>=', $least, "$file: none left out");
}

$s->stop;
done_testing();
