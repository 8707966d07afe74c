package Edge;

# nginx with the module between a FakeDaemon and FakeAgents: what a test of the
# module alone needs.
#
#   my $e = Edge->new(workers => 1, ...);
#   $e->daemon->sandbox(...);  $e->agent(1, key => ...);
#   $e->start;
#   my $r = $e->get('8000-demo.preview.test', '/path', ...);
#   $e->reload; $e->stop;
#
# Options: workers (1), zone ('4m'), http_conf, server_conf, location_conf,
# api_conf, main_conf, upstream_conf, more_servers, listen_options,
# socket_options (of the first listen alone), read_timeout,
# connections (4096), keepalive ('sandbox_keepalive 16'), debug.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FakeAgent;
use FakeDaemon;
use Harness;
use IO::Socket::INET;
use Test::More ();
use Time::HiRes qw(sleep time);

our $KEY = 'test_' . 'k' x 40;


sub new {
    my ($class, %o) = @_;
    my $self = bless { workers => 1, zone => '4m', domain => 'preview.test',
                       api => 'api.test', connections => 4096,
                       keepalive => 'sandbox_keepalive 16', %o }, $class;

    $self->{dir} ||= tmp_dir();
    $self->{port} ||= free_port();
    $self->{ngx} = "$self->{dir}/nginx";
    $self->{error_log} = "$self->{ngx}/error.log";
    mkdir $_ for $self->{ngx}, "$self->{ngx}/tmp", "$self->{dir}/s";
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'www-data')[2, 3];

        chown $uid, $gid, "$self->{ngx}/tmp" if defined $uid;
    }
    spew("$self->{dir}/keys", sha256_hex($KEY) . " test\n", 0600);
    $self->{daemon} = FakeDaemon->start(dir => $self->{dir},
        %{ $o{daemon_options} || {} });

    return $self;
}


sub daemon { return $_[0]{daemon} }
sub key { return sprintf '%032x', $_[1] * 7919 }


# An agent in a slot, and its running sandbox with one exposure, 8000.
sub agent {
    my ($self, $slot, %o) = @_;
    my $id = $o{id} // "box$slot";
    my $key = $o{key} // $self->key($slot);

    $self->{agents}{$slot} = FakeAgent->start(dir => $self->{dir},
        slot => $slot, key => $key, name => $id, %{ $o{agent} || {} });
    $self->daemon->sandbox(slot => $slot, id => $id, key => $key,
        state => $o{state} // 'running', epoch => $o{epoch} // 1);
    for my $port (@{ $o{ports} || [8000] }) {
        $self->daemon->expose(slot => $slot, port => $port,
            label => "$port-$id-tok", %{ $o{exposure} || {} });
    }

    return $self->{agents}{$slot};
}


sub conf {
    my ($self) = @_;
    my %o = map { $_ => $self->{$_} // '' } qw(http_conf server_conf api_conf
        location_conf main_conf upstream_conf more_servers listen_options
        socket_options);
    my $module = build_dir() . '/ngx_http_sandbox_module.so';
    my $proxy = top_dir() . '/conf-examples/sandbox_proxy.conf';
    my $t = "$self->{ngx}/tmp";
    my $user = $> == 0 ? 'user www-data;' : '';
    my $level = $self->{debug} ? 'debug' : 'info';

    if ($self->{read_timeout}) {
        my $text = slurp($proxy);

        $text =~ s/proxy_read_timeout \w+/proxy_read_timeout $self->{read_timeout}/;
        $proxy = spew("$self->{dir}/proxy.conf", $text);
    }

    return <<"EOC";
load_module $module;
$user
worker_processes $self->{workers};
daemon off;
pid $self->{ngx}/nginx.pid;
error_log $self->{error_log} $level;
worker_shutdown_timeout 20s;
$o{main_conf}

events {
    worker_connections $self->{connections};
}

http {
    log_format sbx '\$status \$host \$request \$sandbox_id \$sandbox_port '
                   '\$sandbox_wait_time \$upstream_addr \$request_time';
    access_log $self->{ngx}/access.log sbx;
    client_body_temp_path $t/body;
    proxy_temp_path $t/proxy;
    fastcgi_temp_path $t/fastcgi;
    uwsgi_temp_path $t/uwsgi;
    scgi_temp_path $t/scgi;
    server_names_hash_bucket_size 128;

    sandbox_zone name=sandboxes $self->{zone};
    sandbox_daemon unix:$self->{dir}/control.sock secret=$self->{dir}/secret;
    $o{http_conf}

    upstream sandboxes {
        sandbox;
        $self->{keepalive};
        $o{upstream_conf}
    }

    server {
        listen 127.0.0.1:$self->{port} default_server $o{listen_options}
            $o{socket_options};
        server_name *.$self->{domain};
        sandbox_preview $self->{domain};
        $o{server_conf}

        location / {
            include $proxy;
            proxy_pass http://sandboxes;
            $o{location_conf}
        }
    }

    server {
        listen 127.0.0.1:$self->{port} $o{listen_options};
        server_name $self->{api};
        sandbox_api on;
        sandbox_api_keys $self->{dir}/keys;
        $o{api_conf}

        location / {
            include $proxy;
            proxy_pass http://sandboxes;
        }
    }

    $o{more_servers}
}
EOC
}


sub command {
    my ($self) = @_;

    return ($ENV{SANDBOX_NGINX} || '/usr/sbin/nginx', '-p', "$self->{ngx}/",
            '-e', $self->{error_log}, '-c', "$self->{ngx}/nginx.conf");
}


# `nginx -t`; (status, output).
sub test_conf {
    my ($self) = @_;

    spew("$self->{ngx}/nginx.conf", $self->conf);

    my ($status, $out, $err) = run_command([$self->command, '-t'],
        env => { san_env() });

    return ($status, ($out // '') . ($err // '')
        . (slurp($self->{error_log}) // ''));
}


sub start {
    my ($self) = @_;

    spew("$self->{ngx}/nginx.conf", $self->conf);
    $self->{nginx} = start_process(
        cmd => [split(' ', $ENV{TEST_WRAP} // ''), $self->command],
        log => "$self->{ngx}/stderr.log", env => { san_env() });

    wait_for(sub {
        !process_alive($self->{nginx})
            || (-s "$self->{ngx}/nginx.pid"
                && http_connect(port => $self->{port}))
    }, 20);
    process_alive($self->{nginx})
        or die "nginx did not start:\n"
            . (slurp("$self->{ngx}/stderr.log") // '')
            . (slurp($self->{error_log}) // '');
    $self->connected unless $self->{no_wait};

    return $self;
}


# Waits until every worker's hello has been answered and the zone is filled.
sub connected {
    my ($self, $n) = @_;

    return wait_for(sub {
        my $s = $self->daemon->stats or return 0;

        return $s->{connections} >= ($n // $self->{workers})
            && $self->logged(qr/the zone holds/);
    }, 15);
}


sub logged {
    my ($self, $pattern) = @_;

    return (slurp($self->{error_log}) // '') =~ $pattern ? 1 : 0;
}


sub workers {
    my ($self) = @_;

    return grep {
        $_ != $self->{nginx}
            && (slurp("/proc/$_/cmdline") // '') =~ /worker process/
    } descendants($self->{nginx});
}


# Reloads, and waits until new workers serve; with another configuration, until
# the old ones take nothing more.
sub reload {
    my ($self, %o) = @_;
    my %old = map { $_ => 1 } $self->workers;

    spew("$self->{ngx}/nginx.conf", $self->conf) if $o{conf};
    kill 'HUP', $self->{nginx};

    wait_for(sub { grep { !$old{$_} } $self->workers }, 15) or return;

    return !$o{conf} || wait_for(sub {
        !grep {
            (slurp("/proc/$_/cmdline") // '') =~ /worker process(?! is shut)/
        } keys %old;
    }, 15);
}


sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{nginx} or return;

    return stop_process($pid, $signal || 'QUIT', 30);
}


# $e->get(host, path, %options of http())
sub get {
    my ($self, $host, $path, %o) = @_;

    return http(port => $self->{port}, host => $host, path => $path // '/',
        %o);
}


# Sends bytes as they are; the answer.
sub raw {
    my ($self, $bytes, %o) = @_;
    my $s = http_connect(port => $self->{port}) or return { status => 0 };

    http_send($s, $bytes);

    return http_read($s, timeout => 30, %o);
}


sub api {
    my ($self, $method, $path, %o) = @_;
    my $h = $o{headers} || {};

    return http(port => $self->{port}, host => $self->{api},
        method => $method, path => $path, %o,
        headers => { Authorization => "Bearer $KEY", %$h });
}


# The last test of each file: nothing in the log that must not be there.
sub no_alerts {
    my ($self, $allow) = @_;
    my $log = (slurp($self->{error_log}) // '')
        . (slurp("$self->{ngx}/stderr.log") // '');
    my @bad = grep {
        /\[(?:alert|emerg)\]|AddressSanitizer|runtime error|exited on signal/
            && (!$allow || !/$allow/)
    } split /\n/, $log;

    Test::More::is(join("\n", @bad), '', 'nothing alarming in the log');
}

1;
