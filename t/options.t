#!/usr/bin/perl

# Options of a sandbox after its creation: changes, the environment of what
# runs, entity tags, sleep and wake by hand, and a time to live.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(600);

my $true = JSON::PP::true();
my $s = System->start;

sub create {
    my ($id, %o) = @_;

    return $s->api(POST => '/v1/sandbox', json => { id => $id, %o });
}

sub record { return $s->api(GET => "/v1/sandbox/$_[0]") }

sub patch {
    my ($id, $json, %o) = @_;

    return $s->api(PATCH => "/v1/sandbox/$id", json => $json, %o);
}

sub out { return $s->exec(@_)->{stdout} }

# ---- options ----------------------------------------------------------------

my $r = create('a', sleepAfter => '5m', labels => { team => 'x', keep => '1' },
    env => { OLD => 'old', SAME => 'same' });
is($r->{status}, 200, 'created');
my $etag = $r->{headers}{etag};
like($etag, qr/^"[0-9a-f]{32}"$/, 'with an entity tag');
is(record('a')->{headers}{etag}, $etag, 'that stays');
is($s->api(GET => '/v1/sandbox/a', headers => { 'If-None-Match' => $etag })
    ->{status}, 304, 'and saves sending it again');
$s->kill_daemon;
$s->start_daemon;
$r = wait_for(sub { my $g = record('a'); $g->{status} == 200 && $g }, 10);
is($r->{headers}{etag}, $etag, 'sandboxd killed: the same tag');

$r = patch('a', { sleepAfter => 60, labels => { team => undef, new => 'y' },
    keepAlive => $true, nonsense => 1 });
is($r->{status}, 200, 'options change');
is_deeply($r->{json}{labels}, { keep => '1', new => 'y' },
    'labels one by one');
is($r->{json}{options}{sleepAfter}, 60, 'sleepAfter');
ok($r->{json}{options}{keepAlive}, 'keepAlive');
like($r->{json}{warnings}[0], qr/nonsense/, 'what is unknown is named');
isnt($r->{headers}{etag}, $etag, 'it has another tag');
$r = patch('a', { sleepAfter => undef, keepAlive => JSON::PP::false() });
is_deeply($r->{json}{options}, {}, 'null and false bring defaults back');

is(patch('a', { sleepAfter => '2h' }, headers => { 'If-Match' => $etag })
    ->{status}, 412, 'If-Match with an old tag: 412');
$r = record('a');
is($r->{json}{options}{sleepAfter}, undef, 'and nothing has changed');
is(patch('a', { sleepAfter => '2h' },
    headers => { 'If-Match' => $r->{headers}{etag} })->{status}, 200,
    'with the new one it goes');
is($s->api(DELETE => '/v1/sandbox/a', headers => { 'If-Match' => $etag })
    ->{status}, 412, 'DELETE asks as well');

for my $bad (
    [{ sleepAfter => 0 }, 400, 'sleepAfter'],
    [{ sleepAfter => '5x' }, 400, 'sleepAfter'],
    [{ image => 'other' }, 400, 'image'],
    [{ id => 'b' }, 400, 'id'],
    [{ activity => 'none' }, 400, 'activity'],
    [{ labels => { 'a b' => 'c' } }, 400, 'labels'],
    [{ env => { '1X' => 'c' } }, 400, 'env'],
    [{ resources => { disks => 1 } }, 400, 'resources'],
    [{ ephemeral => 'yes' }, 400, 'ephemeral'],
) {
    $r = patch('a', $bad->[0]);
    is($r->{status}, $bad->[1], json_encode($bad->[0]) . " is refused");
    like($r->{json}{field}, qr/^$bad->[2]/, 'and named');
}
is(patch('never', {})->{status}, 404, 'no such sandbox');
$s->kill_daemon;
$s->start_daemon;
$r = wait_for(sub { my $g = record('a'); $g->{status} == 200 && $g }, 10);
is($r->{json}{options}{sleepAfter}, 7200, 'changes survive kill -9');

# ---- the environment --------------------------------------------------------

is(out('a', 'echo $OLD-$SAME'), 'old-same', 'the environment of a creation');
$r = $s->api(PATCH => '/v1/sandbox/a/env', json => { OLD => undef,
    NEW => "it's \$new\n2" });
is($r->{status}, 200, 'it changes while the sandbox runs')
    or diag explain $r;
is_deeply([sort @{ $r->{json}{env} }], ['NEW', 'SAME'],
    'only names are answered');
is(out('a', 'echo "$OLD-$SAME-$NEW"'), "-same-it's \$new\n2",
    'the default session has it');
is(out('a', 'echo "$OLD-$SAME-$NEW"', body => { sessionId => 'other' }),
    "-same-it's \$new\n2", 'and a new one');
$s->api(POST => '/v1/sandbox/a/api/session/create',
    json => { id => 'mine', env => { MINE => '1' } });
$s->api(PATCH => '/v1/sandbox/a', json => { env => { LATER => 'l' } });
is(out('a', 'echo "$MINE-$LATER"', body => { sessionId => 'mine' }), '1-',
    'a session that was there keeps its own');
is(out('a', 'echo "$LATER"'), 'l', 'PATCH of the record does the same');
is_deeply([sort @{ $s->api(GET => '/v1/sandbox/a/env')->{json}{env} }],
    ['LATER', 'NEW', 'SAME'], 'GET tells the names');
is($s->api(PATCH => '/v1/sandbox/a/env', json => { 'A-B' => '1' })->{status},
    400, 'a name that is none');
is($s->api(PUT => '/v1/sandbox/a/internal/env', json => {})->{status}, 404,
    'the way to the agent is not for others');

$s->kill_daemon;
$s->start_daemon;
wait_for(sub { record('a')->{status} == 200 }, 10);
is(out('a', 'echo "$LATER"'), 'l', 'kill -9 of sandboxd changes none of it');

# ---- sleep and wake ---------------------------------------------------------

$r = $s->api(POST => '/v1/sandbox/a/sleep', timeout => 30);
is($r->{json}{state}, 'asleep', 'it can be put to sleep');
like($r->{json}{reason}, qr/put to sleep/, 'with the reason');
is($s->api(POST => '/v1/sandbox/a/sleep')->{json}{state}, 'asleep', 'twice');
is($s->api(GET => '/v1/sandbox/a/running')->{json}{running},
    JSON::PP::false(), 'it does not run');
$r = $s->api(POST => '/v1/sandbox/a/wake', timeout => 60);
is($r->{json}{state}, 'running', 'and be woken');
is(out('a', 'echo "$SAME$LATER"'), 'samel', 'with its environment');
is($s->api(POST => '/v1/sandbox/never/wake')->{status}, 404,
    'wake creates nothing');
is($s->api(POST => '/v1/sandbox/never/sleep')->{status}, 404, 'nor does sleep');

# ---- a disk, which stays what it is -----------------------------------------

SKIP: {
    $r = create('disk', resources => { disk => '80M' });
    skip 'no bounded disks on this host', 10 if $r->{status} == 422;

    is(patch('disk', { resources => { disk => '96M' } })->{json}{resources}
        {disk}, 96 << 20, 'a disk that isn\'t there yet may be another');
    is(out('disk', 'echo 1 > /workspace/f; cat /workspace/f'), '1', 'it has files');

    for my $disk ('64M', '128M', undef) {
        $r = patch('disk', { resources => { disk => $disk } });
        is_deeply([$r->{status}, @{ $r->{json} }{qw(code field limit)}],
            [422, 'unenforceable', 'resources.disk', 96 << 20],
            'then not any more: ' . ($disk // 'none')) or diag $r->{body};
    }

    $r = patch('disk', { resources => { disk => '96M', pids => 99 } });
    is_deeply([@{ $r->{json}{resources} }{qw(disk pids)}], [96 << 20, 99],
        'other limits may be others');
    $s->api(POST => '/v1/sandbox/disk/sleep', timeout => 30);
    is(patch('disk', { resources => { disk => '1G' } })->{status}, 422,
        'nor asleep');
    is(out('disk', 'cat /workspace/f'), '1', 'the files are there');

    create('plain');
    out('plain', 'echo 2 > /workspace/f');
    is(patch('plain', { resources => { disk => '64M' } })->{json}{field},
        'resources.disk', 'files are not moved to a disk');
    $s->api(POST => '/v1/sandbox/plain/sleep', timeout => 30);
    is(out('plain', 'cat /workspace/f'), '2', 'and stay');
}

# ---- files that don't survive ----------------------------------------------

create('eph', ephemeral => $true);
is(out('eph', 'echo 1 > /workspace/f; ls /workspace'), 'f',
    'an ephemeral sandbox');
$s->api(POST => '/v1/sandbox/eph/sleep', timeout => 30);
is(out('eph', 'ls /workspace'), '', 'has lost its files when it wakes');
patch('eph', { ephemeral => JSON::PP::false() });
$s->api(POST => '/v1/sandbox/eph/wake', timeout => 60);
out('eph', 'echo 3 > /workspace/f');
$s->api(POST => '/v1/sandbox/eph/sleep', timeout => 30);
is(out('eph', 'cat /workspace/f'), '3', 'until that option is taken back');

# ---- a time to live ---------------------------------------------------------

create('short', ttl => 4);
$r = record('short');
like($r->{json}{expiresAt}, qr/^20/, 'the record says when it ends');
is(patch('short', { ttl => 3600 })->{status}, 200, 'it may be longer');
create('gone', ttl => 3);
$s->exec('gone', 'true');
ok(wait_for(sub { record('gone')->{status} == 404 }, 20),
    'whose time is over is destroyed');
is(record('short')->{status}, 200, 'the other one is there');
sleep 2;
is(patch('short', { ttl => 1 })->{json}{field}, 'ttl',
    'an end that has been is refused');

$s->stop;

# ---- the host's limit of disks -----------------------------------------------

$s = System->new(workers => 1);
$s->start;
create('old');
out('old', 'echo 1 > /workspace/f');

SKIP: {
    skip 'no bounded disks on this host', 14
        if create('disk', resources => { disk => '64M' })->{status} == 422;

    $s->kill_daemon;
    $s->{daemon_args} = ['--disk-limit', '96M'];
    $s->start_daemon;
    is(create('new')->{json}{resources}{disk}, 96 << 20,
        'a sandbox that asks for no disk has the limit');
    $r = $s->exec('new', 'echo 2 > /workspace/f; cat /workspace/f');
    is($r->{stdout}, '2', 'it runs') or diag json_encode($r), slurp($s->{daemon_log});
    my ($size) = out('new', 'df -P -B 1M / | tail -1') =~ /^\S+ +(\d+)/;
    cmp_ok($size, '<', 97, 'on a disk of that size');
    is($s->exec('implied', 'echo up')->{stdout}, 'up', 'one that was not made');
    is(record('implied')->{json}{resources}{disk}, 96 << 20, '... has it, too');
    is(create($_)->{json}{created}, JSON::PP::false(), "$_: the same again")
        for qw(new old);
    is(create('less', resources => { disk => '64M' })->{json}{resources}{disk},
        64 << 20, 'less may be asked for');
    is(patch('less', { resources => { disk => undef } })->{json}{resources}
        {disk}, 96 << 20, 'and taken back');
    $r = create('more', resources => { disk => '97M' });
    is_deeply([$r->{status}, @{ $r->{json} }{qw(code field limit)}],
        [422, 'unenforceable', 'resources.disk', 96 << 20], 'more is refused')
        or diag $r->{body};

    is(record('old')->{json}{resources}{disk}, undef,
        'one from before the limit has none');
    is(patch('old', { labels => { a => 'b' } })->{status}, 200,
        '... and can be changed');
    $s->api(POST => '/v1/sandbox/old/sleep', timeout => 30);
    is(out('old', 'cat /workspace/f'), '1', '... and keeps its files');
    is(patch('old', { resources => { pids => 99 } })->{status}, 200,
        '... also with other limits');
}

$s->stop;
done_testing();
