#!/usr/bin/perl

# Terminals where somebody stands still: a client that asks and doesn't read, a
# client that takes its time when the shell has ended.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AgentClient;
use Harness;
use Test::More;
use Time::HiRes qw(sleep);
use WebSocket;

plan skip_all => 'there is no /dev/ptmx here' unless -c '/dev/ptmx';

alarm_after(240);

my $dir = tmp_dir();
my $agent = AgentClient->start(args => ['--workspace', $dir]);


# A viewer of a new session's terminal.
sub view {
    my ($session) = @_;

    $agent->post('/api/session/create', { id => $session,
                                          env => { HOME => $dir } });

    my $w = WebSocket->connect(unix => $agent->{socket}, timeout => 30,
        path => "/ws/pty?sessionId=$session",
        preface => "CONTROL $agent->{key}\n");

    return $w && $w->{ok} ? $w : undef;
}


# All that comes up to the end: (output, texts, close code).
sub rest {
    my ($w) = @_;
    my ($out, $texts, $code) = ('', '', undef);

    while (my ($op, $data) = $w->receive(30)) {
        $out .= $data if $op == 2;
        $texts .= $data if $op == 1;
        if ($op == 8) {
            $code = unpack 'n', $data;
            last;
        }
    }

    return ($out, $texts, $code);
}

# ---- one that asks and doesn't read

{
    my $w = view('asks');
    my $bad = WebSocket::frame(0x81, 'x') x 20_000;

    # It may stop reading us, but not keep answers without a bound.
    http_send($w->{s}, $bad, 5) for 1 .. 10;
    http_send($w->{s}, WebSocket::frame(0x88, pack 'n', 1000), 5);

    my ($out, $texts, $code) = rest($w);
    like($texts, qr/Invalid control message/, 'a client that asks is answered');
    cmp_ok(length $texts, '<', 1_000_000,
           '... up to a bound when it doesn\'t read');
    is($code, 1000, '... and let go');
}

# ---- one that needs longer than its shell

{
    my $w = view('slow');

    $w->send_binary("stty -echo; head -c 275000 /dev/zero | tr '\\0' '\\045'; "
        . "exit 3\n");
    sleep 8;

    my ($out, $texts, $code) = rest($w);
    is($out =~ tr/%//, 275_000, 'all output comes, to who reads late');
    like($texts, qr/\{"type":"exit","code":3\}\z/, '... and the exit');
    is($code, 1000, '... and the close');
}

$agent->stop;
is_deeply($agent->{left} || [], [], 'nothing is left');

done_testing();
