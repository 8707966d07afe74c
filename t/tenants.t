#!/usr/bin/perl

# Tenants: what one may see and do of another (nothing), scopes, quotas, and
# keys that change while everything runs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use EventStream;
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

my $s = System->new(workers => 2);
my %key = map { $_ => "key_${_}_" . sha256_hex(rand() . $$) }
    qw(acme other reader runner quota slow lazy salted);
my $salt = 'Salt1234';
my @group = $> == 0 ? (getgrnam 'www-data')[2] : ();

$s->{http_conf} = "sandbox_audit_log $s->{dir}/audit.log "
    . "scopes=exec,manage,admin;";
$s->{api_conf} = 'access_log ' . "$s->{dir}/access.log" . ' keys;';
$s->{http_conf} .= "log_format keys '\$status \$sandbox_tenant \$sandbox_key "
    . "\$sandbox_id \$uri';";
$s->{server_conf} = "access_log $s->{dir}/access.log keys;";


# Workers read what changes: the file is their group's, too.
sub write_keys {
    my (@lines) = @_;
    my $new = spew("$s->{dir}/keys.new", join('', map { "$_\n" } @lines),
        0640);

    chown 0, $group[0], $new if @group;
    rename $new, "$s->{dir}/keys" or die "rename: $!";
}

my @lines = (
    sha256_hex($s->{key}) . ' root',
    sha256_hex($key{acme}) . ' acme-ci tenant=acme',
    sha256_hex($key{other}) . ' other-ci tenant=other',
    sha256_hex($key{reader}) . ' acme-reader tenant=acme scopes=read',
    sha256_hex($key{runner}) . ' acme-runner tenant=acme scopes=read,exec',
    sha256_hex($key{quota}) . ' quota tenant=small sandboxes=2',
    sha256_hex($key{slow}) . ' slow tenant=slow starts=1',
    sha256_hex($key{lazy}) . ' lazy tenant=lazy create=off',
);

write_keys(@lines);
$s->start;


sub as {
    my ($who, $method, $path, %o) = @_;
    my $key = $who eq 'root' ? $s->{key} : $key{$who};

    return $s->api($method => $path, no_key => 1, %o,
        headers => { Authorization => "Bearer $key" });
}


# Everything of an answer that a client sees, but for the time.
sub bytes {
    my ($r) = @_;
    my %h = %{ $r->{headers} };

    delete @h{qw(date connection)};

    return join "\n", $r->{status}, (map { "$_: $h{$_}" } sort keys %h),
        $r->{body} =~ s/"timestamp":"[^"]*"/"timestamp":"-"/gr;
}

# ---- the same id, twice ----------------------------------------------------

my $r = as('acme', POST => '/v1/sandbox', json => { id => 'box',
    labels => { of => 'acme' } });
is($r->{status}, 200, 'a tenant makes a sandbox') or diag($r->{body});
is($r->{json}{id}, 'box', '... that has its own id, without a prefix');
is($r->{json}{tenant}, 'acme', '... and its tenant');
$r = as('other', POST => '/v1/sandbox', json => { id => 'box',
    labels => { of => 'other' } });
is($r->{status}, 200, 'another tenant makes one of the same id');
$r = $s->api(POST => '/v1/sandbox', json => { id => 'box' });
is($r->{status}, 200, 'and so does the default tenant');
is($r->{json}{tenant}, undef, '... which has no name');

is(as('acme', GET => '/v1/sandbox/box')->{json}{labels}{of}, 'acme',
    'each sees its own');
is(as('other', GET => '/v1/sandbox/box')->{json}{labels}{of}, 'other',
    '... the other too');

# ---- lists -----------------------------------------------------------------

as('acme', POST => '/v1/sandbox', json => { id => "more$_" }) for 1 .. 3;
is(join(' ', map { $_->{id} }
    @{ as('acme', GET => '/v1/sandbox')->{json}{sandboxes} }),
    'box more1 more2 more3', 'a list is the tenant\'s');
is(join(' ', map { $_->{id} }
    @{ as('other', GET => '/v1/sandbox')->{json}{sandboxes} }), 'box',
    '... each tenant\'s its own');
$r = as('acme', GET => '/v1/sandbox?limit=2');
is(scalar @{ $r->{json}{sandboxes} }, 2, 'in pages');
$r = as('acme', GET => "/v1/sandbox?limit=2&cursor=$r->{json}{cursor}");
is(join(' ', map { $_->{id} } @{ $r->{json}{sandboxes} }), 'more2 more3',
    '... of the tenant');
is($r->{json}{cursor}, undef, '... to their end');
is(join(' ', map { ($_->{tenant} // '-') . "/$_->{id}" }
    @{ $s->api(GET => '/v1/sandbox?tenant=*')->{json}{sandboxes} }),
    'acme/box other/box -/box acme/more1 acme/more2 acme/more3',
    'an administrator sees all of them');
is(scalar @{ $s->api(GET => '/v1/sandbox?tenant=acme')
    ->{json}{sandboxes} }, 4, '... or one tenant\'s');
is(scalar @{ $s->api(GET => '/v1/sandbox')->{json}{sandboxes} }, 1,
    '... and by itself its own');
is($s->api(GET => '/v1/sandbox/box?tenant=other')->{json}{labels}{of},
    'other', '... or one record');
is($s->api(GET => '/v1/sandbox/box?tenant=%6Fth%65r')->{json}{labels}{of},
    'other', '... whose name may be escaped');
for my $path ('exec', 'api/ping', 'file/workspace/x') {
    $r = $s->api($path eq 'exec' ? 'POST' : 'GET',
        "/v1/sandbox/nowhere/$path?tenant=other",
        $path eq 'exec' ? (json => { argv => ['true'] }) : ());
    is($r->{status}, 400, "inside nothing is done in another's name: $path");
}
is($s->api(GET => '/v1/sandbox/nowhere')->{status}, 404,
    '... nor in one\'s own instead');
$r = as('acme', GET => '/v1/sandbox?tenant=other');
is($r->{status}, 403, 'others may not ask for tenants');
like($r->{json}{error}, qr/"admin"/, '... and are told what they lack');

my $cursor = as('acme', GET => '/v1/sandbox?limit=1')->{json}{cursor};
like($cursor, qr/^[0-9a-f]{32}$/, 'a cursor says nothing');
isnt(as('acme', GET => '/v1/sandbox?limit=1')->{json}{cursor}, $cursor,
    '... not even where it is');
for ('other', 'root') {
    $r = as($_, GET => "/v1/sandbox?cursor=$cursor");
    is("$r->{status} $r->{json}{field}", '400 cursor', "... nor helps $_");
}
$r = as('root', GET => "/v1/sandbox?tenant=*&cursor=$cursor");
is($r->{status}, 400, '... nor for a list of all');
is(as('acme', GET => "/v1/sandbox?cursor=$_")->{status}, 400,
    "no cursor: '$_'") for '', '1', 'x', '0' x 32, substr($cursor, 1), uc $cursor;

# ---- what a tenant can learn of another ------------------------------------

as('other', POST => '/v1/sandbox', json => { id => 'secret1' });

for my $do ([GET => ''], [GET => '/running'], [GET => '/ports'],
            [GET => '/ports/8000'], [POST => '/ports', { port => 8000 }],
            [DELETE => '/ports/8000'], [DELETE => ''])
{
    my ($method, $path, $json) = @$do;
    my @o = $json ? (json => $json) : ();
    my $theirs = as('acme', $method => "/v1/sandbox/secret1$path", @o);
    my $nobodys = as('acme', $method => "/v1/sandbox/secret2$path", @o);

    is(bytes($theirs) =~ s/secret1/secret2/gr, bytes($nobodys),
        "$method ...$path: another's sandbox is like none");
}

is(as('other', GET => '/v1/sandbox/secret1')->{status}, 200,
    'and it is still there');

# inside: a lookup of another's id is a lookup of one's own
$r = as('runner', POST => '/v1/sandbox/secret1/api/execute',
    json => { command => 'id' });
my $none = as('runner', POST => '/v1/sandbox/secret2/api/execute',
    json => { command => 'id' });
is($r->{status}, 404, 'nothing inside it') or diag($r->{body});
is(bytes($r) =~ s/secret1/secret2/gr, bytes($none), '... in the same words');

for my $id ('tabcde-box', 'taaaaa-secret1') {
    $r = as('acme', GET => "/v1/sandbox/$id");
    is($r->{status}, 400, "$id: nobody may name a prefix");
}

# ---- inside, and from outside ----------------------------------------------

$r = as('acme', POST => '/v1/sandbox/box/api/execute',
    json => { command => 'hostname; echo acme > /workspace/whose' });
is($r->{json}{stdout}, 'box', 'inside it has its id, too');
$r = as('other', POST => '/v1/sandbox/box/api/execute',
    json => { command => 'cat /workspace/whose 2>&1 || true' });
unlike($r->{json}{stdout}, qr/^acme/, 'the other one is another one');

$r = as('acme', POST => '/v1/sandbox/box/ports',
    json => { port => 8000, access => 'public' });
my ($label) = $r->{json}{url} =~ m{^http://([^.]+)\.};
like($label, qr/^8000-t[a-z2-7]{5}-box$/, 'a label has the prefix');
my $url = $r->{json}{url};
$r = as('other', POST => '/v1/sandbox/box/ports',
    json => { port => 8000, access => 'public' });
isnt($r->{json}{url}, $url, 'so two tenants can have the same port public');
$r = as('acme', POST => '/v1/sandbox', json => { id => 'a' x 40 });
$r = as('acme', POST => '/v1/sandbox/' . 'a' x 40 . '/ports',
    json => { port => 8000 });
is($r->{status}, 400, 'an id that leaves no room in a label');
is("$r->{json}{field} $r->{json}{limit}", 'id 34',
    '... is told how long it may be beside the prefix');

as('acme', POST => '/v1/sandbox/box/api/process/start', json => {
    command => 'cd /workspace && python3 -m http.server 8000' });
ok(wait_for(sub {
    ($s->preview($url, path => '/whose')->{body} // '') eq "acme\n"
}, 30, 0.2), 'the preview leads to the tenant\'s sandbox');
wait_for(sub { slurp("$s->{dir}/access.log") =~ m{^200 acme - box /whose}m },
    5);
like(slurp("$s->{dir}/access.log"), qr{^200 acme - box /whose}m,
    'a preview\'s line in the log names tenant and id');
like(slurp("$s->{dir}/access.log"), qr{^200 other other-ci \S+ /v1/sandbox$}m,
    'one of the API names the key');

# ---- scopes ----------------------------------------------------------------

$r = as('reader', GET => '/v1/sandbox/box');
is($r->{status}, 200, 'read may read');
$r = as('reader', POST => '/v1/sandbox/box/exec', json => { argv => ['id'] });
is("$r->{status} $r->{json}{code}", '403 forbidden', '... and not execute');
like($r->{json}{error}, qr/"exec"/, '... which is what it lacks');
$r = as('reader', PUT => '/v1/sandbox/box/file/workspace/x', body => 'x');
is($r->{status}, 403, '... nor write');
$r = as('runner', DELETE => '/v1/sandbox/box');
is($r->{status}, 403, 'exec may not destroy');
like($r->{json}{error}, qr/"manage"/, '... without manage');
$r = as('runner', POST => '/v1/sandbox', json => {});
is($r->{status}, 403, '... nor create');
is(as('acme', GET => '/v1/pool/stats')->{status} == 403
    || as('acme', GET => '/v1/pool/stats')->{status} == 501, 1,
    'nor may a tenant see what is the host\'s');

# ---- by first use ----------------------------------------------------------

$r = as('runner', POST => '/v1/sandbox/fresh/api/execute',
    json => { command => 'true' });
is("$r->{status} $r->{json}{code}", '404 not_found',
    'without manage, no first use makes a sandbox');
$r = as('lazy', POST => '/v1/sandbox/fresh/api/execute',
    json => { command => 'true' });
is($r->{status}, 404, 'nor where the key says create=off');
is(as('lazy', POST => '/v1/sandbox', json => { id => 'fresh' })->{status},
    200, '... which makes one when it is asked for');
$r = as('lazy', POST => '/v1/sandbox/fresh/api/execute',
    json => { command => 'echo $((6 * 7))' });
is($r->{json}{stdout}, '42', '... and uses it');
is(as('acme', GET => '/v1/sandbox/fresh/running')->{json}{running} ? 1 : 0, 0,
    'running makes none');
is(as('acme', GET => '/v1/sandbox/fresh')->{status}, 404, '... really');

# ---- quotas ----------------------------------------------------------------

is(as('quota', POST => '/v1/sandbox', json => { id => "q$_" })->{status}, 200,
    "sandbox $_ of 2") for 1 .. 2;
$r = as('quota', POST => '/v1/sandbox', json => { id => 'q3' });
is("$r->{status} $r->{json}{code} $r->{json}{field} $r->{json}{limit}",
    '403 quota_exceeded sandboxes 2', 'the third is one too many');
is($r->{headers}{'retry-after'}, undef, '... and waiting is no help');
$r = as('quota', POST => '/v1/sandbox/q4/api/execute',
    json => { command => 'true' });
is("$r->{status} $r->{json}{code}", '403 quota_exceeded',
    'its first use would be, too');
is(as('quota', POST => '/v1/sandbox', json => { id => 'q1' })->{status}, 200,
    'what exists is answered');
is(as('quota', DELETE => '/v1/sandbox/q1')->{status}, 204, 'one goes');
is(as('quota', POST => '/v1/sandbox', json => { id => 'q3' })->{status}, 200,
    '... and makes room');

$r = as('slow', POST => '/v1/sandbox/s1/api/execute',
    json => { command => 'true' });
is($r->{status}, 200, 'one start a minute') or diag($r->{body});
$r = as('slow', POST => '/v1/sandbox/s1/api/execute',
    json => { command => 'true' });
is($r->{status}, 200, 'what runs needs no other');
$r = as('slow', POST => '/v1/sandbox/s2/api/execute',
    json => { command => 'true' });
is("$r->{status} $r->{json}{code} $r->{json}{field}",
    '429 quota_exceeded startsPerMinute', 'a second one is too many');
ok($r->{headers}{'retry-after'} >= 1 && $r->{headers}{'retry-after'} <= 61,
    '... for a while');
is(as('slow', GET => '/v1/sandbox/s2')->{status}, 404,
    '... and it has left no record');

# ---- a POST twice ----------------------------------------------------------

$r = as('acme', POST => '/v1/sandbox', json => { id => 'box',
    labels => { of => 'acme' } });
is("$r->{status} " . ($r->{json}{created} ? 1 : 0), '200 0',
    'the same options: the same sandbox');
is(as('acme', POST => '/v1/sandbox', json => { id => 'box' })->{status}, 409,
    'other options: a conflict');

# ---- events ----------------------------------------------------------------

sub follow {
    my ($who, @headers) = @_;
    my $e = EventStream->open(port => $s->{port},
        host => "localhost:$s->{port}", path => '/v1/events',
        headers => [['Authorization', 'Bearer ' . ($who eq 'root' ? $s->{key}
            : $key{$who})], @headers]);

    is(($e->next || {})->{event}, 'ready', "$who follows events");

    return $e;
}

# Whose events there were, up to that of the last one.
sub told {
    my ($e, $last) = @_;

    $e->until(sub { ($_[0]{json}{id} // '') eq $last }) or return 'no end';

    return join ' ', map {
        ($_->{json}{tenant} ? "$_->{json}{tenant}/" : '') . $_->{json}{id}
    } grep { $_->{event} eq 'sandbox' && $_->{json}{state} eq 'created' }
        @{ $e->{all} };
}

my %events = map { $_ => follow($_) } qw(acme other root);
my $twin = follow('acme');
my %named = map {
    $_ => EventStream->open(port => $s->{port}, host => "localhost:$s->{port}",
        path => "/v1/events?tenant=$_",
        headers => [['Authorization', "Bearer $s->{key}"]])
} 'acme', '';

is(($named{$_}->next || {})->{event}, 'ready', "of a named tenant: '$_'")
    for 'acme', '';

for my $id ('e1', 'e2') {
    as($_, POST => '/v1/sandbox', json => { id => "$id-$_" })
        for qw(acme other root);
}

is(told($events{acme}, 'e2-acme'), 'e1-acme e2-acme', "a tenant's alone");
is(told($events{other}, 'e2-other'), 'e1-other e2-other', "... each its own");
is(told($events{root}, 'e2-root'), 'acme/e1-acme other/e1-other e1-root '
    . 'acme/e2-acme other/e2-other e2-root',
    'an administrator sees all, and whose they are');
is(told($twin, 'e2-acme'), 'e1-acme e2-acme', 'who follows twice');
is(told($named{acme}, 'e2-acme'), 'acme/e1-acme acme/e2-acme',
    'or one that is named');
is(told($named{''}, 'e2-root'), 'e1-root e2-root', 'be it the default one');

my %ids;
$ids{$_->{id} // ''}++ for map { @{ $_->{all} } } values %events, $twin;
is(scalar(grep { !/^[0-9a-f]{32}$/ } keys %ids), 0, 'ids are all alike');
is(scalar(grep { $_ > 1 } values %ids), 0, '... and no two the same');

my $known = $events{acme}{all}[1]{id};
my $back = follow('acme', ['Last-Event-ID', $known]);
is(told($back, 'e2-acme'), 'e2-acme', 'who comes back gets the rest');
my $wrong = EventStream->open(port => $s->{port},
    host => "localhost:$s->{port}", path => '/v1/events',
    headers => [['Authorization', "Bearer $key{other}"],
                ['Last-Event-ID', $known]]);
is(($wrong->next || {})->{event}, 'resync', "another's id is none");
$_->close for values %events, $twin, $back, $wrong;
as('root', DELETE => "/v1/sandbox/$_-other?tenant=other") for 'e1', 'e2';

# ---- keys that change ------------------------------------------------------

is(as('salted', GET => '/v1/sandbox')->{status}, 401, 'a key of tomorrow');
my $busy = follow('other');
write_keys((grep { !/ other-ci/ } @lines),
    "$salt:" . sha256_hex($salt . $key{salted}) . ' salted tenant=other');
ok(wait_for(sub { as('salted', GET => '/v1/sandbox')->{status} == 200 }, 10,
    0.2), 'is taken without a reload, with its salt');
ok(wait_for(sub {
    !grep { as('other', GET => '/v1/sandbox')->{status} != 401 } 1 .. 8
}, 10, 0.2), 'and one that is gone is refused by every worker');

my $end = time() + 30;
my ($event, $n);
until (($event && $event->{event} eq 'error') || $busy->{eof}
       || time() > $end)
{
    as('root', POST => '/v1/sandbox?tenant=other', json => { id => 'busy' });
    as('root', DELETE => '/v1/sandbox/busy?tenant=other');
    while (my $next = $busy->next(0.05)) { $event = $next; $n++ }
}
is(($event || {})->{json}{code}, 'unauthorized',
    'a stream that never is silent ends with its key');
ok($busy->{ended}, '... in order');
is(scalar @{ as('salted', GET => '/v1/sandbox')->{json}{sandboxes} }, 2,
    'the tenant keeps its sandboxes');

write_keys(@lines, 'not a key');
ok(wait_for(sub {
    slurp($s->{error_log}) =~ m{hexadecimal digit in "\S+/keys":9}
}, 10), 'a faulty file is reported with its line');
is(as('acme', GET => '/v1/sandbox')->{status}, 200, '... and the keys stay');
is(as('salted', GET => '/v1/sandbox')->{status}, 200, '... all of them');
unlink "$s->{dir}/keys";
ok(wait_for(sub { slurp($s->{error_log}) =~ /stat\(\) failed/ }, 10),
    'so is a file that is missing');
is(as('acme', GET => '/v1/sandbox')->{status}, 200, '... and the keys stay');
write_keys(@lines);
ok(wait_for(sub { as('salted', GET => '/v1/sandbox')->{status} == 401 }, 10,
    0.2), 'then it is back');

# ---- sandboxd and nginx start anew -----------------------------------------

stop_process(delete $s->{daemon}, 'TERM', 30);
$s->start_daemon;
ok(wait_for(sub { as('acme', GET => '/v1/sandbox/box')->{status} == 200 }, 20,
    0.2), 'tenants are remembered by a new sandboxd');
is(as('acme', GET => '/v1/sandbox/box')->{json}{labels}{of}, 'acme',
    '... with their sandboxes');
$r = as('acme', GET => '/v1/sandbox/box/ports');
is($r->{json}{ports}[0]{url}, $url, '... and their prefix');
is(as('other', GET => '/v1/sandbox/more1')->{status}, 404,
    '... and apart');

# ---- the audit log ---------------------------------------------------------

my @audit = map { json_decode($_) } split /\n/, slurp("$s->{dir}/audit.log");
my ($made) = grep { ($_->{sandbox} // '') eq 'more1' } @audit;

is(join(' ', @$made{qw(key tenant method route status)}),
    'acme-ci acme POST /v1/sandbox 200', 'who made what');
ok($made->{created}, '... by that');
like($made->{address}, qr/^127\.0\.0\.1$/, '... from where');
like($made->{time}, qr/^\d{4}-\d\d-\d\dT/, '... when');
like($made->{request}, qr/^[0-9a-f]{32}$/, '... in which request');
my ($first) = grep { ($_->{sandbox} // '') eq 's1' && $_->{created} } @audit;
is("$first->{route} $first->{key}", '/v1/sandbox/{id}/api/execute slow',
    'what its first use has made, too');
my ($denied) = grep { $_->{status} == 403
    && $_->{key} eq 'acme-reader' } @audit;
is($denied->{error}, 'forbidden', 'what was refused, and why');
ok((grep { $_->{status} == 401 && !exists $_->{key} } @audit),
    'who was not known');
ok(!(grep { $_->{method} eq 'GET' && $_->{status} == 200 } @audit),
    'what is only read is left out');
ok(!(grep { index(slurp("$s->{dir}/audit.log"), $_) >= 0 } values %key),
    'no key is in it');
ok(!(grep { index(slurp($s->{error_log}) . slurp($s->{daemon_log}), $_) >= 0 }
    values %key, $s->{key}), 'nor in any log');

rename "$s->{dir}/audit.log", "$s->{dir}/audit.1";
kill 'USR1', $s->{nginx};
ok(wait_for(sub {
    as('acme', DELETE => '/v1/sandbox/more2');
    (slurp("$s->{dir}/audit.log") // '') =~ /more2/;
}, 10, 0.3), 'the log is reopened as all are');

$s->stop(allow => qr/stat\(\) failed/);
done_testing();
