package CleanMachine;

# A Debian tree with nothing in it but what a test asks for, entered as if it
# were a machine of its own: its own root (pivot_root: user namespaces can't be
# made in a chroot), mounts and processes; the host's network and cgroups.
#
#   my $m = CleanMachine->make('trixie', packages => 'nginx,curl');
#   my ($status, $out, $err) = $m->run('nginx -v');      # a machine per script
#   $m->boot; $m->inside('nginx'); $m->inside('curl ...'); $m->halt;
#
# Where packages come from, and how, is what this machine's own apt is
# configured with.

use strict;
use warnings;

use Harness;


# The address of Debian's archive.
sub mirror {
    my (undef, $out) = run_command(['apt-get', 'indextargets', '--format',
        '$(ORIGIN)|$(LABEL)|$(REPO_URI)', 'Created-By: Packages']);

    return ($out // '') =~ /^Debian\|Debian\|(\S+)$/m ? $1 : undef;
}


# How apt fetches here: proxies, checks of dates, retries.
sub apt_options {
    my (undef, $out) = run_command(['apt-config', 'dump']);

    return join '', map { "$_\n" }
        grep { /^Acquire::(?:Check-|Retries|https?\b)[^"]*"[^"]+";$/ }
        split /\n/, $out // '';
}


# A clone of the repository in /src, and an ordinary user "dev" who may use
# sudo and has one, too.
sub add_source {
    my ($self) = @_;
    my ($status, undef, $err) = run_command(['git', 'clone', '-q', top_dir(),
        "$self->{tree}/src"]);

    $status == 0 or die "git clone: $err";

    return $self;
}


sub add_user {
    my ($self) = @_;
    my ($status, undef, $err) = $self->run('useradd -m -s /bin/bash dev'
        . ' && echo "dev ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/dev'
        . ' && cp -r /src /home/dev/src && chown -R dev: /home/dev/src'
        . ' && chmod 755 /home/dev');

    $status == 0 or die "useradd: $err";

    return $self;
}


# For make(): what it takes to build everything there, as packages too, and to
# run the tests of the edge.
sub packages {
    my ($release) = @_;

    return 'adduser,ca-certificates,crun,curl,debhelper,dpkg-dev,e2fsprogs,gcc,'
        . 'git,iproute2,libarchive-dev,libc6-dev,libjansson-dev,'
        . 'libnftables-dev,libseccomp-dev,libsqlite3-dev,libssl-dev,libuv1-dev,'
        . 'make,nghttp2-client,nginx,nginx-dev,openssl,perl,pkgconf,procps,'
        . 'python3,uidmap,util-linux,'
        . ($release eq 'bookworm' ? 'node-llhttp' : 'libllhttp-dev');
}


# The tree of a release ("bookworm", "trixie", "sid"); what went wrong if there
# is none.  SANDBOX_TREES names a directory that keeps trees as they were made.
sub make {
    my ($class, $release, %o) = @_;
    my $dir = tmp_dir();
    my $tree = "$dir/$release";
    my $packages = $o{packages} || 'git,make,sudo,ca-certificates';
    my $mirror = mirror();

    return (undef, 'mmdebstrap is not installed')
        unless grep { -x "$_/mmdebstrap" } split /:/, $ENV{PATH};
    return (undef, 'apt has no source of Debian itself here')
        unless $mirror;

    my $kept = $ENV{SANDBOX_TREES}
        && "$ENV{SANDBOX_TREES}/$release-" . path_hash($packages) . '.tar';
    my $self = bless { tree => $tree, release => $release }, $class;

    if ($kept && -e $kept) {
        mkdir $tree;
        my ($status, undef, $err) = run_command(['tar', '-xf', $kept, '-C',
            $tree], timeout => 900);

        return $status == 0 ? $self : (undef, "$kept: $err");
    }

    spew("$dir/apt-$release.conf", apt_options());

    my ($status, undef, $err) = run_command(['mmdebstrap',
        '--variant=minbase', "--aptopt=$dir/apt-$release.conf",
        "--dpkgopt=force-unsafe-io", "--include=$packages", $release, $tree,
        $mirror], timeout => 3600);

    return (undef, 'mmdebstrap: ' . substr($err // '', -500))
        if $status != 0;

    for my $file ('/etc/resolv.conf', '/etc/hosts') {
        run_command(['cp', '-L', $file, "$tree$file"]) if -e $file;
    }
    run_command(['tar', '-cf', $kept, '-C', $tree, '.'], timeout => 300)
        if $kept;

    return $self;
}


# A machine that is like this one, and writes nothing to it: its tree is this
# one's, with what is changed in memory.
sub copy {
    my ($class) = @_;
    my $dir = tmp_dir();

    mkdir "$dir/$_" for qw(memory this);

    my ($status, undef, $err) = run_command(['sh', '-ec', <<'END', 'sh', $dir]);
mount -t tmpfs tmpfs "$1/memory"
mkdir "$1/memory/up" "$1/memory/work"
mount -t overlay overlay "$1/this" \
    -o "lowerdir=/,upperdir=$1/memory/up,workdir=$1/memory/work"
# An overlay can't be the upper layer of another one, as sandboxes need it.
mkdir "$1/memory/lib"
tar -C /var/lib --exclude=./apt/lists -cf - . | tar -C "$1/memory/lib" -xf -
mkdir -p "$1/memory/lib/apt/lists"
mount --bind "$1/memory/lib" "$1/this/var/lib"
END

    my $self = bless { tree => "$dir/this", release => 'this',
        mounts => ["$dir/this/var/lib", "$dir/this", "$dir/memory"] }, $class;

    return $status == 0 ? $self : (undef, "an overlay of /: $err");
}


sub DESTROY {
    my ($self) = @_;

    # Also at the very end, when there is no directory for its output.
    local $?;
    system('umount', '-l', $_) for @{ $self->{mounts} || [] };
}


# The command line that enters the tree and runs a shell script there.
sub command {
    my ($self, $script, %o) = @_;
    my $user = $o{user} || 'root';
    my $enter = <<'END';
set -e
mount --make-rprivate /
mount --rbind "$1" "$1"
cd "$1"
mkdir -p .old
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
pivot_root . .old
umount -l /.old
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# This shell is PID 1 here: it stays, and reaps what loses its parent.
set +e
if [ "$2" = root ]; then bash -c "$3" & else su - "$2" -c "$3" & fi
wait $!
exit $?
END

    return ('unshare', '--mount', '--pid', '--fork', '--kill-child=KILL',
        $o{net} ? '--net' : (), '--', 'sh', '-c', $enter, 'sh', $self->{tree},
        $user, $script);
}


sub run {
    my ($self, $script, %o) = @_;

    return run_command([$self->command($script, %o)],
        timeout => $o{timeout} || 300);
}


# A machine that runs until halt(), with a network of its own.
sub boot {
    my ($self) = @_;

    $self->{pid} = start_process(cmd => [$self->command(
        'ip link set lo up; touch /run/up; exec sleep infinity', net => 1)],
        log => "$self->{tree}.log");

    my $up = wait_for(sub {
        process_alive($self->{pid}) or return 1;
        ($self->{init}) = grep { (slurp("/proc/$_/status") // '')
            =~ /^NSpid:\s+\d+\s+1$/m } descendants($self->{pid});
        $self->{init} && -e "/proc/$self->{init}/root/run/up";
    }, 60);

    return $up && process_alive($self->{pid});
}


sub inside {
    my ($self, $script, %o) = @_;

    return run_command(['nsenter', '-t', $self->{init}, '-m', '-p', '-n',
        '-r', '-w', '--', 'env', '-i', 'HOME=/root', 'LC_ALL=C.UTF-8',
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'bash', '-c', $script], timeout => $o{timeout} || 300);
}


sub halt {
    my ($self) = @_;

    return stop_process(delete $self->{pid}, 'KILL', 10);
}

1;
