#!/usr/bin/perl

# Guests that answer what no app should, and configurations that would undo
# what the gate does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(120);

my $proxy = 'include ' . top_dir() . '/conf-examples/sandbox_proxy.conf;';
my $some = <<'EOC';
            proxy_http_version 1.1;
            proxy_set_header Host $sandbox_host;
            proxy_set_header Connection "";
            proxy_request_buffering off;
EOC
my $dir = tmp_dir();

chmod 0755, $dir;

# Newer ones would pass early hints on, where they are told to.
my ($version) = (run_command([$ENV{SANDBOX_NGINX} || '/usr/sbin/nginx',
    '-v']))[2] =~ m{nginx/(\d+\.\d+)};
my $hints = $version >= 1.29 ? 'early_hints 1;' : '';

my $e = Edge->new(
    http_conf => "proxy_cache_path $dir/cache keys_zone=cache:1m; $hints",
    api_conf => 'underscores_in_headers on;',
    server_conf => <<"EOC",
        underscores_in_headers on;
        ignore_invalid_headers off;
        location /cached/ {
$some
            proxy_cache cache;
            proxy_cache_valid 200 1h;
            proxy_pass http://sandboxes;
        }
        location /short/ {
$some
            proxy_connect_timeout 500ms;
            proxy_pass http://sandboxes;
        }
        location /paged/ {
$some
            proxy_connect_timeout 500ms;
            error_page 504 = \@page;
            proxy_pass http://sandboxes;
        }
        location \@page {
            limit_rate 1;
            return 200 "a page that takes its time";
        }
        location /basic/ {
            auth_basic guarded;
            auth_basic_user_file $dir/users;
            $proxy
            proxy_pass http://sandboxes;
        }
EOC
);

spew("$dir/users", "user:{PLAIN}pass\n", 0644);

$e->agent($_) for 1 .. 4;
$e->agent(5, state => 'asleep');
$e->agent(6, state => 'asleep');
$e->start;

my $d = $e->daemon;
my $h = sub { "8000-$_[0]-tok.preview.test" };
my $own = $h->('box1');

sub raw_answer {
    my ($bytes, %o) = @_;

    return $e->raw('GET ' . ($o{path} // '/raw') . '?' . unpack('H*', $bytes)
        . " HTTP/1.1\r\nHost: $own\r\n" . ($o{head} // '')
        . "Connection: close\r\n\r\n");
}

# Everything that came, as it came.
sub raw_bytes {
    my ($bytes, %o) = @_;
    my $s = http_connect(port => $e->{port});
    my $all = '';

    http_send($s, 'GET /raw?' . unpack('H*', $bytes)
        . " HTTP/1.1\r\nHost: $own\r\n" . ($o{head} // '')
        . "Connection: close\r\n\r\n");
    while (sysread $s, $all, 65536, length $all) { }

    return $all;
}

# ---- informational responses ----------------------------------------------

my $evil = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Domain=preview.test\r\n"
    . "Clear-Site-Data: \"*\"\r\nContent-Length: 4\r\n\r\nbody";

for my $hint ("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\nA: b\r\n\r\n",
    "HTTP/1.1 103 A\r\nSet-Cookie: c=d; Domain=test\r\n\r\n"
        . "HTTP/1.1 199 B\r\nContent-Length: 9\r\n\r\n")
{
    my $all = raw_bytes($hint . $evil);
    my ($what) = $hint =~ /^HTTP\/1.1 (\d+)/;

    like($all, qr/^HTTP\/1\.1 200 .*\r\n\r\nbody\z/s,
        "$what: the answer behind it is passed");
    unlike($all, qr/Domain|Clear-Site|A: b|Link|HTTP\/1\.1 1/i,
        "$what: through the same checks, and nothing else");
}

my $all = raw_bytes("HTTP/1.1 103 Early Hints\r\n\r\n");
like($all, qr/^HTTP\/1\.1 502 /, 'an early hint and nothing else: 502');
is($e->get($own, '/hints?3000')->{status}, 502,
    'early hints without end: 502');
my $s = http_connect(port => $e->{port});
is(http(socket => $s, keepalive => 1, host => $own, path => $_)
    ->{json}{uri}, $_, "some, and the connection is good for more: $_")
    for '/hints?9', '/next', '/hints?1', '/last';
close $s;

# ---- switching protocols --------------------------------------------------

my $switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n"
    . "Connection: Upgrade\r\n\r\n";

for my $head ('', "Upgrade: h2c\r\n", "Upgrade: h2c, websocket\r\n",
    "Upgrade: tls/1.0\r\nHTTP2-Settings: x\r\n")
{
    $all = raw_bytes($switch . $evil, head => $head);
    like($all, qr/^HTTP\/1\.1 502 /, '101 that nobody asked for: 502')
        or diag($all);
    unlike($all, qr/Domain/, 'and nothing behind it');
}

$all = raw_bytes("HTTP/1.1 200 OK\r\nUpgrade: h2,h2c\r\n"
    . "Proxy-Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
like($all, qr/\r\n\r\nok\z/, 'an app that would like to upgrade');
unlike($all, qr/^(?:upgrade|proxy-connection):/mi,
    'does not say so to the client');

# ---- headers that only look different -------------------------------------

my $r = $e->get($own, '/', headers => [['X_Forwarded_For', 'evil'],
    ['X_FORWARDED-Host', 'evil'], ['x_sandbox_token', 'evil'],
    ['X-Real_IP', 'evil'], ['X_Original_URL', 'evil'],
    ['X.Forwarded.Proto', 'evil'], ['X_Other', 'kept']]);
unlike($r->{json}{head}, qr/evil/, 'underscores and dots for hyphens');
like($r->{json}{head}, qr/^X_Other: kept/m, 'others pass');
unlike($e->api(POST => '/v1/sandbox/box1/api/execute', json => {},
    headers => { 'X_Sandbox_Id' => 'evil' })->{json}{head}, qr/evil/,
    'nor to the agent');

# ---- a cache that knows no sandboxes --------------------------------------

is($e->get($h->($_), '/cached/x')->{status}, 500,
    "proxy_cache is refused: $_") for qw(box1 box2);
ok($e->logged(qr/proxy_cache/), 'the log says why');

# ---- other modules' refusals ----------------------------------------------

$r = $e->get($own, '/basic/');
is($r->{status}, 401, 'auth_basic beside us');
is_deeply([map { $_->[1] } grep { lc $_->[0] eq 'www-authenticate' }
    @{ $r->{all} }], ['Basic realm="guarded"'], 'asks for itself alone');
is($r->{json}{code}, 'unauthorized', 'in JSON');
is($e->get($own, '/basic/', headers =>
    { Authorization => 'Basic dXNlcjpwYXNz' })->{status}, 200, 'and lets in');

# ---- a request that ends before its wait ----------------------------------

for my $case (['box3', '/short/'], ['box4', '/paged/']) {
    my ($id, $path) = @$case;
    my ($n) = $id =~ /(\d+)/;

    $e->{agents}{$n}->stop(unlink => 1);
    $d->fault(start_delay => 1.2);

    my ($worker) = $e->workers;

    $s = http_connect(port => $e->{port});

    # the body that doesn't come keeps the request after its answer
    http_send($s, "POST $path HTTP/1.1\r\nHost: " . $h->($id)
        . "\r\nContent-Length: 100000\r\n\r\nabc");
    $r = http_read($s, timeout => 1);
    is($r->{status}, 504, "$path: the connect timeout comes first")
        if $path eq '/short/';
    sleep 1.5;
    is(join(',', $e->workers), $worker, 'the worker lives');
    is($e->get($own)->{status}, 200, 'and serves');
    close $s;
}

# ---- what is revoked while requests wait for it ---------------------------

$d->fault(start_delay => 0.6,
    start_run => { 5 => { key => $e->key(5) }, 6 => { key => $e->key(6) } });

for my $case (['box5', { kind => 'exposure', slot => 5,
        label => '8000-box5-tok' }], ['box6', undef])
{
    my ($id, $gone) = @$case;

    $s = http_connect(port => $e->{port});
    http_send($s, "GET / HTTP/1.1\r\nHost: " . $h->($id)
        . "\r\nConnection: close\r\n\r\n");
    sleep 0.2;
    if ($gone) {
        $d->gone(%$gone);
    } else {
        # another sandbox of the same name
        $d->gone(kind => 'sandbox', slot => 6, id => $id);
        $d->sandbox(slot => 60, id => $id, state => 'running', epoch => 1,
            key => $e->key(6));
        symlink '00000006', sprintf '%s/s/%08x', $e->{dir}, 60;
    }
    $r = http_read($s, timeout => 30);
    is($r->{status}, 404, "$id: revoked while a request waited: 404");
    is($r->{json}{code}, 'INVALID_TOKEN', 'as if it had never been');
}

$e->stop;
$e->no_alerts;
done_testing();
