#!/usr/bin/perl

# The limits of a virtual machine bite, as seen from inside: processor, memory,
# processes, disk; and a sandbox beside it notices nothing of it.

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

my $s = System->start(driver => 'qemu', daemon_args => ['--starts', 1,
    '--machine-disk-rate', '8M'],
    http_conf => 'sandbox_wake_timeout 60s;');

sub run {
    my ($id, $command) = @_;
    my $r = $s->exec($id, $command, timeout => 120,
        body => { sessionId => '__DISABLE_SESSION__' });

    diag(json_encode($r)) if !defined $r->{stdout};

    return $r;
}

for (['bound', '128M'], ['beside', '320M']) {
    my ($id, $memory) = @$_;
    my $r = $s->api(POST => '/v1/sandbox', json => { id => $id,
        resources => { memory => $memory, disk => '64M', pids => 40,
                       cpu => 0.5 } });

    is($r->{status}, 200, "$id: made") or diag $r->{body};
    is(run($id, 'echo up')->{stdout}, "up\n", "$id: up");
}

my $machine = sub { return $s->api(GET => '/v1/sandbox/bound')->{json} };
my $epoch = $machine->()->{epoch};

# ---- memory

my $r = run('bound', 'head -c 400M /dev/zero | tail | wc -c; echo "${PIPESTATUS[1]}"');
like($r->{stdout}, qr/^137$/m, 'who takes more memory than there is, is ended')
    or diag json_encode($r);
is(run('bound', 'echo alive')->{stdout}, "alive\n", 'the machine lives');
ok(wait_for(sub {
    return $s->api(GET => '/v1/sandbox/bound/stats')->{json}{memory}{oomKills};
}, 20, 0.5), 'which its statistics tell');

# What is free inside is the host's again.
my $current = sub {
    return $s->api(GET => '/v1/sandbox/beside/stats')->{json}{memory}{current};
};

SKIP: {
    skip 'no group for memory here', 1 unless defined $current->();
    run('beside', 'head -c 160M /dev/zero | tail -c 150M >/dev/null');

    my $most = $current->();

    ok(wait_for(sub { $current->() < $most - (80 << 20) }, 60, 0.2),
        sprintf('what was freed is given back (from %d MiB)', $most >> 20))
        or diag $current->() >> 20;
}

# ---- processes

$r = run('bound', 'for i in $(seq 100); do sleep 4 & done 2>&1');
like(($r->{stdout} // '') . ($r->{stderr} // ''),
    qr/Resource temporarily unavailable|Cannot fork/i, 'no more processes')
    or diag json_encode($r);
ok(wait_for(sub {
    my $r = $s->exec('bound', 'echo alive', timeout => 60,
        body => { sessionId => '__DISABLE_SESSION__' });

    return ($r->{stdout} // '') eq "alive\n";
}, 60, 0.5), 'and then some again');

# ---- disk

$r = run('bound', 'head -c 100M /dev/zero >/workspace/big; '
    . 'stat -c %s /workspace/big; df -P /workspace | tail -1');
like(($r->{stderr} // '') . ($r->{stdout} // ''), qr/No space left/,
    'the disk is full');
my ($size) = ($r->{stdout} // '') =~ /^(\d+)$/m;
cmp_ok($size // 0, '<', 64 << 20, 'at less than its size');
cmp_ok($size // 0, '>', 24 << 20, 'but most of it was there');
run('bound', 'rm /workspace/big');

my $written = time();
$r = run('bound', 'dd if=/dev/zero of=/workspace/slow bs=1M count=32 conv=fsync; '
    . 'rm /workspace/slow');
like($r->{stderr} // '', qr/32\+0 records out/, '32 MiB are written');
cmp_ok(time() - $written, '>', 2.5, 'at 8 a second');
is(run('bound', 'head -c 8M /dev/zero >/workspace/next && echo well')->{stdout},
    "well\n", 'what is deleted is free again');

# ---- processor

SKIP: {
    my $usage = sub {
        return $s->api(GET => '/v1/sandbox/bound/stats')->{json}{cpu};
    };
    my $before = $usage->();

    skip 'no group for the processor here', 2 unless defined $before->{usageNs};

    my $begun = time();

    run('bound', 'timeout 6 sh -c "while :; do :; done"');

    my $after = $usage->();
    my $share = ($after->{usageNs} - $before->{usageNs}) / 1e9
        / (time() - $begun);

    cmp_ok($share, '<', 0.65, sprintf('half a processor: %.2f', $share));
    cmp_ok($after->{throttledPeriods}, '>', $before->{throttledPeriods},
        'it wanted more');
}

is($machine->()->{epoch}, $epoch, 'the machine went through all of it');
is(run('beside', 'echo well')->{stdout}, "well\n",
    'the one beside it is well');
$s->api(DELETE => "/v1/sandbox/$_") for 'bound', 'beside';
$s->stop;
done_testing();
