#!/usr/bin/perl

# A terminal through the whole system: a WebSocket client, nginx, a sandbox;
# the client that disappears, another that goes on, and a reload in between.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $s = System->start;
my $mark = 0;

sub attach { return $s->terminal('demo', @_) }

sub types {
    my ($w, $command) = @_;

    $mark++;
    $w->send_binary("$command; echo '<'MARK$mark'>'\n");

    return $w->until_like(qr/<MARK$mark>\r\n/);
}

is($s->api(POST => '/v1/sandbox', json => { id => 'demo' })->{status}, 200,
   'a sandbox');

for my $path ('/pty?session=t', '/ws/pty?sessionId=t') {
    my $w = attach($path, no_key => 1);
    is($w->{response}{status}, 401, "$path: not without a key");
    $w = attach($path, no_key => 1,
        headers => [['Cookie', "Authorization=$s->{key}; key=$s->{key}"],
                    ['Origin', "http://localhost:$s->{port}"]]);
    is($w->{response}{status}, 401, '... nor with a cookie, of any origin');
    is($s->api(GET => "/v1/sandbox/demo$path")->{status},
       $path =~ /^\/ws/ ? 503 : 400, '... nor without a handshake');
    $w = attach("$path&cols=0");
    is($w->{response}{status}, 400, '... nor without a width');
}

my $w = attach('/pty?session=t&cols=91&rows=31');
ok($w->{ok}, 'a terminal') or diag($w->{response}{raw});
is_deeply([$w->receive(30)], [1, '{"type":"ready"}'], 'is ready');
like(types($w, 'stty size'), qr/[\r\n]31 91\r\n/, 'its size');
$w->send('{"type":"resize","cols":132,"rows":50}');
like(types($w, 'stty size'), qr/[\r\n]50 132\r\n/, 'resized');
like(types($w, 'pwd; whoami'), qr{[\r\n]/workspace\r\n}, 'in the workspace');
like(types($w, 'printf "h\303\251 \360\237\230\200\n"'),
     qr/[\r\n]h\xc3\xa9 \xf0\x9f\x98\x80\r\n/, 'UTF-8');

$w->send_binary("sleep 1000\n");
$w->until_like(qr/sleep 1000\r\n/);
sleep 0.3;
$w->send_binary("\x03");
like(types($w, 'echo status $?'), qr/[\r\n]status 130\r\n/, 'interrupted');

# What would hurt the edge.
for (["\x81\x01x", 1002], [WebSocket::frame(0x81, "\xff"), 1007],
     ["\x82\xff" . pack('Q>', 2 ** 40) . 'abcd', 1009])
{
    my $bad = attach('/pty?session=t');
    http_send($bad->{s}, $_->[0]);
    my ($op, $data);
    do { ($op, $data) = $bad->receive(30) } while (defined $op && $op != 8);
    is(defined $data ? unpack('n', $data) : undef, $_->[1],
       "closed with $_->[1]");
}

# The client vanishes, and comes back by the other route.
types($w, 'x=kept; echo before');
close $w->{s};
$w = attach('/ws/pty?sessionId=t');
ok($w->{ok}, 'another client');
my $replay = $w->until_like(qr/"ready"/);
like($replay, qr/[\r\n]before\r\n/, '... sees what was there');
like(types($w, 'echo $x'), qr/[\r\n]kept\r\n/, '... in the same shell');

# A reload while it is open.
my @old = $s->nginx_workers;
$s->reload;
ok(wait_for(sub { my %now = map { $_ => 1 } $s->nginx_workers;
                  grep { !$now{$_} } @old or keys %now > @old }, 20),
   'a reload');
like(types($w, 'echo after'), qr/[\r\n]after\r\n/, 'does not end it');
my $second = attach('/pty?session=t');
like($second->until_like(qr/"ready"/), qr/[\r\n]after\r\n/,
     'a new worker shows the same one');
close $second->{s};

$w->send_binary("exit 9\n");
like($w->until_like(qr/"type":"exit"/), qr/\{"type":"exit","code":9\}/,
     'the exit code');
my ($op, $data) = $w->receive(30);
is("$op " . unpack('n', $data), '8 1000', 'closed');

$w = attach('/pty');
ok($w->{ok}, 'a terminal of the default session');
$w->until_like(qr/"ready"/);
is($s->api(DELETE => '/v1/sandbox/demo')->{status}, 204, 'destroyed');
($op) = (1);
while (defined $op && $op != 8) { ($op) = $w->receive(20) }
ok(1, 'the connection ends');

$s->stop;

done_testing();
