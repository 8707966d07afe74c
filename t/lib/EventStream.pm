package EventStream;

# A client of server-sent events that shows what it has got so far.
#
#   my $e = EventStream->open(port => 80, host => ..., path => ...,
#                             headers => [...], rcvbuf => N);
#   $e->{status}; $e->{headers}; my $event = $e->next(10);
#
# An event is { id, event, data, json }; undef: none came in time, or no more
# (then $e->{ended} says whether the end was a proper one).

use strict;
use warnings;

use Harness;
use IO::Select;
use IO::Socket::INET;
use Socket;
use Time::HiRes qw(time);


sub open {
    my ($class, %o) = @_;
    my $s;

    socket $s, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    setsockopt $s, SOL_SOCKET, SO_RCVBUF, $o{rcvbuf} if $o{rcvbuf};
    connect $s, sockaddr_in($o{port}, inet_aton('127.0.0.1'))
        or die "connect: $!";

    my $head = "GET $o{path} HTTP/1.1\r\nHost: $o{host}\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } @{ $o{headers} || [] })
        . "\r\n";

    http_send($s, $head);

    my $self = bless { socket => $s, in => '', text => '', all => [] },
        $class;

    $self->more(20) until $self->{in} =~ /\r\n\r\n/ || $self->{eof};
    $self->{in} =~ s/^(.*?\r\n)\r\n//s;
    my $lines = $1 // '';

    ($self->{status}) = $lines =~ m{^HTTP/1\.1 (\d+)};
    $self->{headers} = { map { /^([^:]+):\s*(.*?)\r?$/ ? (lc $1, $2) : () }
        split /\n/, $lines };

    return $self;
}


sub more {
    my ($self, $seconds) = @_;
    my $sel = IO::Select->new($self->{socket});

    return 0 if $self->{eof} || !$sel->can_read($seconds);
    my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
    $self->{eof} = 1 unless $n;

    return $n || 0;
}


# Takes the chunks apart.
sub chunks {
    my ($self) = @_;

    while ($self->{in} =~ /^([0-9a-f]+)\r\n/i
        && length($self->{in}) >= $+[0] + hex($1) + 2)
    {
        my ($skip, $size) = ($+[0], hex $1);

        $self->{text} .= substr $self->{in}, $skip, $size;
        substr($self->{in}, 0, $skip + $size + 2) = '';
        $self->{ended} = 1 if $size == 0;
    }
}


sub next {
    my ($self, $seconds) = @_;
    my $end = time() + ($seconds // 10);

    while (1) {
        $self->chunks;

        while ($self->{text} =~ s/^(.*?)\n\n//s) {
            my %event = map { /^(\w+): ?(.*)$/ ? ($1, $2) : () }
                split /\n/, $1;

            $self->{id} = $event{id} if defined $event{id};
            next unless defined $event{data};
            $event{json} = json_decode($event{data});
            push @{ $self->{all} }, \%event;
            return \%event;
        }

        return undef if $self->{ended} || $self->{eof} || time() > $end;
        $self->more(0.2);
    }
}


# Events up to one that fits; undef if none came.
sub until {
    my ($self, $fits, $seconds) = @_;
    my $end = time() + ($seconds // 20);

    while (time() < $end) {
        my $event = $self->next($end - time()) or return undef;

        return $event if $fits->($event);
    }

    return undef;
}

sub close { close $_[0]{socket} }

1;
