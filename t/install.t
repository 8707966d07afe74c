#!/usr/bin/perl

# What `make install` puts where, and that nginx takes the module from there.
# (not with the sanitizers: it installs the plain programs)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Test::More;

alarm_after(120);

my $dir = tmp_dir();
my ($status, $out, $err) = run_command(['make', '--no-print-directory',
    'install', "DESTDIR=$dir/root", 'PREFIX=/usr'], cwd => top_dir(),
    timeout => 100);

is($status, 0, 'make install') or diag($err);

my %mode = ('sbin/sandboxd' => 0755, 'lib/sandboxd/sandbox-agent' => 0755,
    'lib/nginx/modules/ngx_http_sandbox_module.so' => 0644,
    'share/sandboxd/sandbox_proxy.conf' => 0644,
    'share/sandboxd/kernel.sh' => 0755, 'share/sandboxd/image.sh' => 0755,
    'share/sandboxd/image-store.sh' => 0755,
    'share/sandboxd/kernel-build.sh' => 0755,
    'share/sandboxd/kernel.config' => 0644);

for my $file (sort keys %mode) {
    is(((stat "$dir/root/usr/$file")[2] // 0) & 07777, $mode{$file}, $file);
}

spew("$dir/nginx.conf", "load_module "
    . "$dir/root/usr/lib/nginx/modules/ngx_http_sandbox_module.so;\n"
    . "pid $dir/pid;\nerror_log stderr;\nevents { }\n");
($status, $out, $err) = run_command(['/usr/sbin/nginx', '-t', '-p', "$dir/",
    '-e', "$dir/e.log", '-c', "$dir/nginx.conf"]);
is($status, 0, 'nginx loads it') or diag($err);

($status, $out) = run_command(["$dir/root/usr/sbin/sandboxd", '--version']);
like($out, qr/^sandboxd \d/, 'sandboxd runs');
($status, $out) = run_command(["$dir/root/usr/sbin/sandboxd", 'image',
    '--help']);
like($out, qr/^usage: sandboxd image/, 'and finds what makes images');
($status, $out) = run_command(["$dir/root/usr/lib/sandboxd/sandbox-agent",
    '--version']);
like($out, qr/^sandbox-agent \d/, 'so does the agent');

# README's configuration, with the paths of this installation.
my ($readme) = slurp(top_dir() . '/README.md')
    =~ /## In an existing nginx\n\n```nginx\n(.*?)```/s;

ok($readme, 'README has a configuration');
spew("$dir/secret", 's' x 64 . "\n", 0600);
$readme =~ s{load_module modules/}{load_module $dir/root/usr/lib/nginx/modules/};
$readme =~ s{/etc/sandboxd/secret}{$dir/secret};
$readme =~ s{include sandbox_proxy}{include $dir/root/usr/share/sandboxd/sandbox_proxy};
$readme =~ s/http \{/http {\n    proxy_temp_path $dir\/t1; client_body_temp_path $dir\/t2;
    fastcgi_temp_path $dir\/t3; uwsgi_temp_path $dir\/t4; scgi_temp_path $dir\/t5;
    access_log off;/;
spew("$dir/readme.conf", "pid $dir/pid;\nerror_log stderr;\n$readme\nevents { }\n");
($status, $out, $err) = run_command(['/usr/sbin/nginx', '-t', '-p', "$dir/",
    '-e', "$dir/e.log", '-c', "$dir/readme.conf"]);
is($status, 0, 'and nginx takes it') or diag($err);

# ---- what the packages install is there when they are built

my ($copied) = slurp(top_dir() . '/scripts/deb.sh')
    =~ /^cp -a ((?:.*\\\n)*.*) "\$copy"$/m;
my %copied = map { $_ => 1 } split /[\s\\]+/, $copied // '';
my @lines = grep { /\S/ } map { split /\n/, slurp($_) }
    glob top_dir() . '/debian/*.install';
my @missing = grep { !m{^debian/} && (!$copied{(split '/')[0]}
    || !-e top_dir() . "/$_") } map { (split ' ')[0] } @lines;

cmp_ok(scalar @lines, '>', 3, 'the packages install files');
is("@missing", '', 'which are in the tree that they are built from');

done_testing();
