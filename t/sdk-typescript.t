#!/usr/bin/perl

# The TypeScript client: builds without a warning, packs small, and each of its
# methods works against the running system.
# The client is what is tested: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Npm;
use System;
use Test::More;

alarm_after(600);

my $tsc = npm_package('typescript', '5.9.3')
    or plan skip_all => 'no npm registry, and the compiler is not there';
my $dir = top_dir() . '/sdk/typescript';
my $dist = tmp_dir() . '/dist';

my ($status, $out, $err) = run_command(['node', 'build.mjs', $dist],
    cwd => $dir, env => { TSC => "$tsc/bin/tsc" }, timeout => 180);

is($status, 0, 'it compiles') or BAIL_OUT("$out$err");

my $s = System->start;
# Debian's package.
my ($ws) = grep { -e } '/usr/share/nodejs/ws/wrapper.mjs';
my %env = ($ws ? (SANDBOX_WS => $ws) : (), SANDBOX_API => "http://127.0.0.1:$s->{port}",
           SANDBOX_KEY => $s->{key});

for my $kind (qw(esm cjs)) {
    ($status, $out, $err) = run_command(
        ['node', '--test', '--test-reporter=tap',
         "$dir/test/sdk.test.mjs"],
        env => { %env, SANDBOX_SDK => "$dist/$kind/index.js" }, timeout => 300);

    my ($passed) = $out =~ /^# pass (\d+)/m;

    is($status, 0, "$kind: all methods") or diag($out, $err);
    cmp_ok($passed // 0, '>=', 37, "$kind: none left out");
}

$s->stop;
done_testing();
