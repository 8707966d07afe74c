#!/usr/bin/perl

# Vite's development server in a sandbox, behind a preview, in a real browser:
# the page loads, and a file that is changed through the API appears in it
# without a reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Browser;
use Harness;
use Npm;
use System;
use Test::More;

Browser::program() or plan skip_all => 'there is no Chromium';
is_san() and plan skip_all => 'the browser is the same with sanitizers';

alarm_after(300);

my $vite = npm_package('vite', '5.4.21')
    or plan skip_all => 'the npm registry gives no vite';
my $dir = tmp_dir();

# ---- an app as Vite's users have it, and Vite itself

my %files = (
    'package.json' => '{"name":"app","private":true,"type":"module"}',
    'index.html' => '<!doctype html><title>app</title><p id="out"></p>'
        . '<script type="module" src="/main.js"></script>',
    'main.js' => <<'EOC',
import { text } from './text.js'
import './style.css'
const show = t => { document.getElementById('out').textContent = t }
show(text)
if (import.meta.hot) {
    import.meta.hot.accept('./text.js', m => show(m.text))
}
EOC
    'text.js' => "export const text = 'first'\n",
    'style.css' => "p { color: rgb(1, 2, 3) }\n",
);
my ($modules) = $vite =~ m{^(.*)/node_modules/};

mkdir "$dir/app";
spew("$dir/app/$_", $files{$_}) for keys %files;
my ($status, undef, $err) = run_command(['tar', '-cf', "$dir/app.tar", '-C',
    "$dir/app", '.', '-C', $modules, 'node_modules']);
is($status, 0, 'an archive') or diag $err;

my $s = System->start;
my $r = $s->api(PUT => '/v1/sandbox/app/api/archive?path=/workspace',
    body => slurp("$dir/app.tar"), timeout => 120);
is($r->{status}, 200, 'is extracted inside') or diag $r->{body};

ok($s->serve('app', 5173,
    'cd /workspace && node node_modules/vite/bin/vite.js --host 127.0.0.1 '
    . '--port 5173 --strictPort'), 'Vite serves it')
    or diag json_encode($s->api(GET => '/v1/sandbox/app/api/process/list'));
my $url = $s->expose('app', 5173)->{url};

# ---- in a browser

my $b = Browser->start(map => ['*.localhost']);
my $p = $b->page;
my $shows = sub {
    my ($text) = @_;

    return $p->wait(sub {
        ($p->eval('document.getElementById("out").textContent') // '') eq $text
    }, 60);
};

is($p->open($url), undef, 'the page opens');
ok($shows->('first'), 'and its modules run') or diag $p->text;
is($p->eval('getComputedStyle(document.getElementById("out")).color'),
    'rgb(1, 2, 3)', 'with its style');
ok($p->wait(sub { grep { /\[vite\] connected/ } @{ $p->{console} } }, 60),
    "Vite's WebSocket is there") or diag join "\n", @{ $p->{console} };

$p->eval('window.mark = 1');
is($s->api(PUT => '/v1/sandbox/app/file/workspace/text.js',
    body => "export const text = 'second'\n")->{status}, 200, 'a new text');
ok($shows->('second'), 'is shown') or diag join "\n", @{ $p->{console} };
is($s->api(PUT => '/v1/sandbox/app/file/workspace/style.css',
    body => "p { color: rgb(4, 5, 6) }\n")->{status}, 200, 'a new style');
ok($p->wait(sub { $p->eval('getComputedStyle(document.getElementById("out"))'
    . '.color') eq 'rgb(4, 5, 6)' }, 60), 'is seen');
is($p->eval('window.mark'), 1, 'all without a reload');

# ---- what can not be exchanged

is($s->api(PUT => '/v1/sandbox/app/file/workspace/main.js',
    body => "document.getElementById('out').textContent = 'whole'\n")->{status},
    200, 'what Vite can not exchange');
ok($shows->('whole'), 'reloads the page');
is($p->eval('window.mark'), undef, 'all of it');

$b->stop;
$s->stop;
done_testing();
