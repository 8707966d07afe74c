package Leftovers;

# What sandboxes could leave behind on the host, told apart from what other
# tests run at the same time: by our directory, by the tag in the names of our
# control groups, and by the namespaces that our processes were seen in.
#
#   my $l = Leftovers->new(dir => $dir);    # $dir/state and $dir/run
#   $l->note($pid_of_sandboxd);             # now and then, while all runs
#   is(join(' ', $l->list), '', 'nothing is left behind');

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Find ();
use Harness;


sub new {
    my ($class, %o) = @_;

    return bless { ns => {}, own => { map { $_->[1] => 1 } namespaces($$) },
                   %o }, $class;
}


sub namespaces {
    my ($pid) = @_;

    return grep { $_->[1] } map { [$_, scalar readlink] }
        map { "/proc/$pid/ns/$_" } qw(user pid net);
}


# The processes that hold one of our agents' sockets: all PID 1s.
sub agents {
    my ($self) = @_;
    my (%inode, %pid);

    for my $line (split /\n/, slurp('/proc/net/unix') // '') {
        my @f = split ' ', $line, 8;

        $inode{"socket:[$f[6]]"} = 1
            if index($f[7] // '', "$self->{dir}/run/s/") == 0;
    }

    for my $fd (%inode ? glob '/proc/[0-9]*/fd/*' : ()) {
        my $target = readlink $fd // next;

        $pid{$1} = 1 if $inode{$target} && $fd =~ m{^/proc/(\d+)/};
    }

    return keys %pid;
}


# Remembers the namespaces of what runs now below sandboxd, and of the
# sandboxes, which don't live below it.  They are kept open: the number of one
# that has gone would soon be another's.
sub note {
    my ($self, @pids) = @_;

    for my $pid ($self->agents, map { descendants($_) } grep { $_ } @pids) {
        for (namespaces($pid)) {
            my ($path, $ns) = @$_;

            next if $self->{own}{$ns} || $self->{ns}{$ns};
            open my $fh, '<', $path or next;
            $self->{ns}{$ns} = $fh if (readlink $path // '') eq $ns;
        }
    }

    return scalar keys %{ $self->{ns} };
}


# Groups are named after a hash of the directory of the sandboxes' layers, or
# of their machines.
sub tags {
    my ($self) = @_;
    my $state = abs_path("$self->{dir}/state") // "$self->{dir}/state";

    return map { path_hash("$state/$_") } qw(sandboxes machines);
}


sub groups {
    my ($self) = @_;
    my $name = join '|', map { "sandboxd-$_" } $self->tags;
    my @found;

    return () unless -d '/sys/fs/cgroup';

    File::Find::find({ no_chdir => 1, wanted => sub {
        push @found, $File::Find::name
            if m{/(?:$name)(?:/|$)} && -d $File::Find::name;
    } }, '/sys/fs/cgroup');

    return @found;
}


sub list {
    my ($self) = @_;
    my $dir = $self->{dir};
    my @left;

    for my $pid (map { m{/proc/(\d+)} } glob '/proc/[0-9]*') {
        # One that has ended, and whose parent was killed, is init's to reap.
        next if $pid == $$ || !process_alive($pid);
        my $cmd = slurp("/proc/$pid/cmdline") // next;
        my $root = readlink("/proc/$pid/root") // '';

        $cmd =~ tr/\0/ /;
        push @left, "process $pid ($cmd)"
            if index($cmd, $dir) >= 0 || index($root, $dir) >= 0;

        my ($ns) = grep { $self->{ns}{$_} } map { $_->[1] } namespaces($pid);

        push @left, "process $pid ($cmd) in $ns" if $ns;
    }

    # A namespace can be kept by a mount, too.
    for my $mount (split /\n/, slurp('/proc/self/mountinfo') // '') {
        my ($ns) = $mount =~ / (\w+:\[\d+\]) /;

        push @left, "mount $mount"
            if index($mount, $dir) >= 0 || ($ns && $self->{ns}{$ns});
    }

    for my $file (glob '/sys/block/loop*/loop/backing_file') {
        push @left, "loop device $file"
            if index(slurp($file) // '', "$dir/") == 0;
    }

    push @left, map { "socket $_" } glob "$dir/run/s/*";
    push @left, map { "run file $_" } glob "$dir/run/r/*";
    push @left, map { "group $_" } $self->groups;

    return @left;
}

1;
