#!/usr/bin/perl

# Archives of 300 MiB through nginx, two at once and both ways: what comes out
# is what went in, in bounded memory, and nobody else waits for it.
# (not with the sanitizers: it is about numbers)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use POSIX ();
use System;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(400);

my $mib = $ENV{SANDBOX_ARCHIVE_MIB} || 300;
my $s = System->start(workers => 1);
my $dir = tmp_dir();
my %agent;

for my $id ('one', 'two') {
    is($s->exec($id, 'mkdir -p many/a; '
        . "head -c ${mib}M /dev/urandom >big; sha256sum big >sum; "
        . 'for i in $(seq 500); do echo $i >many/a/$i; done')->{exitCode}, 0,
        "$id: something to keep");
    $agent{$id} = $s->sandbox_pid($id);
}

sub rss {
    my ($pid) = @_;

    return (slurp("/proc/$pid/status") // '') =~ /^VmRSS:\s+(\d+)/m ? $1 : 0;
}

my ($worker) = $s->nginx_workers;
my %before = map { $_ => rss($_) } $worker, values %agent;
my %most = %before;

# Runs the parts in processes of their own, looking at the memory meanwhile.
sub at_once {
    my (@parts) = @_;
    my %left;

    for my $part (@parts) {
        my $pid = fork() // die "fork: $!";

        POSIX::_exit($part->() ? 0 : 1) if $pid == 0;
        $left{$pid} = 1;
    }

    my ($good, $slowest) = (1, 0);
    while (%left) {
        for my $pid (keys %left) {
            next if waitpid($pid, POSIX::WNOHANG()) != $pid;
            $good &&= $? == 0;
            delete $left{$pid};
        }
        for (keys %most) {
            my $now = rss($_);
            $most{$_} = $now if $now > $most{$_};
        }
        my $since = time();
        $good = 0 if $s->api(GET => '/v1/sandbox/one/api/ping')->{status} != 200;
        $slowest = time() - $since if time() - $since > $slowest;
        sleep 0.02;
    }

    return ($good, $slowest);
}

sub persist {
    my ($id) = @_;
    my $got = 0;

    open my $f, '>', "$dir/$id.tar" or return 0;
    my $r = $s->api(POST => "/v1/sandbox/$id/persist", timeout => 200,
        on_data => sub { $got += length $_[0]; print $f $_[0] });
    close $f;

    return $r->{status} == 200 && $r->{complete} && $got > $mib << 20;
}

sub hydrate {
    my ($id, $from) = @_;
    my $size = -s "$dir/$from.tar";
    my $sock = http_connect(port => $s->{port});

    http_send($sock, "POST /v1/sandbox/$id/hydrate HTTP/1.1\r\n"
        . "Host: localhost\r\nAuthorization: Bearer $s->{key}\r\n"
        . "Connection: close\r\nContent-Length: $size\r\n\r\n");
    open my $f, '<:raw', "$dir/$from.tar" or return 0;
    while (sysread $f, my $piece, 1 << 20) {
        http_send($sock, $piece, 120) or return 0;
    }
    my $r = http_read($sock, timeout => 200);

    return $r->{status} == 200 && $r->{body} eq '{"ok":true}';
}

my $begun = time();
my ($good, $slowest) = at_once(sub { persist('one') }, sub { persist('two') });
ok($good, sprintf 'two are kept at once (%.0f MB/s each)',
    ($mib << 20) / 1e6 / (time() - $begun));
cmp_ok($slowest, '<', 10, sprintf 'others are answered (%.0f ms)', $slowest * 1000);

is($s->exec($_, 'mv big was; rm -rf many sum')->{exitCode}, 0, "$_: emptied")
    for 'one', 'two';

$begun = time();
($good, $slowest) = at_once(sub { hydrate('one', 'two') },
    sub { hydrate('two', 'one') });
ok($good, sprintf 'two are filled at once (%.0f MB/s each)',
    ($mib << 20) / 1e6 / (time() - $begun));
cmp_ok($slowest, '<', 10, sprintf 'others are answered (%.0f ms)', $slowest * 1000);

for my $id ('one', 'two') {
    is($s->exec($id, 'sha256sum -c sum')->{stdout}, 'big: OK', "$id: as it was");
    is($s->exec($id, 'cat many/a/* | sort -n | tail -n 1')->{stdout}, '500',
        "$id: the small ones too");
    isnt($s->exec($id, 'cmp big was')->{exitCode}, 0, "$id: the other one's");
}

# Clients that go away in the middle.
for (1 .. 4) {
    my $n = 0;
    $s->api(POST => '/v1/sandbox/one/persist',
        on_data => sub { ($n += length $_[0]) < 1 << 20 });
    my $sock = http_connect(port => $s->{port});
    open my $f, '<:raw', "$dir/one.tar" or die;
    sysread $f, my $piece, 4 << 20;
    http_send($sock, "POST /v1/sandbox/two/hydrate HTTP/1.1\r\n"
        . "Host: localhost\r\nAuthorization: Bearer $s->{key}\r\n"
        . "Content-Length: 900000000\r\n\r\n$piece");
    close $sock;
}
for my $id ('one', 'two') {
    ok(wait_for(sub { my $t = () = glob "/proc/$agent{$id}/fd/*"; $t < 40 }, 30),
        "$id: no descriptor stays");
    ok(wait_for(sub { $s->exec($id, 'find . -name ".sandbox-*"')->{stdout} eq '' },
        30), "$id: nothing half");
    is($s->exec($id, 'sha256sum -c sum')->{stdout}, 'big: OK', "$id: as it was")
        if $id eq 'one';
}

for (['nginx', $worker, 8192], map { ["the agent of $_", $agent{$_}, 8192] }
    sort keys %agent)
{
    my ($what, $pid, $limit) = @$_;
    cmp_ok($most{$pid} - $before{$pid}, '<', $limit,
        "$what grew by no more than 8 MiB (by " . ($most{$pid} - $before{$pid})
        . ' kB)');
}
cmp_ok(rss($agent{one}), '<', $before{$agent{one}} + 3072,
    'and gives it back');

$s->stop;
done_testing();
