#!/usr/bin/perl

# The file API of the agent: each operation, its errors, bad input, and what
# hostile programs inside can do to paths while they are used.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Fcntl qw(:mode);
use Harness;
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX qw(mkfifo);
use Socket;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);
umask 022;

my $dir = tmp_dir();
my $w = "$dir/w";

mkdir $w;

my $agent = AgentClient->start(args => ['--workspace', $w]);
my $ISO = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;


sub post { return $agent->post("/api/$_[0]", $_[1]) }

sub fails {
    my ($route, $body, $status, $code, $message, $name) = @_;
    my $r = ref $body ? post($route, $body)
        : $agent->request('POST', "/api/$route", body => $body);
    my $j = $r->{json} || {};

    is("$r->{status} " . ($j->{code} // ''), "$status $code", $name)
        or diag($r->{body});
    like($j->{message} // '', $message, "$name: message");
    is($j->{httpStatus}, $status, "$name: httpStatus");
    like($j->{timestamp} // '', $ISO, "$name: timestamp");

    return $j;
}

# 200000 times the same letter.
sub whole { return $_[0] eq substr($_[0], 0, 1) x 200_000 }

sub temp_files {
    my ($where) = @_;
    opendir my $d, $where or return;

    return grep { /^\.sandbox-/ } readdir $d;
}


subtest 'write and read' => sub {
    my $r = post('write', { path => "$w/a.txt", content => "hello\n" });

    is($r->{status}, 200, 'write');
    like($r->{body}, qr/^\{"success":true,"path":"\Q$w\E\/a\.txt","timestamp":"[^"]+"\}$/,
        'the members and their order');
    is(slurp("$w/a.txt"), "hello\n", 'the content');
    is((stat "$w/a.txt")[2] & 07777, 0644, 'the mode of a new file');

    $r = post('read', { path => "$w/a.txt" });
    is($r->{status}, 200, 'read');
    like($r->{body}, qr/^\{"success":true,"path":"\Q$w\E\/a\.txt","content":"hello\\n","timestamp":"[^"]+","encoding":"utf-8","isBinary":false,"mimeType":"text\/plain","size":6\}$/,
        'the members and their order');
    like($r->{headers}{'content-type'}, qr{^application/json}, 'its type');

    for my $e ('utf-8', 'utf8') {
        my $j = post('read', { path => "$w/a.txt", encoding => $e })->{json};
        is("$j->{encoding} $j->{content}", "utf-8 hello\n", "read as $e");
    }

    my $j = post('read', { path => "$w/a.txt", encoding => 'base64' })->{json};
    is($j->{content}, 'aGVsbG8K', 'read as base64');
    ok($j->{isBinary}, 'which is called binary');
    is($j->{mimeType}, 'text/plain', 'and keeps its type');

    post('write', { path => "$w/b.bin", content => 'AAEC//4=',
                    encoding => 'base64' });
    is(slurp("$w/b.bin"), "\0\1\2\xff\xfe", 'write base64');
    $j = post('read', { path => "$w/b.bin" })->{json};
    is("$j->{encoding} $j->{content} $j->{mimeType} $j->{size}",
        'base64 AAEC//4= application/octet-stream 5', 'a binary file');
    $j = post('read', { path => "$w/b.bin", encoding => 'utf-8' })->{json};
    is($j->{content}, "\0\1\2\x{fffd}\x{fffd}", 'forced to text');
    is("$j->{encoding} " . ($j->{isBinary} ? 1 : 0), 'utf-8 0', 'and called so');

    post('write', { path => "$w/e.txt", content => '' });
    $j = post('read', { path => "$w/e.txt" })->{json};
    is("$j->{content}|$j->{size}|$j->{encoding}", '|0|utf-8', 'an empty file');

    post('write', { path => "$w/empty", content => '' });
    is(post('read', { path => "$w/empty" })->{json}{mimeType},
        'inode/x-empty', 'an empty file without extension');

    $agent->request('POST', '/api/write',
        body => qq({"path":"$w/uni.txt","content":"h\\u00e9\\u00e9\\ud83d\\ude00\\u0000\\ud800"}));
    is(slurp("$w/uni.txt"), "h\xc3\xa9\xc3\xa9\xf0\x9f\x98\x80\0\xef\xbf\xbd",
        'escapes, a NUL and a lone surrogate');
    is(post('read', { path => "$w/uni.txt" })->{json}{content},
        "h\x{e9}\x{e9}\x{1f600}\0\x{fffd}", 'read back');

    for my $name ("q'\"\$x y.txt", "tab\tline\nfeed.txt", "-rf", "\x{e9}.txt",
        '~', '*', 'a\\b')
    {
        my $bytes = $name;
        utf8::encode($bytes);
        is(post('write', { path => "$w/odd/$name", content => $name })
            ->{status}, 200, 'an odd name');
        is(slurp("$w/odd/$bytes"), $bytes, 'is taken as it is');
        is(post('read', { path => "$w/odd/$name" })->{json}{path},
            "$w/odd/$name", 'and comes back');
    }

    is(post('write', { path => "$w/no/such/x.txt", content => 'x' })->{status},
        200, 'parents are made');
    is(slurp("$w/no/such/x.txt"), 'x', 'and the file in them');
    is(post('write', { path => "$w/n2/../n3/./x", content => 'x' })->{status},
        200, 'parents with dots');
    is(slurp("$w/n3/x"), 'x', 'and the file in them');

    is(post('write', { path => 'rel.txt', content => 'r' })->{json}{path},
        'rel.txt', 'a relative path');
    is(slurp("$w/rel.txt"), 'r', 'begins at the workspace');
    is(post('read', { path => '../w/rel.txt',
            sessionId => '__DISABLE_SESSION__' })->{json}{content}, 'r',
        'and may leave it');
    is($agent->request('POST', '/api/read', body => qq({"path":"$w/a.txt"}),
            headers => { 'Content-Type' => 'text/plain' })->{status}, 200,
        'any content type');
    is(post('read', { path => '/proc/version' })->{json}{content},
        slurp('/proc/version'), 'a file that does not tell its size');
};


subtest 'where a session is' => sub {
    my $run = sub { $agent->post('/api/execute', { command => $_[0],
        sessionId => $_[1] })->{json} };

    mkdir "$w/se"; mkdir "$w/se/one";
    spew("$w/se/one/f", 'in one');
    spew("$w/f", 'in the workspace');
    $run->("cd $w/se/one", 'one');

    is(post('read', { path => 'f', sessionId => 'one' })->{json}{content},
        'in one', 'relative paths begin where it is');
    is(post('read', { path => 'f' })->{json}{content}, 'in the workspace',
        'not those of others');
    is(post('read', { path => 'f', sessionId => 'unknown' })->{json}{content},
        'in the workspace', 'nor of one that was never used');
    is(post('read', { path => 'f', sessionId => '__DISABLE_SESSION__' })
        ->{json}{content}, 'in the workspace', 'nor without one');
    post('write', { path => '../g', content => 'up', sessionId => 'one' });
    is(slurp("$w/se/g"), 'up', 'one directory up');
    $run->("cd $w/se", 'default');
    is(post('exists', { path => 'g' })->{json}{exists} ? 1 : 0, 1,
        'the default session is used without an id');
    $run->("cd $w", 'default');

    my $s = $agent->connect;
    my $body = json_encode({ command => 'sleep 20', sessionId => 'one' });
    http_send($s, "POST /api/execute HTTP/1.1\r\nHost: x\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body");
    sleep 0.3;
    my $before = time();
    is(post('read', { path => 'f', sessionId => 'one' })->{json}{content},
        'in one', 'while it runs a command');
    cmp_ok(time() - $before, '<', 15, 'which is not waited for');
    close $s;
};


subtest 'media types' => sub {
    my %files = (
        'p.png' => ["\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 'image/png', 'base64'],
        'p' => ["\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 'image/png', 'base64'],
        'j.json' => ["{}\n", 'application/json', 'utf-8'],
        'x.py' => ["print(1)\n", 'text/plain', 'utf-8'],
        'h.html' => ["<html></html>\n", 'text/html', 'utf-8'],
        'u.txt' => ["\xc3\xa9", 'text/plain', 'utf-8'],
        'c.csv' => ["a,b\n", 'text/csv', 'utf-8'],
        's.svg' => ["<svg/>", 'image/svg+xml', 'utf-8'],
        'run' => ["#!/bin/sh\n", 'text/x-shellscript', 'utf-8'],
        'x.xlsx' => ["PK", 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'base64'],
    );

    for my $name (sort keys %files) {
        my ($data, $type, $encoding) = @{ $files{$name} };

        spew("$w/$name", $data);
        my $j = post('read', { path => "$w/$name" })->{json};
        is("$j->{mimeType} $j->{encoding}", "$type $encoding", $name);
    }

    spew("$w/l1.txt", "bad\xffutf8 text\n");
    is(post('read', { path => "$w/l1.txt" })->{json}{content},
        "bad\x{fffd}utf8 text\n", 'text that is not UTF-8');
};


subtest 'what a write keeps' => sub {
    spew("$w/mode", 'old', 04750);
    post('write', { path => "$w/mode", content => 'new' });
    is(slurp("$w/mode"), 'new', 'replaced');
    is((stat "$w/mode")[2] & 07777, 04750, 'the mode stays');

    SKIP: {
        skip 'needs root', 1 if $>;
        chown 12, 34, "$w/mode";
        post('write', { path => "$w/mode", content => 'new' });
        is(join(':', (stat "$w/mode")[4, 5]), '12:34', 'the owner stays');
    }

    spew("$w/target", 'old');
    symlink 'target', "$w/link";
    symlink "$w/link", "$w/link2";
    post('write', { path => "$w/link2", content => 'through' });
    ok(-l "$w/link2" && -l "$w/link", 'links stay links');
    is(slurp("$w/target"), 'through', 'and are followed');

    symlink 'newdir/made', "$w/dangling";
    is(post('write', { path => "$w/dangling", content => 'x' })->{status}, 200,
        'a dangling link');
    is(slurp("$w/newdir/made"), 'x', 'makes its target');

    symlink 'loop2', "$w/loop1";
    symlink 'loop1', "$w/loop2";
    fails('write', { path => "$w/loop1", content => 'x' }, 500,
        'TOO_MANY_LINKS', qr/Failed to write/, 'a loop of links');
    is_deeply([temp_files($w)], [], 'nothing temporary is left');
};


subtest 'read errors' => sub {
    my $j = fails('read', { path => "$w/missing" }, 404, 'FILE_NOT_FOUND',
        qr{^File not found: \Q$w\E/missing$}, 'missing');
    is_deeply($j->{context},
        { path => "$w/missing", operation => 'file.read' }, 'its context');
    is($j->{operation}, 'file.read', 'its operation');

    fails('read', { path => $w }, 404, 'FILE_NOT_FOUND',
        qr/^File not found: \Q$w\E$/, 'a directory');
    fails('read', { path => "$w/a.txt/x" }, 404, 'FILE_NOT_FOUND',
        qr/^File not found/, 'below a file');
    fails('read', { path => '/' . 'a' x 300 }, 400, 'NAME_TOO_LONG',
        qr/Failed to read/, 'a name of 300 bytes');
    fails('read', { path => "/\x{e9}" . "\x{20ac}" x 4000 }, 400,
        'NAME_TOO_LONG', qr/Failed to read/, 'a message cut in a character');
    fails('read', { path => '/dev/null' }, 404, 'FILE_NOT_FOUND',
        qr/not a regular file/, 'a device');

    mkfifo("$w/fifo", 0600);
    my $before = time();
    fails('read', { path => "$w/fifo" }, 404, 'FILE_NOT_FOUND',
        qr/not a regular file/, 'a FIFO that nobody writes');
    fails('write', { path => "$w/fifo", content => 'x' }, 500,
        'FILESYSTEM_ERROR', qr/Not a regular file/, 'writing to it');
    cmp_ok(time() - $before, '<', 20, 'neither waits');

    socket(my $s, AF_UNIX, SOCK_STREAM, 0);
    bind($s, sockaddr_un("$w/sock"));
    fails('read', { path => "$w/sock" }, 404, 'FILE_NOT_FOUND',
        qr/not a regular file/, 'a socket');

    open my $fh, '>', "$w/huge" or die;
    truncate $fh, 32 * 1024 * 1024 + 1;
    close $fh;
    $j = fails('read', { path => "$w/huge" }, 413, 'FILE_TOO_LARGE',
        qr/33554432/, 'more than 32 MiB');
    is("$j->{context}{maxSize} $j->{context}{actualSize}",
        '33554432 33554433', 'both sizes are told');
    is($j->{context}{path}, "$w/huge", 'and the path');

    truncate "$w/huge", 32 * 1024 * 1024;
    my $text = '';
    my $r = $agent->post('/api/read', { path => "$w/huge" },
        on_data => sub { $text .= $_[0]; return 1 });
    is($r->{status}, 200, 'exactly 32 MiB');
    ok($r->{complete} && length $text > 44739244 && $text =~ /"size":33554432\}$/,
        'all of it');
    unlink "$w/huge";
};


subtest 'bad input' => sub {
    my %bad = (
        'a path' => [{ path => '' }, 'path', qr/non-empty string/, qr/^Invalid path format for '': /],
        'no path' => [{}, 'path', qr/non-empty string/, qr/^Invalid path format for 'undefined'/],
        'a number' => [{ path => 5 }, 'path', qr/non-empty string/, qr/Invalid path/],
        'a NUL' => [{ path => "/a\0b" }, 'path', qr/null bytes/, qr/Invalid path/],
        '4097 characters' => [{ path => '/' . 'a' x 4096 }, 'path', qr/max 4096/, qr/Path too long/],
    );

    for my $route (qw(read read/stream write delete mkdir list-files exists)) {
        for my $name (sort keys %bad) {
            my ($body, $field, $why, $message) = @{ $bad{$name} };
            my $j = fails($route, { %$body, content => 'x' }, 400,
                'VALIDATION_FAILED', $message, "$route: $name");
            my $e = $j->{context}{validationErrors}[0];

            is("$e->{field} $e->{code}", "$field INVALID_PATH",
                "$route: $name: the field");
            like($e->{message}, $why, "$route: $name: why");
        }
    }

    for (['rename', 'oldPath', 'newPath'],
         ['move', 'sourcePath', 'destinationPath'])
    {
        my ($route, $from, $to) = @$_;
        my $j = fails($route, { $from => '', $to => '/x' }, 400,
            'VALIDATION_FAILED', qr/Invalid path/, "$route: source");
        is($j->{context}{validationErrors}[0]{field}, $from, 'its field');
        $j = fails($route, { $from => '/x' }, 400, 'VALIDATION_FAILED',
            qr/Invalid path/, "$route: destination");
        is($j->{context}{validationErrors}[0]{field}, $to, 'its field');
    }

    my $j = fails('write', { path => "$w/c.bin", content => '!!!',
            encoding => 'base64' }, 400, 'VALIDATION_FAILED',
        qr/^Invalid base64 content/, 'no base64');
    is($j->{context}{validationErrors}[0]{code}, 'INVALID_BASE64', 'its code');
    ok(!-e "$w/c.bin", 'nothing was written');
    fails('write', { path => "$w/c.bin", content => 'A', encoding => 'base64' },
        400, 'VALIDATION_FAILED', qr/base64/, 'half a byte of base64');
    fails('write', { path => "$w/c.bin", content => 'AA==BB==',
            encoding => 'base64' }, 400, 'VALIDATION_FAILED', qr/base64/,
        'two pieces of base64');

    $j = fails('write', { path => "$w/d" }, 400, 'VALIDATION_FAILED',
        qr/content/i, 'no content');
    is($j->{context}{validationErrors}[0]{field}, 'content', 'its field');
    fails('write', { path => "$w/d", content => 5 }, 400, 'VALIDATION_FAILED',
        qr/content/i, 'content that is a number');
    for my $route (qw(read write)) {
        $j = fails($route, { path => "$w/a.txt", content => 'x',
                encoding => 'latin9' }, 400, 'VALIDATION_FAILED', qr/utf-8/,
            "$route: an unknown encoding");
        is($j->{context}{validationErrors}[0]{field}, 'encoding', 'its field');
    }
    is(slurp("$w/a.txt"), "hello\n", 'nothing was written');
    fails('mkdir', { path => "$w/d", recursive => 'yes' }, 400,
        'VALIDATION_FAILED', qr/recursive/, 'recursive that is a string');
    fails('list-files', { path => $w, options => [] }, 400,
        'VALIDATION_FAILED', qr/options/, 'options that are a list');
    fails('list-files', { path => $w, options => { recursive => 1 } }, 400,
        'VALIDATION_FAILED', qr/recursive/, 'recursive that is a number');
    fails('read', { path => "$w/a.txt", sessionId => '  ' }, 400,
        'VALIDATION_FAILED', qr/empty or whitespace/, 'a blank session');
    fails('read', { path => "$w/a.txt", sessionId => 7 }, 400,
        'VALIDATION_FAILED', qr/sessionId/, 'a session that is a number');

    for my $body ('{', '', 'null', '[]', '"x"', '{"path":"/x"', "{\"path\":\"\xff\"}",
        '{"path":"/x","path":"/y"}', '{"path":"/x"}}', '{"path":' . '[' x 100,
        '{"path":"/' . "\n" . '"}')
    {
        my $e = fails('read', $body, 400, 'VALIDATION_FAILED',
            qr/^Failed to parse request body: .* at byte \d+$/,
            'a body that is ' . substr(json_encode($body), 0, 30));
        is($e->{context}{validationErrors}[0]{code}, 'INVALID_JSON', 'its code');
        ok(!exists $e->{context}{stack}, 'no stack');
    }

    my $r = $agent->request('POST', '/api/read', body => '{"path":"'
        . 'a' x 300_000 . '"}');
    is($r->{status}, 413, 'a body of 300 KB with a path');
    $r = $agent->request('POST', '/api/write', body => '',
        headers => { 'Content-Length' => 100 * 1024 * 1024,
                     'Expect' => '100-continue' });
    is("$r->{status} $r->{json}{code}", '413 FILE_TOO_LARGE', 'a write of 100 MiB');
    is("$r->{json}{context}{maxSize} $r->{json}{context}{actualSize}",
        64 * 1024 * 1024 . ' ' . 100 * 1024 * 1024, 'both sizes are told');

    # Five of 60 MiB at once are more than may be held together.
    my @s = map {
        my $s = $agent->connect;
        http_send($s, "POST /api/write HTTP/1.1\r\nHost: x\r\n"
            . "Content-Length: 62914560\r\n\r\n{");
        sysread $s, my $line, 3;
        $s;
    } 1 .. 4;
    sleep 0.1;
    $r = $agent->request('POST', '/api/write', body => '{',
        headers => { 'content-length' => 62914560 });
    is("$r->{status} $r->{json}{code} $r->{headers}{'retry-after'}",
        '409 RESOURCE_BUSY 1', 'too much at once');
    is(post('write', { path => "$w/small", content => 'x' })->{status}, 200,
        'a small write is still taken');
    close $_ for @s;
    ok(wait_for(sub {
        my $t = $agent->connect;
        http_send($t, "POST /api/write HTTP/1.1\r\nHost: x\r\n"
            . "Content-Length: 62914560\r\nExpect: 100-continue\r\n\r\n");
        sysread $t, my $line, 3;
        sysread $t, $line, 12;
        return $line =~ / 100$/;
    }, 5), 'and what was held is free again');

    my $chunk = sprintf "%x\r\n%s\r\n", 1 << 20, 'x' x (1 << 20);
    my $s = $agent->connect;
    http_send($s, "POST /api/write HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n");
    for (1 .. 66) { http_send($s, $chunk, 5) or last }
    sysread $s, my $line, 3;
    is(http_read($s)->{status}, 413, 'more than 64 MiB in chunks');
    close $s;
};


subtest 'write errors' => sub {
    my $j = fails('write', { path => $w, content => 'x' }, 400, 'IS_DIRECTORY',
        qr/^Failed to write file/, 'onto a directory');
    is($j->{context}{operation}, 'file.write', 'its operation');
    ok($j->{context}{stderr}, 'what the system said');
    fails('write', { path => "$w/new/", content => 'x' }, 400, 'IS_DIRECTORY',
        qr/Failed to write/, 'a trailing slash');
    fails('write', { path => "$w/a.txt/x", content => 'x' }, 400,
        'NOT_DIRECTORY', qr/Failed to write/, 'below a file');
    fails('write', { path => "$w/" . 'n' x 256, content => 'x' }, 400,
        'NAME_TOO_LONG', qr/Failed to write/, 'a name of 256 bytes');
    is_deeply([temp_files($w)], [], 'nothing temporary is left');
};


subtest 'read as a stream' => sub {
    my $r = post('read/stream', { path => "$w/a.txt" });

    is($r->{status}, 200, 'status');
    is($r->{headers}{'content-type'}, 'text/event-stream', 'type');
    is($r->{headers}{'cache-control'}, 'no-cache', 'not cached');
    is($r->{body}, qq(data: {"type":"metadata","mimeType":"text/plain","size":6,"isBinary":false,"encoding":"utf-8"}\n\n)
        . qq(data: {"type":"chunk","data":"hello\\n"}\n\n)
        . qq(data: {"type":"complete","bytesRead":6}\n\n), 'the bytes');

    $r = post('read/stream', { path => "$w/b.bin" });
    is($r->{body}, qq(data: {"type":"metadata","mimeType":"application/octet-stream","size":5,"isBinary":true,"encoding":"base64"}\n\n)
        . qq(data: {"type":"chunk","data":"AAEC//4="}\n\n)
        . qq(data: {"type":"complete","bytesRead":5}\n\n), 'a binary file');

    $r = post('read/stream', { path => "$w/empty" });
    is($r->{body}, qq(data: {"type":"metadata","mimeType":"inode/x-empty","size":0,"isBinary":false,"encoding":"utf-8"}\n\n)
        . qq(data: {"type":"complete","bytesRead":0}\n\n), 'an empty file');

    for ("$w/zzz", $w) {
        $r = post('read/stream', { path => $_ });
        is("$r->{status} $r->{body}",
            qq(200 data: {"type":"error","error":"File not found: $_"}\n\n),
            'what is not there, or a directory');
    }

    # A character of three bytes lies across every edge of a slice.
    my $text = 'x' . "\xe2\x82\xac" x 100_000;
    spew("$w/euro.txt", $text);
    my @f = $agent->frames(post('read/stream', { path => "$w/euro.txt" })
        ->{body});
    my $got = join '', map { $_->{data} } grep { $_->{type} eq 'chunk' } @f;
    utf8::encode($got);
    ok($got eq $text, 'text in slices');
    is(scalar(grep { ($_->{data} // '') =~ /\x{fffd}/ } @f), 0,
        'no character is cut');
    is($f[-1]{bytesRead}, length $text, 'its length');

    my $bytes = join '', map { chr(rand 256) } 1 .. 200_000;
    spew("$w/rnd.bin", $bytes);
    @f = $agent->frames(post('read/stream', { path => "$w/rnd.bin" })->{body});
    ok(join('', map { decode_base64($_->{data}) }
        grep { $_->{type} eq 'chunk' } @f) eq $bytes, 'bytes in slices');
    is(length decode_base64($f[1]{data}), 65535, 'of 65535');
    ok(decode_base64(post('read', { path => "$w/rnd.bin" })->{json}{content})
        eq $bytes, 'the same at once');

    spew("$w/cut.txt", 'a' x 65535 . "\xe2\x82");
    @f = $agent->frames(post('read/stream', { path => "$w/cut.txt" })->{body});
    is(substr(join('', map { $_->{data} // '' } @f), 65534), "a\x{fffd}",
        'what is cut at the very end is replaced');
};


subtest 'delete' => sub {
    spew("$w/del", 'x');
    my $r = post('delete', { path => "$w/del" });
    like($r->{body}, qr/^\{"success":true,"path":"[^"]+","timestamp":"[^"]+"\}$/,
        'delete');
    ok(!-e "$w/del", 'it is gone');
    my $j = fails('delete', { path => "$w/del" }, 404, 'FILE_NOT_FOUND',
        qr/^File not found: \Q$w\E\/del$/, 'again');
    is($j->{context}{operation}, 'file.delete', 'its operation');

    mkdir "$w/deldir";
    for ("$w/deldir", '/', "$w/.") {
        fails('delete', { path => $_ }, 400, 'IS_DIRECTORY',
            qr/Cannot delete directory.*deleteFile\(\)/, 'a directory');
    }

    symlink 'nowhere', "$w/dang2";
    is(post('delete', { path => "$w/dang2" })->{status}, 200,
        'a dangling link');
    ok(!-l "$w/dang2", 'is deleted itself');
    symlink 'deldir', "$w/linkdir";
    is(post('delete', { path => "$w/linkdir" })->{status}, 200,
        'a link to a directory');
    ok(-d "$w/deldir", 'leaves the directory');
};


subtest 'rename and move' => sub {
    for (['rename', 'oldPath', 'newPath', 'Rename'],
         ['move', 'sourcePath', 'destinationPath', 'Move'])
    {
        my ($route, $from, $to, $verb) = @$_;
        my $go = sub { post($route, { $from => "$w/$_[0]", $to => "$w/$_[1]" }) };

        spew("$w/m1", 'one');
        my $r = $go->('m1', 'm2');
        is($r->{status}, 200, $route);
        like($r->{body}, qr/^\{"success":true,"path":"\Q$w\E\/m1","newPath":"\Q$w\E\/m2","timestamp":"[^"]+"\}$/,
            "$route: the members and their order");
        ok(!-e "$w/m1" && slurp("$w/m2") eq 'one', "$route: it moved");

        spew("$w/m3", 'three');
        $go->('m3', 'm2');
        is(slurp("$w/m2"), 'three', "$route: overwrites");

        mkdir "$w/md";
        is($go->('m2', 'md')->{status}, 200, "$route: into a directory");
        is(slurp("$w/md/m2"), 'three', "$route: it is in there");
        is($go->('md/', 'md9/')->{status}, 200, "$route: a directory");
        is(slurp("$w/md9/m2"), 'three', "$route: with what is in it");
        symlink 'md9', "$w/mdlink";
        spew("$w/m4", 'four');
        $go->('m4', 'mdlink');
        is(slurp("$w/md9/m4"), 'four', "$route: into a link to a directory");
        symlink 'nowhere', "$w/mdang";
        is($go->('mdang', 'mdang2')->{status}, 200, "$route: a dangling link");
        is(readlink "$w/mdang2", 'nowhere', "$route: stays a link");

        my $j = fails($route, { $from => "$w/zzz", $to => "$w/y" }, 404,
            'FILE_NOT_FOUND', qr{^Source file not found: \Q$w\E/zzz$},
            "$route: no source");
        is($j->{context}{operation}, "file.$route", 'its operation');
        $j = fails($route, { $from => "$w/a.txt", $to => "$w/nope/x" }, 500,
            'FILESYSTEM_ERROR', qr/^$verb operation failed with exit code 1$/,
            "$route: no parent");
        is("$j->{context}{sourcePath} $j->{context}{destinationPath}",
            "$w/a.txt $w/nope/x", 'both paths are told');
        like($j->{context}{stderr}, qr/No such file/, 'and why');
        fails($route, { $from => "$w/md9", $to => "$w/md9/x" }, 500,
            'FILESYSTEM_ERROR', qr/operation failed/,
            "$route: a directory into itself");
        fails($route, { $from => "$w/a.txt", $to => "$w/a.txt" }, 500,
            'FILESYSTEM_ERROR', qr/operation failed/, "$route: onto itself");
        is(slurp("$w/a.txt"), "hello\n", "$route: which stays");
        mkdir "$w/mfull"; mkdir "$w/mfull/md9"; spew("$w/mfull/md9/x", 'x');
        fails($route, { $from => "$w/md9", $to => "$w/mfull" }, 500,
            'FILESYSTEM_ERROR', qr/operation failed/,
            "$route: onto a directory that is not empty");
        link "$w/a.txt", "$w/hard";
        is($go->('hard', 'a.txt')->{status}, 200, "$route: onto another name");
        ok(!-e "$w/hard" && -e "$w/a.txt", "$route: of itself");

        system 'rm', '-rf', map { "$w/$_" }
            qw(md9 mdlink mfull mdang2 m2);
    }
};


subtest 'mkdir' => sub {
    my $r = post('mkdir', { path => "$w/d1" });
    like($r->{body}, qr/^\{"success":true,"path":"\Q$w\E\/d1","recursive":false,"timestamp":"[^"]+"\}$/,
        'the members and their order');
    ok(-d "$w/d1", 'it is there');
    for (["$w/d1", 'again'], ["$w/d2/x/y", 'without its parent'],
         ["$w/a.txt", 'onto a file'])
    {
        my $j = fails('mkdir', { path => $_->[0] }, 500, 'FILESYSTEM_ERROR',
            qr/^mkdir operation failed with exit code 1$/, $_->[1]);
        ok($j->{context}{stderr}, 'what the system said');
    }
    for (1 .. 2) {
        my $j = post('mkdir', { path => "$w/d2/x/y/", recursive => \1 })
            ->{json};
        ok($j->{success} && $j->{recursive}, 'with its parents');
    }
    ok(-d "$w/d2/x/y", 'it is there');
    fails('mkdir', { path => "$w/a.txt", recursive => \1 }, 500,
        'FILESYSTEM_ERROR', qr/mkdir/, 'onto a file, with parents');
    is(post('mkdir', { path => '/', recursive => \1 })->{status}, 200,
        'the root');
};


subtest 'exists' => sub {
    symlink 'gone', "$w/dead";
    symlink 'a.txt', "$w/alive";
    for (["$w/a.txt", 1], [$w, 1], ["$w/zz", 0], ["$w/dead", 0],
         ["$w/alive", 1], ["$w/a.txt/x", 0], ['/' . 'a' x 300, 0],
         ["$w/fifo", 1])
    {
        my $r = post('exists', { path => $_->[0] });
        is("$r->{status} " . ($r->{json}{exists} ? 1 : 0), "200 $_->[1]",
            substr($_->[0], 0, 60));
    }
    like(post('exists', { path => "$w/a.txt" })->{body},
        qr/^\{"success":true,"path":"[^"]+","exists":true,"timestamp":"[^"]+"\}$/,
        'the members and their order');
};


subtest 'list' => sub {
    my $l = "$w/list";
    mkdir $l; mkdir "$l/sub"; mkdir "$l/sub/deep"; mkdir "$l/.git";
    spew("$l/f.txt", 'abc', 0640);
    spew("$l/.hid", '');
    spew("$l/.git/config", 'x');
    spew("$l/sub/deep/x", 'x', 0755);
    spew("$l/a\tb\nc", '');
    spew("$l/\xff\xfe", '');
    symlink 'sub', "$l/lnk";
    symlink '/', "$l/rootlink";
    mkfifo("$l/ff", 0644);
    utime 1_700_000_000.25, 1_700_000_000, "$l/f.txt";

    my $r = post('list-files', { path => $l });
    is($r->{status}, 200, 'status');
    my %f = map { $_->{name} => $_ } @{ $r->{json}{files} };
    is(join(',', sort keys %f), "a\tb\nc,f.txt,ff,lnk,rootlink,sub,\x{fffd}\x{fffd}",
        'the names, odd ones too');
    is($r->{json}{count}, 7, 'how many');
    is_deeply($f{'f.txt'}, {
        name => 'f.txt', absolutePath => "$l/f.txt", relativePath => 'f.txt',
        type => 'file', size => 3, modifiedAt => '2023-11-14T22:13:20.000Z',
        mode => 'rw-r-----', permissions => { readable => JSON::PP::true,
        writable => JSON::PP::true, executable => JSON::PP::false } },
        'a file');
    like($r->{body}, qr/\{"name":"f\.txt","absolutePath":"[^"]+","relativePath":"f\.txt","type":"file","size":3,"modifiedAt":"[^"]+","mode":"rw-r-----","permissions":\{"readable":true,"writable":true,"executable":false\}\}/,
        'the members and their order');
    is("$f{sub}{type} $f{lnk}{type} $f{ff}{type}", 'directory symlink other',
        'types');
    is($f{lnk}{size}, 3, 'the size of a link is its own');

    %f = map { $_->{name} => 1 } @{ post('list-files', { path => $l,
        options => { includeHidden => \1 } })->{json}{files} };
    ok($f{'.hid'} && $f{'.git'}, 'hidden ones');

    my @rec = map { $_->{relativePath} } @{ post('list-files', { path => "$l/",
        options => { recursive => \1 } })->{json}{files} };
    ok((grep { $_ eq 'sub/deep/x' } @rec), 'everything below');
    ok((grep { $_ eq '.git/config' } @rec), 'also in hidden directories');
    ok(!(grep { $_ eq '.git' } @rec), 'which are hidden themselves');
    is(scalar(grep { m{^(?:lnk|rootlink)/} } @rec), 0, 'links are not followed');
    is(scalar(grep { $_->{absolutePath} eq "$l/sub/deep/x" }
        @{ post('list-files', { path => "$l/", options => { recursive => \1 } })
            ->{json}{files} }), 1, 'their absolute paths');

    is(post('list-files', { path => "$l/.git" })->{json}{count}, 1,
        'in a hidden directory');
    is(post('list-files', { path => "$l/lnk" })->{json}{count}, 1,
        'a link to a directory is followed when it is asked for');
    my $j = post('list-files', { path => 'list/sub' })->{json};
    is("$j->{path} $j->{files}[0]{absolutePath}",
        "list/sub $w/list/sub/deep", 'a relative path');
    like(post('list-files', { path => "$l/sub/deep/../../.git" })->{body},
        qr/config/, 'dots in the path');
    is(post('list-files', { path => "$w/d1" })->{body}
        =~ /^\{"success":true,"path":"[^"]+","files":\[\],"count":0,/ ? 1 : 0, 1,
        'an empty directory');

    $j = fails('list-files', { path => "$w/zz" }, 404, 'FILE_NOT_FOUND',
        qr{^Directory not found: \Q$w\E/zz$}, 'missing');
    is($j->{context}{operation}, 'directory.list', 'its operation');
    fails('list-files', { path => "$w/a.txt" }, 400, 'NOT_DIRECTORY',
        qr{^Path is not a directory: \Q$w\E/a.txt$}, 'a file');
    fails('list-files', { path => "$w/fifo" }, 400, 'NOT_DIRECTORY',
        qr/not a directory/, 'a FIFO');

    mkdir "$w/many";
    for my $d (1 .. 50) {
        mkdir "$w/many/$d";
        spew("$w/many/$d/$_", '') for 1 .. 60;
    }
    $r = post('list-files', { path => "$w/many", options => { recursive => \1 } });
    is($r->{json}{count}, 3050, '3050 entries');
    is(scalar @{ $r->{json}{files} }, 3050, 'in several slices');
    my %seen = map { $_->{relativePath} => 1 } @{ $r->{json}{files} };
    is(scalar keys %seen, 3050, 'each once');

    # Slices end where nothing is shown, too: nobody waits for it.
    mkdir "$w/dark";
    spew("$w/dark/.$_", '') for 1 .. 5000;
    spew("$w/dark/seen", '');
    $r = post('list-files', { path => "$w/dark" });
    is("$r->{json}{count} $r->{json}{files}[0]{name}", '1 seen',
        'one of thousands');
    is($r->{headers}{'content-length'}, undef, 'in several slices');

    my $deep = "$w/pit";
    mkdir $deep;
    SKIP: {
        chdir $deep or skip 'chdir', 1;
        for (1 .. 1200) { mkdir 'ddddddd'; chdir 'ddddddd' or last }
        chdir '/';
        $r = post('list-files', { path => $deep, options => { recursive => \1 } });
        is($r->{json}{count}, 1200, '1200 levels');
    }
    system 'rm', '-rf', $deep;
};


subtest 'many at once' => sub {
    my $before = $agent->fd_count;
    my @s = map { $agent->connect } 1 .. 40;
    my $n = 0;

    for my $s (@s) {
        my $body = json_encode({ path => "$w/many.txt",
                                 content => chr(65 + $n++ % 26) x 200_000 });
        http_send($s, "POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: "
            . length($body) . "\r\n\r\n$body");
        my $text = slurp("$w/many.txt") // '';
        ok($text eq '' || whole($text), 'never half a file')
            if $n % 10 == 0;
    }
    for my $s (@s) {
        sysread $s, my $line, 3;
        is(http_read($s)->{status}, 200, 'written') or last;
    }
    ok(whole(slurp("$w/many.txt")), 'one of them won');
    is_deeply([temp_files($w)], [], 'nothing temporary is left');

    close $_ for @s;
    ok(wait_for(sub { $agent->fd_count <= $before }, 5),
        'no descriptor is left open');
};


subtest 'clients that leave' => sub {
    my $before = $agent->fd_count;

    spew("$w/slow.bin", 'x' x 20_000_000);
    for my $route ('read', 'read/stream', 'list-files') {
        my $path = $route eq 'list-files' ? "$w/many" : "$w/slow.bin";
        my $body = json_encode({ path => $path, options => { recursive => \1 } });

        for (1 .. 5) {
            my $s = $agent->connect;
            http_send($s, "POST /api/$route HTTP/1.1\r\nHost: x\r\n"
                . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
            sysread $s, my $some, 1000;
            sleep 0.01 * $_;
            close $s;
        }
    }
    for (1 .. 10) {
        my $body = json_encode({ path => "$w/left.txt", content => 'y' x 500_000 });
        my $s = $agent->connect;
        http_send($s, "POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: "
            . length($body) . "\r\n\r\n" . substr($body, 0, 500_000 - $_));
        close $s;
    }

    ok(wait_for(sub { $agent->fd_count <= $before }, 10),
        'no descriptor is left open') or diag($agent->fd_count, " $before");
    ok(!-e "$w/left.txt", 'an incomplete request writes nothing');
    is_deeply([temp_files($w)], [], 'nothing temporary is left');
    is(post('exists', { path => $w })->{status}, 200, 'the agent answers');
};


is($agent->stop, 0, 'the agent ends well');
is($agent->log_text =~ /ERROR|runtime error|Sanitizer/ ? $agent->log_text : '',
    '', 'its log has no error');

done_testing();
