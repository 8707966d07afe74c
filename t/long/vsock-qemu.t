#!/usr/bin/perl

# Virtual machines whose agents are reached by vsock, which a real
# vhost-device-vsock provides: through the whole system, with a machine that is
# killed in the middle of a stream, one whose vsock is, a sandboxd that comes
# back, sleep without memory, and nothing that stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Harness;
use POSIX ();
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Unpacked;
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
alarm_after(900);

my $program = $ENV{SANDBOX_VHOST_DEVICE_VSOCK};
if (!$program) {
    ($program, my $why) = Unpacked::program('vhost-device-vsock', 'testing',
        'usr/bin/vhost-device-vsock');
    plan skip_all => $why if !$program;
}
diag((run_command([$program, '--version']))[1]);

my @channel = ('--qemu-channel', 'vhost-user-vsock', '--vhost-device-vsock',
    $program);
my $s = System->start(driver => 'qemu', daemon_args => [@channel],
    http_conf => 'sandbox_wake_timeout 60s;', timeout => 90);

# What provides the vsock of a sandbox's machine.
sub device {
    my $keeper = Vm::keeper($s, $_[0]) or return undef;

    return (grep { (slurp("/proc/$_/cmdline") // '')
        =~ m{^/vm/vhost-device-vsock\0} } descendants($keeper))[0];
}

# ---- one machine

my $r = $s->api(POST => '/v1/sandbox', json => { id => 'one',
    env => { TOLD => 'yes' }, resources => { memory => '160M', disk => '96M' } });
is($r->{status}, 200, 'a sandbox') or diag(json_encode($r),
    slurp($s->{daemon_log}));
is_deeply({ map { $_ => $r->{json}{driver}{$_} } qw(name channel
    memorySnapshot) }, { name => 'qemu', channel => 'vhost-user-vsock',
    memorySnapshot => JSON::PP::false }, 'its record says which channel it has');
my $begun = time;
is($s->run('one', 'echo $TOLD; pwd'), "yes\n/workspace", 'commands')
    or diag(slurp($s->{daemon_log}));
diag(sprintf 'first command after %.1f s', time - $begun);
my $boot = $s->run('one', 'cat /proc/sys/kernel/random/boot_id');

for my $size (1000, 1_000_000, 16_000_000) {
    my $big = join '', map { chr(int($_ * 2654435761 / 65536) & 255) }
        1 .. $size;

    is($s->api(PUT => '/v1/sandbox/one/file/workspace/f', timeout => 200,
        body => $big)->{status}, 200, "$size bytes go in");
    ok($s->api(GET => '/v1/sandbox/one/file/workspace/f', timeout => 200)
        ->{body} eq $big, '... and come out');
}
$s->run('one', 'rm /workspace/f');

# ---- who it is reached by

my $qemu = Vm::qemu($s, 'one');
my $keeper = Vm::keeper($s, 'one');
my $device = device('one');
ok($qemu && $keeper && $device, 'QEMU, its keeper, and its vsock');
my %uid;
for my $p ([QEMU => $qemu], ['its keeper' => $keeper],
    ['its vsock' => $device])
{
    my ($what, $pid) = @$p;

    $uid{$what} = Vm::is_confined($what, $pid) // '';
    Vm::is_jailed($what, $pid);
    is(readlink "/proc/$pid/ns/net", readlink "/proc/$keeper/ns/net",
        "$what is in the machine's network namespace");
    is(slurp("/proc/$pid/cgroup"), slurp("/proc/$keeper/cgroup"),
        "$what is in the machine's group");
}
is(scalar(keys %{ { reverse %uid } }), 3, 'three users');
like(slurp("/proc/$device/status"), qr/^Seccomp:\s+2$/m,
    'its vsock is filtered');
# The guest's memory is a file in memory.
my @open = grep { !m{^(/dev/null|pipe:|socket:|anon_inode:|/vm/ram/memory$)} }
    map { readlink($_) // '' } glob "/proc/$device/fd/*";
is_deeply(\@open, [], '... and has no file of the host');

Vm::is_not_led($s, 'one');
is($s->run('one', 'echo back'), 'back', 'and back');

my @out = split /\n/, $s->run('one', join ';',
    'for a in 10.0.0.1 127.0.0.1 169.254.169.254',
    "do busybox nc -w 2 \$a $s->{port} </dev/null >/dev/null 2>&1 "
        . '&& echo open $a || echo closed $a', 'done',
    '(exec 3<>/dev/tcp/10.0.0.2/5000) 2>/dev/null || echo closed agent');
is("@out", 'closed 10.0.0.1 closed 127.0.0.1 closed 169.254.169.254 '
    . 'closed agent', 'the guest reaches no host; its agent listens on vsock '
    . 'alone');

# ---- previews and terminals

$s->run('one', 'mkdir -p /workspace/www; '
    . 'echo served > /workspace/www/index.html; '
    . 'head -c 5000000 /dev/urandom > /workspace/www/large');
ok($s->serve('one', 8000, 'busybox httpd -f -p 127.0.0.1:8000 -h '
    . '/workspace/www'), 'a server');
my $e = $s->expose('one', 8000);
is($s->preview($e->{url})->{body}, "served\n", 'its preview');
is(length $s->preview("$e->{url}large")->{body}, 5_000_000,
    'a large one');
is($s->preview($s->expose('one', 8001)->{url})->{status}, 502,
    'a port where nobody listens');
my @pids;
for (1 .. 8) {
    my $pid = fork();
    if ($pid == 0) {
        my $n = grep { ($s->preview($e->{url})->{body} // '')
            eq "served\n" } 1 .. 25;
        POSIX::_exit($n == 25 ? 0 : 1);
    }
    push @pids, $pid;
}
is(scalar(grep { waitpid($_, 0); $? == 0 } @pids), 8, 'many at once');

my $w = $s->terminal('one', '/pty?session=t');
ok($w->{ok}, 'a terminal');
$w->send_binary("echo sum \$((40 + 2))\n");
ok($w->until_like(qr/sum 42/), 'that is typed into');
$w->close;

# ---- sandboxd comes back

$s->kill_daemon;
is($s->preview($e->{url})->{body}, "served\n",
    'previews go on without sandboxd');
$s->start_daemon;
is($s->run('one', 'cat /proc/sys/kernel/random/boot_id'), $boot,
    'the machine lives through a kill -9 of sandboxd');

# ---- what is killed in the middle of a stream

sub killed {
    my ($what, $pid, $reason) = @_;
    my $cut = $s->cut_stream('one', sub { kill 'KILL', $pid });

    ok(defined $cut, "a stream ends without an exit code when $what is killed");
    cmp_ok($cut // 99, '<', 20, '... at once');
    ok($s->state_within('one', 'asleep', 20), '... the record knows');
    like($s->record('one')->{reason}, $reason, '... and why');
    is_deeply(Vm::keepers($s), {}, '... and nothing runs');
    is($s->run('one', 'cat /workspace/kept'), 'kept',
        '... the next request starts it again, with its files');
}

$s->run('one', 'echo kept > /workspace/kept; sync');
killed('QEMU', $qemu, qr/virtual machine was ended by signal 9/);
$s->run('one', 'sync');
killed('its vsock', device('one'), qr/vhost-device-vsock was ended by signal 9/);

# ---- sleep

$s->run('one', 'sync');
is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
ok($s->state_within('one', 'asleep', 40), 'it is asleep');
unlike($s->record('one')->{reason}, qr/memory/, 'without its memory');
$r = $s->api(POST => '/v1/sandbox/one/fork', json => { id => 'fork' });
is($r->{status}, 200, 'a fork of one that sleeps') or diag $r->{body};
is($s->run($_, 'cat /workspace/kept'), 'kept', "$_ has its files")
    for qw(fork one);
$r = $s->api(POST => '/v1/sandbox/one/fork', json => { id => 'fork2' });
is("$r->{status} $r->{json}{code}", '501 unsupported',
    'one that runs has to sleep for that');
isnt(device('one'), device('fork'), 'each has a vsock of its own');

# ---- the end

my @run = map { Vm::keeper($s, $_), Vm::qemu($s, $_), device($_) } qw(one fork);
is(scalar(grep { $_ } @run), 6, 'two machines');
my @groups = map { slurp("/proc/$_/cgroup") =~ m{:(/\S*sandboxd\S*/\w{8})$}m }
    @run;
is($s->api(DELETE => "/v1/sandbox/$_")->{status}, 204, "$_ is destroyed")
    for qw(one fork);
ok(wait_for(sub { !glob "$s->{state}/machines/*" }, 30), 'with their files');
is_deeply(Vm::keepers($s), {}, 'and keepers');
ok(wait_for(sub { !grep { process_alive($_) } @run }, 20), '... and processes');
is_deeply([glob "$s->{run}/s/*"], [], '... and sockets');
ok(!(grep { -d } map { glob "/sys/fs/cgroup{,/*}$_" } @groups),
    '... and groups');
$s->stop;

done_testing();
