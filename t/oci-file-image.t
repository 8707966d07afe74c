#!/usr/bin/perl

# Containers of an image that is a file, as virtual machines have them: it is
# mounted while it is used, and replaced under the eyes of those that run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use ImageStore;
use MIME::Base64 qw(decode_base64);
use System;
use Test::More;

ImageStore::plan();
plan skip_all => 'needs root for loop devices' if $>;
plan skip_all => 'no /dev/loop-control' unless -e '/dev/loop-control';
plan skip_all => 'no static busybox' unless -x '/bin/busybox';
alarm_after(200);

my $s = System->new;
my $store = ImageStore->new($s->{dir});

# A root with a shell, and what that is linked with.
my $root = "$s->{dir}/root";

for my $file ('/bin/busybox', '/bin/bash', map { m{(/\S+)} } `ldd /bin/bash`) {
    my ($to) = "$root$file" =~ m{^(.*)/};

    system 'mkdir', '-p', $to;
    system 'cp', '-L', $file, "$root$file";
}
symlink 'busybox', "$root/bin/$_" for qw(cat grep ls touch);

sub build {
    my ($text) = @_;

    spew("$root/text", $text);
    is($store->image('--agent', 'none', 'build', 'small',
        "dir:$root"), 0, "an image: $text") or diag($store->{err});
}

build('one');
# The image has nothing that an instrumented agent is linked with.
$s->{daemon_args} = ['--image', "small=$store->{store}/small",
    '--agent', top_dir() . '/build/sandbox-agent'];
$s->start;

sub create {
    my ($id) = @_;

    return $s->api(POST => '/v1/sandbox', timeout => 60,
        json => { id => $id, image => 'small' })->{status};
}

sub run {
    my ($id, $command) = @_;
    my $r = $s->api(POST => "/v1/sandbox/$id/exec", timeout => 60,
        json => { argv => ['/bin/bash', '-c', $command] });

    return join '', map { decode_base64($_) }
        $r->{body} =~ /^event: stdout\ndata: (.*)$/mg;
}

# Loop devices that the file is behind.
sub loops {
    return scalar grep { (slurp($_) // '') =~ /^\Q$s->{dir}\E/ }
        glob '/sys/block/loop*/loop/backing_file';
}

is(create('old'), 200, 'a sandbox') or diag slurp($s->{daemon_log});
is(run('old', 'cat /text'), 'one', 'has the files of the image');
is(run('old', 'echo more >>/text; cat /text'), "onemore\n",
    'and writes to its own');
like(run('old', 'grep " / " /proc/mounts'), qr/overlay/, 'over it');
is($store->image('remove', 'small'), 1, 'it is used');
cmp_ok(loops(), '>', 0, 'and mounted');

build('two');
is(create('new'), 200, 'a sandbox of what took its place');
is(run('new', 'cat /text'), 'two', 'has the new files');
is(run('old', 'cat /text'), "onemore\n", 'the other one its own');

$s->kill_daemon;
$s->start_daemon;
ok(wait_for(sub { run('old', 'cat /text') eq "onemore\n" }, 20),
    'also after sandboxd was killed');
is(run('old', 'ls -d /bin/busybox'), "/bin/busybox\n",
    'and what it never read before');

$s->api(DELETE => "/v1/sandbox/$_") for qw(old new);

# Virtual machines may have the same image: the pool's containers are none.
SKIP: {
    my $vmm = Firecracker::program('firecracker');

    skip 'no /dev/net/tun', 4 unless -e '/dev/net/tun' && -x $vmm;
    $s->kill_daemon;
    push @{ $s->{daemon_args} }, '--driver', 'oci,firecracker',
        '--firecracker', $vmm, '--accel', 'kvm', '--kernel',
        Firecracker::kernel($s->{dir}), '--pool', 'small=1';
    $s->start_daemon;

    my $pool = sub { $s->api(GET => '/v1/pool/stats')->{json} };

    ok(wait_for(sub { $pool->()->{images}{small}{warm} == 1 }, 30),
        'one waits') or diag slurp($s->{daemon_log});
    is($s->api(POST => '/v1/sandbox', json => { id => 'vm', image => 'small',
        runtime => 'firecracker' })->{status}, 200, 'a virtual machine');
    is($pool->()->{images}{small}{hits}, 0, '... is another thing');
    is($s->api(DELETE => '/v1/sandbox/vm')->{status}, 204, 'destroyed');
}

$s->stop;
ok(wait_for(sub { loops() == 0 }, 20), 'nothing is mounted in the end');
is($store->image('remove', 'small'), 0, 'nor used');

done_testing();
