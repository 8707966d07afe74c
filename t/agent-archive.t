#!/usr/bin/perl

# Directories as tar archives: persist and hydrate of the workspace, and any
# directory below /api/archive, against GNU tar; patterns, archives that try to
# get out, damaged ones, clients that leave or stall, and the way through nginx.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use File::Path qw(make_path remove_tree);
use Harness;
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);
umask 022;

my $dir = tmp_dir();
my $w = "$dir/w";
my $seq = 0;

mkdir $w;
our $agent = AgentClient->start(args => ['--workspace', $w]);


sub escape { my $p = $_[0]; $p =~ s{([^A-Za-z0-9/._~-])}{sprintf '%%%02X', ord $1}ge; return $p }

sub persist {
    my ($excludes, %o) = @_;
    my $query = defined $excludes ? '?excludes=' . escape($excludes) : '';

    return $agent->request('POST', "/bridge/persist$query", %o);
}

sub hydrate { my ($tar, %o) = @_; return $agent->request('POST', '/bridge/hydrate', body => $tar, %o) }
sub pull { my ($p, %o) = @_; return $agent->get('/api/archive?path=' . escape($p), %o) }
sub push_to { my ($p, $tar, %o) = @_; return $agent->request('PUT', '/api/archive?path=' . escape($p), body => $tar, %o) }

# A connection with the head of a request sent, before its answer.
sub begin {
    my ($method, $path, @headers) = @_;
    my $s = $agent->connect;

    http_send($s, join "\r\n", "$method $path HTTP/1.1", 'Host: x', @headers,
        '', '');
    sysread $s, my $ok, 3;

    return $s;
}

sub is_error {
    my ($r, $status, $code, $text, $name) = @_;

    is("$r->{status} " . ($r->{json}{code} // ''), "$status $code", $name)
        or diag($r->{body});
    like($r->{json}{error} // $r->{json}{message} // '', $text,
        "$name: its text");
}

# GNU tar, whose standard output it is.
sub tar {
    my ($in, @args) = @_;
    my @stdin = defined $in ? (stdin => spew("$dir/in.tar", $in)) : ();
    my ($status, $out, $err) = run_command(['tar', @args], dir => $dir, @stdin,
        env => { LC_ALL => 'C.UTF-8' });

    is($status, 0, "tar $args[0]") or diag($err);

    return $out;
}

sub names { return join ' ', sort split /\n/, tar($_[0], 'tf', '-') }

# Everything below a directory: what it is, its mode, size, time, names, and
# content.
sub tree {
    my ($root) = @_;
    my (@lines, %first);

    my $walk;
    $walk = sub {
        my ($path) = @_;

        opendir my $d, "$root$path" or die "$root$path: $!";
        for my $name (sort grep { !/^\.\.?$/ } readdir $d) {
            my $p = "$path/$name";
            my @st = lstat "$root$p";
            my $what = -l _ ? 'link ' . readlink("$root$p") : -p _ ? 'fifo'
                : -d _ ? 'dir' : $first{$st[1]} ? "same $first{$st[1]}"
                : "file $st[7] " . unpack('%32C*', slurp("$root$p") // '');

            $first{$st[1]} = $p if -f "$root$p" && !-l "$root$p"
                && !$first{$st[1]};
            lstat "$root$p";
            push @lines, sprintf '%s %s %o %d:%d %d', $p, $what,
                $st[2] & 07777, $st[4], $st[5], $st[9];
            $walk->($p) if -d _;
        }
    };
    $walk->('');

    return join "\n", @lines;
}

sub fresh { my $p = "$dir/d" . $seq++; mkdir $p; return $p }

sub temp_files {
    my ($status, $out) = run_command(['find', $_[0], '-name', '.sandbox-*'],
        dir => $dir);

    return split /\n/, $out;
}


# A tree with everything that an archive can hold.
sub make_tree {
    my ($root) = @_;
    my $long = 'n' x 120;

    make_path("$root/a/b/c", "$root/empty", "$root/$long/$long",
        "$root/node_modules/x", "$root/a/node_modules/y");
    spew("$root/a/plain.txt", "plain\n");
    spew("$root/a/none", '');
    spew("$root/a/b/run.sh", "#!/bin/sh\n", 0755);
    spew("$root/a/b/secret", 'secret', 0600);
    spew("$root/a/b/c/big", join '', map { chr($_ * 7 % 251) x 1000 } 1 .. 3000);
    spew("$root/$long/$long/$long", 'a long name');
    spew("$root/$long/" . 'x' x 255, 'the longest name');
    spew("$root/a/\xc3\xa9\xe4\xb8\xad \xf0\x9f\x90\xa7", 'not ASCII');
    spew("$root/a/new\nline", 'odd');
    spew("$root/node_modules/x/index.js", 'js');
    spew("$root/a/node_modules/y/index.js", 'js');
    symlink 'plain.txt', "$root/a/link" or die;
    symlink '/etc/passwd', "$root/a/outside" or die;
    symlink 'nowhere/' . 'z' x 300, "$root/a/dangling" or die;
    link "$root/a/plain.txt", "$root/a/b/hard" or die;
    mkfifo("$root/a/fifo", 0640);
    chmod 04755, "$root/a/b/run.sh";
    chmod 01777, "$root/empty";
    utime 1000000000, 1000000000, "$root/a/plain.txt", "$root/a/none";
    utime 1100000000, 1100000000, "$root/empty", "$root/a/b";
    chmod 0555, "$root/a/b/c" if $> == 0;
}


subtest 'there and back' => sub {
    make_tree($w);

    my $tree = tree($w);
    my $r = persist();

    is($r->{status}, 200, 'persist');
    is($r->{headers}{'content-type'}, 'application/octet-stream', 'its type');
    ok($r->{complete}, 'complete');
    is(length($r->{body}) % 512, 0, 'whole blocks');

    my $tar = $r->{body};
    my @names = split /\n/, tar($tar, 'tf', '-', '--quoting-style=literal');

    is($names[0], './', 'the directory itself comes first');
    is(scalar(grep { !m{^\./} && !/^line$/ } @names), 0, 'all names begin with ./');

    my $out = fresh();
    tar($tar, 'xpf', '-', '-C', $out);
    is(tree($out), $tree, 'GNU tar extracts it all');

    my $in = fresh();
    $r = push_to($in, $tar);
    is($r->{status}, 200, 'put to another place');
    is($r->{json}{success}, 1, 'success');
    is($r->{json}{path}, $in, 'the path');
    is(tree($in), $tree, 'the same tree');

    is_deeply(hydrate($tar)->{json}, { ok => JSON::PP::true() }, 'hydrate');
    is(tree($w), $tree, 'over itself');
    is(join(',', temp_files($w)), '', 'nothing is left over');

    for my $format (qw(gnu pax ustar v7)) {
        my @less = $format =~ /ustar|v7/
            ? ('--exclude=' . 'n' x 120, '--exclude=dangling') : ();

        push @less, '--exclude=fifo' if $format eq 'v7';
        my $made = tar(undef, 'cf', '-', "--format=$format", @less, '-C', $w,
            '.');
        my ($theirs, $ours) = (fresh(), fresh());

        tar($made, 'xpf', '-', '-C', $theirs);
        is(push_to($ours, $made)->{status}, 200, "one of GNU tar's: $format");
        is(tree($ours), tree($theirs), "$format: the same");
    }

    SKIP: {
        skip 'no bsdtar here', 2 unless grep { -x "$_/bsdtar" }
            split /:/, $ENV{PATH};
        my ($status, $made) = run_command(['bsdtar', 'cf', '-', '-C', $w, '.'],
            dir => $dir);
        my $ours = fresh();

        is(push_to($ours, $made)->{status}, 200, "one of bsdtar's");
        is(tree($ours), $tree, 'the same');
    }

    $r = pull('a/b');
    is($r->{status}, 200, 'get, relative to the workspace');
    is($r->{headers}{'content-type'}, 'application/x-tar', 'its type');
    is(names($r->{body}), './ ./c/ ./c/big ./hard ./run.sh ./secret',
        'one directory');
    $r = push_to('made/on/the/way', $r->{body});
    is($r->{status}, 200, 'put to where nothing is');
    is(slurp("$w/made/on/the/way/secret"), 'secret', 'it is made');
    remove_tree("$w/made");
    is($agent->request('HEAD', '/api/archive?path=/usr', timeout => 60)->{status},
        200, 'head of much');
    $r = $agent->request('HEAD', "/api/archive?path=$w");
    is("$r->{status} $r->{body}", '200 ', 'head');
};


subtest 'what is left out' => sub {
    my $d = fresh();

    make_path("$d/node_modules/x", "$d/src/node_modules/y", "$d/log");
    spew("$d/$_", '') for 'src/a.c', 'src/a.o', 'log/1', 'log/2', 'top.o',
        'node_modules/x/i.js', 'src/node_modules/y/i.js', 'a[b';

    my $with = sub {
        my $r = pull("$d&excludes=" . escape($_[0]));
        return "status $r->{status}" if $r->{status} != 200;
        return join ' ', grep { length && !m{/$} } map { s{^\./}{}r }
            split / /, names($r->{body});
    };

    no warnings 'redefine';
    local *pull = sub { return $agent->get('/api/archive?path=' . $_[0]) };

    is($with->(''), 'a[b log/1 log/2 node_modules/x/i.js src/a.c src/a.o '
        . 'src/node_modules/y/i.js top.o', 'nothing');
    for my $list ('node_modules', './node_modules', 'node_modules/',
        ',node_modules,,', '**/node_modules', '*/node_modules', '*.o', 'log/*',
        'log,*.o', 'src', '?rc/a.?', '[ls]*/[!a]*', 'a\[b', 'a[b', '*', 'nope',
        'sr', 'src/a.c/x')
    {
        # What GNU tar makes of the same list, with ./ before each pattern.
        my @args = map { s{^(?:\./)+}{}; s{/$}{}; "--exclude=./$_" }
            grep { length } split /,/, $list;
        my $want = join ' ', sort grep { length && !m{/$} } map { s{^\./}{}r }
            split /\n/, tar(undef, 'cf', "$dir/x.tar", @args, '-C', $d, '.')
                . tar(undef, 'tf', "$dir/x.tar");

        $want =~ s{ ?node_modules/x/i\.js| ?src/node_modules/y/i\.js}{}g
            if $list eq '**/node_modules';
        is($with->($list), $want, $list);
    }

    like($with->('x' x 2000), qr/400/, 'a pattern that is too long');
    like($with->(join ',', 1 .. 300), qr/400/, 'too many');
    is($with->('a*' x 500 . 'b'), $with->(''), 'many stars take no time');
    is_error(persist('x,../y'), 400, 'invalid_request',
        qr/^exclude paths must not contain "\.\."$/, 'dots');
    is_error(pull("$d&excludes=.."), 400, 'VALIDATION_FAILED', qr/\.\./,
        'dots, in the other form');
};


subtest 'errors' => sub {
    is_error(hydrate(''), 400, 'invalid_request', qr/^Empty tar payload$/,
        'an empty body');
    is_error(hydrate("0\r\n\r\n", headers => { 'transfer-encoding' => 'chunked' }),
        400, 'invalid_request', qr/^Empty tar payload$/, 'an empty one in chunks');
    is_error(hydrate('garbage' x 1000), 400, 'invalid_request',
        qr/no tar archive/, 'garbage');
    is_error(hydrate("\x1f\x8b\x08\0" . 'x' x 5000), 400, 'invalid_request',
        qr/no tar archive/, 'gzip');
    is_error(hydrate('x'), 400, 'invalid_request', qr/no tar archive/, 'a byte');
    is_error(push_to($dir . '/x', 'garbage' x 1000), 400, 'VALIDATION_FAILED',
        qr/no tar archive/, 'garbage, in the other form');
    is_error($agent->get('/api/archive'), 400, 'VALIDATION_FAILED',
        qr/non-empty/, 'no path');
    is_error($agent->get('/api/archive?path=a%00b'), 400, 'VALIDATION_FAILED',
        qr/valid 'path'/, 'a NUL');
    is_error(pull("$dir/nope"), 404, 'FILE_NOT_FOUND', qr/nope/, 'no directory');
    is_error(pull("$w/a/plain.txt"), 400, 'NOT_DIRECTORY', qr/plain/, 'a file');
    is_error(push_to("$w/a/plain.txt", "\0" x 1024), 400, 'NOT_DIRECTORY',
        qr/plain/, 'a file to put to');
    is(push_to("$w/a", "\0" x 10240)->{status}, 200, 'an archive of nothing');
};


# A header and its content, by hand: what no tar would make.
sub entry {
    my ($name, %o) = @_;
    my $content = $o{content} // '';
    my $header = pack 'a100 a8 a8 a8 a12 a12 a8 a1 a100 a6 a2 a32 a32 a8 a8 a155 x12',
        $name, sprintf('%07o', $o{mode} // 0644), sprintf('%07o', $o{uid} // $>),
        sprintf('%07o', $o{gid} // $) + 0),
        sprintf('%011o', $o{size} // length $content),
        sprintf('%011o', 1000000000), ' ' x 8, $o{type} // '0', $o{link} // '',
        "ustar\0", '00', '', '', sprintf('%07o', 1), sprintf('%07o', 3), '';

    substr($header, 148, 8) = sprintf "%06o\0 ", unpack '%32C*', $header;

    return $header . $content . "\0" x (-length($content) % 512);
}

sub archive { return join('', @_) . "\0" x 1024 }

sub pax {
    my ($records, @entry) = @_;
    my $text = '';

    while (my ($k, $v) = splice @$records, 0, 2) {
        my $n = length(" $k=$v\n");

        $n += length($n + length $n);
        $text .= "$n $k=$v\n";
    }

    return entry('./PaxHeaders/x', type => 'x', content => $text)
        . entry(@entry);
}


subtest 'archives that try to get out' => sub {
    my $out = fresh();

    spew("$out/secret", 'secret');
    my $untouched = tree($out);

    for (['an absolute name', qr/absolute/, entry("$out/x", content => 'x')],
         ['dots', qr/"\.\."/, entry('../x', content => 'x')],
         ['dots within', qr/"\.\."/, entry('a/../../x', content => 'x')],
         ['dots at the end', qr/"\.\."/, entry('a/..', type => '5')],
         ['an absolute name in a pax record', qr/absolute/,
             pax([path => "$out/x"], 'x', content => 'x')],
         ['dots in one', qr/"\.\."/, pax([path => '../x'], 'x', content => 'x')],
         ['a name that GNU tar spreads', qr/"\.\."/,
             entry('././@LongLink', type => 'L', content => "../x\0")
             . entry('x', content => 'x')],
         ['a hard link to outside', qr/absolute/,
             entry('h', type => '1', link => "$out/secret")],
         ['one with dots', qr/"\.\."/,
             entry('h', type => '1', link => "../$out/secret")],
         ['a hard link to nothing', qr/No such file/,
             entry('h', type => '1', link => 'nothing')],
         ['one to the directory', qr/hard link/,
             entry('h', type => '1', link => './')],
         ['a device', qr/device/, entry('null', type => '3')],
         ['a block device', qr/device/, entry('sda', type => '4')],
         ['a file that is the directory', qr/name of one/,
             entry('.', content => 'x', type => '0')],
         ['a name that is too long', qr/too long/,
             pax([path => 'x/' x 3000 . 'y'], 'x', content => 'x')],
         ['a component that is too long', qr/too long/,
             pax([path => 'x' x 300], 'x', content => 'x')],
         ['a link to nothing', qr/symbolic link/,
             entry('l', type => '2', link => '')])
    {
        my ($what, $text, $tar) = @$_;
        my $to = fresh();
        my $r = push_to($to, archive(entry('before', content => 'b'), $tar));

        ok($r->{status} >= 400 && $r->{status} <= 404, "$what: refused")
            or diag("$r->{status} $r->{body}");
        like($r->{json}{message}, $text, "$what: says so");
        is(slurp("$to/before"), 'b', "$what: what was before it is there");
        is(tree($out), $untouched, "$what: nothing outside");
        ok(!-e "$dir/x", "$what: nor beside");
    }

    # A link first, and then a file through it.
    for (['a link and a file behind it',
             entry('l', type => '2', link => $out), entry('l/x', content => 'x')],
         ['with its directory',
             entry('l', type => '2', link => $out), entry('l/', type => '5'),
             entry('l/x', content => 'x')],
         ['two links', entry('a', type => '2', link => '.'),
             entry('b', type => '2', link => "a/../../" . ($out =~ s{.*/}{}r)),
             entry('a/b/x', content => 'x'), entry('b/x', content => 'x')],
         ['a hard link to a link', entry('l', type => '2', link => "$out/secret"),
             entry('h', type => '1', link => 'l'), entry('h', content => 'x')],
         ['a file over a link', entry('l', type => '2', link => "$out/secret"),
             entry('l', content => 'x')],
         ['a directory over a link', entry('l', type => '2', link => $out),
             entry('l', type => '5', mode => 0700)],
         ['a FIFO over a link', entry('l', type => '2', link => "$out/secret"),
             entry('l', type => '6')])
    {
        my ($what, @entries) = @$_;
        my $to = fresh();

        is(push_to($to, archive(@entries))->{status}, 200, "$what: taken");
        is(tree($out), $untouched, "$what: nothing outside");
    }

    # What lies there already.
    my $to = fresh();
    symlink $out, "$to/dir" or die;
    symlink "$out/secret", "$to/file" or die;
    spew("$to/plain", 'old');
    make_path("$to/full/x", "$to/void");
    link "$to/plain", "$to/other";
    my $r = push_to($to, archive(entry('dir/x', content => 'x'),
        entry('file', content => 'f'), entry('plain/deep', content => 'd'),
        entry('void', content => 'v')));
    is($r->{status}, 200, 'over what is there');
    is(tree($out), $untouched, 'no link is followed');
    ok(-d "$to/dir" && !-l "$to/dir", 'a directory replaces a link');
    is(slurp("$to/file"), 'f', 'a file replaces a link');
    is(slurp("$to/plain/deep"), 'd', 'a directory replaces a file');
    is(slurp("$to/void"), 'v', 'a file replaces an empty directory');
    is(slurp("$to/other"), 'old', 'another name keeps what it was');
    is_error(push_to($to, archive(entry('full', content => 'x'))), 400,
        'IS_DIRECTORY', qr/full/, 'a directory that is not empty stays');
    is(push_to($to, archive(entry('plain/deep', content => '2'),
        entry('plain/deep', content => '3')))->{status}, 200, 'twice');
    is(slurp("$to/plain/deep"), '3', 'the last one stays');
    is(push_to($to, archive(entry('a', content => 'a'),
        entry('b', type => '1', link => 'a'), entry('b', type => '1', link => 'a')))
        ->{status}, 200, 'a link that is there');
    is(join(',', temp_files($to)), '', 'nothing is left over');

    # The path itself is the client's own: its links are followed.
    symlink $to, "$dir/link-to" or die;
    is(push_to("$dir/link-to", archive(entry('via', content => 'v')))->{status},
        200, 'a link to where it goes');
    is(slurp("$to/via"), 'v', 'is followed');
};


subtest 'owners, modes and holes' => sub {
    my $to = fresh();
    my $r = push_to($to, archive(
        entry('./', type => '5', mode => 0),
        entry('suid', mode => 04755, content => 'x'),
        entry('ro/', type => '5', mode => 0555),
        entry('ro/in', content => 'x'),
        entry('theirs', uid => 12345, gid => 54321, mode => 06755),
        entry('fifo', type => '6', mode => 0600),
        pax([mtime => '1000000000.5'], 'half'),
        pax([path => "\xff\xfe"], 'x', content => 'not UTF-8'),
        pax([hdrcharset => 'BINARY', path => "\xfd"], 'x', content => 'same')));

    is($r->{status}, 200, 'put') or diag($r->{body});
    is((stat $to)[2] & 0777, 0755, "the directory's own mode stays");
    is((stat "$to/suid")[2] & 07777, 04755, 'set-user-ID');
    is((stat "$to/ro")[2] & 07777, 0555, 'a directory that nothing can be put in');
    is((stat "$to/ro")[9], 1000000000, 'its time');
    is(slurp("$to/ro/in"), 'x', 'what was put in before');
    ok(-p "$to/fifo", 'a FIFO');
    is((Time::HiRes::stat("$to/half"))[9], 1000000000.5, 'parts of seconds');
    is(slurp("$to/\xfd"), 'same', 'a name of any bytes');
    is(slurp("$to/\xff\xfe"), 'not UTF-8', 'also where it claims to be text');
    chmod 0755, "$to/ro";

    my @st = stat "$to/theirs";
    if ($> == 0 && $st[4] == 12345) {
        is(sprintf('%d:%d %o', @st[4, 5], $st[2] & 07777), '12345:54321 6755',
            'the owner');
    } else {
        is(sprintf('%d:%d %o', @st[4, 5], $st[2] & 07777), "$>:" . ($) + 0)
            . ' 755', 'no other owner: no set-user-ID');
    }

    # A file of 9 GB that is a hole.
    my $src = fresh();
    open my $f, '>', "$src/hole" or die;
    truncate $f, 9 * 2 ** 30;
    sysseek $f, 5 * 2 ** 30, 0;
    syswrite $f, 'middle';
    close $f;
    for my $format ('gnu', 'pax') {
        my $tar = tar(undef, 'cSf', '-', "--format=$format", '-C', $src, '.');
        my $d = fresh();

        ok(length $tar < 1e6, "$format: an archive with holes");
        is(push_to($d, $tar)->{status}, 200, "$format: put");
        is(-s "$d/hole", 9 * 2 ** 30, "$format: its size");
        ok((stat "$d/hole")[12] < 1000, "$format: a hole still");
        open $f, '<', "$d/hole" or die;
        sysseek $f, 5 * 2 ** 30, 0;
        sysread $f, my $got, 6;
        is($got, 'middle', "$format: its content");
    }

    # A size that only a pax record can tell, cut off.
    is_error(push_to($to, pax([size => 9 * 2 ** 30], 'huge', size => 0)
        . 'x' x 5000), 400, 'VALIDATION_FAILED', qr/[Tt]runcated/, '9 GB of 5000');
    ok(!-e "$to/huge", 'no half file');

    # What is packed may have such sizes as well: read the head only.
    my $s = begin(GET => '/api/archive?path=' . escape($src));
    my $head = '';
    http_read($s, on_data => sub { $head .= $_[0]; length $head < 65536 });
    close $s;
    like($head, qr/ size=9663676416\n/, 'a large size');
};


subtest 'damaged archives' => sub {
    my $src = fresh();
    spew("$src/a", 'a' x 3000);
    spew("$src/b", 'b' x 3000);
    my $tar = pull($src)->{body};
    my $good = 0;

    for (my $cut = 100; $cut < length($tar); $cut += 700) {
        my $to = fresh();
        my $r = push_to($to, substr $tar, 0, $cut);

        # At the end of an entry it can't be seen.
        $good++ if $r->{status} == 200;
        ok($r->{status} == 200 || $r->{status} == 400, "cut off at $cut")
            or diag("$r->{status} $r->{body}");
        ok((!-e "$to/$_" || -s _ == 3000), "at $cut: no half $_") for 'a', 'b';
        is(join(',', temp_files($to)), '', "at $cut: nothing is left over");
    }
    ok($good < 6, 'mostly an error');

    srand 1;
    for my $n (1 .. 60) {
        my $bad = $tar;
        my $to = fresh();

        substr($bad, rand length $bad, 1) = chr rand 256 for 1 .. 1 + $n / 4;
        my $r = push_to($to, $bad);
        ok($r->{status} == 200 || $r->{status} == 400 || $r->{status} == 404,
            "damaged, $n") or diag("$r->{status} $r->{body}");
    }
    is_error(push_to(fresh(), $tar =~ s{\./b\0}{./c\0}r), 400,
        'VALIDATION_FAILED', qr/Damaged tar archive/, 'a wrong checksum');
    is_error(push_to(fresh(), entry('x', type => 'x', content => 'y' x 3e6)
        . entry('z')), 400, 'VALIDATION_FAILED', qr/./, 'a long header');
    is_error(push_to(fresh(), entry('g', type => 'g', content => "9 a=bcd\n") x 9000),
        400, 'VALIDATION_FAILED', qr/./, 'nothing but headers');
    is($agent->get('/api/ping')->{status}, 200, 'the agent answers');
};


subtest 'what changes while it is packed' => sub {
    my $src = fresh();
    my $big = "$src/big";

    # It is larger than what is in flight, and shrinks under the reader.
    open my $f, '>', $big or die;
    print $f 'x' x 65536 for 1 .. 640;
    close $f;
    spew("$src/z$_", 'z') for 1 .. 3;

    my $s = begin(GET => '/api/archive?path=' . escape($src));
    my $tar = '';
    my $cut;

    my $r = http_read($s, on_data => sub {
        $tar .= $_[0];
        truncate $big, 100000 and unlink "$src/z1" if !$cut++;
        return 1;
    });
    ok($r->{complete}, 'the archive is complete');
    my $to = fresh();
    tar($tar, 'xf', '-', '-C', $to);
    is(-s "$to/big", 640 * 65536, 'a file that shrank has its size');

    SKIP: {
        skip 'root can read everything', 4 if $> == 0;
        spew("$src/locked", 'x', 0);
        unlink $big;
        is_error(pull($src), 403, 'PERMISSION_DENIED', qr/locked/, 'unreadable');
        spew("$w/locked", 'x', 0);
        is_error($agent->request('POST', '/bridge/persist'), 502,
            'workspace_archive_read_error', qr/locked/, 'the other form');
        unlink "$w/locked";
    }

    # What is found too late for a status breaks the answer.
    my $deep = fresh();
    open $f, '>', "$deep/big" or die;
    print $f 'x' x 65536 for 1 .. 100;
    close $f;
    my ($p, @fds) = ($deep);
    for (1 .. 30) {
        # Longer than a path of an archive can be.
        $p = 'd' x 200;
        chdir $deep or die if $_ == 1;
        mkdir $p or die "$p: $!";
        chdir $p or die;
    }
    chdir '/';
    $r = pull($deep);
    ok($r->{status} == 500 || $r->{status} == 400 || !$r->{complete},
        'too long a path: never a whole archive') or diag($r->{status});
    run_command(['rm', '-rf', $deep], dir => $dir);
};


subtest 'clients that leave or stall' => sub {
    my $src = fresh();
    my $to = fresh();
    my $piece = 'p' x 65536;

    open my $f, '>', "$src/big" or die;
    print $f $piece for 1 .. 400;
    close $f;
    my $fds = $agent->fd_count;

    # Four that read nothing and one more.
    my @s = map { begin(GET => '/api/archive?path=' . escape($src)) } 1 .. 4;
    my $r;
    ok(wait_for(sub { $r = pull($src, on_data => sub { 0 }); $r->{status} == 503 }, 30),
        'a fifth is refused');
    is($r->{headers}{'retry-after'}, 1, 'for now');
    is_error(persist(), 503, 'resource_busy', qr/4 archives/, 'in both forms');
    is(slurp("$w/a/plain.txt"), "plain\n", 'files');
    is($agent->get('/bridge/file' . escape("$w/a/plain.txt"))->{body}, "plain\n",
        'are still read');
    is($agent->post('/api/exists', { path => $src })->{json}{exists}, 1,
        'nor is the thread pool held up');

    # One reads on and gets it all, the others leave.
    close $_ for @s[1 .. 3];
    my $n = 0;
    my $got = http_read($s[0], timeout => 60, on_data => sub { $n += length $_[0]; 1 });
    ok($got->{complete}, 'who goes on gets all of it');
    cmp_ok($n, '>', 400 * 65536, 'to the last byte');
    close $s[0];
    ok(wait_for(sub { pull($src, on_data => sub { 0 })->{status} == 200 }, 30),
        'there is room again');

    # An upload that stalls within a file, then ends.
    my $up = begin(PUT => '/api/archive?path=' . escape($to), 'Content-Length: 9000000');
    http_send($up, entry('done', content => 'whole') . entry('half', size => 8000000)
        . $piece x 20);
    ok(wait_for(sub { -e "$to/done" }, 30), 'what was sent before is there');
    ok(!-e "$to/half" && !temp_files($to), 'the rest has no name yet');
    is($agent->get('/api/ping')->{status}, 200, 'nobody waits for it');
    close $up;
    ok(wait_for(sub { !temp_files($to) }, 30), 'it leaves nothing behind');
    is(slurp("$to/done"), 'whole', 'what was whole stays');
    ok(!-e "$to/half", 'what was not does not');

    # Leaves before the first byte, and with a body in chunks.
    close begin(PUT => '/api/archive?path=' . escape($to), 'Content-Length: 100000');
    $up = begin(PUT => '/api/archive?path=' . escape($to), 'Transfer-Encoding: chunked');
    http_send($up, sprintf "%x\r\n%s", 2000000, substr entry('x', size => 3000000), 0, 512);
    close $up;

    ok(wait_for(sub { $agent->fd_count <= $fds }, 30), 'no descriptor is left')
        or diag($agent->fd_count . " after $fds");
    my $tasks = sub { my @t = glob "/proc/$agent->{pid}/task/*"; scalar @t };
    my $idle = $tasks->();
    pull($src, on_data => sub { 0 }) for 1 .. 20;
    ok(wait_for(sub { $tasks->() <= $idle }, 30), 'no thread is left');
    is($agent->get('/api/ping')->{status}, 200, 'the agent answers');
};


# The rest of a file that is never complete, where a file can go without a
# name, and where it can't since there is no /proc.
subtest 'an agent that is killed, and one without /proc' => sub {
    my $tar = entry('done', content => 'whole') . entry('half', size => 8e6);
    my @without = ('unshare', $> ? '-rm' : '-m', 'sh', '-c',
        'umount -l /proc && exec "$@"', 'sh');
    my ($cannot) = run_command([@without, 'true']);

    for my $before ([], $cannot ? () : [@without]) {
        my $name = @$before ? 'without /proc' : 'with /proc';
        my $to = fresh();
        local $agent = AgentClient->start(args => ['--workspace', $w],
            before => $before);

        is(push_to($to, entry('half', content => 'old'))->{status}, 200,
            "$name: a file");
        is(push_to($to, entry('half', content => 'now'))->{status}, 200,
            "$name: and again");
        is(slurp("$to/half"), 'now', "$name: is replaced");
        is_deeply([temp_files($to)], [], "$name: and nothing else is there");

        my $s = begin(PUT => '/api/archive?path=' . escape($to),
            'Content-Length: 9000000');
        http_send($s, $tar . 'x' x 1e6);
        ok(wait_for(sub { -e "$to/done" }, 30), "$name: one file is whole");
        $agent->stop('KILL') if !@$before;
        close $s;
        ok(wait_for(sub { !temp_files($to) }, @$before ? 30 : 0),
            "$name: nothing temporary is left");
        is(slurp("$to/half"), 'now', "$name: the old file is");
        $agent->stop if @$before;
    }
};


subtest 'through nginx' => sub {
    require System;

    my $s = System->start;
    my $put = sub { $s->api(PUT => "/v1/sandbox/ar/file/workspace/$_[0]", body => $_[1]) };

    $put->($_, "of $_") for 'one', 'two/three', 'node_modules/x';
    my $r = $s->api(POST => '/v1/sandbox/ar/persist?excludes=node_modules');
    is($r->{status}, 200, 'persist');
    is(names($r->{body}), './ ./one ./two/ ./two/three', 'what is in it');
    my $tar = $r->{body};

    $r = $s->api(POST => '/v1/sandbox/other/hydrate', body => $tar);
    is("$r->{status} $r->{body}", '200 {"ok":true}', 'hydrate another one');
    is($s->api(GET => '/v1/sandbox/other/file/workspace/two/three')->{body},
        'of two/three', 'what was in it');
    $r = $s->api(PUT => '/v1/sandbox/other/api/archive?path=/tmp/x', body => $tar);
    is("$r->{status} $r->{json}{path}", '200 /tmp/x', 'anywhere');
    $r = $s->api(GET => '/v1/sandbox/other/api/archive?path=/tmp/x');
    is(names($r->{body}), './ ./one ./two/ ./two/three', 'and back');
    $r = $s->api(PUT => '/v1/sandbox/other/api/file?path=/tmp/new/f.txt', body => '0123456789');
    is("$r->{status} $r->{json}{bytesWritten}", '200 10', 'a raw file anywhere');
    $r = $s->api(GET => '/v1/sandbox/other/api/file?path=/tmp/new/f.txt',
        headers => [[Range => 'bytes=2-4']]);
    is("$r->{status} $r->{body} $r->{headers}{'content-type'}",
        '206 234 text/plain', 'a part of it');
    $r = $s->api(HEAD => '/v1/sandbox/other/api/file?path=/tmp/new/f.txt');
    is("$r->{status} $r->{headers}{'content-length'}", '200 10', 'its size');
    is_error($s->api(POST => '/v1/sandbox/ar/hydrate', body => ''), 400,
        'invalid_request', qr/^Empty tar payload$/, 'an empty body');

    # Answered long before all of it was sent.
    is_error($s->api(POST => '/v1/sandbox/ar/hydrate', body => 'x' x 8e6), 400,
        'invalid_request', qr/no tar archive/, 'garbage, much of it');
    $s->stop;
};


# Also in the middle of an archive, both ways.
my $half = fresh();
open my $f, '>', "$half/big" or die;
print $f 'x' x 65536 for 1 .. 400;
close $f;
my @open = (begin(GET => '/api/archive?path=' . escape($half)),
    begin(PUT => '/api/archive?path=' . escape($half), 'Content-Length: 1000000'));
http_send($open[1], entry('first') . entry('half', size => 900000)
    . 'x' x 1000);
ok(wait_for(sub { -e "$half/first" }, 30), 'one is being extracted');
is($agent->stop, 0, 'the agent ends');
is_deeply([temp_files($half)], [], 'nothing temporary is left');
is($agent->log_text =~ /runtime error|Sanitizer/ ? $agent->log_text : '', '',
    'its log has no error');
done_testing();
