#!/usr/bin/perl

# nginx's own modules around previews: access checks, limits, error pages, logs
# and the rest go together with ours, and nothing that one of them refuses has
# woken a sandbox.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(180);

my $e = Edge->new;
my $d = $e->daemon;
my $proxy = top_dir() . '/conf-examples/sandbox_proxy.conf';

spew("$e->{dir}/htpasswd", "user:{PLAIN}secret\n", 0644);

# Each check has a server and a domain of its own.
my %server = (
    basic => 'auth_basic x; auth_basic_user_file htpasswd;',
    request => 'auth_request /check;',
    any => 'satisfy any; deny all; auth_basic x;
            auth_basic_user_file htpasswd;',
    open => 'satisfy any; allow all;',
    all => 'satisfy all; allow all; auth_basic x;
            auth_basic_user_file htpasswd;',
    rate => 'limit_req zone=rate burst=1 nodelay; limit_req_status 429;',
    conn => 'limit_conn conn 1;',
    pages => 'error_page 404 429 503 = @own; sandbox_limit_requests 1 burst=0;',
    mirror => 'mirror /copy;',
    header => 'add_header X-Edge yes always;',
    lost => 'proxy_set_header X-Other yes;',
    named => 'try_files /maintenance.html @app;',
);

$e->{http_conf} = <<"EOC";
limit_req_zone \$server_name zone=rate:1m rate=1r/m;
limit_conn_zone \$server_name zone=conn:1m;
log_format json escape=json
    '{"time":"\$time_iso8601","status":\$status,"host":"\$host",'
    '"sandbox":"\$sandbox_id","port":"\$sandbox_port",'
    '"state":"\$sandbox_state","wake":"\$sandbox_wake_time",'
    '"method":"\$request_method","uri":"\$uri","bytes":\$bytes_sent}';
EOC
$e->{more_servers} = join "\n", map { <<"EOC" } sort keys %server;
server {
    listen 127.0.0.1:$e->{port};
    server_name *.$_.test;
    sandbox_preview $_.test;
    access_log $e->{ngx}/json.log json;

    location / {
        include $proxy;
        $server{$_}
        proxy_pass http://sandboxes;
    }

    location = /check {
        internal;
        if (\$http_x_pass != yes) { return 403; }
        return 204;
    }

    location = /copy {
        internal;
        access_log $e->{ngx}/copy.log;
        log_subrequest on;
        return 204;
    }

    location \@own {
        return 418 "own page\n";
    }

    location \@app {
        include $proxy;
        proxy_pass http://sandboxes;
    }
}
EOC
$e->{more_servers} =~ s{user_file htpasswd}{user_file $e->{dir}/htpasswd}g;
$e->{more_servers} =~ s{include \Q$proxy\E;\n(\s+proxy_set_header)}{$1}g;

$e->agent(1);
for my $slot (2 .. 9) {
    $d->sandbox(slot => $slot, id => "box$slot", state => 'asleep');
    $d->expose(slot => $slot, port => 8000, label => "8000-box$slot-tok");
}
$e->start;

my @auth = (headers => { Authorization =>
    'Basic ' . encode_base64('user:secret', '') });
my $starts = sub { $d->stats->{calls}{start} // 0 };

sub get { return $e->get("8000-$_[0]-tok.$_[1].test", $_[2] // '/', @_[3 .. $#_]) }

# Requests all at once; how many of them had each status.
sub at_once {
    my ($host, $n, $path) = @_;
    my @s = map { http_connect(port => $e->{port}) } 1 .. $n;
    my %count;

    http_send($_, "GET @{[ $path // '/' ]} HTTP/1.1\r\nHost: $host\r\n"
        . "Connection: close\r\n\r\n") for @s;
    $count{http_read($_, timeout => 30)->{status}}++ for @s;

    return \%count;
}

# ---- access checks --------------------------------------------------------

is(get('box2', 'basic')->{status}, 401, 'auth_basic');
is(get('box1', 'basic', '/', @auth)->{json}{name}, 'box1', 'lets in');
is(get('box2', 'request')->{status}, 403, 'auth_request');
is(get('box1', 'request', '/', headers => { 'X-Pass' => 'yes' })->{status},
    200, 'lets in');
is(get('box2', 'any')->{status}, 401, 'satisfy any, and nothing is');
is(get('box1', 'any', '/', @auth)->{status}, 200, 'or one is');
is(get('box2', 'all')->{status}, 401, 'satisfy all, and one is not');
is(get('box1', 'all', '/', @auth)->{status}, 200, 'or all are');
is(get('nobody', 'open')->{status}, 404,
    'satisfy any opens no preview that there isn\'t');
is($e->get('8000-box1-wrong.open.test')->{status}, 404, 'nor a wrong token');
is(get('box1', 'open')->{status}, 200, 'nor closes one that there is');
is($starts->(), 0, 'whoever was refused has woken nobody');

# ---- limits ---------------------------------------------------------------

is(join(' ', map { get('box1', 'rate')->{status} } 1 .. 3), '200 200 429',
    'limit_req');
is(get('box3', 'rate')->{status}, 429, 'also before a sandbox that sleeps');
is($starts->(), 0, 'which sleeps on');

my $slow = http_connect(port => $e->{port});

http_send($slow, "GET /slow?2 HTTP/1.1\r\nHost: 8000-box1-tok.conn.test\r\n"
    . "Connection: close\r\n\r\n");
ok(wait_for(sub { get('box1', 'conn')->{status} == 503 }, 5), 'limit_conn');
is(http_read($slow, timeout => 10)->{status}, 200, 'counts what is open');

# ---- answers --------------------------------------------------------------

my $r = get('box1', 'pages', '/status?404');

is($r->{status}, 404, 'an app\'s own 404 is the app\'s');
$r = get('nobody', 'pages');
is("$r->{status} $r->{body}", "418 own page\n", 'error_page for unknown names');
cmp_ok(at_once('8000-box1-tok.pages.test', 20)->{418} // 0, '>=', 5,
    'and for a limit of ours');
is(get('box1', 'header')->{headers}{'x-edge'}, 'yes', 'add_header');
is(get('nobody', 'header')->{headers}{'x-edge'}, 'yes', 'on errors, too');
is(get('box1', 'lost')->{status}, 500,
    'a location that lost its headers says so');
is(get('box1', 'mirror', '/m?1')->{json}{uri}, '/m?1', 'mirror');
ok(wait_for(sub { (slurp("$e->{ngx}/copy.log") // '') =~ / 204 / }, 5),
    'has its copy');

# ---- redirects inside of nginx --------------------------------------------

$d->expose(slot => 1, port => 8002, label => '8002-box1', access => 'private',
    gen => 77);
is(get('box1', 'named', '/x')->{json}{uri}, '/x', 'try_files');
for my $slash ('', '?') {
    is($e->get('8002-box1.named.test', "/x$slash")->{status}, 404,
        'a private preview behind it is closed');
    is($e->get('8002-box1.named.test', "/x$slash",
        headers => { Authorization => "Bearer $Edge::KEY" })->{json}{uri},
        "/x$slash", 'and open to a key');
}

$r = $e->api(POST => '/v1/sandbox/box1/ports/8002/link',
    json => { hostname => "named.test:$e->{port}" });
my ($host, $link) = ($r->{json}{url} // '') =~ m{^http://([^/]+)(/.*)};
my %nav = ('Sec-Fetch-Site' => 'none', 'Sec-Fetch-Mode' => 'navigate',
    'Sec-Fetch-Dest' => 'document');

$r = $e->get($host, $link, headers => \%nav);
my ($cookie) = ($r->{headers}{'set-cookie'} // '') =~ /^([^;]+)/;
$r = $e->get($host, '/c', headers => { %nav, Cookie => "$cookie; app=1" });
is($r->{json}{uri}, '/c', 'to a cookie as well');
like($r->{json}{head}, qr/^Cookie: app=1\r?$/m, 'which stays outside');

# ---- log ------------------------------------------------------------------

$d->fault(start_delay => 0.2, start_run => { 4 => { key => $e->key(4) } });
$e->{agents}{4} = FakeAgent->start(dir => $e->{dir}, slot => 4,
    key => $e->key(4), name => 'box4');
is(get('box4', 'open', '/woken')->{status}, 200, 'a sandbox that is woken');

my $line;

ok(wait_for(sub {
    ($line) = grep { $_ && $_->{uri} eq '/woken' }
        map { json_decode($_) } split /\n/, slurp("$e->{ngx}/json.log") // '';
    $line;
}, 5), 'each line of the log is JSON');
is($line->{sandbox}, 'box4', 'with the sandbox');
is($line->{port}, 8000, 'the port');
is($line->{state}, 'asleep', 'the state that it was found in');
cmp_ok($line->{wake}, '>=', 0.15, 'and how long it took to wake');
my @bad = grep { !json_decode($_) } split /\n/, slurp("$e->{ngx}/json.log");
is("@bad", '', 'in all lines');

$e->stop;
$e->no_alerts;
done_testing();
