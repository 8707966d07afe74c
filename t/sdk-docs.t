#!/usr/bin/perl

# The clients' references are what their doc comments say today.
# The client is what is tested: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Npm;
use Test::More;

alarm_after(180);

my $dir = tmp_dir();

sub same {
    my ($name, $cmd, %o) = @_;
    my $docs = top_dir() . "/docs/sdk/$name";
    my ($status, $out, $err) = run_command([@$cmd, "$dir/$name"],
        timeout => 120, %o);

    is($status, 0, "$name: the reference is written") or diag($out, $err);
    ($status, $out) = run_command(['diff', '-ru', $docs, "$dir/$name"]);
    is($status, 0, "$name: and is what docs/sdk/$name has; `make sdk-docs`")
        or diag(substr $out, 0, 2000);

    my @pages = glob "$docs/*.md";
    my @long = grep { (() = slurp($_) =~ /\n/g) > 500 } @pages;

    cmp_ok(scalar @pages, '>', 4, "$name: its pages");
    is("@long", '', "$name: none is longer than a reader stands");

    # every link leads somewhere
    my @broken = grep { !-e "$docs/$_" } map { slurp($_) =~ /\]\(([^)#]+)/g }
        @pages;
    is("@broken", '', "$name: links");
}

same('python', ['/usr/bin/python3', top_dir() . '/sdk/python/docs.py']);

SKIP: {
    my $ts = npm_package('typescript', '5.9.3')
        or skip 'no npm registry, and the compiler is not there', 1;

    same('typescript', ['node', top_dir() . '/sdk/typescript/docs.mjs'],
        env => { TYPESCRIPT => $ts });
}

done_testing();
