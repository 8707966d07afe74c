#!/usr/bin/perl

# Previews through the whole system: what a service inside gets, and what of
# its answers gets out.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;
use Time::HiRes qw(time sleep);
use WebSocket;

alarm_after(240);

my $s = System->start;

# ---- a service and its exposures

my $r = $s->api(PUT => '/v1/sandbox/web/file/workspace/echo.py',
    body => slurp(top_dir() . '/t/apps/echo.py'));
is($r->{status}, 200, 'a file is uploaded into a sandbox that was never seen')
    or diag($r->{body});

ok($s->serve('web', 8000, 'python3 /workspace/echo.py 8000 web'),
    'a server starts inside');

my $e = $s->expose('web', 8000, name => 'app');

like($e->{url}, qr{^http://8000-web-[a-z2-7]{16}\.localhost:$s->{port}/$},
    'the URL is made of port, id and token');
is($e->{name}, 'app', 'the name comes back');
is($e->{access}, 'token', 'a token is the default');

$r = $s->preview($e->{url}, path => '/a%2Fb/../c//d?x=%20y',
    headers => [['X-Mine', 'kept']]);
is($r->{status}, 200, 'the preview answers');
is($r->{json}{uri}, '/a%2Fb/../c//d?x=%20y', 'the URI arrives as it was sent');

my ($label) = $e->{url} =~ m{//([^.]+)\.};
my %got = map { lc $_->[0] => $_->[1] } @{ $r->{json}{headers} };

is($got{host}, 'localhost:8000', 'Host is what the service listens on');
is($got{'x-forwarded-host'}, "$label.localhost", 'X-Forwarded-Host');
is($got{'x-forwarded-proto'}, 'http', 'X-Forwarded-Proto');
is($got{'x-forwarded-for'}, '127.0.0.1', 'X-Forwarded-For');
is($got{'x-original-url'},
    "http://$label.localhost:$s->{port}/a%2Fb/../c//d?x=%20y",
    'X-Original-URL');
is($got{'x-mine'}, 'kept', 'other headers pass');

# ---- forged and secret headers

$r = $s->preview($e->{url}, headers => [
    ['X-Sandbox-Preview-Token', 'forged1'], ['X-Sandbox-Port', 'forged2'],
    ['Forwarded', 'for=forged3'], ['X-Forwarded-Host', 'forged4'],
    ['X-Forwarded-For', '9.9.9.9'], ['X-Real-IP', '9.8.7.6'],
    ['X-Original-URL', 'http://forged5/'], ['X-Forwarded-Proto', 'forged6'],
    ['x-forwarded-prefix', '/forged7'],
    ['Authorization', "Bearer $s->{key}"]]);
my $seen = $r->{body};
unlike($seen, qr/forged|9\.9\.9\.9|9\.8\.7\.6/,
    'what a client claims about itself does not arrive');
unlike($seen, qr/\Q$s->{key}\E/, 'our key does not arrive');

$r = $s->preview($e->{url},
    headers => [['Authorization', 'Bearer the-apps-own']]);
like($r->{body}, qr/Bearer the-apps-own/, "the service's own key does");

# ---- Origin, Referer, Location, cookies

my $origin = "http://$label.localhost:$s->{port}";

$r = $s->preview($e->{url}, headers => [['Origin', $origin],
    ['Referer', "$origin/page?q=1"]]);
%got = map { lc $_->[0] => $_->[1] } @{ $r->{json}{headers} };
is($got{origin}, 'http://localhost:8000', 'its own Origin is mapped');
is($got{referer}, 'http://localhost:8000/page?q=1', 'and its Referer');

$r = $s->preview($e->{url}, headers => [['Origin', 'http://evil.example'],
    ['Referer', "$origin.evil.example/"]]);
%got = map { lc $_->[0] => $_->[1] } @{ $r->{json}{headers} };
is($got{origin}, 'http://evil.example', 'another Origin stays');
is($got{referer}, "$origin.evil.example/", 'a Referer that only begins so too');

sub header_of {
    my ($name, $value, %o) = @_;
    my $v = $value;

    $v =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;
    my $res = $s->preview($e->{url},
        path => "/header?n=$name&v=$v&status=" . ($o{status} || 200));

    return join '|', map { $_->[1] } grep { lc $_->[0] eq lc $name }
        @{ $res->{all} };
}

is(header_of('Location', 'http://localhost:8000/next?a=1', status => 302),
    "$origin/next?a=1", 'a redirect to itself leads to the preview');
is(header_of('Location', 'http://localhost:80001/', status => 302),
    'http://localhost:80001/', 'a redirect to another port is left alone');
is(header_of('Location', 'http://localhost:8000.evil.example/',
    status => 302), 'http://localhost:8000.evil.example/',
    'and one that only begins so');
is(header_of('Location', '/relative', status => 302), '/relative',
    'and a relative one');
is(header_of('Set-Cookie', 'a=b; Path=/; HttpOnly'),
    'a=b; Path=/; HttpOnly', 'a cookie of the preview passes');
is(header_of('Set-Cookie', 'a=b; Domain=localhost'), '',
    'a cookie for the whole domain does not');
is(header_of('Set-Cookie', 'a=b; Path=/;  doMain = .localhost ; Secure'), '',
    'however it is spelled');
is(header_of('Set-Cookie', 'a="x; Domain=localhost"'), '',
    'or quoted: browsers end the value at the semicolon');
is(header_of('Set-Cookie', "a=b; Domain=$label.localhost"),
    "a=b; Domain=$label.localhost", "its own host as the domain passes");
is(header_of('Clear-Site-Data', '"*"'), '', 'Clear-Site-Data does not pass');
is(header_of('X-Accel-Redirect', '/etc/passwd'), '',
    'X-Accel-Redirect is not obeyed, nor passed on');

$r = $s->preview($e->{url}, path => '/header?n=X-Accel-Redirect&v=/v1/sandbox');
is($r->{body}, 'web', 'the answer is the one of the service');

# ---- what is not HTTP

for my $bytes ("garbage\r\n\r\n", "HTTP/0.9\r\nSet-Cookie: a=b\r\n\r\n",
    "Set-Cookie: x=y\r\n\r\nHello", "\0\0\0\0\n\n",
    "HTTP/1.1 200 OK\r\nA: b\r\n\0\r\n\r\n")
{
    $r = $s->preview($e->{url}, path => '/raw?hex=' . unpack('H*', $bytes));
    is($r->{status}, 502, 'a response that is no HTTP is a 502: '
        . substr(unpack('H*', $bytes), 0, 16));
    is($r->{json}{code}, 'SERVICE_NOT_RESPONDING', 'that says so')
        or diag($r->{raw} // $r->{body});
}

# ---- names

my %status = (
    "08000-web-" . substr($label, 9) => 404, "+8000-web" => 404,
    '8000x-web' => 404, '0-web' => 404, '70000-web' => 404, '3000-web' => 404,
    '8000-web' => 404, '8000-WEB' => 404, '8000-web.x' => 404,
    'x' x 63 => 404, 'x' x 64 => 404, "8000-web-aaaaaaaaaaaaaaaa" => 404,
);

for my $name (sort keys %status) {
    $r = $s->preview("http://$name.localhost:$s->{port}/");
    is($r->{status}, $status{$name}, "no preview for $name");
    is($r->{body}, $s->preview("http://nosuch.localhost:$s->{port}/")->{body},
        'in the same words as any other') if length $name < 63;
}

is($s->preview("http://\U$label\E.LOCALHOST:$s->{port}/")->{status}, 200,
    'host names have no case');
is($s->preview("http://$label.localhost.:$s->{port}/")->{status}, 200,
    'nor does a final dot matter');

# ---- nothing listens

my $nothing = $s->expose('web', 8999);

$r = $s->preview($nothing->{url});
is($r->{status}, 502, 'nothing listens: 502');
is($r->{json}{code}, 'SERVICE_NOT_RESPONDING', 'with a code');
like($r->{body}, qr/8999/, 'and the port');

# ---- public access, rotation, revocation

my $public = $s->expose('web', 8001, access => 'public');

is($public->{url}, "http://8001-web.localhost:$s->{port}/", 'a public URL');
is($s->expose('web', 8000)->{url}, $e->{url}, 'again: the same URL');

my $new = $s->expose('web', 8000, token => 'newtoken1');
is($s->preview($e->{url})->{status}, 404, 'a new token ends the old URL');
is($s->preview($new->{url})->{status}, 200, 'the new one works');
is($s->api(DELETE => '/v1/sandbox/web/ports/8000')->{status}, 204,
    'a port is taken back');
is($s->preview($new->{url})->{status}, 404, 'and its URL is gone at once');
$e = $s->expose('web', 8000, access => 'public');

# ---- streams

my ($first, $last);
my $begun = time();

$r = $s->preview($e->{url}, path => '/sse?n=4&ms=300', on_data => sub {
    $first //= time() - $begun;
    $last = time() - $begun;
    1;
});
ok($first < 0.9 && $last - $first > 0.5,
    sprintf 'events arrive as they are sent (%.2f s, %.2f s)', $first, $last);

my $size = is_san() ? 8 << 20 : 64 << 20;
my $sha = Digest::SHA->new(256);

$r = $s->preview($e->{url}, path => "/big?n=$size", timeout => 120,
    on_data => sub { $sha->add($_[0]); 1 });
is($r->{received}, $size, 'a large download arrives');
is($sha->hexdigest, do {
    my $want = Digest::SHA->new(256);
    my $block = join '', map { chr } 0 .. 255;
    $want->add($block x 4096) for 1 .. $size / (1 << 20);
    $want->hexdigest;
}, 'byte for byte');

my $body = join '', map { pack 'N', $_ } 1 .. 1 << 20;

$r = $s->preview($e->{url}, method => 'POST', path => '/up', body => $body,
    timeout => 60);
is($r->{json}{sha256}, sha256_hex($body), 'an upload arrives');
$r = $s->preview($e->{url}, method => 'PUT', path => '/up', timeout => 60,
    headers => [['Transfer-Encoding', 'chunked']],
    body => join('', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
        unpack '(a10007)*', $body) . "0\r\n\r\n");
is($r->{json}{sha256}, sha256_hex($body), 'a chunked one too');

$r = $s->preview($e->{url}, method => 'POST', path => '/up', body => 'x' x 9,
    headers => [['Expect', '100-continue']]);
is($r->{json}{size}, 9, 'Expect: 100-continue');

# ---- it runs again by itself

my $record = $s->api(GET => '/v1/sandbox/web')->{json};
is($record->{state}, 'running', 'the record says running');
$s->exec('web', 'kill -9 1; kill -STOP 1');
is($s->api(GET => '/v1/sandbox/web')->{json}{epoch}, $record->{epoch},
    'PID 1 does not die of signals from inside');

# Its first process killed from outside: the next request starts it afresh.
my $epoch = $s->api(GET => '/v1/sandbox/web')->{json}{epoch};
kill 'KILL', $s->sandbox_pid('web');
$r = wait_for(sub {
    my $x = $s->preview($e->{url});
    $x->{status} == 502 ? $x : undef }, 20) || { status => 0 };
is($r->{status}, 502, 'a dead sandbox is started by a preview request, '
    . 'and then nothing listens in it yet');
cmp_ok($s->api(GET => '/v1/sandbox/web')->{json}{epoch}, '>', $epoch,
    'in a new epoch');

$s->stop;
done_testing();
