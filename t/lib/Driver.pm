package Driver;

# The driver by itself: starts build/driver-shell, sends it commands, matches
# its answers, runs scripts inside of sandboxes through their agents, and
# counts what a sandbox could leave behind on the host.

use strict;
use warnings;

use Cwd qw(abs_path);
use IO::Handle;
use IO::Select;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(sleep time);

use Harness;

our $KEY = '0123456789abcdef' x 2;

my $JSON = JSON::PP->new->canonical->allow_nonref;


# An ordinary user without a name; with subids => 1 it has some, in files that
# only the driver sees.
our $USER = 61234;


# new(dir => D, user => UID, subids => 1, agent => PATH, dev => 1,
#     images => {n => DIR}, env => {...}, wrap => [...], keep_fds => {...}).
# D gets state/ and run/.
sub new {
    my ($class, %o) = @_;
    my $self = bless {
        dir => $o{dir} // tmp_dir(), events => [], answers => [], in => '',
        next => 1, images => $o{images} || {}, o => \%o,
    }, $class;

    for my $d ("$self->{dir}/state", "$self->{dir}/run") {
        mkdir $d, 0711;
        chown $o{user}, $o{user}, $d if $o{user};
    }

    # The checkout may be where another user can't go.
    $self->{bin} = build_dir();
    if ($o{user}) {
        $self->{bin} = $self->{dir};
        spew("$self->{bin}/$_", slurp(build_dir() . "/$_"), 0755)
            for qw(driver-shell driver-agent);
    }

    if ($o{user} && $o{subids}) {
        my %file = (subid => "sbxtest:300000:65536\n",
            passwd => slurp('/etc/passwd')
                . "sbxtest:x:$o{user}:$o{user}::/nonexistent:/bin/false\n",
            group => slurp('/etc/group') . "sbxtest:x:$o{user}:\n");

        chmod 0755, $self->{dir};
        spew("$self->{dir}/$_", $file{$_}, 0644) for keys %file;
        $self->{o}{wrap} = ['unshare', '-m', 'sh', '-ec',
            "cd $self->{dir}; mount --bind subid /etc/subuid; "
            . 'mount --bind subid /etc/subgid; '
            . 'mount --bind passwd /etc/passwd; '
            . 'mount --bind group /etc/group; cd /; '
            . "exec setpriv --reuid=$o{user} --regid=$o{user} "
            . '--clear-groups "$@"', 'sh'];

    } elsif ($o{user}) {
        $self->{o}{wrap} = ['setpriv', "--reuid=$o{user}",
            "--regid=$o{user}", '--clear-groups'];
    }

    $self->spawn();

    return $self;
}


sub spawn {
    my ($self) = @_;
    my %o = %{ $self->{o} };
    my @cmd = ("$self->{bin}/driver-shell", "$self->{dir}/state",
        "$self->{dir}/run", $o{agent} // "$self->{bin}/driver-agent",
        $o{dev} // 1, map { "$_=$self->{images}{$_}" }
        sort keys %{ $self->{images} });

    pipe my $in_r, my $in_w or die "pipe: $!";
    pipe my $out_r, my $out_w or die "pipe: $!";

    my $log = "$self->{dir}/log";
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        POSIX::dup2(fileno($in_r), 0);
        POSIX::dup2(fileno($out_w), 1);
        open STDERR, '>>', $log or POSIX::_exit(126);
        POSIX::close($_) for grep { !$o{keep_fds}{$_} } 3 .. 60;
        %ENV = (%ENV, %{ $o{env} || {} });
        { no warnings 'exec'; exec @{ $o{wrap} || [] }, @cmd; }
        POSIX::_exit(127);
    }

    close $in_r;
    close $out_w;
    @$self{qw(pid to from)} = ($pid, $in_w, $out_r);
    $self->{to}->autoflush(1);
    $self->{in} = '';

    return $self;
}


sub send {
    my ($self, %o) = @_;

    local $SIG{PIPE} = 'IGNORE';
    print { $self->{to} } $JSON->encode(\%o), "\n";
}


# Takes the first answer (or event) that the code accepts.
sub take {
    my ($self, $accept, $seconds) = @_;
    my $end = time() + ($seconds // 20);
    my $sel = IO::Select->new($self->{from});

    while (1) {
        for my $i (0 .. $#{ $self->{answers} }) {
            next unless $accept->($self->{answers}[$i]);
            return splice @{ $self->{answers} }, $i, 1;
        }

        my $left = $end - time();

        return undef if $left <= 0;
        next unless $sel->can_read($left);

        my $n = sysread $self->{from}, $self->{in}, 65536, length $self->{in};

        return undef unless $n;
        while ($self->{in} =~ s/^([^\n]*)\n//) {
            push @{ $self->{answers} }, $JSON->decode($1);
        }
    }
}


sub info {
    my ($self) = @_;

    $self->send(op => 'info');

    return $self->take(sub { exists $_[0]{name} || exists $_[0]{error} });
}


sub answer_to {
    my ($self, $op, $slot, $seconds) = @_;

    return $self->take(sub {
        ($_[0]{op} // '') eq $op && (!defined $slot || $_[0]{slot} == $slot)
    }, $seconds);
}


sub send_start {
    my ($self, $slot, %o) = @_;

    # Nobody asks any more how earlier runs have ended.
    @{ $self->{answers} } = grep { !$_->{event} || $_->{slot} != $slot }
        @{ $self->{answers} };

    $self->send(op => 'start', slot => $slot, id => $o{id} // "box$slot",
        key => $KEY, image => 'host', timeout => 20000, %o);
}


sub start {
    my ($self, $slot, %o) = @_;

    $self->send_start($slot, %o);

    return $self->answer_to('start', $slot, 60) || { message => 'no answer' };
}


# A sandbox that is nobody's yet.
sub prepare {
    my ($self, $slot, %o) = @_;

    $self->send(op => 'prepare', slot => $slot, image => 'host',
        timeout => 20000, %o);

    return $self->answer_to('prepare', $slot, 60) || { message => 'no answer' };
}


sub stop {
    my ($self, $slot, $grace) = @_;

    $self->send(op => 'stop', slot => $slot, grace => $grace // 2000);

    return $self->answer_to('stop', $slot, 60) || { message => 'no answer' };
}


# With its memory, where the driver can.
sub sleep_now {
    my ($self, $slot) = @_;

    $self->send(op => 'sleep', slot => $slot, timeout => 30000);

    return $self->answer_to('sleep', $slot, 60) || { message => 'no answer' };
}


sub destroy {
    my ($self, $slot) = @_;

    $self->send(op => 'destroy', slot => $slot);

    return $self->answer_to('destroy', $slot, 60)
        || { message => 'no answer' };
}


sub exited {
    my ($self, $slot, $seconds) = @_;

    return $self->take(sub {
        ($_[0]{event} // '') eq 'exited' && $_[0]{slot} == $slot
    }, $seconds);
}


# Ends the driver, not the sandboxes; its wait status.
# What its log says, but for what it only tells: the host, as an image, changes
# when somebody installs something.
sub complaints {
    my ($self) = @_;

    return join '', grep { !/ info: / } map { "$_\n" }
        split /\n/, slurp("$self->{dir}/log") // '';
}


sub quit {
    my ($self, $signal) = @_;

    return undef unless $self->{pid};

    if ($signal) {
        kill $signal, $self->{pid};
    } else {
        $self->send(op => 'quit');
    }

    close $self->{to};

    my $pid = delete $self->{pid};
    my $done = wait_for(sub { waitpid($pid, POSIX::WNOHANG()) == $pid }, 20);
    my $status = $?;

    if (!$done) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
        return undef;
    }

    return $status;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    $self->quit() if $self->{pid};
}


sub socket { return sprintf '%s/run/s/%08x', $_[0]{dir}, $_[1] }


sub connect {
    my ($self, $slot, $first) = @_;

    my $s = http_connect(unix => $self->socket($slot)) or return undef;

    http_send($s, $first // "CONTROL $KEY\n");

    return $s;
}


# Runs a script inside, with build/driver-agent: its output and status.
sub inside {
    my ($self, $slot, $script, $seconds) = @_;
    my $s = $self->connect($slot) or return ("no connection: $!", -1);

    http_send($s, "POST /run HTTP/1.1\r\nHost: localhost\r\n"
        . 'Content-Length: ' . length($script) . "\r\n\r\n$script");

    my ($raw, $end) = ('', time() + ($seconds // 60));
    my $sel = IO::Select->new($s);

    while (time() < $end) {
        next unless $sel->can_read(0.5);
        last unless sysread $s, $raw, 65536, length $raw;
    }

    my ($out, $exit) = $raw =~ /^OK\nHTTP.*?\r\n\r\n(.*)\nexit (\d+)\n\z/s
        or return ("bad answer: $raw", -1);

    return wantarray ? ($out, $exit) : $out;
}


# What a sandbox could leave behind: mounts, processes of ours, network
# namespaces, groups, sockets, directories.
sub leftovers {
    my ($self) = @_;
    my %n;

    # Other tests mount things too.
    $n{mounts} = grep { m{ (?:sandboxd|bundle|overlay) \S*$|\Q$self->{dir}\E/}
        && m{\Q$self->{dir}\E|/i/\d|layer/upper| sandboxd | bundle } }
        split /\n/, slurp('/proc/self/mountinfo') // '';
    $n{sockets} = () = glob "$self->{dir}/run/s/*";
    $n{layers} = () = glob "$self->{dir}/state/sandboxes/*";
    $n{processes} = $self->agents();
    $n{zombies} = 0;
    $n{groups} = 0;
    $n{loops} = 0;

    for my $pid (descendants($self->{pid} // 0)) {
        $n{zombies}++ if (slurp("/proc/$pid/stat") // '') =~ /\) Z /;
    }

    for my $base (glob '/sys/fs/cgroup/*/sandboxd-* /sys/fs/cgroup/sandboxd-*')
    {
        next unless $base =~ /sandboxd-[0-9a-f]{16}$/;
        next unless $base =~ /-\Q@{[ $self->tag ]}\E$/;
        $n{groups} += grep { m{/[0-9a-f]{8}$} && -d } glob "$base/*";
    }

    for my $file (glob '/sys/block/loop*/loop/backing_file') {
        $n{loops}++ if (slurp($file) // '') =~ /^\Q$self->{dir}\E\//;
    }

    return \%n;
}


# Leftovers are what they were.  A child whose parent was killed has some
# seconds to be reaped.
sub left_as {
    my ($self, $before, $name) = @_;
    my $same = sub {
        my $now = $self->leftovers();
        return !grep { $now->{$_} != $before->{$_} } keys %$before;
    };

    wait_for($same, 30);
    Test::More::is_deeply($self->leftovers(), $before, $name);
}


# The name of this driver's groups is a hash of its directory's path.
sub tag {
    my ($self) = @_;

    my $where = $self->{o}{env}{DRIVER} ? 'machines' : 'sandboxes';

    return path_hash("$self->{dir}/state/$where");
}


# How many sandboxes of this driver live: processes that hold a socket of its.
sub agents {
    my ($self) = @_;
    my (%inode, %pid);

    for my $line (split /\n/, slurp('/proc/net/unix') // '') {
        my @f = split ' ', $line, 8;

        $inode{"socket:[$f[6]]"} = 1
            if ($f[7] // '') =~ m{^\Q$self->{dir}\E/run/s/};
    }

    for my $fd (glob '/proc/[0-9]*/fd/*') {
        my $target = readlink $fd // next;

        next unless $inode{$target};
        $pid{$1} = 1 if $fd =~ m{^/proc/(\d+)/} && $1 != ($self->{pid} // 0);
    }

    return scalar keys %pid;
}


1;
