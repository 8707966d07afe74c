#!/usr/bin/perl

# Each configuration of conf-examples/ is started as it stands: only paths and
# ports are replaced by ones of this test.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(180);

my $top = top_dir();
my @examples = grep { slurp($_) =~ /^http \{/m }
    glob "$top/conf-examples/*.conf";

is_deeply([map { m{([^/]+)$} } @examples], ['edge-tls.conf'],
    'every complete example has its tests below');

my $s = System->new;
$s->start_daemon;

my $dir = $s->{ngx};
my ($https, $http) = (free_port(), free_port());

# A certificate for each of the names that the example has one for.
mkdir "$dir/$_" for qw(tls html log);
for (['www.example.com', 'DNS:www.example.com,DNS:api.example.com'],
    ['sandboxes.example.net', 'DNS:*.sandboxes.example.net'])
{
    my ($name, $names) = @$_;
    my ($status, undef, $err) = run_command(['openssl', 'req', '-x509',
        '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', "/CN=$name",
        '-addext', "subjectAltName=$names", '-keyout', "$dir/tls/$name.key",
        '-out', "$dir/tls/$name.pem"]);

    is($status, 0, "a certificate for $name") or diag($err);
}
spew("$dir/tls/all.pem", join '', map { slurp($_) } glob "$dir/tls/*.pem");
spew("$dir/html/index.html", "the old site\n");
spew("$dir/hello.txt", join '', map { "line $_ of a file\n" } 1 .. 20000);
chmod 0755, "$dir/html";

my %replaced = (
    'modules/ngx_http_sandbox_module.so' =>
        build_dir() . '/ngx_http_sandbox_module.so',
    'user www-data;' => $> == 0 ? 'user www-data;' : '',
    '/run/nginx.pid' => "$dir/nginx.pid",
    '/var/log/nginx/' => "$dir/log/",
    '/run/sandboxd/control.sock' => "$s->{run}/control.sock",
    '/etc/sandboxd/secret' => $s->{secret},
    '/etc/nginx/sandbox-keys' => "$s->{dir}/keys",
    '/etc/nginx/sandbox_proxy.conf' => "$top/conf-examples/sandbox_proxy.conf",
    '/etc/nginx/tls/' => "$dir/tls/",
    '/var/www/html' => "$dir/html",
    'listen 80 ' => "listen 127.0.0.1:$http ",
    'listen 443 ' => "listen 127.0.0.1:$https ",
);

my $conf = slurp("$top/conf-examples/edge-tls.conf");

for my $from (keys %replaced) {
    ok($conf =~ s/\Q$from\E/$replaced{$from}/g, "the example has $from");
}

# Where nginx was built to keep bodies is the system's, not ours.
my $temp = join '', map { "${_}_temp_path $dir/tmp/$_;\n" }
    qw(client_body proxy fastcgi uwsgi scgi);
$conf =~ s/^http \{\n/http {\n$temp/m;

spew("$dir/nginx.conf", "daemon off;\n$conf");

my @nginx = ($ENV{SANDBOX_NGINX} || '/usr/sbin/nginx', '-p', "$dir/",
    '-e', "$dir/log/error.log", '-c', "$dir/nginx.conf");
my ($status, undef, $said) = run_command([@nginx, '-t'], env => { san_env() });
is($status, 0, 'nginx takes the configuration') or diag($said);
unlike($said, qr/share the domain/, 'the API and previews share no domain');

$s->{error_log} = "$dir/log/error.log";
$s->{nginx} = start_process(cmd => \@nginx, log => "$dir/stderr.log",
    env => { san_env() });
ok(wait_for(sub { http_connect(port => $https) }, 20), 'it starts')
    or diag(slurp("$dir/stderr.log"), slurp($s->{error_log}));

# curl(HOST, PATH, ARGUMENTS): (status, HTTP version, body, curl's error)
sub curl {
    my ($host, $path, @args) = @_;
    my ($rc, $out, $err) = run_command(['curl', '-sS', '-m', '60', '--cacert',
        "$dir/tls/all.pem", '--resolve', "$host:$https:127.0.0.1",
        '-w', '\n%{http_code} %{http_version}', @args,
        "https://$host:$https$path"]);
    my ($body, $code, $version) = ($out // '') =~ /^(.*)\n(\d+) (\S+)$/s;

    return { rc => $rc, err => $err, body => $body, status => $code // 0,
             version => $version // '', json => json_decode($body) };
}

my @key = ('-H', "Authorization: Bearer $s->{key}");
my $api = '/v1/sandbox';

# ---- the site that was there

my $r = curl('www.example.com', '/');
is($r->{status}, 200, 'the old site answers') or diag($r->{err});
is($r->{version}, 2, 'by HTTP/2');
is($r->{body}, "the old site\n", 'with its own page');
is(curl('www.example.com', '/nothing')->{body} =~ /<html>/ ? 1 : 0, 1,
    'its error pages are left alone');
is(curl('www.example.com', $api, @key)->{status}, 404, 'it has no API');
$r = http(port => $http, host => 'www.example.com', path => '/x?y');
is($r->{headers}{location}, 'https://www.example.com/x?y',
    'and it still leads from HTTP to HTTPS');

# ---- the API

is(curl('api.example.com', '/health')->{json}{ok} ? 1 : 0, 1, 'health')
    or diag(slurp($s->{error_log}));
is(curl('api.example.com', $api)->{status}, 401, 'no API without a key');
$r = curl('api.example.com', "$api/edge/file/workspace/www/hello.txt", @key,
    '-T', "$dir/hello.txt");
is($r->{status}, 200, 'a file is uploaded by HTTP/2') or diag($r->{body});
is($r->{version}, 2, 'so it is');
ok(curl('api.example.com', "$api/edge/file/workspace/www/hello.txt", @key)
    ->{body} eq slurp("$dir/hello.txt"), 'and comes back');
is(curl('api.example.com', $api, @key, '-d', '{"id":' . 'x' x 70000)
    ->{status}, 413, 'the control API keeps its own limit');

# By HTTP/2, a body needn't say how long it is.
spew("$dir/small", '{"id":"streamed"}');
spew("$dir/large", ' ' x 70000);
sub post {
    my ($file) = @_;

    return curl('api.example.com', $api, @key, '-X', 'POST', '-H',
        'Content-Type: application/json', '-H', 'Content-Length:', '-T',
        $file);
}
is(post("$dir/small")->{json}{id}, 'streamed', 'a body without a length');
is(post("$dir/large")->{status}, 413, 'that is too long');
is(curl('other.example.com', $api, @key)->{status}, '000',
    'a name that nobody listed gets no TLS');

# ---- a preview

curl('api.example.com', "$api/edge/api/process/start", @key, '-d', json_encode(
    { command => 'cd /workspace/www && exec python3 -m http.server 8000' }));
$r = curl('api.example.com', "$api/edge/ports", @key, '-d', '{"port":8000}');
like($r->{json}{url} // '',
    qr{^https://8000-edge-[a-z2-7]{16}\.sandboxes\.example\.net:$https/$},
    'an https URL below the wildcard');

my ($host) = ($r->{json}{url} // '') =~ m{//([^:]+):};
ok(wait_for(sub { ($r = curl($host, '/hello.txt'))->{status} == 200 }, 20),
    'the preview answers') or diag($r->{body});
is($r->{version}, 2, 'by HTTP/2');
ok($r->{body} eq slurp("$dir/hello.txt"), 'with the file');
is(curl($host, '/hello.txt', '--http1.1')->{status}, 200, 'and by HTTP/1.1');
is(curl($host, $api, @key)->{json}, undef, 'it has no API');

$r = curl('nobody-here.sandboxes.example.net', '/');
is($r->{status}, 404, 'an unknown name');
is($r->{json}{code}, 'INVALID_TOKEN', 'is answered as such');

# The authority decides, and it must agree with Host.
$r = curl($host, '/hello.txt', '-H', 'Host: api.example.com');
isnt($r->{status}, 200, 'another Host over the same connection');

$s->stop;
done_testing();
