#!/usr/bin/perl

# Which channel to the agents of QEMU's machines there is by what sandboxd is
# told and what the host has; what can't be had; and a vhost-device-vsock that
# doesn't do what it should.  What a real one does is t/long/vsock-qemu.t's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Vm;

delete $ENV{SANDBOX_DRIVER};
Vm->plan;
alarm_after(180);

my $dir = tmp_dir();

sub program {
    my ($name, $text) = @_;

    spew("$dir/$name", "#!/bin/sh\n$text\n", 0755);

    return "$dir/$name";
}

my $there = program('there', 'exit 3');
my $vhost = -e '/dev/vhost-vsock';

# ---- what there is

for my $case (
    ['tap', 1, []],
    ['tap', 1, ['--vhost-device-vsock', $there]],
    ['tap', 0, ['--keep-memory', 'off', '--vhost-device-vsock', "$dir/none"]],
    ['vhost-user-vsock', 0, ['--keep-memory', 'off', '--vhost-device-vsock',
        $there]],
    ['tap', 0, ['--keep-memory', 'off', '--vhost-device-vsock', $there,
        '--qemu-channel', 'tap']],
    ['vhost-user-vsock', 0, ['--vhost-device-vsock', $there,
        '--qemu-channel', 'vhost-user-vsock']])
{
    my ($channel, $memory, $args) = @$case;
    my $name = join ' ', map { s{.*/}{}r } @$args;

    next if $vhost && $name =~ /^--keep-memory off --vhost-device-vsock/;

    my $s = System->start(driver => 'qemu', daemon_args => $args);
    my $r = $s->api(POST => '/v1/sandbox', json => { id => 'one' });

    is($r->{json}{driver}{channel}, $channel, "$channel with: $name");
    is($r->{json}{driver}{memorySnapshot} ? 1 : 0, $memory,
        $memory ? '... sleep keeps the memory' : '... and not the memory');
    $s->stop;
}

# ---- what can't be had

sub refused {
    my ($like, $name, @args) = @_;
    my $d = tmp_dir();
    my (undef, undef, @vm) = Vm::arguments();
    my ($status, $out, $err) = run_command([build_dir() . '/sandboxd',
        '--state-dir', "$d/state", '--run-dir', "$d/run", '--secret-file',
        "$d/secret", '--agent', Vm::agent(), '--driver', 'qemu', @vm, @args],
        timeout => 20,
        env => is_san() ? { ASAN_OPTIONS => 'detect_leaks=0' } : {});

    is($status >> 8, 1, "$name: refused") or diag($out, $err);
    like($err, $like, "$name: says why");
}

my @user = ('--qemu-channel', 'vhost-user-vsock', '--vhost-device-vsock');

refused(qr{vhost-user-vsock needs \S+/none: No such file}, 'no program', @user,
    "$dir/none");
refused(qr/--keep-memory on: .*vhost-user-vsock can't be kept/,
    'memory that is to be kept', @user, $there, '--keep-memory', 'on');
refused(qr/--templates: .*vhost-user-vsock can't be copied/, 'templates', @user,
    $there, '--templates', 1);
refused(qr{vhost-vsock needs /dev/vhost-vsock: .*module vhost_vsock}, 'no device',
    '--qemu-channel', 'vhost-vsock') if !$vhost;

# ---- programs that aren't vhost-device-vsock

my $s = System->start(driver => 'qemu', daemon_args => [@user, $there]);

sub first {
    my ($id) = @_;

    $s->api(POST => '/v1/sandbox', json => { id => $id });

    return $s->exec($id, 'true', timeout => 60);
}

my $r = first('ends');
like(json_encode($r), qr/start_failed.*vhost-device-vsock ended with status 3/,
    'one that ends at once fails the start');
is_deeply(Vm::keepers($s), {}, '... and nothing runs');

program('there', 'exec sleep 99');
$r = first('mute');
like(json_encode($r), qr/start_failed.*didn't listen within 10 seconds/,
    'so does one that never listens');
is_deeply(Vm::keepers($s), {}, '... and nothing runs');
ok(!(grep { (slurp("/proc/$_/cmdline") // '') eq "sleep\x{0}99\x{0}"
    && ((stat "/proc/$_")[4] // 0) > 0x7effffff }
    map { m{/proc/(\d+)} } glob '/proc/[0-9]*'), '... not the program either');

# A fork of one whose first start has failed, also before there was a disk.
my @disks = map { glob "$_/disk" } glob "$s->{state}/machines/*";
is(scalar @disks, 2, 'disks of machines that never ran');
unlink $disks[0];
for my $id (qw(ends mute)) {
    $r = $s->api(POST => "/v1/sandbox/$id/fork", json => { id => "$id-2" });
    is($r->{status}, 200, "a fork of one that never ran: $id")
        or diag $r->{body};
}

$s->stop;
done_testing();
