# sandboxd's command line, and what it refuses to run with.

use strict;
use warnings;

use Socket qw(SOCK_DGRAM);
use IO::Socket::UNIX;
use Test::More;

use Harness;
use WorkerClient;

alarm_after(120);

my $sandboxd = build_dir() . '/sandboxd';
my $dir = tmp_dir();
my @base = ('--state-dir', "$dir/state", '--run-dir', "$dir/run",
    '--secret-file', "$dir/secret", '--agent',
    build_dir() . '/sandbox-agent');

sub refused {
    my ($args, $like, $name) = @_;
    my ($status, $out, $err) = run_command([$sandboxd, @$args],
        timeout => 20);

    ok($status > 0, "$name: refused");
    like($err, $like, "$name: says why");
}

my ($status, $out, $err) = run_command([$sandboxd, '--help']);
is($status, 0, '--help');
like($out, qr/--$_\b/, "--help tells of --$_") for qw(state-dir run-dir
    secret-file agent driver kernel qemu firecracker accel crun image default-image dev
    socket-group stop-on-exit
    starts disk-floor disk-limit disk-budget machine-disk-rate machine-disk-ops memory-floor memory-budget pool pool-batch pool-interval log-level version);
($status, $out) = run_command([$sandboxd, '--version']);
like($out, qr/^sandboxd \d+\.\d+\.\d+$/, '--version');

refused(['--stat-dirr', 'x'], qr/option "--stat-dirr"/, 'a typo');
refused(['--log-level'], qr/--log-level needs a value/, 'a missing value');
refused([@base, '--dev', 'word'], qr/"word" is no option/, 'a stray word');
refused([@base, '--dev', '--log-level', 'loud'], qr/error, warn, info or debug/,
    'log level');
refused([@base, '--dev', '--starts', '0'], qr/--starts.*from 1 to 256/,
    'starts 0');
refused([@base, '--dev', '--starts', '12x'], qr/--starts.*"12x"/, 'starts');
refused([@base, '--dev', '--disk-floor', '1M'], qr/--disk-floor/,
    'a low disk floor');
refused([@base, '--dev', '--machine-disk-rate', '1K'], qr/--machine-disk-rate/,
    'a disk that is too slow');
refused([@base, '--dev', '--machine-disk-ops', '1M'], qr/--machine-disk-ops/,
    'requests are no bytes');
refused([@base, '--dev', '--disk-limit', '1M'], qr/--disk-limit/,
    'a low limit of disks');
refused([@base, '--dev', '--disk-budget', '15M'], qr/--disk-budget/,
    'a low budget of disks');
refused([@base, '--dev', '--memory-floor', '1M'], qr/--memory-floor/,
    'a low floor of memory');
refused([@base, '--dev', '--memory-budget', 'much'], qr/--memory-budget/,
    'a budget without a number');
refused([@base, '--dev', '--pool', '1001'], qr/--pool.*from 0 to 1000/,
    'a large pool');
refused([@base, '--dev', '--pool', 'x'], qr/--pool.*"x"/, 'a pool of letters');
refused([@base, '--dev', '--pool', 'y=1'], qr/--pool y: there is no image/,
    'a pool of an unknown image');
refused([@base, '--dev', '--pool', '1', '--pool', '2'], qr/--pool.*twice/,
    'two pools');
refused([@base, '--dev', '--pool', '1', '--pool', 'host=2'], qr/--pool.*twice/,
    'two pools, one by name');
refused([@base, '--dev', '--pool-batch', '21'], qr/--pool-batch.*1 to 20/,
    'a large batch');
refused([@base, '--dev', '--pool-interval', '5'], qr/--pool-interval.*100/,
    'a short interval');
refused([@base], qr/there is no image/, 'no image');
refused([@base, '--image', 'x'], qr/NAME=DIR/, 'an image without directory');
refused([@base, '--image', 'A b=/'], qr/the name "A b"/, 'an image name');
refused([@base, '--image', 'host=/'], qr/"host"/, 'an image named host');
refused([@base, '--image', 'a=/', '--image', 'a=/'], qr/twice/,
    'an image twice');
refused([@base, '--image', 'a=/', '--default-image', 'b'],
    qr/no --image of that name/, 'an unknown default image');
refused([@base, '--image', 'a=/', '--default-image', 'host'], qr/needs --dev/,
    'the host image without --dev');
refused([@base, '--dev', '--driver', 'xen'], qr/oci, qemu or firecracker.*not "xen"/,
    'an unknown driver');
refused([@base, '--dev', '--driver', 'oci,oci'], qr/some of them, not "oci"/,
    'a driver twice');
refused([@base, '--dev', '--driver', 'qemu'], qr/no image for virtual/,
    'virtual machines of the host');
refused([@base, '--image', 'a=/x', '--driver', 'qemu'],
    $> == 0 ? qr/give --kernel/ : qr/need root/, 'no kernel');
refused([@base, '--dev', '--accel', 'x'], qr/auto, kvm or tcg/, 'what is none');
refused([@base, '--dev', '--qemu-channel', 'vsock'],
    qr/auto, tap, vhost-user-vsock or vhost-vsock, not "vsock"/, 'no channel');
refused([@base, '--dev', '--keep-memory', 'yes'], qr/on or off, not "yes"/,
    'neither on nor off');
refused([@base, '--dev', '--template-node', '1'], qr/on or off, not "1"/,
    'neither, of templates');
for my $i (0, 2, 4, 6) {
    my @args = @base;
    my ($name) = splice @args, $i, 2;

    refused([@args, '--dev'], qr/\Q$name\E is missing/, "no $name");
}
refused([@base[0, 1], '--run-dir', '/tmp/' . 'r' x 80, @base[4 .. 7],
    '--dev'], qr/at most 77/, 'a long run directory');
refused([@base, '--dev', '--socket-group', 'no-such-group'],
    qr/no group "no-such-group"/, 'an unknown group');
refused([@base[0 .. 5], '--agent', "$dir/nothing", '--dev'],
    qr/agent .*nothing can't be run/, 'no agent');

mkdir "$dir/open";
chmod 0777, "$dir/open";
refused(['--state-dir', "$dir/open", @base[2 .. 7], '--dev'],
    qr/mode 0777: others may write/, 'a state directory that others can write');
refused([@base[0, 1], '--run-dir', "$dir/open", @base[4 .. 7], '--dev'],
    qr/mode 0777: others may write/, 'a run directory that others can write');
symlink "$dir/elsewhere", "$dir/link";
refused(['--state-dir', "$dir/link", @base[2 .. 7], '--dev'],
    qr/is no directory/, 'a state directory that is a link');

spew("$dir/secret.open", 'x' x 64, 0644);
refused([@base[0 .. 3], '--secret-file', "$dir/secret.open", @base[6, 7],
    '--dev'], qr/mode 0600/, 'a secret that others can read');
spew("$dir/secret.short", 'x' x 31 . "\n", 0600);
refused([@base[0 .. 3], '--secret-file', "$dir/secret.short", @base[6, 7],
    '--dev'], qr/32 to 256 bytes/, 'a short secret');
spew("$dir/secret.long", 'x' x 257, 0600);
refused([@base[0 .. 3], '--secret-file', "$dir/secret.long", @base[6, 7],
    '--dev'], qr/32 to 256 bytes/, 'a long secret');

SKIP: {
    skip 'needs root', 2 if $> != 0;
    mkdir "$dir/other";
    chown 12345, 12345, "$dir/other";
    refused(['--state-dir', "$dir/other", @base[2 .. 7], '--dev'],
        qr/belongs to user 12345/, "another user's directory");
}

# ---- one at a time

my $first = daemon_start(dir => tmp_dir());
refused(['--state-dir', "$first->{dir}/state", @base[2 .. 7], '--dev'],
    qr/another sandboxd uses .*state/, 'a second one on the same state');
refused([@base[0, 1], '--run-dir', $first->{run}, @base[4 .. 7], '--dev'],
    qr/another sandboxd uses .*run/, 'a second one on the same run directory');
ok(worker($first), 'the first one is not disturbed');
is(sprintf('%04o', (stat "$first->{dir}/state")[2] & 07777), '0700',
    'mode of the state directory');

kill 'HUP', $first->{pid};
ok(worker($first), 'SIGHUP harms nothing');
is(daemon_stop($first, 'INT'), 0, 'SIGINT ends it in order');

# ---- told where it is ready

my $notify = "$dir/notify";
my $listener = IO::Socket::UNIX->new(Local => $notify, Type => SOCK_DGRAM);
my $second = daemon_start(dir => $first->{dir},
    env => { NOTIFY_SOCKET => $notify }, args => ['--disk-floor', '4096T']);
$listener->recv(my $said, 100);
is($said, 'READY=1', 'NOTIFY_SOCKET hears of readiness');

# ---- the floor of free disk

my $w = worker($second);
my $r = $w->call('create', options => { id => 'big' });
is($r->{status}, 507, 'below the floor of free disk: 507');
is($r->{code}, 'insufficient_storage', 'its code');
my $floor = 4096 << 20;     # MiB
like($r->{message}, qr/^\D*\b$floor MiB\D*$/, 'which is said, but not how much '
    . 'there is: that is others\' use');
is($w->call('start', sandbox => 'big', create => JSON::PP::true)->{status},
    507, 'an implicit creation too');
is(daemon_stop($second), 0, 'the end');

# ---- memory

my $third = daemon_start(dir => tmp_dir(), args => ['--memory-budget', '300M']);

$w = worker($third);
$r = $w->call('create', options => { id => "m$_",
    resources => { memory => '200M' } }) for 1, 2;
is($r->{created}, JSON::PP::true, 'what doesn\'t run needs no memory');
$r = $w->call('start', sandbox => 'm1');
is($r->{records}[0]{state}, 'running', 'one starts');
$r = $w->call('start', sandbox => 'm2');
is("$r->{status} $r->{code} $r->{field} $r->{limit}",
    '503 insufficient_memory memory ' . (300 << 20), 'another is too much');
like($r->{message}, qr/200 MiB .* 300 MiB/, 'which is said');
ok($r->{retry_after}, 'and when to come back');
$w->call('destroy', sandbox => 'm1');
ok(wait_for(sub { $w->call('start', sandbox => 'm2')->{records} }, 20),
    'it starts when the first is gone');
$w->call('create', options => { id => 'm3', resources => { memory => '301M' } });
is($w->call('start', sandbox => 'm3')->{code}, 'insufficient_memory',
    'one that alone is too much');
daemon_kill($third);

my $fourth = daemon_start(dir => $third->{dir},
    args => ['--memory-budget', '300M', '--stop-on-exit']);

$w = worker($fourth);
$w->call('create', options => { id => 'm4', resources => { memory => '200M' } });
is($w->call('start', sandbox => 'm4')->{code}, 'insufficient_memory',
    'what was taken over counts');
is(daemon_stop($fourth), 0, 'the end');

my $fifth = daemon_start(dir => $third->{dir},
    args => ['--memory-floor', '4096T']);

$w = worker($fifth);
$r = $w->call('start', sandbox => 'm2');
is("$r->{status} $r->{code}", '503 insufficient_memory',
    'below the floor of free memory');
like($r->{message}, qr/^\D*\b$floor MiB\D* kept for what runs$/,
    'which is said, likewise');
is(daemon_stop($fifth), 0, 'the end');

done_testing();
