#!/usr/bin/perl

# Previews over HTTP/3, where nginx and curl have it: the name comes from the
# authority, and what holds for HTTP/1 and 2 holds there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Edge;
use Harness;
use IO::Socket::INET;
use Test::More;

my $nginx = $ENV{SANDBOX_NGINX} || '/usr/sbin/nginx';

`$nginx -V 2>&1` =~ /http_v3_/
    or plan skip_all => 'this nginx has no HTTP/3';
`curl -V 2>/dev/null` =~ /\bHTTP3\b/
    or plan skip_all => 'curl has no HTTP/3';

alarm_after(120);

my $dir = tmp_dir();
# One that is free for both protocols: free_port() looks at TCP.
my $port;
do { $port = free_port() } until IO::Socket::INET->new(Proto => 'udp',
    LocalAddr => '127.0.0.1', LocalPort => $port);

my ($status, undef, $err) = run_command(['openssl', 'req', '-x509', '-newkey',
    'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', 2,
    '-subj', '/CN=test', '-addext', 'subjectAltName=DNS:*.preview.test',
    '-keyout', "$dir/tls.key", '-out', "$dir/tls.crt"]);
die "openssl: $err" if $status != 0;

my $tls = "ssl_certificate $dir/tls.crt; ssl_certificate_key $dir/tls.key;";
my $e = Edge->new(dir => $dir, http_conf => $tls, server_conf => "http3 on;
    listen 127.0.0.1:$port quic; listen 127.0.0.1:$port ssl;");

$e->agent(1);
$e->agent(2, exposure => { access => 'private' });
$e->start;

sub curl {
    my ($host, $path, @args) = @_;
    my ($st, $out, $why) = run_command(['curl', '-sS', '-k', '-g', '--max-time',
        30, '--path-as-is', '--http3-only', '-D', "$dir/head", '-w',
        '\n%{http_code} %{http_version}', '--resolve',
        "$host:$port:127.0.0.1", @args, "https://$host:$port$path"]);

    diag($why, substr slurp($e->{error_log}), -2000) if $st != 0;
    $out =~ s/\n(\d+) (\S+)\z//;

    return { status => $1 || 0, version => $2 || '', body => $out,
             json => eval { json_decode($out) }, head => slurp("$dir/head") };
}

my $h = '8000-box1-tok.preview.test';
my $r = curl($h, '/a%2Fb/..//c?d');

is("$r->{status} $r->{version}", '200 3', 'a preview by HTTP/3');
is($r->{json}{uri}, '/a%2Fb/..//c?d', 'with its address as it was sent');
like($r->{json}{head}, qr/^Host: localhost:8000\r$/m, 'its local Host');
like($r->{json}{head}, qr{^X-Original-URL: https://$h:$port/a%2Fb}m,
    'and the public origin');
like(curl($h, '/', '-H', "Origin: https://$h:$port")->{json}{head},
    qr{^origin: http://localhost:8000\r$}mi, 'an Origin of its own is mapped');

my $body = join '', map { pack 'N', $_ } 1 .. 500_000;
spew("$dir/up", $body);
$r = curl($h, '/up', '-T', "$dir/up");
is($r->{json}{sha}, sha256_hex($body), 'an upload of 2 MB');
is(length curl($h, '/big?3000000')->{body}, 3_000_000, 'a download of 3 MB');

$r = curl('8000-nobody-tok.preview.test', '/');
is($r->{status}, 404, 'an unknown name');
is($r->{json}{code}, 'INVALID_TOKEN', 'is told so');
is(curl('api.test', '/v1/sandbox')->{status}, 404, 'it has no API');

my $p = '8000-box2-tok.preview.test';
is(curl($p, '/')->{status}, 404, 'a private one, without a link');
is(curl($p, '/', '-H', "Authorization: Bearer $Edge::KEY")->{json}{name},
    'box2', 'with a key');
my $url = $e->api(POST => '/v1/sandbox/box2/ports/8000/link', json => {
    hostname => 'preview.test' })->{json}{url} // '';
my ($arg) = $url =~ /(sandbox_link=\S+)/;
$r = curl($p, "/x?$arg");
is($r->{status}, 302, 'a link');
my ($cookie) = $r->{head} =~ /^set-cookie: ([^;]+)/mi;
is(curl($p, '/x', '-H', "Cookie: $cookie", '-H', 'Sec-Fetch-Site: none')
    ->{json}{name}, 'box2', 'is exchanged for a cookie');
unlike($e->{agents}{2}->log, qr/sandbox_link|__Host-sandbox/,
    'neither gets inside');

$e->stop;
$e->no_alerts;
done_testing();
