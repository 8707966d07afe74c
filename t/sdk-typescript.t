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

# ---- the package

my $package = tmp_dir();

spew("$package/$_", slurp("$dir/$_")) for qw(package.json README.md);
run_command(['cp', '-r', $dist, "$package/dist"]);
($status, $out, $err) = run_command(['npm', 'pack', '--json',
    '--ignore-scripts', '--pack-destination', $package],
    cwd => $package, env => { HOME => $package }, timeout => 120);
is($status, 0, 'npm packs it') or diag $err;

my $packed = $status == 0 ? json_decode($out)->[0] : {};
my %file = map { $_->{path} => 1 } @{ $packed->{files} || [] };

cmp_ok($packed->{size} // 1e9, '<', 100_000,
    'into ' . ($packed->{size} // '?') . ' bytes');
ok(!(grep { !$file{$_} } map { ("dist/$_/index.js", "dist/$_/index.d.ts",
    "dist/$_/xterm.js") } qw(esm cjs)), 'with all its parts');
ok(!(grep { !m{^(?:dist/|README\.md$|package\.json$)} } keys %file),
    'and nothing else');

# Strict TypeScript, by the names that a user writes.
spew("$package/use.ts", <<'EOC');
import { getSandbox, type ExecResult, FileNotFoundError } from 'ngx-sandbox';
import { SandboxAddon } from 'ngx-sandbox/xterm';

const sandbox = getSandbox({ endpoint: 'http://localhost', apiKey: 'k' }, 'id',
  { sleepAfter: '10m' });
export const result: Promise<ExecResult> = sandbox.exec('true');
export const addon = new SandboxAddon({
  connect: ({ cols, rows }) => sandbox.terminal({ cols, rows }) });
// @ts-expect-error: a number is no command
void sandbox.exec(1);
export function missing(e: unknown): string {
  return e instanceof FileNotFoundError ? e.code : '';
}
EOC
mkdir "$package/node_modules";
symlink $package, "$package/node_modules/ngx-sandbox";
for my $how (['bundler', 'ES2022'], ['nodenext', 'nodenext']) {
    my ($resolution, $module) = @$how;

    ($status, $out) = run_command(['node', "$tsc/bin/tsc", '--strict',
        '--noEmit', '--target', 'ES2022', '--lib', 'ES2022,DOM',
        '--module', $module,
        '--moduleResolution', $resolution, '--skipLibCheck', 'false',
        "$package/use.ts"], cwd => $package, timeout => 120);
    is($status, 0, "its types, with $resolution") or diag $out;
}

my $s = System->start;
# Debian's package.
my ($ws) = grep { -e } '/usr/share/nodejs/ws/wrapper.mjs';
my %env = ($ws ? (SANDBOX_WS => $ws) : (), SANDBOX_API => "http://127.0.0.1:$s->{port}",
           SANDBOX_KEY => $s->{key},
           $s->machines ? (SANDBOX_MACHINES => 1) : ());

for my $kind (qw(esm cjs)) {
    ($status, $out, $err) = run_command(
        ['node', '--test', '--test-reporter=tap',
         "$dir/test/sdk.test.mjs"],
        env => { %env, SANDBOX_SDK => "$dist/$kind/index.js" },
        timeout => 300 * slower());

    my ($passed) = $out =~ /^# pass (\d+)/m;

    is($status, 0, "$kind: all methods") or diag($out, $err);
    cmp_ok($passed // 0, '>=', 38, "$kind: none left out");
}

$s->stop;
done_testing();
