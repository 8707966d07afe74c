#!/usr/bin/perl

# /api/git/checkout: clones, what git is asked for, how each failure is told,
# and that credentials are seen nowhere.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use GitServer;
use Harness;
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(300);

my $PATH = '/api/git/checkout';
my ($no_git) = run_command(['git', '--version']);
is($no_git, 0, 'there is a git') or BAIL_OUT('git is not installed');

my $dir = tmp_dir();
my $work = "$dir/work";
mkdir $_ for $work, "$dir/home", "$dir/srv";

my $agent = AgentClient->start(args => ['--workspace', $work]);

# The host's own settings of git don't count.
ok($agent->post('/api/session/create', { id => 'g', cwd => $work,
       env => { HOME => "$dir/home", GIT_CONFIG_NOSYSTEM => '1' } })->{json}
   {success}, 'a session');

my $made = $agent->execute(<<"EOS", sessionId => 'g', wait => 60);
set -e
git() { command git -c user.email=a\@b -c user.name=n "\$@"; }
( umask 022
git init -q -b main $dir/src && cd $dir/src
for i in 1 2 3 4 5; do echo "\$i" >file; mkdir -p "d \$i"; echo x >"d \$i/f"
    git add -A; git commit -qm "c\$i"; done
git branch other; git tag v1; git checkout -q --detach
git checkout -q main
git clone -q --bare $dir/src $dir/srv/repo.git
command git -C $dir/srv/repo.git config uploadpack.allowFilter true )
set +e; unset -f git
EOS
is($made->{exitCode}, 0, 'a repository') or diag($made->{stderr});


sub checkout {
    my (%o) = @_;
    my $wait = delete $o{wait};

    return $agent->post($PATH, { sessionId => 'g', %o },
                        timeout => $wait // 60);
}

sub refused {
    my ($name, $status, $code, $message, %o) = @_;
    my $r = checkout(%o);
    my $j = $r->{json} || {};

    ok($r->{status} == $status && $j->{code} eq $code
           && $j->{message} =~ $message && $j->{httpStatus} == $status
           && ref $j->{context} eq 'HASH', $name)
        or diag("$r->{status} $r->{body}");

    return $j;
}


# Clones.

my $r = checkout(repoUrl => "file://$dir/srv/repo.git");

is($r->{status}, 200, 'a clone') or diag($r->{body});
is_deeply({ %{ $r->{json} }, timestamp => '' },
          { success => JSON::PP::true(), branch => 'main', timestamp => '',
            repoUrl => "file://$dir/srv/repo.git",
            targetDir => "$work/repo" }, 'its answer');
like($r->{body}, qr/^\{"success":true,"repoUrl":"[^"]+","branch":"main","targetDir":"[^"]+","timestamp":"[^"]+Z"\}$/,
     'its members in order');
is(slurp("$work/repo/file"), "5\n", 'its files');

my $j = refused('the directory is taken', 500, 'GIT_CLONE_FAILED',
    qr/^Failed to clone repository 'file:.*repo.git': fatal: destination path .* already exists and is not an empty directory\.$/,
    repoUrl => "file://$dir/srv/repo.git");
is($j->{context}{exitCode}, 128, 'git\'s exit code');
is($j->{context}{targetDir}, "$work/repo", 'the directory');
like($j->{context}{stderr}, qr/^fatal: destination/, 'git\'s words');
is(slurp("$work/repo/file"), "5\n", 'what was there is still there');

mkdir "$work/empty";
is(checkout(repoUrl => "$dir/srv/repo.git", targetDir => "$work/empty")
   ->{status}, 200, 'into an empty directory, from a path');

$r = checkout(repoUrl => "file://$dir/srv/repo.git", branch => 'other',
              targetDir => "$work/b c/'q\" \$x");
is($r->{json}{branch}, 'other', 'a branch');
ok(-e "$work/b c/'q\" \$x/file", 'a directory of any name')
    or diag($r->{body});

$r = checkout(repoUrl => "file://$dir/srv/repo.git", branch => 'v1',
              targetDir => "$work/tag");
is($r->{json}{branch}, 'v1', 'a tag is shown as it was asked for')
    or diag($r->{body});

$agent->execute("mkdir -p $work/sub && cd $work/sub", sessionId => 'g');
$r = checkout(repoUrl => "file://$dir/srv/repo.git", depth => 1,
              targetDir => 'rel');
is($r->{json}{targetDir}, "$work/sub/rel",
   'relative to where the session is');
is($agent->execute("git -C $work/sub/rel rev-list --count HEAD",
                   sessionId => 'g')->{stdout}, 1, 'depth');
$agent->execute("cd $work", sessionId => 'g');

$r = $agent->post($PATH, { repoUrl => "$dir/srv/repo.git",
                           sessionId => '__DISABLE_SESSION__',
                           targetDir => 'plain' }, timeout => 60);
is($r->{json}{targetDir}, "$work/plain", 'without a session');
$r = $agent->request('POST', $PATH, json => { repoUrl => "$dir/srv/repo.git",
        targetDir => 'viahead' }, headers => { 'X-Session-Id' => 'hx' },
    timeout => 60);
is($r->{status}, 200, 'the session of a header');
ok((grep { $_ eq 'hx' } @{ $agent->get('/api/session/list')->{json}{data} }),
   'which is made');

# Nothing of it stays in the session.
my $left = $agent->execute('jobs; echo "$LC_ALL|$GIT_ASKPASS|$GIT_TERMINAL_PROMPT|$-"; pwd',
                           sessionId => 'g')->{stdout};
like($left, qr/^C\.UTF-8\|\|\|[a-zA-Z]*\n\Q$work\E$/,
     'the session is as it was');


# Failures.

refused('no such branch', 404, 'GIT_BRANCH_NOT_FOUND',
        qr/Remote branch nope not found/,
        repoUrl => "file://$dir/srv/repo.git", branch => 'nope',
        targetDir => "$work/nb");
ok(!-e "$work/nb", 'nothing is left of it');
refused('no such repository', 404, 'GIT_REPOSITORY_NOT_FOUND',
        qr/does not appear to be a git repository/,
        repoUrl => "file://$dir/zzz");
$j = refused('no URL', 404, 'GIT_REPOSITORY_NOT_FOUND',
             qr/repository 'not a url' does not exist$/,
             repoUrl => 'not a url');
is($j->{context}{targetDir}, "$work/repository", 'the default name');
refused('nobody listens', 502, 'GIT_NETWORK_ERROR', qr/Failed to connect/,
        repoUrl => 'http://127.0.0.1:' . free_port() . '/x.git');

for (['' => 'non-empty'], ["a\0b" => 'null bytes'],
     ['x' x 2049 => 'too long'], ['  ' => 'non-empty'],
     ['-u./x' => "begin with '-'"], ['--upload-pack=id' => "begin with '-'"],
     ["ext::sh -c id" => 'must use http'], ['fd::7/x' => 'must use http'],
     ['ftp://h/x' => 'must use http'], ['ssh://-oProxyCommand=id/x' => 'host'],
     ['http:///x' => 'host'], ["a\nb" => 'control'],
     ['user:hunter2pw@host/x' => 'no scheme'],
     ['ssh://u:hunter2pw@host/x' => 'only with http'])
{
    my ($url, $why) = @$_;
    my $e = refused('refused: ' . substr($url =~ s/\0/\\0/r, 0, 24) =~ s/\n/\\n/r,
                    400, 'INVALID_GIT_URL', qr/\Q$why\E/, repoUrl => $url);
    is($e->{context}{validationErrors}[0]{field}, 'repoUrl', 'names repoUrl');
    unlike(json_encode($e), qr/hunter2pw/, 'no password') if $url =~ /hunter/;
}
for ([branch => '-x'], [branch => ''], [branch => "a\nb"], [branch => 7],
     [depth => 0], [depth => -1], [depth => '1'], [depth => 1.5],
     [timeoutMs => 0], [timeoutMs => -5], [timeoutMs => 'x'],
     [targetDir => ''], [targetDir => 1], [sessionId => ' '],
     [sessionId => 5])
{
    my $e = refused("refused: $_->[0] " . ($_->[1] =~ s/\n/\\n/r), 400,
                    'VALIDATION_FAILED', qr/\Q$_->[0]\E/,
                    repoUrl => "$dir/srv/repo.git", @$_);
    is($e->{context}{validationErrors}[0]{field}, $_->[0], 'is named');
}
is(checkout()->{json}{code}, 'INVALID_GIT_URL', 'no URL at all');
is($agent->request('POST', $PATH, body => '{"repoUrl":', timeout => 10)
   ->{json}{code}, 'VALIDATION_FAILED', 'no JSON');


# HTTP, with and without credentials.

my $open = GitServer->start(root => "$dir/srv");
$r = checkout(repoUrl => $open->url('repo.git'), targetDir => "$work/http");
is($r->{status}, 200, 'over HTTP') or diag($r->{body});
is($agent->execute('git config remote.origin.partialclonefilter',
       sessionId => 'g', cwd => "$work/http")->{stdout}, 'blob:none',
   'old contents are left out');
refused('no such repository over HTTP', 404, 'GIT_REPOSITORY_NOT_FOUND',
        qr/not found/, repoUrl => $open->url('nope.git'));
refused('an answer that breaks off', 502, 'GIT_NETWORK_ERROR', qr/./,
        repoUrl => $open->url('broken.git'));
refused('a setting that leads to another scheme is not followed', 500,
        'GIT_OPERATION_FAILED', qr/not allowed/,
        repoUrl => "file://$dir/srv/repo.git", sessionId => 'rewrites',
        targetDir => "$work/rewritten")
    if $agent->post('/api/session/create', { id => 'rewrites', cwd => $work,
           env => { HOME => "$dir/home", GIT_CONFIG_COUNT => '1',
                    GIT_CONFIG_KEY_0 => "url.ext::sh -c id .insteadOf",
                    GIT_CONFIG_VALUE_0 => "file://$dir/" } })->{json}{success};
$open->stop;

my ($user, $secret) = ('us3r-n4me', 'tok/3n:s3cr=t');
my $userinfo = "$user:tok%2F3n:s3cr=t\@";
my $closed = GitServer->start(root => "$dir/srv", user => $user,
                              password => $secret);

refused('credentials are asked for', 401, 'GIT_AUTH_FAILED', qr/Username/,
        repoUrl => $closed->url('repo.git'), targetDir => "$work/denied");
$j = refused('wrong ones', 401, 'GIT_AUTH_FAILED', qr/Authentication failed/,
             repoUrl => $closed->url('repo.git', "$user:wr0ng-pw\@"),
             targetDir => "$work/denied");
unlike(json_encode($j), qr/wr0ng-pw|$user/, 'are not shown');
like($j->{message}, qr{'http://\*{6}\@127\.0\.0\.1:}, 'but that there were');

# While the server waits with its answer, everybody may look around.
spew("$dir/srv/hold", '');
my $before = () = $closed->requests =~ /Basic/g;
my $looker = fork() // die;
if ($looker == 0) {
    my $found = '';
    my $looks = 0;
    my $end = time() + 20;

    while (time() < $end && $looks < 20) {
        my $now = () = $closed->requests =~ /Basic/g;
        if ($now == $before) { sleep(0.02); next }
        for my $pid (descendants($agent->pid)) {
            for (qw(cmdline environ)) {
                my $t = slurp("/proc/$pid/$_") // next;
                $found .= "$pid $_: $t\n" if $t =~ /s3cr|\Q$user\E/;
            }
        }
        $looks++;
    }
    my $args = join "\n", map { (slurp("/proc/$_/cmdline") // '') =~ s/\0/ /gr }
        descendants($agent->pid);
    spew("$dir/found", $found);
    spew("$dir/args", $args);
    unlink "$dir/srv/hold";
    POSIX::_exit($looks == 20 ? 0 : 1);
}
$r = checkout(repoUrl => $closed->url('repo.git', $userinfo),
              targetDir => "$work/secret");
waitpid $looker, 0;
is($?, 0, 'somebody looked at the processes meanwhile');
unlink "$dir/srv/hold";
is(slurp("$dir/found"), '', 'credentials are in no argument or variable');
like(slurp("$dir/args"), qr/-c http\.lowSpeedLimit=1024 -c http\.lowSpeedTime=30 /,
     'a server that is too slow is given up');
is($r->{status}, 200, 'with credentials') or diag($r->{body});
like($r->{json}{repoUrl}, qr{^http://\*{6}\@127}, 'which the answer hides');
unlike($r->{body}, qr/s3cr|$user/, 'everywhere');
like($closed->requests, qr/Basic /, 'they were sent');
my $grep = $agent->execute("grep -rlE 's3cr|$user' $work/secret $dir/home; git config remote.origin.url; git config remote.origin.partialclonefilter; git rev-list --objects --all --missing=print | grep -c '^?'",
                           sessionId => 'g', cwd => "$work/secret");
like($grep->{stdout}, qr{^http://127\.0\.0\.1:\d+/repo\.git\n0$},
     'nor kept, and nothing is left to be fetched later')
    or diag($grep->{stdout});
unlike($agent->log_text, qr/s3cr|$user/, 'nor logged');

# The other way to put a token there: as the user, without a password.
my $token = GitServer->start(root => "$dir/srv", user => 'ghp_t0k3n',
                             password => '');
is(checkout(repoUrl => $token->url('repo.git', 'ghp_t0k3n@'),
            targetDir => "$work/token")->{status}, 200, 'a token as the user');
$token->stop;
$closed->stop;


# Servers that stall.

my $stall = GitServer->start(root => "$dir/srv");

for (['stall.git' => 'no answer'], ['slow.git' => 'a slow answer']) {
    my $t = time();
    my $e = refused("$_->[1] times out", 502, 'GIT_NETWORK_ERROR',
                    qr/^Git clone timed out after 1 seconds/,
                    repoUrl => $stall->url($_->[0]), timeoutMs => 900,
                    targetDir => "$work/late");
    is($e->{context}{exitCode}, 124, 'exit code 124');
    cmp_ok(time() - $t, '>=', 0.9, 'not too early');
    ok(!-e "$work/late", 'nothing is left of the directory');
}
mkdir "$work/mine";
checkout(repoUrl => $stall->url('stall.git'), timeoutMs => 500,
         targetDir => "$work/mine");
ok(-d "$work/mine", 'a directory that was there stays');

sub gits {
    return grep { (slurp("/proc/$_/cmdline") // '') =~ /git/ }
        $agent->children;
}
ok(wait_for(sub { !gits() }, 30), 'no process is left');

# A client that leaves ends its clone.
my $s = $agent->connect;
my $body = json_encode({ repoUrl => $stall->url('stall.git'),
                         sessionId => 'g', targetDir => "$work/left" });
http_send($s, "POST $PATH HTTP/1.1\r\nHost: x\r\nContent-Length: "
          . length($body) . "\r\n\r\n$body");
ok(wait_for(sub { scalar gits() }, 30), 'a clone runs');
is($agent->execute('echo free', sessionId => 'g')->{stdout}, 'free',
   'and the session is free');
close $s;
ok(wait_for(sub { !gits() }, 30), 'it ends with its client');
ok(wait_for(sub { !-e "$work/left" }, 30), 'and its directory with it');

# What comes there while it waits for its session is not its own.
{
    my $begin = sub {
        my ($path, $o) = @_;
        my $c = $agent->connect;
        my $b = json_encode({ sessionId => 'turn', %$o });
        http_send($c, "POST $path HTTP/1.1\r\nHost: x\r\nContent-Length: "
                  . length($b) . "\r\n\r\n$b");
        return $c;
    };
    my $busy = $begin->('/api/execute', { command => "touch $dir/busy; until "
        . "[ -e $dir/go ]; do sleep 0.05; done; mkdir $work/late; "
        . "echo x >$work/late/f; until [ -e $dir/end ]; do sleep 0.05; done" });
    ok(wait_for(sub { -e "$dir/busy" }, 30), 'a session is busy');
    my $clone = $begin->($PATH, { repoUrl => "$dir/srv/repo.git",
                                  targetDir => "$work/late" });
    sleep 0.3;
    spew("$dir/go", '');
    ok(wait_for(sub { -s "$work/late/f" }, 30), 'it writes where one waits');
    close $clone;
    spew("$dir/end", '');
    is($agent->execute("cat $work/late/f", sessionId => 'turn')->{stdout}, 'x',
       'it has its turn');
    ok(!wait_for(sub { !-e "$work/late/f" }, 2), 'and leaves that alone');
    close $busy;
}

# Not more than 16 at once.
my @many = map {
    my $c = $agent->connect;
    my $b = json_encode({ repoUrl => $stall->url('stall.git'),
        sessionId => '__DISABLE_SESSION__', targetDir => "$work/many$_" });
    http_send($c, "POST $PATH HTTP/1.1\r\nHost: x\r\nContent-Length: "
              . length($b) . "\r\n\r\n$b");
    $c;
} 1 .. 16;
ok(wait_for(sub { checkout(repoUrl => '')->{status} == 503 }, 30),
   'the seventeenth is refused');
is(checkout(repoUrl => '')->{json}{code}, 'RESOURCE_BUSY', 'as busy');
close $_ for @many;
ok(wait_for(sub { checkout(repoUrl => '')->{status} == 400 }, 30),
   'until there is room');
$stall->stop;


# No git.
mkdir "$dir/bin";
ok($agent->post('/api/session/create', { id => 'none', cwd => $work,
       env => { PATH => "$dir/bin" } })->{json}{success}, 'no programs');
refused('no git', 501, 'GIT_NOT_AVAILABLE', qr/^There is no git/,
        repoUrl => "$dir/srv/repo.git", targetDir => "$work/none",
        sessionId => 'none');

# The user's own functions and settings don't get in the way.
$agent->execute("git() { echo mine; }; alias git='echo no'; exec() { false; }; "
                . 'set -eu; GIT_TRACE=1; set -o noglob', sessionId => 'odd');
$r = checkout(repoUrl => "$dir/srv/repo.git", targetDir => "$work/odd",
              sessionId => 'odd');
is($r->{status}, 200, 'in a session with odd settings') or diag($r->{body});

ok(wait_for(sub { !gits() }, 30), 'no git is left');
is($agent->stop, 0, 'the agent ends');
is($agent->{left}, undef, 'with all it started');

done_testing();
