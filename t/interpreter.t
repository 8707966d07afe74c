#!/usr/bin/perl

# The code interpreter as a client of the control API meets it: through nginx,
# live, and stopped when it is left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AgentClient;
use Harness;
use Interpreter;
use System;
use Test::More;

alarm_after(240);

my $s = System->start;


sub call {
    my ($method, $path, $body, %o) = @_;

    return $s->api($method => "/v1/sandbox/code/api$path", timeout => 60,
                   defined $body ? (json => $body) : (), %o);
}


sub cell {
    my ($context, $code, %o) = @_;
    my $r = call(POST => '/execute/code', { context_id => $context,
                                            code => $code }, %o);

    return ($r, Interpreter->lines_of(AgentClient->frames($r->{body})));
}

my $r = call(GET => '/interpreter/health');
is($r->{json}{status}, 'healthy', 'health');

my %context;
for my $language (qw(python javascript typescript)) {
    $r = call(POST => '/contexts', { language => $language });
    is($r->{status}, 200, "a context of $language") or diag($r->{body});
    is($r->{json}{cwd}, '/workspace', 'in the workspace');
    $context{$language} = $r->{json}{contextId};
}
is(scalar @{ call(GET => '/contexts')->{json}{contexts} }, 3, 'the list');

for ([python => '1+1', 'text 2'], [javascript => '[1].concat(2)', 'json [1,2]'],
     [typescript => 'let x: string = "t"; x', "text 't'"])
{
    my ($language, $code, $want) = @$_;
    my ($answer, @lines) = cell($context{$language}, $code);
    is($answer->{headers}{'content-type'}, 'text/event-stream', 'a stream');
    is_deeply(\@lines, [$want, 'done 1'], $code) or diag($answer->{body});
}

# Live: the cell waits for a file that is written when its output was seen.
for ([python => "import os, time\nprint('now')\n" .
      "while not os.path.exists('go.py'): time.sleep(0.01)\n" .
      "print('then')", 'go.py'],
     [javascript => "console.log('now'); const fs = require('fs');\n" .
      "while (!fs.existsSync('go.js'))" .
      " await new Promise((r) => setTimeout(r, 10));\nconsole.log('then')",
      'go.js'])
{
    my ($language, $code, $file) = @$_;
    my $seen = '';

    cell($context{$language}, $code, on_data => sub {
        my $first = $seen !~ /now/;
        $seen .= $_[0];
        if ($first && $seen =~ /now/) {
            is($s->api(PUT => "/v1/sandbox/code/file/workspace/$file",
                       body => '')->{status}, 200, 'output is seen at once');
        }
        return 1;
    });
    like($seen, qr/now.*then.*execution_complete/s, "of $language");
}

# The machine's own libraries find what they need in the image made of it.
($r) = cell($context{python}, "import matplotlib.pyplot as plt\n" .
            "import pandas\nplt.plot([1, 2])\npandas.DataFrame({'a': [1]})");
like($r->{body}, qr/"png":"iVBOR.*"html":.*execution_complete/s,
     'a plot and a table') or diag(substr $r->{body}, 0, 1000);

# A client that leaves stops its cell.
cell($context{python}, "print('loops')\nwhile True: pass",
     on_data => sub { return $_[0] !~ /loops/ });
is((cell($context{python}, '5'))[1], 'text 5', 'the next cell has its turn');

$r = call(POST => '/execute/code', { context_id => $context{python},
    code => 'while True: pass', timeout_ms => 200 });
like($r->{body}, qr/"ename":"TimeoutError"/, 'a limit of time');
$r = call(POST => '/execute/code', { context_id => 'nope', code => '1' });
is($r->{status}, 404, 'no such context');
is($r->{json}{code}, 'CONTEXT_NOT_FOUND', 'its code');

# ---- in one piece

my $tail = '';

sub whole {
    my ($language, $code, %o) = @_;

    return $s->api(POST => "/v1/sandbox/code/contexts/$context{$language}/code",
        json => { code => $code, %{ $o{body} || {} } }, timeout => 60,
        headers => { Accept => $o{accept} // 'application/json' },
        $o{on_data} ? (on_data => $o{on_data}) : ());
}

$r = whole(python => "import sys\nx = 41\nprint('a')\nprint('\\u00e9', file=sys.stderr)\nx + 1");
is($r->{status}, 200, 'JSON for who asks for it');
is($r->{headers}{'content-type'}, 'application/json', 'as its type says');
is(join('', @{ $r->{json}{logs}{stdout} }), "a\n", 'stdout');
is(join('', @{ $r->{json}{logs}{stderr} }), "\x{e9}\n", 'stderr');
is_deeply($r->{json}{results}, [{ text => '42' }], 'the result');
like($r->{json}{code}, qr/^import sys/, 'the code');
cmp_ok($r->{json}{executionCount}, '>', 0, 'the count');
ok(!exists $r->{json}{error}, 'no error');
$r = whole(python => 'print("before")\n1/0' =~ s/\\n/\n/r);
is($r->{status}, 200, 'a cell that raises');
is("$r->{json}{error}{name}: $r->{json}{error}{message}",
    'ZeroDivisionError: division by zero', 'its error');
is(ref $r->{json}{error}{traceback}, 'ARRAY', 'with a traceback');
is(join('', @{ $r->{json}{logs}{stdout} }) =~ /^before/ ? 1 : 0, 1,
    'and what it has written');
$r = whole(python => 'import time; time.sleep(60)',
    body => { timeout_ms => 300 });
is($r->{json}{error}{name}, 'TimeoutError', 'one that takes too long');
$r = whole(javascript => 'for (let i = 0; i < 20; i++) '
    . 'console.log("x".repeat(1e6)); 1 + 1',
    on_data => sub { $tail = substr $tail . $_[0], -100; 1 });
like($tail, qr/"truncated":true/, 'more than there is room for');
ok($r->{received} > 10e6 && $r->{received} < 17e6, 'is left out')
    or diag($r->{received});
is(whole(javascript => '1', accept => $_)->{headers}{'content-type'},
    'text/event-stream', "events for '$_'")
    for '*/*', 'text/event-stream, application/json';
is(whole(python => 1)->{status}, 400, 'a mistake is one');

is(call(DELETE => "/contexts/$context{python}")->{status}, 200, 'delete');
is(call(DELETE => "/contexts/$context{python}")->{status}, 404, 'not twice');

$s->stop;
done_testing();
