#!/usr/bin/perl

# Forks of virtual machines: of one that runs and of one that sleeps, with what
# runs in them; that both are their own from then on; who pays for it; that
# nothing of it stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use Npm;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
alarm_after(400);

my $s = System->start(driver => 'qemu', daemon_args => ['--starts', 1],
    http_conf => 'sandbox_wake_timeout 60s;', timeout => 60);
sub fork_of {
    my ($id, $body, @more) = @_;

    return $s->api(POST => "/v1/sandbox/$id/fork", json => $body, @more);
}

# ---- of one that runs

my $r = $s->api(POST => '/v1/sandbox', json => { id => 'one',
    env => { TOLD => 'yes' }, labels => { of => 'tests' },
    resources => { memory => '160M', disk => '96M' } });
is($r->{status}, 200, 'a sandbox') or diag(json_encode($r));

$s->run('one', 'export SAID=here; echo 11111111111111111111111111111111 '
    . '> /etc/machine-id; echo before > /workspace/f; (i=0; while :; do '
    . 'echo $((i++)) > /tmp/count; busybox sleep 0.1; done) '
    . '>/dev/null 2>&1 & echo started');
my $url = $s->expose('one', 8000)->{url};
my $boot = $s->run('one', 'cat /proc/sys/kernel/random/boot_id');
my $count = $s->run('one', 'cat /tmp/count');

# With a session of its own, and a shell that waits for the next one.
$s->run('one', 'MINE=1', body => { sessionId => 'named' });

my $begun = time;
$r = fork_of('one', { id => 'two' }, headers => [['Idempotency-Key', 'a']]);
is($r->{status}, 200, 'its fork') or diag(json_encode($r),
    slurp($s->{daemon_log}));
diag(sprintf 'forked in %.2f s', time - $begun);
is($r->{json}{id}, 'two', 'which has the id that was asked for');
is($r->{json}{state}, 'asleep', 'and sleeps');
like($r->{json}{reason}, qr/fork, with its memory/, 'with a memory');
is_deeply($r->{json}{labels}, { of => 'tests' }, 'and the same options');

$r = fork_of('one', { id => 'two' }, headers => [['Idempotency-Key', 'a']]);
is_deeply([$r->{status}, $r->{json}{id},
    $r->{headers}{'idempotency-replayed'}], [200, 'two', 'true'],
    'asked again, it is the same one');

cmp_ok($s->run('one', 'cat /tmp/count'), '>', $count, 'the first one goes on');
$begun = time;
is($s->run('two', 'echo $SAID $TOLD; cat /workspace/f'), "here yes\nbefore",
    'the second one, too: its session and its files');
diag(sprintf 'it answers after %.1f s', time - $begun);
is($s->run('two', 'cat /proc/sys/kernel/random/boot_id'), $boot,
    'it has not booted');
cmp_ok($s->run('two', 'cat /tmp/count'), '>=', $count, 'what runs is in both');
is($s->run('two', 'busybox hostname; cat /etc/hostname'), "two\ntwo",
    'it has a name of its own');
isnt($s->run('two', 'cat /etc/machine-id'),
    $s->run('one', 'cat /etc/machine-id'), 'and a machine id');
my @random = map { $s->run($_, 'head -c 16 /dev/urandom | od -An -tx1') }
    qw(one two);
isnt($random[0], $random[1], 'and chance');

# The first command in a session that has come along, or has waited for that.
for my $session (qw(named new)) {
    my %said = map { $_ => $s->run($_, 'echo $HOSTNAME $MINE; '
        . 'echo $RANDOM$RANDOM$RANDOM$RANDOM',
        body => { sessionId => $session }) } qw(two one);
    my $mine = $session eq 'named' ? ' 1' : '';

    like($said{$_}, qr/^$_$mine\n/, "session $session of $_ knows its name")
        for qw(one two);
    isnt($said{two} =~ s/.*\n//r, $said{one} =~ s/.*\n//r,
        "session $session has chance of its own");
}
cmp_ok(abs($s->run('two', 'date +%s') - time), '<', 20, 'and the time');

$s->run('one', 'echo one > /workspace/f; sync');
$s->run('two', 'echo two > /workspace/f; sync');
is(join('', map { $s->run($_, 'cat /workspace/f') } qw(one two)), 'onetwo',
    'each has its own disk');
is_deeply($s->api(GET => '/v1/sandbox/two/ports')->{json}{ports}, [],
    'the fork has no exposures');

# ---- of one that sleeps

is($s->api(POST => '/v1/sandbox/two/sleep')->{status}, 200, 'sleeps');
my %forks = map { $_ => fork_of('two', { id => $_ }) } qw(three four);
is($forks{$_}{status}, 200, "a fork of it, $_")
    or diag(json_encode($forks{$_})) for sort keys %forks;
is($s->run('three', 'echo $SAID; cat /workspace/f; busybox hostname'),
    "here\ntwo\nthree", 'it goes on');
$s->api(DELETE => '/v1/sandbox/two');
is($s->run('four', 'echo $SAID; cat /workspace/f; busybox hostname'),
    "here\ntwo\nfour", 'another one, too, without whom it is of');

# ---- from the clients

my $top = top_dir();
my %env = (SANDBOX_ENDPOINT => "http://127.0.0.1:$s->{port}",
           SANDBOX_API_KEY => $s->{key}, PYTHONPATH => "$top/sdk/python",
           PYTHONDONTWRITEBYTECODE => 1);
my ($status, $out, $err) = run_command(['/usr/bin/python3', '-c', <<'EOP'],
from ngx_sandbox import Sandbox

forked = Sandbox("one").fork("py")
print(forked.id, forked.exec("cat /workspace/f; busybox hostname").stdout)
forked.destroy()
EOP
    env => \%env, timeout => 90);
is($out, "py one\npy\n", 'a fork from Python') or diag($err);

SKIP: {
    my $tsc = npm_package('typescript', '5.9.3') or skip 'no npm registry', 1;
    my $dist = tmp_dir() . '/dist';

    run_command(['node', 'build.mjs', $dist], cwd => "$top/sdk/typescript",
        env => { TSC => "$tsc/bin/tsc" }, timeout => 180);
    spew("$dist/fork.mjs", <<'EOJ');
import { getSandbox } from './esm/index.js';

const sandbox = getSandbox({ endpoint: process.env.SANDBOX_ENDPOINT,
  apiKey: process.env.SANDBOX_API_KEY }, 'one');
const forked = await sandbox.fork('ts');

console.log(forked.id, (await forked.exec('cat /workspace/f; busybox hostname')).stdout);
await forked.destroy();
EOJ
    ($status, $out, $err) = run_command(['node', "$dist/fork.mjs"],
        env => \%env, timeout => 90);
    is($out, "ts one\nts\n", 'and from TypeScript') or diag($err);
}

# ---- what is no fork

is(fork_of('none', {})->{status}, 404, 'of nothing');
$r = fork_of('one', { id => 'four' });
is_deeply([$r->{status}, $r->{json}{code}], [409, 'exists'],
    'over another one');
$r = fork_of('one', { id => 'Bad_Id' });
is($r->{status}, 400, 'with a bad id');
is($r->{json}{field}, 'id', 'which it names');

# ---- sandboxd comes back between

$s->kill_daemon;
$s->start_daemon;
$r = fork_of('one', {});
is($r->{status}, 200, 'a fork after sandboxd was killed')
    or diag(json_encode($r));
is($s->run($r->{json}{id}, 'cat /workspace/f'), 'one', 'and of what it was');
$s->kill_daemon;
$s->start_daemon;
my $last = $r->{json}{id};
is($s->run($last, 'cat /workspace/f'), 'one', 'which lives on');

# ---- the end

for my $id ('one', 'three', 'four', $last) {
    is($s->api(DELETE => "/v1/sandbox/$id")->{status}, 204,
        "$id is destroyed");
}
ok(wait_for(sub { !glob "$s->{state}/machines/*" }, 30), 'nothing is left')
    or diag(join ' ', glob "$s->{state}/machines/*");
is_deeply(Vm::keepers($s), {}, 'and nobody');

done_testing;
