#!/usr/bin/perl

# The tests of the module with a nginx built with AddressSanitizer and
# NGX_DEBUG_PALLOC, where each allocation from a pool is one of its own: with an
# ordinary nginx, what runs over the end of one ends up in another.
#
# nginx's source comes from where this machine's apt gets its packages.  It is
# configured with more than the module is (--with-compat alone), as packaged
# ones are.  PALLOC_SOURCE is an archive that is there already, PALLOC_TESTS
# chooses tests.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use CleanMachine;
use Harness;
use Test::More;

alarm_after(5400);

my $dir = tmp_dir();
my $source = $ENV{PALLOC_SOURCE} || fetch();

plan skip_all => 'apt has no source of nginx here' unless $source;

sub fetch {
    my ($mirror) = CleanMachine::mirror();
    my ($suite) = (slurp('/etc/os-release') // '')
        =~ /^VERSION_CODENAME=(\w+)/m;

    $mirror && $suite or return;
    for my $d (qw(state/lists/partial cache/archives/partial source)) {
        run_command(['mkdir', '-p', "$dir/apt/$d"]);
    }
    spew("$dir/apt/sources.list", "deb-src $mirror $suite main\n");

    my @apt = ('apt-get', '-q', '-o', "Dir::State=$dir/apt/state", '-o',
        "Dir::Cache=$dir/apt/cache", '-o',
        "Dir::Etc::SourceList=$dir/apt/sources.list", '-o',
        'Dir::Etc::SourceParts=-', '-o', 'APT::Sandbox::User=root');

    run_command([@apt, 'update'], timeout => 600);
    # Debian's patches, which may be missing, are not needed.
    run_command([@apt, 'source', '--download-only', '--only-source', 'nginx'],
        cwd => "$dir/apt/source", timeout => 600);

    return (glob "$dir/apt/source/nginx_*.orig.tar.*")[0];
}

# ---- nginx

my $src = "$dir/nginx";
mkdir $src;
my ($status, $out, $err) = run_command(['tar', '-xf', $source,
    '--strip-components=1', '-C', $src], timeout => 120);
is($status, 0, 'nginx\'s source') or BAIL_OUT($err);

my $flags = '-O1 -g -fsanitize=address -fno-omit-frame-pointer';

($status, $out, $err) = run_command(['bash', '-c', './configure'
    . ' --with-compat --with-debug --with-http_ssl_module'
    . ' --with-http_v2_module --with-http_realip_module'
    . ' --with-http_auth_request_module --with-threads'
    . " --with-cc-opt='$flags -DNGX_DEBUG_PALLOC=1'"
    . ' --with-ld-opt=-fsanitize=address && make -j2 2>&1'],
    cwd => $src, timeout => 3000, env => { ASAN_OPTIONS => 'detect_leaks=0' });
is($status, 0, 'it is built with AddressSanitizer and NGX_DEBUG_PALLOC')
    or BAIL_OUT(substr($out . $err, -2000));

# ---- the module, configured with less

my $build = 'build/palloc/san';
my $tree = "$dir/module-src";

# A tree of its own: the first one's configuration is nginx's.
mkdir $tree;
run_command(['tar', '-xf', $source, '--strip-components=1', '-C', $tree],
    timeout => 120);
run_command(['rm', '-rf', top_dir() . "/$build"]);
($status, $out, $err) = run_command(['make', '--no-print-directory', 'SAN=1',
    "B=$build", "NGINX_SRC=$tree", 'agent', 'sandboxd', 'module'],
    cwd => top_dir(),
    timeout => 3000);
is($status, 0, 'the module is built --with-compat, and what its tests need')
    or BAIL_OUT(substr(($out // '') . ($err // ''), -3000));

# ---- its tests

my @tests = $ENV{PALLOC_TESTS} ? split ' ', $ENV{PALLOC_TESTS}
    : grep { (slurp($_) // '') =~ /^use Edge;/m
             && slurp($_) !~ /not with the sanitizers/ }
      glob top_dir() . '/t/*.t';

cmp_ok(scalar(@tests), '>', 0, 'there are tests of the module');
for my $test (@tests) {
    my ($name) = $test =~ m{([^/]+)$};

    ($status, $out, $err) = run_command(['prove', '-I' . top_dir() . '/t/lib',
        $test], cwd => top_dir(), timeout => 900, env => {
            SANDBOX_BUILD => $build, SANDBOX_NGINX => "$src/objs/nginx" });
    is($status, 0, $name) or diag(substr($out . $err, -3000));
}

run_command(['rm', '-rf', top_dir() . "/$build"]);
done_testing();
