#!/usr/bin/perl

# Visitors that may not wake a sandbox, or only now and then: what an exposure
# says of it, in the worker, in sandboxd, and through both.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use WorkerClient;

alarm_after(180);

# ---- the worker, beside a sandboxd that would start anything ---------------

my $e = Edge->new;
my $d = $e->daemon;

$e->agent(1, state => 'asleep', ports => []);
$d->expose(slot => 1, port => 8000, label => '8000-box1', access => 'public',
    wake => 'off');
$d->expose(slot => 1, port => 8001, label => '8001-box1', access => 'public');
$d->expose(slot => 1, port => 8002, label => '8002-box1', access => 'public');
$e->start;

sub at { return $e->get("$_[0]-box1.preview.test", '/', @_[1 .. $#_]) }

sub started { return $d->stats->{calls}{start} // 0 }

my $r = at(8000);
is($r->{status}, 410, 'wake off, asleep: 410');
is($r->{json}{code}, 'STALE_PREVIEW_URL', '... the code of sandbox_wake off');
is(started(), 0, '... and nobody is asked to start it');
$d->sandbox(slot => 1, id => 'box1', state => 'starting', epoch => 1);
is(at(8000)->{status}, 410, 'nor does it join a start');
$d->sandbox(slot => 1, id => 'box1', state => 'asleep', epoch => 1);

# Those who may not, in one queue with those who may.
my $limited = { code => 'wake_limited', status => 429, retry_after => 7,
    message => 'not so often', field => 'wakesPerMinute', limit => 1 };

$d->fault(start_delay => 0.3, start_port_error => { 8002 => $limited },
    start_run => { 1 => { key => $e->key(1) } });
my @s = map {
    my $s = http_connect(port => $e->{port});

    http_send($s, "GET / HTTP/1.1\r\nHost: $_-box1.preview.test\r\n"
        . "Connection: close\r\n\r\n");
    $s;
} 8002, 8002, 8001, 8001, 8002;
my @r = map { http_read($_, timeout => 30) } @s;

is(join(' ', map { $_->{status} } @r), '429 429 200 200 429',
    'a refusal is for the visitors of its port alone');
is($r[0]{headers}{'retry-after'}, 7, '... with Retry-After');
is($r[0]{json}{code}, 'wake_limited', '... and its code');
is(started(), 2, '... the others ask once more, together');
is(at(8002)->{status}, 200, 'what runs is visited');
is(at(8000)->{status}, 200, '... also with wake off');
ok(!$e->logged(qr/\[warn\].*box1/), 'a refusal is nothing to be warned of');

$d->sandbox(slot => 1, id => 'box1', state => 'asleep', epoch => 9);
$r = at(8002, headers => { Accept => 'text/html' });
is($r->{status}, 429, 'a browser');
like($r->{body}, qr/<h1>This sandbox is asleep/, '... gets a page');
unlike($r->{body}, qr/http-equiv="refresh"/, '... that wakes nothing later');

# A flood of visitors costs sandboxd one question, until what its answer rested
# on has changed, or the time is over that it named.
my $asked = started();

$r = at(8002);
is($r->{status}, 429, 'a visitor who comes once more');
is_deeply([@{ $r->{json} }{qw(code error field limit)}],
    ['wake_limited', 'not so often', 'wakesPerMinute', 1],
    '... gets the same answer');
like($r->{headers}{'retry-after'}, qr/^[1-7]$/, '... with what is left to wait');
is(join(' ', map { at(8002)->{status} } 1 .. 30), join(' ', (429) x 30),
    'thirty of them');
is(started(), $asked, '... and sandboxd is not asked');

sub asks_again {
    my ($what, $code) = @_;

    $asked = started();
    $code->();
    ok(wait_for(sub { at(8002); started() > $asked }, 20), "asked anew: $what");
    $asked = started();
    at(8002) for 1 .. 5;
    is(started(), $asked, '... once');
}

asks_again('the exposure has changed', sub {
    $d->expose(slot => 1, port => 8002, label => '8002-box1',
        access => 'public');
});
asks_again('the sandbox has changed', sub {
    $d->sandbox(slot => 1, id => 'box1', state => 'asleep', epoch => 9);
});
$d->fault(start_port_error => { 8002 => { %$limited, retry_after => 3 } });
asks_again('for a shorter time', sub {
    $d->sandbox(slot => 1, id => 'box1', state => 'asleep', epoch => 9);
});
asks_again('which is over', sub { sleep 3 });

# The same of one whose starts fail.  Those who have a key always ask.
$d->fault(start_port_error => {}, start_error => { code => 'start_failed',
    status => 503, message => 'it fails', retry_after => 30 });
asks_again('it fails now', sub {
    $d->sandbox(slot => 1, id => 'box1', state => 'asleep', epoch => 9);
});
is(at(8002)->{json}{error}, 'it fails', '... which they are told');
$e->api(GET => '/v1/sandbox/box1/api/ping');
is(started(), $asked + 1, 'the API asks');
$d->fault(start_error => { code => 'sandbox_unreachable', status => 503,
    message => 'elsewhere', retry_after => 30 });
asks_again('it runs elsewhere', sub {
    $d->sandbox(slot => 1, id => 'box1', state => 'unreachable', epoch => 9);
});
is(at(8002)->{json}{code}, 'sandbox_unreachable', '... and is out of reach');
$d->fault(start_error => undef);
$d->sandbox(slot => 1, id => 'box1', state => 'asleep', epoch => 9);

# Changed by an event, both ways.
$d->fault(start_delay => 0, start_port_error => {},
    start_run => { 1 => { key => $e->key(1), epoch => 10 } });
$d->expose(slot => 1, port => 8001, label => '8001-box1', access => 'public',
    wake => 'off');
ok(wait_for(sub { at(8001)->{status} == 410 }, 5), 'off');
$d->expose(slot => 1, port => 8001, label => '8001-box1', access => 'public');
ok(wait_for(sub { at(8001)->{status} == 200 }, 5), '... and on again');

# One that has ended without a word, and is asked for once more.
for my $how ('its exposure', 'the server') {
    my $port = $how eq 'the server' ? 8002 : 8000;

    $d->sandbox(slot => 1, id => 'box1', state => 'running',
        epoch => 20 + $port, key => $e->key(1));
    if ($how eq 'the server') {
        $e->{server_conf} = 'sandbox_wake off;';
        ok($e->reload(conf => 1), 'sandbox_wake off');
        wait_for(sub { $d->stats->{connections} == 1 }, 10);
    }
    unlink $e->{agents}{1}{path};
    $d->fault(start_port_error => { $port => { code => 'STALE_PREVIEW_URL',
        status => 410, message => 'it does not run' } });

    my $before = $d->stats->{calls}{start_wake_off} // 0;

    wait_for(sub { ($r = at($port))->{status} == 410 }, 10);
    is($r->{status}, 410, "gone, and not to be woken, says $how: 410");
    cmp_ok($d->stats->{calls}{start_wake_off} // 0, '>', $before,
        '... as sandboxd was told');
}

# ---- what began in a sandbox that was destroyed since makes no other

sub creates { return $d->stats->{calls}{start_create} // 0 }

$d->fault(start_port_error => {});
$d->sandbox(slot => 1, id => 'box1', state => 'running', epoch => 30_000,
    key => $e->key(1));
my ($before, $makes) = (started(), creates());

ok(wait_for(sub {
    $e->api(GET => '/v1/sandbox/box1/api/ping', timeout => 20);
    started() > $before;
}, 20), 'a run that is out of reach: sandboxd is asked for another');
is(creates(), $makes, '... but for no other sandbox');
$e->api(GET => '/v1/sandbox/fresh/api/ping', timeout => 20);
cmp_ok(creates(), '>', $makes, '... which the first use of a name makes');

$e->stop;
$e->no_alerts;

# ---- the whole ---------------------------------------------------------------

my $s = System->start;

sub state { return $s->api(GET => '/v1/sandbox/app')->{json}{state} }

sub put_to_sleep {
    is($s->api(POST => '/v1/sandbox/app/sleep')->{status}, 200,
        'it is put to sleep');
}

$s->api(POST => '/v1/sandbox', json => { id => 'app' });

my $off = $s->expose('app', 8000, access => 'public', wake => 'off');
my $on = $s->expose('app', 8001, access => 'public');
my $rare = $s->expose('app', 8002, access => 'public', wakesPerMinute => 1,
    name => 'rare');

is($off->{wake}, 'off', 'what was asked for is shown');
is($on->{wake}, 'on', '... as is the default');
is($on->{wakesPerMinute}, 60, '... with its rate');
is($s->api(GET => '/v1/sandbox/app/ports/8002')->{json}{wakesPerMinute}, 1,
    '... by GET');

for (['wake', 'maybe'], ['wake', 1], ['wakesPerMinute', 0],
    ['wakesPerMinute', 6001], ['wakesPerMinute', 'x'])
{
    $r = $s->api(POST => '/v1/sandbox/app/ports', json => { port => 8003,
        $_->[0] => $_->[1] });
    is("$r->{status} $r->{json}{field}", "400 $_->[0]", "$_->[0] $_->[1]");
}

sub visit { return $s->preview($_[0]{url}) }

$r = visit($off);
is($r->{status}, 410, 'what was never started is not woken either');
is(visit($on)->{status}, 502, 'another port wakes it');
is(state(), 'running', '... it runs');
is(visit($off)->{status}, 502, '... for all visitors');

put_to_sleep();
is(visit($off)->{status}, 410, 'asleep again: 410');
is(state(), 'asleep', '... and it sleeps');
is(visit($rare)->{status}, 502, 'one wake a minute');
put_to_sleep();
$r = visit($rare);
is($r->{status}, 429, '... not two');
is($r->{json}{code}, 'wake_limited', '... with a code');
like($r->{headers}{'retry-after'} // '', qr/^(?:[1-9]|[1-5]\d|60)$/,
    '... and when to come again');
is(state(), 'asleep', '... and it sleeps');

# What a change of the token would have to begin anew, it doesn't.
$s->expose('app', 8002, access => 'token', token => 'abcdefgh');
$rare = $s->expose('app', 8002, access => 'public');
is($rare->{wakesPerMinute}, 1, 'another access keeps the rate');
is(visit($rare)->{status}, 429, '... and what was taken of it');
is($s->exec('app', 'echo up')->{stdout}, 'up', 'who has a key wakes it');
is(visit($rare)->{status}, 502, '... and visitors come along');

# PATCH
put_to_sleep();
$r = $s->api(PATCH => '/v1/sandbox/app/ports/8000', json => { wake => 'on' });
is($r->{status}, 200, 'changed');
is($r->{json}{access}, 'public', '... and nothing else');
is(visit($off)->{status}, 502, '... it wakes');
$s->api(PATCH => '/v1/sandbox/app/ports/8002', json => { name => 'r2' });
$r = $s->api(PATCH => '/v1/sandbox/app/ports/8002', json => { wake => 'off' });
is($r->{json}{name}, 'r2', 'PATCH keeps a name');
is($s->api(PATCH => '/v1/sandbox/app/ports/8009', json => {})->{json}{code},
    'port_not_exposed', '... and exposes nothing');

# Workers alone don't decide: what one of them believed a moment ago.
my $secret = slurp($s->{secret});
chomp $secret;
my $w = worker({ sock => "$s->{run}/control.sock", secret => $secret });

sub start { return $w->call('start', sandbox => 'app', @_) }

put_to_sleep();
is(start(trigger => 'preview', port => 8002)->{status}, 410,
    'sandboxd: wake off');
is(start(trigger => 'preview', port => 8001, wake => JSON::PP::false())
    ->{status}, 410, 'sandboxd: whoever asks for no start');
is(start(trigger => 'preview', port => 8009)->{code}, 'port_not_exposed',
    'sandboxd: a port that is gone');
is(state(), 'asleep', 'it sleeps');
ok(start(trigger => 'preview', port => 8001)->{records}, 'sandboxd: on');
ok(start(trigger => 'preview', port => 8002)->{records}, '... it runs');
ok(start(trigger => 'preview', port => 8001, wake => JSON::PP::false())
    ->{records}, '... for them, too');
put_to_sleep();
ok(start()->{records}, 'the API asks for no port');
$w->close;

# After a restart.
put_to_sleep();
$s->kill_daemon;
$s->start_daemon;
ok(wait_for(sub { visit($rare)->{status} == 410 }, 20),
    'a restart of sandboxd keeps wake off');
is($s->api(GET => '/v1/sandbox/app/ports/8002')->{json}{wakesPerMinute}, 1,
    '... and the rate');

$s->stop;
done_testing();
