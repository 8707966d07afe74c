#!/usr/bin/perl

# Interpreters in virtual machines that nobody has asked for yet: a template has
# a Python and a Node.js, which go on in each copy as its own; a prepared machine
# has those that were started in it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use JSON::PP ();
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
my $image = Vm::code_image();
plan skip_all => 'needs the packages python3 and nodejs' if !$image;
alarm_after(580);

my $s;
my %slow = (timeout => 90);
my %size = (memory => '512M', disk => '128M');

sub begin {
    my (@more) = @_;

    $s = System->new(daemon_args => ['--driver', 'qemu', '--accel', 'tcg',
        '--kernel', Vm::kernel(), '--image', "vm=$image", '--agent',
        Vm::agent(), '--starts', 1, '--templates', 1, @more],
        http_conf => 'sandbox_wake_timeout 60s;');
    $s->start;
}

sub create {
    my ($id, %o) = @_;
    my $r = $s->api(POST => '/v1/sandbox', %slow, json => { id => $id,
        resources => \%size, %o });

    is($r->{status}, 200, "$id is made") or diag(json_encode($r));
}

sub run {
    my ($id, $command) = @_;
    my $r = $s->exec($id, $command, %slow);

    diag(json_encode($r), slurp($s->{daemon_log})) if !defined $r->{stdout};

    return $r->{stdout} // '';
}

# The value of a first cell, and how long it took.
sub first_cell {
    my ($id, $language, $code, %o) = @_;
    my $begun = time;
    my $r = $s->api(POST => "/v1/sandbox/$id/api/contexts", %slow,
        json => { language => $language, %o });

    is($r->{status}, 200, "$id: a context") or diag(json_encode($r));
    $r = $s->api(POST => "/v1/sandbox/$id/api/execute/code", %slow,
        json => { context_id => $r->{json}{contextId}, code => $code });
    my ($value) = grep { ref } map { json_decode($_)->{json} }
        $r->{body} =~ /^data: (\{.*\})$/mg;
    ok($value, "$id: a value") or diag($r->{body}, slurp($s->{daemon_log}));

    return ($value, time - $begun);
}

sub pids {
    my ($id, $name) = @_;

    return run($id, "pgrep -d ' ' $name || true");
}

my @drawn = ('random', 'a temporary file', 'a seed', 'OpenSSL', 'a key',
    'an id', 'a clock sequence');
my $DRAW = 'import os, random, secrets, socket, ssl, tempfile, uuid, '
    . 'multiprocessing.process as m; [os.getpid(), socket.gethostname(), '
    . 'os.environ.get("TOLD"), random.random(), '
    . 'next(tempfile._get_candidate_names()), tempfile._get_candidate_names()'
    . '.rng.random(), ssl.RAND_bytes(16).hex(), m.current_process().authkey'
    . '.hex(), str(uuid.uuid4()), str(uuid.getnode()) + str(uuid.uuid1())]';

# In a cell of its own: what others' contexts would draw, too.
my @js_drawn = ('Math.random', 'that of a new context', 'of a made one',
    "of a script's", 'of the first again', "of a worker's", 'bytes', 'an id',
    'a number', "a worker's id", 'a key', 'a temporary directory');
my $JS_DRAW = <<'EOJ';
const vm = require('vm'), crypto = require('crypto'), os = require('os');
const { Worker } = require('worker_threads');
const worker = new Worker("require('worker_threads').parentPort.postMessage("
    + "[Math.random(), require('crypto').randomUUID()])", { eval: true });
const [inWorker, id] = await new Promise((d) => worker.on('message', d));
const drawn = [process.pid, os.hostname(), process.env.TOLD,
    Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000,
    Math.random(), vm.runInNewContext('Math.random()'),
    vm.runInContext('Math.random()', vm.createContext()),
    new vm.Script('Math.random()').runInNewContext(), Math.random(), inWorker,
    crypto.randomBytes(8).toString('hex'), crypto.randomUUID(),
    crypto.randomInt(2 ** 40), id, crypto.generateKeySync('hmac',
        { length: 128 }).export().toString('hex'),
    require('fs').mkdtempSync(os.tmpdir() + '/x')];
drawn
EOJ

# ---- copies of a template

begin();
create('one', env => { TOLD => 'one' });
my ($value, $cold) = first_cell('one', 'python', $DRAW);
ok(wait_for(sub { (grep { !/new$/ } glob "$s->{state}/templates-qemu/*") == 1
    && !-e "$s->{state}/machines/ffffffff" }, 150, 0.2), 'there is a template')
    or diag(slurp($s->{daemon_log}));

my (%value, %took, %js_value, %js_took);

for my $id ('two', 'three') {
    create($id, env => { TOLD => "told-$id" });
    my $pid = pids($id, 'python3');
    like($pid, qr/^\d+$/, "$id has a Python before it has asked for one");
    my $js_pid = pids($id, 'node');
    like($js_pid, qr/^\d+$/, 'and a Node.js');
    ($value{$id}, $took{$id}) = first_cell($id, 'python', $DRAW);
    is_deeply([@{ $value{$id} }[0 .. 2]], [$pid, $id, "told-$id"],
        'which runs its first cell, as if it had been started there');
    ($js_value{$id}, $js_took{$id}) = first_cell($id, 'javascript', $JS_DRAW);
    is_deeply([@{ $js_value{$id} }[0 .. 3]], [$js_pid, $id, "told-$id",
        JSON::PP::true()], 'so does the Node.js');
    my %twice = map { $_ => 1 } @{ $js_value{$id} }[4 .. 15];
    is(scalar keys %twice, @js_drawn, 'in which nothing is drawn twice');
}

diag(sprintf 'first cell after %.2f s, in copies %.2f s, %.2f s; Node.js in '
    . 'copies %.2f s, %.2f s', $cold, @took{qw(two three)},
    @js_took{qw(two three)});
is($value{two}[0], $value{three}[0], 'both have begun as the same');
isnt($value{two}[$_ + 3], $value{three}[$_ + 3],
    "each has its own: $drawn[$_]") for 0 .. $#drawn;
is($js_value{two}[0], $js_value{three}[0], 'and so have both Node.js');
isnt($js_value{two}[$_ + 4], $js_value{three}[$_ + 4],
    "each has its own: $js_drawn[$_]") for 0 .. $#js_drawn;
like(slurp($s->{daemon_log}), qr/init: goes on.*init: goes on/s,
    'both went on');

# A fork, in which what waits is not what waits in the other.
my $r = $s->api(POST => '/v1/sandbox/two/api/contexts', %slow,
    json => { language => 'javascript' });
my $js = $r->{json}{contextId};
my $TOKEN = 'require("crypto").randomBytes(16).toString("hex")';
sub token {
    my ($id) = @_;
    my $r = $s->api(POST => "/v1/sandbox/$id/api/execute/code", %slow,
        json => { context_id => $js, code => $TOKEN });

    like($r->{body}, qr/[0-9a-f]{32}/, "$id: a token");

    return $r->{body} =~ /([0-9a-f]{32})/ ? $1 : '';
}
token('two');
is($s->api(POST => '/v1/sandbox/two/fork', %slow, json => { id => 'four' })
    ->{status}, 200, 'a fork');
my @again = map { (first_cell($_, 'python', $DRAW))[0] } 'two', 'four';
isnt($again[0][$_ + 3], $again[1][$_ + 3], "of a fork: $drawn[$_]")
    for 0 .. $#drawn;

isnt(token('two'), token('four'), 'and of a Node.js that both have');

# What an interpreter only reads when it starts.
create('five', env => { PYTHONHASHSEED => '0', TOLD => 'five' });
my ($waits, $js_waits) = map { pids('five', $_) } 'python3', 'node';
($value) = first_cell('five', 'python', 'import os; [os.getpid(), '
    . 'os.environ["TOLD"], os.environ["PYTHONHASHSEED"]]');
is_deeply([@$value[1, 2]], ['five', '0'], 'is read by one that starts');
isnt($value->[0], $waits, 'then');
($value) = first_cell('five', 'javascript', '[process.pid, process.env.TOLD]');
is($value->[1], 'five', 'and by a Node.js');
isnt($value->[0], $js_waits, 'that starts then');

$s->api(DELETE => "/v1/sandbox/$_", %slow) for qw(one two three four five);
$s->stop;

# ---- without a Node.js

begin('--template-node', 'off');
create('six');
run('six', 'true');
ok(wait_for(sub { (grep { !/new$/ } glob "$s->{state}/templates-qemu/*") == 1
    && !-e "$s->{state}/machines/ffffffff" }, 150, 0.2), 'a template')
    or diag(slurp($s->{daemon_log}));
create('seven');
like(pids('seven', 'python3'), qr/^\d+$/, 'has a Python');
is(pids('seven', 'node'), '', 'and no Node.js');
$s->api(DELETE => "/v1/sandbox/$_", %slow) for qw(six seven);
$s->stop;

# ---- prepared machines

begin('--pool', 1, '--pool-interval', 300, '--memory-budget', '3G');
ok(wait_for(sub { ($s->api(GET => '/v1/pool/stats')->{json}{images}{vm}{warm}
    // 0) == 1 }, 120, 0.2), 'one waits') or diag(slurp($s->{daemon_log}));

# Nobody can ask it whether all is there: it has come to rest then.
my ($qemu) = grep { (slurp("/proc/$_/cmdline") // '') =~ /^\S*qemu-sys/ }
    descendants((values %{ Vm::keepers($s) })[0]);
my $before = 0;
ok(wait_for(sub {
    my @f = split ' ', (slurp("/proc/$qemu/stat") // '') =~ s/^.*\) //sr;
    my $took = $f[11] + $f[12] - $before;

    $before += $took;
    return $took < 20;
}, 150, 2), 'and does nothing any more');

create('eight', resources => {}, env => { TOLD => 'eight' });
my %waits = map { $_ => pids('eight', $_) } 'python3', 'node';
is($s->api(GET => '/v1/pool/stats')->{json}{images}{vm}{hits}, 1, 'it is had');
($value, my $python) = first_cell('eight', 'python', $DRAW);
is_deeply([@$value[0 .. 2]], [$waits{python3}, 'eight', 'eight'],
    'its Python runs a first cell');
($value, my $node) = first_cell('eight', 'javascript',
    '[process.pid, os.hostname(), process.env.TOLD]');
is_deeply($value, [$waits{node}, 'eight', 'eight'], 'so does its Node.js');
diag(sprintf 'first cells after %.2f s and %.2f s', $python, $node);
$s->api(DELETE => '/v1/sandbox/eight', %slow);

$s->stop;
done_testing();
