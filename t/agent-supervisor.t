#!/usr/bin/perl

# The agent as the entry point of an image: with a command beside the server,
# told by arguments or the environment where to listen, and as PID 1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Harness;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $AGENT = build_dir() . '/sandbox-agent';
my $KEY = '0123456789abcdef' x 2;

my %SAN = (ASAN_OPTIONS => 'detect_leaks=0', UBSAN_OPTIONS => 'halt_on_error=1');


# The wait status of an agent that is to end by itself; undef after 30 s.
sub ends {
    my ($pid) = @_;
    my $status;

    wait_for(sub { waitpid($pid, WNOHANG) == $pid and do { $status = $?; 1 } },
        30);

    return $status;
}


sub start {
    my (%o) = @_;
    my $dir = tmp_dir();

    spew("$dir/key", "$KEY\n");
    my $pid = start_process(
        cmd => [@{ $o{before} || [] }, $AGENT, @{ $o{args} || [] }],
        log => "$dir/log", cwd => $dir, name => 'sandbox-agent',
        env => { %SAN, SANDBOX_WORKSPACE => "$dir/workspace",
                 SANDBOX_LISTEN => "unix:$dir/agent",
                 SANDBOX_KEY_FILE => "$dir/key", %{ $o{env} || {} } });

    return { pid => $pid, dir => $dir, log => sub { slurp("$dir/log") // '' } };
}


sub ask {
    my ($a, $method, $path, %o) = @_;

    return http(unix => "$a->{dir}/agent", preface => "CONTROL $KEY\n",
                method => $method, path => $path, %o);
}


sub answers {
    my ($a) = @_;

    return wait_for(sub { -S "$a->{dir}/agent"
        && ask($a, 'GET', '/api/ping')->{status} == 200 }, 30);
}


subtest 'a command that ends well' => sub {
    my $a = start(args => ['--', 'sh', '-c',
        'echo "$SANDBOX_STARTED $SANDBOX_KEY_FILE $FROM_IMAGE" > said; pwd >> said; ls /proc/$$/fd >> said'],
        env => { FROM_IMAGE => 'yes' });

    ok(answers($a), 'the server answers');
    ok(wait_for(sub { (slurp("$a->{dir}/said") // '') =~ /\n.*\n\d/ }, 30), 'it ran');
    my ($env, $cwd, @fds) = split /\n/, slurp("$a->{dir}/said");
    is($env, 'true  yes', 'with the environment of the image, without ours');
    is($cwd, $a->{dir}, 'in the directory of the image');
    cmp_ok(scalar(grep { $_ > 2 && $_ != 10 } @fds), '<=', 1,
        "holds nothing of ours (@fds)");
    ok(wait_for(sub { $a->{log}->() =~ /exited with 0/ }, 30), 'it is over');
    ok(answers($a), 'and the server goes on');
    is(ask($a, 'POST', '/api/execute', json => { command =>
        'echo "$FROM_IMAGE ${SANDBOX_STARTED-unset} ${SANDBOX_KEY_FILE-unset}"' })->{json}{stdout},
        "yes unset unset", 'whose commands see the environment of the image');
    is(stop_process($a->{pid}), 0, 'and ends on SIGTERM with 0');
    ok(!-e "$a->{dir}/agent", 'its socket is gone');
};


subtest 'exit codes' => sub {
    my @cases = (
        [['sh', '-c', 'exit 7'], 7 << 8, 'no dashes, exit 7'],
        [['--', 'sh', '-c', 'kill -9 $$'], 137 << 8, 'killed'],
        [['--', 'sh', '-c', 'kill -TERM $$'], 143 << 8, 'ended by a signal'],
        [['--', '/no/such/program'], 1 << 8, 'no such program'],
        [['--', 'no-such-program'], 1 << 8, 'not in PATH'],
        [['--', '/etc/hostname'], 1 << 8, 'no program'],
        [['--', '/'], 1 << 8, 'a directory'],
    );

    for my $case (@cases) {
        my ($args, $want, $name) = @$case;
        my $a = start(args => $args);

        is(ends($a->{pid}), $want, $name) or diag($a->{log}->());
    }

    my $a = start(args => ['--', 'sh', '-c', 'sleep 1; exit 3']);
    answers($a);
    ask($a, 'POST', '/api/process/start', json => { command => 'sleep 1000.71' });
    my @below = descendants($a->{pid});
    is(ends($a->{pid}), 3 << 8, 'with a process running beside it');
    ok(wait_for(sub { !grep { process_alive($_) } @below }, 30),
        'which is gone as well');
};


subtest 'output' => sub {
    my @say = ('--', 'sh', '-c', 'echo out; echo err >&2; printf "no end"; read x; echo "[$x]"');
    my $a = start(args => [@say]);

    wait_for(sub { $a->{log}->() =~ /exited with/ }, 30);
    unlike($a->{log}->(), qr/\bout\b/, 'is not in the log');
    stop_process($a->{pid});

    $a = start(args => [@say], env => { SANDBOX_LOG_LEVEL => 'debug' });
    ok(wait_for(sub { $a->{log}->() =~ /stdout: no end\[\]/ }, 30), 'is at debug');
    like($a->{log}->(), qr/debug: command stdout: out\n/, 'line by line');
    like($a->{log}->(), qr/debug: command stderr: err\n/, 'each of the two');
    stop_process($a->{pid});

    $a = start(args => [@say], env => { SANDBOX_RAW_CHILD_STDIO => 1 });
    ok(wait_for(sub { $a->{log}->() =~ /^no end\[\]$/m }, 30), 'or is passed through');
    like($a->{log}->(), qr/^out$/m, 'as it is');
    stop_process($a->{pid});

    $a = start(args => ['--', 'sh', '-c', 'printf "\\"q\\" \\303\\244 \\377\\n"'],
        env => { SANDBOX_LOG_LEVEL => 'debug', SANDBOX_LOG_FORMAT => 'json' });
    ok(wait_for(sub { $a->{log}->() =~ /exited with/ }, 30), 'the log as JSON');
    my @lines = grep { /^\{/ } split /\n/, $a->{log}->();
    is(scalar(grep { !json_decode($_)->{timestamp} } @lines), 0, 'each line is one');
    ok((grep { json_decode($_)->{message} eq "command stdout: \"q\" \x{e4} \x{fffd}" }
        @lines), 'with what the command said') or diag($a->{log}->());
    stop_process($a->{pid});

    # Nobody looks at it: it must not block.
    $a = start(args => ['--', 'sh', '-c', 'head -c 3000000 /dev/zero; touch over']);
    ok(wait_for(sub { -e "$a->{dir}/over" }, 30), 'more than a pipe holds');
    stop_process($a->{pid});
};


subtest 'signals' => sub {
    for my $sig ('TERM', 'INT') {
        my $a = start(args => ['--', 'sh', '-c',
            'trap "echo TERM > got; exit 9" TERM; trap "echo INT > got; exit 9" INT;'
            . 'touch up; while :; do sleep 0.05; done']);
        wait_for(sub { -e "$a->{dir}/up" }, 30);
        is(stop_process($a->{pid}, $sig, 30), 0, "SIG$sig: exits with 0");
        is(slurp("$a->{dir}/got"), "$sig\n", 'and the command got it');
    }

    my $a = start(args => ['--', 'sh', '-c',
        'for s in HUP QUIT USR1 USR2 WINCH; do trap "echo $s >> got" $s; done;'
        . 'touch up; while :; do sleep 0.05; done']);
    wait_for(sub { -e "$a->{dir}/up" }, 30);
    for my $sig (qw(HUP QUIT USR1 USR2 WINCH)) {
        kill $sig, $a->{pid};
        ok(wait_for(sub { (slurp("$a->{dir}/got") // '') =~ /^$sig$/m }, 30),
            "SIG$sig is handed on");
    }
    ok(answers($a), 'none of them ends the agent');
    stop_process($a->{pid}, 'TERM', 30);

    # What the command leaves behind, double-forked too, goes with it.
    $a = start(args => ['--', 'sh', '-c',
        '(setsid sleep 1000.81 &) ; sleep 1000.82 & touch up; wait']);
    wait_for(sub { -e "$a->{dir}/up" }, 30);
    my @below = descendants($a->{pid});
    cmp_ok(scalar(@below), '>=', 4, 'a tree');
    is(stop_process($a->{pid}, 'TERM', 30), 0, 'is ended');
    ok(wait_for(sub { !grep { process_alive($_) } @below }, 30), 'as a whole');
};


subtest 'a command that does not listen' => sub {
    my $stubborn = 'trap "" TERM INT; touch up; while :; do sleep 0.05; done';
    my $a = start(args => ['--', 'sh', '-c', $stubborn],
        env => { SANDBOX_STOP_MS => 1500 });

    wait_for(sub { -e "$a->{dir}/up" }, 30);
    my $begun = time();
    my @below = descendants($a->{pid});
    is(stop_process($a->{pid}, 'TERM', 30), 0, 'is killed');
    cmp_ok(time() - $begun, '>=', 1.4, 'not before its time');
    ok(wait_for(sub { !grep { process_alive($_) } @below }, 30), 'all of it');

    $a = start(args => ['--', 'sh', '-c', $stubborn],
        env => { SANDBOX_STOP_MS => 500000 });
    wait_for(sub { -e "$a->{dir}/up" }, 30);
    kill 'TERM', $a->{pid};
    ok(wait_for(sub { $a->{log}->() =~ /signal 15/ }, 30), 'asked once');
    ok(process_alive($a->{pid}), 'it waits');
    is(stop_process($a->{pid}, 'TERM', 60), 0, 'asked twice, it does not');
};


subtest 'where it listens' => sub {
    my $dir = tmp_dir();
    my $port = free_port();
    spew("$dir/key", "$KEY\n");

    my $pid = start_process(cmd => [$AGENT], log => "$dir/log", env => { %SAN,
        SANDBOX_LISTEN => "tcp:127.0.0.1:$port", SANDBOX_KEY_FILE => "$dir/key",
        SANDBOX_VERSION => '9.8.7' });
    my $r;
    ok(wait_for(sub { $r = http(port => $port, preface => "CONTROL $KEY\n",
        path => '/api/version'); $r->{status} == 200 }, 30), 'TCP');
    is($r->{json}{version}, '9.8.7', 'the version that the image names');
    my $s = http_connect(port => $port);
    http_send($s, 'CONTROL ' . 'f' x 32 . "\nGET / HTTP/1.1\r\n\r\n");
    is(join('', <$s>), "ERR key\n", 'a wrong key is refused');
    is(http(port => $port)->{status}, 0, 'and so is none');
    is(stop_process($pid), 0, 'ends');

    $pid = start_process(cmd => [$AGENT, '--listen', "tcp:[::1]:$port",
        '--key-file', "$dir/key"], log => "$dir/log6", env => { %SAN });
    if (-e '/proc/net/if_inet6' && slurp('/proc/net/if_inet6') =~ /\blo$/m) {
        ok(wait_for(sub { require IO::Socket::IP;
            my $s = IO::Socket::IP->new(PeerAddr => '::1', PeerPort => $port)
                or return 0;
            http(socket => $s, preface => "CONTROL $KEY\n",
                path => '/api/ping')->{status} == 200 }, 30), 'IPv6');
    }
    stop_process($pid);

    # A boot object in a file: wiped and gone once it was read.
    my $boot = json_encode({ version => 1, key => $KEY, id => 'x', env => {
        FROM_BOOT => 'yes', COMMAND_TIMEOUT_MS => '1000' } });
    spew("$dir/boot", $boot . "\0" x 5000);
    link "$dir/boot", "$dir/again";
    $pid = start_process(cmd => [$AGENT, '--boot-file', "$dir/boot",
        '--listen', "unix:$dir/agent"], log => "$dir/log-boot", env => { %SAN,
        SANDBOX_KEY_FILE => '/no/such/file' });
    my $a = { dir => $dir };
    ok(answers($a), 'a boot object in a file') or diag(slurp("$dir/log-boot"));
    ok(!-e "$dir/boot", 'which is gone');
    unlike(slurp("$dir/again"), qr/[^\0]/, 'and overwritten');
    is(ask($a, 'POST', '/api/execute', json => { command => 'echo $FROM_BOOT' })
        ->{json}{stdout}, "yes", 'its environment is the one of commands');

    # COMMAND_TIMEOUT_MS counts where nothing else says a time.
    $r = ask($a, 'POST', '/api/execute', json => { command => 'sleep 100',
        sessionId => '__DISABLE_SESSION__' });
    is($r->{json}{exitCode}, 124, 'COMMAND_TIMEOUT_MS ends a command');
    $r = ask($a, 'POST', '/api/execute', json => { command => 'sleep 100' });
    is($r->{status}, 500, 'and one in a session');
    like($r->{json}{message}, qr/timeout after 1000ms/, 'which says so');
    is(ask($a, 'POST', '/api/execute', json => { command => 'sleep 1.2; echo late',
        timeoutMs => 60000 })->{json}{stdout}, "late", "a call's own is stronger");
    $r = ask($a, 'POST', '/api/process/start', json => { command => 'sleep 1000.9' });
    my $id = $r->{json}{process}{id} // $r->{json}{processId};
    sleep 1.3;
    is(ask($a, 'GET', "/api/process/$id")->{json}{process}{status}, 'running',
        'a background process goes on');
    stop_process($pid);
};


subtest 'wrong use' => sub {
    my $dir = tmp_dir();
    spew("$dir/key", "$KEY\n");
    spew("$dir/text", "root and others\n" x 50);
    my @cases = (
        [[], 2, qr/no key/],
        [['--key-file', "$dir/key"], 2, qr/no address/],
        [['--key-file', "$dir/key", '--listen', 'nonsense'], 1, qr/not unix:/],
        [['--key-file', "$dir/key", '--listen', 'tcp:1.2.3.4'], 1, qr/address and a port/],
        [['--key-file', "$dir/key", '--listen', 'tcp:localhost:80'], 1, qr/numeric/],
        [['--key-file', "$dir/key", '--listen', 'tcp:127.0.0.1:99999'], 1, qr/port/],
        [['--key-file', "$dir/key", '--listen', 'vsock:0'], 1, qr/vsock port/],
        [['--key-file', "$dir/key", '--listen', 'unix:' . '/x' x 60], 1, qr/longer/],
        [['--key-file', "$dir/key", '--listen', "unix:$dir/no/dir"], 1, qr/No such file/],
        [['--key-file', "$dir/none", '--listen', "unix:$dir/a"], 1, qr/No such file/],
        [['--key-file', "$dir/text", '--listen', "unix:$dir/a"], 1, qr/not a key/],
        [['--boot-file', "$dir/text", '--listen', "unix:$dir/a"], 1, qr/no JSON object/],
        [['--boot-file', '/dev/zero', '--listen', "unix:$dir/a"], 1, qr/no JSON object/],
        [['--key-file', "$dir/key", '--boot-fd', '5', '--listen-fd', 6], 2, qr/exclude/],
        [['--key-file', "$dir/key", '--listen-fd', 'x'], 2, qr/number of a descriptor/],
        [['--key-file', "$dir/key", '--listen-fd', 900], 1, qr/can't be watched/],
        [['--nonsense'], 2, qr/no such option/],
        [['--listen'], 2, qr/value is missing/],
        [['--workspace', 'x', '--key-file', "$dir/key", '--listen', "$dir/a"], 2, qr/absolute path/],
    );

    for my $case (@cases) {
        my ($args, $want, $like) = @$case;
        my ($status, $out, $err) = run_command([$AGENT, @$args], env => { %SAN });

        is($status >> 8, $want, join(" ", @$args) || "nothing");
        like($err, $like, 'says why');
        unlike($err, qr/Sanitizer|runtime error/, 'in order') if is_san();
    }

    my ($status, $out) = run_command([$AGENT, '--help'], env => { %SAN });
    is($status, 0, '--help');
    like($out, qr/--key-file/, 'tells of the options');
    like(slurp("$dir/text"), qr/root/, 'a boot object that is none is not wiped');
};


done_testing();
