#!/usr/bin/perl

# The code interpreter: contexts and the answers of cells in Python,
# JavaScript and TypeScript, frame by frame.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use Interpreter;
use Test::More;

alarm_after(300);

my $i = Interpreter->start;
my $dir = tmp_dir();

# Contexts.

{
    my $ts = '"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"';
    my $uuid = '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-' .
        '[0-9a-f]{12}';
    my $r = $i->get('/api/interpreter/health');

    is($r->{status}, 200, 'health');
    like($r->{body}, qr/^\{"success":true,"status":"healthy",$ts\}$/,
         'healthy');
    is($i->get('/api/contexts')->{json}{contexts} && scalar @{
        $i->get('/api/contexts')->{json}{contexts} }, 0, 'no context yet');

    my %wanted = (python => 'python', python3 => 'python', js => 'javascript',
        javascript => 'javascript', node => 'javascript', ts => 'typescript',
        typescript => 'typescript');
    my %made;

    for my $name (sort keys %wanted) {
        $r = $i->post('/api/contexts', { language => $name, cwd => $dir });
        is($r->{status}, 200, "a context of $name") or diag($r->{body});
        like($r->{body}, qr/^\{"success":true,"contextId":"$uuid","language":"$wanted{$name}","cwd":"\Q$dir\E",$ts\}$/,
             'as clients know it');
        $made{ $r->{json}{contextId} } = $wanted{$name};
    }
    is(scalar keys %made, scalar keys %wanted, 'each has an id of its own');

    $r = $i->post('/api/contexts', {});
    is($r->{json}{language}, 'python', 'python if nothing is said');
    like($r->{json}{cwd}, qr{^/}, 'with a directory');
    $made{ $r->{json}{contextId} } = 'python';
    $r = $i->request('POST', '/api/contexts');
    is($r->{status}, 200, 'without a body');
    $made{ $r->{json}{contextId} } = 'python';

    $r = $i->get('/api/contexts');
    like($r->{body}, qr/^\{"success":true,"contexts":\[(?:\{"id":"$uuid","language":"\w+","cwd":"[^"]+"\},?)+\],$ts\}$/,
         'the list');
    is_deeply({ map { $_->{id} => $_->{language} } @{ $r->{json}{contexts} } },
              \%made, 'has them all');

    for my $id (keys %made) {
        $r = $i->request('DELETE', "/api/contexts/$id");
        like($r->{body}, qr/^\{"success":true,"contextId":"$id",$ts\}$/,
             'deleted');
    }
    $r = $i->request('DELETE', '/api/contexts/' . (keys %made)[0]);
    is($r->{status}, 404, 'not twice');
    is($r->{json}{code}, 'CONTEXT_NOT_FOUND', 'its code');
    $r = $i->request('DELETE', '/api/contexts/zzz');
    is($r->{json}{message}, q{Code context 'zzz' not found}, 'its message');
    is_deeply($r->{json}{context}, { contextId => 'zzz' }, 'its context');
    ok($r->{json}{suggestion}, 'and what to do');
    is_deeply($i->get('/api/contexts')->{json}{contexts}, [], 'none is left');

    for (['language', { language => 'ruby' }], ['language', { language => 5 }],
         ['cwd', { cwd => '/no/such' }], ['cwd', { cwd => 'relative' }],
         ['cwd', { cwd => '/etc/passwd' }], ['cwd', { cwd => 7 }],
         ['env_vars', { env_vars => { '1x' => 'a' } }],
         ['env_vars', { envVars => [] }], ['env_vars', { env_vars => { a => 1 } }],
         ['timeout', { timeout => -1 }], ['timeout_ms', { timeout_ms => 'x' }])
    {
        my ($field, $body) = @$_;
        $r = $i->post('/api/contexts', $body);
        is($r->{status}, 400, json_encode($body) . ' is refused')
            or diag($r->{body});
        is($r->{json}{context}{validationErrors}[0]{field}, $field, 'named');
    }
    $r = $i->request('POST', '/api/contexts', body => '{');
    is("$r->{status} $r->{json}{code}", '400 VALIDATION_FAILED', 'bad JSON');
    is_deeply($i->get('/api/contexts')->{json}{contexts}, [],
              'nothing was made');
}

# What can't be executed.

my $py = $i->context('python');
my $js = $i->context('javascript', cwd => $dir);
my $ts = $i->context('typescript');

for ([{ context_id => 'nope', code => '1' }, 404, 'CONTEXT_NOT_FOUND',
      'Context nope not found', { contextId => 'nope' }],
     [{ code => '1' }, 404, 'CONTEXT_NOT_FOUND', qr/^Context undefined/, {}],
     [{ code => '1', language => 'js' }, 404, 'CONTEXT_NOT_FOUND', qr/./, {}],
     [{ context_id => $js, code => '1', language => 'python' }, 500,
      'CODE_EXECUTION_ERROR', "Failed to execute code in context '$js': " .
      "Context $js was created for javascript, cannot execute python code",
      { contextId => $js, evalue => "Context $js was created for javascript, " .
        'cannot execute python code' }],
     [{ context_id => $js, code => '1', language => 'ruby' }, 400,
      'VALIDATION_FAILED', qr/ruby/, undef],
     [{ context_id => $js }, 400, 'VALIDATION_FAILED', 'code is required',
      undef],
     [{ context_id => $js, code => 1 }, 400, 'VALIDATION_FAILED', qr/string/,
      undef],
     [{ context_id => $js, code => '1', timeout_ms => -5 }, 400,
      'VALIDATION_FAILED', qr/timeout_ms/, undef],
     [{ context_id => $js, code => '1', env_vars => { 'a b' => '' } }, 400,
      'VALIDATION_FAILED', qr/a b/, undef],
     [{ context_id => 5, code => '1' }, 400, 'VALIDATION_FAILED',
      qr/context_id/, undef])
{
    my ($body, $status, $code, $message, $details) = @$_;
    my $r = $i->post('/api/execute/code', $body);

    is($r->{status}, $status, "$status $code: " . json_encode($body))
        or diag($r->{body});
    is($r->{json}{code}, $code, 'its code');
    is_deeply([sort keys %{ $r->{json} }], ['code', 'details', 'error'],
              'its form');
    ref $message ? like($r->{json}{error}, $message, 'its message')
                 : is($r->{json}{error}, $message, 'its message');
    is_deeply($r->{json}{details}, $details, 'details') if $details;
}
{
    my $r = $i->request('POST', '/api/execute/code', body => '{');
    is("$r->{status} $r->{json}{code}", '400 VALIDATION_FAILED', 'bad JSON');
}

# Python.

$i->bytes('1+1', $py, '1+1',
    'data: {"type":"result","text":"2","metadata":{}}' . "\n\n" .
    'data: {"type":"execution_complete","execution_count":1}' . "\n\n");
{
    my $r = $i->execute($py, '1/0');
    is($r->{headers}{'content-type'}, 'text/event-stream', 'a stream');
    is($r->{headers}{'cache-control'}, 'no-cache', 'not cached');
    is($r->{headers}{'access-control-allow-origin'}, '*', 'CORS');
    is_deeply($r->{frames}, [{ type => 'error', ename => 'ZeroDivisionError',
        name => 'ZeroDivisionError', evalue => 'division by zero',
        message => 'division by zero', value => 'division by zero',
        traceback => $r->{frames}[0]{traceback} }], 'an error');
    is($r->{frames}[0]{traceback}[0], 'Traceback (most recent call last):',
       'its traceback');
    is($r->{frames}[0]{traceback}[1], '  File "<cell 2>", line 1, in <module>',
       'from the cell on');
    is($r->{frames}[0]{traceback}[2], '    1/0', 'with its text');
    is($r->{frames}[0]{traceback}[-1], 'ZeroDivisionError: division by zero',
       'to the error');
}
$i->cells($py,
    ['the count goes on after an error', '40+2', 'text 42', 'done 3'],
    ['state is set', 'x=41; import os', 'done 4'],
    ['and kept', 'print(x+1); x', "out 42\n", 'text 41', 'done 5'],
    ['both outputs', 'import sys; print("e",file=sys.stderr); print("o")',
     "out o\n", "err e\n", 'done'],
    ['a syntax error is one', 'def f(:', 'error SyntaxError'],
    ['None is no result', 'None', 'done'],
    ['a string', '"abc"', "text 'abc'", 'done'],
    ['the last line counts', "1\n2", 'text 2', 'done'],
    ['a semicolon hides it', "5;  # x", 'done'],
    ['a semicolon inside does not', "';'", "text ';'", 'done'],
    ['a dict', '{"a":[1,2]}', 'json {"a":[1,2]}', 'done'],
    ['a list', '[1,2]', 'json [1,2]', 'done'],
    ['what JSON cannot hold', '{"a":object}', "text {'a': <class 'object'>}",
     'done'],
    ['nor this', '[float("nan")]', 'text [nan]', 'done'],
    ['a tuple', '(1,2)', 'text (1, 2)', 'done'],
    ['no input', 'input("q")', 'out q', 'error EOFError'],
    ['goes on', '1', 'text 1', 'done'],
    ['sys.exit', 'import sys; sys.exit(3)', 'error SystemExit'],
    ['exit()', 'exit()', 'error SystemExit'],
    ['the state lives', 'x', 'text 41', 'done'],
    ['input after exit()', 'input()', 'error EOFError'],
    ['top-level await', "import asyncio\ny = await asyncio.sleep(0, 7)\ny",
     'text 7', 'done'],
    ['functions, with their source', "def f(a):\n    return a*2\n" .
     'import inspect; inspect.getsource(f)',
     qr/^text 'def f\(a\):\\n/, 'done'],
    ['pickle of a class of a cell', "class C: pass\nimport pickle\n" .
     'type(pickle.loads(pickle.dumps(C()))) is C', 'text True', 'done'],
    ['display()', 'display(1, "s"); display({"k":None}); 5', 'text 1',
     "text 's'", 'json {"k":null}', 'text 5', 'done'],
    ['output before what is displayed', 'print("a"); display(2); 3', "out a\n",
     'text 2', 'text 3', 'done'],
    ['an object that shows itself', "class R:\n" .
     "  def _repr_html_(self): return '<i>'\n" .
     "  def _repr_png_(self): return b'ab'\n" .
     "  def _repr_latex_(self): return None\nR()",
     'png YWI=', 'html <i>', 'done'],
    ['a bundle', "class M:\n" .
     "  def _repr_mimebundle_(self, include=None, exclude=None):\n" .
     "    return {'text/plain': 't', 'text/markdown': '# h'}\nM()",
     'markdown # h', 'done'],
    ['a repr that fails', "class B:\n  def __repr__(self): 1/0\nB()",
     'error ZeroDivisionError'],
    ['a command', '!echo hi', "out hi\n", 'done'],
    ['its output', "a = !echo 1; echo 2\na", "json [\"1\",\"2\"]", 'done'],
    ['a magic that is not needed', "%matplotlib inline\n4", 'text 4', 'done'],
    ['one that is unknown', '%nosuch x', 'error SyntaxError'],
    ['characters beyond', "'h\x{e9} \x{1f600}'",
     "text 'h\x{e9} \x{1f600}'", 'done'],
    ['no source at all', '', 'done'],
    ['a comment', '# x', 'done'],
    ['a NUL', "1\0", qr/^error (?:SyntaxError|ValueError)/],
    ['the namespace is clean', '[n for n in dir() if n in ("json", "send", ' .
     '"s", "State")]', 'json []', 'done'],
    ['__name__', '__name__', "text '__main__'", 'done'],
);

# JavaScript.

$i->cells($js,
    ['1+1', '1+1', 'text 2', 'done 1'],
    ['the console', 'console.log("a",{b:1}); console.error("e")',
     "out a { b: 1 }\n", "err e\n", 'done 2'],
    ['throw', 'throw new TypeError("x")', qr/^err TypeError: x\n/,
     'error ExecutionError'],
    ['const', 'const q=5; q', 'text 5', 'done'],
    ['again', 'const q=6; q', 'text 6', 'done'],
    ['it stays', 'q', 'text 6', 'done'],
    ['let, class, function', 'let l = 1; class K { v() { return l } }; ' .
     'function g() { return new K().v() + 1 }', 'done'],
    ['stay', 'l = 5; g()', 'text 6', 'done'],
    ['another class of the name', 'class K { v() { return 10 } }; g()',
     'text 11', 'done'],
    ['var over let', 'var l = 9; l', 'text 9', 'done'],
    ['function over let', "function l() { return 1 }\nl()", 'text 1', 'done'],
    ['let over function', 'let g = 3; g', 'text 3', 'done'],
    ['const over var', "var w = 1", 'done'],
    ['', 'const w = 2; w', 'text 2', 'done'],
    ['twice in one cell is an error', 'let d = 1; let d = 2', qr/^err /,
     'error ExecutionError'],
    ['await', 'await Promise.resolve(3)', 'text 3', 'done'],
    ['a promise is awaited', 'Promise.resolve(4)', 'text 4', 'done'],
    ['of an await', 'const {a, b: [c]} = await Promise.resolve({a: 1, b: [2]});' .
     ' a + c', 'text 3', 'done'],
    ['stays, too', 'a + c + 1', 'text 4', 'done'],
    ['what is rejected', 'await Promise.reject(new Error("no"))',
     qr/^err Error: no/, 'error ExecutionError'],
    ['an object', '({a:[1,2]})', 'json {"a":[1,2]}', 'done'],
    ['without parentheses', '{a: 1, b: {c: 2}}', 'json {"a":1,"b":{"c":2}}',
     'done'],
    ['a block', '{ let z1 = 5; z1 * 2 }', 'text 10', 'done'],
    ['a Map', 'new Map([[1, 2]])', 'text Map(1) { 1 => 2 }', 'done'],
    ['a circle', 'const o = {}; o.o = o; o', qr/^text <ref/, 'done'],
    ['require', 'require("os").platform()', "text 'linux'", 'done'],
    ['import()', '(await import("os")).default.platform()', "text 'linux'",
     'done'],
    ['import', 'import os, { EOL as end } from "os"; [os.platform(), end]',
     'json ["linux","\n"]', 'done'],
    ['undefined', 'undefined', 'done'],
    ['null', 'null', 'text null', 'done'],
    ['a string', '"s"', "text 's'", 'done'],
    ['a bigint', '10n ** 20n', 'text 100000000000000000000n', 'done'],
    ['a symbol', 'const sy = Symbol("x"); sy', 'text Symbol(x)', 'done'],
    ['NaN, -0', 'let f1 = -0; f1', 'text -0', 'done'],
    ['its directory', 'process.cwd()', "text '$dir'", 'done'],
    ['and __dirname', '__dirname', "text '$dir'", 'done'],
    ['bad syntax', 'let =', qr/^err .*SyntaxError/s, 'error ExecutionError'],
    ['fetch', 'typeof fetch', "text 'function'", 'done'],
    ['instanceof', '[] instanceof Array && new Error("") instanceof Error',
     'text true', 'done'],
    ['a value of a loop', 'for (let k = 0; k < 3; k++) k', 'text 2', 'done'],
    ['a rejection that nobody takes', 'Promise.reject(new Error("late")); ' .
     'await new Promise((r) => setTimeout(r, 20)); 1',
     qr/^err Unhandled rejection: Error: late/, 'text 1', 'done'],
    ['lives on', '2', 'text 2', 'done'],
    ['thrown: no error', 'throw 5', 'err Uncaught 5', 'error ExecutionError'],
    ['imports in strings', '"import(" + `import("x")` + /import\(/.source',
     q{text 'import(import("x")import\\\\('}, 'done'],
    ['nothing', '', 'done'],
    ['a comment', '// x', 'done'],
    ['strict', '"use strict"; undeclared = 4', qr/^err ReferenceError/,
     'error ExecutionError'],
);
{
    my $r = $i->execute($js, 'function thrower() { throw new RangeError("r") }' .
                        "\nthrower()");
    my $e = $r->{frames}[-1];
    is($e->{name}, 'RangeError', 'the true name of an error');
    is($e->{message}, 'r', 'its message');
    like($e->{evalue}, qr/^RangeError: r\n    at thrower \(<cell-\d+>:1:/,
         'its stack');
    unlike($e->{evalue}, qr/executor|node:/, 'only the user\'s part of it');
}
spew("$dir/m.mjs", 'export const here = 8; export default 9;');
spew("$dir/c.js", 'module.exports = 10');
$i->cells($js,
    ['a module beside it', '(await import("./m.mjs")).here', 'text 8', 'done'],
    ['imported', 'import nine, * as all from "./m.mjs"; nine + all.here',
     'text 17', 'done'],
    ['required', 'require("./c.js")', 'text 10', 'done'],
);

# TypeScript.

$i->cells($ts,
    ['types', 'const n: number = 3; n*2', 'text 6', 'done 1'],
    ['enum', 'enum E {A,B}; E.B', 'text 1', 'done 2'],
    ['stay', 'interface P { a: number }; const p = <P>{ a: n }; p',
     'json {"a":3}', 'done'],
    ['await', 'const v: string = await Promise.resolve("s"); v', "text 's'",
     'done'],
    ['bad', 'let a: = 3', qr/^err TypeScript compilation error: /,
     'error TranspileError'],
);
{
    my $e = $i->execute($ts, 'let a: = 3')->{frames}[-1];
    like($e->{evalue}, qr/=/, 'what is wrong');
    is_deeply($e->{traceback}, [], 'no traceback');
}

# Surroundings of a context and of a cell.

{
    mkdir "$dir/lib";
    my $c = $i->context('python', cwd => $dir,
                        env_vars => { A_B => "x y'\n", PYTHONPATH => "$dir/lib",
                                      TZ => 'Etc/GMT-3' });
    spew("$dir/lib/inpath.py", "v = 5\n");
    spew("$dir/incwd.py", "v = 6\n");
    $i->cells($c,
        ['the directory', 'import os; os.getcwd()', "text '$dir'", 'done'],
        ['the environment', 'os.environ["A_B"]', qr/^text "x y'\\n"/, 'done'],
        ['what is read at start', 'import inpath, time; (inpath.v, ' .
         'time.timezone)', 'text (5, -10800)', 'done'],
        ['modules beside it', 'import incwd; incwd.v', 'text 6', 'done'],
        ['PATH', 'os.environ["PATH"] != ""', 'text True', 'done'],
        ['no key', '[k for k in os.environ if "KEY" in k or "SANDBOX" in k]',
         'json []', 'done']);
    my $r = $i->execute($c, 'os.environ.get("A_B"), os.environ.get("N")',
                        env_vars => { A_B => undef, N => '1' });
    is($r->{frames}[0]{text}, q{(None, '1')}, "a cell's own environment");
    $r = $i->execute($c, 'os.environ.get("A_B")[0], os.environ.get("N")');
    is($r->{frames}[0]{text}, q{('x', None)}, 'is taken back');

    $c = $i->context('javascript', envVars => { X_Y => '1' });
    $r = $i->execute($c, 'process.env.X_Y + process.env.Z',
                     envVars => { Z => '2' });
    is($r->{frames}[0]{text}, q{'12'}, 'as in JavaScript');
    $r = $i->execute($c, 'process.env.X_Y + process.env.Z');
    is($r->{frames}[0]{text}, q{'1undefined'}, 'taken back there, too');
}

is($i->agent->stop, 0, 'the agent ends in order');
is_deeply($i->agent->{left} || [], [], 'and leaves nothing behind');

done_testing();
