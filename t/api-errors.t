#!/usr/bin/perl

# nginx's own error pages on servers of ours are JSON and say why, unless an
# error_page leads elsewhere or the answer is the sandbox's own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use IO::Socket::UNIX;
use Test::More;

alarm_after(120);

# Who can't be reached is waited for as long as a start.
my $e = Edge->new(read_timeout => '1s',
                  http_conf => 'sandbox_wake_timeout 3s;');
my $plain = free_port();

spew("$e->{dir}/page.html", "<h1>ours</h1>\n", 0644);
$e->{more_servers} = <<"EOC";
    server {
        listen 127.0.0.1:$e->{port};
        server_name *.paged.test;
        sandbox_preview paged.test;
        error_page 502 /page.html;
        error_page 504 =503 \@fallback;

        location = /page.html { root $e->{dir}; }
        location \@fallback { return 503 "fallback\\n"; }
        location /limited/ { return 429; }
        location / {
            include $e->{dir}/proxy.conf;
            proxy_pass http://sandboxes;
        }
    }

    server {
        listen 127.0.0.1:$e->{port};
        server_name small.test;
        sandbox_api on;
        sandbox_api_keys $e->{dir}/keys;
        error_page 504 /page.html;

        location = /page.html { root $e->{dir}; }
        location / {
            include $e->{dir}/proxy-small.conf;
            proxy_pass http://sandboxes;
        }
    }

    server {
        listen 127.0.0.1:$plain;
        location / { return 404; }
    }
EOC

$e->conf;
(my $small = slurp("$e->{dir}/proxy.conf"))
    =~ s/client_max_body_size \w+/client_max_body_size 1k/;
spew("$e->{dir}/proxy-small.conf", $small);

$e->agent(1, id => 'demo', ports => [8000, 9001 .. 9009]);

# An agent that takes connections and says nothing.
my $slow = IO::Socket::UNIX->new(Local => "$e->{dir}/s/00000002",
    Listen => 8, Type => SOCK_STREAM) or die "$!";
chmod 0666, "$e->{dir}/s/00000002";
$e->daemon->sandbox(slot => 2, id => 'slow', key => $e->key(2));
$e->start;

sub is_json {
    my ($r, $status, $code, $like, $what) = @_;

    ok($r->{status} == $status && ($r->{json}{code} || '') eq $code
        && ($r->{json}{error} || '') =~ $like
        && $r->{headers}{'content-type'} eq 'application/json'
        && $r->{headers}{'content-length'} == length $r->{body}
        && ($r->{headers}{'cache-control'} || '') eq 'no-store', $what)
        or diag("$r->{status}\n", $r->{head} // '', "\n\n", $r->{body});
}

sub port { return $e->get("$_[0]-demo-tok.preview.test", $_[1] // '/') }

# ---- previews

is(port(8000)->{status}, 200, 'a service that answers');

for my $case (
    [9001, 502, qr/^Nothing listens on port 9001/, 'nothing listens'],
    [9002, 503, qr/^Too many connections.*9002/, 'no room'],
    [9003, 502, qr/can't be reached.*9003/, 'another key'],
    [9004, 502, qr/can't be reached.*9004/, 'garbage for the first line'],
    [9006, 502, qr/9006/, 'closed without a word'],
    [9007, 504, qr/port 9007.*in time/, 'no answer in time'],
    [9008, 502, qr/port 9008.*no HTTP/, 'an answer that is no HTTP'],
    [9009, 502, qr/port 9009.*closed/, 'closed without an answer'])
{
    my ($port, $status, $like, $what) = @$case;
    my $r = port($port);

    is_json($r, $status, 'SERVICE_NOT_RESPONDING', $like, $what);
    ok(($r->{headers}{'retry-after'} || 0) > 0, '... with Retry-After')
        if $status == 503;
}

my $r = $e->get('9001-demo-tok.preview.test', '/', method => 'HEAD');
is($r->{status}, 502, 'HEAD has the same status');
ok($r->{headers}{'content-length'} > 50, 'and length');

# What a service says itself is not touched, whatever its status.
for my $status (404, 413, 502, 503) {
    $r = port(8000, "/status?$status");
    unlike($r->{body}, qr/"code"/, "a service's own $status passes")
        if $r->{status} == $status;
}

is_json($e->raw("GET / HTTP/1.1\r\nHost: x.preview.test\r\nA b: c\r\n"
    . "Content-Length: x\r\n\r\n"), 400, 'invalid_request', qr/./,
    'a request that nginx refuses');

# ---- error_page goes first

$r = $e->get('9001-demo-tok.paged.test', '/');
is($r->{status}, 502, 'an error_page keeps the status');
is($r->{body}, "<h1>ours</h1>\n", 'and brings its page');
$r = $e->get('9007-demo-tok.paged.test', '/');
is("$r->{status} $r->{body}", "503 fallback\n", 'or a named location');
is_json($e->get('8000-demo-tok.paged.test', '/limited/'), 429,
    'too_many_requests', qr/./, "what has no error_page is JSON");

# ---- the control API

$r = $e->api(GET => '/v1/sandbox/demo/api/version', host => 'small.test');
is($r->{status}, 200, 'an agent that answers') or diag($r->{body});
$r = $e->api(PUT => '/v1/sandbox/demo/file/workspace/x', host => 'small.test',
    body => 'x' x 1025);
is_json($r, 413, 'payload_too_large', qr/larger/, 'a body that nginx refuses');
is($r->{json}{limit}, 1024, '... with its limit');
$r = $e->api(POST => '/v1/sandbox/slow/api/execute', host => 'small.test',
    body => '{}');
is("$r->{status} $r->{body}", "504 <h1>ours</h1>\n", 'error_page goes first');
is_json($e->api(POST => '/v1/sandbox/slow/api/execute', body => '{}'), 504,
    'timeout', qr/in time/, 'else it is JSON');
is_json($e->api(POST => '/v1/sandbox', host => 'small.test',
    body => 'x' x 66000), 413, 'payload_too_large', qr/65536|larger/,
    'as does the control API');

$e->{agents}{1}->stop(unlink => 1);
is_json($e->api(GET => '/v1/sandbox/demo/api/version'), 503,
    'sandbox_unreachable', qr/agent can't be reached/,
    'an agent that is gone');
$e->daemon->fault(start_error => { code => 'start_failed', status => 503,
    message => 'no room on this host', retry_after => 7 });
$r = $e->api(GET => '/v1/sandbox/demo/api/version');
is_json($r, 503, 'start_failed', qr/no room on this host/,
    'a start that failed, with its reason');
is($r->{headers}{'retry-after'}, 7, '... and when to come again');

# ---- servers that aren't ours

$r = http(port => $plain, path => '/');
like($r->{body}, qr/<html>/, 'other servers keep their pages');

is($e->stop, 0, 'nginx ends');
$e->no_alerts;
done_testing();
