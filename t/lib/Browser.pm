package Browser;

# Chromium without a window, driven over its DevTools protocol through a pair
# of pipes: no port, nothing that another test could meet.
#
#   my $b = Browser->start(map => ['*.preview.test']) or plan skip_all => ...;
#   my $p = $b->page;                  # a tab; page(context => ...) in another
#   $p->open('https://…');             # waits until it has loaded
#   my $v = $p->eval('document.title');       # promises are waited for
#   $p->status                         # of the last document
#   $p->screenshot('/tmp/x.png');
#   $b->stop;
#
# Options: map (patterns of host names that lead to 127.0.0.1), args [...].

use strict;
use warnings;

use Harness;
use IO::Select;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Time::HiRes qw(sleep time);

our $TIMEOUT = 90;


sub program {
    for (qw(chromium chromium-browser google-chrome)) {
        return "/usr/bin/$_" if -x "/usr/bin/$_";
    }

    return undef;
}


sub start {
    my ($class, %o) = @_;
    my $program = program() or return undef;
    my $self = bless { dir => tmp_dir(), id => 0, in => '', answer => {},
                       pages => {} }, $class;
    my $rules = join ',', map { "MAP $_ 127.0.0.1" } @{ $o{map} || [] };

    # POSIX pipes: Perl would close its own at exec.
    my ($their_in, $our_out) = POSIX::pipe();
    my ($our_in, $their_out) = POSIX::pipe();

    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        my $log = POSIX::open("$self->{dir}/log",
            POSIX::O_WRONLY() | POSIX::O_CREAT(), 0600);
        my $null = POSIX::open('/dev/null', POSIX::O_RDONLY());

        POSIX::dup2($null, 0);
        POSIX::dup2($log, 1);
        POSIX::dup2($log, 2);
        $_ = POSIX::dup($_) for $their_in, $their_out;
        $_ < 5 and $_ = POSIX::dup($_) for $their_in, $their_out;
        POSIX::dup2($their_in, 3);
        POSIX::dup2($their_out, 4);
        $ENV{HOME} = $self->{dir};
        $^F = 1000;
        { exec $program, '--headless=new', '--remote-debugging-pipe',
            "--user-data-dir=$self->{dir}/profile", '--no-first-run',
            '--disable-gpu', '--disable-extensions', '--disable-sync',
            '--disable-background-networking', '--disable-component-update',
            '--disable-default-apps', '--no-default-browser-check',
            '--disable-features=Translate,MediaRouter,OptimizationHints',
            '--ignore-certificate-errors', '--disable-dev-shm-usage',
            $> == 0 ? '--no-sandbox' : (),
            "--host-resolver-rules=$rules", @{ $o{args} || [] },
            'about:blank' }
        POSIX::_exit(127);
    }

    POSIX::close($_) for $their_in, $their_out;
    $self->{pid} = $pid;
    open $self->{out}, '>&=', $our_out or die "pipe: $!";
    open $self->{read}, '<&=', $our_in or die "pipe: $!";
    binmode $_ for $self->{out}, $self->{read};
    $self->{sel} = IO::Select->new($self->{read});

    $self->call('Browser.getVersion');

    return $self;
}


# One command; its result.  Events meanwhile go to the pages.
sub call {
    my ($self, $method, %o) = @_;
    my $session = delete $o{sessionId};
    my $id = ++$self->{id};
    my $text = json_encode({ id => $id, method => $method, params => \%o,
        defined $session ? (sessionId => $session) : () }) . "\0";
    local $SIG{PIPE} = 'IGNORE';

    while (length $text) {
        my $n = syswrite $self->{out}, $text;

        defined $n or die "Chromium is gone: $!\n" . $self->log;
        substr($text, 0, $n) = '';
    }

    my $end = time() + $TIMEOUT;

    until (exists $self->{answer}{$id}) {
        $self->pump($end - time()) or die "$method: no answer\n" . $self->log;
    }

    my $a = delete $self->{answer}{$id};

    die "$method: $a->{error}{message}\n" if $a->{error};

    return $a->{result};
}


sub log { return slurp("$_[0]{dir}/log") // '' }


# Takes what has come, waiting so long for it.
sub pump {
    my ($self, $wait) = @_;

    return 0 if $wait <= 0 || !$self->{sel}->can_read($wait);

    sysread($self->{read}, $self->{in}, 262144, length $self->{in})
        or die "Chromium has ended:\n" . $self->log;

    while ($self->{in} =~ s/^([^\0]*)\0//) {
        my $m = json_decode($1);

        if (defined $m->{id}) {
            $self->{answer}{$m->{id}} = $m;
        } elsif (my $p = $self->{pages}{$m->{sessionId} // ''}) {
            $p->event($m);
        }
    }

    return 1;
}


# A profile of its own: no cookies of the others.
sub context {
    my ($self) = @_;

    return $self->call('Target.createBrowserContext')->{browserContextId};
}


sub page {
    my ($self, %o) = @_;
    my $target = $self->call('Target.createTarget', url => 'about:blank',
        $o{context} ? (browserContextId => $o{context}) : ());
    my $at = $self->call('Target.attachToTarget', flatten => JSON::PP::true(),
        targetId => $target->{targetId});
    my $page = bless { browser => $self, session => $at->{sessionId},
                       target => $target->{targetId}, requests => {},
                       console => [], status => {} }, 'Browser::Page';

    $self->{pages}{$page->{session}} = $page;
    $page->call($_) for 'Page.enable', 'Runtime.enable', 'Network.enable';

    return $page;
}


sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    # It is told to end, and is the parent of its other processes.
    eval { local $TIMEOUT = 10; $self->call('Browser.close') };
    for (1 .. 500) {
        return if waitpid($pid, POSIX::WNOHANG()) == $pid;
        sleep 0.02;
    }
    kill 'KILL', descendants($pid);
    waitpid $pid, 0;
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $!, $@);

    $self->stop;
}


package Browser::Page;

use Harness;
use MIME::Base64 qw(decode_base64);
use Time::HiRes qw(time);


sub call {
    my ($self, $method, %o) = @_;

    return $self->{browser}->call($method, sessionId => $self->{session}, %o);
}


sub event {
    my ($self, $m) = @_;
    my ($method, $p) = @$m{qw(method params)};

    if ($method eq 'Network.responseReceived') {
        $self->{status}{$p->{loaderId}} = $p->{response}
            if $p->{type} eq 'Document';
    } elsif ($method eq 'Network.requestWillBeSent') {
        push @{ $self->{sent} }, $p;
    } elsif ($method eq 'Page.frameNavigated') {
        $self->{shown} = $p->{frame}{loaderId} if !$p->{frame}{parentId};
    } elsif ($method eq 'Page.loadEventFired') {
        $self->{loaded} = $self->{shown};
    } elsif ($method eq 'Runtime.consoleAPICalled') {
        push @{ $self->{console} }, join ' ',
            map { $_->{value} // $_->{description} // '' } @{ $p->{args} };
    } elsif ($method eq 'Log.entryAdded') {
        push @{ $self->{console} }, $p->{entry}{text};
    }
}


# Goes there and waits until it has loaded; the error's text, or nothing.
sub open {
    my ($self, $url) = @_;

    my $r = $self->call('Page.navigate', url => $url);

    $self->{loader} = $r->{loaderId};
    return $r->{errorText} if $r->{errorText};

    # Within the same document nothing is loaded; and not what was still
    # loading before.
    return undef if !defined $self->{loader};
    $self->wait(sub { ($self->{loaded} // '') eq $self->{loader} })
        or return 'never loaded';

    return undef;
}


# Lets events come in until the code is content.
sub wait {
    my ($self, $code, $seconds) = @_;
    my $end = time() + ($seconds // $Browser::TIMEOUT);

    while (1) {
        my $got = $code->();

        return $got if $got;
        return undef if time() > $end;
        $self->{browser}->pump(0.05);
    }
}


# Status of the last document that open() led to.
sub status {
    my ($self) = @_;
    my $r = $self->{status}{$self->{loader} // ''} or return 0;

    return $r->{status};
}


sub response { return $_[0]{status}{$_[0]{loader} // ''} }


# The value of an expression, or "error: …".
sub eval {
    my ($self, $text) = @_;
    my $r = $self->call('Runtime.evaluate', expression => $text,
        awaitPromise => JSON::PP::true(), returnByValue => JSON::PP::true());

    if (my $e = $r->{exceptionDetails}) {
        return 'error: ' . ($e->{exception}{description}
            // $e->{exception}{value} // $e->{text});
    }

    return $r->{result}{value};
}


sub text { return $_[0]->eval('document.body ? document.body.innerText : ""') }
sub url { return $_[0]->eval('location.href') }


sub cookies {
    my ($self, @urls) = @_;

    return @{ $self->call('Network.getCookies', urls => \@urls)->{cookies} };
}


sub screenshot {
    my ($self, $file) = @_;
    my $r = $self->call('Page.captureScreenshot', format => 'png');

    return spew($file, decode_base64($r->{data}));
}


sub close {
    my ($self) = @_;

    $self->{browser}->call('Target.closeTarget', targetId => $self->{target});
}

1;
