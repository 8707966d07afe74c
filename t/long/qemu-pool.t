#!/usr/bin/perl

# The warm pool, of virtual machines: who gets one, that it is like any other
# then, what makes one stale, that none is in the way of what is somebody's, and
# that none outlives sandboxd.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
alarm_after(600);

my $dir = tmp_dir();
spew("$dir/image", slurp(Vm::image()));

my $s = System->new(daemon_args => ['--driver', 'qemu', '--accel', 'tcg',
    '--kernel', Vm::kernel(), '--image', "vm=$dir/image", '--agent',
    Vm::agent(), '--starts', 1, '--templates', 2, '--pool', 2,
    '--pool-interval', 300, '--memory-budget', '2500M'],
    timeout => 90, http_conf => 'sandbox_wake_timeout 60s;');
$s->start;

sub stats { return $s->api(GET => '/v1/pool/stats')->{json} }

sub warm {
    my ($n) = @_;

    return wait_for(sub { (stats()->{images}{vm}{warm} // -1) == $n }, 120,
        0.2) || !diag(json_encode(stats()), slurp($s->{daemon_log}));
}

# ---- filling

ok(warm(2), 'the pool is filled');
ok(wait_for(sub { -e "$s->{state}/templates-qemu"
    && !-e "$s->{state}/machines/ffffffff" }, 60), 'nothing is made meanwhile');
my %keepers = %{ Vm::keepers($s) };
is(scalar keys %keepers, 2, 'by two machines');
is(scalar @{ $s->api(GET => '/v1/sandbox')->{json}{sandboxes} }, 0,
    'which are no sandboxes yet');

# ---- who gets one

my $r = $s->api(POST => '/v1/sandbox', json => { id => 'one',
    env => { GREETING => 'hello', BIG => 'x' x 60000 } });
is($r->{status}, 200, 'a sandbox') or diag(json_encode($r));
is(stats()->{images}{vm}{reserved}, 1, 'has one');
my $begun = time;
is($s->run('one', 'busybox hostname; cat /etc/hostname; '
    . 'echo $HOSTNAME $GREETING ${#BIG}'), "one\none\none hello 60000", 'and is itself');
diag(sprintf 'first command after %.2f s', time - $begun);
is($keepers{ Vm::slot($s, 'one') }, Vm::keeper($s, 'one'),
    'it was one that waited');
is(stats()->{images}{vm}{hits}, 1, 'so say the statistics');
my $record = $s->api(GET => '/v1/sandbox/one')->{json};
is_deeply([@$record{qw(epoch state)}], [1, 'running'], 'as any other');
unlike($s->run('one', 'cat /proc/cmdline /proc/1/environ; '
    . 'tr -d "\0" </dev/vda'), qr/[0-9a-f]{32}/, 'what runs inside finds no key');
my $boot = $s->run('one', 'echo mine > /workspace/f; cat '
    . '/proc/sys/kernel/random/boot_id');

# 1024 of 2500 MiB are its own now, so that there is room for one that waits.
ok(warm(1), 'as many wait as there is memory for');
like(slurp($s->{daemon_log}), qr/no more sandboxes of the image "vm" for now/,
    'which is said');
$s->run('two', 'true');
is(stats()->{images}{vm}{hits}, 2, 'another one');
isnt($s->run('one', 'head -c 16 /dev/urandom | od -An -tx1'),
    $s->run('two', 'head -c 16 /dev/urandom | od -An -tx1'),
    'with chance of its own');
isnt($s->run('one', 'echo $RANDOM$RANDOM$RANDOM'),
    $s->run('two', 'echo $RANDOM$RANDOM$RANDOM'), 'in its shell, too');
ok(warm(0), 'no memory, no pool');
is($s->api(DELETE => '/v1/sandbox/two')->{status}, 204, 'it goes');

# ---- sleep, wake, and the end in order

is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
is($s->run('one', 'cat /workspace/f /proc/sys/kernel/random/boot_id'),
    "mine\n$boot", 'wakes, with its memory');

# ---- what waits is in nobody's way

ok(warm(1), 'one waits again');
$r = $s->api(POST => '/v1/sandbox', json => { id => 'large',
    resources => { memory => '1400M' } });
is($s->run('large', 'echo here'), 'here', 'a start takes its memory');
is(stats()->{warm}, 0, 'that it had');
$r = $s->exec('none', 'true');
is($r->{code} // $r->{json}{code} // '', 'insufficient_memory',
    'and what has no memory left is refused') or diag(json_encode($r));
$s->api(DELETE => "/v1/sandbox/$_") for qw(large none);

# ---- what has become something else goes, with its disk

ok(warm(1), 'one waits again');
$r = $s->api(POST => '/v1/sandbox', json => { id => 'changed' });
is(stats()->{images}{vm}{reserved}, 1, 'and is had by another one');
$r = $s->api(PATCH => '/v1/sandbox/changed', json => {
    resources => { disk => '256M' } });
is($r->{status}, 200, 'that is to be another machine')
    or diag(json_encode($r));
is($s->run('changed', 'echo here'), 'here', 'starts');
is(-s sprintf('%s/machines/%08x/disk', $s->{state}, Vm::slot($s, 'changed')),
    256 << 20, 'with a disk of its own size');
is($s->api(DELETE => '/v1/sandbox/changed')->{status}, 204, 'it goes');

ok(warm(1), 'one waits again');
$s->api(POST => '/v1/sandbox', json => { id => 'orphan' });
kill 'KILL', map { Vm::keepers($s)->{$_} }
    grep { $_ != Vm::slot($s, 'one') } keys %{ Vm::keepers($s) };
ok(wait_for(sub { stats()->{images}{vm}{reserved} == 0 }, 30),
    'one that a sandbox has dies before its start');
$s->api(PATCH => '/v1/sandbox/orphan', json => {
    resources => { disk => '256M' } });
is($s->run('orphan', 'echo here'), 'here', 'that starts from the beginning');
is(-s sprintf('%s/machines/%08x/disk', $s->{state}, Vm::slot($s, 'orphan')),
    256 << 20, 'with a disk of the size that it is to have by now');
is($s->api(DELETE => '/v1/sandbox/orphan')->{status}, 204, 'it goes');

# ---- images

ok(warm(1), 'one waits again');
my ($stale) = grep { $_ != Vm::slot($s, 'one') } keys %{ Vm::keepers($s) };
spew("$dir/image.new", slurp("$dir/image"));
rename "$dir/image.new", "$dir/image";
ok(wait_for(sub { !exists Vm::keepers($s)->{$stale} }, 30),
    'what was prepared from an image that was replaced ends');
ok(warm(1), 'and another one waits');

# ---- those that die, and all of them

my ($slot) = grep { $_ != Vm::slot($s, 'one') } keys %{ Vm::keepers($s) };
kill 'KILL', Vm::keepers($s)->{$slot};
ok(wait_for(sub { !-e sprintf '%s/machines/%08x', $s->{state}, $slot }, 30),
    'one that has died is cleared away');
ok(warm(1), 'and another one made');
$s->api(POST => '/v1/pool/shutdown-prewarmed');
ok(warm(0), 'emptied');
is($s->run('one', 'cat /workspace/f'), 'mine', 'what is somebody\'s lives on');
$s->api(POST => '/v1/pool/prime');
ok(warm(1), 'primed');

# ---- kill -9

%keepers = %{ Vm::keepers($s) };
my $mine = Vm::slot($s, 'one');
$s->kill_daemon;
ok(wait_for(sub { join(' ', keys %{ Vm::keepers($s) }) eq $mine }, 20),
    'what is nobody\'s ends with sandboxd, what is somebody\'s does not')
    or diag(json_encode(Vm::keepers($s)));
$s->start_daemon;
is($s->run('one', 'cat /workspace/f'), 'mine', 'nor then');
ok(warm(1), 'the new sandboxd fills its own');

# Without an agent that answers there is another start.
($slot) = grep { $_ != $mine } keys %{ Vm::keepers($s) };
$s->api(POST => '/v1/sandbox', json => { id => 'three' });
kill 'KILL', grep { (slurp("/proc/$_/cmdline") // '') =~ /^\S*qemu-sys/ }
    descendants(Vm::keepers($s)->{$slot});
is($s->run('three', 'busybox hostname'), 'three',
    'one that ends before it is needed is a start');

$s->api(DELETE => "/v1/sandbox/$_") for qw(one three);
stop_process(delete $s->{daemon}, 'TERM', 30);
is_deeply(Vm::keepers($s), {}, 'sandboxd ends those that wait');
is(join(' ', glob "$s->{state}/machines/*"), '', 'with their files');
done_testing();
