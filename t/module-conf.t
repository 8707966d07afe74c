#!/usr/bin/perl

# What `nginx -t` says of directives that are wrong, and a zone that is full.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use Test::More;

alarm_after(120);

my $e = Edge->new;

# Replaces something in a configuration that is right, and reads the complaint.
sub wrong {
    my ($from, $to, $message, $what) = @_;
    my $conf = $e->conf;

    $conf =~ s/\Q$from\E/$to/ or die "no $from";
    unlink $e->{error_log};
    spew("$e->{ngx}/nginx.conf", $conf);

    my ($status, $out, $err) = run_command([$e->command, '-t'],
        env => { san_env() });

    $err .= slurp($e->{error_log}) // '';
    ok($status != 0, "refused: $what");
    like($err, $message, 'and says why');
}

my ($status, $text) = $e->test_conf;

is($status, 0, 'a configuration that is right') or diag($text);

my $zone = 'sandbox_zone name=sandboxes 4m;';
my $daemon = "sandbox_daemon unix:$e->{dir}/control.sock secret=$e->{dir}/secret;";

wrong($zone, 'sandbox_zone sandboxes 4m;', qr/must be name=NAME/, 'a zone without a name');
wrong($zone, 'sandbox_zone name= 4m;', qr/must be name=NAME/, 'an empty name');
wrong($zone, 'sandbox_zone name=a 64k;', qr/at least 512k/, 'a zone too small');
wrong($zone, 'sandbox_zone name=a big;', qr/invalid size/, 'no size');
wrong($zone, $zone . 'sandbox_zone name=b 4m;', qr/duplicate/, 'two zones');
wrong($zone, '', qr/sandbox_zone/, 'no zone');
wrong($daemon, '', qr/sandbox_daemon/, 'no daemon');
wrong($daemon, 'sandbox_daemon /x secret=/y;', qr/must be unix:/, 'no unix:');
wrong($daemon, "sandbox_daemon unix:$e->{dir}/control.sock secret=/none;",
    qr/failed/, 'no secret');
spew("$e->{dir}/short", "short\n");
wrong($daemon, "sandbox_daemon unix:$e->{dir}/control.sock "
    . "secret=$e->{dir}/short;", qr/32 to 256 bytes/, 'a short secret');
wrong($daemon, 'sandbox_daemon unix:/' . ('d' x 90) . '/control.sock '
    . "secret=$e->{dir}/secret;", qr/too long/, 'a long path');
wrong('sandbox_preview preview.test', 'sandbox_preview "a b"',
    qr/no domain name/, 'no domain');
wrong('sandbox_preview preview.test', 'sandbox_preview .x', qr/no domain name/,
    'a dot in front');
wrong('sandbox_api on;', 'sandbox_api on; sandbox_preview x.test;',
    qr/must not answer on a preview/, 'API and previews in one server');
wrong("server_name $e->{api};", 'server_name *.api.test;', qr/exact "server_name"/,
    'an API without a name of its own');
wrong('sandbox;', 'server 127.0.0.1:1; sandbox;', qr/has "sandbox" and servers/,
    'servers beside the sandboxes');
wrong('sandbox;', 'keepalive 4; sandbox;', qr/must be the first/,
    'keepalive before');
wrong('sandbox;', 'sandbox; zone up 64k;', qr/"sandbox" and "zone"/,
    'a zone of the upstream');
wrong('sandbox;', 'sandbox; sandbox;', qr/duplicate/, 'sandbox twice');
for my $c (['sandbox_wake_timeout 10ms', qr/100ms to 1h/],
    ['sandbox_wake_timeout 2h', qr/100ms to 1h/],
    ['sandbox_waiters 0', qr/value must be/],
    ['sandbox_waiters 100000', qr/value must be/],
    ['sandbox_waiters_total x', qr/invalid number/],
    ['sandbox_call_timeout 0', qr/1s to 10m/],
    ['sandbox_limit_requests 0', qr/must be 1 to 1000000, or "off"/],
    ['sandbox_limit_requests 1000001', qr/must be 1 to 1000000, or "off"/],
    ['sandbox_limit_requests 1 burst=x', qr/invalid burst "x": must be 0 to/],
    ['sandbox_limit_connections 0', qr/must be 1 to 1000000, or "off"/],
    ['sandbox_wake maybe', qr/"on" or "off"/])
{
    wrong($zone, "$zone $c->[0];", $c->[1], $c->[0]);
}

# ---- a full zone ----------------------------------------------------------

my $f = Edge->new(zone => '512k');

$f->agent(1);
$f->daemon->fill(from => 100, to => 4000, ports => 1);
$f->agent(2);
$f->start;
ok($f->logged(qr/zone "sandboxes" is full/), 'a full zone is reported');
is($f->get('8000-box1-tok.preview.test')->{status}, 200, 'what is in it stays');
is($f->get('8000-box2-tok.preview.test')->{json}{name}, 'box2',
    'what is not is asked for');
cmp_ok($f->daemon->stats->{calls}{resolve}, '>=', 1, 'of sandboxd');
is($f->get('8000-nobody-tok.preview.test')->{status}, 404,
    'and who is unknown stays unknown');
$f->daemon->gone(kind => 'exposure', slot => 1, label => '8000-box1-tok');
ok(wait_for(sub { $f->get('8000-box1-tok.preview.test')->{status} == 404 }, 3),
    'removals are taken');
$f->stop;
$f->no_alerts;

# Records with limits need more room than others: what changes without a place
# for that is not what the zone holds of it.
my $g = Edge->new(zone => '512k');
my $d = $g->daemon;

sub exposed {
    my ($port, %o) = @_;

    $d->expose(slot => 1, port => $port, label => "$port-box1",
        access => 'public', %o);
}

sub answer {
    my ($port, %o) = @_;
    my $r = $g->get("$port-box1.preview.test", '/', %o);

    return "$r->{status} " . ($r->{json}{code} // $r->{json}{name} // '');
}

sub becomes {
    my ($port, $want, $what) = @_;

    ok(wait_for(sub { answer($port) eq $want }, 5), $what)
        or diag(answer($port));
}

$g->agent(1, ports => []);
exposed($_) for 8001 .. 8003;
$g->agent(2, ports => [8000]);
$d->sandbox(slot => 100 + $_, id => sprintf('%040d', $_), state => 'asleep')
    for 1 .. 4500;
$g->start;
ok(wait_for(sub { $g->logged(qr/zone "sandboxes" is full/) }, 10),
    'a zone full of sandboxes');
is(answer($_), '200 box1', "what it holds, $_") for 8001 .. 8003;
exposed(8001, access => 'private', gen => 7,
    limits => { requestsPerSecond => 5 });
becomes(8001, '404 INVALID_TOKEN', 'an exposure that is private now, with '
    . 'limits that find no place');
exposed(8002, limits => { requestsPerSecond => 5 });
becomes(8002, '503 zone_full', 'limits that can not be kept let nobody in');
is(answer(8003), '200 box1', 'beside others');
is($g->get('8000-box2-tok.preview.test')->{json}{name}, 'box2', 'elsewhere');
$d->sandbox(slot => 2, id => 'box2', state => 'destroying', epoch => 1,
    limits => { requestsPerSecond => 5 });
ok(wait_for(sub { $g->get('8000-box2-tok.preview.test')->{status} == 404 }, 5),
    'nor is a sandbox what it was');
exposed(8001);
becomes(8001, '200 box1', 'without limits there is a place again');
$g->stop;
$g->no_alerts;
done_testing();
