#!/usr/bin/perl

# The zone: filled, kept, resynced; only newer records apply; a lost zone is a
# refilled zone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);
use ZoneMemory;

alarm_after(240);

my $e = Edge->new(workers => 2);
my $d = $e->daemon;
my $h = sub { "8000-$_[0]-tok.preview.test" };
my $status = sub { $e->get($h->($_[0]))->{status} };

# Waits until a name answers with a status, through every worker.
my $becomes = sub {
    my ($id, $want) = @_;

    return ok(wait_for(sub {
        10 == grep { $status->($id) == $want } 1 .. 10;
    }, 10), "$id: $want") || diag($status->($id));
};

$e->agent($_) for 1 .. 3;
$d->fill(from => 100, to => 1399, ports => 2);
$d->fault(page => 500);
$e->start;

# ---- filling --------------------------------------------------------------

my $s = $d->stats;

is(scalar @{ $s->{hellos} }, 2, 'each worker says hello');
is($s->{hellos}[0]{zone}, $s->{hellos}[1]{zone}, 'for one zone');
cmp_ok($s->{calls}{sync}, '>=', 8, 'one of them fills the zone page by page');
cmp_ok($s->{calls}{sync}, '<=', 10, 'and the other does not');
is($status->('box1'), 200, 'what was listed is there');
is($status->('s1399'), 502, 'up to the last page: a start without a key');
is($d->stats->{calls}{resolve}, undef, 'nothing had to be asked');

# ---- events ---------------------------------------------------------------

$e->agent(4);
$becomes->('box4', 200);
$d->gone(kind => 'exposure', slot => 4, label => '8000-box4-tok');
$becomes->('box4', 404);
ok(wait_for(sub { grep { $_ == $d->stats->{seq} } @{ $d->stats->{acks} } }, 3),
    'a removal is acknowledged');
is(scalar(grep { $_ == $d->stats->{seq} } @{ $d->stats->{acks} }), 2,
    'by each worker');

my $seq = $d->stats->{seq};

$d->event({ kind => 'exposure', slot => 4, label => '8000-box4-tok',
            port => 8000, access => 'token', host => 'local',
            seq => $seq - 1 });
sleep 0.1;
is($status->('box4'), 404, 'an older record brings nothing back');

my $starts = $d->stats->{calls}{start} // 0;

$d->event({ kind => 'sandbox', slot => 1, id => 'box1', state => 'asleep',
            epoch => 1, key => 'f' x 32, seq => 1 });
sleep 0.1;
is($status->('box1'), 200, 'an older record changes nothing');
is($d->stats->{calls}{start} // 0, $starts, 'nobody takes it for asleep');

$d->expose(slot => 3, label => '8000-box2-tok', port => 8000);
is(wait_for(sub { $e->get($h->('box2'))->{json}{name} eq 'box3' }, 3), 1,
    'a label can move to another sandbox');
$d->expose(slot => 2, label => '8000-box2-tok', port => 8000);
wait_for(sub { $e->get($h->('box2'))->{json}{name} eq 'box2' }, 3);

$d->gone(kind => 'sandbox', slot => 3, id => 'box3');
$becomes->('box3', 404);

$d->expose(slot => 1, label => 'www.custom.test', port => 8000);
is($e->get('www.custom.test')->{status}, 200, 'a custom host name');
is($e->get('x.www.custom.test')->{status}, 404, 'not what is below it');
$d->expose(slot => 1, label => '8000-priv', port => 8000, access => 'private');
is($e->get('8000-priv.preview.test')->{status}, 404,
    'a private exposure is not public');
is($e->get('8000-box1-tok.preview.test', '/', headers => {})->{status}, 200,
    'nothing else has changed');

# ---- records that are none ------------------------------------------------

$d->event($_) for { kind => 'sandbox' }, { kind => 'x', seq => 1, slot => 1 },
    { kind => 'sandbox', seq => 10**9, slot => 1, id => 'x' x 200,
      state => 'running', epoch => 1, key => 'f' x 32 },
    { kind => 'sandbox', seq => 10**9, slot => 1, id => 'box1',
      state => 'running', epoch => 1, key => 'zz' x 16 },
    { kind => 'sandbox', seq => 10**9, slot => -1, id => 'box1',
      state => 'asleep', epoch => 1 },
    { kind => 'exposure', seq => 10**9, slot => 1, label => '',
      port => 8000, access => 'token', host => 'local' },
    { kind => 'exposure', seq => 10**9, slot => 1, label => 'x',
      port => 70000, access => 'token', host => 'local' },
    { kind => 'exposure', seq => 10**9, slot => 1, label => 'x',
      port => 7000, access => 'any', host => 'local' },
    'text', [], undef;
sleep 0.1;
is($status->('box1'), 200, 'records that are none are not taken');
is($d->stats->{connections}, 2, 'and break nothing');

# ---- sandboxd away and back -----------------------------------------------

$d->stop;
is($status->('box1'), 200, 'without sandboxd, what runs is served');
is($status->('nobody'), 404, 'and the zone knows who is not');

my $t = time();
my $c = http_connect(port => $e->{port});
http_send($c, "GET / HTTP/1.1\r\nHost: " . $h->('s100')
    . "\r\nConnection: close\r\n\r\n");
sleep 0.3;
delete $d->{exposures}{'8000-box2-tok'};
push @{ $d->{tombs} }, { kind => 'exposure', slot => 2, gone => JSON::PP::true(),
    label => '8000-box2-tok', seq => ++$d->{seq} };
$d->serve;
ok(wait_for(sub { $d->stats->{connections} == 2 }, 5), 'workers come back');
is(http_read($c, timeout => 30)->{status}, 502,
    'a request that waited meanwhile is answered')
    or diag(time() - $t);
$becomes->('box2', 404);
ok(wait_for(sub { 2 <= grep { $_ >= $d->{seq} } @{ $d->stats->{caught_up} } },
    3), 'and each of them says when it has caught up');

$d->fault(resync => 1);
$d->stop;
delete $d->{exposures}{'8000-s200-tok'};
$d->{seq} += 5;
$d->{fault} = { resync => 1 };
$d->serve;
$becomes->('s200', 404);
is($status->('box1'), 200, 'a gap in what sandboxd knows: a whole list');
delete $d->{fault};

# ---- another database -----------------------------------------------------

$d->stop;
$d->{incarnation} = 'b' x 32;
$d->{sandboxes} = { 7 => { kind => 'sandbox', slot => 7, id => 'new',
    state => 'running', epoch => 1, key => $e->key(1), seq => 1 },
    1 => { kind => 'sandbox', slot => 1, id => 'box9', state => 'running',
    epoch => 1, key => $e->key(1), seq => 2 } };
$d->{exposures} = { '8000-box9-tok' => { kind => 'exposure', slot => 1,
    label => '8000-box9-tok', port => 8000, access => 'token',
    host => 'local', seq => 3 } };
$d->{tombs} = [];
$d->{seq} = 3;
$d->serve;
$becomes->('box9', 200);
$becomes->('box1', 404);
$becomes->('s300', 404);
$d->event({ kind => 'sandbox', slot => 7, id => 'new', state => 'running',
            epoch => 1, key => $e->key(1), seq => 4 });

# ---- an incomplete zone ---------------------------------------------------

$d->stop;
$d->{incarnation} = 'c' x 32;
$d->{fault} = { sync_delay => 1.5 };
$d->serve;
wait_for(sub { $d->stats->{connections} == 2 }, 5);
is($status->('box9'), 200, 'a name that an incomplete zone misses is asked for');
is($status->('nobody'), 404, 'also one that there is not');
cmp_ok($d->stats->{calls}{resolve}, '>=', 2, 'by a call');
$d->fault(resolve_error => { code => 'busy', status => 503, message => 'no' });
is($status->('nobody2'), 503, 'sandboxd can not say: 503');
$d->fault(resolve_error => undef, resolve_delay => 0.3);
$c = http_connect(port => $e->{port});
http_send($c, "GET / HTTP/1.1\r\nHost: " . $h->('zz') . "\r\n\r\n");
sleep 0.1;
close $c;
$d->fault(resolve_delay => 0, sync_delay => 0);
sleep 1.6;
my $n = $d->stats->{calls}{resolve};
is($status->('nobody'), 404, 'a complete zone');
is($d->stats->{calls}{resolve}, $n, 'asks for nothing');

# ---- what is revoked while a list is on its way ---------------------------

$d->stop;
$d->{incarnation} = 'd' x 32;
$d->{exposures}{'8000-late-tok'} = { kind => 'exposure', slot => 1,
    label => '8000-late-tok', port => 8000, access => 'token',
    host => 'local', seq => ++$d->{seq} };
$d->{fault} = { sync_delay => 1 };
$d->serve;
ok(wait_for(sub { ($d->stats->{calls}{sync} // 0) > ($d->{calls}{sync} // 0) },
    5), 'a list is on its way');
$d->gone(kind => 'exposure', slot => 1, label => '8000-late-tok');
sleep 1.3;
$becomes->('box9', 200);
is($status->('late'), 404, 'a page that is older than a removal loses');
$d->fault(sync_delay => 0);

# ---- the worker that fills the zone is killed -----------------------------

$d->stop;
$d->{incarnation} = 'e' x 32;
$d->{fault} = { sync_delay => 2 };
$d->serve;
wait_for(sub { $d->stats->{connections} == 2 }, 5);
sleep 0.3;
my @fill = (slurp($e->{error_log}) =~ /(\d+)#\d+: .*this worker fills/g);
kill 'KILL', $fill[-1];
$d->fault(sync_delay => 0);
ok(wait_for(sub { (() = slurp($e->{error_log}) =~ /this worker fills/g)
    > @fill }, 8), 'another one fills it');
$becomes->('box9', 200);
$becomes->('nobody', 404);

# ---- reloads and crashes --------------------------------------------------

my $zone = $d->stats->{hellos}[-1]{zone};

$e->reload;
$becomes->('box9', 200);
is($d->stats->{hellos}[-1]{zone}, $zone, 'a reload keeps the zone');

$e->{zone} = '6m';
$e->reload(conf => 1);
$becomes->('box9', 200);
isnt($d->stats->{hellos}[-1]{zone}, $zone,
    'another size is another zone, filled again');

for my $round (1 .. 3) {
    kill 'KILL', $_ for $e->workers;
    ok(wait_for(sub { $status->('box9') == 200 }, 5), "workers killed, $round");
}

# ---- a worker that is killed in the middle of a change --------------------

$zone = $d->stats->{hellos}[-1]{zone};

for my $how ('changed', 'built again') {
SKIP: {
    my ($victim) = $e->workers;
    my $memory = ZoneMemory->open($victim, $e->{zone});
    my $hellos = @{ $d->stats->{hellos} };

    skip 'this zone can not be written', 8 unless $memory;

    $memory->lock($victim);
    ok($memory->half_changed(anew => $how ne 'changed'),
        "$how, but for half of it, under the lock");
    kill 'KILL', $victim;
    $becomes->('box9', 200);
    $becomes->('nobody', 404);
    ok($e->logged(qr/a worker has died while it changed the zone/),
        'is reported');
    ok(wait_for(sub { (() = slurp($e->{error_log})
        =~ /has died while.*?the zone holds/gs) }, 10), 'and the zone filled');
    my $n = $d->stats->{calls}{resolve};
    is($status->('nobody3'), 404, 'it knows who is not');
    is($d->stats->{calls}{resolve}, $n, 'without asking');
    ok(wait_for(sub { @{ $d->stats->{hellos} } > $hellos
        && $d->stats->{connections} == 2 }, 8), 'another worker');
    is($d->stats->{hellos}[-1]{zone}, $zone, 'takes it for the same zone');
}
}

# ---- the same while another one takes up a long list ----------------------

$d->stop;
$d->{incarnation} = 'f' x 32;
$d->{sandboxes}{$_} = { kind => 'sandbox', slot => $_, id => "m$_",
    state => 'asleep', epoch => 1, seq => ++$d->{seq} } for 2000 .. 5999;
$d->{fault} = { sync_delay => 1, page => 10_000 };

my $fills = () = slurp($e->{error_log}) =~ /this worker fills/g;

$d->serve;
ok(wait_for(sub { $d->stats->{connections} == 2
    && $fills < (() = slurp($e->{error_log}) =~ /this worker fills/g) }, 8),
    'a zone is to be filled');

SKIP: {
    my ($filler) = slurp($e->{error_log})
        =~ /.*\]\s(\d+)#\d+: .*this worker fills/s;
    my ($victim) = grep { $_ != $filler } $e->workers;
    my $memory = ZoneMemory->open($victim, $e->{zone});

    skip 'this zone can not be written', 5 unless $memory;

    ok($memory->changes(10) && $memory->lock($victim),
        'the list is being taken up');
    ok($memory->half_changed, 'a change half made, under the lock');
    $d->fault(sync_delay => 0);
    kill 'KILL', $victim;
    $becomes->('box9', 200);
    $becomes->('nobody', 404);
    is($status->('box9'), 200, 'the end of a list is not all of it');
}

# ---- a worker that still hears of the database before this one ------------

ok(wait_for(sub { $d->stats->{connections} == 2 }, 8), 'both are there');
$d->expose(slot => 1, label => '8000-kept-tok', port => 8000);
$becomes->('kept', 200);

my ($late) = $e->workers;
my $old = $d->stats->{seq};

kill 'STOP', $late;
ok(wait_for(sub { (slurp("/proc/$late/stat") // '') =~ /\) T / }, 5),
    'one stands still');
$d->event({ kind => 'exposure', slot => 1, label => '8000-old-tok',
            port => 8000, access => 'token', host => 'local',
            seq => $old + 1000 });
$d->stop;
$d->{incarnation} = '9' x 32;
$d->{sandboxes} = { 1 => $d->{sandboxes}{1} };
$d->{exposures} = { map { $_ => $d->{exposures}{$_} } '8000-box9-tok',
    '8000-kept-tok' };
$_->{seq} = 1 for values %{ $d->{sandboxes} }, values %{ $d->{exposures} };
$d->{seq} = 2;
$d->{tombs} = [];
$fills = () = slurp($e->{error_log}) =~ /the zone holds/g;
$d->serve;
ok(wait_for(sub {
    $fills < (() = slurp($e->{error_log}) =~ /the zone holds/g) }, 8),
    'the other one fills the zone anew');
kill 'CONT', $late;
ok(wait_for(sub { $d->stats->{connections} == 2 }, 8), 'then both go on');
$becomes->('old', 404);
$d->gone(kind => 'exposure', slot => 1, label => '8000-kept-tok');
$becomes->('kept', 404);
$d->expose(slot => 1, label => '8000-fresh-tok', port => 8000);
$becomes->('fresh', 200);

# ---- sides that don't know the secret, and frames that are none -----------

for my $fault ('bad_proof', 'bad_frame') {
    $d->stop;
    $d->{fault} = { $fault => 1 };
    $d->serve;
    sleep 0.4;
    is($status->('box9'), 200, "$fault: what is known is served")
        or diag($e->get($h->('box9'))->{body}, slurp($e->{error_log}));
    is($d->stats->{calls}{sync}, $d->{calls}{sync}, 'nothing is taken from it')
        if $fault eq 'bad_proof';
    $d->fault(bad_proof => 0);
    ok(wait_for(sub { $d->stats->{connections} >= 2 }, 8), 'then it recovers');
}

ok($e->logged(qr/doesn't know the secret/), 'an impostor is reported');

$d->stop;
$d->{fault} = { dribble => 1 };
$d->serve;
wait_for(sub { $d->stats->{connections} == 2 }, 8);
$d->expose(slot => 1, label => '8000-drip-tok', port => 8000);
$becomes->('drip', 200);

$e->stop;
$e->no_alerts(qr/doesn't know the secret|exited on signal 9|was locked by/);

done_testing();
