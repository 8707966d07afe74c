#!/usr/bin/perl

# Terminals of the agent: who may open one, what is on it, who looks at it, how
# it ends, and that neither a program nor a client can make others suffer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AgentClient;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

plan skip_all => 'there is no /dev/ptmx here' unless -c '/dev/ptmx';

alarm_after(240);

my $dir = tmp_dir();
my $agent = AgentClient->start(args => ['--workspace', $dir]);


# Opens a WebSocket at a path; what WebSocket->connect returns.
sub attach {
    my ($path, %o) = @_;

    return WebSocket->connect(unix => $agent->{socket}, path => $path,
        preface => "CONTROL $agent->{key}\n", timeout => 30, %o);
}


# A viewer of a session's terminal, up to ready: (socket, what was replayed).
sub view {
    my ($session, %o) = @_;
    my $query = join '', map { "&$_=$o{$_}" } sort keys %o;
    my $w = attach("/ws/pty?sessionId=$session$query");
    my $replay = '';

    return (undef, '') unless $w && $w->{ok};

    while (my ($op, $data) = $w->receive(30)) {
        return ($w, $replay) if $op == 1 && $data eq '{"type":"ready"}';
        $replay .= $data if $op == 2;
    }

    return (undef, $replay);
}


# What comes until the output matches, the socket ends or time is up.  Text
# messages are put aside.
sub until_like {
    my ($w, $re, $seconds) = @_;
    my $end = time() + ($seconds // 30);

    $w->{seen} //= '';

    while ($w->{seen} !~ $re && time() < $end) {
        my ($op, $data) = $w->receive($end - time());

        last unless defined $op;
        $w->{seen} .= $data if $op == 2;
        push @{ $w->{texts} }, $data if $op == 1;
        if ($op == 8) {
            $w->{close} = length $data ? unpack 'n', $data : 1005;
            last;
        }
    }

    my $seen = $w->{seen};
    my $found = $seen =~ $re;

    $w->{seen} = $found ? substr $seen, $+[0] : '';

    return $found ? substr $seen, 0, $+[0] : undef;
}


# Types a command, and gives what it printed, line ends made plain.  The mark
# is printed in two halves, so that the echo of the typing is not taken for it.
my $mark = 0;

sub types {
    my ($w, $command, $seconds) = @_;

    $mark++;
    $w->send_binary("$command; echo '<'MARK$mark'>'\n");

    my $got = until_like($w, qr/<MARK$mark>\r\n/, $seconds) // return undef;

    $got =~ s/<MARK$mark>\r\n\z//;
    $got =~ s/.*echo '<'MARK$mark'>'\r\n//s;
    $got =~ s/^\e\[\?2004l\r?//;
    $got =~ s/\r\n/\n/g;

    return $got;
}


# The next text message that is one of the server's.
sub next_text {
    my ($w, $seconds) = @_;
    my $end = time() + ($seconds // 30);

    while (!@{ $w->{texts} || [] } && time() < $end) {
        until_like($w, qr/(?!)/, 0.2);
        last if $w->{close};
    }

    return shift @{ $w->{texts} || [] };
}


sub ends {
    my ($w, $seconds) = @_;

    until_like($w, qr/(?!)/, $seconds // 30) unless $w->{close};

    return $w->{close};
}

# ---- before there is one

{
    my $r = $agent->get('/ws/pty');
    is("$r->{status} $r->{body}", '400 sessionId query parameter required',
       'no session');
    $r = $agent->get('/ws/pty?sessionId=%20');
    is($r->{status}, 400, 'a blank one');
    $r = $agent->get('/ws/pty?sessionId=a');
    is("$r->{status} $r->{body}", '503 WebSocket upgrade failed',
       'no handshake');
    $r = $agent->get('/bridge/pty');
    is("$r->{status} $r->{body}", '400 {"error":"WebSocket upgrade required",'
        . '"code":"invalid_request"}', 'no handshake, the bridge');
    is($agent->post('/ws/pty?sessionId=a', {})->{status}, 405, 'not with POST');

    for (['cols=x', 400, qr/valid numbers/], ['rows=1e3', 400, qr/valid numb/],
         ['cols=0', 400, qr/between 1 and 4096/], ['rows=-1', 400, qr/between/],
         ['cols=4097', 400, qr/between/],
         ['cols=99999999999999999999', 400, qr/valid numbers/],
         ['shell=./x', 400, qr/absolute path/],
         ['shell=nosuch_zz', 400, qr/shell 'nosuch_zz' is not an executable/],
         ['shell=/etc/passwd', 400, qr/is not an executable/],
         ['shell=/etc', 400, qr/is not an executable/])
    {
        my ($query, $status, $like) = @$_;
        my $w = attach("/ws/pty?sessionId=none&$query");
        is($w->{response}{status}, $status, "$query");
        like($w->{response}{body}, $like, '... says why');
        $w = attach("/bridge/pty?session=none&$query");
        is($w->{response}{status}, $status, "... of the bridge");
        like($w->{response}{body}, qr/^\{"error":.*"code":"invalid_request"/,
             '... in its form');
    }

    is(attach('/ws/pty?sessionId=__DISABLE_SESSION__')->{response}{status},
       400, 'no session at all');
    is(attach('/ws/pty?sessionId=%ff')->{response}{status}, 400, 'no UTF-8');
    is(attach('/bridge/pty?session=a/b')->{response}{body},
       '{"error":"Invalid session ID format","code":"invalid_request"}',
       'the bridge checks its names');
}

# ---- one terminal

{
    my ($w, $replay) = view('one');
    ok($w, 'a terminal opens');
    is($replay, '', 'nothing to replay');
    is(types($w, 'stty size'), "24 80\n", '80 by 24');
    is(types($w, 'echo $TERM'), "xterm-256color\n", 'TERM');
    like(types($w, 'tty'), qr{^/dev/pts/\d+$}, 'a terminal');
    is(types($w, 'pwd'), "$dir\n", 'where the session is');
    is(types($w, 'echo $SHLVL'), "1\n", 'not in another shell');
    is(types($w, 'printf "h\303\251 \360\237\230\200\n"'),
       "h\xc3\xa9 \xf0\x9f\x98\x80\n", 'UTF-8 out');
    is(types($w, "echo 'h\xc3\xa9'"), "h\xc3\xa9\n", 'UTF-8 in');
    is(types($w, q{stty -a | grep -o ' iutf8'}), " iutf8\n",
       'the terminal knows of UTF-8');

    $w->send('{"type":"resize","cols":132,"rows":50}');
    is(types($w, 'stty size'), "50 132\n", 'resized');
    is(types($w, 'echo $LINES $COLUMNS'), "50 132\n", 'the shell was told');

    for (['{"type":"resize","cols":0,"rows":50}',
          'Invalid dimensions: cols and rows must be positive'],
         ['{"type":"resize","cols":80,"rows":-1}',
          'Invalid dimensions: cols and rows must be positive'],
         ['{"type":"resize","cols":4097,"rows":50}',
          'Invalid dimensions: cols and rows must be at most 4096'],
         ['{"type":"resize","cols":"80","rows":50}',
          'Invalid dimensions: cols and rows must be whole numbers'],
         ['{"type":"resize"}',
          'Invalid dimensions: cols and rows must be whole numbers'],
         ['nonsense', 'Invalid control message'],
         ['', 'Invalid control message'],
         ['[1]', 'Invalid control message'],
         ['"x"', 'Invalid control message'],
         ['{"type":"x","a":"' . 'y' x 5000 . '"}', 'Invalid control message'],
         ['[' x 4000, 'Invalid control message'])
    {
        $w->send($_->[0]);
        is(next_text($w), qq({"type":"error","message":"$_->[1]"}),
           'refused: ' . substr $_->[0], 0, 40);
    }
    $w->send($_) for '{"type":"nope"}', '{}', '{"type":5}';
    is(types($w, 'stty size'), "50 132\n", 'what is unknown is ignored');
    is_deeply($w->{texts} || [], [], 'without a word');

    $w->send_binary("sleep 1000\n");
    until_like($w, qr/sleep 1000\r\n/);
    sleep 0.2;
    $w->send_binary("\x03");
    is(types($w, 'echo $?'), "130\n", 'interrupted');

    $w->send_binary("sleep 1000\n");
    until_like($w, qr/sleep 1000\r\n/);
    sleep 0.2;
    $w->send_binary("\x1a");
    like(types($w, 'jobs'), qr/Stopped +sleep 1000/, 'job control');
    types($w, 'kill %1');

    $w->send_binary("(exit 7); exit\n");
    is(next_text($w), '{"type":"exit","code":7}', 'the shell ends');
    is(ends($w), 1000, '... and the connection');

    ($w, $replay) = view('one');
    ok($w, 'a new shell at the next connect');
    is($replay, '', '... without the old output');
    $w->send_binary("kill -9 \$\$\n");
    is(next_text($w), '{"type":"exit","code":137,"signal":"SIGKILL"}',
       'killed');
    is(ends($w), 1000, '... closed');
}

done_testing();
