package ZoneMemory;

# Writes into the shared-memory zone of a running nginx, as a worker would that
# is killed at the wrong moment.
#
#   my $m = ZoneMemory->open($worker_pid, '16m') or skip;
#   $m->lock($pid);       # the mutex is $pid's
#   $m->changes(10);      # waits for something to change in the header
#   $m->half_changed;     # as in the middle of a change, its chains broken

use strict;
use warnings;

use Harness;
use Time::HiRes qw(sleep time);


sub open {
    my ($class, $pid, $size) = @_;

    no warnings 'portable';
    $size = $size =~ /(\d+)m/ ? $1 << 20 : 0;

    my ($from) = map {
        /^([0-9a-f]+)-([0-9a-f]+) rw-s / && hex($2) - hex($1) == $size
            ? hex $1 : ();
    } split /\n/, slurp("/proc/$pid/maps") // '';

    return undef unless defined $from;
    CORE::open my $mem, '+<:unix', "/proc/$pid/mem" or return undef;

    return bless { mem => $mem, from => $from, size => $size }, $class;
}


sub put {
    my ($self, $offset, $bytes) = @_;

    sysseek $self->{mem}, $self->{from} + $offset, 0;

    return syswrite $self->{mem}, $bytes;
}


# The mutex is the first word of the slab pool.
sub lock {
    my ($self, $pid) = @_;

    # Who has it at this very moment gives it back: once more, then.
    for (1 .. 20) {
        $self->put(0, pack 'q', $pid) or return 0;

        sleep 0.05;
        sysseek $self->{mem}, $self->{from}, 0;
        sysread $self->{mem}, my $word, 8;
        return 1 if ($word // '') eq pack 'q', $pid;
    }

    return 0;
}


# The zone's header begins a page; the mark of a change is its first word, and
# its magic number the next.
sub header {
    my ($self) = @_;

    for (my $page = 0; $page < $self->{size}; $page += 4096) {
        my $head = $self->get($page, 8);

        return $page if length $head == 8
            && (unpack 'LL', $head)[1] == 0x73627831;
    }

    return undef;
}


sub get {
    my ($self, $offset, $n) = @_;

    sysseek $self->{mem}, $self->{from} + $offset, 0;
    sysread $self->{mem}, my ($bytes), $n;

    return $bytes // '';
}


# Looks without a pause: whoever waits here acts next.
sub changes {
    my ($self, $seconds) = @_;
    my $page = $self->header // return 0;
    my $was = $self->get($page, 512);
    my $end = time() + $seconds;

    while (time() < $end) {
        return 1 if $self->get($page, 512) ne $was;
    }

    return 0;
}


# With `anew` the one who found the zone so has died as well, while it built it
# again: of the header only the first part is left, see _node.h.
sub half_changed {
    my ($self, %o) = @_;
    my $page = $self->header // return 0;

    $self->put($page + 104, "\0" x 300) if $o{anew};

    # what comes behind the header: tables, pages of records
    $self->put($page, pack 'L', 1);
    $self->put($page + 4096 * $_, "\xa5" x 4096) for 1 .. 200;

    return 1;
}

1;
