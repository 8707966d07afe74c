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
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_STREAM);
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Unpacked;
use Vm;
use WebSocket;

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
    http_conf => 'sandbox_wake_timeout 60s;');
my %slow = (timeout => 90);

sub record { return $s->api(GET => "/v1/sandbox/$_[0]")->{json} }

sub state_within {
    my ($id, $state, $seconds) = @_;

    return wait_for(sub { record($id)->{state} eq $state }, $seconds, 0.1);
}

sub run {
    my ($id, $command) = @_;
    my $r = $s->exec($id, $command, %slow);

    diag(json_encode($r)) if !defined $r->{stdout};

    return $r->{stdout} // '';
}

# What provides the vsock of a sandbox's machine.
sub device {
    my $keeper = Vm::keeper($s, $_[0]) or return undef;

    return (grep { (slurp("/proc/$_/cmdline") // '')
        =~ m{^/vm/vhost-device-vsock\0} } descendants($keeper))[0];
}

# ---- one machine

my $r = $s->api(POST => '/v1/sandbox', %slow, json => { id => 'one',
    env => { TOLD => 'yes' }, resources => { memory => '160M', disk => '96M' } });
is($r->{status}, 200, 'a sandbox') or diag(json_encode($r),
    slurp($s->{daemon_log}));
is_deeply({ map { $_ => $r->{json}{driver}{$_} } qw(name channel
    memorySnapshot) }, { name => 'qemu', channel => 'vhost-user-vsock',
    memorySnapshot => JSON::PP::false }, 'its record says which channel it has');
my $begun = time;
is(run('one', 'echo $TOLD; pwd'), "yes\n/workspace", 'commands')
    or diag(slurp($s->{daemon_log}));
diag(sprintf 'first command after %.1f s', time - $begun);
my $boot = run('one', 'cat /proc/sys/kernel/random/boot_id');

for my $size (1000, 1_000_000, 16_000_000) {
    my $big = join '', map { chr(int($_ * 2654435761 / 65536) & 255) }
        1 .. $size;

    is($s->api(PUT => '/v1/sandbox/one/file/workspace/f', timeout => 200,
        body => $big)->{status}, 200, "$size bytes go in");
    ok($s->api(GET => '/v1/sandbox/one/file/workspace/f', timeout => 200)
        ->{body} eq $big, '... and come out');
}
run('one', 'rm /workspace/f');

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
    my $status = slurp("/proc/$pid/status");

    ($uid{$what}) = $status =~ /^Uid:\t(\d+)\t\1\t\1\t\1$/m;
    cmp_ok($uid{$what} // 0, '>', 0x7effffff, "$what is a user without a name");
    like($status, qr/^CapEff:\s+0+$/m, "$what has no capabilities");
    like($status, qr/^NoNewPrivs:\s+1$/m, "$what gets no privileges");
    is(readlink "/proc/$pid/ns/net", readlink "/proc/$keeper/ns/net",
        "$what is in the machine's network namespace");
    isnt(readlink "/proc/$pid/ns/$_", readlink "/proc/self/ns/$_",
        "$what has a $_ namespace of its own") for qw(net pid mnt ipc);
    is(join(' ', sort map { m{([^/]+)$} } glob "/proc/$pid/root/*"),
        join(' ', sort qw(dev usr vm), grep { -e "/$_" }
        qw(bin lib lib64 sbin)), "$what sees little of the host's files");
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

# What listens is not led elsewhere by who has broken out of it.
my ($socket) = glob "$s->{run}/s/*";
my $secret = IO::Socket::UNIX->new(Type => SOCK_STREAM, Listen => 5,
    Local => "$s->{dir}/secret.sock");
run_command(['nsenter', '-t', $keeper, '-m', 'sh', '-c',
    "mv /vm/s/vsock /vm/s/old; ln -s $s->{dir}/secret.sock /vm/s/vsock"]);
my $c = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $socket);
is(sysread($c, my $said, 100), 0, 'a socket that was swapped leads nowhere');
$secret->blocking(0);
ok(!$secret->accept, '... not to one of the host');
run_command(['nsenter', '-t', $keeper, '-m', 'mv', '/vm/s/old', '/vm/s/vsock']);
is(run('one', 'echo back'), 'back', 'and back');

my @out = split /\n/, run('one', join ';',
    'for a in 10.0.0.1 127.0.0.1 169.254.169.254',
    "do busybox nc -w 2 \$a $s->{port} </dev/null >/dev/null 2>&1 "
        . '&& echo open $a || echo closed $a', 'done',
    '(exec 3<>/dev/tcp/10.0.0.2/5000) 2>/dev/null || echo closed agent');
is("@out", 'closed 10.0.0.1 closed 127.0.0.1 closed 169.254.169.254 '
    . 'closed agent', 'the guest reaches no host; its agent listens on vsock '
    . 'alone');

# ---- previews and terminals

run('one', 'mkdir -p /workspace/www; echo served > /workspace/www/index.html; '
    . 'head -c 5000000 /dev/urandom > /workspace/www/large');
ok($s->serve('one', 8000, 'busybox httpd -f -p 127.0.0.1:8000 -h '
    . '/workspace/www'), 'a server');
my $e = $s->expose('one', 8000);
is($s->preview($e->{url}, %slow)->{body}, "served\n", 'its preview');
is(length $s->preview("$e->{url}large", %slow)->{body}, 5_000_000,
    'a large one');
is($s->preview($s->expose('one', 8001)->{url}, %slow)->{status}, 502,
    'a port where nobody listens');
my @pids;
for (1 .. 8) {
    my $pid = fork();
    if ($pid == 0) {
        my $n = grep { ($s->preview($e->{url}, %slow)->{body} // '')
            eq "served\n" } 1 .. 25;
        POSIX::_exit($n == 25 ? 0 : 1);
    }
    push @pids, $pid;
}
is(scalar(grep { waitpid($_, 0); $? == 0 } @pids), 8, 'many at once');

my $w = WebSocket->connect(port => $s->{port}, timeout => 60,
    host => "localhost:$s->{port}", path => '/v1/sandbox/one/pty?session=t',
    headers => [['Authorization', "Bearer $s->{key}"]]);
ok($w->{ok}, 'a terminal');
my $seen = '';
$w->send_binary("echo sum \$((40 + 2))\n");
while (my ($op, $data) = $w->receive(30)) {
    $seen .= $data if $op != 8;
    last if $op == 8 || $seen =~ /sum 42/;
}
like($seen, qr/sum 42/, 'that is typed into');
$w->close;

# ---- sandboxd comes back

$s->kill_daemon;
is($s->preview($e->{url}, %slow)->{body}, "served\n",
    'previews go on without sandboxd');
$s->start_daemon;
is(run('one', 'cat /proc/sys/kernel/random/boot_id'), $boot,
    'the machine lives through a kill -9 of sandboxd');

# ---- what is killed in the middle of a stream

sub killed {
    my ($what, $pid, $reason) = @_;
    my $dir = tmp_dir();
    my $child = fork();

    if ($child == 0) {
        my $all = '';

        $s->api(POST => '/v1/sandbox/one/exec', %slow,
            json => { argv => ['sh', '-c', 'echo begin; sleep 50; echo end'] },
            on_data => sub { $all .= $_[0]; spew("$dir/begun", '')
                             if $all =~ /stdout/; 1 });
        POSIX::_exit($all =~ /exit_code/ ? 1
            : $all =~ /^event: stdout$/m ? 0 : 2);
    }
    ok(wait_for(sub { -e "$dir/begun" }, 60), 'a stream');
    my $at = time;
    kill 'KILL', $pid;
    waitpid $child, 0;
    is($? >> 8, 0, "ends without an exit code when $what is killed");
    cmp_ok(time - $at, '<', 20, '... at once');
    ok(state_within('one', 'asleep', 20), '... the record knows');
    like(record('one')->{reason}, $reason, '... and why');
    is_deeply(Vm::keepers($s), {}, '... and nothing runs');
    is(run('one', 'cat /workspace/kept'), 'kept',
        '... the next request starts it again, with its files');
}

run('one', 'echo kept > /workspace/kept; sync');
killed('QEMU', $qemu, qr/virtual machine was ended by signal 9/);
run('one', 'sync');
killed('its vsock', device('one'), qr/vhost-device-vsock was ended by signal 9/);

# ---- sleep

run('one', 'sync');
is($s->api(POST => '/v1/sandbox/one/sleep', %slow)->{status}, 200, 'sleeps');
ok(state_within('one', 'asleep', 40), 'it is asleep');
unlike(record('one')->{reason}, qr/memory/, 'without its memory');
$r = $s->api(POST => '/v1/sandbox/one/fork', %slow, json => { id => 'fork' });
is($r->{status}, 200, 'a fork of one that sleeps') or diag $r->{body};
is(run($_, 'cat /workspace/kept'), 'kept', "$_ has its files")
    for qw(fork one);
$r = $s->api(POST => '/v1/sandbox/one/fork', %slow, json => { id => 'fork2' });
is("$r->{status} $r->{json}{code}", '501 unsupported',
    'one that runs has to sleep for that');
isnt(device('one'), device('fork'), 'each has a vsock of its own');

# ---- the end

my @run = map { Vm::keeper($s, $_), Vm::qemu($s, $_), device($_) } qw(one fork);
is(scalar(grep { $_ } @run), 6, 'two machines');
my @groups = map { slurp("/proc/$_/cgroup") =~ m{:(/\S*sandboxd\S*/\w{8})$}m }
    @run;
is($s->api(DELETE => "/v1/sandbox/$_", %slow)->{status}, 204, "$_ is destroyed")
    for qw(one fork);
ok(wait_for(sub { !glob "$s->{state}/machines/*" }, 30), 'with their files');
is_deeply(Vm::keepers($s), {}, 'and keepers');
ok(wait_for(sub { !grep { process_alive($_) } @run }, 20), '... and processes');
is_deeply([glob "$s->{run}/s/*"], [], '... and sockets');
ok(!(grep { -d } map { glob "/sys/fs/cgroup{,/*}$_" } @groups),
    '... and groups');
$s->stop;

done_testing();
