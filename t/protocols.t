#!/usr/bin/perl

# What HTTP and its relatives can do passes through a preview unharmed, in flat
# memory, and what a bad app or a bad client does ends where it should: through
# the whole system, with a server inside that speaks byte by byte.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use IO::Select;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use Traffic;
use WebSocket;

alarm_after(400);

my $h2 = free_port();
my $s = System->start(workers => 1, server_conf => "listen 127.0.0.1:$h2 http2;"
    . ' large_client_header_buffers 4 32k;' . Traffic::locations());
my $t = Traffic->new($s);
my ($url, $host) = @$t{qw(url host)};
my %mib = is_san() ? (length => 16, chunked => 16)
    : (length => 100, chunked => 24);

ok($url, 'a server, and its preview');

sub connection { return http_connect(port => $s->{port}) }
sub get { my ($path, %o) = @_; return $s->preview($url, path => $path, %o) }

sub ask {
    my ($c, $head, $body) = @_;

    $head =~ s/\n/\r\n/g;
    $head =~ s/\r\n/\r\nHost: $host\r\n/;
    http_send($c, "$head\r\n" . ($body // ''));

    return $c;
}

# Memory of nginx's worker, and files that it has written.
sub worker_memory {
    my ($pid) = $s->nginx_workers;

    return (slurp("/proc/$pid/status") =~ /^VmRSS:\s*(\d+)/m)[0] / 1024;
}

sub temp_files { return join ' ', map { glob "$_/*" } glob "$s->{ngx}/tmp/*" }

# ---- bodies that are large ------------------------------------------------

my $before = worker_memory();
my $most = $before;
my $files = '';

# Up, with a length and in chunks, 1 MiB at a time.
for my $how ('length', 'chunked') {
    my $mib = $mib{$how};
    my $c = ask(connection(), "POST /up HTTP/1.1\n" . ($how eq 'length'
        ? 'Content-Length: ' . ($mib << 20) : 'Transfer-Encoding: chunked')
        . "\n");
    my $sha = Digest::SHA->new(256);

    for my $i (1 .. $mib) {
        my $part = pack('N', $i) x (1 << 18);

        $sha->add($part);
        http_send($c, $how eq 'length' ? $part : "100000\r\n$part\r\n", 60)
            or last;
        next if $i % 10;
        my $now = worker_memory();

        $most = $now if $now > $most;
        $files .= temp_files();
    }
    http_send($c, "0\r\n\r\n") if $how eq 'chunked';
    my $r = http_read($c, timeout => 60);

    is($r->{json}{size}, $mib << 20, "$mib MiB up ($how)");
    is($r->{json}{sha256}, $sha->hexdigest, 'byte for byte');
}

# Down, to a client that begins to read late.
for my $how ('length', 'chunked') {
    my $mib = $mib{$how};
    my $c = ask(connection(), 'GET /big?n=' . ($mib << 20)
        . ($how eq 'length' ? '' : '&chunked=1')
        . " HTTP/1.1\nConnection: close\n");
    my $sha = Digest::SHA->new(256);
    my $n = 0;

    sleep 0.3;
    my $r = http_read($c, timeout => 60, on_data => sub {
        $sha->add($_[0]);
        if ($n++ % 100 == 0) {
            my $now = worker_memory();

            $most = $now if $now > $most;
            $files .= temp_files();
        }
        1;
    });
    my $want = Digest::SHA->new(256);
    my $block = join '', map { chr } 0 .. 255;

    $want->add($block x 4096) for 1 .. $mib;
    is($r->{received}, $mib << 20, "$mib MiB down ($how)");
    is($sha->hexdigest, $want->hexdigest, 'byte for byte');
}

cmp_ok($most - $before, '<', is_san() ? 24 : 6,
    sprintf 'in flat memory (%.1f MiB more at most)', $most - $before);
is($files, '', 'and without a file');

# ---- an app that reads slowly, a client that does -------------------------

{
    my $c = ask(connection(), "POST /slow_read?ms=20 HTTP/1.1\n"
        . 'Content-Length: ' . (32 << 20) . "\nConnection: close\n");
    my $went = 0;
    my $until = time() + 1.5;

    $c->blocking(0);
    while (time() < $until) {
        my $n = syswrite $c, 'x' x 65536;

        if (defined $n) { $went += $n } else { sleep 0.02 }
    }
    cmp_ok($went, '<', 28 << 20, 'an app that reads slowly slows its client '
        . "($went bytes are under way)");
    cmp_ok(worker_memory() - $before, '<', is_san() ? 24 : 6,
        'which costs nginx nothing');
    close $c;

    my @slow = map { ask(connection(), 'GET /big?n=' . (64 << 20)
        . " HTTP/1.1\n") } 1 .. 10;

    sleep 1;
    cmp_ok(worker_memory() - $before, '<', is_san() ? 24 : 6,
        'nor do ten clients that read nothing');
    my $pid = $s->sandbox_pid('app');
    my ($rss) = slurp("/proc/$pid/status") =~ /^VmRSS:\s*(\d+)/m;
    cmp_ok($rss, '<', is_san() ? 200_000 : 12_000,
        "and the agent little ($rss KiB)");
    is(temp_files(), '', 'and no file');
    close $_ for @slow;
}

# ---- short ones -----------------------------------------------------------

my $r = get('/big?n=50000', method => 'HEAD');
is($r->{headers}{'content-length'}, 50000, 'HEAD has its length');
is($r->{body}, '', 'and no body');

my $c = connection();
for my $status (204, 304) {
    $r = http(socket => $c, host => $host, path => "/status?s=$status",
        keepalive => 1);
    is($r->{status}, $status, "status $status");
    is($r->{headers}{etag}, '"v1"', 'with its headers');
}
is(http(socket => $c, host => $host, path => '/after')->{json}{target},
    '/after', 'and the connection goes on without a body');

# ---- ranges ---------------------------------------------------------------

my $all = join '', map { chr($_ % 251) } 0 .. 999;

$r = get('/range', headers => [['Range', 'bytes=100-199']]);
is($r->{status}, 206, 'a range');
is($r->{body}, substr($all, 100, 100), 'is the part that was asked for');
is($r->{headers}{'content-range'}, 'bytes 100-199/1000', 'and says so');
$r = get('/range', headers => [['Range', 'bytes=100-199'],
    ['If-Range', '"v1"']]);
is($r->{status}, 206, 'If-Range with the right tag');
$r = get('/range', headers => [['Range', 'bytes=100-199'],
    ['If-Range', '"v0"']]);
is($r->{status}, 200, 'If-Range with another');
is($r->{body}, $all, 'is all of it');
is(get('/range', headers => [['Range', 'bytes=2000-']])->{status}, 416,
    'a range beyond the end');

# ---- Expect: 100-continue -------------------------------------------------

$c = ask(connection(), "POST /x HTTP/1.1\nContent-Length: 4\n"
    . "Expect: 100-continue\nConnection: close\n");
like(http_read_line($c), qr{^HTTP/1\.1 100 }, 'Expect: 100-continue');
http_send($c, 'body');
is(http_read($c, buffer => '')->{json}{size}, 4, 'then the body goes through');

sub http_read_line {
    my ($s, $seconds) = @_;
    my ($text, $sel, $end) = ('', IO::Select->new($s), time() + ($seconds // 20));

    until ($text =~ /\r\n\r\n/ || time() > $end) {
        next unless $sel->can_read(0.2);
        sysread($s, $text, 1, length $text) or last;
    }

    return $text;
}

# ---- trailers -------------------------------------------------------------

# nginx drops both before 1.27.2 (which has proxy_pass_trailers); what counts
# is that nothing else suffers from them.
$c = connection();
$r = http(socket => $c, host => $host, path => '/trailers', keepalive => 1);
is($r->{body}, 'body', "an app's trailers don't harm its response");
ok($r->{complete}, 'which is complete');
is(http(socket => $c, host => $host, path => '/x?t', keepalive => 1)
    ->{json}{target}, '/x?t', 'nor the next one on the connection');
ask($c, "POST /x HTTP/1.1\nTransfer-Encoding: chunked\nTrailer: X-Sum\n",
    "4\r\nbody\r\n0\r\nX-Sum: 42\r\nX-Sandbox-Port: 1\r\n\r\n");
$r = http_read($c);
is($r->{json}{size}, 4, "a client's trailers don't harm its request");
unlike(json_encode($r->{json}{trailers}), qr/sandbox/i,
    'and bring in no header of ours');
is(http(socket => $c, host => $host, path => '/last')->{json}{target}, '/last',
    'nor the next one');

# ---- server-sent events, gRPC-web: as they come ---------------------------

sub pieces {
    my ($path, $pattern, %o) = @_;
    my ($begun, @at) = time();
    my $r = get($path, %o, timeout => 60, on_data => sub {
        push @at, time() - $begun while $_[0] =~ /$pattern/g;
        $_[1]{all_of_it} .= $_[0];
        1;
    });

    return ($r, @at);
}

my ($sse, @at) = pieces('/sse?n=4&ms=250', qr/data:/);
is($sse->{all_of_it}, join('', map { "data: $_\n\n" } 0 .. 3), 'slow events');
cmp_ok($at[3] - $at[0], '>', 0.5, 'come one by one');

my $message = pack('CN', 0, 4) . 'ping';
my ($grpc, @frames) = pieces('/grpc-web', qr/ping|grpc-status/, method => 'POST',
    body => $message, headers => [['Content-Type',
    'application/grpc-web+proto'], ['X-Grpc-Web', 1]]);
is($grpc->{headers}{'content-type'}, 'application/grpc-web+proto', 'gRPC-web');
is($grpc->{all_of_it}, join('', map { pack('CN', 0, 6) . "$_:ping" } 0 .. 2)
    . pack('CN', 0x80, 36) . "grpc-status: 0\r\ngrpc-message: fine\r\n",
    'its messages, and its trailers in a frame');
cmp_ok($frames[3] - $frames[0], '>', 0.3, 'as they were sent');

# Both ways at once: each piece is answered before the next one goes.
$c = ask(connection(), "POST /duplex HTTP/1.1\nTransfer-Encoding: chunked\n"
    . "Connection: close\n");
my $duplex = '';
my $answered = 0;
for my $i (1 .. 5) {
    http_send($c, sprintf "%x\r\n%s\r\n", $i * 10, 'd' x ($i * 10));
    my $sel = IO::Select->new($c);
    my $end = time() + 10;

    until ($duplex =~ /^@{[$i * 10]}\r?$/m || time() > $end) {
        sysread($c, $duplex, 4096, length $duplex) if $sel->can_read(0.2);
    }
    $answered++ if $duplex =~ /^@{[$i * 10]}\r?$/m;
}
http_send($c, "0\r\n\r\n");
is($answered, 5, 'a response that goes while its request comes');

# ---- WebSockets -----------------------------------------------------------

my $ws = WebSocket->connect(port => $s->{port}, host => $host, path => '/ws',
    headers => [['Sec-WebSocket-Protocol', 'one, two']]);
is($ws->{response}{headers}{'sec-websocket-protocol'}, 'two', 'a subprotocol');
is(($ws->receive)[1], 'hello', 'a word right behind the handshake');
$ws->send_binary('z' x 200_000);
is(($ws->receive)[1], 'z' x 200_000, 'a large message');
is($ws->close, 1000, 'closed in order');

$c = ask(connection(), "GET /ws HTTP/1.1\nUpgrade: websocket\n"
    . "Connection: Upgrade\nSec-WebSocket-Version: 13\n"
    . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n",
    join '', map { WebSocket::frame(0x81, "early$_") } 1 .. 3);
my $early = '';
wait_for(sub {
    IO::Select->new($c)->can_read(0.1) && sysread $c, $early, 4096,
        length $early;
    $early =~ /early3/ }, 10);
like($early, qr/\x81\x05hello\x81\x06early1\x81\x06early2\x81\x06early3$/,
    'frames that came with the handshake');
close $c;

# ---- headers --------------------------------------------------------------

$r = get('/x', headers => [['X-Long', 'l' x 7500], map { ["X-H$_", 'h' x 1000] }
    1 .. 12]);
is(scalar(grep { $_->[0] =~ /^X-(?:Long|H\d)/ && length $_->[1] >= 1000 }
    @{ $r->{json}{headers} || [] }), 13, '20 KB of headers');
$r = get('/x', headers => [map { ['Cookie', "c$_=" . 'v' x 100] } 1 .. 60]);
is(() = json_encode($r->{json}{headers}) =~ /c\d+=v{100}/g, 60, '60 cookies');
$r = get('/headers?n=12&size=1000');
is(scalar(grep { $_->[0] =~ /^X-H/ } @{ $r->{all} }), 12,
    '12 KB of headers in a response');
is(scalar(grep { lc $_->[0] eq 'set-cookie' } @{ $r->{all} }), 12,
    'and each of its cookies');

for my $uri ('/%', '/%zz', '/a%2fb', '/a%00b', '/a%0d%0ab', '/..%2f..%2fx',
    '/a//b/./c/../d', '/%E2%82%AC', "/\xE2\x82\xAC", '/a;b=c,d', '/a|b^c`d{e}',
    '/a?b?c&d=%20+%2B', '/?', '/a%3Fb', '/a%23b', '/~x!$&\'()*+,=:@',
    '/' . 'x' x 4000)
{
    my $got = http(socket => connection(), host => $host, path => $uri);
    my $shown = length $uri > 40 ? substr($uri, 0, 10) . '…' : $uri;

    utf8::decode($shown);
    # what nginx itself takes for a bad request never gets inside
    if ($uri =~ m{^/%(?:$|zz)|%00|^/\.\.%2f}) {
        is($got->{status}, 400, "$shown is none");
    } else {
        is($got->{json}{target}, $uri, 'a URI arrives as it was sent');
    }
}

# ---- connections ----------------------------------------------------------

$c = connection();
http_send($c, join '', map { "GET /p$_ HTTP/1.1\r\nHost: $host\r\n\r\n" }
    1 .. 20);
my ($rest, @order) = ('');
for (1 .. 20) {
    my $got = http_read($c, buffer => $rest);

    $rest = $got->{rest} // '';
    push @order, $got->{json}{target} // $got->{status};
}
is("@order", join(' ', map { "/p$_" } 1 .. 20), '20 requests in one packet');

# An app that closes idle connections at the wrong moment.
my @failed = grep { $_ != 200 } map {
    sleep 0.001 * int rand 12 if $_ % 2;
    get($_ % 3 ? '/idle?ms=5' : '/x', $_ % 4 ? ()
        : (method => 'POST', body => 'b'))->{status};
} 1 .. 120;
is("@failed", '', 'an app that closes idle connections fails nobody');

# A client that has said all it will say counts as gone, as nginx has it.
$c = ask(connection(), "GET /note?k=half HTTP/1.1\n");
http_read_line($c);
shutdown $c, 1;
ok(wait_for(sub { (get('/noted')->{json}{half} // '') eq 'ended' }, 10),
    'the stream of a client that shuts its side down ends inside, too');
$c = ask(connection(), "GET /note?k=left HTTP/1.1\n");
http_read_line($c);
close $c;
ok(wait_for(sub { (get('/noted')->{json}{left} // '') eq 'ended' }, 10),
    'so does that of one that leaves');

# ---- an answer before the body is there -----------------------------------

for my $how ('', '?read=1') {
    $c = ask(connection(), "POST /early$how HTTP/1.1\nContent-Length: "
        . (16 << 20) . "\n");
    $c->blocking(0);
    my $n = 0;
    my $sel = IO::Select->new($c);
    my $until = time() + 10;

    {
        local $SIG{PIPE} = 'IGNORE';
        while (time() < $until && !$sel->can_read(0)) {
            my $w = syswrite $c, 'x' x 65536;

            if (defined $w) { $n += $w } else { sleep 0.01 }
            last if $n >= 16 << 20;
        }
    }
    $c->blocking(1);
    $r = http_read($c, timeout => 20);
    is($r->{status}, 413, "an app's answer comes while its request goes$how");
    is($r->{json}{early}, JSON::PP::true(), 'whole') or diag($r->{raw});
}

# ---- apps that are broken -------------------------------------------------

for my $as ('length', 'chunked', 'reset') {
    my $got = get("/die?as=$as", timeout => 20);

    is($got->{status}, 200, "an app that dies in mid-response ($as)");
    ok(!$got->{complete}, 'leaves a transfer that is broken');
}
is(get('/die?as=head')->{status}, 502, 'one that dies in its headers: 502');

$r = get('/patient/never');
is($r->{status}, 504, 'one that never answers: 504') or diag($r->{body});
for my $garbage ("nonsense\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "\r\n\r\n",
"\x16\x03\x01\0\0")
{
    is(get('/raw?hex=' . unpack 'H*', $garbage)->{status}, 502,
        'garbage: 502, ' . substr unpack('H*', $garbage), 0, 60);
}
$r = get('/raw?hex=' . unpack 'H*', "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
    . "chunked\r\n\r\nzz\r\nno chunk\r\n");
ok(!$r->{complete} || $r->{status} == 502, 'chunks that are none are no end');

# ---- HTTP/2 (http3.t has HTTP/3) ------------------------------------------

my ($curl) = grep { -x } map { "$_/curl" } split /:/, $ENV{PATH};
my ($nghttp) = grep { -x } map { "$_/nghttp" } split /:/, $ENV{PATH};

sub curl {
    my ($path, @args) = @_;
    my ($status, $out, $err) = run_command([$curl, '-sS', '-g', '--path-as-is',
        '--http2-prior-knowledge', '-w', '\n%{http_code} %{http_version}',
        (grep { /^Host:/ } @args) ? () : ('-H', "Host: $host"), @args,
        "http://127.0.0.1:$h2$path"]);

    return $status == 0 ? $out : "$out, exit " . ($status >> 8) . " $err";
}

SKIP: {
    skip 'no curl', 9 unless $curl;

    spew("$s->{dir}/up", join '', map { pack 'N', $_ } 1 .. 2 << 20);
    like(curl('/a%2Fb/..//c?d'), qr{"target": "/a%2Fb/\.\.//c\?d".*\n200 2$}s,
        'HTTP/2');
    like(curl('/x', '-T', "$s->{dir}/up"),
        qr/"sha256": "@{[sha256_hex(slurp("$s->{dir}\/up"))]}"/, '8 MiB up');
    my $big = curl('/big?n=8388608');
    is(length $big, 8388608 + 6, '8 MiB down');
    like(curl('/headers?n=12&size=1000'), qr/\n200 2$/, 'large headers');
    like(curl('/x', map { ('-H', "X-H$_: " . 'h' x 1000) } 1 .. 12),
        qr/\n200 2$/, 'both ways');
    like(curl('/status?s=204'), qr/^\n204 2$/, 'status 204');
    like(curl('/die?as=length'), qr/exit (?:18|92) /,
        'a response that breaks off is seen as that');
    like(curl('/die?as=chunked'), qr/exit (?:18|92) /, 'in chunks as well');
    like(curl('/nothing', '-H', "Host: 8000-no.localhost"), qr/\n404 2$/,
        'a name that is not known');
}

SKIP: {
    skip 'no nghttp', 2 unless $nghttp;

    # 50 streams of one connection
    my ($status, $out) = run_command([$nghttp, '-s', '-n',
        '-H', ":authority: $host", map { "http://127.0.0.1:$h2/slow$_" }
        1 .. 50]);
    is($status, 0, '50 requests on one HTTP/2 connection');
    is(() = ($out // '') =~ / 200 /g, 50, 'each is answered')
        or diag($out);
}

$s->stop;
done_testing();
