#!/usr/bin/perl

# What a program inside tries against its own agent, and what becomes of the
# processes that it leaves behind: with the true agent in a true sandbox.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(120);

my $s = System->start;

sub inside {
    my ($command, %body) = @_;
    my $r = $s->exec('box', $command, body => \%body);

    return ($r->{stdout} // '') . ($r->{stderr} // '');
}

is(inside('id -u'), '0', 'root inside');
my $agent = $s->sandbox_pid('box');
ok($agent, 'the agent is known outside');

# ---- the agent's descriptors, memory and environment

my ($key) = map { (split ' ', slurp($_))[6] } glob "$s->{run}/r/*";
like($key, qr/^[0-9a-f]{32}$/, 'the key of this run is known outside');

SKIP: {
    $s->only_containers("root of a machine is its kernel's, and all there is in "
        . 'it is its own', 9);
    for my $try ('readlink /proc/1/fd/*', 'cat /proc/1/fd/0',
        'cat /proc/1/environ', 'head -c 1 /proc/1/mem', 'cat /proc/1/maps',
        'readlink /proc/1/exe', 'readlink /proc/1/cwd', 'cat /proc/1/io',
        'cat /proc/1/stack')
    {
        my $r = $s->exec('box', "$try && echo GOT IT");

        unlike($r->{stdout} // '', qr/GOT IT/, "refused: $try")
            or diag($r->{stdout});
    }
}

# pidfd_open and pidfd_getfd, ptrace, process_vm_readv.
my $python = <<'EOP';
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*a):
    r = libc.syscall(*a)
    return "got" if r >= 0 else os.strerror(ctypes.get_errno())
fd = libc.syscall(434, 1, 0)
print("pidfd_getfd", [call(438, fd, n, 0) for n in range(8)].count("got"))
print("ptrace", call(101, 16, 1, 0, 0), call(101, 0x4206, 1, 0, 0))
buf = ctypes.create_string_buffer(16)
class iov(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
l, r = iov(ctypes.addressof(buf), 16), iov(0x400000, 16)
print("vm_readv", call(310, 1, ctypes.byref(l), 1, ctypes.byref(r), 1, 0))
EOP

SKIP: {
    $s->only_containers("root of a machine may trace all that it runs", 1);
    skip 'numbers of x86-64', 1 unless `uname -m` eq "x86_64\n"
        && -x '/usr/bin/python3';
    $s->api(PUT => '/v1/sandbox/box/file/workspace/try.py', body => $python);
    my $out = inside('python3 /workspace/try.py');

    ok($out =~ /pidfd_getfd 0/ && $out =~ /vm_readv/ && $out !~ /got/,
        'nor by system calls') or diag($out);
}

my $all = inside('cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline '
    . '/proc/[0-9]*/mountinfo /proc/net/unix 2>/dev/null | tr "\0" "\n"');
unlike($all, qr/\Q$key\E|\Q$s->{dir}\E|\Q$s->{key}\E/,
    'neither key nor path of the host is in what can be read');

# The agent's socket has no name inside that could be connected to; the one
# that it listens on is the host's.
my $names = inside('find / -xdev -type s 2>/dev/null; '
    . 'grep -c "run/s" /proc/net/unix');
unlike($names, qr{/s/[0-9a-f]{8}}, 'no socket of an agent inside');

# No resolver, no NSS: what libc would read is not asked.
$s->api(PUT => '/v1/sandbox/box/file/workspace/evil.c', body => 'x');
is(inside('echo "passwd: evil" > /etc/nsswitch.conf; mkdir -p /home/joe; '
    . 'echo "joe:x:1000:1000::/home/joe:/bin/sh" >> /etc/passwd; '
    . 'echo on'),
    'on', 'the passwd file is replaced');
is($s->exec('box', 'echo still here')->{stdout}, 'still here',
    'and the agent does not notice');
my ($status, $out) = run_command(['sh', '-c', 'readelf -d '
    . build_dir() . '/sandbox-agent | grep -c NEEDED; nm -D '
    . build_dir() . '/sandbox-agent 2>/dev/null | grep -c "getaddrinfo\|SSL_"']);
SKIP: {
    skip 'an instrumented agent is linked dynamically', 1 if is_san();
    is($out, "0\n0\n", 'it is static, without a resolver and TLS');
}

# ---- what double-forks

# Those of a machine are seen inside only.
sub sleeps {
    my ($n) = @_;

    return split ' ', $s->run('box',
        "cd /proc; grep -as '^sleep.$n.\$' [0-9]*/cmdline | cut -d / -f 1",
        body => { sessionId => '__DISABLE_SESSION__' }) if $s->machines;

    return grep { (slurp("/proc/$_/cmdline") // '') eq "sleep\0$n\0" }
        map { m{/proc/(\d+)} } glob '/proc/[0-9]*';
}

my $n = 70000 + $$ % 9000;
my $fork = "perl -MPOSIX -e 'fork && exit; setsid; fork && exit; %ENV = (); "
    . "exec qw(sleep $n)'";
my $r = $s->api(POST => '/v1/sandbox/box/api/process/start', json => {
    command => "$fork; sleep $n", processId => 'p',
    sessionId => '__DISABLE_SESSION__' });
is($r->{status}, 200, 'a process that leaves one behind');
ok(wait_for(sub { sleeps($n) == 2 }, 10), 'both run');
$s->api(DELETE => '/v1/sandbox/box/api/process/p');
ok(wait_for(sub { !sleeps($n) }, 10), 'both are gone when it is killed');

$s->api(POST => '/v1/sandbox/box/exec', timeout => 20,
    json => { argv => ['sh', '-c', "$fork; sleep $n"], timeout_ms => 800 });
ok(wait_for(sub { !sleeps($n) }, 10), 'and when its time is over');

$s->api(POST => '/v1/sandbox/box/session', json => { id => 'work' });
$s->exec('box', $fork, body => { sessionId => 'work' });
ok(wait_for(sub { sleeps($n) == 1 }, 10), 'one that a session leaves behind');
$s->api(DELETE => '/v1/sandbox/box/session/work');
ok(wait_for(sub { !sleeps($n) }, 10), 'goes with the session');

$s->exec('box', $fork);
ok(wait_for(sub { sleeps($n) == 1 }, 10), 'and what is there at last');
is($s->api(DELETE => '/v1/sandbox/box')->{status}, 204, 'with the sandbox');
SKIP: {
    $s->only_containers("a machine's processes are none of the host's", 1);
    ok(wait_for(sub { !sleeps($n) }, 10), 'goes with it');
}

$s->stop;
done_testing();
