#!/usr/bin/perl

# The warm pool, through the API: who gets one, that it is like any other then,
# how the pool is filled and emptied, and that nothing of it outlives sandboxd.
# It is about what comes in time: not with the sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use System;

alarm_after(240);

my $dir = tmp_dir();

# An image that holds no more than the agent needs, and a name to tell it by.
sub make_image {
    my ($path, $version) = @_;

    mkdir $_, 0755 for $path, map { "$path/$_" } qw(bin dev etc proc root run
        sys tmp usr var workspace);
    spew("$path/etc/version", "$version\n", 0644);
}

make_image("$dir/image", 1);

my $s = System->new(dir => $dir, daemon_args => ['--pool', 2,
    '--image', "small=$dir/image", '--pool', 'small=1',
    '--default-image', 'host', '--pool-interval', 300]);
$s->start;

sub stats { return $s->api(GET => '/v1/pool/stats')->{json} }

sub warm {
    my ($n, $image) = @_;

    return wait_for(sub {
        my $r = stats();

        return ($r && $r->{images}{$image // 'host'}{warm} // -1) == $n;
    }, 40, 0.05);
}

sub unassigned { return grep { -e "$_/layer/unused" }
    glob "$s->{state}/sandboxes/????????" }

# ---- filling -----------------------------------------------------------------

ok(warm(2), 'the pool is filled') or diag json_encode(stats()),
    slurp($s->{daemon_log});
ok(warm(1, 'small'), 'for each image');

my $r = stats();
is_deeply([@$r{qw(warm assigned total maxInstances)}, $r->{config}],
    [3, 0, 3, undef, { warmTarget => 3, refreshInterval => 300,
                       maxInstances => 0, scaleBatchSize => 1 }],
    'statistics');
is($s->api(GET => '/v1/pool/stats', no_key => 1)->{status}, 401,
    'not without a key');
is($s->api(POST => '/v1/pool/stats')->{status}, 405, 'nor by POST');
is(scalar(@{ $s->api(GET => '/v1/sandbox')->{json}{sandboxes} }), 0,
    'what waits is no sandbox yet');

# ---- what is ready in one ----------------------------------------------------

sub shims {
    return sort grep { (slurp("/proc/$_/comm") // '') =~ /^sandbox-shim/ }
        descendants($s->{daemon});
}

my @shims;
ok(wait_for(sub { (@shims = shims()) == 3 }, 20),
    'each has what its first command needs');
$s->api(POST => '/v1/sandbox', json => { id => 'first' });
$r = $s->exec('first', 'grep ^PPid: /proc/$$/status');
my ($parent) = ($r->{stdout} // '') =~ /(\d+)/;
my @used = grep { my ($status) = slurp("/proc/$_/status") // '';
    $status =~ /^NSpid:.*\t$parent$/m && descendants($_) > 1 } @shims;
is(scalar @used, 1, 'which that command then gets');
is($s->api(DELETE => '/v1/sandbox/first')->{status}, 204, 'it is destroyed');
ok(warm(2), 'another one takes its place');
my $hits = stats()->{images}{host}{hits};

# ---- who gets one ------------------------------------------------------------

is($s->exec('implicit', 'hostname; cat /etc/hostname; echo $HOSTNAME')->{stdout},
    "implicit\nimplicit\nimplicit", 'the first operation in an id takes one, with its name');
is(stats()->{images}{host}{hits}, $hits + 1, 'it was one');
ok(warm(2), 'another one takes its place');

$s->api(POST => '/v1/sandbox', json => { id => 'made',
    env => { GREETING => 'hello', BIG => 'x' x 60000 } });
is(stats()->{images}{host}{reserved}, 1, 'a created sandbox has one');
is($s->exec('made', 'echo $GREETING ${#BIG}')->{stdout}, "hello 60000",
    'with its environment');
is(stats()->{images}{host}{hits}, $hits + 2, 'it was one');
$r = $s->exec('made', 'ls -A /workspace /tmp | grep -v : | grep .; '
    . 'tr "\\\\0" "\\\\n" < /proc/1/environ | grep -c GREETING');
is($r->{stdout}, "0", 'it has nothing of others, and PID 1 no secret');

my $record = $s->api(GET => '/v1/sandbox/made')->{json};
is($record->{epoch}, 1, 'the first epoch') if $record;
is($record->{state}, 'running', 'running');

ok(warm(2), 'filled again');
SKIP: {
    skip 'no limits here', 2
        if grep { $_ eq 'memory' } @{ $record->{unenforced} || [] };

    $s->api(POST => '/v1/sandbox', json => { id => 'more',
        resources => { memory => '300M' } });
    is($s->exec('more', 'echo yes')->{stdout}, "yes",
        'with limits of its own');
    is(stats()->{images}{host}{hits}, $hits + 2, 'a sandbox takes none');
}

$s->api(POST => '/v1/sandbox', json => { id => 'unused' });
is(stats()->{images}{host}{reserved}, 1, 'created');
is($s->api(DELETE => '/v1/sandbox/unused')->{status}, 204,
    'and destroyed before its start');
ok(wait_for(sub { stats()->{images}{host}{reserved} == 0 }, 10),
    'what was prepared for it is gone');

$s->api(DELETE => '/v1/sandbox/made');
is($s->exec('made', 'echo $GREETING; ls /workspace')->{stdout}, "",
    'the same id again is a new sandbox');

# ---- those that die ----------------------------------------------------------

ok(warm(2), 'filled again');
my ($one) = unassigned();
my ($pid) = slurp("$one/lock") =~ /^(\d+)/;
kill 'KILL', $pid;
ok(wait_for(sub { !-e $one }, 20), 'one that has died is cleared away');
ok(warm(2), 'and another one made');

# ---- images ------------------------------------------------------------------

sub version_of {
    my ($id) = @_;

    $s->api(POST => '/v1/sandbox', json => { id => $id, image => 'small' });

    return $s->api(POST => "/v1/sandbox/$id/api/read",
        json => { path => '/etc/version' })->{json}{content};
}

ok(warm(1, 'small'), 'the other image');
is(version_of('old'), "1\n", 'is the one that was there');
ok(warm(1, 'small'), 'filled again');

make_image("$dir/next", 2);
rename "$dir/image", "$dir/former";
rename "$dir/next", "$dir/image";
is(version_of('new'), "2\n", 'a replaced image is used at once');
ok(wait_for(sub { stats()->{images}{small}{dropped} >= 1 }, 10),
    'what was prepared from the former one is dropped');
ok(warm(1, 'small'), 'and prepared from the new one');
is(version_of('newer'), "2\n", 'as is the next');

# ---- emptying ----------------------------------------------------------------

is_deeply($s->api(POST => '/v1/pool/shutdown-prewarmed')->{json},
    { ok => JSON::PP::true }, 'emptied');
ok(warm(0) && warm(0, 'small'), 'none waits');
ok(wait_for(sub { !unassigned() }, 20), 'nothing of them is left');
is($s->exec('implicit', 'echo on')->{stdout}, "on",
    'the sandboxes live on');
sleep 0.7;
is(stats()->{warm}, 0, 'it stays empty');
is($s->exec('cold', 'hostname')->{stdout}, "cold",
    'a start does without it');
is_deeply($s->api(POST => '/v1/pool/prime')->{json},
    { ok => JSON::PP::true }, 'primed');
ok(warm(2), 'it is filled again');

# ---- kill -9 -----------------------------------------------------------------

$s->api(POST => '/v1/sandbox', json => { id => 'between' });
my @pids = map { slurp("$_/lock") =~ /^(\d+)/ } unassigned();
cmp_ok(scalar @pids, '>=', 2, 'some wait, one for a sandbox');
$s->kill_daemon;
ok(wait_for(sub { !grep { process_alive($_) } @pids }, 20),
    'they end with sandboxd');

$s->start_daemon;
is($s->exec('implicit', 'echo on')->{stdout}, "on",
    'what was somebody\'s lives on');
is($s->exec('between', 'hostname; cat /etc/hostname')->{stdout},
    "between\nbetween", 'a record whose own was lost starts from the beginning');
ok(warm(2), 'the new sandboxd fills its own');

ok(wait_for(sub { !glob "$s->{state}/sandboxes/trash-*" }, 20),
    'what was left is deleted');

$s->stop;
done_testing();
