package Example;

# nginx with a configuration of conf-examples/ as it stands: only paths, ports
# and the user are replaced by ones of the test.
#
#   my $x = Example->new('edge-tls.conf', $system,
#       certificates => { 'www.example.com' => 'DNS:www.example.com' },
#       replace => { '10.0.0.0/8' => '127.0.0.1' });
#   $x->start;
#   my $r = $x->curl('api.example.com', '/v1/sandbox', @arguments);
#
# $x->{https} and $x->{http} are the ports that stand for 443 and 80.

use strict;
use warnings;

use Harness;
use Test::More ();


sub new {
    my ($class, $name, $system, %o) = @_;
    my $dir = tmp_dir();
    my $top = top_dir();
    my $self = bless { name => $name, s => $system, dir => $dir,
        https => free_port(), http => free_port() }, $class;

    chmod 0755, $dir;
    mkdir "$dir/$_" for qw(tls html log tmp sites);
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'www-data')[2, 3];

        chown $uid, $gid, "$dir/tmp" if defined $uid;
    }
    $self->certificate($_, $o{certificates}{$_})
        for sort keys %{ $o{certificates} || {} };
    spew("$dir/tls/all.pem", join '', map { slurp($_) } glob "$dir/tls/*.pem");

    my %must = ('modules/ngx_http_sandbox_module.so' =>
            build_dir() . '/ngx_http_sandbox_module.so',
        'user www-data;' => $> == 0 ? 'user www-data;' : '',
        '/run/nginx.pid' => "$dir/nginx.pid",
        '/var/log/nginx/' => "$dir/log/",
        '/run/sandboxd/control.sock' => "$system->{run}/control.sock",
        '/etc/sandboxd/secret' => $system->{secret},
        '/etc/nginx/sandbox-keys' => "$system->{dir}/keys",
        '/etc/nginx/sandbox_proxy.conf' =>
            "$top/conf-examples/sandbox_proxy.conf",
        %{ $o{replace} || {} });
    my %may = ('/etc/nginx/tls/' => "$dir/tls/", '/var/www/html' =>
            "$dir/html", '/etc/nginx/sites-enabled/' => "$dir/sites/",
        'listen 80;' => "listen 127.0.0.1:$self->{http};",
        'listen 80 ' => "listen 127.0.0.1:$self->{http} ",
        'listen 443 ' => "listen 127.0.0.1:$self->{https} ");
    my $conf = slurp("$top/conf-examples/$name");

    for my $from (sort keys %must) {
        Test::More::ok($conf =~ s/\Q$from\E/$must{$from}/g,
            "$name has $from");
    }
    $conf =~ s/\Q$_\E/$may{$_}/g for sort keys %may;

    # Where nginx was built to keep bodies is the system's, not ours.
    my $temp = join '', map { "${_}_temp_path $dir/tmp/$_;\n" }
        qw(client_body proxy fastcgi uwsgi scgi);
    $conf =~ s/^http \{\n/http {\n$temp/m;
    spew("$dir/nginx.conf", "daemon off;\n$conf");

    return $self;
}


sub certificate {
    my ($self, $name, $names) = @_;
    my ($cn) = $name =~ m{([^/]+)$};
    my ($status, undef, $err) = run_command(['openssl', 'req', '-x509',
        '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
        '-days', '2', '-subj', "/CN=$cn", '-addext',
        "subjectAltName=$names", '-keyout', "$self->{dir}/tls/$name.key",
        '-out', "$self->{dir}/tls/$name.pem"]);

    $status == 0 or die "openssl: $err";
}


sub start {
    my ($self) = @_;
    my $dir = $self->{dir};
    my @nginx = ($ENV{SANDBOX_NGINX} || '/usr/sbin/nginx', '-p', "$dir/",
        '-e', "$dir/log/error.log", '-c', "$dir/nginx.conf");
    my ($status, undef, $said) = run_command([@nginx, '-t'],
        env => { san_env() });

    Test::More::is($status, 0, "$self->{name}: nginx takes it")
        or Test::More::diag($said);
    Test::More::unlike($said, qr/share the domain/,
        "$self->{name}: the API and previews share no domain");

    $self->{error_log} = "$dir/log/error.log";
    $self->{nginx} = start_process(cmd => \@nginx, log => "$dir/stderr.log",
        env => { san_env() });

    my ($port) = slurp("$dir/nginx.conf") =~ /listen 127\.0\.0\.1:(\d+)/;
    my $up = wait_for(sub {
        # The health of the API needs the zone, and so do previews.
        http_connect(port => $port)
            && (slurp($self->{error_log}) // '') !~ /\[emerg\]/
    }, 20);

    Test::More::ok($up, "$self->{name}: it starts")
        or Test::More::diag(slurp("$dir/stderr.log"),
            slurp($self->{error_log}));
    $self->healthy if $up;

    return $self;
}


# Whether the worker that answers is connected to sandboxd.
sub healthy {
    my ($self) = @_;

    return wait_for(sub {
        my $r = $self->curl('api.example.com', '/health');

        return ($r->{json} || {})->{ok};
    }, 20, 0.1);
}


# By HTTPS if the example has it, else by HTTP:
# { rc, err, status, version, body, json, headers }
sub curl {
    my ($self, $host, $path, @args) = @_;
    my $tls = slurp("$self->{dir}/nginx.conf") =~ /:$self->{https} / ? 1 : 0;
    my $port = $tls ? $self->{https} : $self->{http};
    my $head = "$self->{dir}/head";
    my ($rc, $out, $err) = run_command(['curl', '-sS', '-m', '60', '-D', $head,
        '--cacert', "$self->{dir}/tls/all.pem", '--resolve',
        "$host:$port:127.0.0.1", '-w', '\n%{http_code} %{http_version}',
        @args, ($tls ? 'https' : 'http') . "://$host:$port$path"],
        timeout => 70);
    my ($body, $code, $version) = ($out // '') =~ /^(.*)\n(\d+) (\S+)$/s;
    my %headers = (slurp($head) // '') =~ /^([\w-]+): (.*?)\r?$/mg;

    return { rc => $rc, err => $err, body => $body, status => $code // 0,
             version => $version // '', json => json_decode($body // ''),
             headers => { map { lc $_ => $headers{$_} } keys %headers } };
}


# A call of the API with the system's key.
sub api {
    my ($self, $path, @args) = @_;

    return $self->curl('api.example.com', "/v1/sandbox$path", '-H',
        "Authorization: Bearer $self->{s}{key}", @args);
}


# A program that listens inside a new sandbox, and its preview's URL.
sub preview {
    my ($self, $id, $command, %expose) = @_;

    $self->api("/$id/api/process/start", '-d',
        json_encode({ command => $command }));

    my $r = $self->api("/$id/ports", '-d',
        json_encode({ port => 8000, %expose }));

    Test::More::ok($r->{json}{url}, "$self->{name}: a preview of $id")
        or Test::More::diag($r->{body}, slurp($self->{error_log}));

    return $r->{json}{url} // 'http://none/';
}


# The host of a URL, once its preview answers a path with a status.
sub wait_for_preview {
    my ($self, $url, $path, $status, @args) = @_;
    my ($host) = $url =~ m{//([^:/]+)};
    my $r;

    Test::More::ok(wait_for(sub {
        ($r = $self->curl($host, $path, @args))->{status} == $status
    }, 30, 0.1), "$self->{name}: it answers")
        or Test::More::diag($r->{status}, $r->{err}, $r->{body});

    return $host;
}


sub stop {
    my ($self) = @_;

    stop_process(delete $self->{nginx}, 'QUIT', 30) if $self->{nginx};

    my @bad = grep { /\[(?:alert|emerg)\]|Sanitizer|runtime error|on signal/ }
        split /\n/, (slurp("$self->{dir}/log/error.log") // '')
            . (slurp("$self->{dir}/stderr.log") // '');

    Test::More::is("@bad", '', "$self->{name}: nothing alarming in the log");
}

1;
