#!/usr/bin/perl

# /api/backup: archives of directories, what they leave out, restoring, and
# that nothing is lost when one of them fails.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Digest::MD5 qw(md5_hex);
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);

for (['mksquashfs', '-version'], ['curl', '--version'],
     ['openssl', 'version'], ['git', '--version'])
{
    my ($status) = run_command($_);
    is($status >> 8, 0, "there is $_->[0]")
        or BAIL_OUT("$_->[0] is not installed");
}

my $dir = tmp_dir();
my ($work, $keep) = ("$dir/work", "$dir/backups");
mkdir $_ for $work, "$dir/srv";

my ($status) = run_command(['openssl', 'req', '-x509', '-newkey', 'ec',
    '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1',
    '-keyout', "$dir/key.pem", '-out', "$dir/cert.pem"]);
is($status, 0, 'a certificate');

my $agent = AgentClient->start(
    args => ['--workspace', $work, '--backups', $keep, '--inherit-env'],
    env => { CURL_CA_BUNDLE => "$dir/cert.pem", HOME => $dir });


sub create {
    my (%o) = @_;

    return $agent->post('/api/backup/create',
        { dir => $work, archivePath => "$keep/a.sqsh", %o }, timeout => 60);
}

sub restore {
    my (%o) = @_;

    return $agent->post('/api/backup/restore',
        { dir => $work, archivePath => "$keep/a.sqsh", %o }, timeout => 60);
}

sub upload {
    my ($parts, %o) = @_;

    return $agent->post('/api/backup/upload-parts',
        { archivePath => "$keep/a.sqsh", parts => $parts, %o },
        timeout => 60);
}

sub is_error {
    my ($r, $status, $code, $message, $name) = @_;
    my $j = $r->{json} || {};

    ok($r->{status} == $status && $j->{code} eq $code
           && $j->{message} =~ $message && $j->{httpStatus} == $status
           && ($j->{operation} || '') =~ /^backup\.(create|restore)$/, $name)
        or diag("$r->{status} $r->{body}");
}

sub run {
    my ($command, %o) = @_;
    my $r = $agent->execute($command, cwd => $work, wait => 60, %o);

    $r->{exitCode} == 0 or diag($r->{stderr});

    return $r->{stdout};
}

# What a directory holds: names, modes, contents, links, times but its own.
sub listing {
    my ($of) = @_;

    return run(q{stat -c '%a %u:%g' .; find . -mindepth 1 -printf '%p %m %y %l %U:%G %T@\n' | sort; }
               . q{find . -type f -print0 | sort -z | xargs -0r md5sum},
               cwd => $of);
}

sub archived {
    my ($archive) = @_;
    my ($s, $out) = run_command(['unsquashfs', '-l', $archive // "$keep/a.sqsh"]);

    return join ' ', sort map { s{^squashfs-root/?}{}r } split /\n/, $out;
}

sub below_backups {
    return join ' ', sort split /\n/, run("ls -A $keep 2>/dev/null; true");
}


# A round trip.

run(<<'EOS');
mkdir -p src/deep/er empty 'a b' && printf 'hello\n' >src/a.txt
seq 1 20000 >src/deep/er/numbers; printf '\0\377' >bin; ln -s src/a.txt link
ln src/a.txt hard; chmod 755 bin; chmod 700 empty; touch .hidden 'a b/c d'
ln -s /nowhere dangling; touch -d @1500000000.5 src/a.txt; mkfifo pipe
touch 'we"ird$na*me' $'new\nline'
EOS

my $before = listing($work);
my $r = create();
is($r->{status}, 200, 'an archive') or diag($r->{body});
like($r->{body}, qr/^\{"success":true,"sizeBytes":\d+,"archivePath":"\Q$keep\E\/a\.sqsh","timestamp":"[^"]+Z"\}$/,
     'its answer');
is($r->{json}{sizeBytes}, -s "$keep/a.sqsh", 'its size');
is((stat "$keep/a.sqsh")[2] & 07777, 0600, 'for its owner only');
is(below_backups(), 'a.sqsh', 'and nothing beside it');

run('rm -rf src hard; echo new >added; echo other >bin; mkdir x; cd x; '
    . 'ln -s / root', sessionId => 'inside');
$agent->execute("cd $work", sessionId => 'inside');
$r = restore();
is($r->{status}, 200, 'restored') or diag($r->{body});
like($r->{body}, qr/^\{"success":true,"dir":"\Q$work\E","timestamp":"[^"]+Z"\}$/,
     'the answer');
# squashfs keeps whole seconds.
my $whole = sub { $_[0] =~ s/(\d)\.\d+$/$1/gmr };
is($whole->(listing($work)), $whole->($before), 'all of it is as it was');
is(run('stat -c %h hard'), 2, 'links are links');
is($agent->execute('ls added; cat bin | wc -c', sessionId => 'inside')
   ->{stdout}, 2, 'a shell in the directory sees it');
is(restore()->{status}, 200, 'once more');
is($whole->(listing($work)), $whole->($before), 'the same');
is(run("ls -A $work | grep -c sandbox-restore; true"), 0, 'nothing besides');

is(restore(dir => "$work/new/dir")->{status}, 200,
   'into a directory that is made');
is(run("cat $work/new/dir/src/a.txt"), 'hello', 'there it is');
run('rm -rf new');

for my $format (qw(gzip lz4 zstd)) {
    $r = create(archivePath => "$keep/deep/$format.sqsh",
                compression => { format => $format, threads => 1 });
    is($r->{status}, 200, $format) or diag($r->{body});
    is(restore(dir => "$dir/$format", archivePath => "$keep/deep/$format.sqsh")
       ->{status}, 200, 'and back');
    is($whole->(listing("$dir/$format")), $whole->($before), 'the same');
}
is(unpack('x20 v', slurp("$keep/a.sqsh") // "\0" x 99), 5, 'lz4 is the default');


# What is left out.

run('rm -rf * .hidden; mkdir -p a/node_modules/x node_modules/y dist a/dist '
    . "'b c' .h/node_modules; touch a/1.log 1.log .2.log a/keep dist/x "
    . "a/dist/x node_modules/y/z a/node_modules/x/z .h/node_modules/z "
    . "'b c/[x]' 'b c/x' a/.3.log");

sub without {
    my ($name, $excludes, $gone, %o) = @_;
    my $r = create(excludes => $excludes, %o);
    my @left = grep { length && $_ !~ $gone }
        split /\n/, run('find . -mindepth 1 -printf "%P\n"');

    is($r->{status}, 200, $name) or diag($r->{body});
    is(archived(), join(' ', sort '', @left), "$name: what is there");
}

without('nothing', [], qr/^$/);
without('a name', ['node_modules'], qr/(^|\/)node_modules/);
without('the long form', ['**/node_modules/**', '**/dist/'],
        qr/(^|\/)(node_modules\/|dist)/);
without('a suffix', ['*.log'], qr/\.log$/);
without('at the top', ['/dist', "$work/1.log"], qr/^(dist|1\.log$)/);
without('a path', ['a/dist'], qr{^a/dist});
without('a path at any depth', ['**/node_modules/z'],
        qr{^\.h/node_modules/z$});
without('wildcards between', ['a/**/z'], qr{^a/.*/z$});
without('a name with a blank, and brackets', ['b c/\\[x\\]'], qr{/\[x\]$});
without('all in a directory', ['a/**'], qr{^a/});
without('several', ['*.log', 'dist', './b c/x'], qr{\.log$|dist|c/x$});

for (['!x', 'begin with !'], ['{a,b}', 'alternatives'], ['', 'nothing'],
     ['../x', 'out of dir'], ["a\nb", 'control'], [7, 'string'])
{
    is_error(create(excludes => ['ok', $_->[0]]), 400,
             'INVALID_BACKUP_CONFIG', qr/excludes\[1\] .*\Q$_->[1]\E/,
             "refused: excludes of '" . ($_->[0] =~ s/\n/\\n/r) . "'");
}

run(q{git init -q . && printf 'node_modules/\n*.log\n' >.gitignore
      printf 'keep\n' >a/.gitignore; touch "b c/y[1].log"
      git add -f 1.log; git add .gitignore});
without('what git ignores', [], qr{(^|/)node_modules|(?<!^1)\.log$|^a/keep$|^\.h$},
        gitignore => JSON::PP::true());
run('rm -rf .git');
without('no repository: nothing is ignored', [], qr/^$/,
        gitignore => JSON::PP::true());


# What is refused.

is_error($agent->post('/api/backup/create', {}), 400, 'INVALID_BACKUP_CONFIG',
         qr/^Missing or invalid field: dir$/, 'create without anything');
is_error($agent->post('/api/backup/restore', {}), 400,
         'INVALID_BACKUP_CONFIG', qr/^Missing or invalid field: dir$/,
         'restore without anything');
is_error($agent->post('/api/backup/upload-parts', {}), 400,
         'INVALID_BACKUP_CONFIG', qr/^Missing or invalid field: archivePath$/,
         'upload without anything');
for my $d ('', 'rel', '/', '/etc', '/var', '/workspacex', "$work/../..", 5,
           "$work/..", "/tmp\0/x", '/' . 'x' x 5000)
{
    is_error(create(dir => $d), 400, 'INVALID_BACKUP_CONFIG',
             qr/field: dir/, 'dir: ' . substr($d =~ s/\0/\\0/r, 0, 40));
    is_error(restore(dir => $d), 400, 'INVALID_BACKUP_CONFIG',
             qr/field: dir/, '... to restore') if length $d < 20;
}
for my $a ('', 'rel', '/etc/x', $keep, "$keep/", "$keep/x/", "$keep/../x",
           "$keep/..", "${keep}x/y", 5)
{
    is_error(create(archivePath => $a), 400, 'INVALID_BACKUP_CONFIG',
             qr/field: archivePath/, "archivePath: $a");
    is_error(upload([], archivePath => $a), 400, 'INVALID_BACKUP_CONFIG',
             qr/field: archivePath/, '... to upload');
}
for ([compression => 'lz4'], [compression => { format => 'xz' }],
     [compression => { threads => 0 }], [compression => { threads => 1.5 }],
     [gitignore => 1], [excludes => 'x'], [sessionId => 1])
{
    is_error(create(@$_), 400, 'INVALID_BACKUP_CONFIG', qr/field: $_->[0]/,
             "refused: $_->[0]");
}
is_error(create(dir => "$work/zzz"), 500, 'BACKUP_CREATE_FAILED',
         qr/^Source directory does not exist: \Q$work\E\/zzz$/,
         'no such directory');
is_error(create(dir => "$work/1.log"), 500, 'BACKUP_CREATE_FAILED',
         qr/^Source directory does not exist/, 'a file');
is_error(restore(archivePath => "$keep/zzz"), 500, 'BACKUP_RESTORE_FAILED',
         qr/^Archive does not exist: /, 'no such archive');
is($agent->request('POST', '/api/backup/create', body => '{', timeout => 10)
   ->{status}, 400, 'no JSON');

# Links that lead elsewhere.
run("ln -s /etc $keep/out; ln -s /etc/passwd $keep/p.sqsh; "
    . "ln -s /etc $work/etc");
is_error(create(archivePath => "$keep/out/x.sqsh"), 400,
         'INVALID_BACKUP_CONFIG', qr/leads out/, 'a link out of the backups');
ok(!-e '/etc/x.sqsh', 'was not followed');
is_error(restore(archivePath => "$keep/p.sqsh"), 400,
         'INVALID_BACKUP_CONFIG', qr/leads out/, 'nor to read');
is_error(upload([{ partNumber => 1, url => 'https://h/x', offset => 0,
                   size => 1 }], archivePath => "$keep/p.sqsh"), 400,
         'INVALID_BACKUP_CONFIG', qr/leads out/, 'nor to upload');
my $etc = (stat '/etc/passwd')[7];
is(create(archivePath => "$keep/p.sqsh")->{status}, 200,
   'a link in the place of the archive');
ok(!-l "$keep/p.sqsh" && (stat '/etc/passwd')[7] == $etc, 'is replaced');
is_error(create(dir => "$work/etc"), 400, 'INVALID_BACKUP_CONFIG',
         qr/leads out/, 'a link out of the directories');
is_error(restore(dir => "$work/etc"), 400, 'INVALID_BACKUP_CONFIG',
         qr/leads out/, 'nor to restore');
run("rm -rf $keep/out $keep/p.sqsh $keep/deep etc");


# What fails leaves everything as it was.

run("rm -rf .gitignore a/.gitignore; seq 1 400000 >big");
is(create(compression => { format => 'gzip' })->{status}, 200, 'an archive');
my $good = slurp("$keep/a.sqsh");
$before = listing($work);

my $bad = $good;
substr($bad, length($bad) / 3, 2000) = 'x' x 2000;
for (['damaged', $bad], ['cut off', substr($good, 0, length($good) / 2)],
     ['no archive', 'x' x 5000], ['empty', ''])
{
    spew("$keep/bad.sqsh", $_->[1]);
    is_error(restore(archivePath => "$keep/bad.sqsh"), 500,
             'BACKUP_RESTORE_FAILED', qr/^Failed to restore the archive: ./,
             "$_->[0]");
    is_error(restore(archivePath => "$keep/bad.sqsh", dir => "$dir/never"),
             500, 'BACKUP_RESTORE_FAILED', qr/./, '... into a new directory');
}
is(listing($work), $before, 'what was there is there');
ok(!-e "$dir/never", 'no directory was made');
unlink "$keep/bad.sqsh";

# A place that can't be moved away is met half-way: all moves back.
SKIP: {
    skip('only root can mount', 2) if $> != 0;
    my ($mounted) = run_command(['mount', '-t', 'tmpfs', 'none', "$work/dist"]);
    skip('no mount here', 2) if $mounted != 0;
    my $now = listing($work);
    is_error(restore(), 500, 'BACKUP_RESTORE_FAILED', qr{/dist: },
             'a mount point in the directory');
    is(listing($work), $now, 'nothing has changed');
    run_command(['umount', "$work/dist"]);
}

# Who isn't root meets what can't be read, moved or removed.
{
    my $d = tmp_dir();
    my @as = $> == 0 ? qw(setpriv --reuid=65534 --regid=65534 --clear-groups)
                     : ();

    mkdir "$d/$_" for qw(bin w b);
    is((run_command(['cp', build_dir() . '/sandbox-agent', "$d/bin/"]))[0], 0,
       'an agent that all may run');
    chmod 0755, $d, "$d/bin", "$d/bin/sandbox-agent";
    is((run_command(['chown', '-R', '65534', $d]))[0], 0, 'and a place') if @as;

    local $ENV{SANDBOX_BUILD} = "$d/bin";
    my $plain = AgentClient->start(dir => $d, before => \@as,
        args => ['--workspace', "$d/w", '--backups', "$d/b"]);
    my $ask = sub { $plain->post("/api/backup/$_[0]", { dir => "$d/w",
        archivePath => "$d/b/x" }, timeout => 60) };

    for (['file', 'f', 'chmod 0 dd/f'], ['directory', 'dd',
          'chmod 600 dd/f; chmod 0 dd'])
    {
        my ($name, $path, $command) = @$_;
        $plain->execute("mkdir -p dd; echo 1 >>dd/f; $command");
        my $r = $ask->('create');
        is($r->{json}{code}, 'BACKUP_CREATE_FAILED', "an unreadable $name");
        like($r->{json}{message}, qr{\Q$path\E}, 'which is named');
    }
    $plain->execute('chmod 700 dd; mkdir -p ro/sub; echo x >ro/sub/f; '
                    . 'chmod 500 ro/sub ro');
    is($ask->('create')->{status}, 200, 'a read-only directory');
    for (1, 2) {
        my $r = $ask->('restore');
        is($r->{status}, 200, "is restored over itself: $_")
            or diag($r->{body});
    }
    is($plain->execute('ls -A; stat -c %a ro ro/sub; cat ro/sub/f')->{stdout},
       "dd\nro\n500\n500\nx", 'as it was, and nothing besides');
    $plain->execute('chmod -R u+w .');
    $plain->stop;
}

# No program to do it, one that fails and one that hangs.
mkdir "$dir/bin";
symlink $_, "$dir/bin/" . s{.*/}{}r for '/bin/bash', '/bin/rm';
my $bare = AgentClient->start(
    args => ['--workspace', $work, '--backups', $keep, '--inherit-env'],
    env => { PATH => "$dir/bin" });
for (['create', { dir => $work, archivePath => "$keep/n" }, 'mksquashfs'],
     ['restore', { dir => $work, archivePath => "$keep/a.sqsh" },
      'unsquashfs'],
     ['upload-parts', { archivePath => "$keep/a.sqsh", parts => [{ size => 1,
       partNumber => 1, url => 'https://127.0.0.1/', offset => 0 }] }, 'curl'])
{
    is_error($bare->post("/api/backup/$_->[0]", $_->[1], timeout => 30), 501,
             'BACKUP_NOT_AVAILABLE', qr/^There is no $_->[2]/,
             "$_->[0] without $_->[2]");
}
spew("$dir/bin/mksquashfs", "#!/bin/bash\necho half >/proc/self/fd/240\n"
     . "echo it broke >&2\nexit 1\n", 0755);
is_error($bare->post('/api/backup/create',
             { dir => $work, archivePath => "$keep/a.sqsh" }), 500,
         'BACKUP_CREATE_FAILED', qr/it broke$/, 'one that fails');
spew("$dir/bin/mksquashfs", "#!/bin/bash\necho 'Could not open x, because "
     . "Permission denied, creating empty file' >&2\n", 0755);
is_error($bare->post('/api/backup/create',
             { dir => $work, archivePath => "$keep/a.sqsh" }), 500,
         'BACKUP_CREATE_FAILED', qr/Permission denied/,
         'one that leaves something out');
is(below_backups(), 'a.sqsh', 'leaves nothing');
ok(slurp("$keep/a.sqsh") eq $good, 'the archive is the old one');

spew("$dir/bin/mksquashfs", "#!/bin/bash\nread -u 5 5<> <(:)\n", 0755);
my @wait = map {
    my $s = $bare->connect;
    my $b = json_encode({ dir => $work, archivePath => "$keep/w$_" });
    http_send($s, "POST /api/backup/create HTTP/1.1\r\nHost: x\r\n"
              . 'Content-Length: ' . length($b) . "\r\n\r\n$b");
    $s;
} 1 .. 33;
sub running {
    return grep { (slurp("/proc/$_/cmdline") // '') =~ /mksquashfs/ }
        $bare->children;
}
ok(wait_for(sub { running() == 1 }, 30), 'one runs');
my $full;
ok(wait_for(sub {
    ($full = $bare->post('/api/backup/create',
         { dir => $work, archivePath => "$keep/full" }, timeout => 2))
        ->{status} == 503 }, 30), 'and not more than 32 wait');
is_error($full, 503, 'RESOURCE_BUSY', qr/32 backups/, 'which is said');
cmp_ok(scalar running(), '<=', 1, 'still one runs');
close $_ for reverse @wait;
ok(wait_for(sub { !running() }, 60), 'clients that leave end theirs');
ok(wait_for(sub { below_backups() eq 'a.sqsh' }, 30), 'without a trace')
    or diag(below_backups());
unlink "$dir/bin/mksquashfs";
is($bare->post('/api/backup/restore', { dir => $work, archivePath => '/x' })
   ->{status}, 400, 'the agent goes on');

spew("$dir/bin/unsquashfs", "#!/bin/bash\nread -u 5 5<> <(:)\n", 0755);
my $s = $bare->connect;
my $b = json_encode({ dir => $work, archivePath => "$keep/a.sqsh" });
http_send($s, "POST /api/backup/restore HTTP/1.1\r\nHost: x\r\n"
          . 'Content-Length: ' . length($b) . "\r\n\r\n$b");
ok(wait_for(sub { grep { (slurp("/proc/$_/cmdline") // '') =~ /unsquashfs/ }
                      $bare->children }, 30), 'a restore that hangs');
close $s;
ok(wait_for(sub { my @l = glob("$work/.sandbox-restore-*"); !@l }, 30),
   'and whose client leaves is undone');
is($bare->stop, 0, 'that agent ends');
is(listing($work), $before, 'all is as it was');


# Uploads.

my $srv = start_process(cmd => ['python3', top_dir() . '/t/apps/upload.py',
    "$dir/cert.pem", "$dir/key.pem", "$dir/srv"], log => "$dir/port");
wait_for(sub { (slurp("$dir/port") // '') =~ /\n/ }, 30);
chomp(my $port = slurp("$dir/port") // '');
like($port, qr/^\d+$/, 'a server');
my $url = "https://127.0.0.1:$port";

sub part {
    my ($n, $path, $offset, $size) = @_;

    return { partNumber => $n, url => "$url$path", offset => $offset,
             size => $size };
}

my $size = length $good;
my $cut = int($size / 3);
$r = upload([part(2, '/p2?sig=s3cr3t%2Bx&x={a}[1]', $cut, $cut),
             part(1, '/p1', 0, $cut),
             part(3, '/again/2/p3', 2 * $cut, $size - 2 * $cut)]);
is($r->{status}, 200, 'three parts') or diag($r->{body});
my @pieces = (substr($good, 0, $cut), substr($good, $cut, $cut),
              substr($good, 2 * $cut));
is_deeply($r->{json}, { success => JSON::PP::true(), parts => [
    map { { partNumber => $_, etag => md5_hex($pieces[$_ - 1]) } } 2, 1, 3 ],
    timestamp => $r->{json}{timestamp} }, 'their ETags, in order');
ok(join('', map { slurp("$dir/srv/p$_") } 1 .. 3) eq $good,
   'together they are the archive');
my $log = slurp("$dir/srv/requests");
like($log, qr{^/p1 $cut None None$}m, 'with a length, not in chunks');
is(() = $log =~ m{^/again}gm, 3, 'one was tried three times');

is_error(upload([part(1, '/deny?sig=s3cr3t', 0, 5)]), 500,
         'BACKUP_CREATE_FAILED', qr/part 1 in 1 attempt: HTTP status 403/,
         'a server that says no is asked once');
$r = upload([part(4, '/again/9/x?sig=s3cr3t', 0, 5)]);
is_error($r, 500, 'BACKUP_CREATE_FAILED',
         qr/part 4 in 3 attempts: HTTP status 503/, 'three attempts');
is_error(upload([part(1, '/noetag', 0, 5)]), 500, 'BACKUP_CREATE_FAILED',
         qr/without an ETag/, 'no ETag');
is_error(upload([{ part(1, '', 0, 5)->%*,
                   url => 'https://127.0.0.1:' . free_port() . '/?s3cr3t' }]),
         500, 'BACKUP_CREATE_FAILED', qr/part 1 in 3 attempts: .*connect/i,
         'nobody there');
is_error(upload([{ part(1, '/x', 0, 5)->%*, url => "https://localhost:$port/x" }]),
         500, 'BACKUP_CREATE_FAILED', qr/certificate/, 'another certificate');
unlike($agent->log_text . $r->{body}, qr/s3cr3t/, 'no signature is shown');

for (['x', 'array'], [[], '1 to 10000'], [[5], 'parts[0] must be an object'],
     [[{ part(0, '/x', 0, 1)->%* }], 'parts[0].partNumber'],
     [[part(1, '/x', 0, 1), part(1, '/x', 0, 1)], 'parts[1].partNumber'],
     [[{ part(1, '/x', 0, 1)->%*, url => 'http://h/x' }], 'parts[0].url'],
     [[{ part(1, '/x', 0, 1)->%*, url => "https://h/x\nurl" }],
      'parts[0].url'],
     [[{ part(1, '/x', 0, 1)->%*, url => 7 }], 'parts[0].url'],
     [[part(1, '/x', -1, 1)], 'parts[0].offset'],
     [[part(1, '/x', 0, 0)], 'parts[0].size'],
     [[part(1, '/x', 0, $size + 1)], 'parts[0] ends behind'],
     [[part(1, '/x', $size, 1)], 'parts[0] ends behind'],
     [[part(1, '/x', 9223372036854775807, 9223372036854775807)],
      'parts[0] ends behind'])
{
    is_error(upload($_->[0]), 400, 'INVALID_BACKUP_CONFIG', qr/\Q$_->[1]\E/,
             "refused: $_->[1]");
}
is_error(upload([part(1, '/x', 0, 1)], archivePath => "$keep/zz"), 500,
         'BACKUP_CREATE_FAILED', qr/^Archive does not exist/, 'no archive');

# While it waits, its arguments may be looked at; then its client leaves.
my $c = $agent->connect;
$b = json_encode({ archivePath => "$keep/a.sqsh",
                   parts => [part(1, '/hold/h?sig=s3cr3t', 0, 9)] });
http_send($c, "POST /api/backup/upload-parts HTTP/1.1\r\nHost: x\r\n"
          . 'Content-Length: ' . length($b) . "\r\n\r\n$b");
ok(wait_for(sub { slurp("$dir/srv/requests") =~ m{^/hold}m }, 30),
   'an upload waits');
my @below = $agent->children;
my $args = join "\n", map { (slurp("/proc/$_/cmdline") // '')
                            . (slurp("/proc/$_/environ") // '') } @below;
like($args, qr/curl/, 'there is a curl');
unlike($args, qr/s3cr3t|127\.0\.0\.1/, 'and its URL is not to be seen');
close $c;
ok(wait_for(sub { !grep { (slurp("/proc/$_/cmdline") // '') =~ /curl/ }
                      $agent->children }, 30), 'it ends with its client');
spew("$dir/srv/go", '');

my $fds = $agent->fd_count;
create() for 1 .. 3;
restore() for 1 .. 3;
upload([part(1, '/p1', 0, 3)]) for 1 .. 3;
ok(wait_for(sub { $agent->fd_count <= $fds }, 30), 'no descriptor is lost');
stop_process($srv);
is($agent->stop, 0, 'the agent ends');
is($agent->{left}, undef, 'with all it started');

done_testing();
