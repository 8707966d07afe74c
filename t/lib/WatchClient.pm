package WatchClient;

# One /api/watch stream, read as it comes:
#
#   my $w = WatchClient->open($socket, $request_text);
#   $w->until(sub { my ($w) = @_; ... })     reads until that is true
#   $w->has('create x/y')                    a path below the watched one

use strict;
use warnings;

use Harness;
use IO::Select;
use Time::HiRes qw(time);


# The bytes to be sent: a whole request.  Waits for the head of the answer and,
# if it is a stream, for its first frame.
sub open {
    my ($class, $socket, $bytes, %o) = @_;
    my $self = bless { socket => $socket, raw => '', text => '', frames => [],
                       head => undef, eof => 0, preface => $o{preface} },
        $class;

    http_send($socket, $bytes);
    $self->until(sub { $self->{head} && ($self->{status} != 200
                                         ? $self->{eof} : @{ $self->{frames} }) },
                 $o{timeout} // 60) unless $o{no_wait};

    return $self;
}


sub parse {
    my ($self) = @_;

    if (!$self->{head}) {
        if ($self->{preface}) {
            $self->{raw} =~ s/^[^\n]*\n// or return;
            $self->{preface} = 0;
        }
        $self->{raw} =~ s/^(.*?\r\n)\r\n//s or return;
        $self->{head} = $1;
        ($self->{status}) = $1 =~ m{^HTTP/1\.1 (\d+)};
        $self->{plain} = $self->{head} !~ /chunked/i;
    }

    if ($self->{plain}) {
        $self->{text} .= $self->{raw};
        $self->{raw} = '';
        my ($n) = $self->{head} =~ /Content-Length: (\d+)/i;
        $self->{eof} = 1 if defined $n && length $self->{text} >= $n;
        return;
    }

    while ($self->{raw} =~ /^([0-9a-fA-F]+)\r\n/) {
        my ($n, $at) = (hex $1, $+[0]);
        last if length($self->{raw}) < $at + $n + 2;
        $self->{text} .= substr $self->{raw}, $at, $n;
        substr($self->{raw}, 0, $at + $n + 2) = '';
        $self->{complete} = $self->{eof} = 1 if $n == 0;
    }

    while ($self->{text} =~ s/^(.*?)\n\n//s) {
        my $block = $1;
        if ($block =~ /^:/) { $self->{pings}++; next }
        my $frame = json_decode(substr $block, 6);
        push @{ $self->{frames} }, $frame if $frame;
        $self->{bad} .= "$block\n" unless $frame && $block =~ /^data: /;
    }
}


# False if the time runs out first.
sub until {
    my ($self, $code, $seconds) = @_;
    my $end = time() + ($seconds // 30);
    my $sel = IO::Select->new($self->{socket});

    while (1) {
        $self->parse;
        return 1 if $code->($self);
        return 0 if $self->{eof} || time() > $end;
        next unless $sel->can_read(0.2);
        my $n = sysread $self->{socket}, $self->{raw}, 262144,
            length $self->{raw};
        $self->{eof} = 1 if !$n;
    }
}


sub frames { my ($self, $type) = @_;
    return grep { !$type || $_->{type} eq $type } @{ $self->{frames} };
}


# "create a/b", directories with a slash behind.
sub told {
    my ($self) = @_;
    my $top = $self->{frames}[0]{path} // '';

    return map {
        my $p = $_->{path};
        $p =~ s{^\Q$top\E/?}{};
        "$_->{eventType} $p" . ($_->{isDirectory} ? '/' : '');
    } $self->frames('event');
}


sub has {
    my ($self, @want) = @_;

    for my $want (@want) {
        return 0 unless $self->until(sub { grep { $_ eq $want } $self->told },
                                     30);
    }

    return 1;
}


sub count { my ($self, $what) = @_; return scalar grep { $_ eq $what } $self->told }
sub close { close $_[0]{socket} }

1;
