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
use Test::More ();
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

    # From a place, since cutting the front off each time takes too long.
    my $at = 0;

    while (1) {
        pos($self->{raw}) = $at;
        last unless $self->{raw} =~ /\G([0-9a-fA-F]+)\r\n/g;
        my ($n, $from) = (hex $1, pos $self->{raw});
        last if length($self->{raw}) < $from + $n + 2;
        $self->{text} .= substr $self->{raw}, $from, $n;
        $at = $from + $n + 2;
        $self->{complete} = $self->{eof} = 1 if $n == 0;
    }
    substr($self->{raw}, 0, $at) = '' if $at;

    my $end = rindex $self->{text}, "\n\n";
    return if $end < 0;

    for my $block (split /\n\n/, substr $self->{text}, 0, $end + 2, '') {
        if ($block =~ /^:/) { $self->{pings}++; next }
        my $frame = frame_of($block);
        push @{ $self->{frames} }, $frame if $frame;
        $self->{bad} .= "$block\n" unless $frame && $block =~ /^data: /;
    }
}


# Plain events are many, and a JSON parser in Perl is slow.
sub frame_of {
    my ($block) = @_;

    return { type => 'event', eventType => $1, path => $2,
             isDirectory => $3 eq 'true', timestamp => $4 }
        if $block =~ /^data:\ \{"type":"event","eventType":"(\w+)",
            "path":"([ !#-\[\]-~]*)","isDirectory":(true|false),
            "timestamp":"([^"]*)"\}$/x;

    return json_decode(substr $block, 6);
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


# Takes what is there, without waiting.
sub poll {
    my ($self) = @_;
    my $sel = IO::Select->new($self->{socket});

    while (!$self->{eof} && $sel->can_read(0)) {
        my $n = sysread $self->{socket}, $self->{raw}, 262144,
            length $self->{raw};
        $self->{eof} = 1 if !$n;
        last if ++$self->{reads} % 16 == 0;
    }
    $self->parse;

    return $self;
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


# The kernel's watches that an agent holds, and its inotify instances.
sub held {
    my ($class, $pid) = @_;
    my ($watches, $instances) = (0, 0);

    for my $f (glob "/proc/$pid/fdinfo/*") {
        my $n = () = (slurp($f) // '') =~ /^inotify wd:/mg;
        $watches += $n;
    }
    for my $f (glob "/proc/$pid/fd/*") {
        $instances++ if (readlink $f // '') =~ /inotify/;
    }

    return wantarray ? ($watches, $instances) : $watches;
}


# A test: it comes to hold so many watches; with none, no instance either.
sub holds {
    my ($class, $pid, $n, $name) = @_;
    my $t = Test::More->builder;

    if ($> != 0) {
        $t->skip("$name: only root sees what the agent holds");
        return 1;
    }

    return $t->ok(scalar(wait_for(sub {
        my ($watches, $instances) = $class->held($pid);

        return $watches == $n && ($n || !$instances);
    }, 30)), $name) || $t->diag(join ' ', $class->held($pid));
}

1;
