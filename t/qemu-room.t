#!/usr/bin/perl

# The memory of virtual machines that sleep, or are copied, takes nothing of the
# disk that is kept for records and logs: on a small file system.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Vm;

# The file system is this file's own.
BEGIN {
    delete $ENV{SANDBOX_DRIVER};
    Vm->plan;

    if (!$ENV{SANDBOX_ROOM_INSIDE}) {
        $ENV{SANDBOX_ROOM_INSIDE} = 1;
        exec 'unshare', '-m', '--propagation', 'private', $^X, $0;
    }
}

alarm_after(300);

my %slow = (timeout => 60);
my $small = tmp_dir();
my $s = System->new(driver => 'qemu', workers => 1,
    http_conf => 'sandbox_wake_timeout 60s;');

system('mount', '-t', 'tmpfs', '-o', 'size=300M', 'none', $small) == 0
    or die "mount: $?";
$s->{state} = "$small/state";
$s->start;

sub free_mib {
    my ($available) = `df --output=avail -B 1M '$small'` =~ /(\d+)\s*$/;

    return $available;
}

sub record { return $s->api(GET => '/v1/sandbox/one')->{json} }

sub fall_asleep {
    is($s->api(POST => '/v1/sandbox/one/sleep', %slow)->{status}, 200, 'sleeps');
    ok(wait_for(sub { record()->{state} eq 'asleep' }, 60, 0.1), 'it is asleep');
}

$s->api(POST => '/v1/sandbox', json => { id => 'one',
    resources => { memory => '128M', disk => '64M' } });
is($s->exec('one', 'echo here >/workspace/file; echo up', %slow)->{stdout}, 'up',
    'a machine') or diag slurp($s->{daemon_log});
cmp_ok(free_mib(), '>', 256, 'which may be made');

my $epoch = record()->{epoch};
my $r = $s->api(POST => '/v1/sandbox/one/fork', %slow, json => { id => 'two' });

is_deeply([$r->{status}, $r->{json}{code}], [507, 'insufficient_storage'],
    'no room for a copy of its memory') or diag $r->{body};
unlike($r->{json}{message} // $r->{json}{error} // 'none', qr/free|none/,
    '... nor is it said how much there is');
is($s->exec('one', 'echo on', %slow)->{stdout}, 'on', 'it goes on');
is(record()->{epoch}, $epoch, 'as the same');

fall_asleep();
unlike(record()->{reason}, qr/memory is kept/, 'without its memory');
cmp_ok(free_mib(), '>', 256, 'nothing was taken of what is kept free');
like(slurp($s->{daemon_log}), qr/memory can't be kept: it takes \d+ MiB of disk: only \d+ MiB are free, 256 MiB are kept/,
    'the log tells why');
is($s->exec('one', 'cat /workspace/file', %slow)->{stdout}, 'here',
    'its files are there');

fall_asleep();
$s->kill_daemon;
$s->{daemon_args} = ['--disk-floor', '16M'];
$s->start_daemon;
is($s->exec('one', 'echo up', %slow)->{stdout}, 'up', 'with a lower floor');
fall_asleep();
like(record()->{reason}, qr/memory is kept/, 'with its memory');
cmp_ok(free_mib(), '<', 256, 'which takes its room');

$s->api(DELETE => '/v1/sandbox/one');
$s->stop;
system('umount', $small);
done_testing();
