#!/usr/bin/perl

# Sandboxes that are virtual machines, through the whole system: the same API,
# previews and terminals; a machine that is killed in the middle of a stream, a
# sandboxd that comes back, sleep and wake; what the guest can't reach, and
# that nothing of it stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

delete $ENV{SANDBOX_DRIVER};
plan skip_all => 'with the sanitizers it is a long test'
    if is_san() && !$ENV{SANDBOX_LONG};
Vm->plan;
alarm_after(900);

my $s = System->start(driver => 'qemu', daemon_args => ['--starts', 1],
    http_conf => 'sandbox_wake_timeout 60s;', timeout => 60);
# ---- sizes that no machine can have

for (['memory', '64M', 96 << 20], ['disk', '63M', 64 << 20]) {
    my ($name, $size, $least) = @$_;
    my $r = $s->api(POST => '/v1/sandbox', json => { id => 'small',
        resources => { $name => $size } });

    is_deeply([$r->{status}, @{ $r->{json} }{qw(code field limit)}],
        [422, 'unenforceable', "resources.$name", $least],
        "too little $name is refused at once") or diag $r->{body};
}

# ---- one machine, from outside and inside

my $r = $s->api(POST => '/v1/sandbox', json => { id => 'one',
    env => { TOLD => 'yes' }, resources => { memory => '160M', pids => 60,
    disk => '96M' } });
is($r->{status}, 200, 'a sandbox') or diag(json_encode($r),
    slurp($s->{daemon_log}));
is_deeply({ map { $_ => $r->{json}{driver}{$_} } qw(name kernelIsolation
    memorySnapshot fork accel) }, { name => 'qemu', accel => 'tcg',
    kernelIsolation => JSON::PP::true, memorySnapshot => JSON::PP::true,
    fork => JSON::PP::true },
    'its record says what it is');
is($r->{json}{image}, 'vm', 'and of what image');

my $begun = time;
is($s->run('one', 'echo $TOLD; busybox hostname; cat /etc/hostname; id -u; '
    . 'pwd'), "yes\none\none\n0\n/workspace", 'commands')
    or diag(slurp($s->{daemon_log}));
diag(sprintf 'first command after %.1f s', time - $begun);

# Between what this machine's clock was before and after the other was read.
sub clock_of {
    my $before = time;
    my $inside = $s->run('one', 'date +%s.%N');

    return ($before, $inside, time);
}

my @clock = clock_of();
cmp_ok($clock[2] - $clock[1], '<', 2 + $clock[2] - $clock[0],
    'its clock is right');

my $boot = $s->run('one', 'cat /proc/sys/kernel/random/boot_id');
isnt("$boot\n", slurp('/proc/sys/kernel/random/boot_id'), 'its own kernel');
is($s->api(PUT => '/v1/sandbox/one/file/workspace/f',
    body => 'text')->{status}, 200, 'a file is written');
is($s->api(GET => '/v1/sandbox/one/file/workspace/f')->{body}, 'text',
    'and read');

my $big = join '', map { chr rand 256 } 1 .. 1_000_000;
$s->api(PUT => '/v1/sandbox/one/file/workspace/big', body => $big);
ok($s->api(GET => '/v1/sandbox/one/file/workspace/big')->{body}
    eq $big, 'a large one, both ways');

# ---- an isolated one

my $qemu = Vm::qemu($s, 'one');
my $keeper = Vm::keeper($s, 'one');
ok($qemu && $keeper, 'QEMU and its keeper');
for my $p ([QEMU => $qemu], ['its keeper' => $keeper]) {
    Vm::is_confined(@$p);
    Vm::is_jailed(@$p);
}
like(slurp("/proc/$qemu/status"), qr/^Seccomp:\s+2$/m, 'QEMU is filtered');
like(slurp("/proc/$keeper/net/dev"), qr/^\s*tap0:/m, 'its own TAP');
unlike(slurp('/proc/net/dev'), qr/tap0/, 'which the host has not');
unlike($s->run('one', 'cat /proc/cmdline /proc/1/environ; '
    . 'tr -d "\0" </dev/vda'), qr/[0-9a-f]{32}/,
    'what runs inside finds no key');

my @out = split /\n/, $s->run('one', join ';',
    'for a in 10.0.0.1 127.0.0.1 169.254.169.254 192.168.0.1 8.8.8.8',
    "do busybox nc -w 2 \$a $s->{port} </dev/null >/dev/null 2>&1 "
        . '&& echo open $a || echo closed $a', 'done',
    '(exec 3<>/dev/tcp/10.0.0.2/5000; echo "CONTROL 0" >&3; cat <&3)');
is("@out", 'closed 10.0.0.1 closed 127.0.0.1 closed 169.254.169.254 '
    . 'closed 192.168.0.1 closed 8.8.8.8 ERR key',
    'the guest reaches neither host nor net, nor its agent without the key');

# ---- limits

cmp_ok($s->run('one', 'read name kib unit < /proc/meminfo; echo $kib'), '<',
    160 << 10, 'memory as asked');
like($s->exec('one', 'dd if=/dev/zero of=/workspace/z bs=1M count=150; '
    . 'rm -f /workspace/z')->{stderr} // '', qr/No space left/,
    'a disk as asked');
like($s->run('one', q{busybox sh -c 'for i in $(seq 99); do sleep 9 & done' }
    . '2>&1'), qr/can't fork|Resource temporarily/,
    'as many processes as asked');
ok(wait_for(sub { ($s->exec('one', 'busybox pgrep sleep || echo none')
    ->{stdout} // '') eq 'none' }, 60, 0.5), 'it is well afterwards');
my $stats = $s->api(GET => '/v1/sandbox/one/stats')->{json};
ok(($stats->{disk}{bytes} // 0) > 0 && $stats->{disk}{limit} == 96 << 20,
    'what it uses') or diag(json_encode($stats));

# ---- previews and terminals

$s->run('one', 'mkdir -p /workspace/www; '
    . 'echo served > /workspace/www/index.html');
ok($s->serve('one', 8000, 'busybox httpd -f -p 127.0.0.1:8000 -h '
    . '/workspace/www'), 'a server');
my $e = $s->expose('one', 8000);
is($s->preview($e->{url})->{body}, "served\n", 'its preview');
is($s->preview($s->expose('one', 8001)->{url})->{status}, 502,
    'a port where nobody listens');

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

# ---- what its kernel ends for want of memory

sub oom { return $s->record('one')->{oom} }

# A command that takes all memory, until it is ended for that: on a host with
# other work that is a matter of the guest's time, not of ours.
sub takes_all {
    my ($command) = @_;
    my $r = $s->exec('one', $command, timeout => 200);

    is($r->{exitCode}, 137, "$command is ended") or diag(json_encode($r));
}

# What the kernel itself has said of it, in all runs: "tail", ...
sub killed {
    return slurp(sprintf '%s/machines/%08x/console', $s->{state},
        Vm::slot($s, 'one')) =~ /ut of memory: Killed process \d+ \((.*?)\)/g;
}

# The record has it, once that is promised.
sub told {
    my ($what) = @_;
    my @killed;

    ok(wait_for(sub { @killed = killed(); oom()->{kills} == @killed }, 30),
        $what) or diag(json_encode([oom(), @killed]));
    is(oom()->{process}, $killed[-1], '... the last one, too');

    return @killed;
}

is_deeply(oom(), { kills => 0, at => undef, process => undef },
    'its kernel has ended nothing');
takes_all('tail /dev/zero');
is((told('the record tells what it ends'))[0], 'tail', '... what it was');
my $kills = oom()->{kills};
like(oom()->{at}, qr/^20\d\d-.*Z$/, '... and when');
is($s->record('one')->{state}, 'running', '... while it runs on');
$s->kill_daemon;
takes_all('cp /usr/bin/tail /tmp/greedy; /tmp/greedy /dev/zero');
$s->start_daemon;
is((told('sandboxd has missed nothing'))[$kills], 'greedy',
    '... of what happened while it was away');
$kills = oom()->{kills};
is($s->api(GET => '/v1/sandbox/one/stats')->{json}{memory}{oomKills}, $kills,
    'nor its statistics');

# ---- its clock, which is told how fast the processor counts

my $rest = $clock[0] + 15 - time;
sleep $rest if $rest > 0;
my @later = clock_of();
my $went = $later[1] - $clock[1];
cmp_ok($went, '>', 0.99 * ($later[0] - $clock[2]), 'its clock isn\'t slow');
cmp_ok($went, '<', 1.01 * ($later[2] - $clock[0]), '... nor fast');
like($s->run('one', 'cat /sys/devices/system/clocksource/clocksource0/'
    . 'current_clocksource'), qr/^tsc/, '... and counts no ticks');

# ---- a machine that is killed

$s->run('one', 'echo kept > /workspace/kept; sync');
my $cut = $s->cut_stream('one', sub { kill 'KILL', Vm::qemu($s, 'one') });
ok(defined $cut, 'a stream ends without an exit code when QEMU is killed');
cmp_ok($cut // 99, '<', 20, 'at once');
ok($s->state_within('one', 'asleep', 20), 'the record knows');
like($s->record('one')->{reason}, qr/virtual machine was ended by signal 9/,
    'and why');
is($s->run('one', 'cat /workspace/kept'), 'kept',
    'the next request starts it again, with its files');
isnt($s->run('one', 'cat /proc/sys/kernel/random/boot_id'), $boot, 'afresh');

# ---- sleep and wake, with the memory

$s->run('one', 'export KEPT=here; busybox httpd -p 127.0.0.1:8000 -h '
    . '/workspace/www');
# Whole at any time: on a loaded host it is read between two steps of a write.
$s->run('one', '(i=0; while :; do echo $((i++)) > /tmp/next; '
    . 'busybox mv /tmp/next /tmp/count; '
    . 'busybox sleep 0.1; done) >/dev/null 2>&1 & echo started');
ok(wait_for(sub { $s->run('one', 'cat /tmp/count') ne '' }, 20),
    'something runs');
$boot = $s->run('one', 'cat /proc/sys/kernel/random/boot_id');
my $machine = sprintf '%s/machines/%08x', $s->{state}, Vm::slot($s, 'one');
my $count = $s->run('one', 'cat /tmp/count');

for my $round (1, 2) {
    $begun = time;
    is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200,
        'sleeps');
    ok($s->state_within('one', 'asleep', 30), 'it is asleep');
    diag(sprintf 'asleep after %.1f s', time - $begun);
    like($s->record('one')->{reason}, qr/its memory is kept/,
        'with its memory');
    is_deeply(Vm::keepers($s), {}, 'and no process is left of it');
    $s->api(PATCH => '/v1/sandbox/one',
        json => { env => { TOLD => "r$round" } });
    $begun = time;
    is($s->preview($e->{url})->{body}, "served\n",
        'a preview wakes it, and its server has never ended');
    diag(sprintf 'awake after %.1f s', time - $begun);
    is($s->run('one', 'cat /proc/sys/kernel/random/boot_id'), $boot,
        'the same machine');
    is($s->record('one')->{reason}, undef, 'of which there is nothing to say');
    is($s->run('one', 'echo $KEPT $TOLD'), "here r$round",
        'the same session, told what has changed');
    @clock = clock_of();
    cmp_ok(abs($clock[1] - ($clock[0] + $clock[2]) / 2), '<',
        20 + ($clock[2] - $clock[0]) / 2, 'the clock is right');
    my $now;
    ok(wait_for(sub { ($now = $s->run('one', 'cat /tmp/count')) > $count },
        20), 'what ran goes on') or diag("$now after $count");
    $count = $now;
}

# What sleep has kept is used once: a machine that ends begins anew.
$s->run('one', 'sync');
takes_all('tail /dev/zero');
$s->api(POST => '/v1/sandbox/one/api/process/start',
    json => { command => 'echo c > /proc/sysrq-trigger' });
ok($s->state_within('one', 'asleep', 40), "its kernel's panic ends it");
like($s->record('one')->{reason}, qr/kernel panicked: sysrq/,
    'and is the reason');
my @killed = told('its record has what was ended in all runs');
is($killed[$kills], 'tail', '... that, too');
like($s->record('one')->{reason},
    qr/had ended process \d+ \(\Q$killed[-1]\E\) for want of/,
    '... and its reason what was before');
like(slurp("$machine/console"), qr/Kernel panic - not syncing: sysrq/,
    '... which its console has to the last');
isnt($s->run('one', 'cat /proc/sys/kernel/random/boot_id'), $boot, 'it boots');
is($s->run('one', 'cat /workspace/kept'), 'kept', 'with its files');

# Memory that can't be read is of no use.
is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
spew("$machine/memory", 'nonsense');
is($s->run('one', 'cat /workspace/kept'), 'kept', 'it boots all the same');
my $booted = qr/^it has booted: the memory that was kept couldn't be used$/;
like($s->record('one')->{reason}, $booted, 'which its record says');

# Memory of another machine is of no use.
is($s->api(POST => '/v1/sandbox/one/sleep')->{status}, 200, 'sleeps');
ok(-s "$machine/memory", 'memory');
$s->api(PATCH => '/v1/sandbox/one', json => { resources =>
    { memory => '128M' } });
cmp_ok($s->run('one', 'read name kib unit < /proc/meminfo; echo $kib'), '<',
    128 << 10, 'with less memory it boots');
is($s->run('one', 'cat /workspace/kept'), 'kept', 'with its files, once more');
like($s->record('one')->{reason}, $booted, '... says its record');

# ---- the end

ok(-e "$machine/disk", 'a disk');
is($s->api(DELETE => '/v1/sandbox/one')->{status}, 204, 'destroyed');
ok(wait_for(sub { !-e $machine }, 30), 'with its disk');

$s->stop;

# ---- both kinds on one host

my @args = Vm::arguments();
$s = System->start(timeout => 60, daemon_args => ['--driver', 'oci,qemu',
    @args[2 .. $#args], '--agent', Vm::agent()]);
$r = $s->api(POST => '/v1/sandbox', json => { id => 'container' });
is($r->{json}{driver}{name}, 'oci', 'the first driver is the default');
$r = $s->api(POST => '/v1/sandbox', json => { id => 'machine',
    runtime => 'qemu' });
is($r->{json}{driver}{name}, 'qemu', 'a machine beside containers');
is($r->{json}{image}, 'vm', 'has an image of its own');
$r = $s->api(POST => '/v1/sandbox', json => { id => 'none',
    runtime => 'qemu', image => 'host' });
is($r->{status}, 422, "not a container's");
is($s->run('container', 'cat /proc/version') . "\n", slurp('/proc/version'),
    'one has the kernel of the host');
like($s->run('machine', 'cat /proc/version'), qr/Debian/, 'the other its own');
$s->kill_daemon;
$s->start_daemon;
my %uptime = map { $_ => $s->record($_)->{epoch} } qw(container machine);
$s->run($_, 'true') for qw(container machine);
is_deeply({ map { $_ => $s->record($_)->{epoch} } qw(container machine) },
    \%uptime, 'both live through a kill -9 of sandboxd');
$s->api(DELETE => "/v1/sandbox/$_") for qw(container machine);

$s->stop;
done_testing();
