package CleanMachine;

# A Debian tree with nothing but git, make and sudo in it, entered as if it
# were a machine of its own: its own root (pivot_root: user namespaces can't be
# made in a chroot), mounts and processes; the host's network and cgroups.

use strict;
use warnings;

use Harness;


# The tree of a release ("bookworm", "trixie"), with a clone of the repository
# in /src and an ordinary user "dev" who may use sudo; its directory.
sub make {
    my ($class, $release) = @_;
    my $tree = tmp_dir() . "/$release";
    my ($status, $out, $err) = run_command(['mmdebstrap', '--variant=minbase',
        '--include=git,make,sudo,ca-certificates', $release, $tree,
        'http://deb.debian.org/debian'], timeout => 900);

    $status == 0 or die "mmdebstrap: $err";

    for my $file (glob('/etc/apt/apt.conf.d/99*'), '/etc/resolv.conf',
        '/etc/hosts')
    {
        run_command(['cp', '-L', $file, "$tree$file"]) if -e $file;
    }

    ($status, $out, $err) = run_command(['git', 'clone', '-q', top_dir(),
        "$tree/src"]);
    $status == 0 or die "git clone: $err";

    my $self = bless { tree => $tree, release => $release }, $class;

    ($status, $out, $err) = $self->run('useradd -m -s /bin/bash dev'
        . ' && echo "dev ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/dev'
        . ' && cp -r /src /home/dev/src && chown -R dev: /home/dev/src'
        . ' && chmod 755 /home/dev');
    $status == 0 or die "useradd: $err";

    return $self;
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
        '--', 'sh', '-c', $enter, 'sh', $self->{tree}, $user, $script);
}


sub run {
    my ($self, $script, %o) = @_;

    return run_command([$self->command($script, %o)],
        timeout => $o{timeout} || 300);
}

1;
