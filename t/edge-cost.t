#!/usr/bin/perl

# What a preview request costs beside stock proxy_pass to the same backend with
# the same headers, in instructions: they don't depend on how busy the machine
# is.  (not with the sanitizers)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use EdgeCost;
use Harness;
use Test::More;

alarm_after(900);

plan skip_all => 'needs valgrind'
    unless grep { -x "$_/callgrind_control" } split /:/, $ENV{PATH};

# 48 names, each with its kept connection, which has to be found among them.
# Where things lie in memory makes a point and a half from one start of nginx to
# the next: the least of three counts, if the first is not enough.
my (%i, $more);

for my $start (1 .. 3) {
    my $e = EdgeCost->new;
    $e->{private} = 1;
    my %now = $e->instructions(300, 16, 'stock', 'localhost');
    my $now = $now{localhost} / $now{stock} - 1;

    if (!defined $more || $now < $more) {
        %i = %now;
        $more = $now;
    }
    last if $more <= 0.10;
}

cmp_ok($i{stock}, '>', 10_000, 'stock proxy_pass is measured');
cmp_ok($more, '<=', 0.10, sprintf 'a preview takes %.0f instructions, stock '
    . '%.0f: %+.1f %%', $i{localhost}, $i{stock}, 100 * $more);

# What a private preview's cookie costs: 20 us are 40,000 of them on a slow
# processor, at one instruction per cycle and 2 GHz; half of that, lest the key be
# prepared each time.
cmp_ok($i{private} - $i{token}, '>', 1000, 'a cookie is checked');
cmp_ok($i{private} - $i{token}, '<=', 20_000, sprintf 'which takes %.0f more',
    $i{private} - $i{token});

# ---- memory

# What 20,000 sandboxes with three exposures each may take, tables and all: 192
# bytes and three times 128 for each.  All of them have a place in that.
my $count = 20_000;
my $e = EdgeCost->new;

$e->{zone} = $count * (192 + 3 * 128) / 1024 . 'k';
$e->start($count, 'worker_processes 1;');

my $log = "$e->{dir}/ngx/error.log";
like(slurp($log), qr/holds $count sandboxes and @{[3 * $count]} exposures/,
    "a zone of $e->{zone} holds $count sandboxes with three exposures each");
unlike(slurp($log), qr/ is full/, 'and has room for them');
$e->stop;

# ---- a lookup

# How long it takes is for a machine that does nothing else (docs/benchmarks.md);
# that it can be measured is for every one.
my ($status, $out, $err) = run_command(['sh', top_dir() . '/bench/lookup.sh'],
    env => { LOOKUP_SANDBOXES => 1000, LOOKUP_CHANGES => 60_000 },
    timeout => 300);
is($status, 0, 'bench/lookup.sh runs') or diag $out, $err;
like($out, qr/^60000 changes, [1-9]\d+ exposures, 0 wrong$/m,
    'the zone holds what it should through changes at random');
like($out, qr/ 1000 sandboxes, 3 exposures each: +\d+ ns a lookup$/m,
    'and finds all names');

done_testing();
