#!/usr/bin/perl

# The image "host" shows /usr and nothing else of the host: secrets with a
# random marker are put wherever this user can, and looked for from inside by
# root there, in files, processes, sockets, memory and keys.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw(make_path);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM pack_sockaddr_un);
use Test::More;

use Harness;
use Driver;

alarm_after(180);

my $mark = join '', map { chr(97 + int rand 26) } 1 .. 24;
my $secret = "secret-$mark";
my (@files, @dirs, @undo);

# Also when the test dies.
END {
    my $status = $?;

    unlink @files;
    rmdir $_ for reverse @dirs;
    $_->() for @undo;
    $? = $status;
}

$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);


# Where this user can write; false where it can't.
sub plant {
    my ($path, $mode) = @_;

    (my $dir = $path) =~ s{/[^/]+$}{};
    if (!-d $dir) {
        return 0 unless mkdir $dir, 0755;
        push @dirs, $dir;
    }

    open my $fh, '>', $path or return 0;
    push @files, $path;
    print $fh "$secret\n";
    close $fh;
    chmod $mode // 0644, $path;

    return 1;
}


my @places = grep { plant("$_/$mark") } qw(
    /root /home /home/sbx-planted /etc /etc/ssl/private /etc/ssl/certs
    /etc/ssh /etc/cron.d /etc/profile.d /etc/sudoers.d /etc/alternatives
    /etc/ld.so.conf.d /var/lib /var/lib/sbx-planted /var/log /var/spool
    /var/cache /var/backups /var/tmp /var/www /opt /opt/sbx-planted /srv /run
    /run/lock /tmp /mnt /media /boot /dev/shm /sbx-planted
);

push @places, $ENV{HOME} if $ENV{HOME} && plant("$ENV{HOME}/.$mark");

cmp_ok(scalar @places, '>=', $> == 0 ? 20 : 3,
    scalar(@places) . ' places with secrets');

# Readable by root alone, in the one directory that is shared.
my @private = grep { plant($_, 0600) } "/usr/local/$mark",
    "/usr/local/etc/$mark", "/usr/share/$mark";
my $public = plant("/usr/local/lib/public-$mark", 0644);

# Not files.
my $abstract = IO::Socket::UNIX->new(Local => "\0$secret",
    Type => SOCK_STREAM, Listen => 1) or note "abstract socket: $!";
my $tcp = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $shm_key = 0x5b0c0000 + int rand 0xffff;
my $shm = shmget($shm_key, 4096, 01600 | 0666);

push @undo, sub { shmctl($shm, 0, 0) if defined $shm };
shmwrite($shm, $secret, 0, length $secret) if defined $shm;

my $child = start_process(cmd => ['perl', '-e', 'sleep 300', $secret], log => '/dev/null',
    env => { SECRET => $secret });
push @undo, sub { stop_process($child, 'KILL') };


sub look {
    my ($name, %o) = @_;

    # An open descriptor and an environment that the driver must not pass on.
    open my $held, '<', $files[0] or die "$files[0]: $!";
    POSIX::dup2(fileno($held), 50);

    my $d = Driver->new(env => { SECRET => $secret }, keep_fds => { 50 => 1 },
        %o);
    POSIX::close(50);

    my $info = $d->info();

    if ($info->{error}) {
        note "$name: no sandboxes: $info->{message}";
        return 0;
    }

    spew("$d->{dir}/state/$mark", $secret, 0644);
    spew("$d->{dir}/run/$mark", $secret, 0644);

    ok($d->start(1)->{ok} && $d->start(2)->{ok}, "$name: two sandboxes")
        or return 1;
    $d->inside(2, "echo $secret > /workspace/other; echo $secret > /tmp/other;"
        . "echo $secret > /root/other; perl -e 'sleep 60' $secret >/dev/null 2>&1 & echo");

    # The search finds what is there.
    $d->inside(1, "echo $secret > /workspace/own; echo $secret > /etc/own;"
        . "perl -e 'sleep 60' own-$secret >/dev/null 2>&1 & echo");

    is($d->inside(1, "grep -rlsaF --devices=skip $secret / --exclude-dir=usr "
        . '--exclude-dir=proc --exclude-dir=sys | sort'),
        "/etc/own\n/workspace/own\n", "$name: files with a secret");
    is($d->inside(1, "find / -name '*$mark*' -not -path '/proc/*' 2>/dev/null | sort"),
        join('', sort map { "$_\n" } @private,
            $public ? "/usr/local/lib/public-$mark" : ()),
        "$name: names of files (those of /usr are public)");
    is($d->inside(1, "find / -name '*sbx-planted*' 2>/dev/null"), '',
        "$name: names of directories");

    for my $file (@private) {
        my ($out, $exit) = $d->inside(1, "cat $file");

        isnt($exit, 0, "$name: what root alone may read below /usr");
        unlike($out, qr/$secret/, "$name: isn't read");
    }

    is($d->inside(1, "cat /usr/local/lib/public-$mark"), "$secret\n",
        "$name: what everybody may read below /usr is read") if $public;

    # Processes.
    my $all = $d->inside(1, "for p in /proc/[0-9]*; do "
        . 'tr "\0" "\n" < $p/environ; tr "\0" " " < $p/cmdline; echo; '
        . 'readlink $p/cwd $p/root $p/exe $p/fd/*; cat $p/maps; done '
        . '2>/dev/null');
    ok($all =~ s/own-$secret//, "$name: processes are searched");
    ok($all !~ /$secret/, "$name: arguments, environments, descriptors")
        or diag $all;
    ok($all !~ /\Q$d->{dir}\E|^SECRET=|planted/m,
        "$name: nothing of the driver") or diag $all;
    ok($all !~ /sleep 300/, "$name: no process of the host") or diag $all;
    is($d->inside(1, 'tr "\0" "\n" < /proc/1/environ'), 'PATH=/usr/local/sbin:'
        . "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOME=/root\n",
        "$name: the agent's environment");

    # Kernel objects.
    my $objects = $d->inside(1, 'cat /proc/net/* /proc/mounts /proc/swaps '
        . '/proc/self/mountinfo /proc/sysvipc/* /proc/keys /proc/key-users '
        . '/proc/kmsg /proc/locks /proc/partitions /proc/self/cgroup '
        . '/proc/sys/kernel/hostname /proc/net/unix 2>/dev/null; ipcs');
    unlike($objects, qr/$secret|\Q$d->{dir}\E/, "$name: kernel objects");
    chomp(my $host = slurp('/proc/sys/kernel/hostname'));
    is($d->inside(1, 'cat /proc/sys/kernel/hostname'), "box1\n",
        "$name: not the host's name");

    my $perl = sub {
        my ($code) = @_;

        return $d->inside(1, "perl -MSocket -e '$code'");
    };

    is($perl->('socket S, AF_UNIX, SOCK_STREAM, 0; print connect(S, '
        . "pack_sockaddr_un(qq(\\0$secret))) ? 1 : \$!"),
        'Connection refused', "$name: an abstract socket") if $abstract;
    is($perl->('socket S, AF_INET, SOCK_STREAM, 0; print connect(S, '
        . 'pack_sockaddr_in(' . $tcp->sockport . ', inet_aton("127.0.0.1")))'
        . ' ? 1 : $!'), 'Connection refused', "$name: the host's loopback");
    is($perl->("print defined shmget($shm_key, 4096, 0) ? 1 : \$!"),
        'No such file or directory', "$name: shared memory") if defined $shm;

    # The numbers are those of x86-64.
    SKIP: {
        skip 'system call numbers of another machine', 6
            unless `uname -m` eq "x86_64\n";

        my %call = (keyctl => '250, 6, -3', add_key => '248, 0, 0, 0, 0, 0',
            open_by_handle_at => '304, 0, 0, 0', bpf => '321, 0, 0, 0',
            perf_event_open => '298, 0, 0, 0, 0, 0', userfaultfd => '323, 0');

        for my $name_of (sort keys %call) {
            is($perl->("syscall($call{$name_of}) == -1 and print \$! + 0"), 1,
                "$name: $name_of is refused");
        }
    }

    is($perl->('print socket(S, 40, 1, 0) ? 1 : $!'),
        'Address family not supported by protocol', "$name: no vsock");
    isnt(($d->inside(1, 'mknod /tmp/d b 254 0'))[1], 0, "$name: no devices");
    is($d->inside(1, 'find / -xdev \( -type b -o -type c \) -not -path '
        . '"/proc/*" | wc -l'), "0\n", "$name: none in the image");
    is($d->inside(1, "ls -d $d->{dir} /.dockerenv /s /b /i /agent "
        . '/proc/1/root/s /proc/1/cwd/s 2>/dev/null'), '',
        "$name: no way to the helper's root");

    my $passwd = $d->inside(1, 'cat /etc/passwd /etc/group /etc/shadow');
    my @names = grep { !/^(?:root|daemon|bin|sys|sync|games|man|lp|mail|news
        |uucp|proxy|www-data|backup|list|irc|_apt|nobody)$/x }
        (slurp('/etc/passwd') // '') =~ /^([^:\n]+):/mg;
    unlike($passwd, qr/^\Q$_\E:/m, "$name: the host's user $_ is unknown")
        for @names;
    unlike($passwd, qr/:\$/, "$name: no password");

    if ($name eq 'root') {
        is($d->inside(1, 'useradd -m bob && su bob -c "id -un; cd; pwd"'),
            "bob\n/home/bob\n", "$name: root becomes another user");
        like($d->inside(1, 'su nobody -s /bin/sh -c "id -un; su root -c id"'
            . ' 2>&1'), qr/^nobody\nsu: Authentication failure/,
            "$name: who becomes nobody else");
    }

    for my $n (1, 2) {
        ok($d->destroy($n)->{ok}, "$name: destroyed");
    }

    is($d->quit(), 0, "$name: the driver ends");

    return 1;
}


if ($> == 0) {
    look('root') or plan skip_all => 'no sandboxes here';

    # An ordinary user may read less on the host, and has to show less.
    look('user', user => $Driver::USER)
        or note 'an ordinary user has no sandboxes here';

} else {
    look('user') or plan skip_all => 'no sandboxes here';
}

done_testing();
