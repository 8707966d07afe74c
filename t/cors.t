#!/usr/bin/perl

# The API for pages of other origins: none unless the configuration names them,
# letter by letter; what a browser asks before is answered without a key, and
# without sandboxd; nothing ever allows credentials.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use Test::More;

alarm_after(120);

my ($star, $off) = (free_port(), free_port());
my $app = 'https://app.example.com';
my $e = Edge->new(workers => 1,
    api_conf => "sandbox_api_cors $app http://localhost:3000;");

$e->{more_servers} = join '', map { <<"EOC" } [$star, '*'], [$off, 'off'];
    server {
        listen 127.0.0.1:$_->[0];
        server_name api.test;
        sandbox_api on;
        sandbox_api_keys $e->{dir}/keys;
        sandbox_api_cors $_->[1];
        location / {
            include @{[top_dir()]}/conf-examples/sandbox_proxy.conf;
            proxy_pass http://sandboxes;
        }
    }
EOC
my $cut = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n"
    . "Access-Control-Allow-Credentials: true\r\nContent-Length: 2\r\n\r\nok";
$e->agent(1, agent => { raw => { '/api/version' => $cut, '/app' => $cut } });
$e->start;

sub ask {
    my ($method, $path, %o) = @_;
    my %h = %{ $o{headers} || {} };

    $h{Origin} = $o{origin} if defined $o{origin};

    return http(port => $o{port} // $e->{port}, host => 'api.test',
        method => $method, path => $path, headers => \%h,
        $o{json} ? (json => $o{json}) : ());
}

sub preflight {
    my ($origin, $path, %o) = @_;

    return ask(OPTIONS => $path, %o, origin => $origin, headers => {
        'Access-Control-Request-Method' => $o{method} // 'POST',
        'Access-Control-Request-Headers' => 'authorization,content-type' });
}

# The header's values, in their order.
sub values_of {
    my ($r, $name) = @_;

    return join '|', map { $_->[1] } grep { lc $_->[0] eq $name } @{ $r->{all} };
}

my %key = (headers => { Authorization => "Bearer $Edge::KEY" });

# ---- preflights

my $calls = $e->daemon->stats->{calls};
for my $path ('/v1/sandbox', '/v1/sandbox/box1/exec', '/v1/sandbox/nobody',
    '/v1/events', '/v1/sandbox/box1/proxy/8000/app', '/health', '/none')
{
    my $r = preflight($app, $path);

    is($r->{status}, 204, "$path: a preflight");
    is(values_of($r, 'access-control-allow-origin'), $app, 'its origin');
    is(values_of($r, 'vary'), 'Origin', 'which it varies by');
    like($r->{headers}{'access-control-allow-methods'}, qr/\bPATCH\b/,
        'methods');
    like($r->{headers}{'access-control-allow-headers'}, qr/\bAuthorization\b/,
        'headers');
    is($r->{headers}{'access-control-allow-credentials'}, undef,
        'no credentials');
    is($r->{body}, '', 'no body');
}
is(values_of(preflight('http://localhost:3000', '/v1/sandbox'),
    'access-control-allow-origin'), 'http://localhost:3000', 'the other one');

for my $origin ('https://app.example.com.evil.com', 'https://evil.com', 'null',
    'http://app.example.com', 'https://app.example.com:8443',
    'https://APP.example.com', 'https://app.example.com/', '*',
    'https://xapp.example.com')
{
    my $r = preflight($origin, '/v1/sandbox');

    is($r->{status}, 401, "$origin: as without");
    is(values_of($r, 'access-control-allow-origin'), '', 'no word of it');
}
is(ask(OPTIONS => '/v1/sandbox', origin => $app)->{status}, 401,
    'OPTIONS alone is no preflight');
is(preflight($app, '/v1/sandbox', port => $off)->{status}, 401, 'off');
is(http(port => $e->{port}, host => '8000-box1-tok.preview.test',
    method => 'OPTIONS', path => '/x', headers => { Origin => $app,
        'Access-Control-Request-Method' => 'GET' })->{status}, 200,
    "a preview's are its app's");
is_deeply($e->daemon->stats->{calls}, $calls, 'sandboxd has heard of nothing');

# ---- answers

for (['/v1/sandbox', 200, %key], ['/v1/sandbox', 401],
    ['/v1/sandbox/nobody', 404, %key], ['/health', 200])
{
    my ($path, $status, @o) = @$_;
    my $r = ask(GET => $path, origin => $app, @o);

    is($r->{status}, $status, "$path: $status");
    is(values_of($r, 'access-control-allow-origin'), $app, 'may be read');
    is(values_of($r, 'vary'), 'Origin', 'by this origin');
    like($r->{headers}{'access-control-expose-headers'}, qr/\bETag\b/,
        'with its tag');
    $r = ask(GET => $path, origin => 'https://evil.com', @o);
    is(values_of($r, 'access-control-allow-origin'), '', 'by no other');
    is(values_of($r, 'vary'), 'Origin', 'and no cache mixes them up');
    $r = ask(GET => $path, @o);
    is(values_of($r, 'access-control-allow-origin') . values_of($r, 'vary'),
        'Origin', 'nor with none');
}
my $r = ask(GET => '/v1/sandbox', origin => $app, port => $off, %key);
is(values_of($r, $_), '', "off: no $_")
    for 'access-control-allow-origin', 'vary';

# What comes from inside speaks for itself, and is not the API.
for my $path ('/v1/sandbox/box1/api/version', '/v1/sandbox/box1/proxy/8000/app')
{
    my $name = $path =~ s{.*/}{}r;

    $r = ask(GET => $path, origin => $app, %key);
    is("$r->{status} $r->{body}", '200 ok', "$name: answered");
    is(values_of($r, 'access-control-allow-origin'), $app, 'by the API');
    is(values_of($r, 'access-control-allow-credentials'), '',
        'not as it would like');
    $r = ask(GET => $path, origin => 'https://evil.com', %key);
    is(values_of($r, 'access-control-allow-origin'), '', 'to nobody else');
}
$r = ask(GET => '/v1/sandbox/box1/api/version', port => $off, %key);
is(values_of($r, 'access-control-allow-origin'), '*',
    'off: as the container API has it');

# ---- everybody

is(values_of(preflight('https://any.example', '/v1/sandbox', port => $star),
    'access-control-allow-origin'), '*', 'any origin');
$r = ask(GET => '/v1/sandbox', origin => 'https://any.example', port => $star,
    %key);
is(values_of($r, 'access-control-allow-origin'), '*', 'may read');
is(values_of($r, 'vary') . values_of($r, 'access-control-allow-credentials'),
    '', 'all alike, without credentials');
$r = ask(POST => '/v1/sandbox/box1/ticket', origin => 'https://any.example',
    port => $star, %key, json => { origin => 'https://any.example',
        route => 'pty' });
isnt($r->{status}, 401, 'a ticket');
is(values_of($r, 'access-control-allow-origin'), '', 'is for a named one');

$e->stop;
$e->no_alerts;

# ---- the configuration

sub refused {
    my ($value, $re) = @_;
    my $t = Edge->new(api_conf => "sandbox_api_cors $value;");
    my ($status, $out) = $t->test_conf;

    isnt($status, 0, "sandbox_api_cors $value");
    like($out, $re // qr/"[^"]+" in "sandbox_api_cors" is no origin/, 'why');
}

refused($_) for 'https://a/', 'https://A.com', 'app.example.com', '* https://a',
    'https://a off', 'https://', 'https://a:443', 'http://a:80', 'https://a:0',
    'https://a:99999', 'null', 'https://*.example.com', 'https://[::1',
    'https://a:', 'ftp://a', 'https://u@a';
refused('https://a; sandbox_api_cors https://b', qr/is duplicate/);

my $t = Edge->new(api_conf => 'sandbox_api_cors https://a http://b:81 '
    . 'http://[::1]:8080 https://x-y.example.com:8443 http://127.0.0.1;');
my ($status, $out) = $t->test_conf;
is($status, 0, 'and what is one') or diag($out);

done_testing();
