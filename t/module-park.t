#!/usr/bin/perl

# Requests that wait for a start, and those that find their sandbox gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(180);

my $e = Edge->new(http_conf => 'sandbox_waiters 40; sandbox_wake_timeout 3s;',
    more_servers => '', location_conf => '');
my $h = sub { "8000-$_[0]-tok.preview.test" };

$e->agent(1, state => 'asleep');
$e->agent(2, state => 'asleep');
$e->agent(3, state => 'asleep');
$e->agent(4);
$e->agent(5);
$e->agent(6, state => 'asleep');
$e->agent(7, state => 'asleep');
$e->agent(8);
$e->start;

my $d = $e->daemon;
my $run = sub {
    $d->fault(start_run => { map { $_ => { key => $e->key($_) } } @_ });
};

# ---- many wait for one start ----------------------------------------------

$d->fault(start_delay => 0.5);
$run->(1);

my $t = time();
my @s = map { http_connect(port => $e->{port}) } 1 .. 30;

http_send($_, 'GET / HTTP/1.1' . "\r\nHost: " . $h->('box1')
    . "\r\nConnection: close\r\n\r\n") for @s;
my @r = map { http_read($_, timeout => 30) } @s;

is(scalar(grep { $_->{status} == 200 } @r), 30, '30 requests wait, all served');
cmp_ok(time() - $t, '>', 0.45, 'after the start');
is($d->stats->{calls}{start}, 1, 'there was one start');
is($e->get($h->('box1'))->{status}, 200, 'and the sandbox runs');
is($d->stats->{calls}{start}, 1, 'without another one');

# ---- a body that is not read while its request waits ----------------------

$run->(2);
my $body = 'x' x 3_000_000;
my $r = $e->get($h->('box2'), '/', method => 'POST', body => $body);

is($r->{json}{size}, 3_000_000, 'a POST waits with its body');

# Held by flow control: neither memory nor disk takes it meanwhile.
$e->agent(10, state => 'asleep');
wait_for(sub { $e->get($h->('box10'), '/', timeout => 0.2); 1 }, 1);
$d->sandbox(slot => 10, id => 'box10', state => 'asleep', epoch => 2);
sleep 0.1;
$d->fault(start_delay => 1.5);
$run->(10);

my $s0 = http_connect(port => $e->{port});
my ($went, $until) = (0, time() + 1);

http_send($s0, 'POST / HTTP/1.1' . "\r\nHost: " . $h->('box10')
    . "\r\nConnection: close\r\nContent-Length: 67108864\r\n\r\n");
$s0->blocking(0);
while (time() < $until) {
    my $n = syswrite $s0, 'x' x 65536;

    if (defined $n) { $went += $n }
    else { sleep 0.02 }
}
cmp_ok($went, '<', 24 << 20,
    "no body is read while its request waits (the kernel holds $went)");
is(join(' ', map { glob "$_/*" } glob "$e->{ngx}/tmp/*"), '',
    'and none is written to a file');
$s0->blocking(1);
while ($went < 67108864) {
    my $n = syswrite $s0, 'x' x 65536, 67108864 - $went < 65536
        ? 67108864 - $went : 65536;

    last unless defined $n;
    $went += $n;
}
is(http_read($s0, timeout => 20)->{json}{size}, 67108864,
    'then all of it goes through');

# ---- bounds ---------------------------------------------------------------

$d->fault(start_delay => 1.5);
$run->(3);
@s = map { http_connect(port => $e->{port}) } 1 .. 45;
http_send($_, "GET / HTTP/1.1\r\nHost: " . $h->('box3')
    . "\r\nConnection: close\r\n\r\n") for @s;
@r = map { http_read($_, timeout => 30) } @s;
is(scalar(grep { $_->{status} == 200 } @r), 40, 'as many wait as may');
my ($full) = grep { $_->{status} != 200 } @r;

is($full->{status}, 503, 'the others get 503');
is($full->{json}{code}, 'too_many_waiting', 'with the reason');
ok($full->{headers}{'retry-after'}, 'and Retry-After');

# ---- clients that leave ---------------------------------------------------

$d->fault(start_delay => 2);
my $s = http_connect(port => $e->{port});

http_send($s, "GET / HTTP/1.1\r\nHost: " . $h->('box6') . "\r\n\r\n");
sleep 0.2;
close $s;
ok(wait_for(sub { slurp("$e->{ngx}/access.log") =~ /^499 8000-box6/m }, 1.5),
    'a client that leaves is noticed while it waits');
sleep 2.2;

# ---- starts that fail -----------------------------------------------------

$d->fault(start_delay => 0, start_error => { code => 'image_missing',
    status => 503, message => 'The image is missing', retry_after => 7 });
$r = $e->get($h->('box7'));
is($r->{status}, 503, 'a start that fails: 503');
like($r->{json}{error}, qr/image is missing/, 'with its reason');
is($r->{headers}{'retry-after'}, 7, 'and Retry-After');
$d->fault(start_error => { code => 'not_found', status => 404,
    message => 'box7 is unknown' });
$r = $e->get($h->('box7'));
is($r->{status}, 404, 'a sandbox that is gone meanwhile: 404');
is($r->{json}{code}, 'INVALID_TOKEN', 'like any unknown name');
$d->fault(start_error => undef, start_delay => 20);
$t = time();
$r = $e->get($h->('box7'));
is($r->{status}, 503, 'a start that takes too long: 503');
cmp_ok(time() - $t, '<', 15, 'when the wait is over');
is($r->{json}{code}, 'sandbox_starting', 'with its code');

# ---- sandboxd is restarted during a long start ----------------------------

# The time without it counts from its end, not from the start's beginning.
$d->sandbox(slot => 7, id => 'box7', state => 'asleep', epoch => 20);
$d->fault(start_error => undef, start_delay => 60);
$e->{http_conf} = 'sandbox_waiters 40; sandbox_wake_timeout 30s;';
$e->reload(conf => 1);
wait_for(sub { $d->stats->{connections} == 1 }, 5);
$s = http_connect(port => $e->{port});
http_send($s, "GET / HTTP/1.1\r\nHost: " . $h->('box7')
    . "\r\nConnection: close\r\n\r\n");
sleep 5.3;
$d->stop;
$d->{fault} = { start_delay => 0.1,
                start_run => { 7 => { key => $e->key(7), epoch => 21 } } };
$d->serve;
is(http_read($s, timeout => 30)->{status}, 200,
    'a start that takes long is asked for again when sandboxd is back');
$d->sandbox(slot => 7, id => 'box7', state => 'asleep', epoch => 22);
$e->{http_conf} = 'sandbox_waiters 40; sandbox_wake_timeout 3s;';
$e->reload(conf => 1);
wait_for(sub { $d->stats->{connections} == 1 }, 5);

# ---- a run that has ended without a word ----------------------------------

$d->fault(start_delay => 0.3);
my $old = $e->{agents}{4};

is($e->get($h->('box4'))->{status}, 200, 'a running sandbox');
$old->stop(unlink => 1);

my $new = FakeAgent->start(dir => $e->{dir}, slot => 4, key => 'f' x 32,
    name => 'box4', later => 1);

# the new run is there when the start is answered
$d->fault(start_run => { 4 => { key => 'f' x 32 } });
$new->listen_now(0.1);
$r = $e->get($h->('box4'));
is($r->{status}, 200, 'its socket is gone: the request waits for another run');
is($r->{json}{name}, 'box4', 'and is served by it');
$r = $e->get($h->('box4'), '/', method => 'POST', body => 'y' x 100_000);
is($r->{json}{size}, 100_000, 'so is a POST');
$new->stop;

# ---- the same with a body, with a client that leaves, without end ---------

$e->{agents}{8}->stop(unlink => 1);
$new = FakeAgent->start(dir => $e->{dir}, slot => 8, key => 'c' x 32,
    name => 'box8', later => 1);

# The start is answered before the agent listens: it is tried until it does.
$d->fault(start_delay => 0.1, start_run => { 8 => { key => 'c' x 32 } });
$new->listen_now(1.5);
$r = $e->get($h->('box8'), '/', method => 'POST', body => $body);
is($r->{json}{size}, 3_000_000, 'a POST whose sandbox has gone is not lost');
$new->stop(unlink => 1);

$d->fault(start_delay => 2);
$s = http_connect(port => $e->{port});
http_send($s, "POST / HTTP/1.1\r\nHost: " . $h->('box8')
    . "\r\nContent-Length: 10\r\n\r\nabc");
sleep 0.3;
close $s;
ok(wait_for(sub { slurp("$e->{ngx}/access.log") =~ /^499 8000-box8/m }, 1.4),
    'a client that leaves meanwhile is noticed');
$d->fault(start_delay => 20);
$t = time();
$r = $e->get($h->('box8'));
is($r->{status}, 503, 'no other run in time: 503');
cmp_ok(time() - $t, '<', 15, 'when the wait is over');
is($r->{json}{code}, 'sandbox_starting', 'with its code');
$d->fault(start_delay => 0.3);

# ---- another run than the zone knows --------------------------------------

$e->{agents}{5}->stop;
$new = FakeAgent->start(dir => $e->{dir}, slot => 5, key => 'e' x 32,
    name => 'box5');
$d->fault(start_run => { 5 => { key => 'e' x 32 } });
$r = $e->get($h->('box5'), '/', headers => { 'X-A' => 'b' });
is($r->{status}, 200, 'ERR key: the request goes once more');
$d->sandbox(slot => 5, id => 'box5', key => 'd' x 32, epoch => 9);
$d->fault(start_run => { 5 => { key => 'e' x 32, epoch => 10 } });
$r = $e->get($h->('box5'), '/', method => 'POST', body => '');
is($r->{status}, 200, 'so does a POST, which has provably done nothing');
$d->sandbox(slot => 5, id => 'box5', key => 'd' x 32, epoch => 11);
$r = $e->get($h->('box5'));
is($r->{status}, 502, 'but not for ever');

# ---- the socket is gone and no start helps --------------------------------

$new->stop(unlink => 1);
$d->fault(start_error => { code => 'no_memory', status => 503,
    message => 'No memory left', retry_after => 4 });
$r = $e->get($h->('box5'));
is($r->{status}, 503, 'no other run: 503');
like($r->{json}{error}, qr/No memory left/, 'with the reason');
$d->fault(start_error => undef, start_delay => 0);
$r = $e->get($h->('box5'));
is($r->{status}, 503, 'started, but not there: 503');
is($r->{json}{code}, 'sandbox_unreachable', 'with its code');

# The agent is late, or never comes: asked for often at first, then less.
my $starts = $d->stats->{calls}{start};
$e->get($h->('box5'));
cmp_ok($d->stats->{calls}{start} - $starts, '<=', 9, 'not asked for without end');
$d->sandbox(slot => 5, id => 'box5', key => $new->{key}, epoch => 12);
$new->listen_now(0.6);
$t = time();
is($e->get($h->('box5'))->{status}, 200, 'an agent that comes late');
cmp_ok(time() - $t, '<', 3, 'is found soon');

# ---- wake off -------------------------------------------------------------

$e->{server_conf} = 'sandbox_wake off;';
$e->reload(conf => 1);
wait_for(sub { $d->stats->{connections} == 1 }, 5);
my $before = $d->stats->{calls}{start};
$r = wait_for(sub { my $g = $e->get($h->('box7')); $g->{status} == 410 && $g },
    5);
is($r->{json}{code}, 'STALE_PREVIEW_URL', 'sandbox_wake off: 410');
is($d->stats->{calls}{start}, $before, 'and no start');

$e->stop;
$e->no_alerts;

# ---- few at a time after a start; a bound over all sandboxes ---------------

my $f = Edge->new(http_conf => 'sandbox_waiters 200; sandbox_waiters_total 150;');

$f->agent($_, state => 'asleep', ports => [9012]) for 1 .. 3;
$f->start;

sub crowd {
    my ($slot, $n) = @_;

    return map {
        my $c = http_connect(port => $f->{port});

        http_send($c, "GET / HTTP/1.1\r\nHost: 9012-box$slot-tok.preview.test"
            . "\r\nConnection: close\r\n\r\n");
        $c;
    } 1 .. $n;
}

# The agent takes 0.3 s to say that the first ones are there.  A machine that
# is busy with other things may blur that; not three times.
my ($at_once, $late) = (0, 0);

for my $slot (1 .. 3) {
    spew("$f->{ngx}/access.log", '') if !-e "$f->{ngx}/access.log";
    $f->daemon->fault(start_delay => 1,
        start_run => { $slot => { key => $f->key($slot) } });
    my @crowd = crowd($slot, 100);

    is(scalar(grep { http_read($_, timeout => 30)->{status} == 200 } @crowd),
        100, '100 requests wait for one start');
    my @wait = sort { $a <=> $b }
        (slurp("$f->{ngx}/access.log") =~ /box$slot (?:\d+) ([\d.]+) /g);

    $late = grep { $_ > $wait[0] + 0.15 } @wait;
    last if $late >= 36 && $late < 50;
}
ok($late >= 36, "64 of them go at once, the others after them ($late)");

$f->daemon->sandbox(slot => $_, id => "box$_", state => 'asleep', epoch => 9)
    for 1 .. 3;
sleep 0.2;
$f->daemon->fault(start_delay => 2, start_run => { map { $_ =>
    { key => $f->key($_), epoch => 10 } } 1 .. 3 });
my @all = map { crowd($_, 60) } 1 .. 3;
my %all;
$all{ http_read($_, timeout => 30)->{status} }++ for @all;
is_deeply(\%all, { 200 => 150, 503 => 30 },
    'sandbox_waiters_total is for all sandboxes of a worker')
    or diag(json_encode(\%all));

$f->stop;
$f->no_alerts;
done_testing();
