#!/usr/bin/perl

# Interpreters of a machine that is nobody's yet: they are there before somebody
# asks, they are somebody's only after they have taken what is different, and of
# those that began as the same none goes on with the others' random state.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AgentClient;
use Harness;
use IO::Select;
use Interpreter;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'needs root for names and entropy' if $> != 0;
plan skip_all => 'no namespaces here'
    if system('unshare --uts --mount true 2>/dev/null') != 0;

alarm_after(300);

my $dir = tmp_dir();
my $named = 0;

# What every Python of these tests does at its start: it has drawn, and known
# numbers, before it waits.
mkdir "$dir/site";
spew("$dir/site/sitecustomize.py", <<'EOP');
import multiprocessing.process, random, ssl, _ssl, tempfile, uuid
random.seed(1)
next(tempfile._get_candidate_names())
tempfile._get_candidate_names().rng.seed(1)
uuid._node = 1
multiprocessing.process.current_process().authkey = b'old'
added = []
_ssl.RAND_add = lambda b, n: added.append((len(set(b)) > 16, n))
EOP

# And every Node.js: V8's generator begins at a known place, and is asked from
# then on, as in a copy.
mkdir "$dir/bin";
my ($node) = grep { -x } map { "$_/node" } split /:/, "/usr/bin:$ENV{PATH}";
spew("$dir/bin/node", "#!/bin/sh\nexec $node --random-seed=1 \"\$@\"\n");
chmod 0755, "$dir/bin/node";

my $JS_DRAWS = <<'EOJ';
require('v8').setFlagsFromString('--random-seed=0');
const vm = require('vm'), crypto = require('crypto');
const { Worker } = require('worker_threads');
const worker = new Worker("require('worker_threads').parentPort.postMessage("
    + 'Math.random())', { eval: true });
const drawn = [Math.random(), vm.runInNewContext('Math.random()'),
    vm.runInContext('Math.random()', vm.createContext()),
    new vm.Script('Math.random()').runInNewContext(),
    await new Promise((done) => worker.on('message', done)),
    crypto.randomBytes(8).toString('hex'), crypto.randomUUID(),
    crypto.randomInt(2 ** 40)];
drawn
EOJ
my @js_drawn = ('Math.random', 'that of a new context', 'of a made one',
    "of a script's", "of a worker's", 'bytes', 'an id', 'a number');
my $JS_WHERE = '[process.pid, process.env.A, process.env.B, process.env.GONE '
    . '?? null, require("os").hostname(), process.cwd(), '
    . 'Math.abs(performance.timeOrigin + performance.now() - Date.now()) '
    . '< 500]';

my $DRAWS = 'import sys, random, tempfile, uuid, multiprocessing.process as m, '
    . 'sitecustomize as s, os; [random.random(), '
    . 'next(tempfile._get_candidate_names()), uuid._node == 1, '
    . 'm.current_process().authkey == b"old", s.added]';

# An agent that may have another name, with the Python of that directory.
sub agent {
    my (%o) = @_;
    my $etc = tmp_dir();
    my $i = bless { agent => AgentClient->start(
        env => { PATH => "/usr/bin:$ENV{PATH}", %{ $o{env} || {} } },
        before => ['unshare', '--uts', '--mount', 'sh', '-ec',
            'cp -a /etc/. "$0"; mount --bind "$0" /etc; exec "$@"', $etc]) },
        'Interpreter';

    told($i, PYTHONPATH => $o{site} // "$dir/site", A => 'old', GONE => 'x',
        PATH => "$dir/bin:/usr/bin:/bin", %{ $o{told} || {} });

    return $i;
}

sub told {
    my ($i, %env) = @_;

    $i->{env} = \%env;
    is($i->request(PUT => '/internal/env',
        json => { seq => ++$i->{seq}, env => \%env })->{status}, 200, 'told');
}

sub warm {
    my ($i, $copies, %more) = @_;
    my $r = $i->post('/internal/warm', { copies => json_bool($copies), %more },
        timeout => 90);

    is($r->{status}, 200, $copies ? 'warm, for copies' : 'warm');

    return $r->{json}{ready};
}

sub json_bool { return $_[0] ? JSON::PP::true() : JSON::PP::false() }

# It becomes the host's.
sub entropy {
    open my $f, '<', '/dev/urandom' or die "/dev/urandom: $!";
    read $f, my $bytes, 32;

    return unpack 'H*', $bytes;
}

# Goes on as another machine, with what it is told beside.
sub goes_on {
    my ($i, %o) = @_;
    my $name = 'name' . ++$named;
    my $boot = { version => 1, key => $i->agent->{key}, id => $name,
        hostname => $name, epoch => 1, entropy => entropy(),
        env => { A => 'new', B => 'b', map { $_ => $i->{env}{$_} } 'PATH',
            'PYTHONPATH' }, %o };

    delete $boot->{entropy} if !defined $boot->{entropy};
    is($i->request(PUT => '/internal/restore', json => $boot)->{status}, 200,
        'goes on');
    $i->{seq} = 0;

    return $name;
}

sub interpreters {
    my ($i, $name) = @_;

    my @all = sort grep { (readlink("/proc/$_/exe") || '') =~ m{/$name[^/]*$} }
        $i->children;

    return @all;
}

sub value {
    my ($i, $c, $code) = @_;
    my ($f) = grep { $_->{type} eq 'result' }
        @{ $i->execute($c, $code)->{frames} };

    return $f ? $f->{json} // $f->{text} : undef;
}

my $WHERE = 'import os, socket; [os.getpid(), os.environ.get("A"), '
    . 'os.environ.get("B"), os.environ.get("GONE"), socket.gethostname(), '
    . 'os.environ["HOME"], os.getcwd()]';

# ---- copies

my @of_both;

for my $which (1, 2) {
    my $i = agent();
    my $cold = value($i, $i->context('python', cwd => '/'), $WHERE);
    told($i, %{ $i->{env} }, C => 'c');

    my $ready = warm($i, 1);
    ok($ready->{python}, 'a Python waits') or diag($i->agent->log_text);
    ok($ready->{javascript}, 'so does a Node.js');

    my ($pid) = grep { $_ != $cold->[0] } interpreters($i, 'python');
    my ($js_pid) = interpreters($i, 'node');
    my $name = goes_on($i);
    my $c = $i->context('python', cwd => '/');

    is_deeply(value($i, $c, $WHERE), [$pid, 'new', 'b', undef, $name,
        @$cold[5, 6]], 'goes on as if it had been started there')
        or diag($i->agent->log_text);
    is(value($i, $c, 'os.environ.get("C", "none")'), "'none'",
        'without the rest');

    my $drawn = value($i, $c, $DRAWS);
    my $old = value($i, $c, 'r = random.Random(1); t = tempfile.'
        . '_RandomNameSequence(); t.rng.seed(1); [r.random(), next(t)]');
    isnt($drawn->[0], $old->[0], 'its random has another state');
    isnt($drawn->[1], $old->[1], 'so have the names of temporary files');
    ok(!$drawn->[2], "uuid's node is nobody else's");
    ok(!$drawn->[3], "nor is multiprocessing's key");
    is_deeply($drawn->[4], [[JSON::PP::true(), 48]], 'OpenSSL gets new bytes');

    my $js = $i->context('javascript', cwd => '/');
    is_deeply(value($i, $js, $JS_WHERE), [$js_pid, 'new', 'b', undef, $name,
        '/', JSON::PP::true()], 'Node.js goes on as well')
        or diag($i->agent->log_text);
    push @of_both, value($i, $js, $JS_DRAWS);
    my %twice = map { $_ => 1 } @{ $of_both[-1] };
    is(scalar keys %twice, @js_drawn, 'nothing of it is drawn twice');

    my $other = $i->context('python');
    isnt(value($i, $other, 'import os; os.getpid()'), $pid, 'it is one only');
    is($i->agent->stop, 0, 'the agent ends in order');
}

isnt($of_both[0][$_], $of_both[1][$_], "each has its own: $js_drawn[$_]")
    for 0 .. $#js_drawn;

# ---- a copy of what somebody has used

{
    my $i = agent();
    my $c = $i->context('python');
    my $js = $i->context('javascript');

    value($i, $c, 'import random; random.seed(42); random.random()');
    value($i, $js, 'let kept = 7; kept');
    goes_on($i);
    is_deeply(value($i, $c, 'r = random.Random(42); r.random(); '
        . 'import sitecustomize as s; '
        . '[random.random() == r.random(), s.added]'),
        [JSON::PP::true(), [[JSON::PP::true(), 48]]],
        'what somebody has seeded stays; OpenSSL gets new bytes');
    is(value($i, $js, 'kept'), '7', 'a Node.js goes on');
    is(value($i, $js, 'const mark = Buffer.alloc(1); require("fs").readSync('
        . '242, mark, 0, 1, 15); `${mark}`'), "'+'", 'OpenSSL there, too');
    ok(wait_for(sub { my @p = interpreters($i, 'python'); @p == 2 }, 60),
        'one waits again');
    $i->agent->stop;
}

# ---- what is of no use in a copy

my $so = (glob '/usr/lib/python3*/lib-dynload/*.so')[0];
mkdir "$dir/foreign";
spew("$dir/foreign/" . $so =~ s{.*/}{}r, slurp($so)) if $so;
spew("$dir/foreign/sitecustomize.py",
    'import ' . ($so =~ m{([^/.]+)\.[^/]*$})[0]) if $so;

for my $case (
    ['with another PATH', env => { PATH => $ENV{PATH}, A => 'new' }],
    ['with another setting of Python', env => { PYTHONHASHSEED => 'random' }],
    ['without entropy', entropy => undef],
    ['with a library that nobody knows', site => "$dir/foreign"],
) {
    my ($what, %o) = @$case;
    my $i = agent(site => delete $o{site});

    ok(warm($i, 1)->{python}, "$what: there is one");
    my ($pid) = interpreters($i, 'python');
    goes_on($i, %o);
    isnt(value($i, $i->context('python'), 'import os; os.getpid()'), $pid,
        "$what: another one is started");
    ok(wait_for(sub { !process_alive($pid) }, 20), "$what: it ends");
    $i->agent->stop;
}

# A Node.js that can't have random state of its own is of no use in any copy.
spew("$dir/own.js", 'globalThis.own = Math.random();');
spew("$dir/old.js", 'Object.defineProperty(process, "version", '
    . '{ value: "v16.20.2" }); delete require.cache[__filename]; '
    . 'process.execArgv.splice(0, 2);');
for my $case (
    ['has loaded a module', "--require $dir/own.js", ''],
    ['may have loaded one', '', '--import data:text/javascript,0'],
    ['is one that nobody knows', '', "--require $dir/old.js"],
    ['loads no library', '', '--no-addons'],
) {
    my ($what, $options, $more) = @$case;
    my $bin = tmp_dir();

    spew("$bin/node", "#!/bin/sh\nexec $node $more \"\$@\"\n");
    chmod 0755, "$bin/node";
    my $i = agent(told => { PATH => "$bin:/usr/bin:/bin",
        $options ? (NODE_OPTIONS => $options) : () });

    my $ready = warm($i, 1);
    ok($ready->{python} && !$ready->{javascript}, "$what: it doesn't wait");
    ok(wait_for(sub { !interpreters($i, 'node') }, 20), "$what: it ends");
    my $name = goes_on($i);
    my $js = $i->context('javascript');
    is(value($i, $js, 'require("os").hostname()'), "'$name'",
        "$what: one is started");
    $i->agent->stop;
}

# Where none is to wait.
{
    my $i = agent();
    my $ready = warm($i, 1, javascript => json_bool(0));

    ok($ready->{python} && !$ready->{javascript}, 'a Python alone');
    is(scalar interpreters($i, 'node'), 0, 'no Node.js runs');
    goes_on($i);
    is(value($i, $i->context('javascript'), '1 + 1'), '2', 'one is started');
    $i->agent->stop;
}

# With another setting, which it reads when it starts.
{
    my $i = agent();

    ok(warm($i, 1)->{javascript}, 'there is a Node.js');
    my ($pid) = interpreters($i, 'node');
    goes_on($i, env => { NODE_ENV => 'production' });
    isnt(value($i, $i->context('javascript'), 'process.pid'), $pid,
        'with a setting of its own another one is started');
    ok(wait_for(sub { !process_alive($pid) }, 20), 'it ends');
    $i->agent->stop;
}

# One that doesn't say that it has: nobody gets it, whoever waits gets another.
for my $signal ('KILL', 'TIME') {
    my $i = agent();

    warm($i, 1);
    my ($pid) = interpreters($i, 'python');
    kill 'STOP', $pid;
    goes_on($i);

    my $s = $i->agent->connect;
    my $body = '{"language":"python"}';
    http_send($s, "POST /api/contexts HTTP/1.1\r\nHost: x\r\nConnection: close"
        . "\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
    if ($signal eq 'KILL') {
        sleep 0.5;
        kill 'KILL', $pid;
    }
    my $answer = '';
    while (IO::Select->new($s)->can_read(60)
        && sysread $s, $answer, 4096, length $answer) { }
    my ($c) = $answer =~ /"contextId": ?"([^"]+)"/;
    ok($c, "$signal: there is a context") or diag($answer);
    isnt(value($i, $c, 'import os; os.getpid()'), $pid,
        "$signal: in another one");
    ok(wait_for(sub { !process_alive($pid) }, 20),
        "$signal: the first is gone");
    like($i->agent->log_text, qr/an idle interpreter ended/,
        "$signal: it says so");
    $i->agent->stop;
}

# ---- a machine that is not copied

{
    my $i = agent();

    warm($i, 0);
    ok(wait_for(sub { my $r = warm($i, 0); $r->{python} && $r->{javascript} },
        90, 0.5), 'both wait');
    my @pids = (interpreters($i, 'python'), interpreters($i, 'node'));
    is(scalar @pids, 2, 'one of each');
    sleep 1;
    my $name = goes_on($i, unique => json_bool(1));

    my $c = $i->context('python', cwd => '/');
    my $js = $i->context('javascript', cwd => '/');
    is_deeply([@{ value($i, $c, $WHERE) }[0 .. 4]],
        [$pids[0], 'new', 'b', undef, $name], 'Python goes on');
    is_deeply(value($i, $js, '[process.pid, process.env.A, process.env.B, '
        . 'process.env.GONE ?? null, require("os").hostname()]'),
        [$pids[1], 'new', 'b', undef, $name], 'so does Node.js');
    is(value($i, $c, 'random.random() == random.Random(1).random()')
        // value($i, $c, 'import random; random.random() == '
        . 'random.Random(1).random()'), 'True', 'as it was');
    $i->agent->stop;
}

# A copy that is prepared, and not copied any more: in the end all is its own.
{
    my $i = agent();

    warm($i, 1);
    my ($pid) = interpreters($i, 'python');
    goes_on($i);
    ok(wait_for(sub { !process_alive($pid) || !warm($i, 0) }, 60, 0.5),
        'what was copied is replaced');
    ok(wait_for(sub { interpreters($i, 'python') == 1 }, 20), 'by one');
    my ($own) = interpreters($i, 'python');
    goes_on($i, unique => json_bool(1));
    is(value($i, $i->context('python'), 'import os; os.getpid()'), $own,
        'which is for who gets the machine');
    $i->agent->stop;
}

# ---- a machine without interpreters, and one whose settings come late

{
    my $i = agent(told => { PATH => "$dir/none" });
    my $begun = time;
    my $ready = warm($i, 1);

    ok(!$ready->{python} && !$ready->{javascript}, 'there are none');
    cmp_ok(time - $begun, '<', 20, 'which takes no time');
    is_deeply([interpreters($i, '(?:python|node)')], [], 'nothing runs');
    goes_on($i, env => { PYTHON_POOL_MIN_SIZE => '2' });
    ok(wait_for(sub { interpreters($i, 'python') == 2 }, 60),
        'what a sandbox sets holds in a machine that is older');
    $i->agent->stop;
}

# ---- the same machine

{
    my $i = agent();

    warm($i, 1);
    my ($pid) = interpreters($i, 'python');
    my $name = goes_on($i);
    ok(wait_for(sub { join(' ', interpreters($i, 'python')) eq $pid }, 1),
        'it is there');
    is($i->request(PUT => '/internal/restore', json => { version => 1,
        key => $i->agent->{key}, hostname => $name, epoch => 2,
        env => { %{ $i->{env} }{'PATH', 'PYTHONPATH'}, A => $_, B => 'b' } })
        ->{status}, 200, 'it has slept') for qw(new again);
    is(value($i, $i->context('python'), 'import os; os.getpid()'), $pid,
        'what waits stays');
    is(value($i, $i->context('python'), 'import os; os.environ["A"]'), "'new'",
        'what it is told twice it takes once');
    $i->agent->stop;
}

# One that nobody has wanted, in a copy of the copy.
{
    my $i = agent();

    warm($i, 1);
    my ($pid, $js_pid) = map { interpreters($i, $_) } 'python', 'node';
    goes_on($i);
    my $name = goes_on($i, epoch => 2, env => {
        %{ $i->{env} }{'PATH', 'PYTHONPATH'}, A => 'newer' });
    my @is = ('newer', undef, undef, $name);

    is_deeply([@{ value($i, $i->context('python'), $WHERE) }[0 .. 4]],
        [$pid, @is], 'Python takes both');
    is_deeply([@{ value($i, $i->context('javascript'), $JS_WHERE) }[0 .. 4]],
        [$js_pid, @is], 'so does Node.js');
    $i->agent->stop;
}

done_testing();
