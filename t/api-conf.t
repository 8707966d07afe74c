#!/usr/bin/perl

# What `nginx -t` says of the control API's configuration.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Test::More;

alarm_after(60);

my $dir = tmp_dir();
my $digest = sha256_hex('a key');

mkdir "$dir/tmp";
spew("$dir/secret", 's' x 40, 0600);
spew("$dir/good", "# one key\n\n$digest laptop\r\n  " . sha256_hex('b')
    . "\tci  \n", 0600);

# conf_test(API SERVER, PREVIEW SERVER): (accepted, what nginx said)
sub conf_test {
    my ($api, $preview) = @_;
    my $module = build_dir() . '/ngx_http_sandbox_module.so';
    my $temp = join '', map { "${_}_temp_path $dir/tmp/$_;\n" }
        qw(client_body proxy fastcgi uwsgi scgi);
    my $port = free_port();

    $preview = $preview ? "server { listen 127.0.0.1:$port; $preview }" : '';
    spew("$dir/nginx.conf", <<"EOC");
load_module $module;
pid $dir/nginx.pid;
error_log $dir/error.log;
events {}
http {
    $temp
    access_log off;
    sandbox_zone name=sandboxes 1m;
    sandbox_daemon unix:$dir/control.sock secret=$dir/secret;
    upstream sandboxes { sandbox; }
    server { listen 127.0.0.1:$port; $api
        location / { proxy_pass http://sandboxes; } }
    $preview
}
EOC
    my ($status, $out, $err) = run_command([
        $ENV{SANDBOX_NGINX} || '/usr/sbin/nginx', '-t', '-p', "$dir/", '-e',
        "$dir/error.log", '-c', "$dir/nginx.conf"], env => { san_env() });

    return ($status == 0, ($out // '') . ($err // ''));
}

sub refused {
    my ($what, $want, $api, $preview) = @_;
    my ($ok, $said) = conf_test($api, $preview);

    ok(!$ok, "$what: refused");
    like($said, $want, '... and why');
}

my $names = 'server_name api.example.com;';
my $keys = "sandbox_api_keys $dir/good;";

my ($ok, $said) = conf_test("$names sandbox_api on; $keys");
ok($ok, 'keys and a name') or diag($said);
unlike($said, qr/\[(?:warn|notice)\]/, 'nothing to warn of');

# ---- keys

refused('no keys', qr/no API without a key/, "$names sandbox_api on;");
refused('no file', qr/nowhere.*failed/,
    "$names sandbox_api on; sandbox_api_keys $dir/nowhere;");
refused('a directory', qr/no file of keys/,
    "$names sandbox_api on; sandbox_api_keys $dir;");
refused('keys twice', qr/duplicate/, "$names sandbox_api on; $keys $keys");

for my $case (['', qr/no key in/, 'an empty file'],
    ["# nothing\n", qr/no key in/, 'only a comment'],
    ["$digest\n", qr/needs a name/, 'no name'],
    [substr($digest, 1) . " x\n", qr/hexadecimal/, '63 digits'],
    ['g' x 64 . " x\n", qr/hexadecimal/, 'no digits'],
    ["a key in clear\n", qr/SHA-256/, 'a key in clear'],
    ["$digest a b\n", qr/options are/, 'a blank in a name'],
    ["$digest " . 'x' x 65 . "\n", qr/1 to 64/, 'a long name'],
    ["$digest a\n$digest b\n", qr/second time.*:2/, 'a key twice'],
    ["$digest a\n\xff\n", qr/"[^"]*bad":2/, 'garbage in line 2'],
    [join('', map { sha256_hex($_) . " k$_\n" } 1 .. 1025),
        qr/more than 1024/, '1025 keys'])
{
    my ($text, $want, $what) = @$case;

    spew("$dir/bad", $text, 0600);
    refused($what, $want,
        "$names sandbox_api on; sandbox_api_keys $dir/bad;");
}

($ok, $said) = conf_test("$names sandbox_api on; sandbox_api_keys good;");
ok($ok, 'a relative path is one beside nginx.conf') or diag($said);

# ---- names

refused('no name', qr/exact "server_name"/, "sandbox_api on; $keys");
refused('a wildcard alone', qr/exact "server_name"/,
    "server_name *.example.com; sandbox_api on; $keys");
refused('an expression alone', qr/exact "server_name"/,
    "server_name ~^api; sandbox_api on; $keys");
refused('a preview in the same server', qr/must not answer on a preview domain/,
    "$names sandbox_preview sbx.example.net; sandbox_api on; $keys");

# ---- domains

for my $case (
    ['api.example.com', 'sbx.example.com', 'warn', 'one domain'],
    ['example.com', 'example.com', 'warn', 'the same name'],
    ['localhost', 'localhost', '', 'localhost'],
    ['api.example.com', 'sbx.example.net', '', 'two domains'],
    ['127.0.0.1', 'localhost', '', 'an address'],
    ['10.0.0.1', '0.0.1', '', 'an address that ends alike'])
{
    my ($api, $domain, $level, $what) = @$case;

    ($ok, $said) = conf_test("server_name $api; sandbox_api on; $keys",
        "server_name *.$domain; sandbox_preview $domain;");

    my @lines = $said =~ /\[(\w+)\][^\n]*share the domain/g;

    ok($ok, "$what: accepted") or diag($said);
    is("@lines", $level, '... ' . ($level || 'without a word'));
}

done_testing();
