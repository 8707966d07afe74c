package Interpreter;

# What the tests of the code interpreter share: an agent whose Python is
# Debian's, contexts, and cells compared frame by frame.

use strict;
use warnings;

use AgentClient;
use Harness;
use IO::Select;
use Test::More ();


sub start {
    my ($class, %env) = @_;
    my $agent = AgentClient->start(
        env => { PATH => "/usr/bin:$ENV{PATH}", %env });

    return bless { agent => $agent }, $class;
}


sub agent { return $_[0]{agent} }
sub get { my $self = shift; return $self->{agent}->get(@_) }
sub post { my $self = shift; return $self->{agent}->post(@_) }
sub request { my $self = shift; return $self->{agent}->request(@_) }
sub children { return $_[0]{agent}->children }


# The id of a new context.
sub context {
    my ($self, $language, %o) = @_;
    my $r = $self->post('/api/contexts', { language => $language, %o },
                        timeout => 90);

    $r->{status} == 200 or die "no context: $r->{status} $r->{body}";

    return $r->{json}{contextId};
}


# Runs a cell; the answer with its frames.  Options: wait, on_data, and the
# request's own members.
sub execute {
    my ($self, $context, $code, %o) = @_;
    my %http = (timeout => delete $o{wait} // 60);

    $http{on_data} = delete $o{on_data} if $o{on_data};

    my $r = $self->post('/api/execute/code',
        { context_id => $context, code => $code, %o }, %http);

    $r->{frames} = [AgentClient->frames($r->{body})];

    return $r;
}


sub bytes {
    my ($self, $name, $context, $code, $body) = @_;

    Test::More::is($self->execute($context, $code)->{body}, $body, $name);
}


# The frames as lines: "out TEXT", "err TEXT", "<format> VALUE", "done N",
# "error NAME".  Output that came in pieces is joined.
sub lines_of {
    my ($class, @frames) = @_;
    my @lines;

    for my $f (@frames) {
        my $t = $f->{type};

        if ($t eq 'stdout' || $t eq 'stderr') {
            my $k = $t eq 'stdout' ? 'out' : 'err';
            if (@lines && $lines[-1] =~ /^$k /) {
                $lines[-1] .= $f->{text};
            } else {
                push @lines, "$k $f->{text}";
            }
        } elsif ($t eq 'result') {
            my ($k) = grep { !/^(?:type|metadata)$/ } sort keys %$f;
            my $v = $f->{$k};
            push @lines, "$k " . (ref $v || $k eq 'json' ? json_encode($v)
                                  : $v);
        } elsif ($t eq 'error') {
            push @lines, "error $f->{ename}";
        } else {
            push @lines, "done $f->{execution_count}";
        }
    }

    return @lines;
}


# Rows of [name, code, lines...]; "done" without a number is any.  What goes
# to the two outputs has no order between them.
sub cells {
    my ($self, $context, @rows) = @_;

    for my $row (@rows) {
        my ($name, $code, @want) = @$row;
        my $r = $self->execute($context, $code);
        my @got = $self->lines_of(@{ $r->{frames} });
        my $outputs = sub {
            return ((sort { $b cmp $a } grep { /^(?:out|err) / } @_),
                    grep { !/^(?:out|err) / } @_);
        };
        my $ok = $r->{status} == 200 && $r->{complete} && @got == @want;

        @got = $outputs->(@got) if !grep { ref } @want;
        @want = $outputs->(@want) if !grep { ref } @want;
        for my $n (0 .. $#want) {
            my $g = $got[$n] // '';
            my $w = $want[$n];
            $g =~ s/ \d+$// if $w eq 'done';
            $ok &&= ref $w ? $g =~ $w : $g eq $w;
        }
        Test::More::ok($ok, $name || $code) or Test::More::diag(
            "wanted: ", join(' | ', @want), "\n   got: ", join(' | ', @got),
            "\n        ", substr($r->{body} // '', 0, 2000));
    }
}

# A cell whose answer is being read elsewhere: a socket with the request sent.
sub begun {
    my ($self, $context, $code, %o) = @_;
    my $s = $self->{agent}->connect;
    my $body = json_encode({ context_id => $context, code => $code, %o });

    http_send($s, "POST /api/execute/code HTTP/1.1\r\nHost: x\r\n" .
              'Content-Length: ' . length($body) . "\r\n\r\n$body");

    return $s;
}


# Waits until the agent has a cell that has to wait for another one: it says so
# by its status line.  Of requests on two connections either may come first.
# What was read is answer()'s.
sub waits {
    my ($self, $s) = @_;
    my $got = '';

    until ($got =~ m{^OK\nHTTP/1\.1 200 }) {
        IO::Select->new($s)->can_read(30) or return;
        sysread($s, $got, 4096, length $got) or return;
    }

    return $got;
}


# Its whole answer; $line: what has been read of it.
sub answer {
    my ($self, $s, $line) = @_;

    $line //= '';

    until ($line =~ s/^OK\n//) {
        IO::Select->new($s)->can_read(30) or return;
        sysread($s, $line, 1, length $line) or return;
    }
    my $r = http_read($s, timeout => 60, buffer => $line);
    $r->{frames} = [AgentClient->frames($r->{body})];

    return $r;
}


# The last frame.
sub last_of { return $_[1]{frames}[-1] || {} }

1;
