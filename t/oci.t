#!/usr/bin/perl

# The oci driver by itself, as whoever runs the test: start, isolation, what
# stays and what goes, failures, limits, adoption.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use Driver;

alarm_after(240);

my $root = $> == 0;
my $d = Driver->new();
my $info = $d->info();

if ($info->{error}) {
    plan skip_all => "no sandboxes here: $info->{message}";
}

my $before = $d->leftovers();

# ---- one sandbox, from inside ----------------------------------------------

my $r = $d->start(1, id => 'demo');
ok($r->{ok}, 'starts') or diag json_encode($r), slurp("$d->{dir}/log");
cmp_ok($r->{pid}, '>', 1, 'and says its process');

is((stat $d->socket(1))[2] & 0777, 0660, "the agent's socket is 0660");

my $out = $d->inside(1, 'id -u; hostname; cat /etc/hostname; pwd; echo $$ 1');
is($out, "0\ndemo\ndemo\n/\n" . ($out =~ /(\d+) 1\n$/)[0] . " 1\n",
    'root inside, its own name');

for my $ns (qw(user pid mnt net uts ipc cgroup)) {
    my $own = readlink "/proc/self/ns/$ns";

    isnt(readlink "/proc/$r->{pid}/ns/$ns", $own, "a $ns namespace of its own");
}

$out = $d->inside(1, 'cat /proc/1/status /proc/self/status');
is(() = $out =~ /^NoNewPrivs:\s+1$/mg, 2, 'no new privileges');
is(() = $out =~ /^Seccomp:\s+2$/mg, 2, 'a seccomp filter');
is(join(',', sort { $a cmp $b } keys %{{ map { $_ => 1 }
    $out =~ /^Cap(?:Prm|Eff|Bnd):\s+(\w+)$/mg }}), '00000000800405fb',
    'the capabilities of a container');
is(join(',', $out =~ /^Cap(?:Inh|Amb):\s+(\w+)$/mg),
    join(',', ('0' x 16) x 4), 'none of them inherited');

$out = $d->inside(1, 'cat /proc/net/dev | sed 1,2d | cut -d: -f1;'
    . 'ls -1 /proc/1/fd | wc -l; readlink /proc/1/fd/*');
like($out, qr/^\s*lo\n4\n/, 'there is a loopback device and nothing else');
is(join(' ', sort { $a cmp $b } map { s/\d+//r } grep { m{^[/a-z]+} }
    split /\n/, $out), '/dev/null /dev/null pipe:[] socket:[]',
    'the agent has the null device, its log and its socket');
is(($d->inside(1, 'exec 3<>/dev/tcp/127.0.0.1/9', 5))[1], 2,
    'sh has no /dev/tcp');
like($d->inside(1, q{bash -c 'exec 3<>/dev/tcp/127.0.0.1/9' 2>&1}),
    qr/refused/, 'loopback is up');

my $mounts = $d->inside(1, 'cat /proc/self/mountinfo /proc/mounts');
unlike($mounts, qr/\Q$d->{dir}\E|sandboxes|state/,
    'no path of the host in the mount table');
like($mounts, qr{ /usr ro,nosuid,nodev}, '/usr is read-only');
is($d->inside(1, 'ls /'), join('', map { "$_\n" } sort { $a cmp $b } qw(bin dev
    etc home lib media mnt opt proc root run sbin srv sys tmp usr var
    workspace), grep { -e "/$_" } qw(lib32 lib64 libx32)),
    'the root is the skeleton');
is($d->inside(1, 'ls -A /root /home /opt /srv /mnt /workspace | grep -v :'
    . ' | grep .'), ".bashrc\n.profile\n", 'and empty');

# What root inside can't do.
for my $try (
    [ 'mount', 'mount -t tmpfs t /mnt' ],
    [ 'unmount', 'umount /usr' ],
    [ 'remount /usr', 'mount -o remount,rw /usr' ],
    [ 'write to /usr', 'touch /usr/bin/x' ],
    [ 'write to the agent', 'echo >> /run/.sbx/agent' ],
    [ 'remove the agent', 'rm -f /run/.sbx/agent' ],
    [ 'make a user namespace', 'unshare -U true' ],
    [ 'make a network namespace', 'unshare -n true' ],
    [ 'make a device', 'mknod /tmp/sda b 8 0' ],
    [ 'write to /proc/sys', 'echo 1 > /proc/sys/kernel/panic' ],
    [ 'write to /sys', 'echo 1 > /sys/kernel/uevent_seqnum' ],
    [ 'trigger sysrq', 'echo h > /proc/sysrq-trigger' ],
    [ 'raise its limits', 'sh -c "ulimit -Hn 100000000"' ],
    [ 'lower its oom score', 'echo -1 > /proc/self/oom_score_adj' ],
    [ 'set the clock', 'date -s 2001-01-01' ],
    [ 'rename the host', 'hostname other' ],
    [ 'read kernel messages', 'dmesg' ],
    [ 'see its neighbours', 'test $(ls -d /proc/[0-9]* | wc -l) -gt 20' ],
) {
    isnt(($d->inside(1, $try->[1]))[1], 0, "root inside can't $try->[0]");
}

is($d->inside(1, 'cat /proc/1/oom_score_adj'), "300\n",
    'it goes before the host when memory runs out');
is(($d->inside(1, 'ls /dev | tr "\n" " "'))[0], 'core fd full null ptmx pts '
    . 'random shm stderr stdin stdout tty urandom zero ', 'a small /dev');
is(($d->inside(1, q{python3 -c 'import pty, os; print(os.ttyname(pty.openpty()[1]))'}))[0],
    "/dev/pts/0\n", 'terminals work') if -x '/usr/bin/python3';
is($d->inside(1, 'stat -f -c %T /tmp /run /dev/shm'), "tmpfs\n" x 3,
    'temporary filesystems');

# ---- what stays, what goes ---------------------------------------------------

$d->inside(1, <<'SH');
mkdir -p /workspace/a/b; echo data > /workspace/a/b/f; chmod 751 /workspace/a
ln -s /nowhere /workspace/link; ln /workspace/a/b/f /workspace/hard
mkfifo /workspace/fifo; rm /etc/services; echo more >> /etc/hosts
rm -r /var/spool; mkdir /var/spool; echo temp > /tmp/t; echo run > /run/r
SH
ok($d->stop(1)->{ok}, 'stops');
is($d->exited(1, 5)->{status}, 7 << 8, 'and tells how its first process ended');
ok(!-e $d->socket(1), 'its socket is gone');

$r = $d->start(1, id => 'demo');
ok($r->{ok}, 'starts again') or diag json_encode($r);
is($d->inside(1, <<'SH'), <<'OUT', 'with its files');
cat /workspace/a/b/f; stat -c %a /workspace/a; readlink /workspace/link
stat -c '%h %F' /workspace/hard /workspace/fifo
ls /etc/services /tmp /run /var/spool 2>&1; grep -c 'more\|demo' /etc/hosts
SH
data
751
/nowhere
2 regular file
1 fifo
ls: cannot access '/etc/services': No such file or directory
/run:

/tmp:

/var/spool:
2
OUT

kill 'KILL', $r->{pid};
is($d->exited(1, 5)->{status}, 9, 'a killed sandbox is noticed');
ok(!$d->connect(1), 'and refuses connections');
ok($d->stop(1)->{ok}, 'stopping what has ended is a success');
ok($d->start(1)->{ok}, 'and it starts again');
is($d->inside(1, 'cat /workspace/a/b/f'), "data\n", 'with its files');

# What crun reads as the sandbox's root is written by guests.
$d->start(2);
$d->inside(2, 'rm /etc/passwd /etc/group; mkfifo /etc/passwd /etc/group');
$d->stop(2);
$r = $d->start(2, timeout => 5000);
ok($r->{ok}, 'a pipe in the place of /etc/passwd keeps no start waiting')
    or diag json_encode($r);
is($d->inside(2, 'echo $HOME'), "/root\n", 'the first process has a HOME');
$d->destroy(2);

$r = $d->start(2, env => { AGENT => 'stubborn' });
my $t = time;
ok($d->stop(2, 300)->{ok}, "one that doesn't end by itself");
cmp_ok(time - $t, '<', 10, 'is killed after its grace');
is($d->exited(2, 5)->{status}, 9, 'by SIGKILL');

# ---- what guests write is deleted, all of it, and nothing else ----------------

$d->start(3);
spew("$d->{dir}/precious", 'x');
$d->inside(3, <<"SH");
cd /workspace
mkdir -p deep; cd deep
perl -e 'mkdir("d") && chdir("d") || die for 1 .. 3000; open F, ">f"'
cd /workspace; mkdir closed; echo x > closed/f; chmod 000 closed/f closed
ln -s / rootlink; ln -s $d->{dir} hostlink; ln -s ../../../.. up
mkdir wide; cd wide; seq 2000 | xargs mkdir; seq 2000 | sed 's/\$/\\/f/' | xargs touch
mkdir /workspace/sticky; chmod 1777 /workspace/sticky
chown 1234:1234 /workspace/wide /workspace/wide/1 2>/dev/null
setfattr -n user.x -v y /workspace/closed 2>/dev/null; rm -rf /opt; mkfifo /opt
SH
is($d->inside(3, 'cd /workspace/deep; perl -e \'1 while chdir "d" and ++$n;'
    . ' print $n, -e "f"\''), '30001', 'a deep tree');
$r = $d->destroy(3);
ok($r->{ok}, 'is destroyed') or diag json_encode($r), slurp("$d->{dir}/log");
ok(!-e "$d->{dir}/state/sandboxes/00000003", 'with its directory');
ok(wait_for(sub { !glob "$d->{dir}/state/sandboxes/trash*" }, 30),
    'nothing is left, soon');
is(slurp("$d->{dir}/precious"), 'x', 'what links pointed to is still there');
ok($d->destroy(3)->{ok}, 'destroying what is not there is a success');

# ---- failures ------------------------------------------------------------------

$r = $d->start(4, image => 'nosuch');
is($r->{code}, 'unknown_image', 'an unknown image');
$r = $d->start(1);
is($r->{code}, 'busy', 'a second start');
$r = $d->start(4, env => { AGENT => 'exit' });
like($r->{message}, qr/ended with status 3/, 'an agent that ends at once');
$r = $d->start(4, env => { AGENT => 'deny' });
like($r->{message}, qr/not a healthy one/, 'an agent that is ill');
$t = time;
$r = $d->start(4, env => { AGENT => 'hang' }, timeout => 500);
is($r->{code}, 'start_timeout', 'an agent that hangs');
cmp_ok(time - $t, '<', 10, 'is given up in time');
$r = $d->start(4, env => { BIG => 'x' x 200000 });
ok($r->{ok}, 'a large environment') or diag json_encode($r);
$d->destroy(4);

for my $ms (1 .. 14) {
    $d->start(5, timeout => $ms);
    $d->destroy(5);
}
is($d->complaints(), '', 'starts given up at any moment');
$r = $d->start(5);
ok($r->{ok}, 'do no harm') or diag json_encode($r);

my $other = Driver->new(dir => $d->{dir});
$r = $other->start(5);
is($r->{code}, $r->{message} =~ /in use/ ? 'start_failed' : 'already_running',
    "another driver doesn't start what runs");
is($d->inside(5, 'echo well'), "well\n", 'and leaves it alone');
$other->quit();
ok($d->destroy(5)->{ok}, 'destroyed');

my $broken = tmp_dir();
chmod 0755, $broken;
spew("$broken/proc", 'no directory');
my $bad = Driver->new(images => { broken => $broken });
$r = $bad->start(1, image => 'broken');
like($r->{message}, qr/^crun: .*proc.*[Nn]ot a directory/, "crun's own words")
    or diag json_encode($r);
$bad->destroy(1);
is($bad->quit(), 0, 'the driver ends');

# ---- limits ----------------------------------------------------------------------

SKIP: {
    skip 'no limits for this user on this host', 9 unless $info->{memory};

    # What is killed for want of memory is any of those who start it.
    my @failed = grep { !$d->start(6, limits => { memory => $_ << 10 })->{ok} }
        (64, 128, 256) x 2;
    is(@failed, 6, 'hardly any memory: no sandbox');
    ok(wait_for(sub { !$d->leftovers()->{zombies} }, 30), 'and no zombie');

    $r = $d->start(6, limits => { memory => 64 << 20, pids => 40, cpu => 0.2 });
    ok($r->{ok}, 'with limits') or diag json_encode($r);

    my ($text, $exit) = $d->inside(6,
        q{perl -e '$x = "x" x 200e6; print length $x'});
    is($exit, 137, 'too much memory kills the program');
    is($d->inside(6, 'echo well'), "well\n", 'not the sandbox');
    like($d->inside(6, q{bash -c 'for i in $(seq 80); do sleep 2 & done' 2>&1}),
        qr/[Cc]annot fork|retry|Resource temporarily/, 'too many processes');

    my $cpu = $d->inside(6, q{perl -e 'use Time::HiRes "time"; $t = time;
        1 while time - $t < 1.5; print((times)[0] + (times)[1])'});
    cmp_ok($cpu, '<', 0.8, "a fifth of a processor ($cpu s of 1.5 s)");
    like(($d->inside(6, 'df -k /tmp | tail -1'))[0], qr/\s32768\s/,
        '/tmp has half of the memory');
    ok($d->destroy(6)->{ok}, 'destroyed');
}

SKIP: {
    skip 'no bounded disks for this user on this host', 6 unless $info->{disk};

    $r = $d->start(7, limits => { disk => 64 << 20 });
    ok($r->{ok}, 'with a bounded disk') or diag json_encode($r);
    like($d->inside(7, 'dd if=/dev/zero of=/workspace/f bs=1M count=100 2>&1;'
        . 'stat -c %s /workspace/f'), qr/No space left/, 'which gets full');
    $d->inside(7, 'rm /workspace/f; echo kept > /workspace/k');
    ok($d->stop(7)->{ok}, 'stopped');
    $d->start(7, limits => { disk => 64 << 20 });
    is($d->inside(7, 'cat /workspace/k'), "kept\n", 'its files stay');
    ok($d->destroy(7)->{ok}, 'destroyed');
    is($d->leftovers()->{loops}, 0, 'no loop device stays');
}

if (!$info->{memory}) {
    $r = $d->start(8, limits => { memory => 64 << 20 });
    is($r->{code}, 'unenforceable', "a limit that can't be had is an error");
}

# ---- a directory as an image -------------------------------------------------------

my $image = tmp_dir();
chmod 0755, $image;
mkdir "$image/$_" for qw(bin usr usr/bin etc lib lib64 tmp);
my %need = map { $_ => 1 } map { my $l = `ldd $_`; $l =~ m{(/\S+)}g }
    qw(/bin/sh /bin/ls /bin/cat /usr/bin/touch /usr/bin/id /usr/bin/stat);
for my $lib (grep { -f } keys %need) {
    (my $dir = $lib) =~ s{/[^/]+$}{};
    system 'mkdir', '-p', "$image$dir";
    system 'cp', '-L', $lib, "$image$lib";
}
system 'cp', '-L', '/bin/sh', '/bin/ls', '/bin/cat', '/usr/bin/touch',
    '/usr/bin/id', '/usr/bin/stat', "$image/bin/";
spew("$image/etc/secret", 'for root inside', 0600);

{
    my $di = Driver->new(images => { small => $image }, dev => 0);

    $r = $di->start(1, image => 'host');
    is($r->{code}, 'unknown_image', 'the host is no image without --dev');
    $r = $di->start(1, image => 'small');
    ok($r->{ok}, 'a directory is an image') or diag json_encode($r);
    is($di->inside(1, 'cat /etc/secret'), 'for root inside',
        'its files belong to root inside');
    is(($di->inside(1, 'touch /usr/bin/x /etc/y /bin/z; ls /usr/bin'))[0],
        "x\n", 'and can be changed');
    ok(!-e "$image/usr/bin/x" && !-e "$image/etc/y",
        'which the image never sees');
    $r = $di->start(2, image => 'small');
    is($di->inside(2, 'ls /usr/bin'), '', 'nor another sandbox');
    $di->destroy($_) for 1, 2;
    is($di->quit(), 0, 'ends');
}

# ---- nothing is left ------------------------------------------------------------------

ok($d->destroy(1)->{ok} && $d->destroy(2)->{ok}, 'all destroyed');
$d->left_as($before, 'nothing is left behind');
is($d->quit(), 0, 'the driver ends');
is($d->complaints(), '', 'and had nothing to complain about');

done_testing();
