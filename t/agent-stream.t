#!/usr/bin/perl

# Output of running commands: every byte once, from where a client wants it,
# at its own pace; and a thousand processes at one time.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

# not with the sanitizers

alarm_after(280);

my $dir = tmp_dir();
my $agent = AgentClient->start();
my $pid = $agent->pid;
my %no = (sessionId => '__DISABLE_SESSION__');


sub start {
    my ($id, $command, %o) = @_;
    my $r = $agent->post('/api/process/start',
        { command => $command, processId => $id, %o }, timeout => 120);

    diag($r->{body}) if $r->{status} != 200;
    return $r;
}


sub wait_of {
    my ($id, %o) = @_;

    return $agent->post("/api/process/$id/wait", { timeoutMs => 60000, %o },
                        timeout => 90)->{json};
}


sub stream_of {
    my ($id, $query) = @_;
    my $r = $agent->get("/api/process/$id/stream" . ($query // ''),
                        timeout => 60);

    return AgentClient->frames($r->{body});
}


sub text_of {
    my ($type, @frames) = @_;

    return join '', map { $_->{data} } grep { $_->{type} eq $type } @frames;
}


# Sends a request and leaves its answer for later.
sub begin {
    my ($method, $path, $json) = @_;
    my $s = $agent->connect;
    my $body = defined $json ? json_encode($json) : '';

    http_send($s, "$method $path HTTP/1.1\r\nHost: x\r\nContent-Length: " .
              length($body) . "\r\n\r\n$body");

    return $s;
}


sub finish {
    my ($s, $seconds) = @_;
    my $got = '';

    while (length $got < 3) {
        sysread($s, $got, 3 - length $got, length $got) or last;
    }

    return http_read($s, timeout => $seconds // 60);
}


sub memory {
    my ($kb) = (slurp("/proc/$pid/status") // '') =~ /RssAnon:\s+(\d+)/;

    return $kb;
}


# A stream on which nothing happens; it is looked at in the end.
start('quiet', 'read x; exit 3', stdinOpen => JSON::PP::true(), %no);
my $quiet = begin(GET => '/api/process/quiet/stream');
my $quiet_since = time;

# From an offset.

{
    start('o', 'printf "abc\n"; printf "\303\251fg\n"; echo e1 >&2; ' .
          'read x; printf "later\n"; exit 4', stdinOpen => JSON::PP::true(),
          %no);
    wait_of('o', pattern => 'fg');
    wait_of('o', pattern => 'e1');
    my $r = $agent->get('/api/process/o/logs?stdoutOffset=4');
    like($r->{body}, qr/^\{"success":true,"processId":"o","stdout":"\xc3\xa9fg\\n","stderr":"e1\\n","stdoutOffset":9,"stderrOffset":3,"timestamp":"[^"]+"\}$/,
         'logs from an offset, with the next');
    $r = $agent->get('/api/process/o/logs?stdoutOffset=9&stderrOffset=3');
    is("$r->{json}{stdout}|$r->{json}{stderr}", '|', 'from the end');
    $r = $agent->get('/api/process/o/logs');
    ok(!exists $r->{json}{stdoutOffset}, 'who asks for no offset sees none');
    $r = $agent->get('/api/process/o/logs?offsets=1');
    is("$r->{json}{stdout}|$r->{json}{stdoutOffset}",
       "abc\n\x{e9}fg\n|9", 'or only for the next');
    for my $bad ('stdoutOffset=-1', 'stdoutOffset=x', 'stdoutOffset=',
                 'stdoutOffset=10', 'stderrOffset=99999999999999999999')
    {
        for my $what ('logs', 'stream') {
            $r = $agent->get("/api/process/o/$what?$bad");
            is($r->{status}, 400, "$what?$bad");
        }
    }

    my $s = begin(GET => '/api/process/o/stream?stdoutOffset=4&' .
                         'stderrOffset=3&offsets=1');
    $agent->post('/api/process/o/stdin', { data => "\n" });
    $r = finish($s);
    my @f = AgentClient->frames($r->{body});
    is(text_of('stdout', @f), "\x{e9}fg\nlater\n", 'a stream from an offset');
    is(text_of('stderr', @f), '', 'of both outputs');
    my ($first) = grep { $_->{type} eq 'stdout' } @f;
    is_deeply([@{$first}{qw(offset next)}], [4, 9], 'offsets in its events');
    is($f[-1]{exitCode}, 4, 'its end');
    @f = stream_of('o');
    ok(!grep({ exists $_->{offset} } @f), 'only for who asks');
    like($agent->get('/api/process/o/stream')->{body},
         qr/\ndata: \{"type":"stdout","data":"[^"]+","processId":"o","timestamp":"[^"]+"\}\n/,
         'else the frames are as ever');

    # Leaving and coming back, again and again.
    start('back', 'for i in $(seq 4000); do echo "line $i"; done; ' .
          'sleep 0.3; echo end', %no);
    my ($off, $text, $times, $done) = (0, '', 0);
    until ($done || $times > 4000) {
        my $part = '';
        $s = begin(GET => "/api/process/back/stream?stdoutOffset=$off&" .
                          'offsets=1');
        my $got = '';
        sysread $s, $got, 3 - length $got, length $got
            while length($got) < 3;
        my $raw = '';
        http_read($s, timeout => 30, on_data => sub {
            $raw .= $_[0];
            return length $raw < 900;
        });
        close $s;
        $raw =~ s/(.*\n\n).*/$1/s or next;
        for my $e (AgentClient->frames($raw)) {
            $done = 1 if $e->{type} eq 'exit';
            next if $e->{type} ne 'stdout';
            $text .= $e->{data};
            $off = $e->{next};
        }
        $times++;
    }
    is($text, join('', map { "line $_\n" } 1 .. 4000) . "end\n",
       "who leaves and comes back misses nothing ($times times)");
}

# Many readers, one of which doesn't read.

{
    my $before = memory();
    start('flood', 'perl -e "for (1 .. 100000) { printf qq(%06d%s\\n), ' .
          '\$_, q(x) x 93 }"', %no);
    my $stalled = begin(GET => '/api/process/flood/stream');
    my @readers = map {
        my $kid = fork // die "fork: $!";
        if ($kid == 0) {
            my $r = $agent->get('/api/process/flood/stream', timeout => 90);
            my $text = join '', $r->{body} =~
                /"type":"stdout","data":"([^"]*)"/g;
            my $want = join '', map { sprintf '%06d%s\n', $_, 'x' x 93 }
                1 .. 100000;
            POSIX::_exit($text eq $want && $r->{complete} ? 0 : 1);
        }
        $kid;
    } 1 .. 4;
    my $bad = grep { waitpid($_, 0) != $_ || $? != 0 } @readers;
    is($bad, 0, 'each of four readers gets ten megabytes');
    cmp_ok(memory() - $before, '<', 8000,
           'a reader that stalls costs a bounded buffer');
    close $stalled;
}

# A thousand processes, fifty sessions, sixteen streams.

{
    my $before = memory();
    my $count = 1000;
    my @ids = map { "n$_" } 1 .. $count;
    my ($bad, $at) = (0, 0);
    my $begin = time;
    my @open;
    while ($at < $count || @open) {
        while ($at < $count && @open < 32) {
            my $id = $ids[$at++];
            my $n = substr $id, 1;
            push @open, begin(POST => '/api/process/start', {
                command => "echo $id; echo e$id >&2; read x; " .
                           "echo bye $id; exit \$(( $n % 100 ))",
                stdinOpen => JSON::PP::true(), processId => $id,
                sessionId => $n % 2 ? '__DISABLE_SESSION__'
                                    : 's' . ($n % 100) });
        }
        my $r = finish(shift @open, 120);
        if ($r->{status} != 200) { $bad++; diag($r->{body}) if $bad < 5 }
    }
    is($bad, 0, sprintf 'a thousand processes start (%.1f s)', time - $begin);
    my $r = $agent->get('/api/process/list?status=running', timeout => 60);
    cmp_ok(scalar @{ $r->{json}{processes} }, '>=', $count, 'at one time');
    my $each = (memory() - $before) / $count;
    cmp_ok($each, '<', 12, sprintf 'a process costs the agent %.1f kB', $each);

    my @streams = map { begin(GET => "/api/process/$_/stream") }
        @ids[0 .. 15];
    for my $id (@ids) {
        push @open, begin(POST => "/api/process/$id/stdin",
                          { data => "\n" });
        finish(shift @open) if @open >= 32;
    }
    finish($_) for @open;
    my @wrong;
    for my $i (0 .. 15) {
        my @f = AgentClient->frames(finish($streams[$i])->{body});
        push @wrong, "stream $ids[$i]"
            if text_of('stdout', @f) ne "$ids[$i]\nbye $ids[$i]\n"
               || text_of('stderr', @f) ne "e$ids[$i]\n"
               || $f[-1]{type} ne 'exit'
               || $f[-1]{exitCode} != ($i + 1) % 100;
    }
    for my $id (@ids) {
        my $e = wait_of($id);
        my $logs = $agent->get("/api/process/$id/logs")->{json};
        push @wrong, "$id: " . json_encode([$e, $logs])
            if ($e->{exitCode} // -1) != substr($id, 1) % 100
               || $logs->{stdout} ne "$id\nbye $id\n"
               || $logs->{stderr} ne "e$id\n";
    }
    is_deeply(\@wrong, [], 'each has its own output and its own code');
    ok(wait_for(sub { !grep { (slurp("/proc/$_/stat") // '') =~ /\) Z / }
                      $agent->children }, 30), 'no zombie is left');
    ok(wait_for(sub { $agent->children < 150 }, 30),
       'and no shim that nobody needs')
        or diag(scalar($agent->children) . ' processes');
}

# Nothing happens, but the stream shows that it is there.

{
    my $left = 17 - (time - $quiet_since);
    sleep $left if $left > 0;
    $agent->post('/api/process/quiet/stdin', { end => JSON::PP::true() });
    my $r = finish($quiet);
    like($r->{body}, qr/^: /m, 'a stream that is silent says so');
    my @f = AgentClient->frames($r->{body});
    is(join(' ', map { $_->{type} } @f), 'process_info exit',
       'in a comment: its events are the same');
    is($f[-1]{exitCode}, 3, 'and its end is real');
}

is($agent->stop, 0, 'ends in order');
ok(!$agent->{left}, 'and leaves nothing') or diag("@{ $agent->{left} }");

done_testing();
