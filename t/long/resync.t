#!/usr/bin/perl

# What is revoked while a zone takes up 100,000 sandboxes is gone when that is
# through, and before; workers go on serving meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Edge;
use Harness;
use Load;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(1200);

my $count = $ENV{RECORDS} || 100_000;
my $e = Edge->new(workers => 2, zone => '64m');
my $d = $e->daemon;
my $status = sub { $e->get("8000-$_[0]-tok.preview.test", '/',
    timeout => 60)->{status} };

$e->agent(1);
$d->fill(from => 100, to => 99 + $count);
$d->fault(sync_delay => 0.02);
$e->start;
ok(wait_for(sub { $e->logged(qr/the zone holds \d{5,} sandboxes/) }, 300, 0.5),
    "the zone holds $count sandboxes");

# In each of three ways that a zone is filled again.
for my $how ('a gap in what sandboxd knows', 'another size', 'another nginx') {
    my @names = map { 100 + int rand $count } 1 .. 60;
    my $holds = () = slurp($e->{error_log}) =~ /the zone holds/g;
    my $l = Load->new;

    $l->client(served => sub {
        return () if $_[0];
        my $got = $status->('box1');

        return $got == 200 ? () : "status $got";
    });
    if ($how =~ /gap/) {
        $d->fault(resync => 1, drop => 1);
    } elsif ($how =~ /size/) {
        $e->{zone} = '72m';
        $e->reload(conf => 1);
    } else {
        $e->stop;
        $e->{no_wait} = 1;
        $e->start;
    }

    # one by one, while pages come
    my @late;
    for my $n (@names) {
        $d->gone(kind => 'exposure', slot => $n, label => "8000-s$n-tok");
        my $seq = $d->stats->{seq};

        wait_for(sub { my $s = $d->stats;
            grep { $_ >= $seq } @{ $s->{acks} }, @{ $s->{caught_up} } }, 60);
        push @late, $n if $status->("s$n") != 404;
        sleep 0.05;
    }
    is("@late", '', "$how: what was revoked is gone once that is acknowledged");
    ok(wait_for(sub { $holds < (() = slurp($e->{error_log})
        =~ /the zone holds/g) }, 300, 0.5), 'then the zone is whole');
    my @back = grep { $status->("s$_") != 404 } @names;
    is("@back", '', 'and nothing has come back');
    my ($n, @bad) = $l->end;
    @bad = grep { !/status 0/ } @bad if $how =~ /another nginx/;
    is(join("\n", @bad), '', "$n requests were served meanwhile");
}

$e->stop;
$e->no_alerts;
done_testing();
