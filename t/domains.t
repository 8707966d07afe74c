#!/usr/bin/perl

# Domains and host names that are added through the API: who may use them, what
# they lead to, and that what is taken away is gone when the answer comes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(sha256_hex);
use Edge;
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);
use WorkerClient;

alarm_after(240);

# ---- the worker alone ------------------------------------------------------

my $e = Edge->new;
my $d = $e->daemon;

sub domain { $d->command({ do => 'record', record => { kind => 'domain',
    label => ".$_[0]", @_ > 1 ? (prefix => $_[1]) : () } }) }

sub status { return $e->get($_[0], '/', @_[1 .. $#_])->{status} }

$e->agent(1, ports => [8000]);
$e->agent(2, id => 'tabcde-box', ports => [8000]);
$e->agent(3, id => 'tabcdf-box', ports => [8000]);
$d->expose(slot => 1, port => 8000, label => 'www.shop.test',
    access => 'public');
$e->start;

is($e->get('www.shop.test')->{json}{name}, 'box1', 'a host name');
is(status('8000-box1-tok.all.test'), 404, 'a label below no domain');
domain('all.test');
domain('none.test', '');
domain('acme.test', 'tabcde');
ok(wait_for(sub { status('8000-tabcde-box-tok.acme.test') == 200 }, 5),
    'a domain that was told of');

my @sandboxes = ('box1', 'tabcde-box', 'tabcdf-box');
my %want = ('all.test' => '200 200 200', 'none.test' => '200 404 404',
    'acme.test' => '404 200 404', 'other.test' => '404 404 404',
    'preview.test' => '200 200 200');

for my $name (sort keys %want) {
    is(join(' ', map { status("8000-$_-tok.$name") } @sandboxes), $want{$name},
        "below $name: whose it is");
}

my $none = $e->get('8000-nobody-tok.preview.test');
my $head = $none->{head} =~ s/^Date: .*\r\n//mr;

for my $host ('8000-box1-tok.acme.test', '8000-nobody-tok.all.test',
    'x.8000-box1-tok.all.test', '8000-box1-tok.x.all.test', 'all.test',
    '.all.test', 'x.www.shop.test', 'shop.test', 'www.shop.test.all.test',
    '8000-box1-tok.all.test.', '8000-BOX1-tok.ALL.test')
{
    my $r = $e->get($host);
    my $like = $host =~ /test\.$|BOX/ ? 200 : 404;

    is($r->{status}, $like, "$host: $like") if $host ne '.all.test'
        || $r->{status} != 400;
    is($r->{body} . $r->{head} =~ s/^Date: .*\r\n//mr, $none->{body} . $head,
        '... in the words of every unknown name') if $r->{status} == 404;
}
is($d->stats->{calls}{resolve}, undef, 'sandboxd is asked of none of them');

# What is lost and filled again, twice: by a list, and by another one.
for my $time (1, 2) {
    $d->fault(resync => 1, drop => 1);
    $d->sandbox(slot => 9, id => "new$time", state => 'asleep');
    ok(wait_for(sub {
        my $filled = () = slurp($e->{error_log}) =~ /the zone holds/g;
        $filled > $time;
    }, 10), "the zone is filled again");
    sleep 0.1;
    is(join(' ', map { status("8000-$_-tok.acme.test") } @sandboxes),
        '404 200 404', '... with its domains');
}

domain('acme.test', 'tabcdf');
ok(wait_for(sub { status('8000-tabcdf-box-tok.acme.test') == 200 }, 5),
    'given to another tenant');
is(status('8000-tabcde-box-tok.acme.test'), 404, '... not to both');
$d->gone(kind => 'domain', label => '.acme.test');
$d->gone(kind => 'domain', label => '.all.test');
ok(wait_for(sub { status('8000-tabcdf-box-tok.acme.test') == 404 }, 5),
    'no domain any more');
is(status('8000-box1-tok.none.test'), 200, '... another one still is');
$d->gone(kind => 'domain', label => '.none.test');
ok(wait_for(sub { status('8000-box1-tok.none.test') == 404 }, 5),
    '... until it is gone');
domain('all.test');
ok(wait_for(sub { status('8000-box1-tok.all.test') == 200 }, 5),
    'one comes back');

# Requests that wait while their domain is taken away.
$d->sandbox(slot => 1, id => 'box1', state => 'asleep', epoch => 1);
$d->fault(start_delay => 0.5, start_run => { 1 => { key => $e->key(1) } });
my @s = map {
    my $s = http_connect(port => $e->{port});

    http_send($s, "GET / HTTP/1.1\r\nHost: $_\r\nConnection: close\r\n\r\n");
    $s;
} '8000-box1-tok.all.test', 'www.shop.test', '8000-box1-tok.preview.test';

ok(wait_for(sub { ($d->stats->{calls}{start} // 0) == 1 }, 5), 'some wait');
$d->gone(kind => 'domain', label => '.all.test');
is(join(' ', map { http_read($_, timeout => 30)->{status} } @s),
    '404 200 200', 'who came by a domain that is gone gets nothing');

$e->stop;
$e->no_alerts;

# ---- the whole ---------------------------------------------------------------

my $s = System->new(workers => 2, catch_all => 1, domain => 'conf.test',
    api_conf => 'server_name api.site.test;');
my %key = map { $_ => "key_${_}_" . sha256_hex(rand() . $$) } qw(acme other);

spew("$s->{dir}/keys", sha256_hex($s->{key}) . " root\n"
    . join('', map { sha256_hex($key{$_}) . " $_-ci tenant=$_\n" }
        sort keys %key), 0600);
$s->start;

sub as {
    my ($who, $method, $path, $json, %o) = @_;

    return $s->api($method => $path, no_key => 1,
        $json ? (json => $json) : (), %o, headers => { Authorization =>
            'Bearer ' . ($key{$who} || $s->{key}) });
}

sub put {
    my ($name, @tenant) = @_;

    return $s->api(PUT => "/v1/domains/$name",
        @tenant ? (json => { tenant => $tenant[0] }) : ());
}

# Of a preview: 404, or 502 from where nothing listens.
sub at {
    my ($host, %o) = @_;

    return http(port => $s->{port}, host => $host, path => '/', %o)->{status};
}

as($_, POST => '/v1/sandbox', { id => 'app' }) for qw(acme other root);
as($_, POST => '/v1/sandbox/app/ports', { port => 8000, access => 'public' })
    for qw(acme other root);

# ---- domains

is_deeply(as('acme', GET => '/v1/domains')->{json}, { domains => [] },
    'a tenant sees its domains');
is(as('acme', PUT => '/v1/domains/a.test')->{status}, 403,
    '... the admin\'s to give');
is(as('acme', DELETE => '/v1/domains/a.test')->{status}, 403, '... and take');
is_deeply($s->api(GET => '/v1/domains')->{json}, { domains => [] }, 'none yet');

my $r = put('a.test', 'acme');
is($r->{status}, 200, 'a domain') or diag($r->{body});
is("$r->{json}{name} $r->{json}{tenant}", 'a.test acme', '... of a tenant');
like($r->{json}{createdAt}, qr/^20\d\d-.*Z$/, '... since now');
is($r->{json}{warnings}, undef, '... without warnings');
is(put('all.test')->{json}{tenant}, '*', 'one for everybody');
like(put('previews.site.test')->{json}{warnings}[0] // '',
    qr/api\.site\.test.*one site/, 'a warning of one that shares the API\'s');
$s->api(DELETE => '/v1/domains/previews.site.test');
is(put('own.test', '')->{json}{tenant}, '', 'one of the default tenant');
is(join(' ', map { $_->{name} } @{ $s->api(GET => '/v1/domains')
    ->{json}{domains} }), 'a.test all.test own.test', 'all of them');
is(join(' ', map { "$_->{name}=$_->{tenant}" } @{ as(@$_[0], GET => '/v1/domains')
    ->{json}{domains} }), $_->[1], "what $_->[0] may use")
    for ['acme', 'a.test=acme all.test=*'], ['other', 'all.test=*'];

for my $name ('conf.test', 'x.conf.test', 'localhost', 'api.site.test',
    '127.0.0.1', 'A.test',
    'a_b.test', 'test', '-a.test', 'a-.test', 'a..test', 'a.test.', 'a.1',
    'a.0x1f', 'a%2etest', ('a' x 64) . '.test', join('.', ('a' x 60) x 4))
{
    $r = put($name);
    is("$r->{status} " . ($r->{json}{field} // ''), '400 name',
        "no domain: $name");
}
$r = put('a.test', 'no/tenant');
is("$r->{status} $r->{json}{field}", '400 tenant', 'no tenant\'s name');

my %url = map { $_ => as($_, GET => '/v1/sandbox/app/ports/8000')
    ->{json}{url} } qw(acme other root);
my %label = map { $_ => $url{$_} =~ m{//([^.]+)} } keys %url;

is(join(' ', map { at("$label{$_}.a.test") } qw(acme other root)),
    '502 404 404', 'below it are its tenant\'s previews');
is(join(' ', map { at("$label{$_}.own.test") } qw(acme other root)),
    '404 404 502', '... or the default tenant\'s');
is(join(' ', map { at("$label{$_}.all.test") } qw(acme other root)),
    '502 502 502', '... or all');

$r = as('acme', GET => '/v1/sandbox/app/ports/8000?hostname=a.test:444');
is($r->{json}{url}, "http://$label{acme}.a.test:444/", 'it can be asked for');
$r = as('other', GET => '/v1/sandbox/app/ports/8000?hostname=a.test');
is("$r->{status} $r->{json}{field}", '400 hostname', '... not by others');
$r = as('other', POST => '/v1/sandbox/app/ports', { port => 8001,
    hostname => 'a.test' });
is("$r->{status} $r->{json}{field}", '400 hostname', '... nor when exposing');
is(as('other', GET => '/v1/sandbox/app/ports/8001')->{status}, 404,
    '... which exposes nothing');

# To somebody else, and away, in every worker.
my @open = map { http_connect(port => $s->{port}) } 1 .. 16;

sub all_open {
    my ($host) = @_;
    my %got;

    $got{ $s->preview("http://$host/", socket => $_, keepalive => 1)
        ->{status} }++ for @open;

    return join ' ', sort keys %got;
}

is(all_open("$label{acme}.a.test"), '502', 'both workers serve it');
is(put('a.test', 'other')->{json}{tenant}, 'other', 'it goes to another');
is(all_open("$label{acme}.a.test"), '404', '... and away from the first');
is(all_open("$label{other}.a.test"), '502', '... who has it now');
is($s->api(DELETE => '/v1/domains/a.test')->{status}, 204, 'taken away');
is(all_open("$label{other}.a.test"), '404', '... from all');
is($s->api(DELETE => '/v1/domains/a.test')->{status}, 204, '... once more');
is($s->api(DELETE => '/v1/domains/A')->{status}, 400, 'no name at all');

# ---- host names

put('acme.test', 'acme');

sub names {
    my ($who, $names, %o) = @_;

    return as($who, PATCH => '/v1/sandbox/app/ports/' . ($o{port} // 8000),
        { hostnames => $names, %{ $o{json} || {} } });
}

$r = names('acme', ['www.acme.test', 'acme.test', 'www.acme.test']);
is($r->{status}, 200, 'a tenant gives host names below its domain')
    or diag($r->{body});
is_deeply($r->{json}{hostnames}, ['acme.test', 'www.acme.test'],
    '... and the domain\'s own');
is(all_open('www.acme.test'), '502', 'it leads there');
is(all_open('acme.test'), '502', '... as the other does');
is(at('WWW.acme.TEST:8080'), 502, '... in any case');
is(at('x.www.acme.test'), 404, '... and no name below it');
is(as('acme', GET => '/v1/sandbox/app/ports')->{json}{ports}[0]{hostnames}[1]
    // '', $r->{json}{hostnames}[1], '... and is shown');
is(as('acme', GET => '/v1/sandbox/app/ports?hostname=www.acme.test')
    ->{json}{ports}[0]{url}, "http://www.acme.test:$s->{port}/",
    '... as the URL, if that is asked for');
$r = as('acme', GET => '/v1/sandbox/app/ports/8000?hostname=w.acme.test');
is("$r->{status} $r->{json}{field}", '400 hostname', '... not one it has not');

for (['other', 'www.acme.test', 403, 'hostname_not_allowed'],
    ['other', 'free.acme.test', 403, 'hostname_not_allowed'],
    ['acme', 'www.else.test', 403, 'hostname_not_allowed'],
    ['acme', 'all.test', 403, 'hostname_not_allowed'],
    ['acme', 'acme.test.evil.test', 403, 'hostname_not_allowed'],
    ['acme', 'xacme.test', 403, 'hostname_not_allowed'],
    ['root', 'www.acme.test', 409, 'hostname_taken'],
    ['root', 'localhost', 400, 'invalid_request'],
    ['root', 'api.site.test', 400, 'invalid_request'],
    ['acme', 'a.b.all.test', 403, 'hostname_not_allowed'],
    ['root', 'conf.test', 400, 'invalid_request'],
    ['root', 'a.conf.test', 400, 'invalid_request'],
    ['root', '8000-tabcde-app.all.test', 400, 'invalid_request'],
    ['root', "$label{other}.all.test", 400, 'invalid_request'],
    (map { ['root', $_, 400, 'invalid_request'] } 'A.test', 'a_b.test', 'a',
        '', 'a.test.', '.a.test', 'a..test', '-a.test', 'a-.test',
        '127.0.0.1', '10.1', 'a.0x7f', '::1', "a\t.test", "a b.test",
        '*.a.test', ('a' x 64) . '.test', join('.', ('a' x 63) x 4) . 'a',
        7, undef))
{
    my ($who, $name, $status, $code) = @$_;

    $r = names($who, [$name]);
    is("$r->{status} $r->{json}{code} $r->{json}{field}",
        "$status $code hostnames", "$who: "
            . ($name // 'null') =~ s/[^ -~]/?/gr);
}
is(names('acme', 'www.acme.test')->{json}{field}, 'hostnames', 'no list');
is(names('root', [map { "n$_.root.test" } 1 .. 17])->{json}{field},
    'hostnames', 'more than 16');
is(all_open('www.acme.test'), '502', 'nothing of that changed anything');

is(names('other', ['mine.all.test'])->{status}, 200,
    'below everybody\'s domain');
is(names('acme', ['mine.all.test'])->{json}{code}, 'hostname_taken',
    '... the first one has it');

$r = as('acme', POST => '/v1/sandbox/app/ports', { port => 8001,
    hostnames => ['token.acme.test'] });
is("$r->{status} $r->{json}{field}", '400 hostnames', 'a token has no name');
$r = as('acme', PATCH => '/v1/sandbox/app/ports/8000', { access => 'token' });
is("$r->{status} $r->{json}{field}", '400 hostnames', '... nor gets one');
is(at('www.acme.test'), 502, '... which changes nothing');

# A name that one exposure has is no other's, of the same sandbox either.
$r = as('acme', POST => '/v1/sandbox/app/ports', { port => 8001,
    access => 'private', hostnames => ['www.acme.test'] });
is($r->{json}{code}, 'hostname_taken', 'each name leads to one exposure');
$r = as('acme', POST => '/v1/sandbox/app/ports', { port => 8001,
    access => 'private', hostnames => ['p1.acme.test', 'p2.acme.test'],
    hostname => 'p1.acme.test' });
is($r->{json}{url}, "http://p1.acme.test:$s->{port}/", 'made with its name');
is(at('p1.acme.test'), 404, 'private');

sub link_to {
    my ($host) = @_;

    return as('acme', POST => '/v1/sandbox/app/ports/8001/link',
        { hostname => $host, path => '/x' });
}

$r = link_to('p1.acme.test');
like($r->{json}{url}, qr{^http://p1\.acme\.test:$s->{port}/x\?},
    'a link to it');
is(link_to('p3.acme.test')->{json}{field}, 'hostname', '... to no other');

my ($path) = $r->{json}{url} =~ m{^http://[^/]+(/.*)};
my $opened = http(port => $s->{port}, host => 'p1.acme.test', path => $path);
my ($cookie) = ($opened->{headers}{'set-cookie'} // '') =~ /^([^;]+)/;
my %with = (headers => { Cookie => $cookie, 'Sec-Fetch-Site' => 'none' });

is($opened->{status}, 302, 'is opened');
is(at('p1.acme.test', %with), 502, 'its cookie counts');
is(at('p2.acme.test', %with), 404, '... on no other name of the port');
is(http(port => $s->{port}, host => 'p2.acme.test', path => $path)->{status},
    404, 'nor does the link');
like(link_to('acme.test')->{json}{url}, qr{^http://8001-\w+-app\.acme\.test:},
    'a domain that is another port\'s name, too, is a domain here');
is(as('acme', GET => '/v1/sandbox/app/ports/8000?hostname=acme.test')
    ->{json}{url}, "http://acme.test:$s->{port}/", '... and a name there');
as('acme', PATCH => '/v1/sandbox/app/ports/8001', { rotate =>
    JSON::PP::true() });
is(at('p1.acme.test', %with), 403, 'rotated: the cookie has ended');

# One exposure, whatever it is called: limits, and what wakes it.
names('acme', ['l1.acme.test', 'l2.acme.test'], port => 8001, json => {
    access => 'public', limits => { requestsPerSecond => 1, burst => 1 } });
is(join(' ', map { at($_) } 'l1.acme.test', 'l2.acme.test', 'l1.acme.test',
    'l2.acme.test'), '502 502 429 429', 'names share their port\'s limits');
is(at('p1.acme.test'), 404, 'and those that were left out are gone');
names('acme', undef, port => 8001, json => { limits => undef,
    wake => 'off', hostnames => ['l1.acme.test'] });
as('acme', POST => '/v1/sandbox/app/sleep');
is(at('l1.acme.test'), 410, '... and whether they wake it');
is(at('www.acme.test'), 502, 'a name of another port does');

# ---- taking away

is(names('acme', ['acme.test'])->{status}, 200, 'one name less');
is(all_open('www.acme.test'), '404', '... at once, in all workers');
is(all_open('acme.test'), '502', '... the other stays');
is(names('other', ['mine.all.test', 'new.all.test'])->{status}, 200,
    'one more');
is(as('other', PUT => '/v1/sandbox/app/ports/8000', { name => 'x' })
    ->{json}{hostnames}[0] // '', 'mine.all.test',
    'PUT without names keeps them') or diag($r->{body});
as('acme', DELETE => '/v1/sandbox/app/ports/8001');
is(all_open('l1.acme.test'), '404', 'gone with the port');

# The right to a domain, and to names below it.
$r = as('root', PATCH => '/v1/sandbox/app/ports/8000?tenant=acme',
    { hostnames => ['acme.test', 'www.acme.test', 'deep.sub.acme.test'] });
is($r->{status}, 200, 'an administrator gives any name');
names('acme', ['acme.test', 'www.acme.test', 'deep.sub.acme.test',
    'x.sub.acme.test']);
put('sub.acme.test', 'other');
is(all_open('x.sub.acme.test'), '404', 'a longer domain takes names away');
is(all_open('deep.sub.acme.test'), '502', '... not those of administrators');
is(names('other', ['x.sub.acme.test', 'mine.all.test'])->{status}, 200,
    '... for its own tenant');
is(at("$label{acme}.sub.acme.test"), 404, 'labels, too');
is(at("$label{other}.sub.acme.test"), 502, '... are its own tenant\'s');
put('acme.test', 'other');
is(all_open('acme.test'), '404', 'its domain goes, and a name with it');
is(all_open('www.acme.test'), '502', '... not an administrator\'s');
put('acme.test', 'acme');
is(all_open('acme.test'), '404', 'it doesn\'t come back by itself');

# ---- what sandboxd says to whom the zone doesn't know a name

my $secret = slurp($s->{secret});
chomp $secret;
my $w = worker({ sock => "$s->{run}/control.sock", secret => $secret });

sub resolved {
    my $r = $w->call('resolve', label => $_[0]);

    return $r->{records} ? join ' ', sort map { $_->{label} // $_->{id} }
        @{ $r->{records} } : $r->{status};
}

my ($acme) = $label{acme} =~ /8000-(.*)/;

is(resolved('www.acme.test'), "$acme www.acme.test", 'resolve: a host name');
is(resolved("$label{acme}.acme.test"), "$label{acme} $acme",
    '... a label below a domain');
is(resolved("$label{other}.acme.test"), 404, '... that is not its');
is(resolved('nothing.acme.test'), 404, '... nothing');
is(resolved('.acme.test'), 404, '... a domain is no name');
is(resolved('acme.test'), 404, '... nor its own');

# What is taken away is answered when each zone has said that it knows.
my $slow = worker({ sock => "$s->{run}/control.sock", secret => $secret },
    ack => 0);

sub acknowledged {
    my ($what, $labels, @call) = @_;

    $slow->drain(0.05);
    @{ $slow->{events} } = ();

    my $id = $w->ask(@call);
    my $told = wait_for(sub {
        $slow->drain(0.05);
        grep { $_->{ack} } @{ $slow->{events} };
    }, 10);

    $w->drain(0.2);
    ok($told && !$w->{answers}{$id}, "$what: not before a zone knows it");

    my @ack = grep { $_->{ack} } @{ $slow->{events} };

    is(join(' ', sort map { $_->{record}{label} } @ack), $labels,
        '... what it is told of');
    $slow->send({ op => 'ack', seq => $ack[-1]{record}{seq} });
    ok($w->answer($id)->{ok}, '... then it is');
}

my %names = (sandbox => 'app', options => { port => 8000,
    access => 'public', hostnames => ['w1.ack.test', 'w2.ack.test'] });

$w->call('domain_put', name => 'ack.test', all => JSON::PP::true());
ok($w->call('expose', %names)->{exposure}, 'names below everybody\'s domain');
acknowledged('a name less', 'w2.ack.test', 'expose', sandbox => 'app',
    options => { port => 8000, hostnames => ['w1.ack.test'] });
acknowledged('another access', "$label{root} w1.ack.test", 'expose',
    sandbox => 'app', options => { port => 8000, access => 'private' });
acknowledged('given to somebody', '.ack.test w1.ack.test', 'domain_put',
    name => 'ack.test', tenant => 'acme');
acknowledged('given to somebody else', '.ack.test', 'domain_put',
    name => 'ack.test', tenant => 'other');
acknowledged('taken away', '.ack.test', 'domain_delete', name => 'ack.test');
$w->call('domain_put', name => 'ack.test', tenant => '');
$names{options}{access} = 'private';
ok($w->call('expose', %names)->{exposure}, 'once more');
acknowledged('taken away with its names', '.ack.test w1.ack.test w2.ack.test',
    'domain_delete', name => 'ack.test');
$slow->close;
$w->call('expose', sandbox => 'app', options => { port => 8000,
    access => 'public' });
$w->close;

# ---- after restarts

sub told {
    return join ' ', map { at($_) } 'www.acme.test', 'acme.test',
        'deep.sub.acme.test', 'x.sub.acme.test', 'mine.all.test',
        "$label{acme}.acme.test", "$label{acme}.sub.acme.test",
        "$label{root}.own.test", "$label{other}.a.test";
}

my $before = told();
my $ports = as('acme', GET => '/v1/sandbox/app/ports')->{json};
my $domains = $s->api(GET => '/v1/domains')->{json};

is($before, '502 404 502 502 502 502 404 502 404', 'as it stands');
$s->kill_daemon;
$s->start_daemon;
ok(wait_for(sub { as('acme', GET => '/v1/sandbox/app/ports')->{status}
    == 200 }, 20), 'sandboxd is killed');
is(told(), $before, '... and nothing is different');
is_deeply(as('acme', GET => '/v1/sandbox/app/ports')->{json}, $ports,
    '... in the records');
is_deeply($s->api(GET => '/v1/domains')->{json}, $domains, '... and domains');

# A zone that begins empty.
$s->{zone} = '17m';
ok($s->reload(conf => 1), 'nginx gets another zone');
ok(wait_for(sub { told() eq $before }, 20), '... which is filled with them')
    or diag(told());

is(as('acme', DELETE => '/v1/sandbox/app')->{status}, 204, 'destroyed');
is(at('www.acme.test'), 404, '... with its names');
is(names('root', ['www.acme.test', 'deep.sub.acme.test'])->{status}, 200,
    '... which are free at once');
is(at('www.acme.test'), 502, '... for others');

$s->stop;
done_testing();
