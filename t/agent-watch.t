#!/usr/bin/perl

# /api/watch and /api/watch/check: every change below a directory is told once,
# whatever happens to the directories; nothing is left when nobody listens.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use File::Path qw(make_path remove_tree);
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);
use WatchClient;

alarm_after(280);

my $dir = tmp_dir();
my $agent = AgentClient->start(args => ['--workspace', $dir]);


sub watch {
    my ($request, %o) = @_;
    my $body = json_encode($request);

    return WatchClient->open($agent->connect,
        "POST /api/watch HTTP/1.1\r\nHost: x\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body", preface => 1, %o);
}


sub check {
    my ($request) = @_;

    return $agent->post('/api/watch/check', $request)->{json};
}


sub holds { return WatchClient->holds($agent->pid, @_) }


sub nothing_held { return holds(0, "$_[0]: nothing is held") }


# A file made now is told: all that came before has been as well.
my $marks = 0;

sub settled {
    my ($w, $at) = @_;
    my $name = 'mark' . $marks++;

    spew("$at/$name", '');

    return $w->has("create $name");
}


# A tree and its events.

{
    my $top = "$dir/basic";

    make_path("$top/sub/deep");
    my $w = watch({ path => 'basic' });
    is($w->{status}, 200, 'a stream');
    like($w->{head}, qr{Content-Type: text/event-stream}i, 'of events');
    is(json_encode($w->{frames}[0]), json_encode({ type => 'watching',
        path => $top, watchId => $w->{frames}[0]{watchId} }), 'watching');
    like($w->{frames}[0]{watchId}, qr/^watch-\d+-\d{13}$/, 'its id');

    spew("$top/f", 'x');
    spew("$top/sub/deep/g", 'x');
    ok($w->has('create f', 'modify f', 'create sub/deep/g'), 'files');
    my ($e) = $w->frames('event');
    is(join(' ', sort keys %$e), 'eventType isDirectory path timestamp type',
       'the members of an event');
    like($e->{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
         'its time');
    is($e->{path}, "$top/f", 'the whole path');

    unlink "$top/f";
    mkdir "$top/d";
    ok($w->has('delete f', 'create d/'), 'a deletion, a directory');
    spew("$top/d/h", '');
    ok($w->has('create d/h'), 'in it');
    rename "$top/d/h", "$top/sub/i";
    ok($w->has('move_from d/h', 'move_to sub/i'), 'a move');
    rmdir "$top/d";
    ok($w->has('delete d/'), 'a directory goes');
    chmod 0600, "$top/sub/i";
    symlink '/etc', "$top/link";
    ok($w->has('create link'), 'a link is no directory');
    ok(!grep({ /attrib/ } $w->told), 'attributes only if asked for');
    ok(!$w->{bad}, 'nothing but frames') or diag($w->{bad});

    my $a = watch({ path => 'basic', events => ['attrib', 'delete'] });
    spew("$top/sub/j", '');
    chmod 0644, "$top/sub/i";
    unlink "$top/sub/j";
    ok($a->has('attrib sub/i', 'delete sub/j'), 'events that are chosen');
    ok(!grep({ /create|modify/ } $a->told), 'and no others');

    my $flat = watch({ path => 'basic', recursive => \0 });
    spew("$top/sub/k", '');
    ok(settled($flat, $top), 'not recursive');
    is($flat->count('create sub/k'), 0, 'nothing from below');
    $_->close for $w, $a, $flat;
    nothing_held('basic');
}


# Directories that are filled before anybody can look: all of it, once.

{
    my $top = "$dir/race";
    my @want;

    mkdir $top;
    my $w = watch({ path => $top });
    for my $i (1 .. 100) {
        make_path("$top/r$i/a/b/c");
        spew("$top/r$i/$_", '') for 'f', 'a/f', 'a/b/c/f';
        push @want, "create r$i/", map { "create r$i/$_" } 'f', 'a/', 'a/f',
            'a/b/', 'a/b/c/', 'a/b/c/f';
    }
    ok($w->until(sub { (() = grep { /^create/ } $w->told) >= @want }, 30),
       'as many as were made');
    settled($w, $top);
    is_deeply([sort grep { /^create r/ } $w->told], [sort @want],
              'each once, none else');
    $w->close;
}


# Directories that move.

{
    my $top = "$dir/moves";
    my $out = tmp_dir();

    make_path("$top/a/b/c", "$top/x", "$out/in/deep");
    spew("$out/in/deep/old", '');
    my $w = watch({ path => $top });
    rename "$top/a/b", "$top/x/bb";
    ok($w->has('move_from a/b/', 'move_to x/bb/'), 'a move within');
    spew("$top/x/bb/c/f", '');
    ok($w->has('create x/bb/c/f'), 'is watched where it is now');
    is($w->count('create x/bb/c/'), 0, 'and not new');

    rename "$top/x", "$out/x";
    ok($w->has('move_from x/'), 'a move out');
    spew("$out/x/bb/gone", '');
    settled($w, $top);
    holds(2, 'is no longer watched');
    is((grep { /gone/ } $w->told), 0, 'nor told');

    rename "$out/in", "$top/in";
    ok($w->has('move_to in/', 'create in/deep/', 'create in/deep/old'),
       'a move into it tells what is there');
    spew("$top/in/deep/new", '');
    ok($w->has('create in/deep/new'), 'and is watched');

    mkdir "$top/empty";
    ok($w->has('create empty/'), 'an empty one');
    rename "$top/in", "$top/empty";
    ok($w->has('move_to empty/'), 'is replaced');
    spew("$top/empty/deep/late", '');
    ok($w->has('create empty/deep/late'), 'by one that is watched');
    $w->close;
    nothing_held('moves');
}


# What is to be heard of.

{
    my $top = "$dir/rules";

    make_path("$top/src/lib", "$top/node_modules/x", "$top/.git/refs",
              "$top/out");
    my $w = watch({ path => $top });
    my $c = watch({ path => $top, include => ['*.c', 'out'] });
    my $x = watch({ path => $top, exclude => ['src/**', '/out/'] });
    my $p = watch({ path => $top, include => ['src/**/*.h'] });

    spew("$top/$_", '') for qw(node_modules/x/f .git/refs/f src/a.c
        src/lib/a.h src/lib/b.c out/z out/y.c);
    make_path("$top/src/node_modules/q");
    settled($_, $top) for $w, $x;
    spew("$top/last.c", '');
    spew("$top/src/last.h", '');
    ok($w->has('create src/lib/a.h') && !grep({ /node_modules|git/ } $w->told),
       'what nobody wants to hear of');
    ok($c->has('create last.c', 'create src/a.c', 'create src/lib/b.c',
               'create out/y.c', 'create out/z'), 'include: names');
    ok(!grep({ /a\.h|mark/ } $c->told), 'and nothing else');
    ok(!grep({ /src.|out/ } $x->told), 'exclude: paths')
        or diag(join ', ', $x->told);
    ok($x->has('create node_modules/x/f'), 'instead of the usual ones');
    ok($p->has('create src/last.h', 'create src/lib/a.h'), 'include: paths');
    ok(!grep({ /\.c/ } $p->told), 'and nothing else');
    mkdir "$top/src/new";
    spew("$top/src/new/n.h", '');
    ok($p->has('create src/new/n.h'),
       'in new directories that are not included');
    $_->close for $w, $c, $x, $p;
}


# Names of all kinds, and depths.

{
    my $top = "$dir/odd";

    mkdir $top;
    my $w = watch({ path => $top });
    spew("$top/a\nb", '');
    spew("$top/q\"\\", '');
    spew("$top/bad\xff", '');
    spew("$top/\xc3\xa4", '');
    ok($w->has("create a\nb", 'create q"\\', "create \x{e4}",
               "create bad\x{fffd}"), 'names');
    my ($bad) = grep { $_->{path} =~ /bad/ } $w->frames('event');
    require MIME::Base64;
    is(MIME::Base64::decode_base64($bad->{pathBase64} // ''), "$top/bad\xff",
       'what is no text comes as bytes, too');
    is((grep { exists $_->{pathBase64} } $w->frames('event')),
       scalar(grep { $_->{path} =~ /bad/ } $w->frames('event')),
       'only there');

    # Deeper than any path that can be named.
    my $name = 'd' x 150;
    my $walk = 'my ($top, $name, $file) = @ARGV; chdir $top or die; '
        . 'for (1 .. 40) { mkdir $name; chdir $name or die }; '
        . 'open my $f, ">", $file or die';
    run_command([$^X, '-e', $walk, $top, $name, 'made']);
    my $deep = join '/', ($name) x 40;
    ok($w->has("create $deep/made"), 'longer than PATH_MAX');
    $w->close;
    $w = watch({ path => $top });
    run_command([$^X, '-e', $walk, $top, $name, 'later']);
    ok($w->has("create $deep/later"), 'and armed at once');
    $w->close;
}


# The end of what is watched.

{
    my $top = "$dir/ends";

    make_path("$top/a", "$top/b", "$top/up/c", "$top/held");
    my $a = watch({ path => "$top/a" });
    rmdir "$top/a";
    ok($a->until(sub { $a->{eof} }), 'a deleted one ends');
    is_deeply($a->{frames}[-1], { type => 'stopped', reason => 'deleted' },
              'and says so');
    ok($a->{complete}, 'properly');

    my $b = watch({ path => "$top/b" });
    rename "$top/b", "$top/bb";
    ok($b->until(sub { $b->{eof} }), 'a moved one ends');
    is($b->{frames}[-1]{reason}, 'moved', 'and says so');

    my $c = watch({ path => "$top/up/c" });
    rename "$top/up", "$top/down";
    ok($c->until(sub { $c->{eof} }), 'one whose parent moved ends');
    is($c->{frames}[-1]{reason}, 'deleted', 'and says so');

    opendir my $held, "$top/held";
    my $h = watch({ path => "$top/held" });
    rmdir "$top/held";
    ok($h->until(sub { $h->{eof} }), 'one that is still open elsewhere ends');
    is($h->{frames}[-1]{reason}, 'deleted', 'and says so');
    nothing_held('ends');
}


# One file.

{
    spew("$dir/one.conf", 'a');
    my $w = watch({ path => 'one.conf' });
    is($w->{frames}[0]{path}, "$dir/one.conf", 'a file can be watched');
    spew("$dir/other.conf", 'a');
    spew("$dir/one.conf", 'b');
    spew("$dir/tmp.conf", 'c');
    rename "$dir/tmp.conf", "$dir/one.conf";
    ok($w->until(sub { grep { $_->{eventType} eq 'move_to' }
                       $w->frames('event') }), 'and its replacement is seen');
    is((grep { $_->{path} ne "$dir/one.conf" } $w->frames('event')), 0,
       'and nothing else');
    $w->close;
}


# The same is one watch; others in it keep theirs.

{
    my $top = "$dir/shared";

    make_path("$top/sub");
    my ($a, $b) = map { watch({ path => $top }) } 1 .. 2;
    my $c = watch({ path => "$dir/./shared/../shared/" });
    my $d = watch({ path => "$top/sub" });
    is($a->{frames}[0]{watchId}, $b->{frames}[0]{watchId}, 'one watch');
    is($a->{frames}[0]{watchId}, $c->{frames}[0]{watchId}, 'by another name');
    isnt($a->{frames}[0]{watchId}, $d->{frames}[0]{watchId}, 'another');
    holds(2, 'each directory once');
    spew("$top/sub/f", '');
    ok($a->has('create sub/f') && $b->has('create sub/f')
       && $d->has('create f'), 'all are told');
    $a->close;
    $d->close;
    spew("$top/sub/g", '');
    ok($b->has('create sub/g'), 'the others stay');
    $b->close;
    $c->close;
    nothing_held('shared');
}


# The same within a moment is told once, in the order that is true in the end.

{
    my $top = "$dir/window";

    mkdir $top;
    my $w = watch({ path => $top });
    open my $f, '>', "$top/f" or die;
    syswrite $f, $_ for 1 .. 500;
    close $f;
    for (1, 2) { spew("$top/g", ''); unlink "$top/g" }
    spew("$top/g", '');
    settled($w, $top);
    cmp_ok($w->count('modify f'), '<', 250, 'many changes of a file');
    my @g = grep { / g$/ } $w->told;
    is($g[-1], 'create g', 'what is there is told last');
    $w->close;
}


# Checks.

{
    my $top = "$dir/check";

    make_path("$top/sub");
    my $r = check({ path => $top });
    is($r->{status}, 'unchanged', 'the first');
    like($r->{version}, qr/^watch-\d+-\d{13}:0$/, 'its version');
    is(join(' ', sort keys %$r), 'status success timestamp version',
       'the members');
    my $first = $r->{version};
    is(check({ path => $top, since => $first })->{status}, 'unchanged',
       'nothing new');
    make_path("$top/sub/x/y");
    spew("$top/sub/x/y/f", '');
    $r = check({ path => $top, since => $first });
    is($r->{status}, 'changed', 'at once');
    is(check({ path => $top, since => $r->{version} })->{status}, 'unchanged',
       'and then not again');

    my $c = { path => $top, include => ['*.c'] };
    my $v = check($c)->{version};
    make_path("$top/new/deep");
    spew("$top/new/deep/x.h", '');
    is(check({ %$c, since => $v })->{status}, 'unchanged', 'not included');
    make_path("$top/newer/deep");
    spew("$top/newer/deep/x.c", '');
    is(check({ %$c, since => $v })->{status}, 'changed',
       'in directories that were just made');

    $r = check({ path => $top, since => 'watch-1-1795290845977:0' });
    is("$r->{status} $r->{reason}", 'resync restarted', 'of an agent before');
    (my $old = $first) =~ s/^watch-\d+/watch-1/;
    $r = check({ path => $top, since => $old });
    is("$r->{status} $r->{reason}", 'resync expired', 'of a watch before');
    like($r->{version}, qr/^watch-\d+-\d+:\d+$/, 'goes on from there');

    (my $future = $first) =~ s/:0$/:999999/;
    for my $since ($future, '', 'x', 'watch-1-2', 'watch--1:1', 'watch-1-2:3x',
                   "watch-1-2:3\n", 'watch-1-2:' . '9' x 30, 7)
    {
        my $a = $agent->post('/api/watch/check',
                             { path => $top, since => $since });
        is("$a->{status} $a->{json}{code}", '400 VALIDATION_FAILED',
           "since " . json_encode($since));
    }

    my $w = watch({ path => $top });
    (my $id = $first) =~ s/:0$//;
    is($w->{frames}[0]{watchId}, $id, 'a stream of the same');
    $w->close;
    remove_tree($top);
    ok(wait_for(sub { my $a = $agent->post('/api/watch/check',
        { path => $top }); $a->{status} == 404 }, 30), 'deleted');
    nothing_held('checks');
}


# Relative paths.

{
    make_path("$dir/home/in");
    $agent->execute("cd $dir/home", sessionId => 'w');
    is(check({ path => 'in', sessionId => 'w' })->{success}, JSON::PP::true(),
       "below the session's directory");
    is($agent->post('/api/watch/check', { path => 'in' })->{status}, 404,
       'else below the workspace');
    remove_tree("$dir/home");
    nothing_held('relative');
}


# What is wrong.

{
    mkdir "$dir/w";
    for my $case (
        [{ path => 'nope' }, 404, qr{^Path does not exist: \Q$dir\E/nope$}],
        [{ path => 'one.conf/x' }, 404, qr/^Path does not exist/],
        [{}, 400, qr/^path is required and must be a non-empty string$/],
        [{ path => '' }, 400, qr/^path is required/],
        [{ path => 7 }, 400, qr/^path is required/],
        [{ path => "a\0b" }, 400, qr/null bytes/],
        [{ path => 'x' x 5000 }, 400, qr/too long/],
        [{ path => 'w', recursive => 'yes' }, 400, qr/^recursive must be/],
        [{ path => 'w', events => ['open'] }, 400, qr/^events must be of/],
        [{ path => 'w', events => [] }, 400, qr/^events must be an array/],
        [{ path => 'w', events => 'create' }, 400, qr/^events must be/],
        [{ path => 'w', include => '*.c' }, 400, qr/^include must be an arr/],
        [{ path => 'w', include => [1] }, 400, qr/^include must be an array/],
        [{ path => 'w', include => ['[a]'] }, 400, qr/pattern 1 may use/],
        [{ path => 'w', exclude => ['a', '{b,c}'] }, 400, qr/pattern 2 may/],
        [{ path => 'w', exclude => [''] }, 400, qr/must not be empty/],
        [{ path => 'w', include => [('a') x 33] }, 400, qr/at most 32/],
        [{ path => 'w', include => ['x' x 256] }, 400, qr/longer than 255/],
        [{ path => 'w', include => ['a'], exclude => ['b'] }, 400,
            qr/can't be used together/],
        [{ path => 'w', sessionId => 7 }, 400, qr/^sessionId must be/],
    ) {
        my ($request, $status, $message) = @$case;
        for my $route ('', '/check') {
            my $r = $agent->post("/api/watch$route", $request);
            is($r->{status}, $status, substr(json_encode($request), 0, 60));
            like($r->{json}{message}, $message, 'says why');
            is($r->{json}{code}, $status == 404 ? 'FILE_NOT_FOUND'
                                                : 'VALIDATION_FAILED', 'code');
        }
    }
    is($agent->request('POST', '/api/watch', body => '{bad')->{status}, 400,
       'no JSON');
    is($agent->request('POST', '/api/watch', body => '[]')->{status}, 400,
       'no object');
    nothing_held('errors');
}

done_testing();
