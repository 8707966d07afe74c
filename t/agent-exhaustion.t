#!/usr/bin/perl

# The agent where something has run out: descriptors, processes, memory, room
# on the disk, a client's patience.  Each time: a clear error, the others go
# on, and afterwards everything is as it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Harness;
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(200);

my $PLAIN = '__DISABLE_SESSION__';


sub rss {
    return ((slurp("/proc/$_[0]/status") // '') =~ /VmRSS:\s+(\d+)/)[0];
}

sub cpu_ticks {
    my @f = split / /, (slurp("/proc/$_[0]/stat") // '') =~ s/.*\) //sr;

    return $f[11] + $f[12];
}

# A request on a connection that stays open.
sub on {
    my ($s, $method, $path, $json) = @_;
    my $body = $json ? json_encode($json) : '';

    http_send($s, "$method $path HTTP/1.1\r\nHost: x\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body");

    return http_read($s, timeout => 30);
}

# A control connection whose OK was read.
sub control {
    my ($a) = @_;
    my $s = $a->connect or return;

    return unless IO::Select->new($s)->can_read(30);
    sysread $s, my $line, 3;

    return $line eq "OK\n" ? $s : undef;
}

sub alive {
    my ($a) = @_;

    return $a->get('/api/ping', timeout => 30)->{status} == 200
        && ($a->execute('echo $((6*7))', sessionId => $PLAIN)->{stdout} // '')
           =~ /^42$/;
}

# Connections that it holds: those of its socket but the listening one.
sub held {
    my ($a) = @_;

    return -1 + grep { / \Q$a->{socket}\E$/ } split /\n/, slurp('/proc/net/unix');
}

# All are gone, and no descriptor but those of shims and shells in reserve.
sub settled {
    my ($a, $fds) = @_;

    return wait_for(sub { held($a) <= 0 && $a->fd_count <= $fds + 60 }, 30);
}

sub ended {
    my ($a) = @_;

    is($a->stop, 0, 'the agent ends well');
    is_deeply($a->{left}, undef, 'nothing is left');
    unlike($a->log_text, qr/Sanitizer|runtime error/, 'its log is clean');
}

# A cgroup of a controller, of either version, with one limit; undef if none
# is to be had.
my @groups;
sub cgroup {
    my ($controller, $file1, $file2, $value) = @_;

    for my $try (["/sys/fs/cgroup/$controller", $file1],
                 ['/sys/fs/cgroup', $file2])
    {
        my ($base, $file) = @$try;
        my $dir = "$base/sbx-t-$$-$controller";

        mkdir $dir or next;
        if (-e "$dir/$file" and open my $fh, '>', "$dir/$file") {
            if (print $fh $value and close $fh) {
                push @groups, $dir;
                return { dir => $dir, file => "$dir/$file" };
            }
        }
        rmdir $dir;
    }

    return undef;
}

sub inside { return ('sh', '-c', "echo \$\$ > $_[0]{dir}/cgroup.procs && exec \"\$@\"", 'sh') }

END { for my $d (@groups) { rmdir $d or do { sleep 0.5; rmdir $d } } }


subtest 'out of descriptors' => sub {
    my $dir = tmp_dir();
    spew("$dir/text", "text\n");
    my $a = AgentClient->start(args => ['--workspace', $dir],
        before => ['prlimit', '--nofile=64:64']);
    ok(alive($a), 'it works with few');
    my $before = $a->fd_count;
    my $s = control($a);
    my (@open, $refused);

    for (1 .. 100) {
        my $c = $a->connect or last;
        push @open, $c;
        IO::Select->new($c)->can_read(30);
        sysread $c, my $line, 100;
        if (($line // '') eq "ERR limit\n") { $refused = 1; last }
    }
    ok($refused, 'connections that are too many are told so')
        or diag(scalar @open);

    my $r = on($s, 'POST', '/api/execute', { command => 'true',
        sessionId => $PLAIN });
    cmp_ok($r->{status}, '>=', 500, 'commands are an error');
    like($r->{json}{message} // '', qr/too many|descriptors|could not be/i,
        'which says why') or diag($r->{body});
    $r = on($s, 'POST', '/api/execute', { command => 'true' });
    cmp_ok($r->{status}, '>=', 500, 'in a session too');
    $r = on($s, 'POST', '/api/read', { path => "$dir/text" });
    # What failed may have left room for one.
    ok($r->{status} == 200 || $r->{body} =~ /TOO_MANY_FILES|Too many open/,
        'files are read, or say why not') or diag($r->{body});
    $r = on($s, 'GET', '/api/ping');
    is($r->{status}, 200, 'what needs none is answered');

    # Somebody waits to be let in: the loop must not spin for him.
    my @wait = map { $a->connect } 1 .. 5;
    my $ticks = cpu_ticks($a->pid);
    sleep 1;
    cmp_ok(cpu_ticks($a->pid) - $ticks, '<', 50, 'without being busy');

    close $_ for @open, @wait, $s;
    ok(settled($a, $before), 'all of them are given back')
        or diag(held($a) . ' held, ' . $a->fd_count . " of $before");
    ok(alive($a), 'and it works again');
    ended($a);
};


SKIP: {
    my $group = cgroup('pids', 'pids.max', 'pids.max', 'max')
        or skip 'no cgroup of processes to be had', 1;

    subtest 'out of processes' => sub {
        my $dir = tmp_dir();
        my $a = AgentClient->start(args => ['--workspace', $dir],
            before => [inside($group)]);
        ok(alive($a), 'it works');

        # Before anything was done with a file.
        my $limit = slurp("$group->{dir}/pids.current") + 40;
        spew($group->{file}, $limit);
        my $r = $a->post('/api/process/start', { command =>
            q|perl -e 'while (1) { my $p = fork; select undef, undef, undef, |
            . q|defined $p && !$p ? 1000 : 0.001 }'|,
            processId => 'bomb', sessionId => $PLAIN });
        is($r->{status}, 200, 'a process that makes others without end');
        ok(wait_for(sub { (slurp("$group->{dir}/pids.current") // 0)
            >= $limit - 1 }, 30), 'it gets to the limit');

        $r = $a->post('/api/write', { path => "$dir/f", content => 'text' });
        is($r->{status}, 200, 'files are written nevertheless')
            or diag($r->{body});
        my @r = map { $a->post('/api/execute', { command => '/bin/true',
            sessionId => $PLAIN }) } 1 .. 8;
        is(scalar(grep { $_->{status} == 0 } @r), 0, 'commands are answered');
        # Now and then one finds room.
        my @bad = grep { $_->{status} != 200
            && ($_->{json}{message} // '') !~ /too many|unavailable/ } @r;
        is_deeply([map { $_->{body} } @bad], [], 'and if not run, told why');
        $r = $a->post('/api/execute', { command => '/bin/true',
            sessionId => 'new' });
        ok($r->{status} != 0, 'a session as well');

        is($a->request('DELETE', '/api/process/bomb')->{status}, 200,
            'it can be killed');
        ok(wait_for(sub { alive($a) }, 30), 'and everything works again');
        is($a->execute('echo $((3*4))', sessionId => 'new2')->{stdout}, '12',
            'sessions too');
        ended($a);
    };
}


SKIP: {
    skip 'the sanitizers need more memory than that', 1 if is_san();
    my $group = cgroup('memory', 'memory.limit_in_bytes', 'memory.max',
        64 * 1024 * 1024) or skip 'no cgroup of memory to be had', 1;

    subtest 'out of memory' => sub {
        my $a = AgentClient->start(before => [inside($group)]);
        my $hog = q{perl -e '$x = "a" x (1 << 20), push @x, $x for 1 .. 2000'};

        ok(alive($a), 'it works');
        for my $session ('s', $PLAIN) {
            my $r = $a->execute($hog, sessionId => $session);
            is($r->{exitCode}, 137, 'who takes too much is killed')
                or diag(json_encode($r));
        }
        ok(process_alive($a->pid), 'and not the agent');
        is($a->execute('echo on', sessionId => 's')->{stdout}, 'on',
            'the session lives');
        my $many = join ' & ', ($hog) x 3;
        $a->post('/api/process/start', { command => "$many & wait",
            sessionId => $PLAIN, processId => 'hogs' });
        ok(wait_for(sub { ($a->get('/api/process/hogs')->{json}{process}{status}
            // '') ne 'running' }, 60), 'several at once end');
        ok(alive($a), 'and it works');
        ended($a);
    };
}


SKIP: {
    my $m = tmp_dir();
    my @ns = ('unshare', $> ? '-rm' : '-m', 'sh', '-c',
        "mount -t tmpfs -o size=1m tmpfs /tmp && mount -t tmpfs -o size=1m "
        . "tmpfs $m && exec \"\$@\"", 'sh');
    my ($can) = run_command([@ns, 'true']);
    skip 'no mount namespace to be had', 1 if $can;

    subtest 'out of room on the disk' => sub {
        my $a = AgentClient->start(before => \@ns, args => ['--workspace', $m]);
        ok(alive($a), 'it works');

        $a->execute("head -c 2000000 /dev/zero > $m/fill; "
            . 'head -c 2000000 /dev/zero > /tmp/fill', sessionId => 's');
        my $r = $a->post('/api/write', { path => "$m/f", content => 'x' x 9000 });
        is("$r->{status} $r->{json}{code}", '500 NO_SPACE', 'a file is an error');
        $r = $a->execute('echo in; exit_code() { return 5; }; exit_code',
            sessionId => 's');
        is("$r->{stdout} $r->{exitCode}", 'in 5', 'commands run');

        # Their output has nowhere to go but memory.
        $r = $a->post('/api/execute', { command =>
            'head -c 3000000 /dev/zero | tr "\0" y; here=1', sessionId => 's' });
        is($r->{status}, 500, 'output that can not be kept is an error');
        like($r->{json}{message}, qr/output could not be stored/, 'which says so');
        is($a->execute('echo $here', sessionId => 's')->{stdout}, '1',
            'and the session goes on');
        $r = $a->post('/api/execute/stream', { command =>
            'head -c 3000000 /dev/zero | tr "\0" z; exit 4', sessionId => $PLAIN });
        my @frames = $a->frames($r->{body});
        is($frames[-1]{type}, 'complete', 'a stream ends');
        is($frames[-1]{exitCode}, 4, 'with the exit code');
        $a->post('/api/process/start', { command =>
            'head -c 3000000 /dev/zero | tr "\0" w; echo last', processId => 'p',
            sessionId => $PLAIN });
        ok(wait_for(sub { $a->get('/api/process/p')->{json}{process}{status}
            eq 'completed' }, 30), 'a process too');
        $r = $a->get('/api/process/p/logs');
        is(substr($r->{json}{stdout} // '', -6), "wlast\n",
            'and its log has the end')
            or diag("$r->{status} " . substr $r->{body}, 0, 500);

        is($a->execute("rm $m/fill /tmp/fill", sessionId => 's')->{exitCode}, 0,
            'room again');
        is($a->post('/api/write', { path => "$m/f", content => 'x' x 9000 })
            ->{status}, 200, 'and files');
        ended($a);
    };
}


subtest 'slow clients' => sub {
    my $dir = tmp_dir();
    my $a = AgentClient->start(args => ['--workspace', $dir],
        env => { SANDBOX_REQUEST_MS => 400 });
    ok(alive($a), 'it works');
    my $before = $a->fd_count;
    my $begun = time();

    # One byte from time to time, of a head and of a body.
    my %slow = (
        head => [control($a), 'GET /api/ping HTTP/1.1' . "\r\nX: " . 'y' x 500],
        body => [control($a), '{"command":"' . 'z' x 5000],
        chunks => [control($a), join '', map { "1\r\n \r\n" } 1 .. 3000],
    );
    my $head = "POST /api/execute HTTP/1.1\r\nHost: x\r\n";
    http_send($slow{body}[0], $head . "Content-Length: 90000\r\n\r\n");
    http_send($slow{chunks}[0], $head . "Transfer-Encoding: chunked\r\n\r\n");
    my $quiet = control($a);
    my %got;

    while (keys %got < 3 && time() < $begun + 60) {
        for my $name (grep { !exists $got{$_} } keys %slow) {
            my ($s) = @{ $slow{$name} };
            if (IO::Select->new($s)->can_read(0)) {
                $got{$name} = http_read($s, timeout => 10);
                next;
            }
            http_send($s, substr $slow{$name}[1], 0, 1, '');
        }
        sleep 0.05;
    }

    for my $name (sort keys %slow) {
        is($got{$name}{status}, 408, "a slow $name is not waited for");
        like($got{$name}{json}{message} // '', qr/in time/, 'and told so');
    }
    ok(!IO::Select->new($quiet)->can_read(0),
        'a connection without a request may be quiet');
    is(on($quiet, 'GET', '/api/ping')->{status}, 200, 'and is of use');
    close $_ for $quiet, map { $_->[0] } values %slow;

    # Cut off at every byte.
    my $put = "PUT /bridge/file$dir/f HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    my $post = "POST /api/execute/stream HTTP/1.1\r\nHost: x\r\n"
        . "Content-Length: 50\r\n\r\n"
        . sprintf '%-50s', '{"command":"sleep 0.1","sessionId":"cut"}';

    for my $text ($put, $post) {
        for my $n (0 .. length $text) {
            my $s = $a->connect or last;
            http_send($s, substr $text, 0, $n);
            close $s;
        }
    }
    ok(settled($a, $before), 'requests cut at every byte leave nothing')
        or diag(held($a) . ' held, ' . $a->fd_count . " of $before");
    $a->request('DELETE', '/api/session/cut');
    is_deeply([glob "$dir/.sandbox-*"], [], 'no temporary file either');
    ok(alive($a), 'and others are served');
    ended($a);
};


subtest 'clients that do not read' => sub {
    my $dir = tmp_dir();
    my $a = AgentClient->start(args => ['--workspace', $dir]);
    my $size = 12_000_000;

    spew("$dir/large", 'l' x $size);
    ok(alive($a), 'it works');
    $a->post('/api/process/start', { command => "cat $dir/large; sleep 1000",
        processId => 'talks', sessionId => $PLAIN });
    my ($idle, $fds) = (rss($a->pid), $a->fd_count);
    my %what = (
        'exec stream' => ['POST', '/api/execute/stream',
            { command => "cat $dir/large", sessionId => $PLAIN }],
        'bridge exec' => ['POST', '/bridge/exec',
            { argv => ['cat', "$dir/large"] }],
        'process stream' => ['GET', '/api/process/talks/stream'],
        'read stream' => ['POST', '/api/read/stream', { path => "$dir/large" }],
        'read' => ['POST', '/api/read', { path => "$dir/large" }],
        'download' => ['GET', "/bridge/file$dir/large"],
        'archive' => ['GET', '/api/archive?path=.'],
    );
    my @open;

    for my $name (sort keys %what) {
        my ($method, $path, $json) = @{ $what{$name} };
        my $body = $json ? json_encode($json) : '';

        for (1 .. 4) {
            my $s = control($a) or next;
            http_send($s, "$method $path HTTP/1.1\r\nHost: x\r\nContent-Length: "
                . length($body) . "\r\n\r\n$body");
            push @open, [$name, $s];
        }
    }

    # Each has begun to answer.
    for (@open) {
        my ($name, $s) = @$_;
        IO::Select->new($s)->can_read(30);
        sysread $s, my $some, 12;
        is($some, 'HTTP/1.1 200', $name);
    }
    sleep 1;
    SKIP: {
        skip 'memory is not measured with the sanitizers', 1 if is_san();
        my $more = rss($a->pid) - $idle;
        cmp_ok($more, '<', @open * 1536, sprintf
            '%d of them cost %.1f MB', scalar @open, $more / 1024);
    }
    my $begun = time();
    ok(alive($a), 'others are served');
    cmp_ok(time() - $begun, '<', 20, 'soon');

    close $_->[1] for @open;
    ok(settled($a, $fds), 'they leave nothing behind')
        or diag(held($a) . ' held, ' . $a->fd_count . " of $fds");
    ok(alive($a), 'and it works');
    ended($a);
};


done_testing();
