#!/usr/bin/perl

# Fifty terminals: what they cost, and that it is given back.
# not with the sanitizers

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AgentClient;
use Harness;
use Test::More;
use WebSocket;

plan skip_all => 'the sanitizers need memory of their own' if is_san();
plan skip_all => 'there is no /dev/ptmx here' unless -c '/dev/ptmx';

alarm_after(120);

my $dir = tmp_dir();
my $agent = AgentClient->start(args => ['--workspace', $dir]);
my $fds = $agent->fd_count;
my @w;

sub private_kb {
    my $text = slurp('/proc/' . $agent->pid . '/smaps_rollup') // '';

    return $text =~ /^Private_Dirty:\s+(\d+) kB/m ? $1 : 0;
}

for my $n (1 .. 50) {
    $agent->post('/api/session/create', { id => "s$n",
                                          env => { HOME => $dir } });
    push @w, WebSocket->connect(unix => $agent->{socket}, timeout => 30,
        path => "/ws/pty?sessionId=s$n",
        preface => "CONTROL $agent->{key}\n");
}

is(scalar(grep { $_ && $_->{ok} } @w), 50, 'fifty terminals');
cmp_ok(private_kb(), '<', 3000, 'that cost less than 3 MB');

$_->send_binary("head -c 600000 /dev/zero | tr '\\0' x; echo DO''NE\n") for @w;

my $done = 0;
for my $w (@w) {
    my $seen = '';
    while (my ($op, $data) = $w->receive(60)) {
        $seen = substr $seen . $data, -100;
        if ($seen =~ /DONE/) { $done++; last }
    }
}
is($done, 50, 'all of them print more than is kept');
cmp_ok(private_kb(), '<', 50 * 384 + 3000, 'what is kept is bounded');

close $_->{s} for @w;
$agent->post('/api/session/delete', { sessionId => "s$_" }) for 1 .. 50;
# Shells that wait for a session have some.
ok(wait_for(sub { private_kb() < 3000 && $agent->fd_count <= $fds + 100 }, 30),
   'all of it is given back')
    or diag(private_kb(), ' kB, ', $agent->fd_count, ' descriptors');

$agent->stop;
is_deeply($agent->{left} || [], [], 'nothing is left');

done_testing();
