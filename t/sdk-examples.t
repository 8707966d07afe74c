#!/usr/bin/perl

# The examples of the TypeScript client, run as they stand.
# The client is what is tested: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Browser;
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
        cwd => $dir, timeout => 120 * slower(),
        env => { SANDBOX_ENDPOINT => "http://127.0.0.1:$s->{port}",
                 SANDBOX_API_KEY => $s->{key} });

    is($status, 0, "$name: runs") or diag($out, $err);

    return $out;
}

# Emulated, the first import takes longer than the example waits.
$s->run('example-plot', 'python3 -c "import matplotlib.pyplot"')
    if $s->machines;
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

# ---- those that go on

# Into what has the focus, with Return at its end.
sub type {
    my ($p, $text) = @_;

    $p->call('Input.insertText', text => $text);
    $p->call('Input.dispatchKeyEvent', type => $_, key => 'Enter',
        code => 'Enter', windowsVirtualKeyCode => 13,
        $_ eq 'keyDown' ? (text => "\r") : ()) for qw(keyDown keyUp);
}

# started(NAME, PATTERN, ARGS...): its pid, and what the pattern has found
sub started {
    my ($name, $pattern, @args) = @_;
    my ($log, $found) = ("$dir/$name.log");

    spew("$dir/$name.mjs", slurp("$sdk/examples/$name.mjs"));
    my $pid = start_process(cmd => ['node', "$dir/$name.mjs", @args],
        cwd => $dir, log => $log,
        env => { SANDBOX_ENDPOINT => "http://127.0.0.1:$s->{port}",
                 SANDBOX_API_KEY => $s->{key} });

    ok(wait_for(sub { ($found) = (slurp($log) // '') =~ $pattern }, 60),
        "$name: starts") or diag(slurp($log));

    return ($pid, $found);
}

SKIP: {
    skip 'there is no Chromium', 1 unless Browser::program();
    my $xterm = npm_package('@xterm/xterm', '5.5.0')
        or skip 'the npm registry gives no xterm', 1;

    mkdir "$dir/node_modules/\@xterm";
    symlink $xterm, "$dir/node_modules/\@xterm/xterm";
    spew("$dir/terminal.html", slurp("$sdk/examples/terminal.html"));

    my ($pid, $url) = started('terminal', qr{^(http://\S+)}m, 0);
    my $b = Browser->start;
    my $p = $b->page;
    my $state = 'document.getElementById("state").textContent';
    my $rows = 'document.querySelector(".xterm-rows").innerText';

    is($p->open($url), undef, 'terminal: the page');
    ok($p->wait(sub { $p->eval($state) eq 'connected' }, 60),
        'terminal: is connected') or diag $p->eval($state);
    type($p, 'echo $((6 * 7)) in $PWD');
    ok($p->wait(sub { $p->eval($rows) =~ m{^42 in /workspace}m }, 60),
        'terminal: takes what is typed, and shows what comes')
        or diag $p->eval($rows);
    $p->screenshot($ENV{SANDBOX_SCREENSHOT}) if $ENV{SANDBOX_SCREENSHOT};

    # A sandbox that dies takes its connections along.
    $s->kill_sandbox('example-terminal');
    ok($p->wait(sub { $p->eval($state) ne 'connected' }, 60),
        'terminal: notices that its sandbox has died');
    ok($p->wait(sub { $p->eval($state) eq 'connected' }, 90),
        'terminal: comes back with another ticket');
    type($p, 'echo back $((40 + 2))');
    ok($p->wait(sub { $p->eval($rows) =~ /^back 42/m }, 60),
        'terminal: goes on') or diag $p->eval($rows);
    $b->stop;
    stop_process($pid);
}

SKIP: {
    my $vite = npm_package('vite', '5.4.21')
        or skip 'the npm registry gives no vite', 1;
    my ($modules) = $vite =~ m{^(.*)/vite$};
    my $text = sub { return "export const text = '$_[0]'\n" };

    mkdir "$dir/project";
    spew("$dir/project/package.json", '{"type":"module"}');
    spew("$dir/project/index.html", '<script type="module" src="/a.js"></script>');
    spew("$dir/project/a.js", $text->('first'));
    run_command(['cp', '-r', $modules, "$dir/project/node_modules"]);

    my ($pid, $url) = started('live-preview', qr{^preview: (http://\S+)}m,
        "$dir/project");
    my $served = sub { $s->preview($url, path => '/a.js')->{body} // '' };

    like($served->(), qr/'first'/, 'live preview: Vite serves the project');
    spew("$dir/project/a.js", $text->('second'));
    ok(wait_for(sub { $served->() =~ /'second'/ }, 30),
        'live preview: what is saved is sent');
    is(stop_process($pid, 'INT', 30), 0, 'live preview: ends in order')
        or diag slurp("$dir/live-preview.log");
    is($s->api(GET => '/v1/sandbox/example-live')->{status}, 404,
        'live preview: and leaves nothing');
}

$s->stop;
done_testing();
