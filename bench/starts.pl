#!/usr/bin/perl

# create → first command, and `exec true`, through nginx, with durable records
# and default limits, each beside its floor in the same run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";
use Harness;
use System;

$| = 1;

my $top = top_dir();
my $dir = tmp_dir();
my ($status, undef, $err) = run_command(['gcc', '-O2', '-Wall', '-Wextra',
    '-D_GNU_SOURCE', '-o', "$dir/floors", "$top/bench/floors.c"]);
die "floors: $err" if $status != 0;

# The floor of a start: fsync of a small file and crun with a bundle that has
# the same namespaces and does nothing, on the same disk.
mkdir "$dir/$_" for qw(bundle bundle/rootfs bundle/crun);
run_command(['cp', build_dir() . '/sandbox-agent', "$dir/bundle/rootfs/agent"]);
mkdir "$dir/bundle/rootfs/$_" for qw(proc dev sys);
my @mounts = (
    { destination => '/proc', type => 'proc', source => 'proc' },
    { destination => '/dev', type => 'tmpfs', source => 'tmpfs' },
);
my %config = (
    ociVersion => '1.0.0',
    process => { terminal => JSON::PP::false, cwd => '/',
        args => ['/agent', '--version'], user => { uid => 0, gid => 0 },
        noNewPrivileges => JSON::PP::true },
    root => { path => 'rootfs' },
    mounts => \@mounts,
    linux => { namespaces => [map { { type => $_ } }
        qw(pid mount ipc uts network user)],
        uidMappings => [{ containerID => 0, hostID => $> == 0 ? 200000 : $>,
                          size => $> == 0 ? 65536 : 1 }],
        gidMappings => [{ containerID => 0,
                          hostID => $> == 0 ? 200000 : (split ' ', $))[0],
                          size => $> == 0 ? 65536 : 1 }] },
);
spew("$dir/bundle/config.json", json_encode(\%config));
run_command(['chmod', '755', $dir, "$dir/bundle", "$dir/bundle/rootfs"]);

sub floor_of {
    my (@args) = @_;
    my @wrap;

    # crun refuses a hybrid cgroup hierarchy: show it the second version alone,
    # where nobody else sees it.  Run by root it gives its standard streams to
    # root inside: that isn't to be the host's null device.
    if ($args[0] eq 'crun') {
        @wrap = ('unshare', $> == 0 ? () : ('--user', '--map-root-user'),
            '--mount', '--cgroup', 'sh', '-c',
            'mount -t cgroup2 none /sys/fs/cgroup && ' . ($> == 0
            ? "{ test -c $dir/null || mknod -m 666 $dir/null c 1 3; } && "
              . "mount --bind $dir/null /dev/null && " : '') . 'exec "$@"', 'sh');
    }

    my ($st, $out, $e) = run_command([@wrap, "$dir/floors", @args],
        timeout => 120);

    die "floors @args: $e" if $st != 0;
    return json_decode($out);
}

our $s = System->start(workers => 2);

sub measure {
    my ($what, $n) = @_;
    my ($st, $out, $e) = run_command(['node', "$top/bench/starts.mjs",
        $s->{port}, $s->{key}, $what, $n], timeout => 240);

    die "starts.mjs $what: $e\n" . slurp($s->{daemon_log}) if $st != 0;
    return json_decode($out);
}

sub line {
    my ($name, $got, $floor, $floor_name) = @_;

    printf "%-34s %8.2f %8.2f   %-34s %8.2f   %.2f\n", $name, $got->{p50},
        $got->{p99}, $floor_name, $floor->{p50},
        $got->{p50} / $floor->{p50};
}

print "# ms                                    p50      p99   floor",
    "                               p50   ratio\n";

measure('starts', 5);       # warm caches
line('create, first command', measure('starts', 60),
    floor_of('crun', 60, 1, "$dir/bundle"), 'fsync + crun run');
line('100 at once', measure('burst', 100),
    floor_of('crun', 100, 100, "$dir/bundle"), '100 x (fsync + crun run)');

line('parked wake, to the answer', measure('wake', 30),
    floor_of('crun', 60, 1, "$dir/bundle"), 'fsync + crun run');

# The same with sandboxes that wait for a name; they are all there before.
sub filled {
    my ($n) = @_;

    wait_for(sub {
        ($s->api(GET => '/v1/pool/stats')->{json}{warm} // 0) >= $n
    }, 120, 0.2) or die "the pool is not filled\n";
}

$s->stop(quiet => 1);
$s = System->start(workers => 2,
    daemon_args => ['--pool', 120, '--pool-batch', 4]);
filled(120);
line('... from the pool', measure('starts', 60),
    floor_of('crun', 60, 1, "$dir/bundle"), 'fsync + crun run');
filled(120);
line('100 at once, from the pool', measure('burst', 100),
    floor_of('crun', 100, 100, "$dir/bundle"), '100 x (fsync + crun run)');
$s->stop(quiet => 1);
$s = System->start(workers => 2);

my $exec = measure('exec', 1500);
my $coproc = floor_of('coproc', 2000);
my $spawn = floor_of('spawn', 300);

line('HTTP round trip to the agent (ping)', $exec->{ping}, $exec->{health},
    'HTTP round trip to nginx');
line('exec true, in a session', $exec->{session},
    { p50 => $exec->{health}{p50} + $coproc->{p50} },
    'nginx + bash coprocess');
line('exec true, without one', $exec->{sessionless},
    { p50 => $exec->{health}{p50} + $spawn->{p50} },
    'nginx + spawn of bash');

$s->stop(quiet => 1);
