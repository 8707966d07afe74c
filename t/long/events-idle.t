#!/usr/bin/perl

# Streams of events on which nothing happens: they last, and what is looked at
# now and then for each of them takes no more memory than at first.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::SHA qw(sha256_hex);
use Edge;
use EventStream;
use Harness;
use Test::More;
use Time::HiRes qw(sleep);

alarm_after(300);

# There what was freed is kept for a while.
plan skip_all => 'AddressSanitizer has memory of its own' if is_san();

my $e = Edge->new;
my $key = 'key_' . 'e' x 40;

# Names as long as they may be.
spew("$e->{dir}/keys", sha256_hex($key) . ' ' . 'n' x 64 . ' tenant='
    . 't' x 64 . "\n");
$e->start;

my ($worker) = $e->workers;

sub kilobytes {
    my ($n) = (slurp("/proc/$worker/smaps_rollup") // '')
        =~ /^Private_Dirty:\s+(\d+)/m;

    return $n;
}

my @stream = map {
    EventStream->open(port => $e->{port}, host => $e->{api},
        path => '/v1/events', headers => [['Authorization', "Bearer $key"]])
} 1 .. 64;

is(scalar(grep { $_->{status} == 200 } @stream), 64, 'as many as there may be');
sleep 5;

my $before = kilobytes();

# The key is looked at every two seconds.
sleep 60;

my $more = kilobytes() - $before;

diag("$before kB, and $more more");
cmp_ok($more, '<', 128, 'a minute takes no memory');
is(scalar(grep { $_->until(sub { 0 }, 0.01); $_->{ended} || $_->{eof} }
    @stream), 0, 'and all of them go on');

$e->no_alerts;
$e->stop;
done_testing();
