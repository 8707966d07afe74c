#!/usr/bin/perl

# The configurations of conf-examples/ besides edge-tls.conf, each started as it
# stands and asked for what it promises.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Example;
use Harness;
use System;
use Test::More;

alarm_after(300);

my $top = top_dir();
my $tested = join '', map { slurp("$top/t/$_") }
    qw(conf-examples.t conf-examples-more.t);

for my $file (grep { slurp($_) =~ /^http \{/m } glob "$top/conf-examples/*") {
    my ($name) = $file =~ m{([^/]+)$};

    like($tested, qr/'\Q$name\E'/, "$name has its tests");
}

my $s = System->new;
$s->start_daemon;

my %all = ('api.example.com' => 'DNS:api.example.com',
    'sandboxes.example.net' => 'DNS:*.sandboxes.example.net',
    'live.example.org' => 'DNS:*.live.example.org');

# Says what it was sent; /redirect leads to itself.
my $echo = <<'END';
exec python3 -c '
import http.server, json
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        b = json.dumps({k.lower(): v for k, v in self.headers.items()})
        self.send_response(302 if self.path == "/redirect" else 200)
        if self.path == "/redirect":
            self.send_header("Location", "http://localhost:8000/there")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(b)))
        self.end_headers()
        self.wfile.write(b.encode())
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), H).serve_forever()
'
END

# ---- beside sites -----------------------------------------------------------

{
    my $x = Example->new('beside-sites.conf', $s,
        replace => { '10.0.0.0/8' => '127.0.0.3' });

    spew("$x->{dir}/html/index.html", "the old site\n");
    chmod 0755, "$x->{dir}/html";
    spew("$x->{dir}/sites/old", <<"END");
server {
    listen 127.0.0.1:$x->{http} default_server;
    server_name www.example.com;
    root $x->{dir}/html;
}
END
    $x->start;

    is($x->curl('www.example.com', '/')->{body}, "the old site\n",
        'the site answers');
    is($x->curl('anything.example.com', '/')->{body}, "the old site\n",
        'and is the default one, as before');
    is($x->curl('www.example.com', '/v1/sandbox')->{status}, 404,
        'it has no API');

    my $host = $x->wait_for_preview($x->preview('beside', $echo), '/', 200);
    my $r = $x->curl($host, '/');
    is($r->{json}{'x-forwarded-host'}, $host, 'a preview');

    my %got;
    $got{ $x->curl($host, '/')->{status} }++ for 1 .. 3;
    my (undef, $out) = run_command(['curl', '-sS', '-m', '60', '--resolve',
        "$host:$x->{http}:127.0.0.1", '-o', '/dev/null', '-w',
        '%{http_code}\n', '--parallel', '--parallel-immediate',
        '--parallel-max', '100', "http://$host:$x->{http}/[1-400]"],
        timeout => 70);
    # 000 is a connection that curl gave up.
    $got{$_}++ for grep { $_ ne '000' } split /\n/, $out // '';
    is(join(' ', sort keys %got), '200 429', 'its visitors have a limit');
    is($x->curl('www.example.com', '/')->{status}, 200, 'the site has none');

    is($x->api('', '--interface', '127.0.0.2')->{status}, 200,
        'the API answers machines of ours');
    my $conf = slurp("$x->{dir}/nginx.conf");
    spew("$x->{dir}/nginx.conf", $conf =~ s{allow 127\.0\.0\.0/8}{allow
        127.0.0.1}r);
    kill 'HUP', $x->{nginx};
    ok(wait_for(sub { $x->api('', '--interface', '127.0.0.2')->{status}
        == 403 }, 20, 0.2), 'and no others');
    $x->stop;
}

# ---- behind a proxy ---------------------------------------------------------

{
    my $x = Example->new('behind-proxy.conf', $s,
        replace => { '10.0.0.0/8' => '127.0.0.1' })->start;
    my $url = $x->preview('behind', $echo);
    my @from = ('-H', 'X-Forwarded-For: 6.6.6.6, 203.0.113.9');

    like($url, qr{^https://[^/]+\.sandboxes\.example\.net(?::\d+)?/$},
        'a URL of what clients speak');

    my $host = $x->wait_for_preview($url, '/', 200);
    my $r = $x->curl($host, '/', @from, '-H', "Origin: https://$host",
        '-H', "Host: $host");

    is($r->{json}{'x-forwarded-proto'}, 'https', 'the app learns of TLS');
    is($r->{json}{'x-forwarded-for'}, '203.0.113.9',
        'and who the client is, as the proxy said');
    is($r->{json}{origin}, 'http://localhost:8000',
        'the page is of its own origin');
    is($x->curl($host, '/redirect', '-H', "Host: $host")
        ->{headers}{location}, "https://$host/there", 'redirects lead to TLS');

    $r = $x->curl($host, '/', @from, '--interface', '127.0.0.2');
    is($r->{json}{'x-forwarded-for'}, '127.0.0.2',
        'who is not the proxy claims nothing');
    like(slurp("$x->{dir}/log/access.log"),
        qr/^203\.0\.113\.9 via 127\.0\.0\.1 "GET \/ .* behind:8000$/m,
        'the log has both');
    is($x->curl('other.example', '/')->{status}, '000', 'other names: nothing');
    $x->stop;
}

# ---- a second domain --------------------------------------------------------

{
    my $x = Example->new('second-domain.conf', $s, certificates => \%all)
        ->start;
    my $r = $x->api('/second/ports', '-d', '{"port":8000}');

    is($r->{status}, 400, 'which domain has to be said');

    my $url = $x->preview('second', $echo, hostname => 'live.example.org');
    my $host = $x->wait_for_preview($url, '/', 200);
    my ($label) = split /\./, $host;

    like($host, qr/\.live\.example\.org$/, 'a URL of the second domain');
    is($x->curl($host, '/')->{version}, 2, 'by HTTP/2, with its certificate');
    is($x->curl("$label.sandboxes.example.net", '/')->{status}, 200,
        'on the first one, too');
    is($x->curl("$label.elsewhere.example.org", '/')->{status}, '000',
        'on no other');
    $x->stop;
}

# ---- domains of the API -----------------------------------------------------

{
    my $x = Example->new('custom-domains.conf', $s, certificates => {
        'api.example.com' => 'DNS:api.example.com',
        'sandboxes.example.net' => 'DNS:*.sandboxes.example.net' });

    # Obtained later, as it were.
    mkdir "$x->{dir}/tls/custom";
    $x->certificate("custom/$_->[0]", "DNS:$_->[1]")
        for ['shop.example.org', 'shop.example.org'],
            ['_.live.example.org', '*.live.example.org'];
    chmod 0644, glob "$x->{dir}/tls/custom/*";
    chmod 0755, "$x->{dir}/tls", "$x->{dir}/tls/custom";
    spew("$x->{dir}/tls/all.pem", join '', map { slurp($_) }
        glob "$x->{dir}/tls/*.pem $x->{dir}/tls/custom/*.pem");
    $x->start;

    my $url = $x->preview('custom', $echo, access => 'public');
    my $host = $x->wait_for_preview($url, '/', 200);
    my ($label) = split /\./, $host;

    is($x->curl("$label.live.example.org", '/')->{status}, 404,
        'not yet a domain');
    is($x->curl('api.example.com', '/v1/domains/live.example.org', '-X', 'PUT',
        '-H', "Authorization: Bearer $s->{key}")->{status}, 200, 'but now');
    is($x->curl("$label.live.example.org", '/')->{json}{'x-forwarded-host'},
        "$label.live.example.org", 'it has the preview, with its certificate');
    is($x->curl('shop.example.org', '/')->{status}, 404, 'not yet a name');
    is($x->api('/custom/ports/8000', '-X', 'PATCH', '-d',
        '{"hostnames": ["shop.example.org"]}')->{status}, 200, 'but now');
    is($x->curl('shop.example.org', '/')->{json}{'x-forwarded-host'},
        'shop.example.org', 'it has the preview, with its own certificate');
    is($x->curl("$label.else.example.org", '/')->{status}, '000',
        'without a certificate there is nothing');
    is($x->curl('api.example.com', '/v1/domains/live.example.org', '-X',
        'DELETE', '-H', "Authorization: Bearer $s->{key}")->{status}, 204,
        'taken away');
    is($x->curl("$label.live.example.org", '/')->{status}, 404, 'and gone');
    $x->stop;
}

# ---- signing in -------------------------------------------------------------

{
    my $port = free_port();
    my $x = Example->new('oidc.conf', $s, certificates => \%all,
        replace => { '127.0.0.1:4180' => "127.0.0.1:$port" });

    # What such a program does, with the provider's part played at once.
    spew("$x->{dir}/sign-in.py", <<'END');
import http.server, sys, urllib.parse
class H(http.server.BaseHTTPRequestHandler):
    def answer(self, status, headers={}):
        self.send_response(status)
        for k, v in headers.items(): self.send_header(k, v)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def do_GET(self):
        u = urllib.parse.urlsplit(self.path)
        q = dict(urllib.parse.parse_qsl(u.query))
        to = self.headers.get("X-Auth-Request-Redirect", "/")
        if u.path == "/oauth2/auth":
            good = "__Host-signed-in=good" in self.headers.get("Cookie", "")
            self.answer(202 if good else 401,
                        {"X-Auth-Request-Email": "ada@example.com"})
        elif u.path == "/oauth2/sign_in":
            self.answer(302, {"Location": "https://idp.example/authorize?"
                + urllib.parse.urlencode({"state": to, "redirect_uri":
                "https://" + self.headers["Host"] + "/oauth2/callback"})})
        elif u.path == "/oauth2/callback" and q.get("code") == "right":
            self.answer(302, {"Location": q["state"], "Set-Cookie":
                "__Host-signed-in=good; Path=/; Secure; HttpOnly"})
        else:
            self.answer(403)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])),
                                H).serve_forever()
END
    my $backend = start_process(cmd => ['python3', "$x->{dir}/sign-in.py",
        $port], log => "$x->{dir}/sign-in.log");

    ok(wait_for(sub { http_connect(port => $port) }, 20), 'a provider');
    $x->start;

    my ($host) = $x->preview('signed', $echo) =~ m{//([^:/]+)};
    my $r = $x->curl($host, '/a?b=1&c=2');

    is($r->{status}, 302, 'who has not signed in');
    like($r->{headers}{location} // '', qr{^https://idp\.example/authorize\?},
        'is sent to the provider');
    my ($state) = ($r->{headers}{location} // '') =~ /state=([^&]+)/;
    is($state, '%2Fa%3Fb%3D1%26c%3D2', 'which knows where to return to');

    $r = $x->curl($host, "/oauth2/callback?code=wrong&state=$state");
    is($r->{status}, 403, 'a wrong answer of the provider\'s');
    $r = $x->curl($host, "/oauth2/callback?code=right&state=$state");
    is($r->{headers}{location}, '/a?b=1&c=2', 'the right one leads back');

    my ($cookie) = ($r->{headers}{'set-cookie'} // '') =~ /^([^;]+)/;
    my @signed = ('-H', "Cookie: app=1; $cookie; b=2");

    $x->wait_for_preview("https://$host/", '/', 200, @signed);
    $r = $x->curl($host, '/', @signed, '-H',
        'X-Auth-Request-Email: eve@example.com');
    is($r->{json}{'x-auth-request-email'}, 'ada@example.com',
        'the app learns who it is');
    is($r->{json}{cookie}, 'app=1; b=2', 'and gets its own cookies alone');
    for (["$cookie", undef], ["$cookie; a=1", 'a=1'],
        ["a=1; ${cookie}x; $cookie", 'a=1'], ["a=1;$cookie", 'a=1'],
        ["${cookie}0; ${cookie}1; ${cookie}2; a=1", undef])
    {
        is($x->curl($host, '/', '-H', "Cookie: $_->[0]")->{json}{cookie},
            $_->[1], "Cookie: $_->[0]") if $_->[0] =~ /good(?:;|$)/;
    }
    is($x->curl("nobody-$host", '/', @signed)->{status}, 404,
        'an unknown name is unknown to everybody');

    # Nobody else's visit starts anything.
    is($x->curl($host, '/', '-H', 'Cookie: __Host-signed-in=forged')
        ->{status}, 302, 'a forged cookie');
    $x->stop;
    stop_process($backend, 'TERM', 5);
}

# ---- metrics, and a log in JSON ---------------------------------------------

{
    my $port = free_port();
    my $x = Example->new('metrics.conf', $s,
        replace => { '127.0.0.1:9145' => "127.0.0.1:$port" })->start;
    my $host = $x->wait_for_preview($x->preview('counted', $echo),
        '/?q="\\', 200, '--globoff');
    my $r = http(port => $port, host => 'any', path => '/metrics');

    is($r->{status}, 200, 'metrics');
    like($r->{body}, qr/^# TYPE sandbox_\S+ \w+$/m, 'in Prometheus\' format');
    unlike($r->{body}, qr/counted/, 'which name no sandbox');
    like(http(port => $port, host => 'any', path => '/metrics/sandboxes')
        ->{body}, qr/counted/, 'but where they are asked for');
    isnt($x->curl('sandboxes.example.net', '/metrics')->{status}, 200,
        'none on the public port');

    my $last;
    wait_for(sub {
        ($last) = grep { ($_->{host} // '') eq $host }
            map { json_decode($_) || () }
            split /\n/, slurp("$x->{dir}/log/access.log") // '';
    }, 10);
    is($last->{sandbox}, 'counted', 'the log is JSON, with the sandbox');
    is($last->{port}, '8000', 'and its port');
    is($last->{status}, 200, 'and the status as a number')
        if ($last->{status} // 0) == 200;
    is(scalar(grep { !json_decode($_) } split /\n/,
        slurp("$x->{dir}/log/access.log")), 0, 'every line of it');
    $x->stop;
}

$s->stop;
done_testing();
