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


# What a connection answers on which a request was sent by hand.
sub answer_of {
    my ($s) = @_;
    my $line = '';

    while ($line !~ /\n/) {
        sysread $s, $line, 1, length $line or last;
    }

    return http_read($s, method => 'GET');
}


# Makes a session whose shells know nothing of this machine's dotfiles.
sub prepare {
    my ($session) = @_;

    $agent->post('/api/session/create',
                 { id => $session, env => { HOME => $dir } });
}


# A viewer of a session's terminal, up to ready: (socket, what was replayed).
sub view {
    my ($session, %o) = @_;

    prepare($session);

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
    my $from = 0;

    $w->{seen} //= '';

    # Only the newest is looked at again: there may be megabytes before.
    while (substr($w->{seen}, $from) !~ $re && time() < $end) {
        $from = length($w->{seen}) > 200 ? length($w->{seen}) - 200 : 0;

        my ($op, $data) = $w->receive($end - time());

        last unless defined $op;
        $w->{seen} .= $data if $op == 2;
        push @{ $w->{texts} }, $data if $op == 1;
        if ($op == 8) {
            $w->{close} = length $data ? unpack 'n', $data : 1005;
            last;
        }
    }

    return undef unless substr($w->{seen}, $from) =~ $re;

    my $found = substr $w->{seen}, 0, $from + $+[0];

    $w->{seen} = substr $w->{seen}, $from + $+[0];

    return $found;
}


# Types a command, and gives what it printed, line ends made plain.  The mark
# is printed in two halves, so that the echo of the typing is not taken for it.
my $mark = 0;

sub types {
    my ($w, $command, $seconds) = @_;

    $mark++;
    $w->send_binary("$command; echo '<'MARK$mark'>'\n");

    my $got = until_like($w, qr/<MARK$mark>\r?\n/, $seconds) // return undef;

    $got =~ s/<MARK$mark>\r?\n\z//;
    $got =~ s/^.*\e\[\?2004l\r?//s or $got =~ s/.*echo '<'MARK$mark'>'\r\n//s;
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
    types($w, 'kill -9 %1; wait %1 2>/dev/null');

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

# ---- what it starts with

# In the background: a session that is busy for longer than anybody waits.
prepare('busy');
my $busy_exec = $agent->connect;
http_send($busy_exec, "POST /api/execute HTTP/1.1\r\nHost: x\r\n"
    . "Content-Length: 62\r\n\r\n"
    . sprintf '%-62s', '{"command":"sleep 11; echo done","sessionId":"busy"}');
my $busy_start = time();
my $busy = $agent->connect;
http_send($busy, "GET /ws/pty?sessionId=busy HTTP/1.1\r\nHost: x\r\n"
    . "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    . "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");

{
    mkdir "$dir/a b";
    $agent->post('/api/session/create',
        { id => 'env', cwd => "$dir/a b", env => { MADE => 'with it' } });
    $agent->execute(q{export FOO=$'x\ny\'"$z' EMPTY=; plain=1; fn() { echo in fn; }
        export -f fn; unset HOME; alias ls='echo never'}, sessionId => 'env');
    my ($w) = view('env', cols => 100, rows => 30);
    is(types($w, 'stty size'), "30 100\n", 'the size that was asked for');
    is(types($w, 'pwd'), "$dir/a b\n", 'the directory');
    is(types($w, 'echo "$FOO|${EMPTY-none}|${plain-none}|$MADE|${HOME-none}"'),
       qq(x\ny'"\$z||none|with it|none\n), 'the exported environment');
    is(types($w, 'fn'), "in fn\n", 'an exported function');
    $agent->execute('export LATE=1; cd /', sessionId => 'env');
    is(types($w, 'echo ${LATE-none}; pwd'), "none\n$dir/a b\n",
       'what comes later stays out');
    is($agent->execute('echo "$FOO" | head -1; pwd', sessionId => 'env')
       ->{stdout}, "x\n/", 'the session is as it was');

    my ($second) = view('env', cols => 50, rows => 10, shell => 'sh');
    is(types($second, 'stty size'), "30 100\n", 'the size is the first one\'s');

    # Odd sessions.
    my %odd = (
        'set -eux' => 'set -eux',
        'no PATH' => 'PATH=; export PATH',
        'IFS' => 'IFS=eE/; export IFS',
        'functions' => 'env() { echo no; }; set() { echo no; }; exit() { :; }; '
            . 'printf() { :; }; command() { :; }; for_() { :; }',
        'aliases' => 'alias command=false builtin=false env=false printf=false',
        'a directory that is gone' => "mkdir $dir/gone; cd $dir/gone; "
            . "rmdir $dir/gone",
        'restricted files' => 'ulimit -f 0',
    );
    for my $name (sort keys %odd) {
        my $id = 'odd' . ($name =~ tr/a-zA-Z//cdr);
        prepare($id);
        $agent->execute("export SEEN=here; $odd{$name}", sessionId => $id);
        my ($odd) = view($id);
        is($odd && types($odd, 'echo $SEEN'), "here\n", "odd: $name");
        close $odd->{s} if $odd;
    }

    for my $shell ('sh', '/bin/sh') {
        my $id = 'shell' . ($shell =~ tr/a-z//cdr);
        my ($sh) = view($id, shell => $shell);
        like(types($sh, 'echo $0 ${BASH_VERSION-none}'),
             qr{/bin/sh (?:none|\d.*)\n\z}, "shell=$shell") if $sh;
        $sh ? $sh->send_binary("exit\n") : fail("shell=$shell");
    }
}

# ---- several who look, and come back

{
    my ($one) = view('many');
    my ($two, $replay) = view('many');

    types($one, 'echo first');
    until_like($two, qr/<MARK$mark>\r?\n/);
    pass('both see it');
    is(types($two, 'echo second'), "second\n", 'the other one types');
    ok(until_like($one, qr/second\r\n/), '... and the first sees that');

    close $two->{s};
    is(types($one, 'x=kept; echo third'), "third\n", 'one leaves');
    close $one->{s};

    # Something is printed while nobody looks.
    ($one, $replay) = view('many');
    like($replay, qr/first\r\n.*second\r\n.*third\r\n/s,
         'what was there is shown again');
    is(types($one, 'echo $x'), "kept\n", 'the same shell');
    $one->send_binary("sleep 0.5; echo unse''en\n");
    until_like($one, qr/unse''en\r\n/);
    close $one->{s};
    ok(wait_for(sub {
        ($one, $replay) = view('many');
        my $there = $replay =~ /unseen\r\n/;
        close $one->{s} unless $there;
        $there;
    }, 30, 0.2), 'it is kept when nobody looks');

    # More than is kept: the newest, in whole characters.
    types($one, q{for i in {1..20000}; do printf '\303\251%05d\360\237\230\200' $i; done; echo});
    my ($late, $kept) = view('many');
    cmp_ok(length $kept, '<=', 262144, 'at most 256 KiB');
    cmp_ok(length $kept, '>', 200000, 'and not much less');
    like($kept, qr/20000\xf0\x9f\x98\x80\r\n/, 'the newest');
    my $text = $kept;
    ok(utf8::decode($text), 'whole characters');
    $_->close for $one, $late;

    # At the same moment: it is made for whichever is read first.
    my $crowd;
    prepare('crowd');
    prepare('default');
    my @pids;
    my @new = map {
        my $s = $agent->connect;
        http_send($s, "GET /bridge/pty?session=crowd&cols=7$_ HTTP/1.1\r\n"
            . "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Version: 13\r\n"
            . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        $s;
    } 1 .. 5;
    for my $s (@new) {
        my $r = answer_of($s);
        is($r->{status}, 101, 'one of five at once');
        my $w = bless { s => $s, in => $r->{rest} // '' }, 'WebSocket';
        my $size = types($w, 'stty size');
        $crowd //= $size =~ /^24 7[1-5]$/ ? $size : 'a size that one asked for';
        is($size, $crowd, '... at the same terminal');
        close $s;
    }

    # Without a name it is the default session's.
    my $w = attach('/bridge/pty');
    $agent->execute('export DEFAULT=yes');
    $w->receive(30);
    my ($same) = view('default');
    $w->send_binary("echo sa''me\n");
    ok(until_like($same, qr/same\r\n/), 'the bridge without a session');
    $_->close for $w, $same;
    $w = attach('/bridge/pty', headers => [['Session-Id', 'crowd']]);
    is(types($w, 'stty size'), $crowd, 'Session-Id names one as well');
    $w->close;
}

# ---- much of it

{
    my ($w) = view('bulk');
    my $want = join '', map { "$_\n" } 1 .. 150_000;

    types($w, 'stty -echo');
    my $seq = types($w, 'seq 150000') // '';
    $seq =~ s/^\n//;
    ok($seq eq $want, 'a megabyte, to the last byte')
        or diag(length $seq, ' ', length $want, ' ', substr $seq, 0, 300);

    # The whole of the last output comes before the end.
    $w->send_binary("head -c 200000 /dev/zero | tr '\\0' %; printf LA''ST; "
        . "exit 5\n");
    my $got = until_like($w, qr/LAST/) // '';
    is($got =~ tr/%//, 200_000, 'nothing is lost at the end');
    is(next_text($w), '{"type":"exit","code":5}', '... which comes after it');
    is(ends($w), 1000, '... and closes');

    # Input beyond what a terminal takes at once.
    ($w) = view('bulk');
    my $input = join '', map { sprintf "%07d\n", $_ } 1 .. 131072;
    types($w, 'stty -echo raw; printf go');
    $mark++;
    $w->send_binary("head -c 1048576 | sha1sum; stty sane; "
        . "echo '<'MARK$mark'>'\r");
    sleep 0.3;
    $w->send_binary($input);
    require Digest::SHA;
    like(until_like($w, qr/<MARK$mark>/), qr/\Q@{[Digest::SHA::sha1_hex($input)]}/,
         'a megabyte typed');
    is(types($w, 'echo fine'), "fine\n", 'and it goes on');
    $w->close;

    # Nobody reads: input waits, up to a bound, and harms nobody.
    ($w) = view('stuck');
    types($w, 'stty -echo raw; printf go');
    $w->send_binary("sleep 1000\r");
    sleep 0.3;
    my ($other) = view('stuck');
    http_send($other->{s}, WebSocket::frame(0x82, 'y' x 300_000), 1);
    http_send($w->{s}, WebSocket::frame(0x82, 'x' x 1_000_000), 1) for 1 .. 3;
    my ($one) = view('fresh');
    is(types($one, 'echo free'), "free\n",
       'who types into what doesn\'t read stops nobody');
    $one->close;
    is($agent->post('/api/session/delete', { sessionId => 'stuck' })->{status},
       200, 'deleted');
    $_ = next_text($other);
    like($_, qr/^\{"type":"exit","code":1\d\d,"signal":"SIG(?:HUP|KILL)"}$|^\{"type":"exit","code":\d+}$/,
       'its viewers are told');
    is(ends($other), 1000, '... and closed');
}

# ---- a viewer that doesn't read

{
    my ($slow) = view('slow');
    my ($quick) = view('slow');

    types($quick, 'stty -echo');
    my $got = types($quick, q{head -c 5000000 /dev/zero | tr '\0' % | fold -w 99}, 60);
    is(($got // '') =~ tr/%//, 5_000_000,
       'one that stands still doesn\'t stop the other');
    my $all = 0;
    my $code;
    while (my ($op, $data) = $slow->receive(20)) {
        $all += length $data if $op == 2;
        if ($op == 8) { $code = unpack 'n', $data; last }
    }
    ok(!defined $code || $code == 1013, 'it was let go, to try later');
    cmp_ok($all, '<', 4_000_000, '... before it had it all');
    close $slow->{s};
    my ($again, $replay) = view('slow');
    like($replay, qr/%%/, 'and may come back');
    $again->close;

    # Alone, the program waits for it.
    $mark++;
    $quick->send_binary(q{head -c 3000000 /dev/zero | tr '\0' % | fold -w 99}
        . "; echo '<'MARK$mark'>'\n");
    sleep 3;
    $got = until_like($quick, qr/<MARK$mark>\r?\n/, 60) // '';
    is($got =~ tr/%//, 3_000_000, 'the program waits for the only one');
    $quick->close;
}

# ---- ends

{
    my ($w) = view('end');
    my $pid = types($w, 'echo $$');
    chomp $pid;

    $w->send_binary("exec sleep 1.5 </dev/null >/dev/null 2>&1\n");
    is(next_text($w), '{"type":"exit","code":0}',
       'a program that has let go of its terminal ends like any other');

    ($w) = view('end');
    chomp($pid = types($w, "setsid sleep 1000.$$ & (trap '' HUP; "
        . "sleep 1001.$$) & sleep 0.2; echo PIDS "
        . "\$(pgrep -f '^sleep 100[01].$$')"));
    $pid =~ s/.*PIDS//s;
    my @left = grep { process_alive($_) } $pid =~ /(\d+)/g;
    $w->send_binary("exit\n");
    is(next_text($w), '{"type":"exit","code":0}', 'exit with jobs left');
    is(ends($w), 1000, '... closes');
    ok(@left >= 2 && !grep({ !process_alive($_) } @left), 'they live on');

    ($w) = view('end');
    chomp(my $shell = types($w, 'echo $$'));
    is($agent->post('/api/session/delete', { sessionId => 'end' })->{status},
       200, 'the session is deleted');
    is(ends($w), 1000, 'its terminal ends');
    ok(wait_for(sub { !grep { process_alive($_) } @left, $shell }, 20),
       'with all that it had left behind')
        or diag(join ' ', grep { process_alive($_) } @left, $shell);

    ($w) = view('end');
    ok($w && types($w, 'echo new'), 'the name is free again');

    # The supervisor is killed.
    chomp($shell = types($w, 'echo $PPID'));
    kill 'KILL', $shell;
    is(next_text($w), '{"type":"error","message":"The terminal was lost: its '
        . 'supervisor was killed"}', 'a terminal that is lost');
    is(ends($w), 1011, '... is closed with 1011');
    ($w) = view('end');
    is(types($w, 'echo again'), "again\n", '... and made anew');
    $w->close;
}

# ---- the session that was busy

{
    my $r = answer_of($busy);
    is($r->{status}, 503, 'a busy session: 503');
    like($r->{body}, qr/"code":"RESOURCE_BUSY".*The session is busy/, 'says so');
    cmp_ok(time() - $busy_start, '>=', 9.5, '... after a while');
    $r = answer_of($busy_exec);
    $r->{json} = json_decode($r->{body});
    is($r->{json}{stdout} // $r->{body}, 'done', 'what kept it busy goes on');
    my ($w) = view('busy');
    is(types($w, 'echo now'), "now\n", 'then it opens');
}

$agent->post('/api/session/delete', { sessionId => $_ })
    for @{ $agent->get('/api/session/list')->{json}{data} };
ok(wait_for(sub {
    !grep { (readlink($_) // '') =~ m{ptmx|/dev/pts} }
        glob '/proc/' . $agent->pid . '/fd/*'
}, 30), 'no terminal is left');
$agent->stop;
is_deeply($agent->{left} || [], [], 'nothing is left');

done_testing();
