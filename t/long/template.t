#!/usr/bin/perl

# Templates of virtual machines: the second sandbox of a kind doesn't boot, and
# is its own; what is another kind, or another version of it, boots; one that is
# of no use is a boot; their number has a bound, and nothing else of them stays.

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
alarm_after(500);

my $s = System->start(driver => 'qemu', daemon_args => ['--starts', 1,
    '--templates', 2], http_conf => 'sandbox_wake_timeout 60s;', timeout => 60);
my %small = (memory => '128M', disk => '96M');
my $dir = "$s->{state}/templates-qemu";

# How often a machine went on with a memory that there was, since the last look.
# One that is slow is told more than once.
my $looked = 0;
sub went_on {
    my $log = slurp($s->{daemon_log});
    my %seen;

    $seen{"$1 $2"} = 1
        while $log =~ /slot (\w+): agent: .* init: goes on, epoch (\d+)/g;

    my $n = keys %seen;
    my $more = $n - $looked;

    $looked = $n;

    return $more;
}

sub first_command {
    my ($id, %resources) = @_;
    my $r = $s->api(POST => '/v1/sandbox', json => { id => $id,
        env => { TOLD => $id }, resources => \%resources });
    my $begun = time;

    is($r->{status}, 200, $id) or diag(json_encode($r));
    is($s->run($id, 'echo $TOLD; busybox hostname'), "$id\n$id", "$id is itself");

    return time - $begun;
}

sub made {
    my ($n) = @_;

    return wait_for(sub { (grep { !/new$/ } glob "$dir/*") == $n
        && !-e "$s->{state}/machines/ffffffff" }, 60, 0.2);
}

# ---- one kind

my $cold = first_command('one', %small);
ok(made(1), 'a template is made') or diag(slurp($s->{daemon_log}));
is(join(' ', map { m{([^/]+)$} ? $1 : () } glob "$s->{run}/s/*"),
    sprintf('%08x', Vm::slot($s, 'one')), 'by nobody who stays');
my $warm = first_command('two', %small);
first_command('three', %small);
diag(sprintf 'first command after %.1f s, from a template %.1f s', $cold,
    $warm);
is(went_on(), 2, 'the first one has booted, the next ones have not');
my @random = map { $s->run($_, 'head -c 16 /dev/urandom | od -An -tx1') }
    qw(two three);
isnt($random[0], $random[1], 'they have chance of their own');
$s->run('two', 'echo two > /workspace/f; sync');
$s->run('three', 'test -e /workspace/f || echo three > /workspace/f; sync');
is($s->run('three', 'cat /workspace/f'), 'three', 'and a disk');
cmp_ok(abs($s->run('three', 'date +%s') - time), '<', 20, 'and the time');
is($s->run('two', 'echo $HOSTNAME'), 'two', 'the name in its shell, too');
isnt($s->run('two', 'echo $RANDOM$RANDOM$RANDOM'),
    $s->run('three', 'echo $RANDOM$RANDOM$RANDOM'), 'and its chance');
unlike($s->run('two', 'cat /proc/cmdline /proc/1/environ; '
    . 'tr -d "\0" </dev/vda'),
    qr/[0-9a-f]{32}/, 'what runs inside finds no key');

# sleep, wake, and boot, as any other
is($s->api(POST => '/v1/sandbox/two/sleep')->{status}, 200, 'sleeps');
is($s->run('two', 'cat /workspace/f'), 'two', 'wakes');
is(went_on(), 1, 'with its memory');
kill 'KILL', Vm::qemu($s, 'two');
ok(wait_for(sub { $s->record('two')->{state} eq 'asleep' },
    20), 'is killed');
is($s->run('two', 'cat /workspace/f; busybox hostname'), "two\ntwo",
    'and boots from its own disk');
is(went_on(), 0, 'it does');

# ---- another kind

first_command('large', %small, memory => '160M');
ok(made(2), 'another size is another template');
is(went_on(), 0, 'and boots');
first_command('larger', %small, disk => '128M');
sleep 0.5;
ok(made(2), 'there are no more than as many as may be');

# ---- one that is of no use

$s->api(DELETE => "/v1/sandbox/$_") for qw(two large larger);
spew("$_/memory", 'nonsense') for glob "$dir/*";
first_command('again', %small, disk => '128M');
is(went_on(), 0, 'what is broken is a boot');

# ---- sandboxd ends while one is made

spew("$_/end", 'nonsense') for glob "$dir/*";
$s->api(DELETE => '/v1/sandbox/again');
first_command('last', %small);
ok(wait_for(sub { -e "$s->{state}/machines/ffffffff" }, 60, 0.1),
    'one is being made');
$s->kill_daemon;
$s->start_daemon;
ok(!-e "$s->{state}/machines/ffffffff", 'what a killed sandboxd left is gone');
is($s->run('last', 'busybox hostname'), 'last', 'and nothing else');

first_command('more', %small);
ok(wait_for(sub { -e "$s->{state}/machines/ffffffff" }, 60, 0.1),
    'once more');
my $begun = time;
stop_process(delete $s->{daemon}, 'TERM', 30);
cmp_ok(time - $begun, '<', 8, 'sandboxd does not wait for it at its end');
ok(!-e "$s->{state}/machines/ffffffff", 'and leaves nothing');
$s->start_daemon;

$s->api(DELETE => "/v1/sandbox/$_") for qw(one three last more);
ok(wait_for(sub { !glob "$s->{state}/machines/*" }, 60), 'nothing is left')
    or diag(join ' ', glob "$s->{state}/machines/*");

done_testing;
