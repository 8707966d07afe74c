#!/usr/bin/perl

# The module with the nginx of each Debian that has one of its own: 1.22 (12),
# 1.26 (13), 1.30 (unstable).  In a tree of that Debian, everything is built
# with its compiler and nginx-dev, and the tests of the edge run against it.
# A minute or two each.  VERSIONS chooses suites, VERSIONS_TARGETS and
# VERSIONS_TESTS what is built and run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use CleanMachine;
use Harness;
use Test::More;
use Time::HiRes qw(time);

alarm_after(5400);

plan skip_all => 'needs root to make a machine' if $> != 0;

# What nginx and the module do together; what the agent does alone is the same
# in front of every nginx.
my $tests = $ENV{VERSIONS_TESTS} || join ' ', grep { -e top_dir() . "/$_" }
    map { "t/$_.t" } qw(module-* api api-conf api-errors bad-input
    conf-examples http3 preview reload revoke crash many);
$tests =~ s{t/module-\*\.t}{join ' ', map { m{(t/[^/]+)$} }
    glob top_dir() . '/t/module-*.t'}e;

for my $suite (split ' ', $ENV{VERSIONS} || 'bookworm trixie sid') {
    my ($m, $why) = CleanMachine->make($suite,
        packages => CleanMachine::packages($suite));

    SKIP: {
        skip "$suite: $why", 1 unless $m;
        $m->add_source;
        check($m, $suite);
    }
}

sub check {
    my ($m, $suite) = @_;
    my (undef, undef, $said) = $m->run('nginx -V');
    my ($version) = ($said // '') =~ m{nginx/([\d.]+)};

    ok($version, "$suite has nginx " . ($version // '(no)'));
    like($said, qr/--with-compat\b/, 'built --with-compat');
    like($said, qr/--with-http_v2_module\b/, 'and with HTTP/2');

    my $targets = $ENV{VERSIONS_TARGETS} || 'agent sandboxd module';
    my ($status, $out, $err) = $m->run("cd /src && make -j2 $targets 2>&1",
        timeout => 3600);
    is($status, 0, "nginx $version: it is built: $targets")
        or return diag(substr($out // '', -3000));
    unlike($out, qr/warning:/, 'without a warning');

    my $begun = time();
    ($status, $out) = $m->run("cd /src && prove -It/lib -j2 $tests 2>&1",
        timeout => 2400);
    my ($line) = ($out // '') =~ /^(Files=.*?),\s+\d+ wallclock/m;

    ok($status == 0, sprintf 'nginx %s: the tests pass (%s, %.0f s)',
        $version, $line // 'none', time() - $begun)
        or diag(join "\n", grep { /not ok|Failed|Result|got:|expected:|skipped/ }
            split /\n/, substr($out // '', -30000));
}

done_testing();
