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
my $agent = AgentClient->start(args => ['--workspace', $w]);


sub escape { my $p = $_[0]; $p =~ s{([^A-Za-z0-9/._~-])}{sprintf '%%%02X', ord $1}ge; return $p }

sub persist {
    my ($excludes, %o) = @_;
    my $query = defined $excludes ? '?excludes=' . escape($excludes) : '';

    return $agent->request('POST', "/bridge/persist$query", %o);
}

sub hydrate { my ($tar, %o) = @_; return $agent->request('POST', '/bridge/hydrate', body => $tar, %o) }
sub pull { my ($p, %o) = @_; return $agent->get('/api/archive?path=' . escape($p), %o) }
sub push_to { my ($p, $tar, %o) = @_; return $agent->request('PUT', '/api/archive?path=' . escape($p), body => $tar, %o) }

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
    is_error($s->api(POST => '/v1/sandbox/ar/hydrate', body => ''), 400,
        'invalid_request', qr/^Empty tar payload$/, 'an empty body');

    # Answered long before all of it was sent.
    is_error($s->api(POST => '/v1/sandbox/ar/hydrate', body => 'x' x 8e6), 400,
        'invalid_request', qr/no tar archive/, 'garbage, much of it');
    $s->stop;
};


is($agent->stop, 0, 'the agent ends');
done_testing();
