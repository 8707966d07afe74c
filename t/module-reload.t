#!/usr/bin/perl

# Reloads and killed workers under traffic, exiting workers with requests that
# wait, HTTP/2, many sandboxes at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

my $e = Edge->new(workers => 2);
my $d = $e->daemon;

$e->agent($_) for 1 .. 8;
$e->agent(9, state => 'asleep');
$e->start;

# Clients that ask one sandbox each, until told to end; what each has seen.
my @clients;

sub traffic {
    my ($from, $to) = @_;

    for my $slot ($from .. $to) {
        pipe my $r, my $w or die;
        my $pid = fork() // die;

        if ($pid == 0) {
            my ($ok, $end) = (0, 0);

            close $r;
            $SIG{TERM} = sub { $end = 1 };
            until ($end) {
                my $post = $ok % 3 == 2;
                my $got = $e->get("8000-box$slot-tok.preview.test",
                    '/slow?0.01', $post ? (method => 'POST',
                        body => "for $slot" x 5000) : ());
                my $name = $got->{json}{name} // '';

                if ($got->{status} == 200 && $name eq "box$slot") { $ok++ }
                else {
                    syswrite $w, "status $got->{status} name '$name' "
                        . ($got->{error} // '') . "\n";
                }
            }
            syswrite $w, "ok $ok\n";
            POSIX::_exit(0);
        }
        close $w;
        push @clients, [$pid, $r];
    }
}

sub traffic_ends {
    my ($ok, @bad) = (0);

    for my $c (splice @clients) {
        kill 'TERM', $c->[0];
        my $text = do { local $/; readline $c->[1] };
        waitpid $c->[0], 0;
        $ok += $1 if $text =~ s/^ok (\d+)\n//m;
        push @bad, split /\n/, $text;
    }

    return ($ok, @bad);
}

# ---- reloads --------------------------------------------------------------

traffic(1, 6);
for (1 .. 10) {
    $e->reload;
    sleep 0.2;
}
my ($ok, @bad) = traffic_ends();

cmp_ok($ok, '>', 50, "$ok requests during 10 reloads");
is_deeply(\@bad, [], 'none of them failed');

# ---- a request that waits in a worker that exits --------------------------

$d->fault(start_delay => 1.5, start_run => { 9 => { key => $e->key(9) } });
my $s = http_connect(port => $e->{port});

http_send($s, "GET / HTTP/1.1\r\nHost: 8000-box9-tok.preview.test\r\n"
    . "Connection: close\r\n\r\n");
sleep 0.3;
$e->reload;
is(http_read($s, timeout => 30)->{status}, 200,
    'a request that waits is served by a worker that exits');
ok(wait_for(sub { 2 == $e->workers }, 5), 'which is gone then');

# The same while sandboxd is away: the wait has its end, which the worker that
# exits stays for; one that nobody waits in goes at once, whatever it keeps
# house with.
$e->{http_conf} = 'sandbox_wake_timeout 8s;';
$e->reload(conf => 1);
wait_for(sub { 2 == $e->workers && $d->stats->{connections} == 2 }, 10);
$e->agent(10, state => 'asleep');
sleep 0.2;
$d->stop;
sleep 0.3;
$s = http_connect(port => $e->{port});
my $begun = time();

http_send($s, "GET / HTTP/1.1\r\nHost: 8000-box10-tok.preview.test\r\n"
    . "Connection: close\r\n\r\n");
sleep 0.3;
my @exiting = $e->workers;
$e->reload;
ok(wait_for(sub { 1 == grep { process_alive($_) } @exiting }, 6),
    'a worker in which nobody waits exits at once, without sandboxd');
my $r = http_read($s, timeout => 30);
is($r->{status}, 503, 'the other one answers what waits in it');
cmp_ok(time() - $begun, '>', 2, 'when the time for that is over');
ok(wait_for(sub { !grep { process_alive($_) } @exiting }, 10), 'and goes');
$d->serve;
wait_for(sub { $d->stats->{connections} == 2 }, 10);

# ---- open streams go on ---------------------------------------------------

$s = http_connect(port => $e->{port});
http_send($s, "GET /sse?12 HTTP/1.1\r\nHost: 8000-box1-tok.preview.test\r\n"
    . "Connection: close\r\n\r\n");
sleep 0.2;
$e->reload;
is(() = http_read($s, timeout => 30)->{body} =~ /data:/g, 12,
    'a stream survives a reload');

# ---- workers that are killed ----------------------------------------------

traffic(1, 4);
for (1 .. 5) {
    my $victim;

    # The one before may have no successor yet.
    wait_for(sub { ($victim) = $e->workers; defined $victim }, 20)
        or die 'no worker';
    kill 'KILL', $victim;
    sleep 0.3;
}
($ok, @bad) = traffic_ends();
cmp_ok($ok, '>', 10, "$ok requests while workers were killed");
cmp_ok(scalar @bad, '<=', 40, 'only those in a killed worker failed');
is(scalar(grep { /name 'box/ } @bad), 0, 'no answer was another one\'s');
is($e->get('8000-box1-tok.preview.test')->{status}, 200, 'all is well again');

# ---- sandboxd killed under traffic ----------------------------------------

traffic(1, 4);
for (1 .. 3) {
    $d->stop;
    sleep 0.2;
    $d->serve;
    sleep 0.3;
}
($ok, @bad) = traffic_ends();
cmp_ok($ok, '>', 50, "$ok requests while sandboxd was killed");
is_deeply(\@bad, [], 'none of them failed');
ok(wait_for(sub { $d->stats->{connections} == 2 }, 5), 'workers are back');

$e->stop;
$e->no_alerts(qr/exited on signal 9/);

# ---- HTTP/2 ---------------------------------------------------------------

SKIP: {
    my ($curl) = grep { -x } map { "$_/curl" } split /:/, $ENV{PATH};

    skip 'no curl', 5 unless $curl;

    my $f = Edge->new(listen_options => 'http2');

    $f->agent(1);
    $f->agent(2, state => 'asleep');
    $f->daemon->fault(start_delay => 0.3,
        start_run => { 2 => { key => $f->key(2) } });
    $f->start;

    my $ask = sub {
        my ($host, @args) = @_;
        my ($status, $out) = run_command([$curl, '-s', '-g',
            '--http2-prior-knowledge', '-w', '\n%{http_code} %{http_version}',
            '-H', "Host: $host", @args,
            "http://127.0.0.1:$f->{port}/p?q"]);

        return $out // '';
    };
    my $h = '8000-box1-tok.preview.test';

    like($ask->($h), qr/"name":"box1".*\n200 2$/s, 'HTTP/2');
    like($ask->($h, '-d', 'x' x 100_000), qr/"size":100000.*\n200 2$/s,
        'a body over HTTP/2');
    like($ask->('8000-box2-tok.preview.test', '-T', "$f->{dir}/keys"),
        qr/"name":"box2".*\n200 2$/s, 'an upload that waits for a start');
    like($ask->('8000-none.preview.test'), qr/INVALID_TOKEN.*\n404 2$/s,
        'an unknown name');
    unlike($ask->($h, '-H', 'X-Forwarded-For: 6.6.6.6', '-H',
        'X-Sandbox-A: evil'), qr/6\.6\.6\.6|evil/, 'forged headers');
    $f->stop;
    $f->no_alerts;
}

done_testing();
