#!/usr/bin/perl

# The driver firecracker through the whole system, with what t/driver/fc_stub.h
# describes in place of Firecracker and its jailer: the requests, their order,
# the jail, its users and files, and the way to the agent are real; what is
# behind InstanceStart is played.  With a real one, on a host with KVM,
# scripts/kvm-suite.sh runs all tests.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Firecracker;
use Harness;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_STREAM);
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;
use WorkerClient;

delete $ENV{SANDBOX_DRIVER};
Firecracker->plan;
alarm_after(300);

my $program = tmp_dir() . '/sandboxd';
spew($program, slurp(build_dir() . '/sandboxd'), 0755);

my $s = System->start(driver => 'firecracker', program => $program,
    images => [qw(snapshot load cut lost silent)], timeout => 30);

# ---- one machine

my $r = $s->api(POST => '/v1/sandbox', json => { id => 'one',
    env => { TOLD => 'yes' }, resources => { memory => '160M', disk => '96M' } });
is($r->{status}, 200, 'a sandbox') or diag(json_encode($r));
is_deeply({ map { $_ => $r->{json}{driver}{$_} } qw(name channel
    kernelIsolation memorySnapshot) }, { name => 'firecracker',
    channel => 'vsock', kernelIsolation => JSON::PP::true,
    memorySnapshot => JSON::PP::true }, 'its record says what it is');
is($s->run('one', 'echo $TOLD; pwd'), "yes\n/workspace", 'commands');

my $big = join '', map { chr rand 256 } 1 .. 3_000_000;
is($s->api(PUT => '/v1/sandbox/one/file/workspace/big', body => $big)
    ->{status}, 200, 'a large file goes in');
ok($s->api(GET => '/v1/sandbox/one/file/workspace/big')->{body}
    eq $big, 'and comes out');
$s->exec('one', 'rm /workspace/big');

# ---- its jail

my $vmm = Firecracker::vmm($s, 'one');
my $keeper = Vm::keeper($s, 'one');
ok($vmm && $keeper, 'a VMM and its keeper');
my %uid;
for my $p (['the VMM' => $vmm], ['its keeper' => $keeper]) {
    my ($what, $pid) = @$p;

    $uid{$what} = Vm::is_confined($what, $pid) // '';
}
isnt($uid{'the VMM'}, $uid{'its keeper'}, 'two users');
isnt(readlink "/proc/$vmm/ns/mnt", readlink "/proc/$keeper/ns/mnt",
    'the jailer has made a mount namespace for the VMM');
my $root = "/proc/$vmm/root";
ok(-e "$root/disk" && -S "$root/s/vsock" && !-e "$root/usr" && !-e "$root/vm",
    'the VMM sees its files and sockets, and nothing of the host');
my %mode = map { $_ => [(stat "$root/$_")[2, 4]] } qw(disk memory state boot
    image kernel);
is_deeply([map { $mode{$_}[1] } qw(disk memory state boot)],
    [($uid{'the VMM'}) x 4], 'what it writes to is its own');
is($mode{$_}[0] & 0777, 0600, "... and nobody else's: $_") for qw(disk boot);
for (qw(image kernel initramfs)) {
    my ($options) = slurp("/proc/$vmm/mounts") =~ m{^\S+ /$_ \S+ (\S+)}m;
    like($options // '', qr/^ro,/, "the rest can't be written to: $_");
}
like(slurp("/proc/$vmm/net/dev"), qr/^\s*tap0:/m, 'its TAP');
my ($socket) = glob "$s->{run}/s/*";
is((lstat $socket)[4], 0, 'the socket that workers reach is root\'s');

Vm::is_not_led($s, 'one');
is($s->run('one', 'echo back'), 'back', 'and back');

# ---- previews; many connections

$s->run('one', 'mkdir -p /workspace/www; '
    . 'echo served > /workspace/www/index.html');
ok($s->serve('one', 8000, 'busybox httpd -f -p 127.0.0.1:8000 -h '
    . '/workspace/www'), 'a server');
my $e = $s->expose('one', 8000);
is($s->preview($e->{url})->{body}, "served\n", 'its preview');
is($s->preview($s->expose('one', 8001)->{url})->{status}, 502,
    'a port where nobody listens');

my @idle;
for (1 .. 1100) {
    my $idle = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $socket)
        or last;
    push @idle, $idle;
}
is(scalar @idle, 1100, 'more connections than it may have');
sleep 0.5;
my $held = grep { /socket:/ } map { readlink($_) // '' }
    glob "/proc/$keeper/fd/*";
cmp_ok($held, '<', 2 * 1000 + 20, 'it takes as many as the VMM has room for');
@idle = ();
ok(wait_for(sub { ($s->preview($e->{url}, timeout => 5)->{body} // '')
    eq "served\n" }, 20, 0.2), 'and is well afterwards');

# ---- sandboxd comes back

$s->kill_daemon;
is($s->preview($e->{url})->{body}, "served\n", 'it lives on its own');
$s->start_daemon;
is($s->record('one')->{epoch}, 1, 'and is taken over');
is($s->run('one', 'echo $TOLD'), 'yes', 'as it was');

# What a driver says of where an agent is goes to the workers: that of a machine
# that is reached by the kernel's vsock is found in its directory.
my $dir = sprintf '%s/microvms/%08x', $s->{state}, Vm::slot($s, 'one');
sub told_after {
    my ($cid) = @_;

    spew("$dir/cid", "$cid\n") if defined $cid;
    $s->kill_daemon;
    $s->start_daemon;
    unlink "$dir/cid";

    my $w = WorkerClient::worker({ sock => "$s->{run}/control.sock",
        secret => slurp($s->{secret}) =~ s/\n\z//r }) or die 'no worker';
    my $all = $w->sync_all;

    $w->close;

    return $all->{'s one'};
}
my $told = told_after(1073741831);
is($told->{state}, 'running', 'one with a cid');
is_deeply($told->{endpoint}, { kind => 'vsock', cid => 1073741831,
    port => 5000 }, '... is led to by that');
for ([7, 'of somebody else'], ['x', 'that is none'], [undef, 'that has gone']) {
    is(told_after($_->[0])->{endpoint}, undef, "a cid $_->[1] is nobody's");
}
ok(wait_for(sub { ($s->exec('one', 'echo $TOLD')->{stdout} // '') eq 'yes'
    }, 20, 0.2), 'then its keeper leads to it');

# ---- sleep with memory

$s->run('one', 'echo kept > /workspace/kept; echo 1 > /workspace/round');
for my $round (1, 2) {
    is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200,
        'sleeps');
    ok($s->state_within('one', 'asleep', 20), 'it is asleep');
    like($s->record('one')->{reason}, qr/its memory is kept/,
        'with its memory');
    is_deeply(Vm::keepers($s), {}, 'and no process is left of it');
    ok(-s "$dir/memory" && -s "$dir/state", 'but what the VMM has saved');
    $s->api(PATCH => '/v1/sandbox/one',
        json => { env => { TOLD => "r$round" } });
    is($s->run('one', 'cat /workspace/kept; echo $TOLD'), "kept\nr$round",
        'it goes on, told what has changed');
    ok(!-s "$dir/memory" && !-e "$dir/kept" && !-e "$dir/kept-state",
        'what was saved is gone: it is used once');
}

# ---- forks

is($s->api(POST => '/v1/sandbox/one/fork', json => { id => 'fork1' })
    ->{status}, 200, 'a fork of one that runs');
is($s->run('fork1', 'cat /workspace/kept'), 'kept', 'has what that had');
is($s->run('one', 'echo on'), 'on', 'which goes on');
is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
ok($s->state_within('one', 'asleep', 20), 'asleep');
is($s->api(POST => '/v1/sandbox/one/fork', json => { id => 'fork2' })
    ->{status}, 200, 'a fork of one that sleeps');
is($s->run($_, 'cat /workspace/kept'), 'kept', "$_ has it") for qw(fork2 one);

# An agent that is mute holds up nobody for long: what it has not written to its
# disk is in its memory.
sub agent_of {
    return (grep { (slurp("/proc/$_/cmdline") // '') =~ m{^/guest/init\0} }
        sort { $a <=> $b } descendants(Vm::keeper($s, $_[0])))[0];
}

sub went_on {
    my ($id) = @_;
    my $epoch = $s->record($id)->{epoch};

    return wait_for(sub { slurp($s->{daemon_log})
        =~ /init: goes on, epoch $epoch$/m }, 20, 0.5);
}

my $agent = agent_of('one');
ok($agent, 'an agent');
kill 'STOP', $agent;

# What is being made counts with what there is, for others as well.
my $quota = fork // die "fork: $!";
if ($quota == 0) {
    my $w = WorkerClient::worker({ sock => "$s->{run}/control.sock",
        secret => slurp($s->{secret}) =~ s/\n\z//r }) or POSIX::_exit(2);

    sleep 3;
    my $r = $w->call(create => options => { id => 'fourth' },
        caller => { limits => { sandboxes => 4 } });
    diag(json_encode($r)) if ($r->{code} // '') ne 'quota_exceeded';
    POSIX::_exit(($r->{code} // '') ne 'quota_exceeded');
}

my $since = time;
is($s->api(POST => '/v1/sandbox/one/fork', timeout => 50, json => { id =>
    'fork3' })->{status}, 200, 'a fork of one whose agent is mute');
cmp_ok(time - $since, '<', 45, 'is made in time');
kill 'CONT', $agent;
waitpid $quota, 0;
is($?, 0, '... and counts before it is');
is($s->run('fork3', 'cat /workspace/kept'), 'kept', 'and has what that had');
is($s->api(DELETE => '/v1/sandbox/fork3')->{status}, 204, 'destroyed');

# ---- a sleep that sandboxd doesn't see the end of

kill 'STOP', agent_of('one');
my $run = sprintf '%s/r/%08x', $s->{run}, Vm::slot($s, 'one');
ok(-e $run, 'it runs');
my $sleep = fork // die "fork: $!";
if ($sleep == 0) {
    $s->api(POST => '/v1/sandbox/one/sleep', timeout => 5);
    POSIX::_exit(0);
}
ok(wait_for(sub { !-e $run }, 10), 'its keeper was told to let it sleep');
$s->kill_daemon;
waitpid $sleep, 0;
$s->start_daemon;
is($s->record('one')->{state}, 'asleep', 'sandboxd was killed meanwhile');
is($s->run('one', 'cat /workspace/kept'), 'kept', 'it wakes');
ok(went_on('one'), 'with its memory') or diag(slurp($s->{daemon_log}));

# ---- keepers that end before they were told what to do

# Nobody waits for one, even with an order that is longer than a pipe.
is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
ok($s->state_within('one', 'asleep', 20), 'asleep');
is($s->api(PATCH => '/v1/sandbox/one', json => { env => { TOLD => 'yes',
    BIG => 'x' x 60_000 } })->{status}, 200, 'a large environment');
chmod 0644, $program;
like(json_encode($s->exec('one', 'true', timeout => 60)),
    qr/the keeper's order: Broken pipe/, 'a keeper that ends at once');
chmod 0755, $program;
ok(wait_for(sub { ($s->exec('one', 'echo up')->{stdout} // '') eq 'up' },
    20, 0.5), 'it starts when there is one');
ok(went_on('one'), '... and goes on') or diag(slurp($s->{daemon_log}));

# Its order was written to the end, but not read.
is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
ok($s->state_within('one', 'asleep', 20), 'asleep');
is($s->api(PATCH => '/v1/sandbox/one', json => { env => { TOLD => 'yes' } })
    ->{status}, 200, 'a small environment');
chmod 0644, $program;
isnt($s->exec('one', 'true', timeout => 60)->{exitCode}, 0, 'no keeper');
chmod 0755, $program;
ok(wait_for(sub { ($s->exec('one', 'echo up')->{stdout} // '') eq 'up' },
    20, 0.5), 'it starts when there is one');
ok(went_on('one'), '... and goes on') or diag(slurp($s->{daemon_log}));

# What was on its way into a jail goes with the sandbox.
my $gone = sprintf '%s/microvms/%08x', $s->{state}, Vm::slot($s, 'fork2');
is($s->api(POST => '/v1/sandbox/fork2/sleep')->{status}, 200, 'sleeps');
ok($s->state_within('fork2', 'asleep', 20), 'asleep');
is($s->api(PATCH => '/v1/sandbox/fork2', json => { env => {
    BIG => 'x' x 60_000 } })->{status}, 200, 'a large environment');
chmod 0644, $program;
isnt($s->exec('fork2', 'true')->{exitCode}, 0, 'no keeper');
ok(-e "$gone/kept", 'a memory that was to go on');
is($s->api(DELETE => '/v1/sandbox/fork2')->{status}, 204, 'destroyed');
chmod 0755, $program;
ok(wait_for(sub { !-e $gone }, 20), 'with its memory');

# ---- an image that is away for a moment

is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
ok($s->state_within('one', 'asleep', 20), 'asleep');
rename "$s->{dir}/image.cpio", "$s->{dir}/image.away" or die;
like(json_encode($s->exec('one', 'true')), qr/image\.cpio: No such/,
    'no image');
rename "$s->{dir}/image.away", "$s->{dir}/image.cpio" or die;
ok(wait_for(sub { ($s->exec('one', 'echo up')->{stdout} // '') eq 'up' },
    20, 0.5), 'when it is back');
ok(went_on('one'), '... its machine goes on') or diag(slurp($s->{daemon_log}));

# A fork that has never run has its files, however often that fails, and an
# ephemeral one that has not run has not come to its end.
$s->run('one', 'echo again > /workspace/again');
for my $f ({ id => 'fork4' }, { id => 'fork5', ephemeral => JSON::PP::true }) {
    is($s->api(POST => '/v1/sandbox/one/fork', json => $f)->{status}, 200,
        'a fork') or next;
    rename "$s->{dir}/image.cpio", "$s->{dir}/image.away" or die;
    like(json_encode($s->exec($f->{id}, 'true')), qr/No such/,
        'no image');
    is($s->record($f->{id})->{state}, 'asleep', 'it has what it is of');
    rename "$s->{dir}/image.away", "$s->{dir}/image.cpio" or die;
    ok(wait_for(sub { ($s->exec($f->{id}, 'cat /workspace/again')->{stdout}
        // '') eq 'again' }, 30, 0.5), 'and runs with that');
    is($s->api(DELETE => "/v1/sandbox/$f->{id}")->{status}, 204,
        'destroyed');
}

# ---- what a machine says last

my $last_words = "$dir/console";
sub said { return slurp($last_words) // '' }

like(said(), qr/info: init: ready/, 'what a machine has said is kept');
open(my $console, '>', '/proc/' . Firecracker::vmm($s, 'one') . '/fd/2')
    or die "console: $!";
syswrite($console, "said $_ times\n") for 1 .. 20_000;
syswrite($console, "\e[2Jthe last\n");
syswrite($console, "Out of memory: Killed process 77 (node) total-vm:1kB\n");
close $console;
ok(wait_for(sub { said() =~ /^\?\[2Jthe last$/m }, 60), '... to the last');
cmp_ok(-s $last_words, '<=', 65536, '... however much that is');
like(said(), qr/^said 20000 times$/m, '... not the beginning');
unlike(said(), qr/^said 1 times$/m, '... which is gone');
is((stat $last_words)[2] & 07777, 0600, "... and nobody else's");

# In the midst of a flood of which sandboxd's log has lost the most.
ok(wait_for(sub { $s->record('one')->{oom}{kills} == 1 }, 60),
    'what its kernel has ended is in the record');
is($s->record('one')->{oom}{process}, 'node', '... and what it was');

# ---- ends

kill 'KILL', Firecracker::vmm($s, 'one');
ok($s->state_within('one', 'asleep', 20), 'a VMM that is killed');
is($s->record('one')->{oom}{kills}, 1, '... has lost no more than before');
like($s->record('one')->{reason}, qr/virtual machine was ended by signal 9/,
    '... is the reason');
is($s->run('one', 'echo up'), 'up', 'the next request starts it');
like(said(), qr/the last\n.*init: ready/s, '... and what it said before stays');
is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
spew("$dir/state", 'nonsense');
is($s->run('one', 'echo up'), 'up', 'it starts without a memory that is none');
like(slurp($s->{daemon_log}), qr{snapshot/load}, '... and the log says why');

# ---- faults

$r = $s->api(POST => '/v1/sandbox', json => { id => 'load',
    image => 'load' });
is($s->run('load', 'echo kept > /workspace/kept; echo up'), 'up',
    'one whose memory can\'t be loaded');
is($s->api(POST => '/v1/sandbox/load/sleep')->{status}, 200, 'sleeps');
is($s->run('load', 'echo up'), 'up', 'it boots');
like($s->record('load')->{reason}, qr/^it has booted: the memory that was kept/,
    'which its record says');

$r = $s->api(POST => '/v1/sandbox', json => { id => 'snapshot',
    image => 'snapshot' });
is($s->run('snapshot', 'echo up'), 'up', 'one whose memory can\'t be kept');
my $begun = time;
is($s->api(POST => '/v1/sandbox/snapshot/sleep')->{status}, 200,
    'sleeps');
ok($s->state_within('snapshot', 'asleep', 40), 'all the same');
diag(sprintf 'after %.1f s', time - $begun);
unlike($s->record('snapshot')->{reason}, qr/memory is kept/, 'without it');
like(slurp($s->{daemon_log}), qr{snapshot/create: Cannot create snapshot},
    'and the log says why');
is($s->run('snapshot', 'echo up'), 'up', 'it boots');
is($s->record('snapshot')->{reason}, undef, 'as nobody expects more');

# A request to go on that doesn't come, or whose answer doesn't, is made again:
# a guest that hears that it has another vsock's address cuts its connections.
for my $what (qw(cut lost silent)) {
    $s->api(POST => '/v1/sandbox', json => { id => $what, image => $what });
    is($s->run($what, 'echo kept > /workspace/kept; echo up'), 'up', $what);
    is($s->api(POST => "/v1/sandbox/$what/sleep")->{status}, 200, 'sleeps');
    ok($s->state_within($what, 'asleep', 20), 'asleep');
    is($s->run($what, 'cat /workspace/kept'), 'kept', 'it goes on');
    is($s->record($what)->{reason}, undef, '... as its record has it');
    my $slot = sprintf '%08x', Vm::slot($s, $what);
    unlike(slurp($s->{daemon_log}), qr/slot $slot: it doesn't go on/,
        '... with its memory');
    is($s->api(DELETE => "/v1/sandbox/$what")->{status}, 204, 'destroyed');
}

# A file that the VMM's user can't read: its refusal is the start's.
chmod 0600, "$s->{dir}/image.cpio";
$s->api(POST => '/v1/sandbox', json => { id => 'two' });
$r = $s->exec('two', 'true');
like(json_encode($r), qr/PUT \/drives\/root: Drive: cannot open/,
    'what Firecracker refuses is said');
chmod 0644, "$s->{dir}/image.cpio";
ok(wait_for(sub { ($s->exec('two', 'echo up')->{stdout} // '') eq 'up' },
    20, 0.5), 'and it starts once it can');

# ---- the end

is($s->api(DELETE => "/v1/sandbox/$_")->{status}, 204, "$_ is destroyed")
    for qw(one two load snapshot fork1);
ok(wait_for(sub { !-e $dir }, 30), 'with its files');
$s->stop;

# ---- what it can't be used with

sub refused {
    my ($like, $name, %o) = @_;
    my $d = tmp_dir();
    my ($status, $out, $err) = run_command([build_dir() . '/sandboxd',
        '--state-dir', "$d/state", '--run-dir', "$d/run", '--secret-file',
        "$d/secret", '--agent', Vm::agent(), '--driver', 'firecracker',
        '--kernel', $o{kernel} // Firecracker::kernel($d), '--image',
        "vm=$0", '--firecracker', $o{program}
            // Firecracker::program('firecracker'),
        '--accel', $o{accel} // 'kvm'], timeout => 20,
        env => is_san() ? { ASAN_OPTIONS => 'detect_leaks=0' } : {});

    is($status >> 8, 1, "$name: refused") or diag($out, $err);
    like($err, $like, "$name: says why");
}

# Firecracker and its jailer of these versions.
sub programs {
    my ($firecracker, $jailer) = @_;
    my $d = tmp_dir();

    spew("$d/firecracker", "#!/bin/sh\necho Firecracker v$firecracker\n", 0755);
    spew("$d/jailer", "#!/bin/sh\necho Jailer v$jailer\n", 0755) if $jailer;

    return "$d/firecracker";
}

refused(qr/needs KVM/, 'no KVM', accel => 'auto') if !-e '/dev/kvm';
refused(qr/needs KVM/, 'emulation', accel => 'tcg');
refused(qr/1\.16\.1: at least 1\.16\.2 is needed/, 'an old one',
    program => programs('1.16.1', '1.16.1'));
refused(qr/different versions/, 'a jailer of another version',
    program => programs('1.17.0', '1.16.2'));
refused(qr/jailer can't be run/, 'no jailer', program => programs('1.16.2'));
refused(qr/does-not-exist/, 'no Firecracker', program => '/does-not-exist');

for (['run.sh', 1], ['kvm-suite.sh', 2]) {
    my ($status, $out, $err) = run_command(
        [top_dir() . "/scripts/$_->[0]"], timeout => 20,
        env => { SANDBOX_DRIVER => 'firecracker',
                 SANDBOX_FIRECRACKER => '/does-not/exist' });

    is($status >> 8, $_->[1], "$_->[0] without Firecracker: refused");
    like($err, qr{no /does-not/exist with a jailer beside it}, '... and why');
}

my ($status, $out, $err) = run_command(['make', '-C', top_dir(), 'run'],
    timeout => 60, env => { SANDBOX_DRIVER => 'firecracker',
                            SANDBOX_FIRECRACKER => '/does-not/exist' });
isnt($status, 0, 'make run without Firecracker: refused');
like($err, qr{no /does-not/exist with a jailer beside it}, '... and why');
unlike($out, qr/CC|LINK|MAKE|deps|kernel|image/, '... before it makes anything');

my $old = tmp_dir();
spew(Firecracker::kernel($old) . '/modules/10-a.ko', 'a module');
rmdir "$old/kernel/vsock";
refused(qr/make the kernel's directory anew/, 'an old directory',
    kernel => "$old/kernel");

done_testing();
