#!/usr/bin/perl

# Raw files below the workspace: whole, in part, large, aborted, and with
# paths and links that try to lead out of it.  Also what needs file systems of
# its own: a full disk, one that is read-only, and moves between two.

use strict;
use warnings;

use Digest::SHA;
use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Harness;
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);
umask 022;

my $dir = tmp_dir();
my $w = "$dir/w";
my $out = "$dir/outside";

mkdir $_ for $w, $out;
spew("$out/secret", 'secret');
my $agent = AgentClient->start(args => ['--workspace', $w]);


sub url { my $p = $_[0]; $p =~ s{([^A-Za-z0-9/._~-])}{sprintf '%%%02X', ord $1}ge; return "/bridge/file$p" }
sub get { my ($p, %o) = @_; return $agent->get(url($p), %o) }
sub put { my ($p, $b, %o) = @_; return $agent->request('PUT', url($p), body => $b, %o) }

sub is_error {
    my ($r, $status, $code, $text, $name) = @_;

    is("$r->{status} " . ($r->{json}{code} // ''), "$status $code", $name)
        or diag($r->{body});
    like($r->{json}{error} // '', $text, "$name: its text");
    is(join(',', sort keys %{ $r->{json} || {} }), 'code,error',
        "$name: nothing else");
}

sub temp_files {
    opendir my $d, $_[0] or return;

    return grep { /^\.sandbox-/ } readdir $d;
}

sub rss {
    return slurp("/proc/$_[0]/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}


subtest 'get and put' => sub {
    my $r = put("$w/a.bin", "\0\1\2\xff");

    is("$r->{status} $r->{body}", '200 {"ok":true}', 'put');
    is(slurp("$w/a.bin"), "\0\1\2\xff", 'the bytes');
    is((stat "$w/a.bin")[2] & 07777, 0644, 'the mode');

    $r = get("$w/a.bin");
    is("$r->{status} $r->{body}", "200 \0\1\2\xff", 'get');
    is($r->{headers}{'content-type'}, 'application/octet-stream', 'its type');
    is($r->{headers}{'content-length'}, 4, 'its length');
    is($r->{headers}{'access-control-allow-origin'}, undef, 'no CORS');

    $r = $agent->request('HEAD', url("$w/a.bin"));
    is("$r->{status} $r->{headers}{'content-length'} $r->{body}", '200 4 ',
        'head');

    is(put("$w/empty", '')->{status}, 200, 'put nothing');
    is(-s "$w/empty", 0, 'an empty file');
    $r = get("$w/empty");
    is("$r->{status} $r->{headers}{'content-length'}", '200 0', 'get it');

    is(put("$w/x/y/z", 'deep')->{status}, 200, 'parents are made');
    is(get("$w//x/./q/../y/z")->{body}, 'deep', 'dots and slashes');
    for my $name ("a b", 'q?x', 'h#x', '100%', "\xc3\xa9", "nl\n", "\xff")
    {
        is(put("$w/n/$name", $name)->{status}, 200, 'an odd name');
        is(slurp("$w/n/$name"), $name, 'is taken as it is');
        is(get("$w/n/$name")->{body}, $name, 'and found again');
    }

    chmod 0700, "$w/a.bin";
    put("$w/a.bin", 'new');
    is((stat "$w/a.bin")[2] & 07777, 0700, 'a mode stays');
    is($agent->request('PUT', url("$w/chunks"), body => "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            headers => { 'transfer-encoding' => 'chunked' })->{status}, 200,
        'a body in chunks');
    is(slurp("$w/chunks"), 'abcde', 'its bytes');
    my $s = $agent->connect;
    http_send($s, 'PUT ' . url("$w/expect") . " HTTP/1.1\r\nHost: x\r\n"
        . "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    sysread $s, my $line, 3;
    sysread $s, $line, 1000;
    like($line, qr/^HTTP\/1\.1 100 /, 'expect 100');
    http_send($s, 'abc');
    is(http_read($s)->{status}, 200, 'and then the body');
    close $s;
    is(get("$w/a.bin", headers => { 'session-id' => 'a.b-C_1' })->{status}, 200,
        'a session');
};


subtest 'parts' => sub {
    spew("$w/part", '0123456789');

    for (['bytes=0-0', 206, '0', 'bytes 0-0/10'],
         ['bytes=3-', 206, '3456789', 'bytes 3-9/10'],
         ['bytes=-4', 206, '6789', 'bytes 6-9/10'],
         ['bytes=5-99', 206, '56789', 'bytes 5-9/10'],
         ['bytes=10-', 416, '', 'bytes */10'],
         ['bytes=0-1,3-4', 200, '0123456789', undef],
         ['nonsense', 200, '0123456789', undef])
    {
        my ($range, $status, $body, $told) = @$_;
        my $r = get("$w/part", headers => { range => $range });

        is("$r->{status} $r->{body}", "$status $body", $range);
        is($r->{headers}{'content-range'}, $told, "$range: what it is");
        is($r->{headers}{'accept-ranges'}, 'bytes', "$range: parts are served");
    }
    is(get("$w/part", headers => { range => 'bytes=0-0', 'if-range' => '"x"' })
        ->{status}, 200, 'if-range');
    my $r = $agent->request('HEAD', url("$w/part"),
        headers => { range => 'bytes=2-3' });
    is("$r->{status} $r->{headers}{'content-length'}", '206 2', 'head');
};


subtest 'any path' => sub {
    my $esc = sub { $_[0] =~ s{([^A-Za-z0-9/._~-])}{sprintf '%%%02X', ord $1}ger };
    my $at = sub {
        my ($method, $p, %o) = @_;
        return $agent->request($method, '/api/file?path=' . $esc->($p), %o);
    };

    my $r = $at->(PUT => "$out/any/where/page.html", body => '<p>hello');
    is($r->{status}, 200, 'put');
    is(join(' ', map { $r->{json}{$_} } qw(success path bytesWritten)),
        "1 $out/any/where/page.html 8", 'what it says');
    like($r->{json}{timestamp}, qr/^\d{4}-.*Z$/, 'and when');
    is(slurp("$out/any/where/page.html"), '<p>hello', 'parents are made');

    $r = $at->(GET => "$out/any/where/page.html");
    is("$r->{status} $r->{body}", '200 <p>hello', 'get');
    is($r->{headers}{'content-type'}, 'text/html', 'its type');
    is($r->{headers}{'x-content-type-options'}, 'nosniff', 'that is meant');
    is($r->{headers}{'access-control-allow-origin'}, '*', 'headers of this API');
    $r = $at->(HEAD => "$out/any/where/page.html");
    is("$r->{status} $r->{headers}{'content-length'} $r->{body}", '200 8 ', 'head');
    is($at->(PUT => 'relative/x', body => 'r')->{status}, 200, 'a relative path');
    is(slurp("$w/relative/x"), 'r', 'begins at the workspace');
    is($at->(GET => '../outside/secret')->{body}, 'secret', 'and may leave it');
    is($at->(GET => 'relative/x')->{headers}{'content-type'}, 'text/plain',
        'a type by the content');
    spew("$w/png", "\x89PNG\r\n\x1a\n" . "\0" x 100);
    is($at->(GET => 'png')->{headers}{'content-type'}, 'image/png', 'of a picture');
    is($at->(PUT => "o?d #%&+=\n\xff", body => 'odd')->{status}, 200, 'an odd name');
    is(slurp("$w/o?d #%&+=\n\xff"), 'odd', 'is taken as it is');
    symlink "$out/secret", "$w/to-secret";
    is($at->(GET => 'to-secret')->{body}, 'secret', 'links are followed');
    is($at->(PUT => 'to-secret', body => 'told')->{status}, 200, 'by put too');
    is(slurp("$out/secret"), 'told', 'to where they lead');
    ok(-l "$w/to-secret", 'and stay');
    spew("$out/secret", 'secret');
    unlink "$w/to-secret";
    spew("$w/mode", 'x', 0640);
    $at->(PUT => 'mode', body => 'y');
    is((stat "$w/mode")[2] & 07777, 0640, 'a mode stays');

    # Another version, and the same.
    spew("$w/part", '0123456789');
    utime 1e9, 1e9, "$w/part";
    $r = $at->(GET => 'part');
    my ($tag, $date) = @{ $r->{headers} }{'etag', 'last-modified'};
    like($tag, qr/^"[\w-]+"$/, 'a tag');
    is($date, 'Sun, 09 Sep 2001 01:46:40 GMT', 'a date');
    is($r->{headers}{'accept-ranges'}, 'bytes', 'parts');
    for ([{ range => 'bytes=2-3' }, 206, '23'],
         [{ range => 'bytes=2-3', 'if-range' => $tag }, 206, '23'],
         [{ range => 'bytes=2-3', 'if-range' => $date }, 206, '23'],
         [{ range => 'bytes=2-3', 'if-range' => '"x"' }, 200, '0123456789'],
         [{ range => 'bytes=20-' }, 416, ''],
         [{ 'if-none-match' => $tag }, 304, ''],
         [{ 'if-none-match' => "\"x\", W/$tag" }, 304, ''],
         [{ 'if-none-match' => '*' }, 304, ''],
         [{ 'if-none-match' => '"x"' }, 200, '0123456789'],
         [{ 'if-none-match' => '"x"', 'if-modified-since' => $date }, 200,
             '0123456789'],
         [{ 'if-modified-since' => $date }, 304, ''],
         [{ 'if-modified-since' => 'Sun, 09 Sep 2001 01:46:39 GMT' }, 200,
             '0123456789'])
    {
        my ($headers, $status, $body) = @$_;
        my $r = $at->(GET => 'part', headers => $headers);

        is("$r->{status} $r->{body}", "$status $body",
            join ', ', map { "$_: $headers->{$_}" } sort keys %$headers);
    }
    put("$w/part", '0123456789');
    is($at->(GET => 'part', headers => { range => 'bytes=2-3', 'if-range' => $tag })
        ->{status}, 200, 'a new version has another tag');
    is(get("$w/part", headers => { 'if-none-match' =>
        $at->(HEAD => 'part')->{headers}{etag} })->{status}, 304,
        'the same tag on both routes');

    for (['nothing', GET => '', 400, 'VALIDATION_FAILED'],
         ['a missing file', GET => 'nope', 404, 'FILE_NOT_FOUND'],
         ['below a file', GET => 'part/x', 404, 'FILE_NOT_FOUND'],
         ['a directory', GET => '.', 400, 'IS_DIRECTORY'],
         ['put to a directory', PUT => '.', 400, 'IS_DIRECTORY'],
         ['put to a name with a slash', PUT => 'new/', 400, 'IS_DIRECTORY'],
         ['put below a file', PUT => 'part/x', 400, 'NOT_DIRECTORY'],
         ['a device', GET => '/dev/null', 500, 'FILESYSTEM_ERROR'],
         ['put to a device', PUT => '/dev/null', 500, 'FILESYSTEM_ERROR'],
         ['a long path', GET => 'x' x 5000, 400, 'VALIDATION_FAILED'],
         ['a long name', PUT => 'x' x 300, 400, 'NAME_TOO_LONG'])
    {
        my ($what, $method, $p, $status, $code) = @$_;
        my $r = $at->($method, $p, $method eq 'PUT' ? (body => 'x') : ());

        is("$r->{status} $r->{json}{code}", "$status $code", $what);
        is($r->{json}{httpStatus}, $status, "$what: in this API's form");
    }
    is($agent->get('/api/file')->{status}, 400, 'no path');
    is($at->(GET => "no\xff")->{json}{context}{operation}, 'file.read',
        'a path that is no text, in an error');

    # What has content but no size: read to its end.
    $r = $at->(GET => '/proc/version', headers => { range => 'bytes=0-3' });
    is("$r->{status} $r->{body}", '200 ' . slurp('/proc/version'),
        'a file that does not tell its size');
    is($r->{headers}{$_}, undef, "its $_") for 'content-length', 'etag';
    is($at->(HEAD => '/proc/version')->{status}, 200, 'its head');
    SKIP: {
        my $symbols = slurp('/proc/kallsyms') // '';
        length $symbols > 1_000_000 or skip 'no large file in /proc', 1;
        my $lines = () = $at->(GET => '/proc/kallsyms')->{body} =~ /^\w+ /mg;
        cmp_ok($lines, '>', 0.9 * ($symbols =~ tr/\n//), 'a large one');
    }
    spew("$w/empty", '');
    $r = $at->(GET => 'empty');
    is("$r->{status} $r->{headers}{'content-length'}", '200 0', 'an empty one');
    is($at->(GET => 'empty', headers => { range => 'bytes=0-' })->{status},
        416, 'has no parts');
    run_command(['rm', '-rf', "$out/any"], dir => $dir);
};


subtest 'errors' => sub {
    is_error($agent->get('/bridge/file/'), 400, 'invalid_request',
        qr/^file path must not be empty$/, 'no path');
    is_error(get("$w/missing"), 404, 'workspace_read_not_found',
        qr{^File not found: \Q$w\E/missing$}, 'missing');
    is_error(get("$w/a.bin/x"), 404, 'workspace_read_not_found',
        qr/^File not found/, 'below a file');
    is_error(get($w), 502, 'exec_transport_error',
        qr/^read failed: Is a directory/, 'the workspace itself');
    is_error(get("$w/x/"), 502, 'exec_transport_error',
        qr/^read failed: Is a directory/, 'a directory');
    is_error(put("$w/x", 'x'), 502, 'workspace_archive_write_error',
        qr/^write failed: Is a directory/, 'onto a directory');
    is_error(put($w, 'x'), 502, 'workspace_archive_write_error',
        qr/^write failed: Is a directory/, 'onto the workspace');
    is_error(put("$w/a.bin/x", 'x'), 502, 'workspace_archive_write_error',
        qr/^write failed: Not a directory/, 'a file below a file');
    is_error(put("$w/" . 'n' x 256, 'x'), 502, 'workspace_archive_write_error',
        qr/^write failed: File name too long/, 'a long name');
    is_error(get("$w/" . 'n' x 5000), 400, 'invalid_request',
        qr/Path too long/, 'a long path');
    is_error(get("$w/\xff\xfe-" . "\xc3\xa9" x 300), 502,
        'exec_transport_error', qr/^read failed: File name too long/,
        'a path that is no text');

    mkfifo("$w/fifo", 0600);
    my $before = time();
    is_error(get("$w/fifo"), 502, 'exec_transport_error',
        qr/^read failed: Not a regular file/, 'a FIFO');
    is_error(put("$w/fifo", 'x'), 502, 'workspace_archive_write_error',
        qr/^write failed: Not a regular file/, 'onto a FIFO');
    cmp_ok(time() - $before, '<', 20, 'neither waits');
    ok(-p "$w/fifo", 'which stays one');

    for my $id ('', ' ', 'a b', 'a/b', '..', 'a..b', 'x' x 129) {
        is_error(get("$w/a.bin", headers => { 'session-id' => $id }), 400,
            'invalid_request', qr/^Invalid session ID format$/,
            "the session '" . substr($id, 0, 10) . "'");
    }
    is($agent->request('DELETE', url("$w/a.bin"))->{status}, 405,
        'another method');
};


subtest 'out of the workspace' => sub {
    # Never a file of the machine: a broken agent would really write it.
    my @out = ("$out/secret", "/.$out/secret", "$w/../outside/secret",
        "$w/x/../../outside/secret", "${w}x/a", '/..', "$w/..");

    for my $p (@out) {
        is_error(get($p), 403, 'invalid_request', qr/within \Q$w\E/, "get $p");
        is_error(put($p, 'x'), 403, 'invalid_request', qr/within/, "put $p");
    }
    for my $raw ('/bridge/file/..%2f..%2fetc/hostname',
        '/bridge/file/' . substr($w, 1) . '/..%2f..%2foutside%2fsecret')
    {
        is_error($agent->get($raw), 403, 'invalid_request', qr/within/,
            "get $raw");
    }

    symlink "$out/secret", "$w/abs";
    symlink '../outside/secret', "$w/rel";
    symlink '../outside', "$w/dirlink";
    symlink '/', "$w/root";
    symlink "$out/made", "$w/dangling";
    symlink "/proc/self/root$out/secret", "$w/magic";
    symlink '/proc/self/fd/0', "$w/fd";
    symlink '/proc/self/cwd', "$w/cwd";

    for my $p ('abs', 'rel', 'dirlink/secret', "root$out/secret", 'magic', 'fd')
    {
        my $r = get("$w/$p");
        is($r->{status}, 403, "get through $p") or diag($r->{body});
        $r = put("$w/$p", 'x');
        like($r->{status}, qr/^(?:403|502)$/, "put through $p")
            or diag($r->{body});
        unlike($r->{body}, qr/"ok"/, "is refused");
    }
    is_error(put("$w/dangling", 'x'), 403, 'invalid_request', qr/within/,
        'put through a dangling link');
    is_error(put("$w/dirlink/sub/new", 'x'), 403, 'invalid_request',
        qr/within/, 'directories are not made outside');
    ok(!-e "$out/sub" && !-e "$out/made", 'nothing was made');
    is(slurp("$out/secret"), 'secret', 'nothing was changed');

    symlink "$w/a.bin", "$w/inside";
    is(get("$w/inside")->{body}, 'new', 'an absolute link to the inside');
    is(put("$w/inside", 'thru')->{status}, 200, 'put through it');
    ok(-l "$w/inside" && slurp("$w/a.bin") eq 'thru', 'the link stays');
    symlink "$w/x", "$w/indir";
    is(put("$w/indir/new/file", 'f')->{status}, 200,
        'directories are made behind a link to the inside');
    is(slurp("$w/x/new/file"), 'f', 'there');
};


# A directory becomes a link to the outside and back, as fast as it can,
# while files in it are written and read.
subtest 'a directory that is swapped for a link' => sub {
    mkdir "$w/swap";
    mkdir "$w/real";
    spew("$w/real/secret", 'mine');
    rmdir "$w/swap";

    my $pid = fork() // die;
    if ($pid == 0) {
        my $end = time() + 20;
        my $junk = 0;
        mkdir "$w/junk";
        while (time() < $end) {
            symlink $out, "$w/t1";   rename "$w/t1", "$w/swap";
            symlink 'real', "$w/t2"; rename "$w/t2", "$w/swap";
            rename "$w/swap", "$w/junk/" . $junk++;
            mkdir "$w/swap";
            rename "$w/swap", "$w/junk/" . $junk++;
        }
        POSIX::_exit(0);
    }

    my (%status, $leaked);
    my $n = 0;
    my $end = time() + 4;
    while (time() < $end) {
        my $r = get("$w/swap/secret");
        $status{"get $r->{status}"}++;
        $leaked = 1 if $r->{body} eq 'secret';
        $r = put("$w/swap/secret", 'mine');
        $status{"put $r->{status}"}++;
        $r = put("$w/swap/sub$n/f", 'mine') if ++$n % 5 == 0;
    }
    kill 'KILL', $pid;
    waitpid $pid, 0;
    system 'rm', '-rf', "$w/junk";

    ok(!$leaked, 'nothing from outside was read');
    is(slurp("$out/secret"), 'secret', 'nothing outside was changed');
    is_deeply([grep { !/^secret$/ } map { s{.*/}{}r } glob("$out/*")], [],
        'nothing was made outside');
    is_deeply([temp_files($out)], [], 'not even for a moment longer');
    ok($status{'get 403'} && $status{'get 200'}, 'both were met')
        or diag(join ', ', map { "$_: $status{$_}" } sort keys %status);
    is($status{'get 0'}, undef, 'every request was answered');
};


subtest 'aborted uploads' => sub {
    my $before = $agent->fd_count;

    spew("$w/keep", 'old');
    for my $sent (0, 1, 100_000, 1_000_000, 9_999_999) {
        my $s = $agent->connect;
        http_send($s, 'PUT ' . url("$w/keep") . " HTTP/1.1\r\nHost: x\r\n"
            . "Content-Length: 10000000\r\n\r\n" . 'y' x $sent);
        sleep 0.05;
        close $s;
    }
    for my $broken ("5\r\nabcde\r\nzz\r\n", "5\r\nabcdefgh") {
        my $s = $agent->connect;
        http_send($s, 'PUT ' . url("$w/keep") . " HTTP/1.1\r\nHost: x\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n$broken");
        sleep 0.05;
        close $s;
    }
    ok(wait_for(sub { $agent->fd_count <= $before }, 10),
        'no descriptor is left open');
    is(slurp("$w/keep"), 'old', 'the old file stays');
    is_deeply([temp_files($w)], [], 'nothing temporary is left');

    # What is not complete has no name.
    my $s = $agent->connect;
    http_send($s, 'PUT ' . url("$w/slow") . " HTTP/1.1\r\nHost: x\r\n"
        . "Content-Length: 1000001\r\n\r\n" . 'y' x 1_000_000);
    sleep 0.2;
    ok(!-e "$w/slow", 'half a file is not to be seen');
    http_send($s, 'z');
    sysread $s, my $line, 3;
    is(http_read($s)->{status}, 200, 'then it is complete');
    is(-s "$w/slow", 1_000_001, 'and there');
    close $s;

    $s = $agent->connect;
    http_send($s, 'PUT ' . url("$w/kill") . " HTTP/1.1\r\nHost: x\r\n"
        . "Content-Length: 1000001\r\n\r\n" . 'y' x 1_000_000);
    http_send($s, '') for 1 .. 3;
    sleep 0.1;
    close $s;
    ok(wait_for(sub { $agent->fd_count <= $before }, 5), 'and gone again');
};


subtest 'downloads' => sub {
    my $before = $agent->fd_count;
    my $size = 30_000_000;

    spew("$w/big", 'b' x $size);
    for (1 .. 5) {
        my $s = $agent->connect;
        http_send($s, 'GET ' . url("$w/big") . " HTTP/1.1\r\nHost: x\r\n\r\n");
        sysread $s, my $some, 100_000;
        sleep 0.02 * $_;
        close $s;
    }
    ok(wait_for(sub { $agent->fd_count <= $before }, 10),
        'clients that leave: no descriptor is left open');

    # It becomes shorter while it is sent: the client sees a broken answer.
    my $s = $agent->connect;
    http_send($s, 'GET ' . url("$w/big") . " HTTP/1.1\r\nHost: x\r\n\r\n");
    sysread $s, my $line, 3;
    my $cut;
    my $r = http_read($s, on_data => sub {
        truncate "$w/big", 1_000_000 unless $cut++;
        return 1;
    });
    is($r->{status}, 200, 'a file that shrinks');
    ok(!$r->{complete} && $r->{received} < $size, 'is not called complete');
    close $s;

    # One that grows is sent as long as it was.
    spew("$w/grow", 'g' x 5_000_000);
    $cut = 0;
    $r = get("$w/grow", on_data => sub {
        if (!$cut++) { open my $fh, '>>', "$w/grow"; print $fh 'more' }
        return 1;
    });
    ok($r->{complete} && $r->{received} == 5_000_000, 'a file that grows');

    # One that is replaced is sent as it was.
    spew("$w/swapped", 'o' x 5_000_000);
    my $bad = 0;
    $cut = 0;
    $r = get("$w/swapped", on_data => sub {
        put("$w/swapped", 'n' x 100) unless $cut++;
        $bad++ if $_[0] =~ /[^o]/;
        return 1;
    });
    ok($r->{complete} && $r->{received} == 5_000_000 && !$bad,
        'a file that is replaced');
    is(slurp("$w/swapped"), 'n' x 100, 'which it is');
};


subtest 'a large file' => sub {
    my $mb = $ENV{SANDBOX_LARGE_MB} || (is_san() ? 64 : 256);
    my $piece = join '', map { chr(rand 256) } 1 .. 1 << 20;
    my $sha = Digest::SHA->new(256);
    my $max = 0;
    my $idle = rss($agent->pid);
    my $s = $agent->connect;

    http_send($s, 'PUT ' . url("$w/large") . " HTTP/1.1\r\nHost: x\r\n"
        . 'Content-Length: ' . ($mb << 20) . "\r\n\r\n");
    for my $i (1 .. $mb) {
        substr($piece, 0, 4) = pack 'N', $i;
        $sha->add($piece);
        http_send($s, $piece) or last;
        my $rss = rss($agent->pid);
        $max = $rss if $rss > $max;
    }
    sysread $s, my $line, 3;
    is(http_read($s)->{status}, 200, "$mb MiB are put");
    is(-s "$w/large", $mb << 20, 'all of them');
    close $s;

    my $back = Digest::SHA->new(256);
    my $pieces = 0;
    my $r = get("$w/large", timeout => 120, on_data => sub {
        $back->add($_[0]);
        if (++$pieces % 64 == 0) {
            my $rss = rss($agent->pid);
            $max = $rss if $rss > $max;
        }
        return 1;
    });
    ok($r->{complete}, 'and got back');
    is($back->hexdigest, $sha->hexdigest, 'the same bytes');
    SKIP: {
        skip 'memory is not measured with the sanitizers', 1 if is_san();
        cmp_ok($max - $idle, '<', 3072, 'the agent needs less than 3 MiB more')
            or diag("idle $idle kB, at most $max kB");
    }
    unlink "$w/large";
};


subtest 'somebody who does not read' => sub {
    spew("$w/stall", 's' x 50_000_000);
    my $idle = rss($agent->pid);
    my @s = map {
        my $s = $agent->connect;
        http_send($s, 'GET ' . url("$w/stall") . " HTTP/1.1\r\nHost: x\r\n\r\n");
        $s;
    } 1 .. 10;

    sleep 0.5;
    SKIP: {
        skip 'memory is not measured with the sanitizers', 1 if is_san();
        cmp_ok(rss($agent->pid) - $idle, '<', 10 * 1536,
            'ten of them cost a bounded amount');
    }
    my $before = time();
    is(get("$w/part")->{body}, '0123456789', 'the others are served');
    cmp_ok(time() - $before, '<', 15, 'at once');
    close $_ for @s;
    unlink "$w/stall";
};

subtest 'the agent is killed' => sub {
    my $a = AgentClient->start(args => ['--workspace', $w]);
    my $s = $a->connect;

    spew("$w/killed", 'old');
    http_send($s, 'PUT ' . url("$w/killed") . " HTTP/1.1\r\nHost: x\r\n"
        . "Content-Length: 5000000\r\n\r\n" . 'y' x 4_000_000);
    my $body = json_encode({ path => "$w/killed2", content => 'z' x 9_000_000 });
    my $s2 = $a->connect;
    http_send($s2, "POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body");
    $a->stop('KILL');
    is(slurp("$w/killed"), 'old', 'in an upload: the old file stays');
    ok(!-e "$w/killed2" || -s "$w/killed2" == 9_000_000,
        'in a write: all or nothing');
    is_deeply([temp_files($w)], [], 'nothing temporary is left');
};


is($agent->stop, 0, 'the agent ends well');
is($agent->log_text =~ /ERROR|runtime error|Sanitizer/ ? $agent->log_text : '',
    '', 'its log has no error');


# With file systems of its own, in a mount namespace that ends with it.

my $m = "$dir/m";
my $mounts = <<"SH";
set -e
mount -t tmpfs -o size=4m tmpfs $m/small
mount -t tmpfs -o size=64m tmpfs $m/other
mount -t tmpfs -o size=1m tmpfs $m/ro
echo x > $m/ro/file
mount -o remount,bind,ro $m/ro
exec "\$@"
SH
my @unshare = ('unshare', $> ? '-rm' : '-m');

mkdir $_ for $m, map { "$m/$_" } qw(small other ro here);

SKIP: {
    my ($can) = run_command([@unshare, 'mount', '-t', 'tmpfs', 'tmpfs', $m]);

    skip 'no mount namespace to be had', 3 if $can;

    my $a = AgentClient->start(before => [@unshare, 'sh', '-c', $mounts, 'sh'],
        args => ['--workspace', $m]);
    my $see = '/proc/' . $a->pid . "/root$m";

    subtest 'a full disk' => sub {
        my $fill = sub { return $a->request('PUT', url($_[0]),
            body => 'f' x ($_[1] || 8_000_000)) };

        is($a->request('PUT', url("$m/small/old"), body => 'old')->{status},
            200, 'a file');
        is_error($fill->("$m/small/new"), 502, 'workspace_archive_write_error',
            qr/^write failed: No space left/, 'a new one that is too large');
        is_error($fill->("$m/small/old"), 502, 'workspace_archive_write_error',
            qr/^write failed: No space left/, 'a replacement');
        is(slurp("$see/small/old"), 'old', 'the old file stays');
        is_deeply([temp_files("$see/small")], [], 'nothing temporary is left');

        # An archive that doesn't fit, and one that goes nowhere.
        spew("$dir/f", 'f' x 3_000_000);
        mkdir "$dir/arch";
        rename "$dir/f", "$dir/arch/1" or die;
        spew("$dir/arch/2", 'g' x 3_000_000);
        my ($status, $tar) = run_command(['tar', 'cf', '-', '-C', "$dir/arch",
            '1', '2'], dir => $dir);
        my $put = $a->request('PUT', '/api/archive?path=small/arch', body => $tar);
        is("$put->{status} $put->{json}{code}", '500 NO_SPACE', 'an archive')
            or diag($put->{body});
        is(-s "$see/small/arch/1", 3_000_000, 'what fits is there');
        ok(!-e "$see/small/arch/2", 'what does not is not');
        is_deeply([temp_files("$see/small/arch")], [], 'nothing half is left');
        $a->execute("rm -rf $m/small/arch");
        $put = $a->request('PUT', '/api/archive?path=ro/x', body => $tar);
        is("$put->{status} $put->{json}{code}", '403 READ_ONLY', 'a read-only place');

        my $r = $a->post('/api/write', { path => "$m/small/w",
            content => 'f' x 8_000_000 });
        is("$r->{status} $r->{json}{code}", '500 NO_SPACE', '/api/write');
        ok(!-e "$see/small/w", 'leaves nothing');
        is($fill->("$m/small/fits", 3_000_000)->{status}, 200,
            'the room is free again');
        is($a->post('/api/move', { sourcePath => "$m/small/fits",
            destinationPath => "$m/other/fits" })->{status}, 200,
            'a move to another disk makes room');

        my $s = $a->connect;
        http_send($s, 'PUT ' . url("$m/small/x") . " HTTP/1.1\r\nHost: x\r\n"
            . "Content-Length: 50000000\r\n\r\n" . 'y' x 6_000_000, 10);
        sysread $s, my $line, 3;
        is(http_read($s, timeout => 30)->{status}, 502,
            'the error comes before the whole body was sent');
        close $s;
    };

    subtest 'a read-only disk' => sub {
        my $r = $a->post('/api/write', { path => "$m/ro/file", content => 'x' });
        is("$r->{status} $r->{json}{code}", '403 READ_ONLY', 'write');
        $r = $a->post('/api/delete', { path => "$m/ro/file" });
        is("$r->{status} $r->{json}{code}", '403 READ_ONLY', 'delete');
        $r = $a->post('/api/mkdir', { path => "$m/ro/d" });
        is("$r->{status} $r->{json}{code}", '403 READ_ONLY', 'mkdir');
        $r = $a->post('/api/move', { sourcePath => "$m/ro/file",
            destinationPath => "$m/ro/x" });
        is("$r->{status} $r->{json}{code}", '403 READ_ONLY', 'move');
        is_error($a->request('PUT', url("$m/ro/file"), body => 'x'), 502,
            'workspace_archive_write_error', qr/Read-only/, 'put');
        is($a->get(url("$m/ro/file"))->{body}, "x\n", 'get');
    };

    subtest 'between two file systems' => sub {
        my $here = "$see/here/t";
        mkdir $here;
        mkdir "$here/sub"; mkdir "$here/sub/empty"; mkdir "$here/locked";
        spew("$here/f", 'f' x 700_000, 0751);
        spew("$here/sub/g", 'g');
        spew("$here/.h", 'h');
        symlink 'f', "$here/l";
        symlink '/nowhere', "$here/dang";
        mkfifo("$here/p", 0600);
        utime 1_000_000_000, 1_100_000_000, "$here/f", "$here/sub";
        link "$here/f", "$here/sub/f2";
        link "$here/sub/g", "$see/here/outside";
        my $with = $a->execute("python3 -c 'import os; "
            . "[os.setxattr(p, \"user.note\", p.encode()) "
            . "for p in (\"f\", \"sub\")]'", cwd => "$m/here/t",
            sessionId => '__DISABLE_SESSION__')->{exitCode} == 0;
        utime 1_000_000_000, 1_100_000_000, "$here/f", "$here/sub";
        chmod 0500, "$here/locked";

        my $move = sub { return $a->post('/api/move', {
            sourcePath => "$m/$_[0]", destinationPath => "$m/$_[1]" }) };
        my $r = $move->('here/t', 'other/t');
        is($r->{status}, 200, 'a tree is moved') or diag($r->{body});

        my $there = "$see/other/t";
        ok(!-e $here, 'it is gone here');
        is(slurp("$there/f"), 'f' x 700_000, 'a file');
        is((stat "$there/f")[2] & 07777, 0751, 'its mode');
        is((stat "$there/f")[9], 1_100_000_000, 'its time');
        is((stat "$there/sub")[9], 1_100_000_000, "a directory's time");
        is((stat "$there/locked")[2] & 07777, 0500, "a directory's mode");
        is(slurp("$there/sub/g") . slurp("$there/.h"), 'gh', 'what is below');
        ok(-d "$there/sub/empty", 'an empty directory');
        is(readlink("$there/l") . readlink("$there/dang"), 'f/nowhere', 'links');
        ok(-p "$there/p", 'a FIFO');
        is((stat "$there/sub/f2")[1], (stat "$there/f")[1],
            'two names of a file');
        is((stat "$there/f")[3], 2, '... and no more');
        is((stat "$there/sub/g")[3], 1, 'a name that stays is no name there');
        is(slurp("$see/here/outside"), 'g', '... and has its file still');
        SKIP: {
            skip 'no extended attributes on tmpfs', 1 unless $with;
            is($a->execute("python3 -c 'import os; "
                . "print([os.getxattr(p, \"user.note\").decode() "
                . "for p in (\"f\", \"sub\", \"sub/f2\")])'",
                cwd => "$m/other/t", sessionId => '__DISABLE_SESSION__')
                ->{stdout}, "['f', 'sub', 'f']\n", 'extended attributes')
        }

        $a->request('PUT', url("$m/here/one"), body => 'one');
        $a->request('PUT', url("$m/other/two"), body => 'two');
        is($move->('here/one', 'other/two')->{status}, 200, 'overwriting');
        is(slurp("$see/other/two"), 'one', 'replaces');
        is($move->('other/two', 'here/')->{status}, 200, 'into a directory');
        is(slurp("$see/here/two"), 'one', 'is there');

        mkdir "$see/here/d";
        $r = $move->('here/two', 'other/none/x');
        is("$r->{status} $r->{json}{code}", '500 FILESYSTEM_ERROR', 'no parent');
        $a->request('PUT', url("$m/other/d"), body => 'file');
        $r = $move->('here/d', 'other/d');
        is("$r->{status} $r->{json}{code}", '500 FILESYSTEM_ERROR',
            'a directory onto a file');
        mkdir "$see/other/full"; spew("$see/other/full/x", 'x');
        mkdir "$see/here/full"; spew("$see/here/full/y", 'y');
        mkdir "$see/other/into"; mkdir "$see/other/into/full";
        spew("$see/other/into/full/z", 'z');
        $r = $move->('here/full', 'other/into');
        is("$r->{status} $r->{json}{code}", '500 FILESYSTEM_ERROR',
            'onto a directory that is not empty');
        is(slurp("$see/here/full/y") . slurp("$see/other/into/full/z"), 'yz',
            'both stay');

        spew("$see/other/big", 'b' x 6_000_000);
        $r = $move->('other/big', 'small/big');
        is("$r->{status} $r->{json}{code}", '500 NO_SPACE', 'no room');
        ok(-e "$see/other/big" && !-e "$see/small/big", 'stays where it was');
        is_deeply([map { temp_files("$see/$_") } qw(here other small)], [],
            'nothing temporary is left');

        # The destination lies within the source, behind a mount.
        $r = $a->post('/api/move', { sourcePath => $m,
            destinationPath => "$m/other/self" });
        is("$r->{status}", 500, 'a tree into itself');
        ok(-d "$see/here/full" && !-e "$see/other/self", 'changes nothing');
        is_deeply([temp_files("$see/other")], [], 'and leaves nothing');
    };

    is($a->stop, 0, 'it ends well');
}

done_testing();
