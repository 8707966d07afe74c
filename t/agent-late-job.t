#!/usr/bin/perl

# Jobs that take long to begin, as on a machine that has a little of a busy
# processor: one that is late begins; one that is too late was said not to have
# been started, and doesn't run; its session goes on with all its state.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(200);

my $dir = tmp_dir();
my $agent = AgentClient->start();

sub run {
    my ($session, $command) = @_;
    my $r = $agent->post('/api/execute', { command => $command,
        sessionId => $session }, timeout => 60);

    return $r->{json}{stdout} // $r->{body};
}

# A session in which what becomes a job stands still before its first word.
sub slow {
    my ($session, $seconds) = @_;

    $agent->post('/api/session/create', { id => $session, cwd => $dir });

    return run($session, 'kept=here; set -T; trap \'[ "$BASH_SUBSHELL" != 2 ]'
        . " || [ -e $dir/slow.\$BASHPID ]"
        . " || { : >$dir/slow.\$BASHPID; command sleep $seconds; }' DEBUG; "
        . 'echo set');
}

sub start {
    my ($session, $command) = @_;

    return $agent->post('/api/process/start', { command => $command,
        sessionId => $session }, timeout => 60);
}

is(slow('late', 8), 'set', 'a session whose jobs begin late');
my $t = time;
my $r = start('late', "echo ran > $dir/late; sleep 60");
is($r->{status}, 200, 'a job that begins after 8 s') or diag($r->{body});
cmp_ok(time - $t, '>', 7, '... is waited for');
ok(wait_for(sub { -s "$dir/late" }, 20), '... and runs');
is(run('late', 'echo $kept'), 'here', '... in a session that goes on');

is(slow('over', 20), 'set', 'one whose jobs begin too late');
$t = time;
$r = start('over', "echo ran > $dir/over; sleep 60");
is("$r->{status} $r->{json}{code}", '500 STREAM_START_ERROR',
    'a job that begins after 20 s was not started') or diag($r->{body});
cmp_ok(time - $t, '<', 19, '... so it is said before');
ok(wait_for(sub { $agent->log_text =~ /a job has begun too late/ }, 30),
    '... and when it begins it is ended');
is(run('over', 'echo $kept'), 'here', 'its session goes on');
sleep 3;
ok(!-e "$dir/over", 'the job has done nothing');

unlike($agent->log_text, qr/ERROR|runtime error|Sanitizer/, 'a clean log');
is($agent->stop, 0, 'the agent ends in order');
is_deeply($agent->{left} || [], [], 'and leaves nothing behind');

done_testing();
