#!/usr/bin/perl

# The packages of `make deb`, on machines that run nginx already (a copy of this
# one, and Debian 12 and 13 with nothing else): installed,
# used, upgraded, removed and purged.  nginx serves its own site all the time,
# and in the end nothing is left.  PACKAGES_RELEASES chooses; PACKAGES_BUILT is
# a directory with packages of that release that are there already.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use CleanMachine;
use Digest::SHA qw(sha256_hex);
use Harness;
use Test::More;

alarm_after(5400);

plan skip_all => 'needs root to make a machine' if $> != 0;

my @names = qw(libnginx-mod-http-sandbox sandboxd sandbox-agent);

for my $release (split ' ', $ENV{PACKAGES_RELEASES} || 'this bookworm trixie') {
    my ($m, $why) = $release eq 'this' ? CleanMachine->copy
        : CleanMachine->make($release,
            packages => CleanMachine::packages($release));

    SKIP: {
        skip "$release: $why", 1 unless $m;
        $m->add_source;
        if ($ENV{PACKAGES_BUILT}) {
            mkdir "$m->{tree}/src/$_" for qw(build build/deb);
            system "cp $ENV{PACKAGES_BUILT}/*.deb $m->{tree}/src/build/deb";
        }
        check($m, $release);
        $m->halt if $m->{pid};
    }
}

# Everything that packages and their scripts may have left, but dpkg's memory.
sub files {
    my ($m) = @_;
    my (undef, $out) = $m->inside(q{
        find / /var/lib -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run \
            -o -path /tmp -o -path /src -o -path /root \
            -o -path /work -o -path /usr/local -o -path /home -o -path /opt \
            -o -path /var/tmp -o -path /var/lib/apt -o -path /var/cache \
            -o -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/nginx \
            \) -prune -o -print | grep -vE '^/etc/(passwd|group|g?shadow)-$|\
^/etc/.pwd.lock$|^/var/lib/systemd$|/__pycache__' | sort; getent group
        find /run -mindepth 1 | grep -vE '^/run/(up|nginx.pid|adduser)$'});

    return $out;
}

sub check {
    my ($m, $release) = @_;
    my $try = sub {
        my ($script, $what, %o) = @_;
        my ($status, $out, $err) = $m->inside($script, %o);

        is($status, 0, "$release: $what")
            or diag(substr($out // '', -2000), substr($err // '', -2000));

        return ($out // '') . ($err // '');
    };
    my $site = sub {
        my (undef, $out) = $m->inside('curl -s -o /dev/null -w %{http_code}'
            . ' http://127.0.0.1/');

        is($out, '200', "$release: nginx serves its site $_[0]");
    };

    my ($status, $out, $err) = $ENV{PACKAGES_BUILT}
        ? $m->run("ls /src/build/deb/*.deb")
        : $m->run('cd /src && nice make deb 2>&1', timeout => 3600);
    is($status, 0, "$release: make deb") or return diag($out, $err);

    my @debs = map { m{build/deb/(\S+\.deb)$}m } split /\n/, $out;
    is(scalar(grep { !/dbgsym/ } @debs), 3, 'three packages') or diag($out);
    my ($version) = $out =~ /sandboxd_([^_]+)_/;

    ok($m->boot, 'the machine is up');
    $try->('nginx', 'nginx runs');
    $site->('before');
    my $before = files($m);

    # ---- what they are

    $out = $try->('cd /src/build/deb && for d in *.deb; do dpkg-deb -I $d; '
        . 'dpkg-deb -c $d; done', 'the packages can be read');
    my ($version_of_nginx) = ($m->inside('nginx -v'))[2] =~ m{nginx/([\d.]+)};
    like($out, qr/^ Depends:.*\bnginx-abi-\Q$version_of_nginx\E-\d+/m,
        "$release: the module needs this nginx");
    like($out, qr/^ Built-Using: .*libuv1 \(= /m, 'what the agent holds');
    unlike($out, qr{^\S+ (?!root/root)\S+ }m, 'all files are root\'s');

    # ---- install

    my $list = join ' ', map { "/src/build/deb/${_}_*.deb" } @names;

    $try->("dpkg -i $list", 'they are installed', timeout => 600);
    $site->('with the module installed');
    $try->('nginx -t', 'nginx takes its configuration');
    like($try->('readlink /etc/nginx/modules-enabled/*-mod-http-sandbox.conf',
        'the module is enabled'),
        qr{^/usr/share/nginx/modules-available/mod-http-sandbox\.conf$}m,
        'by a link');
    like($try->('nginx -T 2>&1 | grep load_module', 'and loaded'),
        qr{modules/ngx_http_sandbox_module\.so});
    is(($m->inside('stat -c %a:%U:%G:%s /etc/sandboxd/secret'))[1],
        "600:root:root:65\n", "$release: the secret is root's");
    like(($m->inside('id -nG www-data'))[1], qr/\bsandboxd\b/,
        'nginx\'s workers may open the socket');
    like(($m->inside('man -w sandboxd 2>/dev/null; ls /usr/share/man/man8/'
        . 'sandboxd.8.gz /usr/share/man/man1/sandbox-agent.1.gz'))[1],
        qr/sandboxd.*sandbox-agent/s, 'manual pages');
    is(($m->inside('sandbox-agent --version'))[0], 0, 'the agent runs');

    # ---- the unit

    my $unit = ($m->inside('cat /lib/systemd/system/sandboxd.service'
        . ' 2>/dev/null || cat /usr/lib/systemd/system/sandboxd.service'))[1];
    my ($condition) = $unit =~ /^ExecCondition=\S+ -c '(.*)'$/m;
    my ($exec) = $unit =~ /^ExecStart=(.*)$/m;
    my ($caps) = $unit =~ /^CapabilityBoundingSet=(.*)$/m;
    my $default = '. /etc/default/sandboxd; export SANDBOXD_OPTIONS; ';

    ok($condition && $exec && $caps, 'a unit') or return diag($unit);
    spew("$m->{tree}/root/condition", "$condition\n");
    isnt(($m->inside($default . 'sh /root/condition'))[0], 0,
        "$release: without an image sandboxd isn't started");
    $m->inside('sed -i \'s/^SANDBOXD_OPTIONS=.*/SANDBOXD_OPTIONS="--dev"/\''
        . ' /etc/default/sandboxd');
    $try->($default . 'sh /root/condition', 'with one it is');

    $caps = join ',', '-all', map { s/^CAP_//r =~ tr/A-Z/a-z/r =~ s/^/+/r }
        split ' ', $caps;
    my $start = $default . "setpriv --no-new-privs --bounding-set $caps "
        . "setsid $exec >>/var/log/sandboxd.log 2>&1 & "
        . 'for i in $(seq 200); do [ -S /run/sandboxd/control.sock ] && break;'
        . ' sleep 0.1; done; [ -S /run/sandboxd/control.sock ]';

    $try->($start, 'sandboxd runs with the unit\'s command and capabilities');
    diag(($m->inside('cat /var/log/sandboxd.log'))[1])
        unless -S "/proc/$m->{init}/root/run/sandboxd/control.sock";
    is(($m->inside('stat -c %a:%U:%G /run/sandboxd/control.sock'))[1],
        "660:root:sandboxd\n", "$release: its socket");

    # ---- a preview

    spew("$m->{tree}/etc/nginx/sandbox-keys", sha256_hex('a key') . " k\n",
        0600);
    spew("$m->{tree}/etc/nginx/conf.d/sandbox.conf", <<'END');
sandbox_zone name=sandboxes 16m;
sandbox_daemon unix:/run/sandboxd/control.sock secret=/etc/sandboxd/secret;
server_names_hash_bucket_size 128;
upstream sandboxes { sandbox; sandbox_keepalive 16; }
server {
    listen 8080;
    server_name *.localhost;
    sandbox_preview localhost;
    location / { include sandbox_proxy.conf; proxy_pass http://sandboxes; }
}
server {
    listen 8080;
    server_name api.test;
    sandbox_api on;
    sandbox_api_keys /etc/nginx/sandbox-keys;
    location / { include sandbox_proxy.conf; proxy_pass http://sandboxes; }
}
END
    $try->('nginx -t && nginx -s reload', 'nginx takes a sandbox');
    $try->('for i in $(seq 100); do curl -sf -H "Host: api.test" '
        . 'http://127.0.0.1:8080/health && exit; sleep 0.2; done; exit 1',
        'the API is healthy');

    my $api = 'curl -s -m 60 -H "Host: api.test" -H "Authorization: Bearer a '
        . 'key" http://127.0.0.1:8080/v1/sandbox/deb';
    $api =~ s/a key/akey/;
    spew("$m->{tree}/etc/nginx/sandbox-keys", sha256_hex('akey') . " k\n",
        0600);
    $try->('nginx -s reload; sleep 1', 'a key');
    $try->("$api/api/process/start -d '"
        . '{"command":"cd /workspace && echo hello >index.html && '
        . "exec python3 -m http.server 8000\"}'", 'a server inside');
    my $host = $try->("$api/ports -d '{\"port\":8000}'", 'a preview')
        =~ m{//([^/:"]+)} ? $1 : 'none';
    my $preview = 'for i in $(seq 50); do curl -sf -m 20 -H "Host: ' . $host
        . '" http://127.0.0.1:8080/ && exit; sleep 0.2; done; exit 1';

    is($try->($preview, 'it answers'), "hello\n", "$release: a preview")
        or diag(($m->inside('cat /var/log/sandboxd.log; tail -n 30'
            . ' /var/log/nginx/error.log'))[1]);
    $site->('beside the sandboxes');

    # ---- upgrade

    my $next = $version =~ s/^([\d.]+)/$1.1/r;
    $try->("set -e; mkdir -p /tmp/next; cd /tmp/next; for p in @names; do "
        . 'dpkg-deb -R /src/build/deb/${p}_*.deb $p; '
        . "sed -i 's/$version/$next/g' \$p/DEBIAN/control; "
        . 'dpkg-deb -b $p . >/dev/null; done', 'the next version',
        timeout => 600);
    my $old = ($m->inside('cat /etc/sandboxd/secret; pgrep -o sandbox-agent'))[1];
    $try->('dpkg -i /tmp/next/*.deb', 'the upgrade', timeout => 600);
    is(($m->inside('dpkg-query -W -f \'${Version}\' sandboxd'))[1], $next,
        "$release: upgraded");
    # What systemd does in the package's postinst.
    $try->('pkill -x sandboxd; for i in $(seq 100); do pgrep -x sandboxd '
        . '>/dev/null || break; sleep 0.1; done; ' . $start,
        'the new sandboxd starts');
    is($try->($preview, 'the preview goes on'), "hello\n",
        "$release: the preview survived");
    is(($m->inside('cat /etc/sandboxd/secret; pgrep -o sandbox-agent'))[1],
        $old, 'with the same secret and the same sandbox');
    like(($m->inside('cat /etc/default/sandboxd'))[1], qr/"--dev"/,
        'the administrator\'s settings are kept');
    $site->('after the upgrade');

    # ---- remove: nginx goes on with what it has in memory

    $try->('pkill -x sandboxd; sleep 1; dpkg -r ' . join(' ', @names),
        'they are removed', timeout => 600);
    is(($m->inside('pgrep -f sandbox-agent'))[1], '',
        "$release: no sandbox is left running");
    $site->('without the packages');
    $try->('rm /etc/nginx/conf.d/sandbox.conf /etc/nginx/sandbox-keys; '
        . 'nginx -t && nginx -s reload', 'nginx does without the module');
    $site->('reloaded');
    ok(-e "$m->{tree}/var/lib/sandboxd", 'records are kept till the purge');

    # ---- purge

    $try->('dpkg -P ' . join(' ', @names), 'they are purged', timeout => 600);
    $site->('at last');
    my %was = map { $_ => 1 } split /\n/, $before;
    is_deeply([grep { !$was{$_} } split /\n/, files($m)], [],
        "$release: nothing is left");
}

done_testing();
