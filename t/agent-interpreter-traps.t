#!/usr/bin/perl

# What a cell can do to the interpreter that runs it: loops, exits, signals,
# closed descriptors.  Nothing of it may hang a context or hurt anybody else.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use Interpreter;
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(400);

my $i = Interpreter->start;
my $dir = tmp_dir();
my $py = $i->context('python', cwd => $dir);
my $js = $i->context('javascript', cwd => $dir);


# ---- limits of time -------------------------------------------------------

for ([$py, 'a loop', 'while True: pass'],
     [$py, 'a sleep', 'import time; time.sleep(100)'],
     [$py, 'a child', 'import os; os.system("sleep 100")'],
     [$py, 'a child that is waited for', 'import subprocess; ' .
      'subprocess.run(["sleep", "100"])'],
     [$py, 'an await', 'import asyncio; await asyncio.sleep(100)'],
     [$py, 'a lock', "import threading\nl = threading.Lock(); l.acquire(); " .
      'l.acquire()'],
     [$py, 'one that catches it once', "for n in range(2):\n  try:\n" .
      "    while True: pass\n  except BaseException: pass"],
     [$js, 'a loop in JavaScript', 'while (true) {}'],
     [$js, 'one behind an await', 'await null; while (true) {}'],
     [$js, 'one in a timer', 'setTimeout(() => { while (true) {} }, 1); ' .
      'await new Promise(() => {})'],
     [$js, 'nothing to wait for', 'await new Promise(() => {})'],
     [$js, 'a child of it', 'require("child_process").execSync("sleep 100")'],
     [$js, 'a loop in a function', 'const rec = () => { for (;;) {} }; rec()'])
{
    my ($context, $name, $code) = @$_;
    my $r = $i->execute($context, $code, timeout_ms => 200);

    is($i->last_of($r)->{ename}, 'TimeoutError', "$name ends in time")
        or diag($r->{body});
    is($i->last_of($r)->{evalue}, 'Execution timeout', 'as what it is');
    $i->cells($context, ['and the context lives', '1+1', 'text 2', 'done']);
}
like(join("\n", @{ $i->last_of($i->execute($py, "def deep():\n  while True: pass\n" .
         'deep()', timeout_ms => 200))->{traceback} }),
     qr/in deep/, 'where it was is told');
$i->cells($py, ['with its state', 'l.locked()', 'text True', 'done']);

{
    my $c = $i->context('python', timeout => 200);
    is($i->last_of($i->execute($c, 'while True: pass'))->{ename}, 'TimeoutError',
       "a context's own limit");
    is($i->last_of($i->execute($c, 'import time; time.sleep(0.5)',
                           timeout_ms => 30000))->{type},
       'execution_complete', "a cell's goes before it");
}

# An interrupt that comes when its cell is just ending never meets the next.
for ([$py, 'import time; time.sleep(0.02)',
      "t = time.time()\nwhile time.time() < t + 0.005: pass\n7"],
     [$js, 'await new Promise((r) => setTimeout(r, 20))',
      'const t0 = Date.now(); while (Date.now() < t0 + 5); 7'],
     [$js, 'require("child_process").execSync("sleep 0.02")',
      'await null; for (const t1 = Date.now(); Date.now() < t1 + 5;); 7'])
{
    my ($context, $first, $second) = @$_;
    my @bad;

    for (1 .. 15) {
        $i->execute($context, $first, timeout_ms => 20 + $_ % 4);
        my $r = $i->execute($context, $second);
        push @bad, "$r->{status} $r->{body}"
            if (($i->lines_of(@{ $r->{frames} }))[0] // '') ne 'text 7';
    }
    is(join("\n", @bad), '', 'no interrupt meets the next cell');
}

# What doesn't stop costs the context, and says so.
{
    my $c = $i->context('python');
    my $r = $i->execute($c, "import signal; signal.pthread_sigmask(0, [2])\n" .
        'while True: pass', timeout_ms => 100);
    is($i->last_of($r)->{ename}, 'TimeoutError', 'what ignores an interrupt ends');
    like($i->last_of($r)->{evalue}, qr/^Execution timeout.*state is lost/,
         'and its loss is told');
    $r = $i->execute($c, '1');
    is($r->{status}, 500, 'the next one is told, too');
    is_deeply($r->{json}, { error => 'Context executor has terminated. ' .
        'Please delete and recreate the context.', code => 'INTERNAL_ERROR',
        details => { contextId => $c } }, 'as clients know it');
    is($i->request('DELETE', "/api/contexts/$c")->{status}, 200,
       'it can be deleted');
}

# ---- ends -----------------------------------------------------------------

for (['python', 'import os; os._exit(7)', qr/exited with code 7/],
     ['python', 'import os; os.kill(os.getpid(), 9)', qr/signal 9/],
     ['python', 'import os; os.closerange(3, 300)', qr/interpreter/i],
     ['python', 'import os; os.write(241, b"x" * 100)', qr/disturbed/],
     ['python', 'import os; os.write(241, b"\xff\xff\xff\x7fd")',
      qr/disturbed/],
     ['javascript', 'process.exit(2)', qr/exited with code 2/],
     ['javascript', 'process.abort()', qr/signal 6/],
     ['javascript', 'require("fs").writeSync(241, "garbage")', qr/disturbed/],
     ['javascript', 'for (let n = 240; n < 244; n++) try { ' .
      'require("fs").closeSync(n) } catch {}', qr/interpreter/])
{
    my ($language, $code, $why) = @$_;
    my $c = $i->context($language);
    my $r = $i->execute($c, "$code");
    is($i->last_of($r)->{ename}, 'ExecutorTerminated', $code) or diag($r->{body});
    like($i->last_of($r)->{evalue} || '', $why, 'says why');
    is(scalar(grep { $_->{type} =~ /error|complete/ } @{ $r->{frames} }), 1,
       'one end');
    is($i->execute($c, '1')->{status}, 500, 'then the context is dead');
    ok((grep { $_->{id} eq $c } @{ $i->get('/api/contexts')->{json}{contexts} }),
       'and in the list until it is deleted');
    $i->request('DELETE', "/api/contexts/$c");
}

# What a cell left behind comes when none runs.
{
    my $c = $i->context('python');

    for my $how ('1/0', 'exit(3)', 'exec("raise TimeoutError")') {
        $i->cells($c, ['an alarm is set', "import os, signal, threading\n" .
            "signal.signal(14, lambda *a: (open('$dir/rang', 'w'), $how))\n" .
            'signal.setitimer(0, 0.1); None', 'done']);
        ok(wait_for(sub { -e "$dir/rang" }, 30), 'it rings when nothing runs');
        $i->cells($c, ["$how ends nothing", '5', 'text 5', 'done']);
        unlink "$dir/rang";
    }
    $i->request('DELETE', "/api/contexts/$c");
}

# Names that cells take are not in the executor's way, which has used them all
# when it has interrupted a cell and shown a value.
{
    my $c = $i->context('javascript');
    my @taken = qw(Atomics BigInt Error Int32Array JSON Map Math Number Object
        Promise Set SharedArrayBuffer String Symbol console global globalThis
        clearInterval process setImmediate setInterval);

    $i->cells($c,
        ['a timer of promises', 'const setTimeout = require("timers/promises")' .
         '.setTimeout; await setTimeout(1); 1', 'text 1', 'done'],
        ['names of its own', 'const Buffer = class {}; class ' .
         join(' {}; class ', @taken) . ' {}; 1', 'text 1', 'done']);
    is($i->last_of($i->execute($c, 'for (;;) {}', timeout_ms => 200))->{ename},
       'TimeoutError', 'a loop among them ends');
    $i->cells($c, ['a value', 'await null; ({a: [1]})', 'json {"a":[1]}', 'done'],
              ['an error', 'throw 5', 'err Uncaught 5', 'error ExecutionError']);
    $i->request('DELETE', "/api/contexts/$c");
}

# Programs that write without an end don't hide the end of their cell.
{
    my $c = $i->context('python');
    my $kept = '';

    $i->execute($c, "import fcntl, subprocess\nfcntl.fcntl(1, 1031, 1 << 20)\n" .
                'for n in range(6): subprocess.Popen(' .
                '["dd", "if=/dev/zero", "bs=1M"])' . "\n7", wait => 60,
                on_data => sub { $kept = substr $kept . $_[0], -200 });
    like($kept, qr/"execution_complete"/, 'a flood has its end');
    $i->request('DELETE', "/api/contexts/$c");
}

# ---- what is left ---------------------------------------------------------

my $fds = $i->agent->fd_count;
for (1 .. 5) {
    my @c = map { $i->context($_) } qw(python javascript);
    $i->execute($_, '1') for @c;
    $i->request('DELETE', "/api/contexts/$_") for @c;
}
ok(wait_for(sub { $i->agent->fd_count <= $fds + 20 }, 30),
   'no descriptor is lost') or diag($i->agent->fd_count, " of $fds");
unlike($i->agent->log_text, qr/ERROR|runtime error|Sanitizer/, 'a clean log');
is($i->agent->stop, 0, 'the agent ends in order');
is_deeply($i->agent->{left} || [], [], 'and leaves nothing behind');

done_testing();
