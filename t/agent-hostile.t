#!/usr/bin/perl

# The agent's HTTP server against peers that send what they like: early
# answers, broken framing, requests cut and glued together at random.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Harness;
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(180);

my $dir = tmp_dir();
# Random bytes are paths, too.
my $agent = AgentClient->start(args => ['--workspace', $dir], dir => $dir,
    before => [kept_in($dir)]);

sub alive { return $agent->get('/api/ping', timeout => 5)->{status} == 200 }


subtest 'an answer before the body is complete' => sub {
    my @heads = ('POST /api/nothing', 'PUT /bridge/file/etc/passwd',
                 'PUT /bridge/file/', 'POST /api/ping');

    for my $head (@heads) {
        my $s = $agent->connect;

        http_send($s, "$head HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
            . 'abc');
        sysread $s, my $line, 3;
        my $r = http_read($s, timeout => 30);
        cmp_ok($r->{status}, '>=', 400, "$head: refused");
        ok(alive(), 'others are served meanwhile');

        http_send($s, "defghijGET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n");
        is(http_read($s, timeout => 30)->{status}, 200,
            'the rest is skipped, and the next request answered')
            if ($r->{headers}{connection} || '') ne 'close';
        close $s;
    }
};


# The same numbers each time; SANDBOX_SEED tries others.
subtest 'random bytes' => sub {
    my $seed = $ENV{SANDBOX_SEED} || 1;
    my $seconds = $ENV{SANDBOX_FUZZ_SECONDS} || 8;
    my $write = json_encode({ path => "$dir/w", content => 'abc' });
    my @seeds = (
        "GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/read HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{\"path\":\"/x\"}",
        "PUT /bridge/file$dir/f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX: y\r\n\r\n",
        "PUT /bridge/file$dir/f HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
        "GET /bridge/file$dir/f HTTP/1.1\r\nHost: x\r\nRange: bytes=1-3\r\n\r\n",
        "HEAD /bridge/file$dir/f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($write) . "\r\n\r\n$write",
        "POST /api/list-files HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\n\r\n{\"path\":\"/usr/include\"}",
        "POST /api/read/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 22\r\n\r\n{\"path\":\"/etc/passwd\"}",
        "POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "GET http://x/api/ping HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    );
    my @inserts = ("\r\n", "0\r\n\r\n", "Content-Length: 9\r\n", 'A' x 70_000,
        '%00', "Transfer-Encoding: chunked\r\n", "\0", 'Expect: 100-continue');

    srand $seed;
    my ($n, $end) = (0, time() + $seconds);

    while (time() < $end) {
        my $data = join '', map { $seeds[rand @seeds] } 0 .. rand 5;

        for (1 .. (0, 0, 1, 2, 5)[rand 5]) {
            my $at = int rand length $data;
            my $how = rand;

            if ($how < 0.4) { substr($data, $at, 1) = chr rand 256 }
            elsif ($how < 0.6) { substr($data, $at, 1 + rand 9) = '' }
            elsif ($how < 0.8) { substr($data, $at, 0) = join '', map { chr rand 256 } 0 .. rand 4 }
            else { substr($data, $at, 0) = $inserts[rand @inserts] }
            $data = 'x' if $data eq '';
        }
        $data = substr $data, 0, rand length $data if rand() < 0.2;

        my $s = $agent->connect or last;
        $s->blocking(0);
        local $SIG{PIPE} = 'IGNORE';
        while (length $data) {
            my $k = (1, 7, 100, 5000, 100_000)[rand 5];
            my $put = syswrite $s, substr($data, 0, $k);
            last unless defined $put;
            substr($data, 0, $put) = '';
        }
        shutdown $s, 1 if rand() < 0.3;
        if (rand() < 0.7) {
            my $sel = IO::Select->new($s);
            while ($sel->can_read(0.01)) {
                sysread $s, my $some, 65536 or last;
            }
        }
        close $s;
        $n++;
        if ($n % 50 == 0 && !alive()) { last }
    }

    ok(alive(), "answers after $n connections (seed $seed)");
    ok(wait_for(sub { $agent->fd_count < 30 }, 5), 'holds none of them')
        or diag($agent->fd_count);
    my @left = glob "$dir/.sandbox-*";
    is_deeply(\@left, [], 'nothing temporary is left');
};


# Bodies that are taken whole are memory, whoever sends them and however slowly.
subtest 'many large bodies' => sub {
    my $full = 16 * 1024 * 1024;
    my $part = 'x' x ($full - 1024 * 1024);
    my (@held, $got);

    for my $i (1 .. 12) {
        my $s = $agent->connect or last;
        my $in = '';

        sysread $s, $in, 1 until $in =~ /\n/;
        http_send($s, "POST /api/execute HTTP/1.1\r\nHost: x\r\n" .
                  "Content-Length: $full\r\n\r\n");
        http_send($s, $part);
        push @held, $s;
        if ($i >= 9 && IO::Select->new($s)->can_read(2)) {
            $got = http_read($s, timeout => 30);
            last;
        }
    }

    is($got->{status}, 503, 'one too many is refused');
    is($got->{json}{code}, 'RESOURCE_BUSY', 'says why');
    ok($got->{headers}{'retry-after'}, 'and when to come again');
    ok(alive(), 'others are served');
    is($agent->execute('echo x')->{stdout}, 'x', 'small bodies too');
    close $_ for @held;

    ok(wait_for(sub { $agent->fd_count < 40 }, 20), 'all are gone');
    my $r = $agent->post('/api/execute', { command => 'wc -c',
        stdin => 'y' x (8 * 1024 * 1024) }, timeout => 60);
    is($r->{json}{stdout}, 8 * 1024 * 1024, 'and there is room again');
};


is($agent->stop, 0, 'the agent ends well');
is($agent->log_text =~ /ERROR|runtime error|Sanitizer/ ? $agent->log_text : '',
    '', 'its log has no error');

done_testing();
