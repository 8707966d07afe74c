#!/usr/bin/perl

# /v1/events: what happens to sandboxes, to who may know it, without gaps
# across reloads of nginx, and with a word where there is one: restarts of
# sandboxd and clients that are too slow.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use EventStream;
use Harness;
use System;
use Test::More;
use Time::HiRes qw(time);

alarm_after(400);

my $s = System->start;
my $host = "localhost:$s->{port}";

sub stream {
    my ($query, @headers) = @_;

    return EventStream->open(port => $s->{port}, host => $host,
        path => "/v1/events$query",
        headers => [['Authorization', "Bearer $s->{key}"], @headers]);
}

sub state_of {
    my ($id, $state) = @_;

    return sub { $_[0]{event} eq 'sandbox' && $_[0]{json}{id} eq $id
        && $_[0]{json}{state} eq $state };
}

my $e = stream('');
is($e->{status}, 200, 'a stream');
is($e->{headers}{'content-type'}, 'text/event-stream', 'of events');
is($e->{headers}{'cache-control'}, 'no-store', 'that nobody keeps');
is(($e->next || {})->{event}, 'ready', 'it says that it has begun');

my $other = stream('?sandbox=two');
is(($other->next || {})->{event}, 'ready', 'another, of one sandbox');

$s->api(POST => '/v1/sandbox', json => { id => 'one' });
my $event = $e->until(state_of('one', 'created'));
ok($event, 'a creation is told');
like($event->{json}{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    'with the time');
like($event->{id}, qr/^[0-9a-f]{32}$/, 'and an id');
ok(!exists $event->{json}{key}, 'without a secret');
my $created = $event->{id};

$s->exec('one', 'true');
ok($e->until(state_of('one', 'starting')), 'a start');
$event = $e->until(state_of('one', 'running'));
ok($event, 'and that it runs');
is($event->{json}{epoch}, 1, 'for the first time');

$s->api(POST => '/v1/sandbox', json => { id => 'two' });
$event = $other->next;
is($event->{json}{id}, 'two', 'the filter lets its own through alone');

# ---- coming back

my $again = stream('', ['Last-Event-ID', $created]);
is(($again->next || {})->{event}, 'ready', 'back with an id');
ok($again->until(state_of('one', 'running')), 'what was missed is told');
ok($again->until(state_of('two', 'created')), 'in its order');
$again->close;

$again = stream("?since=$created", ['Last-Event-ID', $event->{id}]);
$again->next;
$s->api(DELETE => '/v1/sandbox/two');
$event = $again->next;
is($event->{json}{id}, 'two', 'the header goes before the argument');
ok(state_of('two', 'gone')->($event)
    || $again->until(state_of('two', 'gone')), 'the end is told');
$again->close;

is(stream("?since=$_")->{status}, 400, "no event: '$_'")
    for 'x', '-1', '99999999999999999999999';
for ('999999999', '0' x 32) {
    my $lost = stream("?since=$_");

    is(($lost->next || {})->{event}, 'resync',
        "what was never told is not known: $_");
    $lost->close;
}
is(stream('?sandbox=BAD')->{status}, 400, 'no sandbox');
is($s->api(GET => '/v1/events', no_key => 1)->{status}, 401, 'no key');
is($s->api(POST => '/v1/events')->{status}, 405, 'GET alone');

# ---- a reload

my $last = $e->{id};
my @old = $s->nginx_workers;
kill 'HUP', $s->{nginx};
1 while $e->next(15);
ok($e->{ended}, 'a reload ends the stream properly');
ok(wait_for(sub { !grep { process_alive($_) } @old }, 10),
    'which holds no worker');
$s->api(POST => '/v1/sandbox', json => { id => 'three' });
$e = stream('', ['Last-Event-ID', $e->{id}]);
is(($e->next || {})->{event}, 'ready', 'and the client comes back');
ok($e->until(state_of('three', 'created')),
    'to what happened meanwhile, from another worker');

# ---- a restart of sandboxd

$s->kill_daemon;
$s->start_daemon;
$event = $e->until(sub { $_[0]{event} eq 'resync' }, 40);
ok($event, 'a restart of sandboxd is told on the same stream');
wait_for(sub {
    $s->api(POST => '/v1/sandbox', json => { id => 'four' })->{status} == 200;
}, 20);
ok($e->until(state_of('four', 'created')), 'which goes on');
$e->close;

# What isn't read holds up nobody.
my $stalled = stream('');
$stalled->close;
$s->stop;

# ---- a client that reads nothing

my $edge = Edge->new(workers => 1, socket_options => 'sndbuf=8k');
$edge->start;
my $slow = EventStream->open(port => $edge->{port}, host => $edge->{api},
    path => '/v1/events', rcvbuf => 4096,
    headers => [['Authorization', "Bearer $Edge::KEY"]]);
my $quick = EventStream->open(port => $edge->{port}, host => $edge->{api},
    path => '/v1/events',
    headers => [['Authorization', "Bearer $Edge::KEY"]]);
is($_->next->{event}, 'ready', '(begun)') for $slow, $quick;

my $told = 0;
for (1 .. 8) {
    $edge->daemon->command({ do => 'burst', slot => 1, id => 'many',
        count => 300 });
    my $want = $told + 300;
    $told++ while $told < $want && $quick->next(20);
}
is($told, 2400, 'who reads gets all');

$event = $slow->until(sub { $_[0]{event} eq 'error' }, 60);
is($event->{json}{code}, 'too_slow', "who doesn't is told so");
$slow->next(5);
ok($slow->{ended}, 'at the end of the stream');
cmp_ok(scalar @{ $slow->{all} }, '<', 2400, 'after a part');
my @runs = map { $_->{json}{epoch} } grep { $_->{event} eq 'sandbox' }
    @{ $slow->{all} };
is(scalar(grep { $runs[$_] != $runs[$_ - 1] % 300 + 1 } 1 .. $#runs), 0,
    'which has no gap');
like($event->{id}, qr/^[0-9a-f]{32}$/, 'and whose end it names');

$edge->no_alerts;
$edge->stop;
done_testing();
