#!/usr/bin/perl

# The examples of the TypeScript client, run as they stand.
# The client is what is tested: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Npm;
use System;
use Test::More;

alarm_after(400);

my $tsc = npm_package('typescript', '5.9.3')
    or plan skip_all => 'no npm registry, and the compiler is not there';
my $sdk = top_dir() . '/sdk/typescript';
my $dir = tmp_dir();

# As `npm install` would lay it out.
mkdir "$dir/node_modules";
mkdir "$dir/node_modules/ngx-sandbox";
my ($status, $out, $err) = run_command(
    ['node', 'build.mjs', "$dir/node_modules/ngx-sandbox/dist"], cwd => $sdk,
    env => { TSC => "$tsc/bin/tsc" }, timeout => 180);
is($status, 0, 'it compiles') or BAIL_OUT("$out$err");
spew("$dir/node_modules/ngx-sandbox/package.json",
     slurp("$sdk/package.json"));

my $s = System->start;

sub example {
    my ($name, @args) = @_;
    my $file = "$dir/$name.mjs";

    spew($file, slurp("$sdk/examples/$name.mjs"));

    my ($status, $out, $err) = run_command(['node', $file, @args],
        cwd => $dir, timeout => 120,
        env => { SANDBOX_ENDPOINT => "http://127.0.0.1:$s->{port}",
                 SANDBOX_API_KEY => $s->{key} });

    is($status, 0, "$name: runs") or diag($out, $err);

    return $out;
}

example('plot', "$dir/plot.png");
like(slurp("$dir/plot.png"), qr/^\x89PNG/, 'plot: a picture');

# A repository inside a sandbox that the example finds: there is no network.
$s->api(POST => '/v1/sandbox', json => { id => 'example-agent',
                                         sleepAfter => '5m' });
$s->api(POST => '/v1/sandbox/example-agent/api/execute', json => { command =>
    "git init -q -b main /tmp/origin && cd /tmp/origin && "
    . "printf 'def add(a, b):\\n    return a - b\\n' >add.py && "
    . "printf 'import unittest\\nfrom add import add\\nclass T(unittest"
    . ".TestCase):\\n    def test(self): self.assertEqual(add(2, 2), 4)\\n' "
    . ">test_add.py && git add . && git -c user.email=a\@b -c user.name=a "
    . "commit -qm a" });
$out = example('coding-agent', 'file:///tmp/origin');
like($out, qr/tests fail(?s:.*)tests fail(?s:.*)tests pass/,
     'coding agent: edits until the tests pass');
like($out, qr{^preview: http://8000-example-agent-}m,
     'coding agent: shows it');

$out = example('sessions');
is($out, "ada in /workspace/ada/notes\nhello bob in /workspace/bob\n",
   'sessions: each has its own state');

$out = example('long-process');
is($out, join('', map { "step $_\n" } 1, 2) . "-- away, and back again\n"
   . join('', map { "step $_\n" } 3 .. 5) . "exit code 3\n",
   'long process: nothing twice, nothing lost');

$s->stop;
done_testing();
