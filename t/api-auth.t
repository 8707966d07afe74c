#!/usr/bin/perl

# Who may ask: tokens that others sign, too many wrong keys, and what of all
# that reaches the inside (nothing).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256 sha256_hex);
use Edge;
use Harness;
use MIME::Base64 qw(encode_base64url);
use Test::More;
use Time::HiRes qw(sleep time);

my $dir = tmp_dir();
my $secret = 'a secret of at least 32 bytes, really';
my @group = $> == 0 ? (getgrnam 'www-data')[2] : ();


sub put {
    my ($name, $text) = @_;
    my $new = spew("$dir/$name.new", $text, 0640);

    chown 0, $group[0], $new if @group;
    rename $new, "$dir/$name";
}

sub rsa {
    my ($name) = @_;

    run_command(['openssl', 'genrsa', '-out', "$dir/$name.key", '2048']);
    my (undef, $public) = run_command(['openssl', 'rsa', '-in',
        "$dir/$name.key", '-pubout']);

    return $public;
}

sub token {
    my ($alg, $key, %claims) = @_;
    my $text = join '.', map { encode_base64url(json_encode($_)) }
        { alg => $alg, typ => 'JWT' },
        { iss => 'https://id.test', aud => 'sandboxes', tenant => 'acme',
          exp => int(time()) + 60, scope => 'read exec manage',
          sub => 'ann', %claims };
    my $sig = '';

    if ($alg eq 'HS256') {
        $sig = hmac_sha256($text, $key);
    } elsif ($alg eq 'RS256') {
        spew("$dir/text", $text);
        (undef, $sig) = run_command(['openssl', 'dgst', '-sha256', '-sign',
            "$dir/$key.key", "$dir/text"]);
    }

    return "$text." . encode_base64url($sig);
}

put('secret', "$secret\n");
put('public.pem', rsa('one'));
my $second = rsa('two');

my $e = Edge->new(workers => 2, api_conf => <<"EOC");
        sandbox_api_jwt issuer=https://id.test audience=sandboxes
            secret=$dir/secret key=$dir/public.pem starts=60;
        sandbox_auth_limit rate=30r/m burst=5;
        access_log $dir/access.log keys;
EOC
$e->{http_conf} = "log_format keys '\$status \$sandbox_tenant \$sandbox_key'; "
    . 'large_client_header_buffers 4 32k;';
my $alone = free_port();
$e->{more_servers} = <<"EOC";
    server {
        listen 127.0.0.1:$alone;
        server_name api.test also.test *.wild.test;
        sandbox_api on;
        sandbox_api_keys $e->{dir}/keys;
        location / {
            include @{[ top_dir() ]}/conf-examples/sandbox_proxy.conf;
            proxy_pass http://sandboxes;
        }
    }
EOC
$e->daemon;
my $sum = 7;
$sum = ($sum * 33 + ord) % 2**25 for split //, 'acme';
my $prefix = 't' . join '', map {
    ('a' .. 'z', 2 .. 7)[($sum >> 5 * $_) & 31] } 0 .. 4;
$e->agent(1, id => "$prefix-box");
$e->agent(2, id => 'box');
$e->start;


my $from = 1;

# Each test of wrong keys is a client of its own.
sub ask {
    my ($bearer, %o) = @_;

    return http(port => $e->{port}, host => 'api.test',
        path => $o{path} // '/v1/sandbox/box/api/version',
        method => $o{method} // 'GET',
        local => $o{from} // '127.0.1.' . $from++,
        headers => { Authorization => "Bearer $bearer" });
}

# ---- hosts -----------------------------------------------------------------

# This server gets whatever comes to its port: the API answers to its own exact
# names alone, and does nothing under others.
sub on {
    my ($host, $path) = @_;

    return http(port => $alone, host => $host, path => $path,
        headers => { Authorization => "Bearer $Edge::KEY" });
}

for my $path ('/v1/sandbox/box/api/version', '/v1/sandbox', '/v1/openapi.json') {
    is(on($_, $path)->{status}, 200, "$path at $_")
        for 'api.test', 'also.test', "API.TEST:$alone", 'api.test.';

    for my $host ('evil.test', "127.0.0.1:$alone", 'localhost', 'x.wild.test',
        'x.api.test', '8000-box1-tok.preview.test')
    {
        my $r = on($host, $path);

        is("$r->{status} $r->{json}{code}", '421 misdirected_request',
            "$path at $host");
    }
}

# ---- tokens ----------------------------------------------------------------

my $r = ask(token('HS256', $secret));
is($r->{status}, 200, 'a token of HS256') or diag($r->{body});
is($r->{json}{name}, "$prefix-box", 'leads to its tenant\'s sandbox');
is(ask(token('RS256', 'one'))->{status}, 200, 'one of RS256');
is(ask($Edge::KEY)->{json}{name}, 'box', 'a key, beside, to its own');
like(slurp("$dir/access.log"), qr/^200 acme jwt:ann$/m,
    'the log has the subject and the tenant');

for my $case (
    ['an expired one', token('HS256', $secret, exp => time() - 31)],
    ['one without exp', token('HS256', $secret, exp => undef)],
    ['of another issuer', token('HS256', $secret, iss => 'https://id2.test')],
    ['for another audience', token('HS256', $secret, aud => 'app')],
    ['of no tenant', token('HS256', $secret, tenant => undef)],
    ['of a wrong secret', token('HS256', "$secret.")],
    ['of another key', token('RS256', 'two')],
    ['without a signature', token('none')],
    ['signed with the public key', token('HS256', slurp("$dir/public.pem"))],
    ['too long', token('HS256', $secret, x => 'x' x 6500)])
{
    my $answer = ask($case->[1]);

    (my $said = $answer->{body}) =~ s/,"timestamp":.*//;
    is("$answer->{status} $said", '401 {"error":"Unauthorized",'
        . '"code":"unauthorized","message":"Unauthorized","context":{},'
        . '"httpStatus":401', "$case->[0] is refused, like any other");
}

is(ask(token('HS256', $secret, scope => 'read'), method => 'DELETE',
    path => '/v1/sandbox/box')->{status}, 403, 'its scopes are what it says');
is(ask(token('HS256', $secret, scope => 'read admin'),
    path => '/v1/sandbox?tenant=x')->{status}, 403,
    'admin is none without admin=on');
is(ask(token('HS256', $secret, scope => undef),
    path => '/v1/sandbox')->{status}, 403, 'and none are none');

# ---- a private preview -----------------------------------------------------

# Tokens and keys open it as they do the API, those of its tenant alone.  To
# all others it is a name that isn't known.  (Zones are told of tenants.)
$e->daemon->event({ kind => 'tenant', name => 'acme', prefix => $prefix });
$e->daemon->expose(slot => $_->[0], port => 8001, label => $_->[1],
    access => 'private') for [1, '8001-acme'], [2, '8001-own'];

sub visit {
    my ($label, $bearer) = @_;

    return http(port => $e->{port}, host => "$label.preview.test",
        local => '127.0.1.' . $from++,
        headers => { Authorization => "Bearer $bearer" });
}

my $strange = visit('8001-nobody', token('HS256', $secret));
is($strange->{status}, 404, 'an unknown name');
is(visit('8001-acme', token('HS256', $secret))->{json}{name}, "$prefix-box",
    'a token of its tenant\'s opens a private preview');
is(visit('8001-acme', token('RS256', 'one'))->{status}, 200, 'one of RS256');
is(visit('8001-own', $Edge::KEY)->{json}{name}, 'box', 'a key of its tenant');

for my $case (['a token of another tenant', '8001-own', token('HS256', $secret)],
    ['a key of another tenant', '8001-acme', $Edge::KEY],
    ['an expired token', '8001-acme',
        token('HS256', $secret, exp => time() - 31)],
    ['one with another secret', '8001-acme', token('HS256', "$secret.")])
{
    my $answer = visit(@$case[1, 2]);

    is("$answer->{status} $answer->{body}", "404 $strange->{body}",
        "$case->[0]: as of an unknown name");
}

is(visit('8001-acme', token('HS256', $secret, scope => 'read'))->{status}, 403,
    'its scopes have to let it inside');

# ---- another's sandbox, and nobody's ---------------------------------------

# What sandboxd is asked on the way to an answer.
sub questions {
    my ($id) = @_;
    my $before = $e->daemon->stats->{calls};
    my $answer = ask(token('HS256', $secret),
        path => "/v1/sandbox/$id/api/version");
    my $after = $e->daemon->stats->{calls};

    return join ' ', $answer->{status}, map { "$_:" . ($after->{$_}
        - ($before->{$_} // 0)) } grep { $_ ne 'ack' && $_ ne 'idle' }
        sort keys %$after;
}

$e->daemon->fault(start_error => { code => 'not_found', status => 404,
    message => 'there is no such sandbox' });
my ($other, $nobody) = (questions('box2'), questions('box3'));
$e->agent(3, id => 'box2');
is(questions('box2'), $nobody, 'another\'s sandbox costs the questions that '
    . 'nobody\'s does');
is($other, $nobody, '... and did so before it was there');
like($nobody, qr/^404 .*start:1/, '... which is one');
$e->daemon->fault(start_error => undef);

# ---- what gets inside ------------------------------------------------------

my $ours = token('HS256', $secret);
my $theirs = token('HS256', 'z' x 40, aud => 'app');
ask($ours);
unlike($e->{agents}{1}->log, qr/\Q$ours\E/, 'a token stays outside');
$e->get('8000-box-tok.preview.test', '/', headers => {
    Authorization => "Bearer $ours" });
unlike($e->{agents}{2}->log, qr/\Q$ours\E/, '... of previews, too');
my $expired = token('HS256', 'y' x 40, exp => 1);
$e->get('8000-box-tok.preview.test', '/', headers => {
    Authorization => "Bearer $expired" });
unlike($e->{agents}{2}->log, qr/\Q$expired\E/, '... even if it is no more');
$e->get('8000-box-tok.preview.test', '/', headers => {
    Authorization => "Bearer $theirs" });
like($e->{agents}{2}->log, qr/\Q$theirs\E/,
    'an app gets its own tokens, of the same issuer');

# ---- keys that change ------------------------------------------------------

put('public.pem', $second);
ok(wait_for(sub { ask(token('RS256', 'two'))->{status} == 200 }, 10, 0.3),
    'another public key is taken without a reload');
ok(wait_for(sub { ask(token('RS256', 'one'))->{status} == 401 }, 10, 0.3),
    'and the old one is not');
put('public.pem', "-----BEGIN PUBLIC KEY-----\nbroken\n");
ok(wait_for(sub { $e->logged(qr/public\.pem" is no file of keys/) }, 10),
    'a broken file is reported');
is(ask(token('RS256', 'two'))->{status}, 200, '... and changes nothing');

# ---- too many wrong keys ---------------------------------------------------

my $at = '127.0.2.1';
is(ask($Edge::KEY, from => $at)->{status}, 200, 'a key that is right');
my @status = map { ask("wrong$_", from => $at)->{status} } 1 .. 5;
is("@status", '401 401 401 401 401', 'five wrong ones');
$r = ask('wrong6', from => $at);
is("$r->{status} $r->{json}{code}", '429 too_many_failures', 'the sixth waits');
ok($r->{headers}{'retry-after'} >= 1 && $r->{headers}{'retry-after'} <= 3,
    '... for about two seconds');
is(ask($Edge::KEY, from => $at)->{status}, 200,
    'what was right from there is not locked out');
is(ask($ours, from => $at)->{status}, 429,
    'what was not seen there has to wait, even if it is right');
is(ask('wrong7', from => '127.0.2.2')->{status}, 401,
    'another address is another one');
$r = http(port => $e->{port}, host => 'api.test', path => '/v1/sandbox',
    local => $at);
is($r->{status}, 401, 'to send no key is no try');
ok(wait_for(sub { ask($ours, from => $at)->{status} == 200 }, 15, 0.5),
    'after a while it may try again');

# ---- the configuration -----------------------------------------------------

put('public.pem', $second);

for my $case (
    ['audience=a key=' . "$dir/public.pem", qr/needs issuer=/],
    ["issuer=i audience=a", qr/needs issuer=/],
    ["issuer=i audience=a secret=$dir/one.key", qr/PEM file/],
    ["issuer=i audience=a key=$dir/one.key", qr/BEGIN PUBLIC KEY/],
    ["issuer=i audience=a jwks=$dir/secret", qr/array "keys"/],
    ["issuer=i audience=a key=$dir/none", qr/failed/],
    ["issuer=i audience=a secret=$dir/secret leeway=1h", qr/leeway/],
    ["issuer=i audience=a secret=$dir/secret tenant=a/b", qr/tenant's name/],
    ["issuer=i audience=a secret=$dir/secret none=1", qr/no such option/])
{
    my $t = Edge->new(api_conf => "sandbox_api_jwt $case->[0];");
    my ($status, $said) = $t->test_conf;

    ok($status && $said =~ $case->[1], "refused: $case->[0]")
        or diag($said);
}

my $logs = slurp($e->{error_log}) . slurp("$dir/access.log");
ok(!(grep { index($logs, $_) >= 0 } $ours, $Edge::KEY, $secret),
    'no credential is in a log');
$e->stop;
$e->no_alerts;
done_testing();
