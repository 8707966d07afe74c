#!/usr/bin/perl

# Interpreters that are started ahead of their use, and those that can't be
# started: nothing runs before it is needed, the pool follows the use, an idle
# one goes, and each failure says what it is.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use Interpreter;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);

my $dir = tmp_dir();
my @agents;


sub agent {
    my $i = Interpreter->start(@_);

    push @agents, $i;

    return $i;
}


# The interpreters below an agent.
sub interpreters {
    my ($i, $name) = @_;

    return grep { (readlink("/proc/$_/exe") || '') =~ m{/$name[^/]*$} }
        $i->children;
}


# Reads from a pipe or a socket, and nothing is there.
sub waits_for_orders {
    my ($pid) = @_;
    my ($call, $fd) = split ' ', slurp("/proc/$pid/syscall") // '';

    return ($call // '') eq '0'
        && (readlink("/proc/$pid/fd/" . hex $fd) // '') =~ /^(?:pipe|socket):/;
}


sub count_is {
    my ($i, $name, $n, $what) = @_;

    ok(wait_for(sub { interpreters($i, $name) == $n }, 60), $what)
        or diag(scalar interpreters($i, $name), " of $name");
}

# ---- pools

{
    my $i = agent(INTERPRETER_POOL_IDLE_MS => 3000);
    my %done;

    $i->get('/api/contexts');
    $i->get('/api/interpreter/health');
    is(scalar interpreters($i, '(?:python|node)'), 0,
       'an agent that runs no code starts nothing');

    my $c = $i->context('python');
    count_is($i, 'python', 2, 'the first context has one ready behind it');
    is(scalar interpreters($i, 'node'), 0, 'of its own language');

    my ($pid) = grep { $_ } map { $_->{text} } @{ $i->execute($c,
        'import os; os.getpid()')->{frames} };
    my ($idle) = grep { $_ != $pid } interpreters($i, 'python');
    my $d = $i->context('python');
    is($i->execute($d, 'import os; os.getpid()')->{frames}[0]{text}, $idle,
       'which the next context takes');
    isnt($i->execute($d, '"x" in globals()')->{frames}[0]{text}, 'True',
         'fresh');

    # One that is still starting would be somebody's; it waits for orders first.
    my $spare = wait_for(sub {
        return (grep { $_ != $pid && $_ != $idle && waits_for_orders($_) }
            interpreters($i, 'python'))[0];
    }, 20);
    ok($spare, 'another one is ready') and kill 'KILL', $spare;
    wait_for(sub { !-e "/proc/$spare" }, 10);
    sleep 0.1;          # somebody reaped it, and says so
    my @six = map { $i->context('python') } 1 .. 6;
    is(scalar(() = $i->get('/api/contexts')->{body} =~ /"id"/g), 8,
       'six more, a killed idle one does no harm');
    $i->request('DELETE', "/api/contexts/$_") for $c, $d, @six;
    count_is($i, 'python', 0, 'without use the idle ones go');

    my $js = $i->context('js');
    my $ts = $i->context('ts', cwd => $dir);
    is($i->execute($ts, 'let q: number = 4; q')->{frames}[0]{text}, '4',
       'both run on Node.js');
    $i->request('DELETE', "/api/contexts/$_") for $js, $ts;
    count_is($i, 'node', 0, 'and go, too');
}
{
    my $i = agent(PYTHON_POOL_MIN_SIZE => 2, PYTHON_POOL_MAX_SIZE => 1,
                  JAVASCRIPT_POOL_MAX_SIZE => 1, INTERPRETER_POOL_IDLE_MS => 100);
    my ($r, $c);

    count_is($i, 'python', 2, 'a configured minimum is there from the start');

    # What sandboxd says after each start and wake.
    my $told = 0;
    my $tell = sub { is($i->request(PUT => '/internal/env',
        json => { seq => ++$told, env => { @_ } })->{status}, 200, 'told') };

    $tell->(A => 'a');
    ok(wait_for(sub { my @p = interpreters($i, 'python');
        @p == 2 && @p == grep { waits_for_orders($_) } @p }, 60), 'they wait');
    my @waiting = sort(interpreters($i, 'python'));
    $tell->(A => 'a');
    sleep 0.3;
    is_deeply([sort(interpreters($i, 'python'))], \@waiting,
        'they stay while the environment is the same');
    $tell->(A => 'b');
    ok(wait_for(sub { my %is = map { $_ => 1 } interpreters($i, 'python');
        !grep { $is{$_} } @waiting }, 20), 'and go with it');
    $tell->();
    count_is($i, 'python', 2, 'there are others');

    $c = $i->context('python');
    $r = $i->post('/api/contexts', { language => 'python' });
    is($r->{status}, 500, 'a configured maximum');
    is($r->{json}{message}, 'Maximum python executor limit reached (1)',
       'says so');
    my $js = $i->context('javascript');
    is($i->post('/api/contexts', { language => 'node' })->{status}, 500,
       'of each language');
    is($i->post('/api/contexts', { language => 'ts' })->{status}, 200,
       'by itself');
    $i->request('DELETE', "/api/contexts/$c");
    is($i->post('/api/contexts', {})->{status}, 200, 'deleting makes room');
    count_is($i, 'python', 3, 'the minimum stays');
}

# ---- time

{
    my $i = agent(INTERPRETER_EXECUTION_TIMEOUT_MS => 300);
    my $c = $i->context('python');

    is($i->last_of($i->execute($c, 'while True: pass'))->{ename},
       'TimeoutError', 'the limit of all cells');
    is($i->last_of($i->execute($c, 'import time; time.sleep(0.6)',
                               timeout_ms => 60000))->{type},
       'execution_complete', "a cell's own goes before it");
}

# ---- what can't be started

{
    my $i = agent(INTERPRETER_SPAWN_TIMEOUT_MS => 1500);
    my $r = $i->post('/api/contexts', { env_vars => { PATH => "$dir/none" } });

    is("$r->{status} $r->{json}{code}", '501 PYTHON_NOT_AVAILABLE', 'no Python');
    like($r->{json}{message}, qr/Python interpreter not available.*-python/,
         'its message');
    is_deeply($r->{json}{context}, { language => 'python' }, 'its context');
    for my $l ('javascript', 'typescript') {
        $r = $i->post('/api/contexts', { language => $l,
                                         env_vars => { PATH => "$dir/none" } });
        is("$r->{status} $r->{json}{code}", '501 JAVASCRIPT_NOT_AVAILABLE',
           "no Node.js for $l");
    }

    mkdir "$dir/$_" for 'ts', 'bad', 'slow', 'lies', 'folder', 'folder/python3';
    my ($node) = grep { -x } map { "$_/node" } '/usr/bin', split /:/, $ENV{PATH};
    symlink $node, "$dir/ts/node";
    $r = $i->post('/api/contexts', { language => 'ts', cwd => $dir,
        env_vars => { PATH => "$dir/ts", NODE_PATH => '' } });
    if ($r->{status} == 200) {
        # Debian's Node.js finds its packages without any variable.
        is(`cd '$dir' && $node -p 'try { require.resolve("esbuild"); 1 }
            catch { +(typeof require("module").stripTypeScriptTypes
                      === "function") }'`,
           "1\n", 'types are stripped by Node.js itself, or esbuild is found');
    } else {
        is("$r->{status} $r->{json}{code}", '501 JAVASCRIPT_NOT_AVAILABLE',
           'nothing to strip types with');
        like($r->{json}{message}, qr/esbuild/, 'says what is missing');
    }

    spew("$dir/bad/python3", "#!/bin/sh\necho broken installation >&2\nexit 3\n",
         0755);
    $r = $i->post('/api/contexts', { env_vars => { PATH => "$dir/bad" } });
    is("$r->{status} $r->{json}{code}", '500 INTERNAL_ERROR',
       'an interpreter that fails');
    like($r->{json}{message}, qr/code 3.*broken installation/s, 'says why');

    spew("$dir/slow/python3", "#!/bin/sh\nexec /bin/sleep 100\n", 0755);
    $r = $i->post('/api/contexts', { env_vars => { PATH => "$dir/slow" } });
    like($r->{json}{message}, qr/did not start in time/, 'one that hangs');

    spew("$dir/lies/python3", "#!/bin/sh\nprintf '\\0\\0\\0\\0r' >/proc/self/fd/" .
         "241\n/bin/sleep 0.2\nexit 4\n", 0755);
    $r = $i->post('/api/contexts', { env_vars => { PATH => "$dir/lies" } });
    is($r->{status}, 500, 'one that lies');

    spew("$dir/lies/python3", "#!/bin/sh\nprintf '\\0\\0\\0\\0r' >/proc/self/fd/" .
         "241\nexec /bin/sleep 100\n", 0755);
    $r = $i->post('/api/contexts', { env_vars => { PATH => "$dir/lies" } },
                  timeout => 30);
    like($r->{json}{message}, qr/did not start in time/,
         'one that hangs behind its word to be ready');

    $r = $i->post('/api/contexts', { env_vars => { PATH => "$dir/folder" } });
    is($r->{status}, 501, 'a directory of the name is none');

    is_deeply($i->get('/api/contexts')->{json}{contexts}, $r->{status} == 501
              ? [grep { $_->{language} eq 'typescript' }
                 @{ $i->get('/api/contexts')->{json}{contexts} }] : [],
              'none of them is a context');
    my $s = $i->agent->connect;
    my $body = json_encode({ env_vars => { PATH => "$dir/slow" } });
    http_send($s, "POST /api/contexts HTTP/1.1\r\nHost: x\r\nContent-Length: " .
              length($body) . "\r\n\r\n$body");
    sleep 0.1;
    close $s;
    is($i->execute($i->context('python'), '1')->{frames}[0]{text}, '1',
       'a client that leaves before its context is there');
    ok(wait_for(sub { !grep { (slurp("/proc/$_/cmdline") // '') =~ /sleep/ }
                      $i->children }, 30), 'which goes with it');
}

for my $i (@agents) {
    is($i->agent->stop, 0, 'the agent ends in order');
    is_deeply($i->agent->{left} || [], [], 'and leaves nothing behind');
}

done_testing();
