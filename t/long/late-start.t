#!/usr/bin/perl

# A start that takes longer than two minutes, as createTimeoutMs allows: whoever
# may wait for so long has its answer, and the start is asked for once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(time);

alarm_after(700);

my $e = Edge->new(http_conf => 'sandbox_wake_timeout 10m;');
my $d = $e->daemon;

$e->agent(1, state => 'asleep');
$e->start;
$d->fault(start_delay => 125, start_run => { 1 => { key => $e->key(1) } });

my $begun = time;
my $r = $e->get('8000-box1-tok.preview.test', '/', timeout => 600);

is($r->{status}, 200, 'a request waits for a start of more than two minutes');
cmp_ok(time - $begun, '>', 124, '... to its end');
is($d->stats->{calls}{start}, 1, '... which is the only one');

$e->stop;
done_testing();
