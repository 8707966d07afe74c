# Records: what may be exposed and created, what the workers hear of it and in
# what order, acknowledgements, pages, and coming back after a pause.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use WorkerClient;

alarm_after(240);

my $d = daemon_start(dir => tmp_dir());
my $w = worker($d);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

sub create { return $w->call('create', options => { @_ }) }
sub expose { my $id = shift; $w->call('expose', sandbox => $id,
    options => { @_ }) }

# ---- create

my $r = create();
like($r->{sandbox}{id}, qr/^[a-z2-7]{26}$/, 'a generated id');
ok($r->{created}, 'created');
is($r->{sandbox}{state}, 'created', 'state');
is($r->{sandbox}{epoch}, 0, 'never started');

$r = create(id => 'demo', env => { SECRET => 'plan', B => '2' },
    labels => { team => 'x' }, sleepAfter => '10m');
is_deeply([sort @{ $r->{sandbox}{env} }], ['B', 'SECRET'],
    'only the names of variables are shown');
unlike(json_encode($r), qr/plan/, 'and no value');
is($r->{sandbox}{options}{sleepAfter}, 600, 'sleepAfter in seconds');
is(scalar @{ $r->{warnings} }, 0, 'which is nothing to be warned of');

$r = create(id => 'demo', env => { B => '2', SECRET => 'plan' },
    labels => { team => 'x' }, sleepAfter => 600);
ok(!$r->{code} && !$r->{created}, 'the same again: the same record');
is(create(id => 'demo')->{status}, 409, 'with other options: 409');
is(create(id => 'DEMO2')->{status}, 400, 'uppercase');
is(create(id => 'DEMO2', normalizeId => $true)->{sandbox}{id}, 'demo2',
    'normalizeId');
is(create(id => $_)->{field}, 'id', "id '$_'") for '', '-a', 'a-', 'a.b',
    'a_b', 'tabcde-x', 'a' x 41 . '1', '../x', "a\0b", "\x{e4}";
is(create(id => 'a' x 128)->{sandbox}{id}, 'a' x 128, "the bridge's ids");
$r = create(id => 'warn', someFuture => 1, exposedPorts => [8080]);
like("@{ $r->{warnings} }", qr/someFuture/, 'an unknown member is named');
is_deeply($r->{sandbox}{options}{exposedPorts}, [8080], 'ports recorded');
is(create(resources => { cpus => 1 })->{status}, 400,
    'an unknown member inside resources is an error');
is(create(network => { outbound => 'on' })->{code}, 'unenforceable',
    'a network policy that nobody enforces');
is(create(image => 'nowhere')->{code}, 'unknown_image', 'unknown image');
is(create(mounts => [{}])->{status}, 501, 'mounts');

# ---- expose

$w->{events} = [];
$r = expose('demo', port => 8000, name => 'web');
like($r->{exposure}{token}, qr/^[a-z2-7]{16}$/, 'a generated token');
is($r->{exposure}{label}, "8000-demo-$r->{exposure}{token}", 'its label');
my $e = $w->{events}[-1]{record};
is($e->{label}, $r->{exposure}{label}, 'the event came before the answer');
my $token = $r->{exposure}{token};

is(expose('demo', port => 8000)->{exposure}{token}, $token,
    'again without a token: the same');
is(expose('demo', port => 8000)->{exposure}{name}, undef,
    'a name that is left out is gone');

$w->{events} = [];
$r = expose('demo', port => 8000, token => 'fresh_token_1');
is($r->{exposure}{label}, '8000-demo-fresh_token_1', 'a new token');
like($r->{warnings}[0], qr/_/, 'the underscore is warned of');
is_deeply([map { $_->{record}{gone} ? "-$_->{record}{label}"
        : "+$_->{record}{label}" } @{ $w->{events} }],
    ["-8000-demo-$token", '+8000-demo-fresh_token_1'],
    'the old label ends before the new one begins');
ok($w->{events}[0]{ack} && !$w->{events}[1]{ack},
    'and only the revocation asks to be acknowledged');
is($w->call('resolve', label => "8000-demo-$token")->{status}, 404,
    'the old label is unknown');
is(@{ $w->call('resolve', label => '8000-demo-fresh_token_1')->{records} },
    2, 'the new one resolves to an exposure and its sandbox');

is(expose('demo', port => 9000, token => 'fresh_token_1')->{status}, 409,
    'a token of another port');
is(expose('demo', port => $_)->{field}, 'port', "port $_")
    for 0, 80, 1023, 3000, 65536, 70000, -1;
is(expose('demo', port => '8000')->{field}, 'port', 'a port as string');
is(expose('demo', port => 8000.5)->{field}, 'port', 'a port with fraction');
is(expose('demo', port => 9000, token => $_)->{field}, 'token',
    "token '$_'") for '', 'short', 'x' x 17, 'UPPERCASE', 'with-hyphen';
is(expose('demo', port => 9000, access => 'privat')->{field}, 'access',
    'another access');
is(expose('demo', port => 9000, access => 'all')->{field}, 'access',
    'an unknown access');
is(expose('nobody', port => 9000)->{status}, 404, 'of no sandbox');
$r = expose('a' x 128, port => 9000);
is($r->{limit}, 41, 'a long id: the room that there is is said');
like($r->{message}, qr/may have 41/, 'in words too');

# A public id that looks like another one with its token can't have its label.
create(id => 'demo-live1234');
is(expose('demo', port => 9100, token => 'live1234')->{exposure}{label},
    '9100-demo-live1234', 'a label');
is(expose('demo-live1234', port => 9100, access => 'public')->{code},
    'label_taken', 'is taken once');

$r = expose('demo', port => 9000, access => 'public');
is($r->{exposure}{label}, '9000-demo', 'public');
is_deeply([map { $_->{port} } @{ $w->call('ports', sandbox => 'demo')
    ->{exposures} }], [8000, 9000, 9100], 'ports, by number');
is_deeply($w->call('unexpose', sandbox => 'demo', port => 9000), {},
    'unexpose');
is_deeply($w->call('unexpose', sandbox => 'demo', port => 9000), {},
    'once more');
is($w->call('resolve', label => '9000-demo')->{status}, 404, 'gone');

# Generations: what changes what was signed for before, and what doesn't.
$r = expose('demo', port => 9000, access => 'public');
my $gen = $r->{exposure}{gen};
ok($gen > 0 && defined $r->{exposure}{slot}, 'a generation and a slot');
is(expose('demo', port => 9000, name => 'x')->{exposure}{gen}, $gen,
    'another name keeps the generation');
@{ $w->{events} } = ();
$r = expose('demo', port => 9000, access => 'private');
is($r->{exposure}{label}, '9000-demo', 'private has the label of public');
isnt($r->{exposure}{gen}, $gen, 'and a generation of its own');
$gen = $r->{exposure}{gen};
ok($w->{events}[0]{ack}, 'which zones have to acknowledge');
is_deeply([@{ $w->{events}[0]{record} }{qw(access gen)}], ['private', $gen],
    'and are told');
is(expose('demo', port => 9000, access => 'private')->{exposure}{gen}, $gen,
    'the same once more changes nothing');
$r = expose('demo', port => 9000, rotate => $true);
isnt($r->{exposure}{gen}, $gen, 'rotate does');
is($r->{exposure}{access}, 'private', 'with the same access');
$r = expose('demo', port => 9100, rotate => $true);
isnt($r->{exposure}{token}, 'live1234', 'a token is rotated');
like($r->{exposure}{token}, qr/^[a-z2-7]{16}$/, 'to a random one');
is(expose('demo', port => 9000, access => 'public', rotate =>
    $true)->{field}, 'rotate', 'nothing to rotate in public');
is_deeply($w->call('unexpose', sandbox => 'demo', port => 9000), {}, 'gone');
isnt(expose('demo', port => 9000, access => 'private')->{exposure}{gen},
    $r->{exposure}{gen}, 'never the same again');
$w->call('unexpose', sandbox => 'demo', port => 9000);

expose('demo', port => 10000 + $_) for 1 .. 62;
is(expose('demo', port => 20000)->{limit}, 64, 'at most 64');

# ---- acknowledgements

my $other = worker($d, ack => 0);
my $same = worker($d, zone => $w->{zone}, ack => 0);
my $t = time;
my $id = $w->ask('unexpose', sandbox => 'demo', port => 10001);

$other->drain(0.5);
ok(!$w->{answers}{$id}, 'no answer while a zone has not acknowledged');
my $ev = $other->{events}[-1];
ok($ev->{ack} && $ev->{record}{gone}, 'it was told');
$other->send({ op => 'ack', seq => $ev->{record}{seq} });
is_deeply($w->answer($id)->{result}, {}, 'then there is one');
ok(time - $t < 2.5, 'without a time-out: one worker speaks for its zone');

$t = time;
is_deeply($w->call('destroy', sandbox => 'demo2'), {},
    'a zone that never acknowledges');
my $waited = time - $t;
ok($waited > 2.5 && $waited < 4.5, sprintf 'holds it up for 3 s (%.1f)',
    $waited);
$other->drain(1);
ok($other->{eof}, 'and loses its connection');
$same->drain(0.2);
ok(!$same->{eof}, 'one whose zone has acknowledged keeps it');

# The worker that was told dies; another one of its zone, which came later,
# speaks for the zone when it has caught up, not before.
my $zone = random_hex(16);
my $told = worker($d, zone => $zone, ack => 0);

$t = time;
$id = $w->ask('unexpose', sandbox => 'demo', port => 10002);
$told->drain(0.2);
my $late = worker($d, zone => $zone, ack => 0);
$told->close;
$w->drain(0.2);
ok(!$w->{answers}{$id}, 'being there is no acknowledgement');
$late->send({ op => 'ack', seq => $late->{hello}{seq} });
$w->drain(0.2);
ok(!$w->{answers}{$id}, 'nor is one for what it was told itself');
$late->send({ op => 'ack', seq => $late->{hello}{seq}, all => $true });
is_deeply($w->answer($id)->{result}, {}, 'having caught up is');
ok(time - $t < 2.5, 'without a time-out');
$late->drain(3);
ok(!$late->{eof}, 'and without losing its connection');
$late->close;
expose('demo', port => 10002);

# ---- destroy, and the id at once again

my $seq_before = $w->{seq};
my $old = $w->call('resolve', sandbox => 'demo')->{records}[0];
$w->{events} = [];
my $destroy = $w->ask('destroy', sandbox => 'demo');
my $again = $w->ask('create', options => { id => 'demo' });
my $twice = $w->ask('destroy', sandbox => 'demo3');
is_deeply($w->answer($destroy)->{result}, {}, 'destroy');
ok($w->answer($again)->{result}{created}, 'its id is free at once');
is_deeply($w->answer($twice)->{result}, {}, 'destroying nothing meanwhile');
my $new = $w->call('resolve', sandbox => 'demo')->{records}[0];
isnt($new->{slot}, $old->{slot}, 'under another slot');
is_deeply($w->call('ports', sandbox => 'demo')->{exposures}, [],
    'without the old exposures');
my @gone = grep { $_->{record}{gone} } @{ $w->{events} };
is($gone[-1]{record}{kind}, 'sandbox', 'the exposures went first');
is(scalar @gone, 64, 'all of them');
my @seqs = map { $_->{record}{seq} } @{ $w->{events} };
is_deeply(\@seqs, [sort { $a <=> $b } @seqs], 'events in order');

# ---- what is newer than

$r = $w->call('sync', from => $seq_before);
is($r->{next}, undef, 'one page');
is(scalar(grep { $_->{gone} } @{ $r->{records} }), 64, 'with tombstones');
is($r->{seq}, $w->{seq}, 'the newest number');
is($w->call('sync', from => 1e9)->{code}, 'resync',
    'a number that was never given');

# ---- 10,000 records, in pages, with a revocation in between

my $n = 3300;
my @ids;
my $begun = time;
for my $i (1 .. $n) {
    push @ids, $w->ask('create', options => { id => "p$i" });
    if (@ids >= 500) { $w->answer($_) for splice @ids }
}
$w->answer($_) for splice @ids;
for my $i (1 .. $n) {
    for my $port (8001, 8002) {
        push @ids, $w->ask('expose', sandbox => "p$i",
            options => { port => $port, access => 'public' });
    }
    if (@ids >= 500) { $w->answer($_) for splice @ids }
}
$w->answer($_) for splice @ids;
note sprintf '%d records made in %.1f s', 3 * $n, time - $begun;

my $fresh = worker($d);
my ($from, $pages, %seen, $most) = (0, 0);
while (1) {
    my $page = $fresh->call('sync', from => $from, full => $true);

    $most = @{ $page->{records} } if !$most || $most < @{ $page->{records} };
    $pages++;
    $seen{ $_->{label} // $_->{id} } = $_ for @{ $page->{records} };
    if ($pages == 3) {
        # p1's exposure was told, p3299's not yet.
        my $a = $w->ask('unexpose', sandbox => 'p1', port => 8001);
        my $b = $w->ask('unexpose', sandbox => "p$n", port => 8001);
        my $c = $w->ask('destroy', sandbox => 'p2');

        $fresh->drain(0.3);
        ok($w->answer($_)->{ok}, 'a revocation during a resync') for $a, $b, $c;
    }
    last unless defined $page->{next};
    $from = $page->{next};
}
# What a worker does with events: the newer number wins.
for my $event (map { $_->{record} } @{ $fresh->{events} }) {
    my $name = $event->{label} // $event->{id};

    $seen{$name} = $event
        if !$seen{$name} || $seen{$name}{seq} < $event->{seq};
}
is($most, 500, 'at most 500 a page');
ok($pages >= 20, "$pages pages");
my %live = map { $_ => 1 } grep { !$seen{$_}{gone} } keys %seen;
my $truth = worker($d)->sync_all;
is_deeply([sort keys %live], [sort map { /^. (.*)/ } keys %$truth],
    'pages and events together give the truth');
ok(!$live{'8001-p1'} && !$live{"8001-p$n"} && !$live{p2}
    && !$live{'8001-p2'}, 'without what was revoked meanwhile');

# ---- the list

my ($cursor, %listed, $calls);
do {
    my $page = $w->call('list', limit => 400,
        $cursor ? (cursor => $cursor) : ());

    $listed{ $_->{id} }++ for @{ $page->{sandboxes} };
    $cursor = $page->{cursor};
    $calls++;
} while ($cursor && $calls < 100);
is(scalar keys %listed, scalar(grep { /^s / } keys %$truth),
    'the list has every sandbox');
is(scalar(grep { $_ != 1 } values %listed), 0, 'once');

# ---- the same after a restart

my $at = $w->{seq};
is(daemon_stop($d), 0, 'an orderly end');
$begun = time;
$d = daemon_start(%$d);
note sprintf 'started again in %.2f s', time - $begun;
$w = worker($d);
is_deeply($w->sync_all, $truth, 'everything is there');
is_deeply($w->sync_all(from => $at), {}, 'a zone that knows all hears nothing');
$r = $w->call('sync', from => $seq_before);
ok((grep { $_->{gone} && $_->{id} && $_->{id} eq 'demo' } @{ $r->{records} }),
    'tombstones too');
my $made = $w->call('create', options => { id => 'later' });
ok($w->{seq} > $at, 'numbers go on above the old ones');
is(daemon_stop($d), 0, 'the end');

done_testing();
