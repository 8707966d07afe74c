#!/usr/bin/perl

# The two phases of sleep, as a worker sees them: who is idle is told to be
# sleeping first and asked for once more, and each reason to stay awake that
# comes between the two takes it back, the same run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use feature "state";
use Harness;
use Test::More;
use Time::HiRes qw(time);
use WorkerClient;

alarm_after(180);

my $d = daemon_start(dir => tmp_dir());
my $w = worker($d);

my $r = $w->call('start', sandbox => 'box', create => JSON::PP::true,
    trigger => 'control');
my ($record) = grep { $_->{kind} eq 'sandbox' } @{ $r->{records} || [] };
ok($record, 'a sandbox that runs') or BAIL_OUT(json_encode($r));
my ($slot, $epoch) = @$record{qw(slot epoch)};

ok($w->call('update', sandbox => 'box', options => { sleepAfter => '1s' })
    ->{sandbox}, 'which sleeps after a second')
    or diag json_encode($w->call('update', sandbox => 'box',
        options => { sleepAfter => '1s' }));

my ($state, @states) = ('running');

# Answers what is asked of the sandbox until `done` says so: ANSWER(state) is
# [ms since its use, requests in flight], or nothing for no answer.
sub until_done {
    my ($seconds, $answer, $done) = @_;
    my $end = time() + 4 * $seconds;

    @states = ();

    until ($done->()) {
        my $left = $end - time();

        return 0 if $left < 0;
        my $f = $w->frame($left > 0.2 ? 0.2 : $left) or next;

        if (($f->{event} // '') eq 'idle') {
            my @said = $answer->($state);

            $w->send({ op => 'idle', ref => $f->{ref},
                slots => [map { [$_, $epoch, @said] } @{ $f->{slots} }] })
                if @said;
            next;
        }

        my $about = $f->{record} || {};

        if (($about->{kind} // '') eq 'sandbox' && $about->{slot} == $slot) {
            push @states, $state = $about->{state};
            $epoch = $about->{epoch} if $state eq 'running' && $about->{epoch};
        }
        $w->send({ op => 'ack', seq => $about->{seq} }) if $f->{ack};
        $w->{answers}{ $f->{id} } = $f if defined $f->{id};
    }

    return 1;
}

my @idle = (60_000, 0);
my $run = $epoch;
my $back = sub { @states >= 2 && $state eq 'running' };

# ---- what takes it back ------------------------------------------------------


ok(until_done(20, sub { $_[0] eq 'sleeping' ? (60_000, 1) : @idle }, $back),
    'a request in flight takes it back');
is("@states $epoch", "sleeping running $run", 'as the same run');

ok(until_done(20, sub { $_[0] eq 'sleeping' ? (5, 0) : @idle }, $back),
    'so does one that was let through meanwhile');
is("@states $epoch", "sleeping running $run", 'as the same run');

ok(until_done(20, sub { $_[0] eq 'sleeping' ? () : @idle }, $back),
    'so does a worker that says nothing');
is("@states $epoch", "sleeping running $run", 'as the same run');

my $id;
ok(until_done(20, sub {
    return @idle if $_[0] ne 'sleeping';
    $id //= $w->ask('start', sandbox => 'box', trigger => 'control',
        create => JSON::PP::false);
    return;
}, $back), 'so does a start');
is("@states $epoch", "sleeping running $run", 'as the same run');
ok(until_done(10, sub { (5, 0) }, sub { $w->{answers}{$id} }),
    'which is answered');
ok((delete $w->{answers}{$id})->{ok}, 'well');

# ---- and nothing does ---------------------------------------------------------

ok(until_done(20, sub { (5, 0) }, sub {
    state $from = time(); time() - $from > 2.5 }), 'who is used');
is("@states", '', 'is left alone');
ok(until_done(20, sub { @idle }, sub { $state eq 'asleep' }),
    'who is idle in both questions sleeps');
is("@states", 'sleeping asleep', 'in that order');

# ---- started again -------------------------------------------------------------

$r = $w->call('start', sandbox => 'box', trigger => 'control',
    create => JSON::PP::false);
($record) = grep { $_->{kind} eq 'sandbox' } @{ $r->{records} || [] };
cmp_ok($record->{epoch} // 0, '>', $run, 'a start wakes it, as another run');

$w->call('destroy', sandbox => 'box');
is(daemon_stop($d), 0, 'sandboxd ends');
is("@WorkerClient::leaks", '', 'no frame named a directory of the host');
done_testing();
