#!/usr/bin/perl

# A virtual machine that asks for its host in many names is still one neighbour:
# the kernel has a table of them for all network namespaces together, which must
# not be one machine's to fill.

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
alarm_after(200);

my %slow = (timeout => 60);
my $s = System->start(driver => 'qemu', workers => 1,
    http_conf => 'sandbox_wake_timeout 60s;');

sub run { return $s->exec('one', $_[0], %slow)->{stdout} // '' }

$s->api(POST => '/v1/sandbox', json => { id => 'one',
    resources => { memory => '128M', disk => '64M' } });
is(run('echo up'), 'up', 'a machine') or diag slurp($s->{daemon_log});

my $keeper = Vm::keeper($s, 'one');

sub neighbours {
    my (undef, $out) = run_command(['nsenter', '-t', $keeper, '-n', 'ip',
        '-o', 'neigh']);

    return $out;
}

sub ask_as {
    return run("busybox ip addr add $_[0]/32 dev eth0 2>/dev/null;"
        . " busybox arping -I eth0 -c 1 -w 1 -s $_[0] 10.0.0.1"
        . ' | busybox grep -c "^Unicast reply"');
}

is(ask_as('10.0.0.2'), '1', 'its host answers the name that it has');
is(ask_as($_), '0', "but not $_") for '10.7.0.1', '203.0.113.9', '127.0.0.2';
unlike(neighbours(), qr/^(?!10\.0\.0\.2 )/m, 'and has one neighbour')
    or diag neighbours();
is(run('echo on'), 'on', 'with which it goes on');

$s->api(DELETE => '/v1/sandbox/one');
$s->stop;
done_testing();
