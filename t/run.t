#!/usr/bin/perl

# What `make run` brings up, and README's first preview, typed as they stand.
# (not with the sanitizers: the script starts an nginx without them)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

alarm_after(240);

plan skip_all => 'scripts/run.sh starts an nginx that has no sanitizer in it'
    if is_san();

my $top = top_dir();
my $dir = tmp_dir();
my $port = free_port();
my %env = (SANDBOX_PORT => $port, SANDBOX_DIR => "$dir/state",
    SANDBOX_BUILD => build_dir());
my $runs = 0;

sub run_up {
    my $log = "$dir/run." . $runs++;
    my $pid = start_process(cmd => ["$top/scripts/run.sh"], log => $log,
        env => \%env, cwd => $dir);

    wait_for(sub { !process_alive($pid)
        || (slurp($log) // '') =~ /Ctrl-C stops everything/ }, 60);

    return ($pid, slurp($log) // '');
}

my ($pid, $said) = run_up();

like($said, qr/Ctrl-C stops everything/, 'everything comes up') or diag($said);
my ($url) = $said =~ m{Preview\s+(\S+)};
like($url // '', qr{^http://8000-demo-[a-z2-7]{16}\.localhost:$port/$},
    'it prints the preview of the demo');
is((stat "$dir/state/api-key")[2] & 07777, 0600, 'the key is its user\'s alone');

my ($host) = $url =~ m{//([^/]+)};
my $r = http(port => $port, host => $host);
is($r->{status}, 200, 'the preview answers');
like($r->{body}, qr/It works/, 'with the demo\'s page');

# Not even on loopback is there an API without a key.
is(http(port => $port, path => '/v1/sandbox')->{status}, 401, 'no key: 401');

# The three lines that it prints.
my @lines = $said =~ /^    (curl .*)$/mg;
is(scalar @lines, 3, 'three lines to try');
my @want = (qr/"demo"/, qr/event: exit\ndata: \{"exit_code":\s*0\}/,
    qr/uid=0/);
for my $i (0 .. 2) {
    my ($status, $out, $err) = run_command(['bash', '-c', $lines[$i]]);

    like($out, $want[$i], "line $i") or diag($err);
}

# README's first preview.
my ($code) = (slurp("$top/README.md") =~
    /<!-- run: first-preview -->\n```sh\n(.*?)```/s);
ok($code, 'README has it');
$code =~ s/:8080/:$port/g;
$code =~ s{run/api-key}{$dir/state/api-key}g;
my ($status, $out, $err) = run_command(['bash', '-ec', $code], cwd => $top);
is($status, 0, 'README: the commands succeed') or diag($err);
my ($lines) = split ' ', `wc -l < $top/README.md`;
like($out, qr/exit_code":\s*0/, 'README: exec');
like($out, qr/readme\.txt/, 'README: a session');
my ($made) = $out =~ m{"url":\s*"(http://8000-hello-[^"]+)"};
ok($made, 'README: a preview URL') or diag($out);
($host) = ($made // '') =~ m{//([^/]+)};
ok(wait_for(sub { http(port => $port, host => $host)->{status} == 200 }, 15),
    'README: that answers');

# A page in a real browser, by the name that was printed.
SKIP: {
    my ($chromium) = grep { -x } '/usr/bin/chromium';

    skip 'chromium is not installed', 1 unless $chromium;

    my ($st, $dom, $e) = run_command([$chromium, '--headless', '--no-sandbox',
        '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--disable-component-update',
        '--disable-sync', "--user-data-dir=$dir/chromium", '--dump-dom', $url],
        timeout => 60);

    like($dom, qr/It works/, 'a browser opens the preview as it stands')
        or diag(substr($e, 0, 2000));
}

# A second start beside the first is refused, with a reason.
my ($other, $refused) = run_up();
like($refused, qr/another run uses|is taken/, 'a second run says why it cannot');
stop_process($other, 'TERM', 10);

my @below = descendants($pid);
is(stop_process($pid, 'INT', 30), 0, 'Ctrl-C ends it with status 0');
ok(wait_for(sub { !grep { process_alive($_) } @below }, 10),
    'and all of its processes');
is(scalar(grep { index($_, $dir) >= 0 } split /\n/,
    slurp('/proc/self/mountinfo')), 0, 'no mount is left');

# The state is taken up.
($pid, $said) = run_up();
my ($again) = $said =~ m{Preview\s+(\S+)};
is($again, $url, 'the next run has the same preview');
($host) = $url =~ m{//([^/]+)};
is(http(port => $port, host => $host)->{status}, 200, 'which answers');
my ($key) = slurp("$dir/state/api-key") =~ /(\S+)/;
$r = http(port => $port, path => '/v1/sandbox/hello/file/workspace/readme.txt',
    headers => [['Authorization', "Bearer $key"]]);
is($r->{body}, slurp("$top/README.md"), 'files are still there');
is(stop_process($pid, 'INT', 30), 0, 'and it ends again');

# Typing errors.
for my $bad (['SANDBOX_PORT', '80x0', qr/SANDBOX_PORT must be a number/],
    ['SANDBOX_PORT', '70000', qr/1 to 65535/])
{
    local $env{$bad->[0]} = $bad->[1];
    my ($p, $text) = run_up();

    like($text, $bad->[2], "$bad->[0]=$bad->[1] is explained");
    stop_process($p, 'TERM', 5);
}

done_testing();
