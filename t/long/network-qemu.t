#!/usr/bin/perl

# Virtual machines have the same policy for outbound traffic as containers: see
# t/network.t, in whose world of decoys this is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use NetWorld;
use System;
use Vm;

BEGIN {
    Vm->plan;
    NetWorld->enter;
}

alarm_after(400);

my $w = NetWorld->new;
my %slow = (timeout => 60);

$w->hosts("$w->{named} named.example.com\n");

my $s = System->start(driver => 'qemu', workers => 1,
    daemon_args => ['--network-pool', '100.64.9.0/24', '--network-private',
        '10.9.8.0/24', '--network-resolver', $w->{lan}, '--network-refresh', 1],
    http_conf => 'sandbox_wake_timeout 60s;');

my %targets = (public => "$w->{public}/80", other => "$w->{other}/80",
    named => "$w->{named}/80", meta => "$w->{meta}/80",
    private => "$w->{private}/80", lan => "$w->{lan}/80",
    dns => "$w->{lan}/53", host => "$w->{host}/8099",
    gateway => '100.64.9.1/8099', keeper => '10.0.0.1/8099');

sub reached {
    my ($id, %more) = @_;
    my %all = (%targets, %more);
    # What nobody refuses takes its time: some are enough.
    delete @all{qw(other named lan dns gateway keeper)} if $all{few};
    delete $all{few};

    my $cmd = join "\n", map { "(timeout 20 bash -c 'exec 3<>/dev/tcp/$all{$_}"
        . " && echo GET >&3 && read -r line <&3' 2>/dev/null && echo $_) &" }
        sort keys %all;
    my $begun = time;
    my $out = $s->exec($id, "$cmd\nwait", %slow)->{stdout} // '';

    note sprintf '%s: %.1f s', $id, time - $begun;

    return join ' ', sort split ' ', $out;
}

sub create {
    my ($id, $outbound) = @_;

    return $s->api(POST => '/v1/sandbox', %slow, json => { id => $id,
        resources => { memory => '128M' },
        network => { outbound => $outbound } });
}

sub patch {
    return $s->api(PATCH => "/v1/sandbox/$_[0]", %slow,
        json => { network => { outbound => $_[1] } })->{status};
}

create('one', 'on');
is(reached('one'), 'dns named other public', 'on: what is public')
    or diag slurp($s->{daemon_log});
is($s->exec('one', 'cat /etc/resolv.conf', %slow)->{stdout},
    "nameserver $w->{lan}", 'with a resolver');
is($s->exec('one', "exec 3<>/dev/tcp/$w->{public}/80; echo >&3; tail -1 <&3",
    %slow)->{stdout}, "world $w->{host}", 'with the address of this host');

is(patch('one', 'none'), 200, 'changed while it runs');
is(reached('one', few => 1), '', 'none: nothing');
is(patch('one', { allow => ['named.example.com', '10.9.8.7'] }), 200, 'again');
is(reached('one', byname => 'named.example.com/80'), 'byname named private',
    'an allow-list');

# Whether its memory is kept or not.
is($s->api(POST => '/v1/sandbox/one/sleep', %slow)->{status}, 200, 'asleep');
is(`ip -o link | grep sbx`, '', 'no link');
is(reached('one', byname => 'named.example.com/80'), 'byname named private',
    'and awake as before') or diag slurp($s->{daemon_log});

# A second one, which this host and the first don't reach, and -9.
create('two', 'on');
is(reached('two'), 'dns named other public', 'a second one');
my @links = `ip -o link | grep -o 'sbx[0-9a-f]*'`;
is(scalar(@links), 2, 'two links');

my ($two) = `nft list set inet sandboxd on` =~ /(sbx[0-9a-f]{8})/;
my ($address) = `ip route show dev $two` =~ /^(100\.64\.9\.\d+)/m;

ok($address, 'its address');
is(reached('one', two => "$address/5000", byname => 'named.example.com/80'),
    'byname named private', 'a neighbour is not reached');

$s->kill_daemon;
$s->start_daemon;
is(reached('one', byname => 'named.example.com/80'), 'byname named private',
    'taken over after a crash');
$s->stop;
is(`nft list ruleset; ip -o link | grep sbx`, '', 'nothing stays');

$w->end;
done_testing();
