#!/usr/bin/perl

# /health: sandboxd is asked, once for everybody who comes within a second, and
# not for longer than two; what is wrong is told: a sandboxd that doesn't answer
# or isn't there, records that can't be written, a driver that can't start.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Edge;
use Harness;
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

# ---- the real one

my $s = System->start(workers => 1);

sub errors {
    my $r = $s->api(GET => '/health', no_key => 1);

    return $r->{status} == 200 ? '' : join "\n", @{ $r->{json}{errors} || [] };
}

ok(wait_for(sub { errors() eq '' }, 10), 'all is well') or diag(errors());

# A directory that is gone is as good as one on a disk that is read-only.
for (['state/' . $s->layers,
    qr/^the directory of the sandboxes' layers can't be written: No such file/],
    ['run/s', qr/^the directory of the sandboxes' sockets can't be written/])
{
    my ($path, $re) = ("$s->{dir}/$_->[0]", $_->[1]);

    rename $path, "$path.off" or die "$path: $!";
    ok(wait_for(sub { errors() =~ $re }, 5, 0.1), "no $_->[0]")
        or diag(errors());
    unlike(errors(), qr{/}, 'no path is told');
    rename "$path.off", $path;
}
ok(wait_for(sub { errors() eq '' }, 5, 0.1), 'both are back');

# Records that can't be written, which is seen after 5 s: meanwhile the others.
my $script = 'import sqlite3, sys, time;'
    . ' db = sqlite3.connect(sys.argv[1], isolation_level=None);'
    . ' db.execute("BEGIN IMMEDIATE"); print("held", flush=True);'
    . ' time.sleep(600)';
my ($db) = glob "$s->{state}/*.db";
my ($log, $pid, $creation) = ("$s->{dir}/held");

if ($db && !system('python3 -c "import sqlite3" 2>/dev/null')) {
    $pid = start_process(cmd => ['python3', '-c', $script, $db], log => $log);
    ok(wait_for(sub { (slurp($log) // '') =~ /held/ }, 10), '(locked)');

    $creation = http_connect(port => $s->{port});
    http_send($creation, "POST /v1/sandbox HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $s->{key}\r\nConnection: close\r\n"
        . "Content-Length: 12\r\n\r\n{\"id\":\"one\"}");
}

# ---- at the edge

my $e = Edge->new(workers => 1);
$e->start;

sub health { return $e->get('api.test', '/health', @_) }
sub asked { return $e->daemon->stats->{calls}{health} || 0 }

# The state of things now, and not that of up to a second ago.
sub now {
    my ($code) = @_;

    return wait_for(sub { my $r = health(); $code->($r) ? $r : undef }, 5, 0.1)
        || health();
}

my $r = health();
is($r->{status}, 200, 'all is well');
is($r->{body}, '{"ok":true}', 'as the reference says it');
is(health(method => 'HEAD')->{status}, 200, 'HEAD');
is(health(method => 'POST', body => 'x')->{status}, 405, 'no POST');

# One call for those who come together, and those of the next second.
my @s = map { http_connect(port => $e->{port}) } 1 .. 40;
my $before = asked();
my $began = time();
http_send($_, "GET /health HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
    for @s;
my %status;
$status{ http_read($_)->{status} }++ for @s;
is_deeply(\%status, { 200 => 40 }, 'many at once');
cmp_ok(asked() - $before, '<=', 2 + int(time() - $began), 'few calls');

$e->daemon->fault(ill => ['the disk that holds the records is full', 'b']);
$r = now(sub { $_[0]{status} == 503 });
is($r->{status}, 503, 'what sandboxd says is wrong');
is($r->{body}, '{"ok":false,"errors":["the disk that holds the records is '
    . 'full","b"]}', 'is told');
is($r->{headers}{'retry-after'}, 1, 'with Retry-After');
$e->daemon->fault(ill => []);
is(now(sub { $_[0]{status} == 200 })->{status}, 200, 'and that it is over');

# sandboxd is there, and says nothing.
$e->daemon->fault(silent => { health => 1 });
sleep 1.1;
@s = map { http_connect(port => $e->{port}) } 1 .. 3;
http_send($_, "GET /health HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n"
    . "\r\n") for @s;
ok(wait_for(sub { $e->daemon->stats->{calls}{health} > $before }, 5), '(asked)');
close shift @s;
$r = http_read($_, timeout => 20) for @s;
is($r->{status}, 503, 'sandboxd is silent');
is_deeply($r->{json}{errors}, ['sandboxd does not answer'], 'as is said');
$e->daemon->fault(silent => {});
is(now(sub { $_[0]{status} == 200 })->{status}, 200, 'until it answers');

# A body that doesn't come holds nobody.
my $slow = http_connect(port => $e->{port});
http_send($slow, "GET /health HTTP/1.1\r\nHost: api.test\r\n"
    . "Content-Length: 1000\r\n\r\nx");
is(http_read($slow)->{status}, 200, 'a body that is not there');
close $slow;

$e->daemon->stop;
$r = now(sub { $_[0]{status} == 503 });
is_deeply($r->{json}{errors}, ["sandboxd can't be reached"], 'sandboxd is gone');
$e->daemon->serve;
is(now(sub { $_[0]{status} == 200 })->{status}, 200, 'until it is back');
$e->stop;
$e->no_alerts;

# ---- the real one again

SKIP: {
    skip 'no python3 with sqlite3', 3 unless $pid;

    ok(wait_for(sub { errors() =~ /^records can't be written at the moment/m },
        20, 0.2), "records can't be written");
    stop_process($pid, 'KILL');
    ok(wait_for(sub { errors() eq '' }, 20, 0.2), 'they are again');
    is(http_read($creation)->{status}, 200, 'and who waited has a sandbox');
    close $creation;
}

$s->stop;

$s = System->start(workers => 1, daemon_args => ['--disk-floor', '4096T']);
ok(wait_for(sub { errors() =~ /^less disk is free/ }, 10),
    'the floor of free disk') or diag(errors());
$s->stop;
done_testing();
