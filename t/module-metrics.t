#!/usr/bin/perl

# Metrics: what they count, that Prometheus can read them, and that those of
# 100,000 sandboxes hold up neither a worker nor its memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Edge;
use Harness;
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket ();

alarm_after(300);

# Every code that docs/api.md promises is counted by its name, and the metric's
# own kinds are there, too: what is counted as "other" tells nobody anything.
my ($names) = slurp(top_dir() . '/ngx_sandbox_module/ngx_http_sandbox_count.c')
    =~ /error_names\[\] = \{(.*?)NULL/s;
my %counted = map { $_ => 1 } $names =~ /"(\w+)"/g;
my ($errors, $ports) = slurp(top_dir() . '/docs/api.md')
    =~ /^## Errors\n(.*?)^## Ids\n.*^Exposures survive sleep(.*?)^## Domains\n/ms;
my %promised = map { $_ => 1 } map { /`(\w+)`/g }
    "$errors$ports" =~ /^\| \d{3} \| ([^|]*) \|/mg;

# Those of a preview's end are counted with the API's.
delete $promised{OPERATION_INTERRUPTED};
cmp_ok(scalar keys %promised, '>', 35, 'codes of errors are found');
is(join(' ', grep { !$counted{$_} } sort keys %promised), '',
    '... and all of them counted');

my $many = $ENV{SANDBOX_METRICS} || (is_san() ? 20_000 : 100_000);
my $e = Edge->new(zone => "64m");
my $d = $e->daemon;
my $p = 'preview.test';

$e->{more_servers} = <<"EOC";
server {
    listen 127.0.0.1:$e->{port};
    server_name metrics.test;

    location = /metrics { sandbox_metrics; }
    location = /each    { sandbox_metrics per_sandbox=on; }
}
EOC

# Text format 0.0.4: what is wrong with it, and the values.
sub parse {
    my ($text) = @_;
    my (@bad, %value, %type, %closed, $current);

    push @bad, 'no end of line' if $text !~ /\n\z/;

    for (split /\n/, $text) {
        if (/^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) \S/) {
            push @bad, "$1 comes twice" if $type{$1} || $closed{$1};
            next;
        }
        if (/^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$/) {
            push @bad, "a second TYPE of $1" if $type{$1};
            $closed{$current} = 1 if defined $current;
            ($current, $type{$1}) = ($1, $2);
            next;
        }

        my ($name, $labels, $n) = /^([a-zA-Z_:][a-zA-Z0-9_:]*)
            (\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})?
            [ ]([0-9.]+)$/x or do { push @bad, "no sample: $_"; next };
        my $base = $name;

        $base =~ s/_(?:bucket|sum|count)$//
            if ($type{$current // ''} // '') eq 'histogram';
        push @bad, "$name outside of its group" if $base ne ($current // '');
        push @bad, "a counter named $name"
            if $type{$base} eq 'counter' && $name !~ /_total$/;
        $labels //= '';
        push @bad, "$name$labels comes twice" if exists $value{"$name$labels"};
        $value{"$name$labels"} = $n;
    }

    for my $h (grep { $type{$_} eq 'histogram' } keys %type) {
        my @le = map { $value{$_} } sort {
            my ($x, $y) = map { /le="([^"]+)"/; $1 eq '+Inf' ? 9e9 : $1 }
                $a, $b;
            $x <=> $y
        } grep { /^\Q${h}\E_bucket\{/ } keys %value;

        push @bad, "$h has no +Inf" unless
            exists $value{"${h}_bucket{le=\"+Inf\"}"};
        push @bad, "$h falls" if grep { $le[$_] < $le[$_ - 1] } 1 .. $#le;
        push @bad, "$h: count" if $le[-1] != $value{"${h}_count"};
    }

    return (\@bad, \%value);
}

sub scrape {
    my ($path) = @_;
    my $r = $e->get('metrics.test', $path // '/metrics', timeout => 60);
    my ($bad, $v) = parse($r->{body});

    is("@$bad[0 .. ($#$bad > 4 ? 4 : $#$bad)]", '', 'the format is right');

    return ($v, $r);
}

$e->agent(1, ports => [8000, 9001, 9009]);
$e->agent(2, state => 'asleep', agent => {});
$e->agent(3, ports => []);
$d->sandbox(slot => 3, id => 'box3', state => 'running', key => $e->key(3),
    limits => { requestsPerSecond => 1, burst => 0 });
$d->expose(slot => 3, port => 8000, label => '8000-box3-tok');
$e->start;

my ($v, $r) = scrape();

is($r->{status}, 200, 'metrics');
is($r->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8',
    'of their type');
is($v->{'sandbox_sandboxes{state="running"}'}, 2, 'running sandboxes');
is($v->{'sandbox_sandboxes{state="asleep"}'}, 1, 'and one that sleeps');
is($v->{sandbox_exposures}, 5, 'exposures');
is($v->{sandbox_zone_complete}, 1, 'the zone is filled');
is($v->{sandbox_zone_size_bytes}, 64 * 1024 * 1024, 'its size');
cmp_ok($v->{sandbox_zone_free_bytes}, '>', 1024 * 1024, 'and what is free');
is($v->{sandbox_daemon_up}, 1, 'sandboxd answers');
is($v->{sandbox_daemon_connections}, 1, 'to one worker');
is($v->{'sandbox_starts_total{result="ok"}'}, 7, 'its starts');
is($v->{'sandbox_starts_total{result="failed"}'}, 2, 'and failures');
is($v->{'sandbox_start_seconds_bucket{le="0.100"}'}, 4, 'and their times');
is($v->{'sandbox_start_seconds_bucket{le="1.000"}'}, 6, 'add up');
is($v->{'sandbox_start_seconds_sum'}, '2.500', 'in seconds');

is($v->{sandbox_disk_promised_bytes}, 7 << 40, 'disks that were promised');
ok(!exists $v->{sandbox_disk_budget_bytes}, 'without a bound');
is($v->{sandbox_memory_promised_bytes}, 5 << 30, 'memory that was');
is($v->{sandbox_memory_budget_bytes}, 6 << 30, 'of so much');
is($v->{sandbox_oom_kills_total}, 12, 'and that was wanting');

# ---- counting -------------------------------------------------------------

my $before = $v;

$e->get("8000-box1-tok.$p") for 1 .. 3;
$e->get("8000-box1-tok.$p", '/', method => 'POST', body => 'x' x 10_000);
$e->get("8000-box1-tok.$p", '/status?503');
$e->get("8000-box1-tok.$p", '/big?50000');
$e->get("8000-nobody.$p");
$e->get("9001-box1-tok.$p");
$e->get("8000-box3-tok.$p") for 1 .. 2;
$e->api(GET => '/v1/sandbox');
$e->api(GET => '/v1/sandbox', headers => { Authorization => 'Bearer no' });
$d->fault(start_delay => 0.3);
$e->get("8000-box2-tok.$p");

# Several log phases may be behind the answers.
wait_for(sub {
    ($v) = (parse($e->get('metrics.test', '/metrics')->{body}))[1];
    ($v->{'sandbox_requests_total{kind="preview"}'} // 0) >= 11;
}, 5);
my $more = sub { ($v->{$_[0]} // 'none') - ($before->{$_[0]} // 'none') };

is($more->('sandbox_requests_total{kind="preview"}'), 11, 'previews');
is($more->('sandbox_requests_total{kind="api"}'), 2, 'and the API');
is($more->('sandbox_responses_total{status="2xx"}'), 8, 'by status');
is($more->('sandbox_errors_total{code="INVALID_TOKEN"}'), 1,
    'an unknown name');
is($more->('sandbox_errors_total{code="unauthorized"}'), 1, 'a wrong key');
is($more->('sandbox_errors_total{code="requests_exceeded"}'), 1, 'a limit');
is($more->('sandbox_errors_total{code="service_refused"}'), 1,
    'a port that nobody listens on');
is($more->('sandbox_wakes_total'), 1, 'a start that was asked for');
is($more->('sandbox_wait_seconds_count'), 1, 'by a request that waited');
cmp_ok($more->('sandbox_wait_seconds_sum'), '>=', 0.3, 'so long');
cmp_ok($more->('sandbox_received_bytes_total{kind="preview"}'), '>', 10_000,
    'bytes in');
cmp_ok($more->('sandbox_sent_bytes_total{kind="preview"}'), '>', 50_000,
    'bytes out');
is($v->{sandbox_parked}, 0, 'nobody waits');

($v) = scrape('/each');
is($v->{'sandbox_instance_requests_total{sandbox="box1"}'}, 7,
    'requests of one sandbox');
is($v->{'sandbox_instance_errors_total{sandbox="box1"}'}, 2, 'its errors');
cmp_ok($v->{'sandbox_instance_sent_bytes_total{sandbox="box1"}'}, '>', 50_000,
    'its bytes');
is($v->{'sandbox_instance_refused_total{sandbox="box3"}'}, 1,
    'what a limit of its own refused');
is($v->{'sandbox_instance_running{sandbox="box1"}'}, 1, 'and that it runs');

# An app that closes is no sandbox that can't be reached, whatever the method.
my @kinds = map { qq(sandbox_errors_total{code="$_"}) }
    'SERVICE_NOT_RESPONDING', 'sandbox_unreachable';
my @had = map { $v->{$_} // 0 } @kinds;

$e->get("9009-box1-tok.$p", '/', method => $_) for 'GET', 'HEAD';
ok(wait_for(sub {
    ($v) = (parse($e->get('metrics.test', '/metrics')->{body}))[1];
    ($v->{$kinds[0]} // 0) >= $had[0] + 2;
}, 5), 'an app that closes without an answer is counted');
is($v->{$kinds[1]} // 0, $had[1], '... as such');

# ---- now ------------------------------------------------------------------

$d->fault(start_delay => 60);
$d->sandbox(slot => 4, id => 'box4', state => 'asleep');
$d->expose(slot => 4, port => 8000, label => '8000-box4-tok');
my @parked = map {
    my $s = http_connect(port => $e->{port});

    http_send($s, "GET / HTTP/1.1\r\nHost: 8000-box4-tok.$p\r\n\r\n");
    $s;
} 1 .. 5;
my $parked = sub {
    (parse($e->get('metrics.test', '/metrics')->{body}))[1]{sandbox_parked};
};

ok(wait_for(sub { $parked->() == 5 }, 5), 'five requests wait');

# What a killed worker held is gone with it; its counts are not.
my $sum = 'sandbox_requests_total{kind="preview"}';
my $had = (parse($e->get('metrics.test', '/metrics')->{body}))[1]{$sum};

kill 'KILL', $e->workers;
ok(wait_for(sub { ($e->get('metrics.test', '/metrics')->{status} // 0) == 200
    && $parked->() == 0 }, 10), 'of a killed worker nobody waits');
cmp_ok((parse($e->get('metrics.test', '/metrics')->{body}))[1]{$sum}, '>=',
    $had, 'counters never go back');
close $_ for @parked;

$d->fault(start_delay => 0, silent => { metrics => 1 });
($v) = scrape();
is($v->{sandbox_daemon_up}, 0, 'sandboxd that says nothing');
is(join(' ', grep { /promised|budget|oom/ } keys %$v), '',
    'is said nothing of');
is($v->{sandbox_zone_complete}, 1, 'takes nothing from the rest');
$d->fault(silent => {});

# ---- many -----------------------------------------------------------------

$d->fault(page => 8000);
$d->fill(from => 1000, to => 999 + $many, ports => 0);
$d->fault(drop => 1);
ok(wait_for(sub {
    ((parse($e->get('metrics.test', '/metrics')->{body}))[1]
        {'sandbox_sandboxes{state="asleep"}'} // 0) >= $many;
}, 120, 0.5), "$many sandboxes");

# Another client's requests, one after the other, while it goes on.
my $s = http_connect(port => $e->{port});
my $sel = IO::Select->new($s);
my ($text, $pings, $longest) = ('', 0, 0);
my $ping = http_connect(port => $e->{port});

http_send($s, "GET /each HTTP/1.1\r\nHost: metrics.test\r\n"
    . "Connection: close\r\n\r\n");

while (1) {
    if ($sel->can_read(0)) {
        sysread($s, $text, 65536, length $text) or last;
    }

    my $t = time();

    http_send($ping, "GET /none HTTP/1.1\r\nHost: 8000-none.$p\r\n\r\n");
    my $got = '';
    while ($got !~ /not exposed"/) {
        sysread($ping, $got, 65536, length $got) or last;
    }
    $pings++;
    $longest = time() - $t if time() - $t > $longest;
}

my ($head, $body) = split /\r\n\r\n/, $text, 2;
my $plain = '';

while ($body =~ s/^([0-9a-f]+)\r\n//) {
    my $n = hex $1 or last;

    $plain .= substr $body, 0, $n;
    $body = substr $body, $n + 2;
}

my ($bad, $all) = parse($plain);

is("@$bad[0 .. ($#$bad > 4 ? 4 : $#$bad)]", '', 'the format is right');
is(scalar(grep { /^sandbox_instance_running\{sandbox="s\d+"\}$/ } keys %$all),
    $many, "$many sandboxes are told, each of them once");
cmp_ok($pings, '>=', length($text) / 65536, "meanwhile others had their turn: $pings times");
cmp_ok($longest, '<', 2, sprintf 'none of them waited long: %.0f ms at most',
    1000 * $longest);

# A client that doesn't read costs a buffer.
my ($worker) = $e->workers;
my $rss = sub { (slurp("/proc/$worker/status") =~ /VmRSS:\s+(\d+)/)[0] };
my $had_rss = $rss->();
my @idle = map {
    my $c = http_connect(port => $e->{port});

    http_send($c, "GET /each HTTP/1.1\r\nHost: metrics.test\r\n\r\n");
    $c;
} 1 .. 10;

sleep 1;
is($e->get("8000-box1-tok.$p")->{status}, 200, 'ten clients that don\'t read');
cmp_ok($rss->() - $had_rss, '<', 20_000, 'cost no more than a few buffers')
    unless is_san();
close $_ for @idle[1 .. 9];
my $rest = '';
my $until = time() + 60;
while ($rest !~ /0\r\n\r\n\z/ && time() < $until) {
    sysread($idle[0], $rest, 1 << 20, length $rest) or last;
}
like($rest, qr/\r\n0\r\n\r\n\z/, 'one that reads later gets the rest');
is($e->get("8000-box1-tok.$p")->{status}, 200, 'those that left are gone');

$e->stop;
$e->no_alerts(qr/exited on signal 9/);
done_testing();
