package Load;

# Clients that go on until they are told to end, each in a process of its own.
#
#   my $l = Load->new;
#   $l->client('gets', sub { ...; return 'what went wrong' or () });
#   my ($count, @bad) = $l->end;
#
# The code of a client is called again and again; it keeps what it likes in
# variables of its own.  With an argument it is called a last time, to close.
# $l->count('gets') says how often it was called so far.

use strict;
use warnings;

use Harness;
use POSIX ();
use Time::HiRes qw(sleep time);


sub new {
    my ($class) = @_;

    return bless { dir => tmp_dir(), clients => [] }, $class;
}


sub client {
    my ($self, $name, $code) = @_;
    my $dir = $self->{dir};
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        my ($n, @bad) = (0);
        my $parent = getppid();

        $SIG{PIPE} = 'IGNORE';
        alarm 0;
        open my $at, '>', "$dir/$name.count";
        $at->autoflush(1);
        until (-e "$dir/end" || @bad > 20 || getppid() != $parent) {
            my @got = eval { $code->() };

            push @got, "died: $@" if $@;
            push @bad, map { sprintf '%s at %.2f: %s', $name, time(), $_ }
                @got;
            seek $at, 0, 0;
            print $at ++$n, "\n";
        }
        eval { $code->('end') };
        spew("$dir/$name.result", join "\n", $n, @bad);
        POSIX::_exit(0);
    }
    push @{ $self->{clients} }, [$name, $pid];

    return $self;
}


sub count {
    my ($self, $name) = @_;

    return (slurp("$self->{dir}/$name.count") // '') =~ /^(\d+)/ ? $1 : 0;
}


# Waits until each client has been through so many more times.
sub turns {
    my ($self, $turns, $seconds) = @_;
    my %from = map { $_->[0] => $self->count($_->[0]) } @{ $self->{clients} };

    return wait_for(sub {
        !grep { $self->count($_) < $from{$_} + $turns } keys %from;
    }, $seconds // 30);
}


# The number of turns that clients made, and all complaints.
sub end {
    my ($self) = @_;
    my ($count, @bad) = (0);

    spew("$self->{dir}/end", '');
    for my $c (splice @{ $self->{clients} }) {
        my ($name, $pid) = @$c;

        waitpid $pid, 0;
        my ($n, @lines) = split /\n/, slurp("$self->{dir}/$name.result")
            // "0\n$name: died";

        $count += $n;
        push @bad, @lines;
    }
    unlink "$self->{dir}/end";

    return ($count, @bad);
}

1;
