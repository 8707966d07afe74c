#!/usr/bin/perl

# Files of a file server that doesn't answer: one who reads them waits, nobody
# else does.  The server is a FUSE one, in a mount namespace of its own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(180);

my $dir = tmp_dir();
my $server;

# unshare(CLONE_NEWNS) of x86-64 and of the others.
my $unshare = `uname -m` =~ /x86_64/ ? 272 : 97;

plan skip_all => 'only root may mount' if $> != 0;
plan skip_all => 'there is no /dev/fuse' if !-e '/dev/fuse';
plan skip_all => 'no mount namespaces here'
    if syscall($unshare, 0x20000) != 0
       || system('mount --make-rprivate / 2>/dev/null') != 0;


# Names are kept for an hour, attributes not at all.  As long as `stalls` is
# there nothing is answered but what is asked of the root, and the name `file`;
# with `stalls-at-end`, everything but close().
sub attributes {
    my ($node) = @_;
    return pack 'Q6 L10', $node, $node == 1 ? 0 : 6, 0, 0, 0, 0, 0, 0, 0,
        $node == 1 ? 040755 : 0100644, 1, 0, 0, 0, 4096, 0;
}

sub serve {
    my ($fh) = @_;

    while (1) {
        my $n = sysread $fh, my $in, 200_000;
        next if !defined $n && $!{EINTR};
        next if !defined $n && $!{ENOENT};
        last if !$n;

        my (undef, $op, $id, $node) = unpack 'L2 Q2', $in;
        next if $op == 2 || $op == 42 || $op == 36;

        my ($error, $out) = (0, '');
        if ($op == 26) {
            $out = pack 'L4 S2 L2 S2 L8', 7, 31, 0, 0, 8, 8, 65536, 1, 16, 0,
                (0) x 8;
        } elsif ($op == 1 && substr($in, 40) eq "slow\0" && -e "$dir/stalls") {
            next;
        } elsif ($op == 1) {
            $out = pack('Q4 L2', 2, 1, 3600, 0, 0, 0) . attributes(2);
            $error = -2 if substr($in, 40) ne "file\0";
        } elsif ($op == 3 && $node == 1) {
            $out = pack('Q L2', 3600, 0, 0) . attributes(1);
        } elsif (-e "$dir/stalls" || $op == 25 && -e "$dir/stalls-at-end") {
            next;
        } elsif ($op == 3) {
            $out = pack('Q L2', 0, 0, 0) . attributes(2);
        } elsif ($op == 14) {
            $out = pack 'Q L2', 0, 0, 0;
        } elsif ($op == 15) {
            my (undef, $off) = unpack 'Q2', substr $in, 40;
            $out = $off < 6 ? substr "answer", $off : '';
        } elsif ($op == 17) {
            $out = pack 'Q5 L3 x4 L6', 0, 0, 0, 0, 0, 4096, 255, 4096, (0) x 6;
        } elsif ($op != 18 && $op != 25) {
            $error = -38;
        }

        $out = '' if $error;
        syswrite $fh, pack('L l Q', 16 + length $out, $error, $id) . $out;
    }
}


mkdir "$dir/served" or die;
$^F = 255;                              # for mount
open my $fuse, '+<', '/dev/fuse' or die "/dev/fuse: $!";
my $no = fileno $fuse;
my $mounted = system("mount -i -t fuse -o fd=$no,rootmode=40000,user_id=0,"
    . "group_id=0,allow_other served '$dir/served' 2>'$dir/mount-errors'");

if ($mounted != 0) {
    plan skip_all => 'FUSE can\'t be mounted: ' . slurp("$dir/mount-errors");
}
$^F = 2;

$server = fork() // die "fork: $!";
if ($server == 0) {
    serve($fuse);
    require POSIX;
    POSIX::_exit(0);
}
close $fuse;
END {
    my $status = $?;

    kill 'KILL', $server if $server;
    system 'umount', '-l', "$dir/served" if defined $mounted && $mounted == 0;
    $? = $status;
}

my $agent = AgentClient->start(args => ['--workspace', $dir], dir => $dir);
my $file = "$dir/served/file";

is($agent->post('/api/read', { path => $file })->{json}{content}, 'answer',
    'a file of the server is read');
is($agent->post('/api/read', { path => $file })->{json}{content}, 'answer',
    'and again, when its name is known');

my @waiting;

sub nobody_waits {
    my ($head, $body) = @_;
    my $s = $agent->connect;

    http_send($s, "$head HTTP/1.1\r\nHost: x\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    push @waiting, $s;

    # Until it has had the time to come to where it waits.
    for (1 .. 3) {
        my $status = eval { $agent->get('/api/ping', timeout => 10)->{status} };
        return fail("$head: nobody else waits") if ($status // 0) != 200;
        sleep(0.05);
    }
    pass("$head: nobody else waits");
}


my $path = json_encode({ path => $file });

spew("$dir/stalls-at-end", '');
nobody_waits('POST /api/read', $path);
nobody_waits("GET /bridge/file$file", '');

spew("$dir/stalls", '');
nobody_waits('POST /api/read', $path);
nobody_waits('POST /api/exists', $path);

my %command = (command => 'true', cwd => "$dir/served/slow");
for my $env ({}, { TERM => 'dumb' }) {
    nobody_waits('POST /api/session/create',
        json_encode({ id => 'there' . keys %$env, env => $env,
                      cwd => "$dir/served/slow" }));
}
nobody_waits('POST /api/execute', json_encode(\%command));
nobody_waits('POST /api/execute',
    json_encode({ %command, sessionId => 'new' }));

# With its server the file system ends.
kill 'KILL', $server;
waitpid $server, 0;
undef $server;

is(eval { $agent->post('/api/read', { path => $file }, timeout => 30)
    ->{status} } // 0, 500, 'the end of the server is an error');

$agent->stop;
done_testing();
