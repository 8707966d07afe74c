#!/usr/bin/perl

# What sandboxes can reach under each policy for outbound traffic.  All of it is
# in network and mount namespaces of this file's own: decoys of a public host, a
# cloud's metadata, a private net and a neighbour stand there, which are alive,
# and nothing leads out of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use NetWorld;
use System;

BEGIN { NetWorld->enter }

alarm_after(240);

my $dir = tmp_dir();
my $POOL = '100.64.8.0/24';
my $w = NetWorld->new;
my ($PUBLIC, $OTHER, $NAMED, $MOVED, $META, $PRIVATE, $LAN, $HOST)
    = @$w{qw(public other named moved meta private lan host)};

$w->hosts("$NAMED named.example.com\n$PRIVATE rebound.example.com\n");

# ---- without a pool ----------------------------------------------------------

my $s = System->start(dir => $dir, workers => 1);
my $r = $s->api(POST => '/v1/sandbox', json => { id => 'x',
    network => { outbound => 'on' } });
is_deeply([$r->{status}, $r->{json}{code}, $r->{json}{field}
    // $r->{json}{context}{field}], [422, 'unenforceable', 'network.outbound'],
    'no pool: a policy is refused') or diag json_encode($r);
is($s->api(GET => '/v1/sandbox/x')->{status}, 404, 'and there is no sandbox');
is($s->exec('plain', 'ls /sys/class/net')->{stdout}, 'lo',
    'one without has its loopback alone');
$s->stop;
is(`nft list ruleset`, '', 'and no rules were made');

# ---- with one ------------------------------------------------------------------

my @args = ('--network-pool', $POOL, '--network-private', '10.9.8.0/24',
    '--network-refresh', 1, '--network-resolver', $LAN);

$s = System->new(dir => $dir, workers => 1, daemon_args => \@args);
$s->start;

sub create {
    my ($id, $outbound, %o) = @_;
    my $answer = $s->api(POST => '/v1/sandbox', json => { id => $id,
        network => { outbound => $outbound }, %o });

    return $answer;
}

# Who answers each of them: the counter-check is that it is asked from here.
my %targets = (public => "$PUBLIC:80", other => "$OTHER:80",
    named => "$NAMED:80", meta => "$META:80", private => "$PRIVATE:80",
    lan => "$LAN:80", host => "$HOST:8099", gateway => '100.64.8.1:8099');

sub reached {
    my ($id, %more) = @_;
    my %all = (%targets, %more);
    my $cmd = join "\n", map { "(curl -s -m 4 -o /dev/null http://$all{$_}/"
        . " && echo $_) &" } sort keys %all;
    my $begun = time;
    my $out = $s->exec($id, "$cmd\nwait")->{stdout} // '';

    note sprintf '%s: %.2f s', $id, time - $begun;

    return join ' ', sort split ' ', $out;
}

for my $name (sort keys %targets) {
    next if $name eq 'gateway';
    like(`curl -s -m 4 http://$targets{$name}/`, qr/^(world|host) /,
        "the decoy $name is alive");
}

is(create('none', 'off')->{json}{network}{outbound}, 'none', 'off is none');
is(reached('none'), '', 'which reaches nothing');

$r = create('on', 'on');
is($r->{json}{network}{outbound}, 'on', 'on, in the record')
    or diag json_encode($r);
is(reached('on'), 'named other public',
    'reaches what is public, and neither this host nor private nets')
    or diag slurp($s->{daemon_log}), `nft list ruleset`;
like($s->exec('on', "curl -s -m 4 http://$PUBLIC/")->{stdout},
    qr/^world \Q$HOST\E$/, 'with the address of this host');
is($s->exec('on', 'cat /etc/resolv.conf')->{stdout}, "nameserver $LAN",
    'and has its resolver');
is(reached('on', dns => "$LAN:53"), 'dns named other public',
    'of which it reaches that port');

# What it has sent and received, and nothing that came by the API.
sub traffic { return $s->api(GET => "/v1/sandbox/$_[0]/stats")->{json}{network} }

my $before = traffic('on');
$s->exec('on', "for i in \$(seq 20); do curl -s -m 4 -o /dev/null"
    . " http://$PUBLIC/\$(printf %01000d 0); done");
my $after = traffic('on');
my $sent = $after->{sentBytes} - $before->{sentBytes};
cmp_ok($sent, '>', 20 * 1000, "bytes sent are counted ($sent)");
cmp_ok($after->{$_}, '>', $before->{$_}, "... as are $_")
    for qw(sentPackets receivedBytes receivedPackets);
$s->api(PUT => '/v1/sandbox/on/file/workspace/large', body => 'x' x 2_000_000);
cmp_ok(traffic('on')->{receivedBytes}, '<', 1_000_000, "... but not the API's");
$s->exec('none', 'true');
is(traffic('none'), undef, 'without a network there is nothing to count');

# Two beside each other: each listens, and is alive.
create('two', 'on');
my $listen = '(cd /tmp && python3 -m http.server 8000 >/dev/null 2>&1 &);'
    . ' for i in $(seq 100); do curl -s -m 1 -o /dev/null'
    . ' http://127.0.0.1:8000/ && echo up && break; sleep 0.1; done';
is($s->exec('two', $listen)->{stdout}, 'up', 'a neighbour listens');
my ($neighbour) = $s->exec('two', 'hostname -I')->{stdout} =~ /(100\.64\.8\.\d+)/;
ok($neighbour, 'at an address of the pool');
like(reached('on', neighbour => "$neighbour:8000"), qr/^named other public$/,
    'which is not reached');
isnt(system("curl -s -m 1 -o /dev/null http://$neighbour:8000/"), 0,
    'nor from this host');

# ---- allow-lists -----------------------------------------------------------

create('nets', { allow => [$PUBLIC, '198.51.100.8/31'] });
is(reached('nets', moved => "$MOVED:80", dns => "$LAN:53"), 'moved public', 'addresses and nets');
create('wide', { allow => ['0.0.0.0/0'] });
is(reached('wide'), 'named other public', 'everything is what is public');
create('inner', { allow => ['10.9.8.7', $PUBLIC] });
is(reached('inner'), 'private public', 'a private net that this host allows');
for my $never ('10.9.9.1', '192.168.77.1', $META, '127.0.0.1', '100.64.8.2',
    '100.64.8.0/24', '224.0.0.1')
{
    is(create('never', { allow => [$never] })->{json}{code}, 'unenforceable',
        "$never can't be allowed");
}

# ---- names -----------------------------------------------------------------

$r = create('names', { allow => ['Named.Example.com'] });
is_deeply($r->{json}{network}{outbound}, { allow => ['named.example.com'] },
    'names');
is(reached('names', byname => 'named.example.com:80',
    moved => "$MOVED:80"), 'byname named', 'are reached by name');

$r = create('rebound', { allow => ['rebound.example.com'] });
$r = $s->api(POST => '/v1/sandbox/rebound/exec', json => { argv => ['true'] });
is($r->{status}, 503, 'a public name with a private address is refused');
like(json_encode($r->{json}), qr/no public address/, 'and says so');
is(create('nowhere', { allow => ['nowhere.example.com'] })->{json}{id},
    'nowhere', 'a name may come to be');

$w->hosts("$MOVED named.example.com\n");
ok(wait_for(sub { reached('names', byname => 'named.example.com:80',
    moved => "$MOVED:80") eq 'byname moved' }, 20, 0.5),
    'the name has another address, and the old one is not reached any more');
$w->hosts("$PRIVATE named.example.com\n");
sleep 2.5;
is(reached('names', byname => 'named.example.com:80'), 'byname',
    'one that turns private keeps the one that it had');

# ---- inside tricks -----------------------------------------------------------

my $spoof = 'python3 -c "import socket; s=socket.socket();'
    . ' s.bind((chr(49)+\"0.9.8.7\",0))" 2>&1 | tail -1';
like($s->exec('on', $spoof)->{stdout}, qr/Cannot assign/,
    'another source address');
isnt($s->exec('on', 'ip addr add 10.1.2.3/32 dev eth0')->{exitCode}, 0,
    'nor an address more');
is($s->exec('on', 'cat /proc/net/if_inet6 | grep -v " lo$" | wc -l')->{stdout},
    0, 'no IPv6');

# ---- changes -----------------------------------------------------------------

sub patch {
    return $s->api(PATCH => "/v1/sandbox/$_[0]",
        json => { network => { outbound => $_[1] } });
}

$r = patch('on', { allow => [$OTHER] });
is($r->{status}, 200, 'a running one is changed') or diag json_encode($r);
is(reached('on'), 'other', 'at once');
is(patch('on', 'none')->{status}, 200, 'to nothing');
is(reached('on'), '', 'at once');
is(patch('on', 'on')->{status}, 200, 'and back');
is(reached('on'), 'named other public', 'at once');
is(patch('on', { allow => ['192.168.1.1'] })->{status}, 422,
    'not to what this host refuses');
$r = patch('on', { allow => ['nowhere.example.com'] });
is($r->{status}, 503, 'one that can\'t be brought about is an error')
    or diag json_encode($r);
is(reached('on'), '', 'and leaves nothing');
patch('on', 'on');

$s->api(POST => '/v1/sandbox/on/sleep');
unlike(`ip -o link`, qr/sbx.*sbx.*sbx.*sbx.*sbx.*sbx.*sbx/, 'asleep');
is(reached('on'), 'named other public', 'and awake as before');

# ---- sandboxd's end ------------------------------------------------------------

my $links = `ip -o link | grep -c sbx`;
my ($id, $slot) = ('two', 0);

$s->kill_daemon('KILL') if $s->can('kill_daemon');
$w->sh('ip link add sbx0000ffff type veth peer name nobodys');
$s->start_daemon;
is(`ip -o link | grep -c sbx`, $links, 'after a crash what nobody has is swept');
is(reached('two'), 'named other public', 'what was taken over goes on');
is(reached('nets'), 'public', 'as before');
is(reached('none'), '', 'also where there was none');

# Another pool: the links are made anew.
$s->kill_daemon;
$s->{daemon_args}[1] = '100.64.11.0/24';
$s->start_daemon;
ok(wait_for(sub { reached('two') eq 'named other public' }, 20),
    'taken over with another pool');
is(`ip -o route | grep -c '^100[.]64[.]8[.]'`, "0\n", 'whose addresses it has');

$s->stop;
is(`ip -o link | grep sbx`, '', 'no link is left');
is(`nft list ruleset`, '', 'and no rule');

# ---- an end while its network is made --------------------------------------

$s = System->new(dir => $dir, workers => 1, daemon_args => ['--network-pool',
    $POOL]);
$s->start;
$w->silent_resolver;
create('brief', { allow => ['slow.example.com'] });

my $log = "$dir/brief";
my $asked = start_process(cmd => ['curl', '-s', '-m', '60', '-H',
    "Authorization: Bearer $s->{key}", '-d', '{"argv":["true"]}',
    "http://localhost:$s->{port}/v1/sandbox/brief/exec"], log => $log);

ok($s->kill_sandbox('brief'), 'it ends while its names are looked up');
ok(wait_for(sub { !process_alive($asked) }, 60), 'who asked gets an answer');
like(slurp($log), qr/could not be started/, 'that it has failed');
is(patch('brief', 'none')->{status}, 200, 'with another policy');
ok(wait_for(sub { ($s->exec('brief', 'echo up')->{stdout} // '') eq 'up' }, 30,
    0.5), 'it starts');
$s->stop;

# ---- bandwidth -------------------------------------------------------------

$s = System->new(dir => $dir, workers => 1, daemon_args => ['--network-pool',
    $POOL, '--network-rate', '512K', '--pool', 1]);
$s->start;
ok(wait_for(sub { my $p = $s->api(GET => '/v1/pool/stats')->{json};
    ($p->{images}{host}{warm} // 0) == 1 }, 40, 0.05), 'one is prepared');
create('slow', 'on');

my $begun = time;
my $got = $s->exec('slow', "curl -s -m 60 http://$PUBLIC/big | wc -c")->{stdout};
my $took = time - $begun;

is($s->api(GET => '/v1/pool/stats')->{json}{images}{host}{hits}, 1,
    'a prepared one gets its network with its owner');
cmp_ok($got, '>', 2_000_000, 'what is limited gets there');
cmp_ok($took, '>', 1.5, sprintf 'in its time (%.1f s)', $took);
$begun = time;
system("curl -s http://$PUBLIC/big >/dev/null");
cmp_ok(time - $begun, '<', 2, 'which is not the line\'s');

# Each may be given less.
sub limited {
    return $s->api(POST => '/v1/sandbox', json => { id => $_[0],
        network => { outbound => 'on', bandwidth => $_[1] } });
}

sub in_force {
    my (undef, $out) = run_command(['nft', 'list', 'table', 'inet', 'sandboxd']);

    return join ' ', sort $out =~ /limit (?:up|down)\w+ \{\s+rate over (\d+ \w+)\/second/g;
}

$r = limited('much', '1M');
is_deeply([$r->{status}, @{ $r->{json} }{qw(code field limit)}],
    [422, 'unenforceable', 'network.bandwidth', 512 << 10],
    'more than the host gives is refused') or diag $r->{body};
for (1000, 'fast', -1, 5 << 30, []) {
    $r = limited('odd', $_);
    is_deeply([$r->{status}, $r->{json}{field}], [400, 'network.bandwidth'],
        "no bandwidth: " . json_encode($_)) or diag $r->{body};
}
$r = limited('less', '128K');
is_deeply($r->{json}{network}, { outbound => 'on', bandwidth => 128 << 10 },
    'its record says what it has');
$begun = time;
is($s->exec('less', "curl -s -m 60 http://$PUBLIC/big | head -c 700000 | wc -c")
    ->{stdout}, 700000, 'one that has less');
$took = time - $begun;
cmp_ok($took, '>', 2.5, sprintf '... has less (%.1f s)', $took);
is(in_force(), join(' ', ('128 kbytes') x 2, ('512 kbytes') x 2),
    'each has its own');
$r = $s->api(PATCH => '/v1/sandbox/less', json => { network =>
    { outbound => 'on', bandwidth => 65536 } });
is($r->{status}, 200, 'it is changed while it runs');
is(in_force(), join(' ', ('512 kbytes') x 2, ('64 kbytes') x 2), '... at once');
$s->api(PATCH => '/v1/sandbox/less', json => { network =>
    { outbound => 'on' } });
is(in_force(), join(' ', ('512 kbytes') x 4), '... and taken back');
$s->api(DELETE => '/v1/sandbox/less');
ok(wait_for(sub { in_force() eq join ' ', ('512 kbytes') x 2 }, 20),
    'it goes with it');
$s->stop;

# ---- where it can't be enforced ------------------------------------------------

sub refused {
    my ($what, $re, @with) = @_;
    my ($status, $out) = (0, '');

    $out = `timeout 20 @with $ENV{SANDBOXD} 2>&1`;
    like($out, $re, $what);
}

$ENV{SANDBOXD} = build_dir() . "/sandboxd --state-dir $dir/s2 --run-dir $dir/r2"
    . " --secret-file $dir/secret2 --agent " . build_dir() . '/sandbox-agent'
    . " --dev --network-pool $POOL";
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';
refused('without the right to', qr/^sandboxd: .*nftables/m,
    'setpriv --bounding-set=-net_admin --inh-caps=-net_admin');
$w->sh('echo 0 > /proc/sys/net/ipv4/ip_forward');
refused('where nothing is forwarded', qr/ip_forward is not 1/);
is(`nft list ruleset`, '', 'no rule');

$w->end;
done_testing();
