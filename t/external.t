#!/usr/bin/perl

# Sandboxes that others run: an agent that this test starts is registered,
# looked at, routed to, lost and found again, across restarts of sandboxd; what
# can't be done with it is said.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Digest::SHA qw(sha256_hex);
use Harness;
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(400);

my $s = System->new(http_conf => 'sandbox_wake_timeout 20s;');
my $pods = "$s->{dir}/pods";
my $tenant_key = 'key_acme_' . sha256_hex(rand() . $$);

mkdir $pods;
spew("$s->{dir}/keys", sha256_hex($s->{key}) . " root\n"
    . sha256_hex($tenant_key) . " acme tenant=acme\n", 0600);
$s->{daemon_args} = ['--external-dir', $pods];
$s->start;

sub pod {
    my ($name, %o) = @_;

    mkdir "$pods/$name";
    mkdir "$pods/$name/workspace";

    my $agent = AgentClient->start(dir => "$pods/$name", %o,
        args => ['--workspace', "$pods/$name/workspace"]);

    return $agent;
}

sub end { stop_process($_[0]->pid, 'TERM', 20); unlink $_[0]{socket} }
sub at { return { kind => 'unix', name => $_[0] } }

sub put {
    my ($id, $endpoint, $key, %o) = @_;
    my $query = delete $o{query} // '';

    return $s->api(PUT => "/v1/external/$id$query",
        json => { endpoint => $endpoint, key => $key, %o });
}

sub record { return $s->api(GET => "/v1/sandbox/$_[0]")->{json} || {} }
sub ping { return $s->api(GET => "/v1/sandbox/$_[0]/api/ping") }

my $one = pod('one');
my $r = put('one', at('one/agent'), $one->{key}, labels => { a => 'b' });

is($r->{status}, 200, 'an agent of others is registered')
    or diag $r->{body}, slurp($s->{daemon_log});
is($r->{json}{state}, 'running', 'it was looked at, and answers');
is($r->{json}{created} ? 1 : 0, 1, 'it is new');
is_deeply($r->{json}{endpoint}, at('one/agent'), 'where it is');
unlike($r->{body}, qr/$one->{key}/, 'its key is shown to nobody');
is_deeply($r->{json}{driver}, { name => 'external',
    kernelIsolation => JSON::PP::false(), memorySnapshot => JSON::PP::false(),
    start => JSON::PP::false(), sleep => JSON::PP::false(),
    fork => JSON::PP::false() },
    'the driver, and what it can do');
is_deeply([@{ $r->{json} }{qw(image network unenforced)}], [undef, undef, []],
    'what is not known of it');
my $epoch = $r->{json}{epoch};

ok(!exists record('one')->{endpoint}, 'the record says nothing of where it is');
is_deeply($s->api(GET => '/v1/external/one')->{json}{endpoint},
    at('one/agent'), 'which can be asked for');

# ---- it is used like any other

is($s->exec('one', 'echo $((6 * 7))')->{stdout}, '42', 'a command in it');

my $port = free_port();
my $server = start_process(log => "$s->{dir}/server.log",
    cmd => ['python3', '-m', 'http.server', $port, '--bind', '127.0.0.1',
            '--directory', "$pods/one/workspace"]);

spew("$pods/one/workspace/page", "of one\n");
wait_for(sub { http_connect(port => $port) }, 20);
my $exposure = $s->expose('one', $port);

is($s->preview("$exposure->{url}page")->{body}, "of one\n", 'a preview of it');
ok(grep({ $_->{id} eq 'one' }
    @{ $s->api(GET => '/v1/sandbox?state=running&label=a=b')->{json}{sandboxes} }),
    'it is in the list');
$r = $s->api(GET => '/v1/sandbox/one/stats');
is_deeply([$r->{status}, $r->{json}{cpu}{usageNs}, $r->{json}{memory}{current}],
    [200, undef, undef], 'what it uses is not known here');
cmp_ok($r->{json}{uptimeMs}, '>', 0, 'but since when it is there');

# What its visitors do is limited.
$r = put('one', at('one/agent'), $one->{key}, labels => { a => 'b' },
    limits => { requestsPerSecond => 1, burst => 1 });
is_deeply([$r->{status}, $r->{json}{epoch}], [200, $epoch],
    'it gets limits, and stays the same run');
ok(wait_for(sub {
    $s->preview("$exposure->{url}page")->{status} == 429
}, 20, 0.01), 'which hold for its visitors');
put('one', at('one/agent'), $one->{key}, labels => { a => 'b' });
ok(wait_for(sub {
    !grep { $s->preview("$exposure->{url}page")->{status} != 200 } 1 .. 4
}, 20), 'until it has none');

# ---- what can't be done

for my $what (['POST', 'sleep'], ['POST', 'wake'],
              ['PATCH', '', { sleepAfter => '1h' }],
              ['PATCH', '', { resources => { memory => '1G' } }],
              ['PATCH', 'env', { A => 'b' }])
{
    my ($method, $path, $json) = @$what;

    $r = $s->api($method => '/v1/sandbox/one' . ($path && "/$path"),
        $json ? (json => $json) : ());
    is("$r->{status} $r->{json}{code}", '501 unsupported',
        "$method $path " . ($json ? json_encode($json) : '')
        . ': not with this driver');
}
like($r->{json}{error}, qr/runs elsewhere.*"external"/, 'and why');
$r = $s->api(PATCH => '/v1/sandbox/one',
    json => { labels => { a => undef, c => 'd' } });
is_deeply([$r->{status}, $r->{json}{labels}, $r->{json}{epoch}],
    [200, { c => 'd' }, $epoch], 'labels are changed');
is($s->api(PATCH => '/v1/sandbox/one', json => { key => 'a' x 32 })->{status},
    400, 'its key is not, so');
is($s->api(POST => '/v1/sandbox', json => { id => 'one' })->{json}{code},
    'exists', 'nobody makes a sandbox of this name here');

# ---- what is refused

sub refused {
    my ($endpoint, $status, $code, $what, $key) = @_;
    my $got = put('none', $endpoint, $key // 'a' x 32);

    is("$got->{status} $got->{json}{code}", "$status $code", $what)
        or diag $got->{body};
    return $got;
}

refused(at($_), 400, 'invalid_request', "no name: $_")
    for '/etc/passwd', '../run/control.sock', 'one/../one/agent', '';
refused(at('one/agent'), 400, 'invalid_request', 'no key', 'A' x 32);
refused({ kind => 'tcp', address => '127.0.0.1', port => 80 }, 403,
    'endpoint_not_allowed', 'an address that was not allowed');
refused({ kind => 'vsock', cid => 7, port => 80 }, 403,
    'endpoint_not_allowed', 'nor any cid');
is($s->api(GET => '/v1/sandbox/none')->{status}, 404, 'nothing came of these');

$r = $s->api(PUT => '/v1/external/mine', no_key => 1,
    headers => { Authorization => "Bearer $tenant_key" },
    json => { endpoint => at('one/agent'), key => $one->{key} });
is($r->{status}, 403, 'a tenant registers nothing');
$s->api(POST => '/v1/sandbox', json => { id => 'here' });
is(put('here', at('one/agent'), $one->{key})->{json}{code}, 'exists',
    'one that runs here is not taken over');
is($s->api(GET => '/v1/external/here')->{status}, 404, 'nor shown as one');

# What isn't reached is registered all the same, and says why.

symlink 'one', "$pods/link";
symlink 'one/agent', "$pods/to-agent";
spew("$pods/file", 'x');
for (['there/is/none', qr/isn't there/], ['link/agent', qr/symbolic link/],
     ['to-agent', qr/symbolic link|is none/], ['file', qr/is none/])
{
    $r = put('bad', at($_->[0]), $one->{key});
    is_deeply([$r->{status}, $r->{json}{state}], [200, 'unreachable'],
        "$_->[0] is registered, and not reached") or diag $r->{body};
    like($r->{json}{reason}, $_->[1], 'why');
}
$r = put('bad', at('one/agent'), 'b' x 32);
like($r->{json}{reason}, qr/another key/, 'another key');
is((stat("$s->{dir}/pods/one/agent"))[1], (stat _)[1], 'the socket is there');
is(scalar(() = glob "$s->{run}/s/*"), 1,
    'and only what has answered has a name for the workers');

{
    my $l = IO::Socket::UNIX->new(Local => "$pods/deaf", Listen => 5);
    my $begin = time();

    $r = put('bad', at('deaf'), $one->{key});
    like($r->{json}{reason}, qr/too long/, 'one that says nothing');
    $begin = time();
    $r = ping('bad');
    is("$r->{status} $r->{json}{code}", '503 sandbox_unreachable',
        'what is asked of it is answered');
    ok($r->{headers}{'retry-after'} > 0, 'with when to come back');
    is((stat("$pods/deaf"))[2] & 0777, 0777 & ~umask,
        'a socket that has not answered stays as it is');
}
is($s->api(DELETE => '/v1/sandbox/bad')->{status}, 204, 'it is forgotten');

# Looks that are under way: what was registered last counts, and what is
# forgotten stays so.
{
    my $l = IO::Socket::UNIX->new(Local => "$pods/mute", Listen => 5);
    my @pids;

    for my $id (qw(late gone)) {
        my $pid = fork() // die $!;

        if ($pid == 0) {
            put($id, at('mute'), $one->{key});
            POSIX::_exit(0);
        }
        push @pids, $pid;
        wait_for(sub { $s->api(GET => "/v1/sandbox/$id")->{status} == 200 },
            20, 0.02);
    }
    is($s->api(DELETE => '/v1/sandbox/gone')->{status}, 204,
        'one is forgotten while it is looked at');
    $r = put('late', at('one/agent'), $one->{key});
    is($r->{json}{state}, 'running', 'one is registered anew meanwhile');
    is(ping('late')->{status}, 200, 'and reached where it is now');
    waitpid $_, 0 for @pids;
    is($s->api(GET => '/v1/sandbox/gone')->{status}, 404,
        'the other one stays forgotten');
    is(scalar(() = glob "$s->{run}/s/*"), 2, 'and has no name');
    $s->api(DELETE => '/v1/sandbox/late');
    unlink "$pods/mute";
}

# Somebody puts another socket in its place.
{
    my $impostor = pod('impostor');

    rename "$pods/one/agent", "$pods/one/away" or die $!;
    rename "$pods/impostor/agent", "$pods/one/agent" or die $!;
    is(ping('one')->{status}, 200, 'what has answered is what is reached');
    unlike(slurp("$pods/impostor/agent.log") // '', qr/key/,
        'nobody else hears of the key');
    rename "$pods/one/away", "$pods/one/agent" or die $!;
    stop_process($impostor->pid, 'TERM', 20);
}

# Its time is over.
$r = put('brief', at('one/agent'), $one->{key}, ttl => '1s');
is($r->{json}{state}, 'running', 'one for a second');
ok(wait_for(sub { $s->api(GET => '/v1/sandbox/brief')->{status} == 404 }, 20),
    'is forgotten');
ok(process_alive($one->pid), 'and not ended');

# A VMM's socket, behind which the agent has a vsock port.
{
    my $l = IO::Socket::UNIX->new(Local => "$pods/vm", Listen => 64);
    my $vmm = fork() // die $!;

    if ($vmm == 0) {
        local $SIG{CHLD} = 'IGNORE';

        while (my $c = $l->accept) {
            next if fork();
            my ($line, $byte) = '';

            until ($line =~ /\n/) {
                sysread($c, $byte, 1) or POSIX::_exit(0);
                $line .= $byte;
            }
            POSIX::_exit(0) if $line ne "CONNECT 1024\n";

            my $a = IO::Socket::UNIX->new(Peer => "$pods/one/agent");
            my $select = IO::Select->new($a, $c);

            syswrite $c, "OK 1073741824\n";
            while (1) {
                for my $from ($select->can_read) {
                    sysread($from, my $data, 65536) or POSIX::_exit(0);
                    syswrite $from == $a ? $c : $a, $data;
                }
            }
        }
        POSIX::_exit(0);
    }
    close $l;

    my %vm = (kind => 'unix', name => 'vm', vsockPort => 1024);

    $r = put('vm', \%vm, $one->{key});
    is_deeply([$r->{json}{state}, $r->{json}{endpoint}], ['running', \%vm],
        "an agent behind a VMM's socket is registered")
        or diag $r->{body};
    is($s->exec('vm', 'echo in vm')->{stdout}, 'in vm', 'and used');
    is($s->preview($s->expose('vm', $port)->{url} . 'page')->{body},
        "of one\n", 'and its previews');
    $r = put('vm', { %vm, vsockPort => 1025 }, $one->{key});
    like($r->{json}{reason}, qr/vsock port/, 'another port is nobody\'s');
    $r = put('vm', at('vm'), $one->{key});
    is($r->{json}{state}, 'unreachable', 'nor is it one without a VMM');
    $r = put('vm', { %vm, name => 'one/agent' }, $one->{key});
    like($r->{json}{reason}, qr/no virtual machine's/, 'nor the other way');
    $s->api(DELETE => '/v1/sandbox/vm');
    kill 'KILL', $vmm;
    waitpid $vmm, 0;
    unlink "$pods/vm";
}

# ---- lost and found

end($one);
$r = ping('one');
is("$r->{status} $r->{json}{code}", '503 sandbox_unreachable',
    'an agent that has ended is noticed by who asks for it')
    or diag $r->{body};
is(record('one')->{state}, 'unreachable', 'the record says so');
is_deeply([map { $_->{id} }
    @{ $s->api(GET => '/v1/sandbox?state=unreachable')->{json}{sandboxes} }],
    ['one'], 'and lists do');
$r = $s->preview("$exposure->{url}page");
is($r->{status}, 503, 'a preview of it, too');
unlike($r->{body}, qr/agent'|$pods|Connection/, 'and nothing of where it was');
is($s->api(GET => '/v1/sandbox/one/running')->{json}{running} ? 1 : 0, 0,
    'it does not run');

$one = pod('one');
$r = put('one', at('one/agent'), $one->{key}, labels => { c => 'd' });
is_deeply([$r->{json}{state}, $r->{json}{created} ? 1 : 0], ['running', 0],
    'registered anew, with its new key');
cmp_ok($r->{json}{epoch}, '>', $epoch, 'with another epoch');
$epoch = $r->{json}{epoch};
is(ping('one')->{status}, 200, 'it is reached again');
is($s->preview("$exposure->{url}page")->{body}, "of one\n",
    'its exposures have stayed');

$r = put('one', at('one/agent'), $one->{key}, labels => { c => 'd' });
is($r->{json}{epoch}, $epoch, 'the same again changes nothing');

# It comes back at the same name with the same key, and nobody says so.
my $key = $one->{key};

end($one);
ping('one');
sub same_key {
    my ($name, $k) = @_;

    spew("$pods/$name/key", "$k\n");
    return start_process(log => "$pods/$name/agent.log",
        env => { ASAN_OPTIONS => 'detect_leaks=0' },
        cmd => [build_dir() . '/sandbox-agent', '--listen',
                "unix:$pods/$name/agent", '--key-file', "$pods/$name/key",
                '--workspace', "$pods/$name/workspace"]);
}
my $again = same_key('one', $key);

ok(wait_for(sub { record('one')->{state} eq 'running' }, 60),
    'one that comes back is found by itself');
cmp_ok(record('one')->{epoch}, '>', $epoch, 'with another epoch, too');
is(ping('one')->{status}, 200, 'and is reached');
$epoch = record('one')->{epoch};

# ---- restarts of sandboxd

my $inode = (stat "$pods/one/agent")[1];

$s->kill_daemon;
is($s->preview("$exposure->{url}page")->{body}, "of one\n",
    'without sandboxd it is reached');
$s->start_daemon;
ok(wait_for(sub { (record('one')->{state} // '') eq 'running' }, 20),
    'a killed sandboxd: it is still there');
is(record('one')->{epoch}, $epoch, 'with the same epoch');
is(ping('one')->{status}, 200, 'and is reached');
is((stat((glob "$s->{run}/s/*")[0]))[1], $inode, 'by the same socket');

stop_process(delete $s->{daemon}, 'TERM', 30);
is($s->preview("$exposure->{url}page")->{body}, "of one\n",
    'a sandboxd that stops what runs here leaves it alone');
stop_process($again, 'TERM', 20);
unlink "$pods/one/agent";
$again = same_key('one', $key);
wait_for(sub { -S "$pods/one/agent" }, 20);
$s->start_daemon;
ok(wait_for(sub { (record('one')->{epoch} // 0) > $epoch
                  && record('one')->{state} eq 'running' }, 60),
    'another agent that came meanwhile has another epoch');
is(ping('one')->{status}, 200, 'and is reached');

# ---- tenants

$r = put('theirs', at('one/agent'), $key, query => '?tenant=acme');
is($r->{status}, 200, "a sandbox is registered as a tenant's");
my $as = sub {
    my ($method, $path, %o) = @_;

    return $s->api($method => $path, no_key => 1, %o,
        headers => { Authorization => "Bearer $tenant_key" });
};
is($as->(GET => '/v1/sandbox/theirs/api/ping')->{status}, 200,
    'the tenant uses it');
is($s->api(GET => '/v1/sandbox/theirs')->{status}, 404, 'as nobody else does');
is($as->(GET => '/v1/external/theirs')->{status}, 403,
    'and does not see where it is');
is($as->(DELETE => '/v1/sandbox/theirs')->{status}, 204, 'and forgets it');

# ---- the end

is($s->api(DELETE => '/v1/sandbox/one')->{status}, 204, 'it is forgotten');
is($s->api(GET => '/v1/sandbox/one')->{status}, 404, 'here');
is($s->preview("$exposure->{url}page")->{status}, 404, 'with its preview');
ok(wait_for(sub { !glob "$s->{run}/s/*" }, 20), 'and its name');
ok(process_alive($again), 'and lives on where it is');
is(http(unix => "$pods/one/agent", path => '/api/ping',
    preface => "CONTROL $key\n")->{status}, 200, 'reached as before');

stop_process($again, 'TERM', 20);
stop_process($server, 'TERM', 20);
$s->stop;

# ---- directories that don't fit

for ([$s->{run}, qr/own sockets/], ["$s->{dir}/none", qr/No such file/],
     ['/proc', qr/another mount/])
{
    my ($status, undef, $err) = run_command([build_dir() . '/sandboxd',
        '--state-dir', "$s->{dir}/state", '--run-dir', $s->{run},
        '--secret-file', $s->{secret}, '--agent',
        build_dir() . '/sandbox-agent', '--dev', '--external-dir', $_->[0]]);

    isnt($status, 0, "--external-dir $_->[0]: refused");
    like($err, $_->[1], 'why');
}

done_testing();
