#!/usr/bin/perl

# The warm pool where each sandbox has a disk of its own: that what was prepared
# has one, which becomes the sandbox's, of the size that it is to have in the
# end; and that the pool has no more of them than is left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use WorkerClient;

BEGIN { delete $ENV{SANDBOX_DRIVER} }

alarm_after(300);

my $MIB = 1 << 20;
my $s = System->new(daemon_args => ['--disk-limit', '48M']);

sub stats { return $s->api(GET => '/v1/pool/stats')->{json}{images}{host} }

sub warm {
    my ($n, $name) = @_;

    ok(wait_for(sub { (stats()->{warm} // -1) == $n
        && !stats()->{preparing} }, 60, 0.05), $name)
        or diag json_encode(stats()), slurp($s->{daemon_log});
}

sub create {
    my ($id, $disk) = @_;

    return $s->api(POST => '/v1/sandbox', json => { id => $id,
        defined $disk ? (resources => { disk => $disk }) : () });
}

sub patch {
    my ($id, $disk) = @_;

    return $s->api(PATCH => "/v1/sandbox/$id",
        json => { resources => { disk => $disk } })->{status};
}

sub destroy { $s->api(DELETE => "/v1/sandbox/$_") for @_ }

# Its name, everywhere, and the MiB of the file system that it writes to.
sub inside {
    my ($id) = @_;
    my $r = $s->exec($id, 'hostname; cat /etc/hostname; grep -c "\s$HOSTNAME\$" '
        . '/etc/hosts; df -P -B 1M / | tail -1');
    my @line = split /\n/, $r->{stdout} // json_encode($r);
    my ($size) = ($line[3] // '') =~ /^\S+ +(\d+)/;

    return ("@line[0 .. 2]", $size // 0);
}

sub is_inside {
    my ($id, $mib, $name) = @_;
    my ($names, $size) = inside($id);

    is($names, "$id $id 1", "$name: it has its name");
    cmp_ok($size, '<=', $mib, "... and a disk of $mib MiB");
    cmp_ok($size, '>', $mib / 2, '... that has them');
}

# Those with a disk that is nobody's yet.
sub unused { return map { m{/([0-9a-f]{8})/unused} }
    glob "$s->{state}/sandboxes/????????/unused" }

sub asked {
    my ($op) = @_;
    my $w = worker({ sock => "$s->{run}/control.sock",
        secret => slurp($s->{secret}) =~ s/\n\z//r }) or die 'no worker';
    my $r = $op->($w);

    $w->close;

    return $r;
}

sub promised {
    return asked(sub { $_[0]->call('metrics')->{disk}{promised} }) / $MIB;
}

# Ends what was prepared for a sandbox that was not started yet.
sub die_prepared {
    my ($id) = @_;
    my $slot = asked(sub { $_[0]->sync_all->{"s $id"}{slot} });
    my ($pid) = (slurp(sprintf '%s/sandboxes/%08x/lock', $s->{state}, $slot)
        // '') =~ /^(\d+)/;

    kill 'KILL', $pid if $pid;
    ok(wait_for(sub { stats()->{reserved} == 0 }, 20), "$id: what was "
        . 'prepared for it dies');
}

sub again {
    my (@args) = @_;

    $s->kill_daemon;
    $s->{daemon_args} = \@args;
    $s->start_daemon;
    ok(wait_for(sub { $s->api(GET => '/v1/sandbox')->{status} == 200 }, 20),
        "with @args");
}

$s->start;

if (create('probe', '16M')->{status} != 200) {
    $s->stop;
    plan(skip_all => 'no bounded disks on this host');
}

destroy('probe');

# ---- one that is taken

again('--disk-limit', '48M', '--pool', 2, '--pool-interval', 300);
warm(2, 'the pool is filled');
is(scalar(unused()), 2, 'each has a disk that is nobody\'s');
create('one');
is(stats()->{reserved}, 1, 'a sandbox has one');
is_inside('one', 48, 'it starts');
is(stats()->{hits}, 1, 'as what was prepared');
my $full = $s->exec('one', 'head -c 60M /dev/zero > /workspace/f; stat -c %s '
    . '/workspace/f; echo kept > /etc/kept')->{stdout};
cmp_ok($full, '<', 48 * $MIB, 'it can\'t write more');
$s->exec('one', 'rm /workspace/f; echo kept > /workspace/kept');
$s->api(POST => '/v1/sandbox/one/sleep', timeout => 30);
is($s->exec('one', 'cat /workspace/kept; hostname; grep -c "\sone$" /etc/hosts')
    ->{stdout}, "kept\none\n1", 'asleep and awake, it is as it was');

# ---- one that is to have another disk after all

warm(2, 'filled again');
create('other');
is(patch('other', '32M'), 200, 'another disk');
is_inside('other', 32, 'it starts');
warm(2, 'filled again');
create('dead');
die_prepared('dead');
is_inside('dead', 48, 'its sandbox starts from the beginning');
warm(2, 'filled again');
create('both');
die_prepared('both');
patch('both', '24M');
is_inside('both', 24, 'one that dies, and is to be another');

# ---- sandboxd killed

warm(2, 'filled again');
create('between');
again('--disk-limit', '48M', '--pool', 2, '--pool-interval', 300,
    '--disk-budget', '400M');
is_inside('between', 48, 'what a killed sandboxd had prepared');
is(promised(), 48 + 32 + 48 + 24 + 48, 'all of them count');
destroy(qw(one other dead both between));
ok(wait_for(sub { promised() == 0 }, 20, 0.1), 'until they are gone');

# ---- no more than may be

again('--disk-limit', '48M', '--pool', 2, '--pool-interval', 300,
    '--disk-budget', '160M');
warm(2, 'two are prepared');
is(promised(), 0, 'which nobody was promised');
create('a');
is(promised(), 48, 'one that takes what was prepared has its disk');
warm(2, 'there is room for another one');
create('b', '40M');
is(promised(), 88, 'one with a disk of its own size');
warm(1, 'takes the room of one that waits');
create('c');
is(promised(), 136, 'the last one that waits');
warm(0, 'is not made anew');
ok(wait_for(sub { slurp($s->{daemon_log}) =~ /pool: no more sandboxes of the image "host" for now: its 48 MiB of disk are not left of the 160 MiB/ }, 20),
    'the log tells why');
my $r = create('d');
is_deeply([$r->{status}, @{ $r->{json} }{qw(code field limit)},
    $r->{headers}{'retry-after'}], [507, 'insufficient_storage',
    'resources.disk', 160 * $MIB, 5], 'what is too much is refused')
    or diag $r->{body};
is(create('e', '24M')->{status}, 200, 'the rest may be had');
is_inside('a', 48, 'those that there are start');
destroy(qw(a b c e));
warm(2, 'the pool is filled when they are gone');
is(promised(), 0, 'nothing is promised');

# ---- containers without a disk of their own, one of which is to have one

again('--pool', 1, '--pool-interval', 300);
warm(1, 'one without a disk');
create('bounded');
is(patch('bounded', '32M'), 200, 'one that took it is to have a disk');
is_inside('bounded', 32, 'it starts');

$s->stop;
done_testing();
