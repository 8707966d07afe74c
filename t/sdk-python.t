#!/usr/bin/perl

# The Python client, against the running system; the client that waits is what
# unasync.py makes of the other one.
# The client is what is tested: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(400);

# Debian's, which has its packages.
my $python = '/usr/bin/python3';
my $dir = top_dir() . '/sdk/python';

my ($status, $out, $err) = run_command([$python, "$dir/unasync.py",
                                        '--check']);
is($status, 0, '_sync is made from _async') or diag($out);

my $s = System->start;
my %env = (SANDBOX_ENDPOINT => "http://127.0.0.1:$s->{port}",
           SANDBOX_API_KEY => $s->{key}, PYTHONPATH => $dir,
           $s->machines ? (SANDBOX_MACHINES => 1) : (),
           PYTHONDONTWRITEBYTECODE => 1);

for (['test_sdk.py', 20]) {
    my ($file, $least) = @$_;

    ($status, $out, $err) = run_command([$python, '-X', 'dev', '-W', 'error',
        '-W', 'ignore::DeprecationWarning', "$dir/test/$file"],
        env => \%env, timeout => 300 * slower());

    my ($ran) = $err =~ /^Ran (\d+) tests/m;

    is($status, 0, "$file: all methods") or diag($out, $err);
    cmp_ok($ran // 0, '>=', $least, "$file: none left out");
}

$s->stop;
done_testing();
