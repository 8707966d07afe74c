#!/usr/bin/perl

# Agents that don't answer, as if they were stuck: who notices, what requests
# are told and when, what the record says; that one which was only slow is none
# of them, and that one which answers again is taken back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(600);

# A worker keeps connections: with one, requests come over them.
my $s = System->start(workers => 1, timeout => 90);
my %pid;

for my $id (qw(stuck slow kept)) {
    is($s->api(POST => '/v1/sandbox', json => { id => $id,
        sleepAfter => '10m' })->{status}, 200, "a sandbox: $id");
    is($s->run($id, 'echo up'), 'up', 'runs');
    $pid{$id} = $s->sandbox_pid($id);
}
$s->serve('stuck', 8000, 'python3 -m http.server --bind 127.0.0.1 8000');
my $url = $s->expose('stuck', 8000)->{url};
is($s->preview($url)->{status}, 200, 'a preview');

sub begin {
    my ($method, $path, %o) = @_;
    my $c = http_connect(port => $s->{port}, timeout => 90);
    my $body = $o{json} ? json_encode($o{json}) : '';
    my ($host) = ($o{url} || "http://localhost:$s->{port}/") =~ m{//([^/]+)};

    http_send($c, "$method $path HTTP/1.1\r\nHost: $host\r\n"
        . ($o{url} ? '' : "Authorization: Bearer $s->{key}\r\n")
        . "Connection: close\r\nContent-Length: " . length($body)
        . "\r\n\r\n$body");

    return $c;
}

# Status, code and seconds.
sub answer {
    my ($c, $since) = @_;
    my $r = http_read($c, timeout => 90);

    return ("$r->{status} " . ($r->{json}{code} // ''), time - $since, $r);
}

my $command = { json => { command => 'echo done',
    sessionId => '__DISABLE_SESSION__' } };
my $read = '/v1/sandbox/%s/api/process/list';

# ---- nobody answers

sleep 11;       # what was kept of connections is closed by now
my $t = time;
$s->exec('kept', 'echo kept');
kill 'STOP', values %pid;

my $get = begin(GET => sprintf $read, 'stuck');
my $post = begin(POST => '/v1/sandbox/stuck/api/execute', %$command);
my $visit = begin(GET => '/', url => $url);
my $slow = begin(GET => sprintf $read, 'slow');
my $kept = begin(POST => '/v1/sandbox/kept/api/execute', %$command);

sleep 13;
is($s->record($_)->{state}, 'running', "$_: nothing is said too early")
    for qw(stuck slow);
kill 'CONT', $pid{slow};
my ($what, $took, $r) = answer($slow, $t);
is($what, '200 ', 'one that stood still for a while has answered');

($what, $took, $r) = answer($post, $t);
is($what, '502 sandbox_unreachable', 'a command gets no answer');
cmp_ok($took, '>', 19, '... not before 20 s');
cmp_ok($took, '<', 26, '... and soon after') or diag($took);

for my $c ([$get, 'sandbox_unreachable', 'a question'],
           [$visit, 'sandbox_unreachable', 'a visitor'])
{
    ($what, $took, $r) = answer($c->[0], $t);
    is($what, "503 $c->[1]", "$c->[2] is told that nobody is there");
    cmp_ok($took, '<', 37, '... within 30 s') or diag($took);
    like($r->{headers}{'retry-after'} // '', qr/^\d+$/,
        '... and when to try again');
}

my $record = $s->record('stuck');
is($record->{state}, 'unreachable', 'the record says so');
is($record->{reason}, "its agent doesn't answer", '... and why');
is($s->record('slow')->{state}, 'running', 'of the slow one it says nothing');

# One whose agent is reached over a connection that was kept: no line is
# waited for, and still nobody waits for an hour.
($what, $took) = answer($kept, $t);
is($what, '502 sandbox_unreachable', 'a kept connection is given up, too');
cmp_ok($took, '<', 45, '... after a look') or diag($took);
is($s->record('kept')->{state}, 'unreachable', '... that has found nobody');

# ---- and then

$t = time;
($what, $took) = answer(begin(GET => sprintf($read, 'stuck')), $t);
is($what, '503 sandbox_unreachable', 'who comes later is told the same');
cmp_ok($took, '<', 14, '... without the long wait') or diag($took);

my @said = grep { /stuck: its agent/ } split /\n/, slurp($s->{daemon_log});
is(scalar(@said), 1, 'it is logged once') or diag("@said");

my $epoch = $s->record('stuck')->{epoch};
kill 'CONT', $pid{stuck};
ok($s->state_within('stuck', 'running', 45), 'one that answers again runs');
is($s->run('stuck', 'echo back'), 'back', '... is led to');
is($s->preview($url)->{status}, 200, '... by visitors, too');
is($s->record('stuck')->{epoch}, $epoch, '... as the run that it was');
is($s->record('stuck')->{reason}, undef, '... and there is nothing to say');

is($s->api(POST => '/v1/sandbox/kept/sleep')->{status}, 200,
    'one that is stuck for good can be put to sleep');
ok($s->state_within('kept', 'asleep', 30), '... and sleeps');
is($s->run('kept', 'echo anew'), 'anew', '... and starts anew');

# sandboxd that comes back believes what its runs were, and asks again.
kill 'STOP', $pid{slow};
$t = time;
($what) = answer(begin(GET => sprintf($read, 'slow')), $t);
is($what, '503 sandbox_unreachable', 'one more is stuck');
$s->kill_daemon;
$s->start_daemon;
($what) = answer(begin(GET => sprintf($read, 'slow')), $t);
is($what, '503 sandbox_unreachable', '... also after a restart of sandboxd');
is($s->record('slow')->{state}, 'unreachable', '... and to its record');
is($s->api(DELETE => '/v1/sandbox/stuck')->{status}, 204, 'one is destroyed');

# The end of sandboxd comes while it looks.
sleep 2;
$s->stop;
done_testing();
