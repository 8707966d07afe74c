#!/usr/bin/perl

# Everything that stays open, through nginx: a watch, a terminal, a cell, the
# output of a command and of a process, an archive.  A reload ends none of
# them, and a client that leaves is noticed by the agent at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use IO::Select;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

alarm_after(240);

my $s = System->start;
my $box = '/v1/sandbox/box';

is($s->exec('box', 'mkdir -p /workspace/big /workspace/seen && '
        . 'head -c 40000000 /dev/urandom >/workspace/big/file; echo ok')
   ->{stdout}, 'ok', 'a sandbox');


# A request by hand, whose answer is read as it comes.
sub stream {
    my ($method, $path, $json) = @_;
    my $body = $json ? json_encode($json) : '';
    my $self = { s => http_connect(port => $s->{port}), text => '' };

    http_send($self->{s}, "$method $box$path HTTP/1.1\r\nHost: "
        . "localhost:$s->{port}\r\nAuthorization: Bearer $s->{key}\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body");

    return $self;
}


# Reads until it matches; what was read is forgotten then.
sub reads {
    my ($self, $re) = @_;
    my $end = time() + 30;
    my $sel = IO::Select->new($self->{s});

    while ($self->{text} !~ $re) {
        return 0 if time() > $end;
        next unless $sel->can_read(0.2);
        sysread($self->{s}, $self->{text}, 65536, length $self->{text})
            or return 0;
    }

    return $self->{text} =~ s/^.*?$re//s;
}


sub types {
    my ($w, $command, $re) = @_;

    $w->send_binary("$command\n");

    return defined $w->until_like($re);
}


# Connections that the sandbox's agent has.
sub connections {
    return scalar grep {
        my @f = split ' ';
        $f[7] && $f[5] eq '03' && index($f[7], "$s->{run}/s/") == 0;
    } split /\n/, slurp('/proc/net/unix') // '';
}


my $tick = 'while :; do echo tick; sleep 0.2; done';
my %open;

$open{watch} = stream(POST => '/api/watch', { path => '/workspace/seen' });
ok(reads($open{watch}, qr/"watching"/), 'a watch');

$open{command} = stream(POST => '/api/execute/stream', { command => $tick,
    sessionId => 'command' });
ok(reads($open{command}, qr/tick/), 'a command');

$s->api(POST => "$box/api/process/start", json => { command => $tick,
    processId => 'ticks', sessionId => '__DISABLE_SESSION__' });
$open{process} = stream(GET => '/api/process/ticks/stream');
ok(reads($open{process}, qr/tick/), 'a process');

SKIP: {
    skip 'no python3', 1 unless -x '/usr/bin/python3';

    my $context = $s->api(POST => "$box/api/contexts",
        json => { language => 'python' }, timeout => 60)->{json}{contextId};
    $open{cell} = stream(POST => '/api/execute/code', {
        context_id => $context, code => "import time\nwhile True:\n"
            . "    print('tick', flush=True)\n    time.sleep(0.2)\n" });
    ok(reads($open{cell}, qr/tick/), 'a cell');
}

$open{archive} = stream(GET => '/api/archive?path=big');
ok(reads($open{archive}, qr/ 200 .*\r\n\r\n/s), 'an archive');

my $w = WebSocket->connect(port => $s->{port}, timeout => 60,
    host => "localhost:$s->{port}", path => "$box/pty",
    headers => [['Authorization', "Bearer $s->{key}"]]);
ok($w->{ok} && types($w, 'echo he""re', qr/here/), 'a terminal');

my $all = 1 + keys %open;
cmp_ok(connections(), '>=', $all, 'a connection each');

# ---- a reload

my @old = $s->nginx_workers;
ok($s->reload, 'a reload');

for (sort grep { /command|process|cell/ } keys %open) {
    $open{$_}{text} = '';
    ok(reads($open{$_}, qr/tick.*tick/s), "$_: goes on");
}

is($s->exec('box', 'touch /workspace/seen/new; echo on')->{stdout}, 'on',
   'a new request');
ok(reads($open{watch}, qr{"path":"[^"]*new"}), 'watch: goes on');
ok(types($w, 'echo af""ter', qr/after/), 'terminal: goes on');

my ($bytes, $tail) = (length $open{archive}{text}, $open{archive}{text});
while (sysread $open{archive}{s}, my $piece, 262144) {
    $bytes += length $piece;
    $tail = substr $tail . $piece, -8;
    last if $tail =~ /\r\n0\r\n\r\n\z/;
}
cmp_ok($bytes, '>', 40_000_000, 'archive: goes on');
like($tail, qr/\r\n0\r\n\r\n\z/, '... to its end');
close((delete $open{archive})->{s});

ok((grep { process_alive($_) } @old) > 0, 'an old worker is there for them');

# ---- clients that leave

$open{archive} = stream(GET => '/api/archive?path=big');
ok(reads($open{archive}, qr/ 200 .*\r\n\r\n/s), 'another archive');

my $before = connections();
close $_->{s} for $w, values %open;
ok(wait_for(sub { connections() <= $before - $all }, 10),
   'the agent has let go of all of them')
    or diag($before, ' ', $all, ' ', connections());
ok(wait_for(sub { !grep { process_alive($_) } @old }, 20),
   'and the old workers end');
like($s->exec('box', 'echo still')->{stdout}, qr/still/, 'it serves on');

is($s->api(DELETE => $box)->{status}, 204, 'destroyed');
$s->stop;

done_testing();
