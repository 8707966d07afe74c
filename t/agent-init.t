#!/usr/bin/perl

# The agent as PID 1: of a container, of an image with nothing in it but
# busybox, and with --init in namespaces that stand for a machine (a real one
# is t/long/agent-init.t).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'needs root for namespaces' if $> != 0;
# The instrumented agent is not static.
plan skip_all => 'only the static agent runs in any image' if is_san();

plan skip_all => 'no namespaces here'
    if system('unshare --pid --mount --fork true 2>/dev/null') != 0;

alarm_after(180);

my $AGENT = build_dir() . '/sandbox-agent';
my $KEY = 'fedcba9876543210' x 2;
my $VETH = system('unshare --net ip link add sbx0 type veth peer name sbx1'
    . ' 2>/dev/null') == 0;
my ($BUSYBOX) = grep { -x } map { "$_/busybox" } split /:/, $ENV{PATH};


# A directory tree with the agent and busybox, and nothing else.
sub image {
    my $root = tmp_dir();

    chmod 0755, $root;
    mkdir "$root/$_" for qw(bin dev proc sys etc);
    system('cp', $AGENT, "$root/sandbox-agent") == 0 or die;
    system('cp', $BUSYBOX, "$root/bin/busybox") == 0 or die;
    symlink 'busybox', "$root/bin/$_"
        for qw(sh cat sleep setsid mount hostname ifconfig route ls echo stat
               readlink);
    spew("$root/key", "$KEY\n");

    return $root;
}


# Starts it as PID 1 in a tree of its own.  before is shell text that runs in
# the new namespaces first.
sub machine {
    my (%o) = @_;
    my $root = $o{root} || image();
    my @ns = ('--pid', '--mount', '--fork', '--kill-child', @{ $o{ns} || [] });
    my $script = 'root=$1; shift; mount --make-rprivate / && '
        . ($o{before} || 'mount -t proc proc "$root/proc" && '
            . 'touch "$root/dev/null" && mount --bind /dev/null "$root/dev/null"')
        . ' && exec chroot "$root" /sandbox-agent "$@"';
    my $pid = start_process(
        cmd => ['unshare', @ns, 'sh', '-c', $script, 'sh', $root,
                '--listen', 'unix:/socket', @{ $o{args} || [] }],
        log => "$root/log", name => 'unshare', env => $o{env} || {});
    my $m = { pid => $pid, root => $root };

    wait_for(sub { -S "$root/socket" || !process_alive($pid) }, 30);
    $m->{log} = sub { slurp("$root/log") // '' };
    ($m->{agent}) = grep { $_ != $pid } descendants($pid);

    return $m;
}


sub ask {
    my ($m, $method, $path, %o) = @_;

    return http(unix => "$m->{root}/socket", preface => "CONTROL $KEY\n",
                method => $method, path => $path, %o);
}


# Ends PID 1 and returns the status that unshare passes on.
sub ended {
    my ($m, $signal) = @_;

    kill $signal || 'TERM', $m->{agent} if $m->{agent};
    wait_for(sub { !process_alive($m->{pid}) }, 30);

    return stop_process($m->{pid}, 'KILL');
}


sub parent { return (slurp("/proc/$_[0]/stat") // '') =~ /\) \S (\d+) / ? $1 : 0 }


SKIP: {
    skip 'no busybox', 1 unless $BUSYBOX;

    subtest 'an image without bash or libraries' => sub {
        my $m = machine(args => ['--key-file', '/key', '--',
            'sh', '-c', 'echo "$PATH" > said; while :; do sleep 1; done'],
            env => { PATH => "/bin:$ENV{PATH}" });

        is(ask($m, 'GET', '/api/ping')->{status}, 200, 'it answers')
            or diag($m->{log}->());
        ok(wait_for(sub { slurp("$m->{root}/said") }, 30),
            "the image's command runs");
        like(slurp("$m->{root}/said") // '', qr{^/bin:}, 'with its PATH');

        my $r = ask($m, 'POST', '/api/execute', json => { command => 'true',
            sessionId => '__DISABLE_SESSION__' });
        is($r->{status}, 500, 'commands are an error');
        like($r->{json}{message} // '', qr/no bash/, 'which says why');
        $r = ask($m, 'POST', '/api/execute', json => { command => 'true' });
        cmp_ok($r->{status}, '>=', 500, 'also in a session');
        like($r->{json}{message} // '', qr/no bash/, 'which says why');
        $r = ask($m, 'POST', '/api/execute/stream', json => { command => 'true' });
        like($r->{body}, qr/no bash/, 'and as a stream');
        $r = ask($m, 'POST', '/api/process/start', json => { command => 'true' });
        like($r->{body}, qr/no bash/, 'and in the background');

        is(ask($m, 'POST', '/api/write', json => { path => '/workspace/f',
            content => 'text' })->{status}, 200, 'files are written');
        is(ask($m, 'POST', '/api/read', json => { path => '/workspace/f' })
            ->{json}{content}, 'text', 'and read');
        is(ask($m, 'GET', '/bridge/file/workspace/f')->{body}, 'text',
            'raw ones as well');

        my @below = descendants($m->{pid});
        is(ended($m), 0, 'it ends with 0');
        ok(wait_for(sub { !grep { process_alive($_) } @below }, 30), 'with all');
    };
}


subtest 'PID 1 of a container' => sub {
    my $dir = tmp_dir();
    spew("$dir/key", "$KEY\n");
    my $pid = start_process(cmd => ['unshare', '--pid', '--mount-proc',
        '--fork', '--kill-child', $AGENT, '--listen', "unix:$dir/socket",
        '--key-file', "$dir/key", '--workspace', $dir], log => "$dir/log");
    my $m = { pid => $pid, root => $dir };

    wait_for(sub { -S "$dir/socket" }, 30);
    ($m->{agent}) = grep { $_ != $pid } descendants($pid);
    is(ask($m, 'GET', '/api/ping')->{status}, 200, 'it answers');

    # As `docker exec` does: a process from outside, which leaves an orphan.
    system('nsenter', '-t', $m->{agent}, '-p', '-m', 'sh', '-c',
        "(sleep 1000.91 & echo up > $dir/up) ; (sleep 0.2 &)");
    my ($orphan) = grep { (slurp("/proc/$_/cmdline") // '') =~ /1000\.91/ }
        descendants($m->{agent});
    ok($orphan, 'an orphan');
    is(parent($orphan // 0), $m->{agent}, 'is adopted');

    # Shims come and go beside it.
    my @r = map { ask($m, 'POST', '/api/execute', json => { command =>
        '(setsid sleep 1000.92 &); exit 3', sessionId => '__DISABLE_SESSION__' })
        ->{json}{exitCode} } 1 .. 6;
    is_deeply(\@r, [(3) x 6], 'commands that leave something behind');
    ask($m, 'POST', '/api/execute', json => { command => 'kill -9 $$' });
    ask($m, 'POST', '/api/execute', json => { command => 'true' });
    sleep 0.5;
    ok(process_alive($orphan), 'it lives on');

    my $zombies = sub { grep { (slurp("/proc/$_/stat") // '') =~ /\) Z / }
        descendants($m->{agent}) };
    ok(wait_for(sub { !$zombies->() }, 30), 'no zombie stays');
    kill 'KILL', $orphan;
    ok(wait_for(sub { !-d "/proc/$orphan" }, 30), 'and it is reaped');

    my @below = descendants($pid);
    is(ended($m), 0, 'SIGTERM ends it');
    ok(wait_for(sub { !grep { process_alive($_) } @below }, 30), 'with all');
};


SKIP: {
    skip 'no busybox', 1 unless $BUSYBOX;

    subtest 'init' => sub {
        my $root = image();
        my $check = join "\n",
            'cat /proc/mounts > /c.mounts', 'hostname > /c.hostname',
            'ifconfig > /c.ifconfig', 'route -n > /c.route',
            'ls -l /dev/ > /c.dev', 'echo $$ > /c.pid',
            'cat /proc/self/limits > /c.limits', 'echo "$HOME" > /c.env',
            'echo x > /dev/shm/x; echo x > /run/x; echo x > /tmp/x; '
            . 'echo $? > /c.write',
            '(setsid sleep 1000.95 &)', 'echo over > /c.over',
            'sleep 1000.96', '';
        spew("$root/check", $check);
        mkdir "$root/etc";
        spew("$root/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        system('mkfifo', "$root/etc/hosts");
        spew("$root/boot", json_encode({ version => 1, key => $KEY,
            id => 'm', hostname => 'machine-1', dns => ['10.9.9.9', 'fd00::1'],
            entropy => 'ab' x 32, !$VETH ? () : (network => { interface => 'sbx0',
                address => '10.99.0.2', prefix => 30, gateway => '10.99.0.1',
                mtu => 1400 }) }));

        # A stand-in for devtmpfs: the host's own is nothing to play with.
        my $m = machine(root => $root, ns => ['--uts', '--net', '--ipc'],
            before => 'mount --bind "$root" "$root" && '
                . 'mount -t tmpfs tmpfs "$root/dev" && '
                . 'for n in null zero urandom random; do '
                . 'cp -a /dev/$n "$root/dev/$n"; done'
                . ($VETH ? ' && ip link add sbx0 type veth peer name sbx1'
                   . ' && ip link set sbx1 up' : ''),
            args => ['stray', '--init', '--boot-file', '/boot', '--',
                     '/bin/sh', '/check'],
            env => { SANDBOX_POWER => 'exit', HOME => '/', TERM => 'linux' });

        ok(wait_for(sub { -e "$root/c.over" }, 30), 'it starts')
            or diag($m->{log}->());
        is(ask($m, 'GET', '/api/ping')->{status}, 200, 'and answers');

        my $of = sub { my $t = slurp("$root/c.$_[0]") // ''; chomp $t; $t };
        my $mounts = $of->('mounts');
        like($mounts, qr{ $_->[0] $_->[1] }, "$_->[0] is there") for
            ['/proc', 'proc'], ['/sys', 'sysfs'], ['/dev/pts', 'devpts'],
            ['/dev/shm', 'tmpfs'], ['/run', 'tmpfs'];
        unlike($mounts, qr{ devtmpfs }, 'what is mounted is left alone');
        like($of->('dev'), qr{fd -> /proc/self/fd}, '/dev/fd');
        is($of->('write'), 0, 'what can be written to');
        is($of->('hostname'), 'machine-1', 'hostname');
        is($of->('env'), '/root', "the kernel's HOME is not the command's");
        like($of->('ifconfig'), qr/127\.0\.0\.1/, 'loopback is up');
        SKIP: {
            skip 'no network interface can be made here', 4 unless $VETH;
            my $text = $of->('ifconfig');
            like($text, qr/10\.99\.0\.2/, 'the network is up');
            like($text, qr/255\.255\.255\.252/, 'with its mask');
            like($text, qr/MTU:1400/, 'its MTU');
            like($of->('route'), qr/^0\.0\.0\.0\s+10\.99\.0\.1/m,
                'and its gateway');
        }
        like($of->('limits'), qr/Max open files\s+1024\s/, 'limits');
        is(slurp("$root/etc/resolv.conf"),
            "nameserver 10.9.9.9\nnameserver fd00::1\n", 'resolv.conf');
        ok(-f "$root/etc/hosts", 'a pipe in the place of hosts is no trap');
        like(slurp("$root/etc/hosts"), qr/^127\.0\.1\.1\tmachine-1$/m, 'hosts');
        is(slurp("$root/etc/hostname"), "machine-1\n", 'hostname');
        ok(!-e "$root/boot", 'the boot object is gone');
        unlike($m->{log}->(), qr/(warn|error): /, 'nothing went wrong');

        my @below = descendants($m->{pid});
        cmp_ok(scalar(@below), '>=', 5, 'a machine full of processes');
        is(ended($m, 'INT'), 0, 'Ctrl-Alt-Del ends it');
        ok(wait_for(sub { !grep { process_alive($_) } @below }, 30), 'with all');
    };

    subtest 'init that fails' => sub {
        my $m = machine(ns => ['--uts', '--net'],
            before => 'mount -t tmpfs tmpfs "$root/dev" && '
                . 'cp -a /dev/null "$root/dev/null"',
            args => ['--init', '--key-file', '/key', '--', '/bin/sh', '-c',
                     'exit 5'], env => { SANDBOX_POWER => 'exit' });
        is(ended({ %$m, agent => 0 }), 5 << 8, "a command's failure ends it");
        like($m->{log}->(), qr/ends with 5/, 'and the console says so');

        my ($status, $out, $err) = run_command([$AGENT, '--init',
            '--key-file', '/nonexistent', '--listen', 'unix:/x']);
        is($status >> 8, 2, 'who is not PID 1 is no init');
        like($err, qr/PID 1/, 'and hears it');
    };
}


done_testing();
