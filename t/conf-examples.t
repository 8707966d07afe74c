#!/usr/bin/perl

# conf-examples/edge-tls.conf, started as it stands: only paths and ports are
# replaced by ones of this test.  conf-examples-more.t has the others.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Example;
use Harness;
use System;
use Test::More;

alarm_after(180);

my $top = top_dir();
my $s = System->new;
$s->start_daemon;

# The API has the certificate of the site, as the example says.
my $x = Example->new('edge-tls.conf', $s, certificates => {
    'www.example.com' => 'DNS:www.example.com,DNS:api.example.com',
    'sandboxes.example.net' => 'DNS:*.sandboxes.example.net' });
my ($dir, $https, $http) = @{$x}{qw(dir https http)};

spew("$dir/html/index.html", "the old site\n");
spew("$dir/hello.txt", join '', map { "line $_ of a file\n" } 1 .. 20000);
chmod 0755, "$dir/html";
$x->start;

sub curl { return $x->curl(@_) }

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
    or diag(slurp($x->{error_log}));
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

$x->stop;
$s->stop;
done_testing();
