#!/usr/bin/perl

# What clients of the container API's files are used to: each situation with
# the bytes of its answer, through nginx.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Contract;
use Harness;
use Test::More;

alarm_after(240);

my $s = Contract->start;

subtest 'files' => sub {
    my $written = sub { qq({"success":true,"path":"$_[0]","timestamp":<ts>}) };
    my $read = sub {
        my ($path, $content, $encoding, $mime, $size) = @_;
        my $binary = $encoding eq 'base64' ? 'true' : 'false';

        return qq({"success":true,"path":"$path","content":"$content",)
            . qq("timestamp":<ts>,"encoding":"$encoding",)
            . qq("isBinary":$binary,"mimeType":"$mime","size":$size});
    };
    my $file = sub {
        my ($status, $code, $message, $path, $operation, $more) = @_;

        return error_of($status, $code, $message, qq({"path":"$path",)
            . qq("operation":"$operation") . ($more // '<any>') . '}');
    };
    my $listed = sub {
        my ($path, $base, $type, $mode, $size) = @_;
        my ($name) = $path =~ m{([^/]+)$};
        my @may = map { $mode =~ /^.{0,2}$_/ ? 'true' : 'false' } qw(r w x);

        return qq({"name":"$name","absolutePath":"$base/$path",)
            . qq("relativePath":"$path","type":"$type",)
            . '"size":' . ($size // '<n>') . ',"modifiedAt":<ts>,'
            . qq("mode":"$mode","permissions":{"readable":$may[0],)
            . qq("writable":$may[1],"executable":$may[2]}});
    };
    my $w = '/workspace/f';

    rows_ok(
        ['write', POST => '/api/write', qq({"path":"$w/a.txt","content":)
            . '"hello\n"}', 200, $written->("$w/a.txt")],
        ['read', POST => '/api/read', qq({"path":"$w/a.txt"}), 200,
            $read->("$w/a.txt", 'hello\n', 'utf-8', 'text/plain', 6)],
        ['as base64', POST => '/api/read', qq({"path":"$w/a.txt",)
            . '"encoding":"base64"}', 200,
            $read->("$w/a.txt", 'aGVsbG8K', 'base64', 'text/plain', 6)],
        ['write base64', POST => '/api/write', qq({"path":"$w/b.bin",)
            . '"content":"AAEC//4=","encoding":"base64"}', 200,
            $written->("$w/b.bin")],
        ['bytes are read as base64', POST => '/api/read',
            qq({"path":"$w/b.bin"}), 200, $read->("$w/b.bin", 'AAEC//4=',
                'base64', 'application/octet-stream', 5)],
        map({ ["or as $_", POST => '/api/read', qq({"path":"$w/b.bin",)
            . qq("encoding":"$_"}), 200, $read->("$w/b.bin",
                '\u0000\u0001\u0002' . "\xef\xbf\xbd" x 2, 'utf-8',
                'application/octet-stream', 5)] } 'utf-8', 'utf8'),
        ['no base64', POST => '/api/write', qq({"path":"$w/c.bin",)
            . '"content":"!!!","encoding":"base64"}', 400,
            error_of(400, 'VALIDATION_FAILED', "Invalid base64 content for "
                . "'$w/c.bin': must contain only A-Z, a-z, 0-9, +, /, =<any>",
                '{"validationErrors":[{"field":"content","message":<s>,'
                . '"code":"INVALID_BASE64"}]}')],
        ['no content', POST => '/api/write', qq({"path":"$w/d.txt"}), 400,
            invalid('content', '<any>')],
        ['a number', POST => '/api/write', qq({"path":"$w/d","content":5}),
            400, invalid('content', '<any>')],
        ['no such encoding', POST => '/api/read', qq({"path":"$w/a.txt",)
            . '"encoding":"latin9"}', 400, invalid('encoding', '<any>')],
        ['... to write', POST => '/api/write', qq({"path":"$w/f.txt",)
            . '"content":"x","encoding":"zzz"}', 400,
            invalid('encoding', '<any>')],
        ['another media type', POST => '/api/read', qq({"path":"$w/b.bin"}),
            200, $read->("$w/b.bin", 'AAEC//4=', 'base64',
                'application/octet-stream', 5),
            headers => { 'Content-Type' => 'text/plain' }],
        ['an empty file', POST => '/api/write', qq({"path":"$w/e.txt",)
            . '"content":""}', 200, $written->("$w/e.txt")],
        ['...', POST => '/api/read', qq({"path":"$w/e.txt"}), 200,
            $read->("$w/e.txt", '', 'utf-8', 'text/plain', 0)],
        ['directories are made', POST => '/api/write',
            qq({"path":"$w/no/such/x.txt","content":"x"}), 200,
            $written->("$w/no/such/x.txt")],
        ['a relative path', POST => '/api/write',
            '{"path":"rel.txt","content":"x"}', 200, $written->('rel.txt')],
        map({ ['...', POST => '/api/read', qq({"path":"$_"}), 200,
            $read->($_, 'x', 'utf-8', 'text/plain', 1)] }
            'rel.txt', '/workspace/rel.txt'),
        ['relative to a session', POST => '/api/execute',
            qq({"command":"cd $w/no","sessionId":"sfile"}), 200,
            result('', '', 0, 'sfile')],
        ['...', POST => '/api/read', '{"path":"such/x.txt",'
            . '"sessionId":"sfile"}', 200, $read->('such/x.txt', 'x', 'utf-8',
                'text/plain', 1)],
        map({ ["dots: $_", POST => '/api/read', qq({"path":"$_"}), 200,
            $read->($_, 'c\n', 'utf-8', 'text/plain', 2)] }
            '../../etc/hostname', '/workspace/../etc/hostname'),
        ['quotes', POST => '/api/write', qq({"path":"$w/q'\\"\$x y.txt",)
            . q("content":"it's $HOME `id`\n"}), 200,
            $written->(qq($w/q'\\"\$x y.txt))],
        ['...', POST => '/api/read', qq({"path":"$w/q'\\"\$x y.txt"}), 200,
            $read->(qq($w/q'\\"\$x y.txt), q(it's $HOME `id`\n), 'utf-8',
                'text/plain', 16)],
        ['lone surrogates', POST => '/api/write', qq({"path":"$w/uni.txt",)
            . '"content":"h\u00e9\ud83d\ude00\u0000\ud800"}', 200,
            $written->("$w/uni.txt")],
        ['...', POST => '/api/read', qq({"path":"$w/uni.txt"}), 200,
            $read->("$w/uni.txt", "h\xc3\xa9\xf0\x9f\x98\x80" . '\u0000'
                . "\xef\xbf\xbd", 'utf-8', 'text/plain', 11)],
        ['write to a directory', POST => '/api/write', qq({"path":"$w",)
            . '"content":"x"}', 400, $file->(400, 'IS_DIRECTORY',
                "Failed to write file '$w': Is a directory", $w,
                'file.write')],
        ['missing', POST => '/api/read', qq({"path":"$w/zz"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "File not found: $w/zz", "$w/zz",
                'file.read', '')],
        ['a directory', POST => '/api/read', qq({"path":"$w"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "File not found: $w", $w,
                'file.read')],
        ['a device', POST => '/api/read', '{"path":"/dev/null"}', 404,
            $file->(404, 'FILE_NOT_FOUND', 'File not found: /dev/null<any>',
                '/dev/null', 'file.read')],
        ['a name that is too long', POST => '/api/read', { path =>
            "$w/" . 'n' x 300 }, 400, $file->(400, 'NAME_TOO_LONG', '<any>',
                "$w/" . 'n' x 300, 'file.read')],
        map({ my ($name, $body, $why) = @$_; [$name, POST => '/api/read',
            $body, 400, error_of(400, 'VALIDATION_FAILED', '<any>',
                '{"validationErrors":[{"field":"path","message":"'
                . "$why\"," . '"code":"INVALID_PATH"}]}')] }
            ['an empty path', '{"path":""}', 'Path must be a non-empty string'],
            ['no path', '{}', 'Path must be a non-empty string'],
            ['a NUL', '{"path":"/a\u0000b"}', 'Path contains null bytes'],
            ['too long', '{"path":"/' . 'a' x 4097 . '"}',
                'Path too long (max 4096 characters)']),
        ['no JSON', POST => '/api/read', '{', 400, error_of(400,
            'VALIDATION_FAILED', '<any>', '{<any>}')],
    );

    # Bytes that name no character, in an error's message.
    call(POST => '/api/execute', { command =>
        qq(cd $w; mkdir -p "\$(printf 'bad\\377')/x"; cd bad*) ,
        sessionId => 'bad' });
    row_ok(['a session whose directory is no text', POST => '/api/read',
        '{"path":"zz","sessionId":"bad"}', 404, $file->(404, 'FILE_NOT_FOUND',
            'File not found: zz', 'zz', 'file.read', '')]);
    for my $path ('/api/process/%ff', '/api/process/%ff/logs') {
        row_ok(["bytes in $path", GET => $path, undef, 404, error_of(404,
            'PROCESS_NOT_FOUND', "Process \xef\xbf\xbd not found",
            qq({"processId":"\xef\xbf\xbd"}))]);
    }
    for my $length (190 .. 202) {
        my $r = call(POST => '/api/execute', { env => { 'A-B' => 'x' },
            command => ('x' x $length) . "\x{e9}\x{1f600}" x 9 });
        my $ok = $r->{status} == 500 && $r->{json}
            && $r->{json}{code} eq 'COMMAND_EXECUTION_ERROR';

        ok($ok, "a command quoted up to a character's middle, $length")
            or diag($r->{status}, ' ', $r->{body});
    }
    is(call(POST => '/api/execute?session=%ff', '{"command":"true"}')
        ->{status}, 400, 'a session whose name is no text');

    row_ok(['some files', POST => '/api/execute', { command => "cd $w; "
        . q(printf '\211PNG\r\n\032\n\0\0\0\rIHDR' > p.png; )
        . q(echo '{}' > j.json; echo 'print(1)' > x.py; )
        . q(echo '<html></html>' > h.html; echo 'a,b' > c.csv; )
        . q(printf 'bad\377utf8 text\n' > l1.txt; )
        . q(printf '\303\251' > u.txt; : > .hid; ln -s a.txt lnk; )
        . 'ln -s gone dangling; mkfifo ff; mkdir d1 d1/.h; : > d1/.h/in; '
        . 'cd /workspace' }, 200, result('', '', 0)]);
    rows_ok(
        map({ my ($name, @want) = @$_; ["type of $name", POST => '/api/read',
            { path => "$w/$name" }, 200, $read->("$w/$name", @want)] }
            ['p.png', 'iVBORw0KGgoAAAANSUhEUg==', 'base64', 'image/png', 16],
            ['j.json', '{}\n', 'utf-8', 'application/json', 3],
            ['x.py', 'print(1)\n', 'utf-8', 'text/plain', 9],
            ['h.html', '<html></html>\n', 'utf-8', 'text/html', 14],
            ['u.txt', "\xc3\xa9", 'utf-8', 'text/plain', 2],
            ['c.csv', 'a,b\n', 'utf-8', 'text/csv', 4],
            ['l1.txt', "bad\xef\xbf\xbdutf8 text" . '\n', 'utf-8',
                'text/plain', 14]),
        map({ my ($name, $is) = @$_; ["exists: $name", POST => '/api/exists',
            { path => "$w/$name" }, 200, qq({"success":true,"path":"$w/$name",)
            . qq("exists":$is,"timestamp":<ts>})] }
            ['a.txt', 'true'], ['zz', 'false'], ['d1', 'true'],
            ['lnk', 'true'], ['dangling', 'false']),
        ['exists: nothing', POST => '/api/exists', '{"path":""}', 400,
            invalid('path', 'Path must be a non-empty string')],
        ['mkdir', POST => '/api/mkdir', qq({"path":"$w/m"}), 200,
            qq({"success":true,"path":"$w/m","recursive":false,)
            . '"timestamp":<ts>}'],
        map({ [$_, POST => '/api/mkdir', qq({"path":"$w/m2/x/y",)
            . '"recursive":true}', 200, qq({"success":true,"path":)
            . qq("$w/m2/x/y","recursive":true,"timestamp":<ts>})] }
            'a path of them', '... again'),
        map({ my ($name, $path) = @$_; [$name, POST => '/api/mkdir',
            { path => "$w/$path" }, 500, error_of(500, 'FILESYSTEM_ERROR',
                'mkdir operation failed with exit code 1', qq({"path":)
                . qq("$w/$path",<any>"exitCode":1,"stderr":<s>})
                =~ s/<any>/"operation":"directory.create",<any>/r)] }
            ['it exists', 'm'], ['no parent', 'm3/x/y'],
            ['it is a file', 'a.txt']),
        map({ ["list $_", POST => '/api/list-files', qq({"path":"$_"}), 200,
            qq({"success":true,"path":"$_","files":[)
            . $listed->('x', "$w/m2", 'directory', 'rwxr-xr-x')
            . '],"count":1,"timestamp":<ts>}'] } "$w/m2", 'f/m2'),
        ['list everything', POST => '/api/list-files', qq({"path":"$w/m2",)
            . '"options":{"recursive":true}}', 200,
            qq({"success":true,"path":"$w/m2","files":[)
            . join(',', map { $listed->($_, "$w/m2", 'directory',
                'rwxr-xr-x') } 'x', 'x/y') . '],"count":2,"timestamp":<ts>}'],
        ['list a file', POST => '/api/list-files', qq({"path":"$w/no/such"}),
            200, qq({"success":true,"path":"$w/no/such","files":[)
            . $listed->('x.txt', "$w/no/such", 'file', 'rw-r--r--', 1)
            . '],"count":1,"timestamp":<ts>}'],
        ['an empty one', POST => '/api/list-files', qq({"path":"$w/m"}), 200,
            qq({"success":true,"path":"$w/m","files":[],"count":0,)
            . '"timestamp":<ts>}'],
        ['a missing one', POST => '/api/list-files', qq({"path":"$w/zz"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "Directory not found: $w/zz",
                "$w/zz", 'directory.list')],
        ['a file', POST => '/api/list-files', qq({"path":"$w/a.txt"}), 400,
            $file->(400, 'NOT_DIRECTORY', "Path is not a directory: $w/a.txt",
                "$w/a.txt", 'directory.list')],
        ['rename', POST => '/api/rename', qq({"oldPath":"$w/a.txt",)
            . qq("newPath":"$w/a2.txt"}), 200, qq({"success":true,"path":)
            . qq("$w/a.txt","newPath":"$w/a2.txt","timestamp":<ts>})],
        ['move', POST => '/api/move', qq({"sourcePath":"$w/a2.txt",)
            . qq("destinationPath":"$w/d1/a3.txt"}), 200,
            qq({"success":true,"path":"$w/a2.txt","newPath":"$w/d1/a3.txt",)
            . '"timestamp":<ts>}'],
        ['into a directory', POST => '/api/move',
            qq({"sourcePath":"$w/d1/a3.txt","destinationPath":"$w/m"}), 200,
            qq({"success":true,"path":"$w/d1/a3.txt","newPath":"$w/m",)
            . '"timestamp":<ts>}'],
        ['... is where it is', POST => '/api/exists',
            qq({"path":"$w/m/a3.txt"}), 200, '{<any>"exists":true,<any>}'],
        ['rename: missing', POST => '/api/rename', qq({"oldPath":"$w/zz",)
            . qq("newPath":"$w/y"}), 404, $file->(404, 'FILE_NOT_FOUND',
                "Source file not found: $w/zz", "$w/zz", 'file.rename', '')],
        ['move: missing', POST => '/api/move', qq({"sourcePath":"$w/zz",)
            . qq("destinationPath":"$w/y"}), 404, $file->(404,
                'FILE_NOT_FOUND', "Source file not found: $w/zz", "$w/zz",
                'file.move', '')],
        ['move: no parent', POST => '/api/move', qq({"sourcePath":)
            . qq("$w/e.txt","destinationPath":"$w/nope/e.txt"}), 500,
            error_of(500, 'FILESYSTEM_ERROR', 'Move operation failed with '
                . 'exit code 1', qq({"path":"$w/e.txt","operation":)
                . qq("file.move","sourcePath":"$w/e.txt","destinationPath":)
                . qq("$w/nope/e.txt","exitCode":1,"stderr":<s>}))],
        ['delete', POST => '/api/delete', qq({"path":"$w/e.txt"}), 200,
            $written->("$w/e.txt")],
        ['... again', POST => '/api/delete', qq({"path":"$w/e.txt"}), 404,
            $file->(404, 'FILE_NOT_FOUND', "File not found: $w/e.txt",
                "$w/e.txt", 'file.delete')],
        map({ ["delete $_", POST => '/api/delete', qq({"path":"$_"}), 400,
            $file->(400, 'IS_DIRECTORY', 'Cannot delete directory with '
                . "deleteFile() at '$_'. Use exec('rm -rf <path>') instead."
                =~ s/<path>/<any>/r, $_, 'file.delete')] } "$w/d1", '/'),
        ['delete nothing', POST => '/api/delete', '{"path":""}', 400,
            invalid('path', 'Path must be a non-empty string')],
        ['read as a stream', POST => '/api/read/stream',
            qq({"path":"$w/h.html"}), 200, sse('{"type":"metadata","mimeType":'
            . '"text/html","size":14,"isBinary":false,"encoding":"utf-8"}',
            '{"type":"chunk","data":"<any>html></html>\n"}',
            '{"type":"complete","bytesRead":14}')],
        ['bytes', POST => '/api/read/stream', qq({"path":"$w/b.bin"}), 200,
            sse('{"type":"metadata","mimeType":"application/octet-stream",'
            . '"size":5,"isBinary":true,"encoding":"base64"}',
            '{"type":"chunk","data":"AAEC//4="}',
            '{"type":"complete","bytesRead":5}')],
        map({ ["no file: $_", POST => '/api/read/stream', qq({"path":"$_"}),
            200, sse(qq({"type":"error","error":"File not found: $_"}))] }
            "$w/zz", $w),
    );

    my $names = sub { join ' ', sort map { $_->{relativePath} } @{ call(
        POST => '/api/list-files', { path => "$w/$_[0]", options => $_[1] })
        ->{json}{files} } };
    is($names->('d1', {}), '', 'hidden ones are not listed');
    is($names->('d1', { includeHidden => 1 == 1 ? JSON::PP::true() : 0 }),
        '.h', 'but when asked for');
    is($names->('m2', { recursive => JSON::PP::true() }), 'x x/y',
        'recursively');

    my %type = map { $_->{name} => $_->{type} } @{ call(POST =>
        '/api/list-files', { path => $w })->{json}{files} };
    is(join(' ', map { "$_=" . ($type{$_} // '?') } qw(d1 lnk ff p.png)),
        'd1=directory lnk=symlink ff=other p.png=file', 'types');

    call(POST => '/api/execute', { command =>
        "mkdir $w/odd; cd $w/odd; : > \$'a\\tb\\nc'; cd /workspace" });
    my @odd = @{ call(POST => '/api/list-files', { path => "$w/odd" })
        ->{json}{files} };
    is(@odd && $odd[0]{name}, "a\tb\nc", 'a name with a tab and a line feed');
    like(@odd && $odd[0]{modifiedAt}, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/,
        'a time in UTC');
    call(POST => '/api/execute', { command => "ln -s gone $w/dang2" });
    row_ok(['a dangling link is deleted', POST => '/api/delete',
        qq({"path":"$w/dang2"}), 200, $written->("$w/dang2")]);
    row_ok(['a path to rename that is none', POST => '/api/rename',
        '{"oldPath":"","newPath":"x"}', 400, invalid('oldPath', '<any>')]);
    row_ok(['/proc', POST => '/api/read', '{"path":"/proc/version"}', 200,
        $read->('/proc/version', 'Linux<any>', 'utf-8', 'text/plain',
        '<n>')]);

    # The slices that clients know.
    call(POST => '/api/execute', { command =>
        "head -c 200000 /dev/zero | tr '\\0' y > $w/big.txt" });
    row_ok(['a stream in slices', POST => '/api/read/stream',
        qq({"path":"$w/big.txt"}), 200, sse('{"type":"metadata","mimeType":'
        . '"text/plain","size":200000,"isBinary":false,"encoding":"utf-8"}',
        map({ '{"type":"chunk","data":"' . 'y' x $_ . '"}' }
            65535, 65535, 65535, 3395),
        '{"type":"complete","bytesRead":200000}')]);

    # Text in pieces of bytes: characters stay whole.
    call(POST => '/api/execute', { command =>
        "yes \$'\\303\\251\\360\\237\\230\\200' | head -c 300000 "
        . "> $w/wide.txt" });
    my $r = call(POST => '/api/read/stream', { path => "$w/wide.txt" });
    my @frames = map { json_decode($_) } $r->{body} =~ /^data: (.*)$/mg;
    my $text = join '', map { $_->{data} // '' } @frames;
    utf8::encode($text);
    is($frames[0]{size}, 300000, 'a long text: its size');
    is($frames[-1]{bytesRead}, 300000, '... all of it was read');
    cmp_ok(scalar @frames, '>', 5, '... in pieces');
    is(substr($text, 0, 299997), substr("\xc3\xa9\xf0\x9f\x98\x80\n" x 42858,
        0, 299997), '... with no character cut');
};

$s->stop;
done_testing();
