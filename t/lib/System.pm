package System;

# The whole thing, on a port and in directories of its own: sandboxd with the
# oci driver (driver => 'qemu', or SANDBOX_DRIVER in the environment: with that
# one), nginx with the module, an API key.
#
#   my $s = System->start(%options);
#   my $r = $s->api(POST => '/v1/sandbox', json => {});
#   my $r = $s->preview($url, path => '/');
#   $s->stop;    # also says what was left behind
#
# Options: domain ('localhost'), daemon_args [...], http_conf, server_conf,
# location_conf (text for nginx), workers (2), connections (8192), user
# ('www-data' when root), dir (one of an earlier System, to start again on its
# state), catch_all (the previews' server has the names that no other has),
# program (a sandboxd other than the one that was built), timeout (s, of those
# requests that say none).

use strict;
use warnings;

use FindBin;
use Digest::SHA qw(sha256_hex);
use Firecracker;
use Harness;
use IO::Socket::UNIX;
use Leftovers;
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);
use Vm;
use WebSocket;


sub new {
    my ($class, %o) = @_;
    my $self = bless { domain => 'localhost', workers => 2, zone => '16m',
                       connections => 8192,
                       user => ($> == 0 ? 'www-data' : ''), %o }, $class;

    $self->{dir} ||= tmp_dir();
    $self->{port} ||= free_port();
    $self->{state} = "$self->{dir}/state";
    $self->{run} = "$self->{dir}/run";
    $self->{secret} = "$self->{dir}/secret";
    $self->{ngx} = "$self->{dir}/nginx";
    $self->{left} = Leftovers->new(dir => $self->{dir});
    $self->{daemon_log} = "$self->{dir}/sandboxd.log";
    $self->{error_log} = "$self->{ngx}/error.log";

    if (-e "$self->{dir}/api-key") {
        ($self->{key}) = slurp("$self->{dir}/api-key") =~ /(\S+)/;
    } else {
        $self->{key} = 'test_' . sha256_hex(rand() . $$ . time());
        spew("$self->{dir}/api-key", "$self->{key}\n", 0600);
        spew("$self->{dir}/keys", sha256_hex($self->{key}) . " test\n", 0600);
    }

    mkdir $_ for $self->{ngx}, "$self->{ngx}/tmp";
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam($self->{user}))[2, 3];

        chown $uid, $gid, "$self->{ngx}/tmp" if defined $uid;
    }

    return $self;
}


sub driver { return $_[0]{driver} // $ENV{SANDBOX_DRIVER} // 'oci' }


# Whether sandboxes are virtual machines.
sub machines { return $_[0]->driver ne 'oci' }


# In a SKIP block: leaves out the next $n tests, since only containers can do
# that ("of a machine ..." says why), or only machines.
sub only_containers {
    my ($self, $why, $n) = @_;

    Test::More::skip("only containers: $why", $n) if $self->machines;
}


sub only_machines {
    my ($self, $why, $n) = @_;

    Test::More::skip("only machines: $why", $n) if !$self->machines;
}


# Where the host keeps what sandboxes have written, below the state directory.
sub layers {
    my ($self) = @_;
    my %layers = (qemu => 'machines', firecracker => 'microvms');

    return $layers{ $self->driver } // 'sandboxes';
}


sub start {
    my $self = ref $_[0] ? shift : shift()->new(@_);

    $self->start_daemon unless $self->{no_daemon};
    $self->start_nginx;

    return $self;
}


sub start_daemon {
    my ($self) = @_;
    my @group = $> == 0 ? ('--socket-group', 'www-data') : ();
    my $driver = $self->driver;
    my $vm = $self->{vm} = $self->machines;
    my @what = $driver eq 'qemu' ? Vm::arguments()
        : $vm ? Firecracker::arguments($self) : '--dev';

    $self->{daemon} = start_process(
        cmd => [$self->{program} // build_dir() . '/sandboxd', '--state-dir',
                $self->{state}, '--run-dir', $self->{run}, '--secret-file',
                $self->{secret},
                '--agent', $vm ? Vm::agent() : build_dir() . '/sandbox-agent',
                @what, '--stop-on-exit', @group, @{ $self->{daemon_args} || [] }],
        log => $self->{daemon_log},
        env => { is_san() ? (ASAN_OPTIONS => 'detect_leaks=0') : (),
                 %{ $self->{daemon_env} || {} } });

    wait_for(sub {
        !process_alive($self->{daemon})
            || ($self->daemon_answers && -e $self->{secret})
    }, 20);
    process_alive($self->{daemon})
        or die "sandboxd did not start:\n" . slurp($self->{daemon_log});

    return $self;
}


sub daemon_answers {
    my ($self) = @_;
    my $s = http_connect(unix => "$self->{run}/control.sock") or return 0;

    close $s;

    return 1;
}


sub nginx_conf {
    my ($self) = @_;
    my $module = build_dir() . '/ngx_http_sandbox_module.so';
    my $proxy = top_dir() . '/conf-examples/sandbox_proxy.conf';
    my $t = "$self->{ngx}/tmp";
    my $user = $self->{user} && $> == 0 ? "user $self->{user};" : '';
    my $catch = $self->{catch_all} ? 'default_server' : '';
    my $default = $catch ? ''
        : "server { listen 127.0.0.1:$self->{port} default_server;\n"
            . '             return 444; }';

    for (qw(main_conf http_conf server_conf api_conf location_conf)) {
        $self->{$_} //= '';
    }

    return <<"EOC";
load_module $module;
$user
worker_processes $self->{workers};
daemon off;
pid $self->{ngx}/nginx.pid;
error_log $self->{error_log} info;
$self->{main_conf}

events {
    worker_connections $self->{connections};
}

http {
    access_log off;
    client_body_temp_path $t/body;
    proxy_temp_path $t/proxy;
    fastcgi_temp_path $t/fastcgi;
    uwsgi_temp_path $t/uwsgi;
    scgi_temp_path $t/scgi;
    server_names_hash_bucket_size 128;

    sandbox_zone name=sandboxes $self->{zone};
    sandbox_daemon unix:$self->{run}/control.sock secret=$self->{secret};
    $self->{http_conf}

    upstream sandboxes {
        sandbox;
        sandbox_keepalive 256;
    }

    $default

    server {
        listen 127.0.0.1:$self->{port} $catch;
        server_name *.$self->{domain};
        sandbox_preview $self->{domain};
        $self->{server_conf}

        location / {
            include $proxy;
            proxy_pass http://sandboxes;
            $self->{location_conf}
        }
    }

    server {
        listen 127.0.0.1:$self->{port};
        server_name localhost 127.0.0.1;
        sandbox_api on;
        sandbox_api_keys $self->{dir}/keys;
        $self->{api_conf}

        location / {
            include $proxy;
            proxy_pass http://sandboxes;
        }
    }
}
EOC
}


sub start_nginx {
    my ($self) = @_;

    spew("$self->{ngx}/nginx.conf", $self->nginx_conf);
    $self->{nginx} = start_process(
        cmd => [$ENV{SANDBOX_NGINX} || '/usr/sbin/nginx', '-p',
                "$self->{ngx}/", '-e', $self->{error_log},
                '-c', "$self->{ngx}/nginx.conf"],
        log => "$self->{ngx}/stderr.log", env => { san_env() });

    wait_for(sub {
        !process_alive($self->{nginx})
            || (-e "$self->{ngx}/nginx.pid"
                && http_connect(port => $self->{port}))
    }, 20);
    process_alive($self->{nginx})
        or die "nginx did not start:\n" . (slurp("$self->{ngx}/stderr.log")
            // '') . (slurp($self->{error_log}) // '');

    return $self;
}


sub nginx_workers {
    my ($self) = @_;

    return grep { $_ != $self->{nginx} } descendants($self->{nginx});
}


# api(METHOD => PATH, %http_options) with our key.
sub api {
    my ($self, $method, $path, %o) = @_;
    my $headers = delete $o{headers} || {};
    my @headers = ref $headers eq 'ARRAY' ? @$headers
        : map { [$_, $headers->{$_}] } sort keys %$headers;

    unshift @headers, ['Authorization', "Bearer $self->{key}"]
        unless $o{no_key};

    return http(port => $self->{port}, host => "localhost:$self->{port}",
        method => $method, path => $path, headers => \@headers,
        %o, $self->patience(%o));
}


sub patience {
    my ($self, %o) = @_;
    my $seconds = $o{timeout} // $self->{timeout};

    return $seconds ? (timeout => $seconds * slower()) : ();
}


# Runs a command in the sandbox's default session, for its stdout.
sub exec {
    my ($self, $id, $command, %o) = @_;
    my $r = $self->api(POST => "/v1/sandbox/$id/api/execute",
        json => { command => $command, %{ $o{body} || {} } }, %o);

    return $r->{json} || { status => $r->{status}, body => $r->{body} };
}


# Its stdout alone; what went wrong is told.
sub run {
    my ($self, $id, $command, %o) = @_;
    my $r = $self->exec($id, $command, %o);

    Test::More::diag(json_encode($r), slurp($self->{daemon_log}))
        if !defined $r->{stdout};

    return $r->{stdout} // '';
}


sub record { return $_[0]->api(GET => "/v1/sandbox/$_[1]")->{json} || {} }


sub state_within {
    my ($self, $id, $state, $seconds) = @_;

    return wait_for(sub { ($self->record($id)->{state} // '') eq $state },
        $seconds, 0.1);
}


# A terminal of a sandbox, by a path like "/pty?session=t": a WebSocket.
sub terminal {
    my ($self, $id, $path, %o) = @_;
    my @key = $o{no_key} ? () : (['Authorization', "Bearer $self->{key}"]);

    return WebSocket->connect(port => $self->{port}, timeout => 60,
        host => "localhost:$self->{port}", path => "/v1/sandbox/$id$path",
        headers => [@key, @{ $o{headers} || [] }]);
}


# Calls what kills something in the middle of a command's stream: how many
# seconds later the stream has ended, or nothing if it did as if all was well.
sub cut_stream {
    my ($self, $id, $kill) = @_;
    my $begun = "$self->{dir}/stream-begun";
    my $child = fork() // die "fork: $!";

    if ($child == 0) {
        my $all = '';

        $self->api(POST => "/v1/sandbox/$id/exec", timeout => 60,
            json => { argv => ['sh', '-c', 'echo begin; sleep 50; echo end'] },
            on_data => sub { $all .= $_[0]; spew($begun, '')
                             if $all =~ /stdout/; 1 });
        POSIX::_exit($all !~ /exit_code/ && $all =~ /^event: stdout$/m ? 0 : 1);
    }

    my $there = wait_for(sub { -e $begun }, 60);
    my $at = time();

    $kill->();
    waitpid $child, 0;
    unlink $begun;

    return $there && $? == 0 ? time() - $at : undef;
}


# Starts a process inside and waits until its port accepts connections.
sub serve {
    my ($self, $id, $port, $command) = @_;
    my $r = $self->api(POST => "/v1/sandbox/$id/api/process/start",
        json => { command => $command });

    return 0 unless $r->{status} == 200;

    my $probe = qq{(exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && echo yes};

    return wait_for(sub {
        ($self->exec($id, $probe,
            body => { sessionId => '__DISABLE_SESSION__' })->{stdout} || '')
            =~ /yes/
    }, 30, 0.1);
}


# Exposes a port; the answer's JSON.
sub expose {
    my ($self, $id, $port, %o) = @_;

    return $self->api(POST => "/v1/sandbox/$id/ports",
        json => { port => $port, %o })->{json};
}


# preview($url, %http_options): the URL's host goes into Host.
sub preview {
    my ($self, $url, %o) = @_;
    my ($host, $path) = $url =~ m{^https?://([^/]+)(/.*)?$}
        or die "not a URL: $url";

    return http(port => $self->{port}, host => $host,
        path => $path || '/', %o, $self->patience(%o));
}


# The pid (outside) of a running sandbox's PID 1: the owner of the listening
# socket in our run directory whose hostname is the sandbox's.
sub sandbox_pid {
    my ($self, $id) = @_;

    return ($self->sandbox_run($id))[0];
}


# The pid, and the path of the socket.
sub sandbox_run {
    my ($self, $id) = @_;
    my %inode;

    for (split /\n/, slurp('/proc/net/unix') // '') {
        my @f = split ' ';

        $inode{$f[6]} = $f[7] if $f[7] && $f[3] eq '00010000'
            && index($f[7], "$self->{run}/s/") == 0;
    }

    my $path = sub {
        return map { (readlink($_) // '') =~ /^socket:\[(\d+)\]$/
            && $inode{$1} || () } glob "/proc/$_[0]/fd/*";
    };

    if ($self->{vm}) {
        my $keeper = Vm::keeper($self, $id) or return;

        return ($keeper, $path->($keeper));
    }

    for my $pid (map { m{/proc/(\d+)} } glob '/proc/[0-9]*') {
        next unless (slurp("/proc/$pid/status") // '')
            =~ /^NSpid:\t\d+(?:\t\d+)*\t1$/m;
        my ($at) = $path->($pid) or next;

        my ($status, $host) = run_command(
            ['nsenter', '-t', $pid, '-U', '-u', '--preserve-credentials',
             'hostname']);

        chomp($host //= '');
        return ($pid, $at) if $host eq $id;
    }

    return;
}


# Kills PID 1 of a sandbox that runs, and waits until nothing takes a connection
# in its place: its socket lives a moment longer than what can be seen of it.
sub kill_sandbox {
    my ($self, $id) = @_;
    my ($pid, $path);

    wait_for(sub { ($pid, $path) = $self->sandbox_run($id); $pid }, 20)
        or return;
    kill 'KILL', $pid;

    return wait_for(sub {
        return !process_alive($pid) && !IO::Socket::UNIX->new(Peer => $path);
    }, 20);
}


# Reloads, with conf => 1 from what is set by now, and waits until the old
# workers take nothing more.
sub reload {
    my ($self, %o) = @_;
    my @old = $self->nginx_workers;

    spew("$self->{ngx}/nginx.conf", $self->nginx_conf) if $o{conf};
    kill 'HUP', $self->{nginx};

    return wait_for(sub {
        !grep {
            (slurp("/proc/$_/cmdline") // '') =~ /worker process(?! is shut)/
        } @old;
    }, 15);
}


# Stops it all and tells (as tests) that nothing bad was logged or left.
sub stop {
    my ($self, %o) = @_;

    $self->{left}->note($self->{daemon}) unless $o{quiet};
    stop_process(delete $self->{nginx}, 'QUIT', 15) if $self->{nginx};
    stop_process(delete $self->{daemon}, 'TERM', 30) if $self->{daemon};

    return if $o{quiet};

    my $log = (slurp($self->{error_log}) // '')
        . (slurp("$self->{ngx}/stderr.log") // '');
    my @bad = grep { /\[(?:alert|emerg)\]|Sanitizer|runtime error|exited on signal/
                     && !($o{allow} && $_ =~ $o{allow}) }
        split /\n/, $log;

    Test::More::is("@bad[0 .. ($#bad > 4 ? 4 : $#bad)]", '',
        'nginx logged nothing bad');

    my @daemon_bad = grep { /Sanitizer|runtime error|assert/i }
        split /\n/, slurp($self->{daemon_log}) // '';

    Test::More::is("@daemon_bad", '', 'sandboxd logged nothing bad');
    Test::More::is(join(' ', $self->leftovers), '', 'nothing is left behind');
}


# Kills sandboxd as if by accident.
sub kill_daemon {
    my ($self) = @_;

    $self->{left}->note($self->{daemon});

    return stop_process(delete $self->{daemon}, 'KILL');
}


# What of it is still there: processes, namespaces, mounts, sockets, groups.
sub leftovers { return $_[0]{left}->list }

1;
