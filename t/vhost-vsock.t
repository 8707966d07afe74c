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

delete $ENV{SANDBOX_DRIVER};
plan skip_all => 'no /dev/vhost-vsock' if !-c '/dev/vhost-vsock';
Vm->plan;
alarm_after(2800);

# Those that were asked for, or all: a machine takes minutes there.
sub part {
    my ($name) = @_;

    return !@ARGV || grep { $_ eq $name } @ARGV;
}

my $s = System->start(driver => 'qemu', timeout => 600,
    daemon_args => ['--qemu-channel', 'vhost-vsock', '--templates',
        part('templates') ? 1 : 0],
    http_conf => 'sandbox_wake_timeout 590s; sandbox_call_timeout 595s;');

# What needs no process inside: under emulation in emulation those take minutes.
sub get {
    return $s->api(GET => "/v1/sandbox/$_[0]/api/file?path=$_[1]")
        ->{body};
}

sub boot {
    return get($_[0], '/proc/sys/kernel/random/boot_id') =~ s/\n\z//r;
}

sub ping {
    return $s->api(GET => "/v1/sandbox/$_[0]/api/ping")->{status};
}

sub create {
    my ($id) = @_;

    return $s->api(POST => '/v1/sandbox', json => { id => $id,
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

# One that does nothing takes a processor of such a machine all the same.
sub sleeps {
    my ($id) = @_;

    is($s->api(POST => "/v1/sandbox/$id/sleep")->{status}, 200, 'sleeps');
    ok($s->state_within($id, 'asleep', 120), 'it is asleep');
    like($s->record($id)->{reason}, qr/its memory is kept/, 'with its memory');
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

if (part('bytes')) {
    my $big = join '', map { chr($_ * 7919 & 255) } 1 .. 300_000;
    ok(directly('one', sub {
        $s->api(PUT => '/v1/sandbox/one/file/workspace/f', body => $big);
        get('one', '/workspace/f') eq $big;
    }), 'a file, in and out');
    my $e = $s->expose('one', 8001);
    is(directly('one', sub { $s->preview($e->{url})->{status} }), 502,
        'a preview: a port where nobody listens');
}

# ---- from a template, which the first start has asked for

if (part('templates')) {
    my %cid = (one => $cid);

    sleeps('one');
    ok(wait_for(sub { slurp($s->{daemon_log})
        =~ /a template of the image "vm" is made/ }, 900, 2),
        'a template is made') or diag(slurp($s->{daemon_log}));

    for (qw(two three)) {
        create($_);
        $begun = time;
        ok(up($_), "$_ starts");
        diag(sprintf 'first answer from a template after %.1f s',
            time - $begun);
        is(directly($_, sub { get($_, '/etc/hostname') }), "$_\n",
            '... and is itself');
        my $slot = sprintf '%08x', Vm::slot($s, $_);
        ok(wait_for(sub { slurp($s->{daemon_log})
            =~ /slot $slot: agent: .*init: goes on/ }, 120, 2), '... goes on');
        unlike(slurp($s->{daemon_log}),
            qr/slot $slot: (?:agent: .*init: ready|it doesn't go on)/,
            '... and has not booted');
        $cid{$_} = cid($_);
        sleeps($_);
    }
    is(scalar(keys %{ { reverse %cid } }), 3, 'each under a cid of its own');
    ok(up('one'), 'the first one wakes');
}

# ---- sandboxd comes back

if (part('restart')) {
    $s->kill_daemon;
    is(ping('one'), 200, 'it lives on its own');
    $s->start_daemon;
    is(directly('one', sub { boot('one') }), $boot,
        'and is taken over, with its cid');
    is(cid('one'), $cid, '... the same');
}

# ---- asleep and awake

if (part('sleep')) {
    sleeps('one');
    $begun = time;
    ok(up('one'), 'it wakes');
    diag(sprintf 'awake after %.1f s', time - $begun);
    is(directly('one', sub { boot('one') }), $boot,
        'the same machine, reached directly');
}

# ---- a second one, of one that runs and of one that sleeps

sub forks {
    my ($id) = @_;

    is($s->api(POST => '/v1/sandbox/one/fork', json => { id => $id })
        ->{status}, 200, "a fork, $id");
    $begun = time;
    ok(up($id), 'which starts');
    diag(sprintf 'forked after %.1f s', time - $begun);
    is(boot($id), $boot, 'goes on with its memory')
        or diag(slurp($s->{daemon_log}));
    is($s->record($id)->{reason}, undef, '... as its record has it');
    isnt(cid($id), $cid, 'under another cid');
    is(directly($id, sub { ping($id) }), 200, 'that it knows of');
}

if (part('forks')) {
    forks('fork');
    is(directly('one', sub { ping('one') }), 200, 'beside the first one');
    is($s->api(DELETE => '/v1/sandbox/fork')->{status}, 204, 'destroyed');
    sleeps('one');
    forks('another');
    is($s->api(DELETE => '/v1/sandbox/another')->{status}, 204, 'destroyed');
}

# ---- killed

if (part('killed')) {
    ok(up('one'), 'it runs');
    kill 'KILL', Vm::qemu($s, 'one');
    ok($s->state_within('one', 'asleep', 60), 'one that is killed');
    like($s->record('one')->{reason}, qr/virtual machine was ended by signal 9/,
        'and why');
    is_deeply([grep { $_ == Vm::slot($s, 'one') } keys %{ Vm::keepers($s) }],
        [], 'nothing runs');
}

# ---- the end

for (map { $_->{id} } @{ $s->api(GET => '/v1/sandbox')->{json}
    {sandboxes} })
{
    is($s->api(DELETE => "/v1/sandbox/$_")->{status}, 204,
        "$_ is destroyed");
}
ok(wait_for(sub { !glob "$s->{state}/machines/*" }, 60), 'with their files');
is_deeply(Vm::keepers($s), {}, 'and processes');
$s->stop;

done_testing();
