#!/usr/bin/perl

# What cells print and who reads it: live, whole, without an end, late, by
# clients that are slow or leave; the order of cells and their queues.

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

# ---- output ---------------------------------------------------------------

# Nothing is held back: the cell goes on only when its output was seen here.
for ([$py, "import os, time\nprint('a', end='')\n" .
      "while not os.path.exists('%s'): time.sleep(0.01)\nprint('b')"],
     [$js, "process.stdout.write('a'); " .
      "while (!require('fs').existsSync('%s')); console.log('b')"],
     [$py, "import os, time\ndisplay('a')\n" .
      "while not os.path.exists('%s'): time.sleep(0.01)\nprint('b')"])
{
    my ($context, $code) = @$_;
    my $file = "$dir/seen" . int rand 1e9;
    my $seen = '';

    $i->execute($context, sprintf($code, $file), on_data => sub {
        $seen .= $_[0];
        spew($file, '') if $seen =~ /"a"|'a'/;
        return 1;
    });
    like($seen, qr/a.*b.*execution_complete/s, 'output is seen at once');
}
{
    my $seen = '';
    $i->execute($py, "import os, time\nos.write(1, b'<\\xe2\\x82')\n" .
        "display(1)\nos.write(1, b'\\xac>')\n", on_data => sub {
            $seen .= $_[0]; return 1 });
    my @frames = AgentClient->frames($seen);
    is(join('', map { $_->{text} } grep { $_->{type} eq 'stdout' } @frames),
       "<\x{20ac}>", 'a character around a result');
    $seen = '';
    $i->execute($py, "for b in b'<\\xe2\\x82\\xac\\xf0\\x9f\\x98\\x80>':\n" .
        "    os.write(1, bytes([b])); time.sleep(0.02)", on_data => sub {
            $seen .= $_[0]; return 1 });
    @frames = AgentClient->frames($seen);
    is(join('', map { $_->{text} // '' } @frames), "<\x{20ac}\x{1f600}>",
       'one that comes in pieces is whole');
}
$i->cells($py,
    ['no UTF-8', 'os.write(1, b"a\xff\xfeb")', "out a\x{fffd}\x{fffd}b",
     'text 4', 'done'],
    ['surrogates', 'print("\udc80")', "out \x{fffd}\n", 'done'],
    ['children write, too', 'import subprocess; subprocess.run("echo sub; ' .
     'echo err >&2", shell=True).returncode', "out sub\n", "err err\n",
     'text 0', 'done'],
    ['a fork', "pid = os.fork()\nif pid == 0: print('child')\n" .
     "else: os.waitpid(pid, 0)\n5", "out child\n", 'text 5', 'done'],
    ['a fork that fails', "pid = os.fork()\nif pid == 0: 1/0\n" .
     "os.waitpid(pid, 0)[1]", qr/^err Traceback/, qr/^text \d+/, 'done'],
    ['many processes', "import multiprocessing as mp\n" .
     "def sq(n): return n * n\nwith mp.Pool(2) as p: r = p.map(sq, [1, 2])\nr",
     'json [1,4]', 'done'],
    ['recursion', "def rec(n): return rec(n + 1)\nrec(0)",
     'error RecursionError'],
    ['hardly any recursion allowed', "import sys; sys.setrecursionlimit(60)\n" .
     '1', qr/./, qr/./],
    ['lives', '2', 'text 2', 'done'],
    ['standard output is closed', 'os.close(1); print("x")',
     'error OSError'],
    ['and there again', 'print("y")', "out y\n", 'done'],
    ['... as an object', 'sys.stdout.close()', 'done'],
    ['is there again', 'print("y")', "out y\n", 'done'],
    ['redirected for good', "import io; sys.stdout = io.StringIO(); " .
     'print("gone")', 'done'],
    ['put back', 'sys.stdout = sys.__stdout__; print("z")', "out z\n", 'done'],
    ['modules are damaged', 'import json; json.dumps = None; os.write = None; ' .
     'os.read = None', 'done'],
    ['lives on', '[3]', 'json [3]', 'done'],
    ['SIGINT is ignored', 'import signal; signal.signal(2, signal.SIG_IGN)',
     qr/./, 'done'],
);
is($i->last_of($i->execute($py, 'while True: pass', timeout_ms => 200))->{evalue},
   'Execution timeout', 'but not for the next cell');

# Late output is nobody's.
$py = $i->context('python', cwd => $dir);
for (["import threading, time, subprocess\ndef late():\n  time.sleep(0.2)\n" .
      "  print('late')\n  display('late')\n  open('%s', 'w').close()\n" .
      'threading.Thread(target=late).start()', $py],
     ["subprocess.Popen('sleep 0.2; echo late; touch %s', shell=True)\nNone",
      $py],
     ["setTimeout(() => { console.log('late'); " .
      "require('fs').writeFileSync('%s', '') }, 200); undefined", $js])
{
    my ($code, $context) = @$_;
    my $file = "$dir/late" . int rand 1e9;
    $i->cells($context, ['a late one', sprintf($code, $file), 'done']);
    ok(wait_for(sub { -e $file }, 30), 'has written');
    $i->cells($context, ['nothing of it', '1', 'text 1', 'done']);
}

# SIGINT between cells is nothing.
for my $context ($py, $js) {
    my $get = $context eq $py ? 'import os; os.getpid()' : 'process.pid';
    my ($pid) = map { $_->{text} || () } @{ $i->execute($context, $get)->{frames} };
    kill 'INT', $pid for 1 .. 5;
    sleep 0.05;
    $i->cells($context, ['SIGINT between cells', '6*7', 'text 42', 'done']);
}

# A hundred megabytes.
for ([$py, "line = 'x' * 999 + '\\n'\nfor n in range(100000): " .
      'sys.stdout.write(line)'],
     [$js, 'const line = "x".repeat(999); ' .
      'for (let n = 0; n < 20000; n++) console.log(line)'])
{
    my ($context, $code) = @$_;
    my ($count, $tail) = (0, '');
    $i->execute($context, 'import sys') if $context eq $py;
    $i->execute($context, $code, wait => 120, on_data => sub {
        $count += ($_[0] =~ tr/x//);
        $tail = substr $tail . $_[0], -200;
        return 1;
    });
    my $want = $context eq $py ? 100000 * 999 : 20000 * 999;
    cmp_ok(abs($count - $want - 0), '<', 1 + 100000, 'every byte of a lot')
        or diag($count);
    like($tail, qr/execution_complete/, 'and its end');
}
$i->cells($py, ['a very long result', '"x" * 5_000_000',
                qr/^text 'x+\.\.\. \(5000002 characters\)$/, 'done'],
          ['a longer one as JSON', '["x" * 20_000_000]', qr/^text <a result/,
           'done']);

# ---- order, queues, clients that leave ------------------------------------

$i->cells($py, ['a counter', 'n = 0', 'done']);
{
    my @s = map { $i->begun($py, 'n += 1; n') } 1 .. 5;
    is(join(',', sort map { $i->answer($_)->{frames}[0]{text} } @s), '1,2,3,4,5',
       'cells of one context come one after another');
}
{
    my $other = $i->context('python');
    my $s = $i->begun($py, "import os, time\n" .
        "while not os.path.exists('$dir/par'): time.sleep(0.01)\n'met'");
    $i->cells($other, ['while others run', "open('$dir/par', 'w').close()",
                       'done']);
    is($i->answer($s)->{frames}[0]{text}, q{'met'}, 'contexts run side by side');
}
{
    my $s = $i->begun($py, "open('$dir/loop', 'w').close()\nwhile True: pass");
    ok(wait_for(sub { -e "$dir/loop" }, 30), 'a cell loops');
    my @queued = map { $i->begun($py, "n = 'never $_'") } 1 .. 3;
    my $left = $i->begun($py, 'n + 1');
    sleep 0.1;
    close $_ for @queued;
    close $s;
    is($i->answer($left)->{frames}[0]{text}, '6',
       'its client left: it was stopped, and so were those that waited');
}
{
    # A client that doesn't read: the cell waits for it, nobody else does.
    my $s = $i->begun($py, "import sys\nfor k in range(20000):\n" .
                  "    print('y' * 1000)");
    $i->cells($js, ['others go on', '1', 'text 1', 'done']);
    my $r = $i->begun($py, 'n');
    close $s;
    is($i->answer($r)->{frames}[0]{text}, '5', 'until it leaves');
    $s = $i->begun($py, "for k in range(20000):\n    print('y' * 1000)",
               timeout_ms => 300);
    $r = $i->begun($py, 'n');
    is($i->answer($r)->{frames}[0]{text}, '5', 'or its time is over');
    like($i->answer($s)->{body}, qr/TimeoutError/, 'which it can read later');
}
{
    my $c = $i->context('python');
    my $s = $i->begun($c, "import os\nopen('$dir/pid', 'w').write(str(os.getpid()))" .
                  "\nwhile True: pass");
    ok(wait_for(sub { -s "$dir/pid" }, 30), 'a cell runs');
    my $q = $i->begun($c, '1');
    my $got = $i->waits($q);
    ok($got, 'another one waits');
    my $pid = slurp("$dir/pid");
    is($i->request('DELETE', "/api/contexts/$c")->{status}, 200,
       'its context is deleted');
    is($i->last_of($i->answer($s))->{ename}, 'ContextDeleted', 'it is told');
    is($i->last_of($i->answer($q, $got))->{ename}, 'ContextDeleted',
       'and who waited');
    ok(wait_for(sub { !process_alive($pid) }, 30), 'the process is gone');
}
{
    my $c = $i->context('python');
    my $s = $i->begun($c, "open('$dir/full', 'w').close()\nimport time; " .
                  'time.sleep(100)');
    ok(wait_for(sub { -e "$dir/full" }, 30), 'a cell sleeps');
    # One after another up to their status lines: who comes when is up to the
    # agent, how many find no room is not.
    my (%status, @waiting);
    for (1 .. 264) {
        my $s = $i->begun($c, '1');
        my $got = '';
        until ($got =~ m{^OK\nHTTP/1\.1 (\d+)}) {
            last unless IO::Select->new($s)->can_read(30)
                && sysread $s, $got, 4096, length $got;
        }
        my ($status) = $got =~ m{HTTP/1\.1 (\d+)};
        $status{ $status // 0 }++;
        push @waiting, [$s, $got];
    }
    is_deeply(\%status, { 200 => 256, 503 => 8 }, 'a queue has an end');
    my ($refused) = grep { $_->[1] =~ / 503 / } @waiting;
    like($refused->[1], qr/\r\nRetry-After: 1\r\n.*"RESOURCE_BUSY"/s,
         'which is said');
    $i->request('DELETE', "/api/contexts/$c");
    my ($last, $got) = @{ (grep { $_->[1] =~ / 200 / } @waiting)[-1] };
    while ($got !~ /0\r\n\r\n$/) {
        last unless IO::Select->new($last)->can_read(30)
            && sysread $last, $got, 65536, length $got;
    }
    like($got, qr/ContextDeleted/, 'all told');
}

unlike($i->agent->log_text, qr/ERROR|runtime error|Sanitizer/, 'a clean log');
is($i->agent->stop, 0, 'the agent ends in order');
is_deeply($i->agent->{left} || [], [], 'and leaves nothing behind');

done_testing();
