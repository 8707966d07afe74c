#!/usr/bin/perl

# QEMU's machines reached by the kernel's vsock, where there is
# /dev/vhost-vsock: nginx's workers connect to a machine's cid, sandboxd goes
# through the keeper.  t/long/vhost-vsock.t runs this in a virtual machine.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Vm;

our $TODO;

delete $ENV{SANDBOX_DRIVER};
plan skip_all => 'no /dev/vhost-vsock' if !-c '/dev/vhost-vsock';
Vm->plan;
alarm_after(2800);

my $s = System->start(driver => 'qemu', daemon_args => ['--qemu-channel',
    'vhost-vsock', '--templates', 1], http_conf => 'sandbox_wake_timeout 590s; '
    . 'sandbox_call_timeout 595s;');
my %slow = (timeout => 600);

sub record { return $s->api(GET => "/v1/sandbox/$_[0]", %slow)->{json} }

sub state_within {
    my ($id, $state, $seconds) = @_;

    return wait_for(sub { record($id)->{state} eq $state }, $seconds, 0.5);
}

# What needs no process inside: under emulation in emulation those take minutes.
sub get {
    return $s->api(GET => "/v1/sandbox/$_[0]/api/file?path=$_[1]", %slow)
        ->{body};
}

sub boot {
    return get($_[0], '/proc/sys/kernel/random/boot_id') =~ s/\n\z//r;
}

sub ping {
    return $s->api(GET => "/v1/sandbox/$_[0]/api/ping", %slow)->{status};
}

sub create {
    my ($id) = @_;

    return $s->api(POST => '/v1/sandbox', %slow, json => { id => $id,
        createTimeoutMs => 600000, resources => { memory => '128M',
        disk => '64M' } });
}

# A start takes longer there than a request waits for it.
sub up { my ($id) = @_; return wait_for(sub { ping($id) == 200 }, 1500, 2) }

sub cid {
    my $path = sprintf '%s/machines/%08x/cid', $s->{state},
        Vm::slot($s, $_[0]);

    return -e $path ? slurp($path) + 0 : 0;
}

# With its keeper stopped, what arrives has come over vsock alone.
sub directly {
    my ($id, $sub) = @_;
    my $keeper = Vm::keeper($s, $id);

    kill 'STOP', $keeper;
    my $got = $sub->();
    kill 'CONT', $keeper;

    return $got;
}

# ---- one machine

my $begun = time;
my $r = create('one');
is($r->{json}{driver}{channel}, 'vhost-vsock', 'its record says what it has')
    or diag $r->{body};
ok($r->{json}{driver}{memorySnapshot}, '... sleep with memory too');
ok(up('one'), 'its agent answers') or BAIL_OUT(slurp($s->{daemon_log}));
diag(sprintf 'first answer after %.1f s', time - $begun);
my $boot = boot('one');
like($boot, qr/^[0-9a-f-]{36}$/, 'a kernel of its own');
my $cid = cid('one');
cmp_ok($cid, '>=', 1 << 30, 'it has a cid');
like(join(' ', split /\0/, slurp('/proc/' . Vm::qemu($s, 'one') . '/cmdline')),
    qr/vhost-vsock-device,guest-cid=$cid,/, '... which is the machine\'s');
is(directly('one', sub { ping('one') }), 200, 'nginx reaches it by itself');
like(slurp($s->{daemon_log}), qr/no templates are made with the channel vhost-/,
    'templates are not for this channel, which the log says');

my $big = join '', map { chr($_ * 7919 & 255) } 1 .. 300_000;
ok(directly('one', sub {
    $s->api(PUT => '/v1/sandbox/one/file/workspace/f', %slow, body => $big);
    get('one', '/workspace/f') eq $big;
}), 'a file, in and out');
my $e = $s->expose('one', 8001);
is(directly('one', sub { $s->preview($e->{url}, %slow)->{status} }), 502,
    'a preview: a port where nobody listens');

# ---- sandboxd comes back

$s->kill_daemon;
is(ping('one'), 200, 'it lives on its own');
$s->start_daemon;
is(directly('one', sub { boot('one') }), $boot,
    'and is taken over, with its cid');
is(cid('one'), $cid, '... the same');

# ---- asleep and awake; a second one

is($s->api(POST => '/v1/sandbox/one/sleep', %slow)->{status}, 200, 'sleeps');
ok(state_within('one', 'asleep', 120), 'it is asleep');
like(record('one')->{reason}, qr/its memory is kept/, 'with its memory');
$begun = time;
ok(up('one'), 'it wakes');
diag(sprintf 'awake after %.1f s', time - $begun);
is(directly('one', sub { boot('one') }), $boot,
    'the same machine, reached directly');

is($s->api(POST => '/v1/sandbox/one/fork', %slow, json => { id => 'fork' })
    ->{status}, 200, 'a fork of one that runs');
ok(up('fork'), 'which starts');
TODO: {
    local $TODO = 'with another cid it boots instead';
    is(boot('fork'), $boot, 'goes on with its memory');
}
isnt(cid('fork'), cid('one'), 'under another cid');
is(directly('fork', sub { ping('fork') }), 200, 'that it knows of');
is(directly('one', sub { ping('one') }), 200, 'beside the first one');

# ---- killed

kill 'KILL', Vm::qemu($s, 'fork');
ok(state_within('fork', 'asleep', 60), 'one that is killed');
like(record('fork')->{reason}, qr/virtual machine was ended by signal 9/,
    'and why');
is_deeply([grep { $_ == Vm::slot($s, 'fork') } keys %{ Vm::keepers($s) }], [],
    'nothing runs');

is($s->api(DELETE => "/v1/sandbox/$_", %slow)->{status}, 204, "$_ is destroyed")
    for qw(one fork);
ok(wait_for(sub { !glob "$s->{state}/machines/*" }, 60), 'with their files');
is_deeply(Vm::keepers($s), {}, 'and processes');
$s->stop;

done_testing();
