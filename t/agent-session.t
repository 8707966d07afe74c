#!/usr/bin/perl

# Sessions of the agent: what a long-lived shell keeps, how commands end, and
# that nothing that a user does to the shell makes a call hang.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);

my $dir = tmp_dir();

# Inherited by the agent, at the place where bash saves descriptors.
open my $inherited, '<', '/dev/null' or die;
POSIX::dup2(fileno($inherited), 10);
my $agent = AgentClient->start();
POSIX::close(10);


# Runs in session s; compares with what is given.
sub runs {
    my ($name, $command, %want) = @_;
    my $session = delete $want{session} // 's';
    my $options = delete $want{options} // {};
    my $r = $agent->post('/api/execute',
        { command => $command, sessionId => $session, %$options });
    my $j = $r->{json} || {};
    my $status = delete $want{status} // 200;
    my @bad;

    push @bad, "status $r->{status}" if $r->{status} != $status;
    for (sort keys %want) {
        my $got = /^context\.(.*)/ ? $j->{context}{$1} : $j->{$_};
        my $want = $want{$_};
        next if !defined $got && !defined $want;
        next if defined $got && (ref $want eq 'Regexp' ? $got =~ $want
                                 : $got eq $want);
        push @bad, "$_ is " . (defined $got ? "'$got'" : 'undef');
    }

    ok(!@bad, $name) or diag(join("\n", @bad, $r->{body}));

    return $j;
}


# A call that ends the shell, and one that finds a fresh one.
sub dies {
    my ($name, $command, $code) = @_;

    runs($name, $command, session => 'd', status => 410,
         code => 'SESSION_TERMINATED', 'context.exitCode' => $code,
         'context.sessionId' => 'd',
         message => "Session 'd' shell exited (exit code: $code)");
    runs("$name: the next call has a fresh shell", 'echo alive',
         session => 'd', stdout => 'alive', exitCode => 0);
}


# Results.

runs('true', 'true', exitCode => 0, stdout => '', stderr => '',
     command => 'true', sessionId => 's');
runs('one line feed is stripped', 'echo hi', stdout => 'hi');
runs('two line feeds', q{printf 'a\n\n'}, stdout => "a\n");
runs('no line feed', 'printf abc', stdout => 'abc');
runs('CR LF', q{printf 'a\r\nb\r\n'}, stdout => "a\r\nb\r");
runs('output and errors apart', 'echo out; echo err >&2; echo out2',
     stdout => "out\nout2", stderr => 'err');
runs('UTF-8', q{printf 'h\303\251 \360\237\230\200'},
     stdout => "h\x{e9} \x{1f600}");
runs('no UTF-8', q{printf 'a\377\376b'}, stdout => "a\x{fffd}\x{fffd}b");
runs('NUL', q{printf 'a\000b'}, stdout => "a\0b");
runs('NUL in the command', "echo a\0b", stdout => 'ab');
runs('status of a subshell', '(exit 3)', exitCode => 3);
runs('unknown command', 'nosuch_zz', exitCode => 127,
     stderr => qr/^bash: nosuch_zz: command not found$/);
runs('not executable', '/etc/passwd', exitCode => 126,
     stderr => qr/Permission denied/);
runs('killed by a signal', q{bash -c 'kill -9 $$'}, exitCode => 137);
runs('nothing', '', exitCode => 0);
runs('blanks', "  \n\t ", exitCode => 0);
runs('a comment', "# nothing\n  # more", exitCode => 0);

{
    my $r = $agent->post('/api/execute', { command => 'sleep 0.2',
                                           sessionId => 's' });
    cmp_ok($r->{json}{duration}, '>=', 190, 'duration is real');
    cmp_ok($r->{json}{duration}, '<', 5000, 'and not too long');
    like($r->{body}, qr/^\{"success":true,"exitCode":0,"stdout":"","stderr":"","command":"sleep 0.2","duration":\d+,"timestamp":"[\dT:.-]+Z","sessionId":"s"\}$/,
         'the order of members');
    $r = $agent->post('/api/execute', { command => 'true' });
    ok(!exists $r->{json}{sessionId}, 'the default session is not named');
}

# Syntax.

for ([')', 2], ['if true; then echo x', 2], ['echo "a', 2],
     ["cat <<EOF\na", 2], ['while', 2], ['}', 2], ['$(', '[12]'],
     ["echo '", 2])
{
    runs("bad syntax: $_->[0]", $_->[0], exitCode => qr/^$_->[1]$/, stdout => '',
         stderr => qr/^bash: /);
}
runs('lines are counted from one', "echo \$LINENO\n(echo \$LINENO)",
     options => { env => { LN => 'x' }, cwd => '/' }, stdout => "1\n2");
runs('no descriptor but the three is open', 'ls /proc/self/fd',
     stdout => "0\n1\n2\n3");
runs('alive after bad syntax', 'echo alive', stdout => 'alive');
runs('a here-document', "cat <<EOF\na\n  b\nEOF", stdout => "a\n  b");
runs('a here-document at the end', "cat <<'EOF'\n\$x\nEOF\n",
     stdout => '$x');
runs('a trailing comment', 'echo a # c', stdout => 'a');
runs('a trailing backslash', 'echo a \\', stdout => 'a');
runs('several lines', "x=1\nfor i in a b\ndo echo \$i\$x\ndone",
     stdout => "a1\nb1");
runs('$? at the beginning', 'echo $?', stdout => '0');
runs('an expansion error', "echo \$((1/0))\necho after", exitCode => 1,
     stdout => '', stderr => qr/division by 0/);
runs('set -u', "set -u\necho \$UNSET_ZZ\necho after", exitCode => 1,
     stdout => '', stderr => qr/unbound variable/);
runs('lives with set -u', 'echo x; set +u', stdout => 'x');
runs('return', 'return 5', exitCode => 5);
runs('break', 'break', exitCode => 0);
runs('a megabyte of text', 'x=' . ('y' x 1000000) . '; echo ${#x}',
     stdout => '1000000');

# What lasts.

runs('variables, functions, aliases and options are set',
     'cd /usr; export P=1; Q=2; f(){ echo F$1; }; alias ll="echo LL"; ' .
     'arr=(a "b c"); set -o pipefail; umask 027; set -- p1 p2; ' .
     'shopt -s extglob', exitCode => 0);
runs('and last', 'pwd; echo $P $Q; f 1; ll x; echo ${arr[1]}; umask; ' .
     'echo $1 $2; false | true; echo $?',
     stdout => "/usr\n1 2\nF1\nLL x\nb c\n0027\np1 p2\n1");
runs('put back', 'set +o pipefail; umask 022; set --; cd /', exitCode => 0);
runs('redirections of the shell do not', "exec >$dir/f 2>&1 </etc/passwd; " .
     'echo in', stdout => '');
runs('into the file', "cat $dir/f; echo e >&2; cat", stdout => 'in',
     stderr => 'e');
runs('descriptors do', "exec 3<$dir/f", exitCode => 0);
runs('and can be read', 'cat <&3; exec 3<&-', stdout => 'in');
runs('commands with our words as names',
     'printf(){ :; }; eval(){ :; }; read(){ :; }; exec(){ :; }; set(){ :; };' .
     ' trap(){ :; }; alias printf=false eval=false cd=false', exitCode => 0);
runs('change nothing', 'echo ok', stdout => 'ok');
runs('undone', 'unset -f printf eval read exec set trap; unalias -a',
     exitCode => 0);
runs('prompts', 'PS1=x; PROMPT_COMMAND="echo pc"; readonly PS1',
     exitCode => 0);
runs('are not seen', 'echo p', stdout => 'p', stderr => '');
runs('set -x', 'set -x; true', stderr => qr/^\++ true$/);
runs('set +x', 'echo tr; set +x', stdout => 'tr');
runs('POSIX mode', 'POSIXLY_CORRECT=1; set -o posix', exitCode => 0);
runs('bad syntax in POSIX mode', ')', exitCode => 2);
runs('no POSIX mode', 'unset POSIXLY_CORRECT; set +o posix', exitCode => 0);
runs('DEBUG trap', 'trap "echo D" DEBUG', exitCode => 0);
runs('does not leak', 'echo nd', stdout => 'nd');
runs('ERR trap', 'trap - DEBUG; trap "echo E" ERR; false', exitCode => 1,
     stdout => 'E');
runs('RETURN trap', 'trap - ERR; trap "echo R" RETURN; true', stdout => '');
runs('no trap', 'trap - RETURN; trap', stdout => '');
runs('set -C', 'set -C; echo x', stdout => 'x');
runs('with set -C', 'echo y; set +C', stdout => 'y');
runs('lastpipe', 'shopt -s lastpipe; echo a | read V; echo $V',
     stdout => 'a');

# Standard input.

runs('none', 'cat; read x; echo $?', stdout => '1');
runs('given', 'read a; cat; echo "[$a]"',
     options => { stdin => "l1\nl2 \x{e9}" }, stdout => "l2 \x{e9}[l1]");
runs('with NUL', 'od -An -c | tr -d " \n"', options => { stdin => "a\0b" },
     stdout => 'a\\0b');
runs('empty', 'cat; echo x', options => { stdin => '' }, stdout => 'x');
runs('not for the next', 'cat; echo y', stdout => 'y');

# Jobs that stay behind.

runs('a job', 'sleep 300 & echo started', stdout => 'started', stderr => '');
runs('is known', 'jobs', stdout => qr/Running\s+sleep 300/);
runs('a job that talks later', '(sleep 0.3; echo late; echo late >&2) & ' .
     'echo now', stdout => 'now');
runs('is not in the next result', 'sleep 0.6; echo x', stdout => 'x',
     stderr => '');
runs('its end is', '(exit 7) & wait $!', exitCode => 7);
runs('jobs end', 'kill %1; wait; echo done', stdout => 'done');

# Environment and directory of one command.

my %odd = (E1 => "a'b\"c\$d\ne\\f", E2 => '', E3 => "\x{e9}\t!");

runs('variables before', "export E1=old; E2='un exported'; unset E3; " .
     "E4=(x 'y z')", exitCode => 0);
runs('of one command', 'printf "%s|" "$E1" "$E2" "$E3"; ' .
     'env | grep -c "^E[123]="; unset E1; E2=changed; export E3=new',
     options => { env => { %odd, E4 => undef } },
     stdout => "$odd{E1}|$odd{E2}|$odd{E3}|3");
runs('put back exactly', 'declare -p E1 E2 E3; echo "${E4[1]}"',
     stdout => qq{declare -x E1="old"\ndeclare -- E2="un exported"\ny z},
     stderr => qr/E3: not found/);
runs('a read-only one keeps its value', 'readonly RO=1', exitCode => 0);
runs('and the command runs', 'echo $RO', options => { env => { RO => '2' } },
     stdout => '1');
runs('with set -u and unset', 'set -u; echo $ZZ',
     options => { env => { ZZ => 'z' } }, stdout => 'z');
runs('unset again', 'echo ${ZZ-none}; set +u', stdout => 'none');

runs('two directories', 'cd /var; cd /usr', exitCode => 0);
runs('the directory of one command', 'pwd; cd /etc',
     options => { cwd => '/tmp' }, stdout => '/tmp');
runs('put back', 'pwd; echo $OLDPWD', stdout => "/usr\n/var");
runs('no such directory', 'pwd', options => { cwd => '/no/such' },
     exitCode => 1, stdout => '',
     stderr => "Failed to change directory to '/no/such'");
runs('put back after that', 'pwd; echo $OLDPWD', stdout => "/usr\n/var");
runs('a relative one', 'pwd', options => { cwd => 'lib' },
     stdout => '/usr/lib');
runs('an odd one', "mkdir -p \"$dir/a'b \\\$c\"", exitCode => 0);
runs('is entered', 'pwd', options => { cwd => "$dir/a'b \$c" },
     stdout => "$dir/a'b \$c");
runs('a directory that goes', "mkdir $dir/gone; cd $dir/gone; rmdir ../gone",
     exitCode => 0);
runs('does not matter', 'pwd', options => { cwd => '/tmp' },
     stdout => '/tmp');
runs('home', 'cd /', exitCode => 0);

# The end of a shell.

dies('exit', 'exit', 0);
dies('exit 3', 'exit 3', 3);
dies('exec', 'exec true', 0);
dies('exec of nothing', 'exec nosuch_zz', 127);
dies('SIGKILL', 'kill -9 $$', 137);
dies('set -e', 'set -e; false; echo x', 1);
dies('EXIT trap', 'trap "echo bye" EXIT; exit 4', 4);

for (['a function called builtin', 'builtin(){ echo junk; }'],
     ['all descriptors closed', 'for i in {0..255}; do eval "exec $i>&-"; done'],
     ['no descriptors left', 'ulimit -n 4'],
     ['stopped', 'kill -STOP $$'])
{
    my ($name, $command) = @$_;
    my $start = time;
    my @r = map { $agent->post('/api/execute', { command => $_,
                      sessionId => 'w' }, timeout => 40) }
        $command, 'echo again', 'echo alive';

    ok((grep { $_->{status} == 410 } @r[0, 1]) <= 1
       && !(grep { $_->{status} != 200 && $_->{status} != 410 } @r),
       "$name: told at most once") or diag(map { $_->{body} } @r);
    is($r[2]{json}{stdout}, 'alive', "$name: no hang, a fresh shell");
    cmp_ok(time - $start, '<', 60, "$name: soon");
}

runs('TMOUT', 'TMOUT=1', session => 'tm', exitCode => 0);
sleep 1.5;
runs('does not end the shell', 'echo x', session => 'tm', stdout => 'x');

{
    my $j = $agent->execute('echo $$', sessionId => 'k');
    kill 'KILL', $j->{stdout};
    ok(wait_for(sub { !process_alive($j->{stdout}) }, 5), 'a shell is killed');
    sleep 0.1;
    runs('a shell that died in between is told', 'echo a', session => 'k',
         status => 410, code => 'SESSION_TERMINATED',
         'context.exitCode' => 137);
    runs('once', 'echo a', session => 'k', stdout => 'a');
}

# What sandboxd says to a session is none of its calls.
{
    my $j = $agent->execute('echo $$', sessionId => 'default');

    kill 'KILL', $j->{stdout};
    ok(wait_for(sub { !process_alive($j->{stdout}) }, 5), 'a shell is killed');
    sleep 0.1;
    is($agent->request(PUT => '/internal/env',
        json => { seq => 1, env => { NEW => 'yes' } })->{status}, 200,
        'another environment');
    runs('the next call is told of the end', 'echo a', session => 'default',
         status => 410, code => 'SESSION_TERMINATED',
         'context.exitCode' => 137);
    runs('and a fresh shell has it', 'echo $NEW', session => 'default',
         stdout => 'yes');
}

# Making, listing, deleting.

{
    my $r = $agent->post('/api/session/create',
        { id => 'c1', cwd => '/usr', env => { A => '1', B => undef } });
    is($r->{status}, 200, 'create');
    ok(exists $r->{json}{containerPlacementId}
       && !defined $r->{json}{containerPlacementId}, 'containerPlacementId');
    runs('its options', 'pwd; echo "$A|${B-unset}"; env | grep -c ^A=1',
         session => 'c1', stdout => "/usr\n1|unset\n1");
    $r = $agent->post('/api/session/create', { id => 'c1' });
    is($r->{status}, 409, 'again');
    is($r->{json}{code}, 'SESSION_ALREADY_EXISTS', 'code');
    is($r->{json}{context}{sessionId}, 'c1', 'context');
    $r = $agent->request('POST', '/api/session/create', body => '{bad');
    is($r->{status}, 200, 'a body that is no JSON is tolerated');
    like($r->{json}{data}{id}, qr/^session_\d{13}_[0-9a-f]{12}$/, 'an id');
    $r = $agent->post('/api/session/create', { id => 42 });
    is($r->{status}, 400, 'an id that is no string');
    is($r->{json}{context}{validationErrors}[0]{field}, 'id', 'named');
    $r = $agent->post('/api/session/create', { id => '__DISABLE_SESSION__' });
    is($r->{status}, 400, 'a reserved id');
    $r = $agent->post('/api/session/create', { id => 'c2',
                                               cwd => '/no/such' });
    is($r->{status}, 200, 'no such directory');
    runs('is home or the root', '[ "$PWD" = "$HOME" ] || [ "$PWD" = / ] || ' .
         '[ "$PWD" = /workspace ]', session => 'c2', exitCode => 0);
    runs('an odd id', 'pwd', session => "a/b c", exitCode => 0,
         sessionId => 'a/b c');

    $r = $agent->get('/api/session/list');
    my %have = map { $_ => 1 } @{ $r->{json}{data} };
    ok($have{c1} && $have{c2} && $have{s} && $have{'a/b c'}, 'list');

    $agent->post('/api/process/start', { command => 'sleep 400',
        sessionId => 'c1', processId => 'in-c1' });
    my $job = $agent->execute('sleep 401 & echo $!', sessionId => 'c1');
    my $daemon = $agent->execute(
        '(setsid sleep 402 >/dev/null 2>&1 & echo $!)', sessionId => 'c1');
    my $p = $agent->get('/api/process/in-c1')->{json}{process};
    $r = $agent->post('/api/session/delete', { sessionId => 'c1' });
    is($r->{status}, 200, 'delete');
    is($r->{json}{sessionId}, 'c1', 'names it');
    ok(!process_alive($p->{pid}), 'its processes are dead');
    ok(!process_alive($job->{stdout}), 'and its jobs');
    ok(!process_alive($daemon->{stdout}), 'and what left their process group');
    $p = $agent->get('/api/process/in-c1')->{json}{process};
    is($p->{status}, 'killed', 'told by its process');
    is($p->{exitCode}, 137, 'with its exit code');
    $r = $agent->post('/api/session/delete', { sessionId => 'c1' });
    is($r->{status}, 500, 'delete what is unknown');
    is($r->{json}{code}, 'INTERNAL_ERROR', 'code');
    $r = $agent->post('/api/session/delete', {});
    is($r->{status}, 400, 'delete nothing');

    my $s = $agent->connect;
    http_send($s, "POST /api/execute HTTP/1.1\r\nHost: x\r\n" .
              "Content-Length: 40\r\n\r\n" .
              '{"command":"sleep 60","sessionId":"dd" }');
    sleep 0.3;
    $r = $agent->post('/api/session/delete', { sessionId => 'dd' });
    is($r->{status}, 200, 'delete while a command runs');
    my $got = '';
    sysread $s, $got, 3 while length($got) < 3;
    $r = http_read($s, timeout => 30);
    is($r->{status}, 410, 'which is told');
    is($r->{json}{code}, 'SESSION_DESTROYED', 'code');
    runs('the id can be used again', 'echo x', session => 'dd',
         stdout => 'x');
}

# Sessions whose shell was ready before.

{
    my %own;
    for my $i (1 .. 6) {
        $agent->post('/api/session/create', { id => "w$i", cwd => '/usr',
            env => { A => "q'\n\"$i", B => undef, IFS => $i > 4 ? '-' : undef,
                     PATH => "/bin:/usr/bin:/p$i" } });
        runs("ready shell $i: as one that was started for it",
             'pwd; echo "$A|${B-unset}|${OLDPWD-none}|$PATH"; declare -p OLDPWD;'
             . ' env | grep -c "^A="; echo $-; umask; jobs; printf %q "$IFS"',
             session => "w$i", stderr => '',
             stdout => "/usr\nq'\n\"$i|unset|none|/bin:/usr/bin:/p$i\n" .
                 "declare -x OLDPWD\n1\nhiBs\n0022\n\$' \\t\\n'");
        runs("ready shell $i: has a state of its own", 'echo ${X-none}; X=1',
             session => "w$i", stdout => 'none');
        $own{runs('its number', 'echo $$', session => "w$i")->{stdout}} = 1;
    }

    is(scalar keys %own, 6, 'six shells');
}

# An agent that is new leaves the processors to those who wait for its first
# commands, and makes nothing for later.  On a machine that needs so long for
# the first one nothing can be seen of it.

{
    my $new = AgentClient->start();
    my $begun = time();
    my $shells = sub { scalar grep { (slurp("/proc/$_/comm") // '') =~ /^bash/ }
                       $new->children };

    $new->execute('true');
    sleep 0.15;
    my $n = $shells->();

    SKIP: {
        skip 'a slow machine', 1 if time() - $begun > 0.35;
        is($n, 1, 'the first session has the only shell');
    }

    ok(wait_for(sub { $shells->() == 2 }, 30), 'a while later another waits');
    $new->stop;
}

# What waits may be killed.  Who gets a dead one before that is known is told,
# as whenever a shell dies, once.

{
    my $other = AgentClient->start();
    my $own = $other->execute('echo $$')->{stdout};
    my $waiting = sub { grep { $_ != $own && (slurp("/proc/$_/comm") // '')
                               =~ /^bash/ } $other->children };

    ok(wait_for($waiting, 30), 'a shell waits once a session was made');
    kill 'KILL', $waiting->();
    $other->execute('true', sessionId => 'next');
    is($other->execute('echo ok', sessionId => 'next')->{stdout}, 'ok',
       'it may be killed');
    is($other->execute('echo $$')->{stdout}, $own, 'others live on');
    $other->stop;
    ok(!$other->{left}, 'nothing is left') or diag("@{ $other->{left} }");
}

# Which session is meant.

{
    $agent->execute('cd /var', sessionId => 'hs');
    for (['X-Session-Id', headers => { 'X-Session-Id' => 'hs' }],
         ['Authorization', headers => { Authorization => 'Bearer hs' }],
         ['session', path => '?session=hs'],
         ['sessionId', path => '?sessionId=h%73'])
    {
        my ($name, %o) = @$_;
        my $path = '/api/execute' . (delete $o{path} // '');
        my $r = $agent->request('POST', $path, json => { command => 'pwd' },
                                %o);
        is($r->{json}{stdout}, '/var', "session by $name");
        is($r->{json}{sessionId}, 'hs', 'named');
    }

    my $r = $agent->post('/api/execute', { command => 'true',
                                           sessionId => '  ' });
    is($r->{status}, 500, 'a blank session');
    like($r->{json}{message}, qr/must not be empty or whitespace/, 'told');
}

# Bad requests.

for (['no JSON', '{bad', undef], ['an array', '[]', undef],
     ['nothing', '', undef], ['null', 'null', undef],
     ['twice', '{"command":"a","command":"b"}', undef],
     ['no command', '{}', 'command'], ['a number', '{"command":5}', 'command'],
     ['cwd', '{"command":"a","cwd":1}', 'cwd'],
     ['env', '{"command":"a","env":[]}', 'env'],
     ['env value', '{"command":"a","env":{"N":5}}', 'env'],
     ['timeout', '{"command":"a","timeoutMs":"1"}', 'timeoutMs'],
     ['negative', '{"command":"a","timeoutMs":-1}', 'timeoutMs'],
     ['huge', '{"command":"a","timeoutMs":1e300}', 'timeoutMs'],
     ['stdin', '{"command":"a","stdin":{}}', 'stdin'],
     ['session', '{"command":"a","sessionId":7}', 'sessionId'],
     ['background', '{"command":"a","background":"x"}', 'background'])
{
    my ($name, $body, $field) = @$_;
    for my $path ('/api/execute', '/api/execute/stream',
                  '/api/process/start')
    {
        my $r = $agent->request('POST', $path, body => $body);
        is($r->{status}, 400, "bad request: $name");
        is($r->{json}{code}, 'VALIDATION_FAILED', 'code');
        is($r->{json}{context}{validationErrors}[0]{field}, $field, 'field')
            if defined $field;
        unlike($r->{body}, qr/stack/, 'no stack');
    }
}

{
    my $r = $agent->post('/api/execute', { command => 'true',
                                           env => { 'A-B' => 'x' } });
    is($r->{status}, 500, 'a bad name');
    is($r->{json}{message}, "Failed to execute command 'true' in session " .
       "'default': Invalid environment variable name: A-B", 'told');
}

# Without a session.

{
    my %no = (sessionId => '__DISABLE_SESSION__');
    my $j = $agent->execute('echo a; printf b; echo e >&2; cd /', %no);
    is("$j->{stdout}|$j->{stderr}", "a\nb|e\n", 'exact text');
    $j = $agent->execute('exit 3', %no);
    is($j->{exitCode}, 3, 'exit');
    $j = $agent->execute('kill -9 $$', %no);
    is($j->{exitCode}, 137, 'signal');
    $j = $agent->execute('cat; pwd; echo $E; echo $0', %no, stdin => "in\n",
                         cwd => '/usr', env => { E => 'x y' });
    is($j->{stdout}, "in\n/usr\nx y\n/bin/bash\n", 'input, directory, env');
    $j = $agent->execute('x=' . ('y' x 300000) . '; echo ${#x}; ls -l ' .
                         '/proc/self/fd | grep -c memfd', %no);
    is($j->{stdout}, "300000\n0\n", 'a long command');
    my $r = $agent->post('/api/execute', { command => 'pwd', %no,
                                           cwd => '/no/such' });
    is($r->{status}, 500, 'no such directory');
    like($r->{json}{message}, qr/Failed to change directory to '\/no\/such'/,
         'told');
    my $start = time;
    $r = $agent->post('/api/execute', { command => 'echo a; sleep 60', %no,
                                        timeoutMs => 200 });
    is($r->{status}, 200, 'a timeout is an exit');
    is($r->{json}{exitCode}, 124, 'of 124');
    is($r->{json}{stdout}, "a\n", 'with the output');
    is($r->{json}{stderr}, "Command timed out after 200ms\n", 'told');
    cmp_ok(time - $start, '<', 20, 'at once');
    $j = $agent->execute('sleep 300 & echo $!', %no);
    ok(process_alive($j->{stdout} + 0), 'what stays behind lives');
    kill 'KILL', $j->{stdout} + 0;
}

# Much output.

{
    my $start = time;
    my $j = $agent->execute('head -c 10000000 /dev/zero | tr "\\0" x',
                            sessionId => 's');
    is(length $j->{stdout}, 10000000, '10 MB');
    ok($j->{stdout} !~ /[^x]/, 'all of it');
    # Most of it is the test's own parser of JSON.
    cmp_ok(time - $start, '<', is_san() ? 160 : 80, 'in time');
    $j = $agent->execute(q{head -c 3000000 /dev/urandom | od -An -tx1 -v | } .
                         "tee $dir/od >&2; cat $dir/od", sessionId => 's');
    is($j->{stdout}, $j->{stderr}, 'both outputs, lines');
}

# Commands wait for one another, and their outputs never mix.

{
    my (@s, @want);
    for my $i (1 .. 20) {
        my $s = $agent->connect;
        my $body = json_encode({ command => "echo a$i; sleep 0.02; echo b$i; " .
            "echo c$i >&2", sessionId => $i % 2 ? 'q1' : 'q2' });
        http_send($s, "POST /api/execute HTTP/1.1\r\nHost: x\r\n" .
            'Content-Length: ' . length($body) . "\r\n\r\n$body");
        push @s, $s;
    }
    my $bad = 0;
    for my $i (1 .. 20) {
        my $got = '';
        sysread $s[$i - 1], $got, 3 - length $got, length $got
            while length($got) < 3;
        my $r = http_read($s[$i - 1], timeout => 30);
        $bad++ if ($r->{json}{stdout} // '') ne "a$i\nb$i"
            || $r->{json}{stderr} ne "c$i";
    }
    is($bad, 0, '20 commands at once in 2 sessions');
}

is($agent->stop, 0, 'ends in order');
ok(!$agent->{left}, 'and leaves nothing') or diag("@{ $agent->{left} }");

done_testing();
