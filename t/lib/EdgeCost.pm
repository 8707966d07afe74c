package EdgeCost;

# The module beside stock proxy_pass, to the same Unix socket backend with the
# same headers and keepalive: what the benchmark of the edge and the test of its
# cost measure.
#
#   my $e = EdgeCost->new;
#   $e->start(1000, 'worker_processes 1;');
#   ... http(port => $e->{port}, host => '8000-box1-abcdefgh.localhost') ...
#   $e->stop;
#
# *.localhost are the module's names, *.stock and *.single (a new connection for
# each request) those of stock nginx.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use Harness;
use MIME::Base64 qw(encode_base64url);


sub new {
    my ($class) = @_;
    my $dir = tmp_dir() . '/edge';
    my $self = bless { dir => $dir, zone => '256m',
        keepalive => 'sandbox_keepalive 64 per_sandbox=64 requests=1000000' },
        $class;

    mkdir $_ for $dir, map { "$dir/$_" } qw(run run/s ngx);
    spew("$dir/secret", 's' x 64 . "\n", 0600);
    $self->stock_conf;

    my ($status, undef, $err) = run_command(['gcc', '-O2', '-Wall', '-Wextra',
        '-D_GNU_SOURCE', '-o', "$dir/backend", top_dir() . '/bench/backend.c']);
    die "backend: $err" if $status != 0;

    $self->{backend} = start_process(cmd => ["$dir/backend",
        "$dir/plain.sock", "$dir/agent.sock"], log => "$dir/backend.log");

    return $self;
}


sub conf {
    my ($self, $main) = @_;
    my ($dir, $module) = ($self->{dir},
        build_dir() . '/ngx_http_sandbox_module.so');
    my ($top, $port) = (top_dir(), $self->{port});

    return <<"END";
load_module $module;
$main
daemon off;
pid $dir/ngx/nginx.pid;
error_log $dir/ngx/error.log notice;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path $dir/ngx/b;
    proxy_temp_path $dir/ngx/p;
    fastcgi_temp_path $dir/ngx/f;
    uwsgi_temp_path $dir/ngx/u;
    scgi_temp_path $dir/ngx/s;
    keepalive_requests 1000000;

    sandbox_zone name=sandboxes $self->{zone};
    sandbox_daemon unix:$dir/run/control.sock secret=$dir/secret;

    upstream sandboxes {
        sandbox;
        $self->{keepalive};
    }
    upstream stock {
        server unix:$dir/plain.sock;
        keepalive 64;
        keepalive_requests 1000000;
    }
    upstream single { server unix:$dir/plain.sock; }
    map \$http_upgrade \$stock_connection { default ""; websocket upgrade; }

    server {
        listen 127.0.0.1:$port;
        server_name *.localhost;
        sandbox_preview localhost;
        location / {
            include $top/conf-examples/sandbox_proxy.conf;
            proxy_pass http://sandboxes;
        }
    }
    server {
        listen 127.0.0.1:$port;
        server_name *.stock;
        include $dir/stock.conf;
        location / { proxy_pass http://stock; }
    }
    server {
        listen 127.0.0.1:$port;
        server_name *.single;
        include $dir/stock.conf;
        location / { proxy_pass http://single; }
    }
}
END
}


# What sandbox_proxy.conf and the module do, by stock directives.
sub stock_conf {
    my ($self) = @_;

    spew("$self->{dir}/stock.conf", <<'END');
proxy_http_version 1.1;
proxy_set_header Host localhost:8000;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $stock_connection;
proxy_set_header X-Forwarded-Host $host;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
proxy_set_header X-Sandbox-Name stock;
proxy_buffering off;
proxy_request_buffering off;
client_max_body_size 0;
END
}


# Starts feed and nginx, waits until the zone answers for the last sandbox.
sub start {
    my ($self, $count, $main, @wrap) = @_;
    my $dir = $self->{dir};

    $self->{port} = free_port();
    $self->{feed} = start_process(cmd => ['perl', top_dir() . '/bench/feed.pl',
        "$dir/run/control.sock", "$dir/secret", $count,
        $self->{private} ? 1 : ()],
        log => "$dir/feed.log");

    wait_for(sub { -S "$dir/run/control.sock" }, 20) or die 'feed';
    for my $slot (1 .. $count) {
        my $name = sprintf '%s/run/s/%08x', $dir, $slot;
        -l $name or symlink "$dir/agent.sock", $name or die "$name: $!";
    }

    spew("$dir/ngx/nginx.conf", $self->conf($main));
    $self->{nginx} = start_process(cmd => [@wrap,
        $ENV{SANDBOX_NGINX} || '/usr/sbin/nginx', '-p', "$dir/ngx/", '-e',
        "$dir/ngx/error.log", '-c', "$dir/ngx/nginx.conf"],
        log => "$dir/ngx/stderr.log");
    my $host = sprintf '8002-box%d-abcdefgh.localhost', $count - 1;

    wait_for(sub {
        process_alive($self->{nginx}) or die slurp("$dir/ngx/stderr.log");
        (http(port => $self->{port}, host => $host)->{status} || 0) == 200
    }, 120, 0.2) or die "the zone was not filled:\n"
        . slurp("$dir/ngx/error.log");

    return $self;
}


sub stop {
    my ($self) = @_;

    stop_process(delete $self->{nginx}, 'TERM', 30);
    stop_process(delete $self->{feed}, 'TERM', 5);
}


# With {private} => 1 the first port of the last of $count sandboxes is private:
# its name, and the cookie that opens it.  (see sandbox_sign.h)
sub private {
    my ($self, $count) = @_;
    my $host = sprintf '8000-box%d-abcdefgh.localhost', $count - 1;
    my $key = hmac_sha256('sandbox: links, cookies and tickets, 1', 's' x 64);
    my $payload = pack 'aCnNN', 'C', 0, 0, time() + 86400, 1;
    my $text = join '', map { pack 'N/a', $_ }
        $payload, pack('Nn', $count, 8000), $host;

    return ($host, '__Host-sandbox='
        . encode_base64url($payload . hmac_sha256($text, $key)));
}


# n requests by one connection to a private name, with its cookie, or to the
# one beside it, with a cookie that is an app's.
sub ask_private {
    my ($self, $n, $count, $private) = @_;
    my $s = http_connect(port => $self->{port}) or die 'no connection';
    my ($host, $cookie) = $self->private($count);

    $host =~ s/^8000/8001/, $cookie =~ s/^__Host-sandbox/other/ unless $private;

    for (1 .. $n) {
        my $r = http(socket => $s, keepalive => 1, host => $host,
            headers => [['Cookie', $cookie], ['Sec-Fetch-Site', 'none']]);

        die "status $r->{status}" if $r->{status} != 200;
    }
    close $s;
}


# n requests by one connection to the names of some sandboxes below a domain.
sub ask {
    my ($self, $domain, $n, $boxes) = @_;
    my $s = http_connect(port => $self->{port}) or die 'no connection';

    for my $i (1 .. $n) {
        my $r = http(socket => $s, keepalive => 1,
            host => sprintf '800%d-box%d-abcdefgh.%s', $i % 3, $i % $boxes,
            $domain);

        die "status $r->{status}" if $r->{status} != 200;
    }
    close $s;
}


# User-space instructions per request for each domain: nginx in one process
# under callgrind, once everything has been asked for before.  The zone is a
# small one: sweeping a large one, once it was filled, would be counted.
sub instructions {
    my ($self, $n, $boxes, @domains) = @_;
    my $out = "$self->{dir}/callgrind.out";
    my %per;

    $self->{zone} = '4m';
    $self->start(64, 'master_process off;', 'valgrind', '--tool=callgrind',
        '-q', "--callgrind-out-file=$out");
    $self->ask($_, 6 * $boxes, $boxes) for @domains;

    my $dumps = 0;
    for my $domain (@domains) {
        $self->control('--zero');
        $self->ask($domain, $n, $boxes);
        $self->control('--dump');
        $dumps++;
        ($per{$domain}) = (slurp("$out.$dumps") // '')
            =~ /^(?:summary|totals): (\d+)/m
            or die "callgrind wrote no $out.$dumps";
        $per{$domain} /= $n;
    }

    for my $private ($self->{private} ? (0, 1) : ()) {
        $self->ask_private(2, 64, $private);
        $self->control('--zero');
        $self->ask_private($n, 64, $private);
        $self->control('--dump');
        $dumps++;
        ($per{$private ? 'private' : 'token'}) = (slurp("$out.$dumps") // '')
            =~ /^(?:summary|totals): (\d+)/m
            or die "callgrind wrote no $out.$dumps";
        $per{$private ? 'private' : 'token'} /= $n;
    }
    $self->stop;

    return %per;
}


sub control {
    my ($self, $what) = @_;
    my ($status, $out, $err) = run_command(['callgrind_control', $what,
        $self->{nginx}]);

    die "callgrind_control: $out$err" if $status != 0 || $out =~ /Error/;
}

1;
