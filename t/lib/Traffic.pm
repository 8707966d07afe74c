package Traffic;

# What goes through an edge while something happens to it: one client of each
# kind, for Load.pm, on a System with t/apps/protocols.py in a sandbox.
#
#   my $s = System->start(server_conf => Traffic::locations());
#   my $t = Traffic->new($s);
#   $t->all($load);  or  $t->gets($load), ...

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Harness;
use Time::HiRes qw(sleep time);
use WebSocket;


# Locations: below /buffered/ bodies are read before they are passed on, below
# /patient/ an app has 0.7 s.
sub locations {
    my $text = slurp(top_dir() . '/conf-examples/sandbox_proxy.conf');

    $text =~ s/^\s*#.*\n//mg;

    my $buffered = $text =~ s/request_buffering off/request_buffering on/r;
    my $patient = $text =~ s/read_timeout \w+/read_timeout 700ms/r;
    my $pass = "proxy_pass http://sandboxes;\n}\n";

    return "location /buffered/ {\n$buffered$pass"
        . "location /patient/ {\n$patient$pass";
}


sub new {
    my ($class, $s, %o) = @_;
    my $self = bless { s => $s, id => 'app', port => 8000, %o }, $class;

    $s->api(PUT => "/v1/sandbox/$self->{id}/file/workspace/protocols.py",
        body => slurp(top_dir() . '/t/apps/protocols.py'), timeout => 60);
    $s->serve($self->{id}, $self->{port},
        "python3 /workspace/protocols.py $self->{port}") or return $self;
    $self->{url} = $s->expose($self->{id}, $self->{port})->{url};
    ($self->{host}) = $self->{url} =~ m{//([^/]+)};

    return $self;
}


sub all {
    my ($self, $l) = @_;

    $self->$_($l) for qw(gets posts streamed control events websocket parked);
}


sub wrong {
    my ($r) = @_;

    return "status $r->{status} " . substr $r->{body} || $r->{error} || '', 0, 200
        if $r->{status} != 200;
    return $r->{complete} ? () : 'not complete';
}


sub gets {
    my ($self, $l) = @_;

    $l->client(gets => sub {
        return () if $_[0];
        return wrong($self->{s}->preview($self->{url}, path => '/x?y',
            timeout => 60));
    });
}


sub posts {
    my ($self, $l) = @_;
    my $body = 'p' x 300_000;
    my $sha = sha256_hex($body);

    $l->client(posts => sub {
        return () if $_[0];
        my $r = $self->{s}->preview($self->{url}, path => '/buffered/x',
            method => 'POST', body => $body, timeout => 60);

        return wrong($r) || (($r->{json}{sha256} // '') eq $sha ? ()
            : 'another body');
    });
}


# A chunked upload that takes its time, on one connection with another request.
sub streamed {
    my ($self, $l) = @_;
    my $part = join '', map { chr } 0 .. 255;
    my $sha = sha256_hex($part x 20);

    $l->client(streamed => sub {
        return () if $_[0];
        my $c = http_connect(port => $self->{s}{port}) or return 'no connection';

        http_send($c, "PUT /up HTTP/1.1\r\nHost: $self->{host}\r\n"
            . "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        for (1 .. 20) {
            sleep 0.03;
            http_send($c, "100\r\n$part\r\n") or return 'it was not taken';
        }
        http_send($c, "0\r\n\r\n");
        my $r = http_read($c, timeout => 60);

        return wrong($r) || (($r->{json}{sha256} // '') eq $sha ? ()
            : 'another body');
    });
}


sub control {
    my ($self, $l) = @_;

    $l->client(control => sub {
        return () if $_[0];
        my $r = $self->{s}->exec($self->{id}, 'echo ok', timeout => 60,
            body => { sessionId => '__DISABLE_SESSION__' });

        return ($r->{stdout} // '') eq "ok\n" ? () : json_encode($r);
    });
}


sub events {
    my ($self, $l) = @_;

    $l->client(events => sub {
        return () if $_[0];
        my $r = $self->{s}->preview($self->{url}, path => '/sse?n=10&ms=50',
            timeout => 60);
        my $want = join '', map { "data: $_\n\n" } 0 .. 9;

        return wrong($r) || ($r->{body} eq $want ? () : 'other events');
    });
}


# One WebSocket that stays open.
sub websocket {
    my ($self, $l) = @_;
    my ($ws, $n);

    $l->client(websocket => sub {
        return $ws ? $ws->close : () if $_[0];

        if (!$ws) {
            $ws = WebSocket->connect(port => $self->{s}{port}, path => '/ws',
                host => $self->{host}, timeout => 60);
            return do { undef $ws; 'no handshake' } unless $ws && $ws->{ok};
            return 'no hello' unless ($ws->receive(60))[1] eq 'hello';
        }
        $ws->send('m' . ++$n);
        my ($opcode, $data) = $ws->receive(60);

        undef $ws, return 'it was closed' unless defined $opcode;
        sleep 0.05;
        return $data eq "m$n" ? () : "m$n came back as $data";
    });
}


# Four requests that find their sandbox dead: they wait for its start.
sub parked {
    my ($self, $l) = @_;
    my $s = $self->{s};
    my $body = 'w' x 100_000;

    $s->exec('sleeper', 'true', timeout => 60);

    $l->client(parked => sub {
        return () if $_[0];

        $s->kill_sandbox('sleeper') or return 'no sandbox';

        my @c = map { http_connect(port => $s->{port}) } 1 .. 4;
        my $head = "Host: localhost:$s->{port}\r\nConnection: close\r\n"
            . "Authorization: Bearer $s->{key}\r\n";

        http_send($c[$_], "GET /v1/sandbox/sleeper/api/ping HTTP/1.1\r\n"
            . "$head\r\n") for 0 .. 2;
        http_send($c[3], "PUT /v1/sandbox/sleeper/file/workspace/w HTTP/1.1\r\n"
            . "${head}Content-Length: 100000\r\n\r\n$body");

        my @bad = map { wrong(http_read($_, timeout => 60)) } @c;

        sleep 0.1;
        return @bad;
    });
}

1;
