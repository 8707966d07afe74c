// Runs cells of JavaScript and TypeScript for the agent: requests come on one
// descriptor, events go to another, what a cell prints goes to its own pipes.
// Most cells run as V8's REPL runs them (Runtime.evaluate with replMode):
// top-level await, and const, let and class that stay and may be declared
// anew.  Those that need none of this take the shorter way of vm.Script.
(require) => {
'use strict';

const fs = require('fs');
const inspector = require('inspector');
const Module = require('module');
const net = require('net');
const path = require('path');
const url = require('url');
const util = require('util');
const vm = require('vm');

const REQUESTS = 240, EVENTS = 241, SOURCE = 242, STOP = 243;
const PAYLOAD_MAX = 12 * 1024 * 1024;   // of one event; the agent takes 16 MiB
const TEXT_MAX = 1024 * 1024;
const REQUEST_MAX = 128 * 1024 * 1024;

// A cell may replace what it finds, and a const of its own goes before what is
// global: keep what is needed here.
const { Atomics, BigInt, Buffer, Date, Error, Int32Array, JSON, Math, Number,
        Object, Promise, Set, SharedArrayBuffer, String, Symbol, clearInterval,
        console, globalThis, process, setImmediate, setInterval,
        setTimeout } = global;
const { stringify, parse } = JSON;
const { writeSync, readSync } = fs;
const dlopen = process.dlopen.bind(process);
const { isPromise, isProxy } = util.types;
const { inspect } = util;
const on = process.on.bind(process);

const IMPORT = '__sandbox_import__', TAKE = '__sandbox_take__';
let session = null;         // of the inspector

let current = null;         // the run: { id, interrupt }
let language = 'javascript';
let taken, taker;           // a value on its way out of the inspector
let stopGuard = null;       // shared with the guard: whom to stop, is it at it
let importModule = (name, options) => import(name, options);


// ---- Events ---------------------------------------------------------------

function writeAll(fd, buffer) {
    for (let off = 0; off < buffer.length;) {
        try {
            off += writeSync(fd, buffer, off);
        } catch (e) {
            if (e.code !== 'EAGAIN' && e.code !== 'EINTR')
                throw e;
        }
    }
}

// The last events of a cell go out with the one that says so.
let held = null;
let warming = false;

function send(kind, payload = '') {
    const length = Buffer.byteLength(payload);
    const frame = Buffer.allocUnsafe(5 + length);

    frame.writeUInt32LE(length, 0);
    frame[4] = kind.charCodeAt(0);
    frame.write(payload, 5);

    if (warming) {
        held = null;
    } else if (held !== null && kind !== 'z') {
        held.push(frame);
    } else if (held !== null && held.length > 0) {
        held.push(frame);
        writeAll(EVENTS, Buffer.concat(held));
        held = null;
    } else {
        writeAll(EVENTS, frame);
        held = null;
    }
}

function cut(text) {
    return text.length > TEXT_MAX
        ? `${text.slice(0, TEXT_MAX)}... (${text.length} characters)` : text;
}

function result(format, json) {
    if (json.length > PAYLOAD_MAX) {
        format = 'text';
        json = stringify(`<a result of ${json.length} characters is too long `
                         + 'to be sent>');
    }
    send('d', `{"${format}":${json},"metadata":{}}`);
}

// JSON would lose what these hold.
function onlyText(value) {
    return isProxy(value) || util.types.isMap(value) || util.types.isSet(value)
        || util.types.isRegExp(value) || util.types.isNativeError(value)
        || isPromise(value) || util.types.isWeakMap(value)
        || util.types.isWeakSet(value) || util.types.isAnyArrayBuffer(value)
        || ArrayBuffer.isView(value) || util.types.isBoxedPrimitive(value)
        || util.types.isGeneratorObject(value)
        || util.types.isModuleNamespaceObject(value)
        || value instanceof Error;
}

function show(value) {
    let json;

    if (value === undefined)
        return;
    if (value !== null && typeof value === 'object' && !onlyText(value)) {
        try {
            json = stringify(value);
        } catch {
            json = undefined;
        }
    }
    if (json !== undefined)
        result('json', json);
    else
        result('text', stringify(cut(inspect(value))));
}

// The stack without what is ours or Node's.
function cleanStack(stack) {
    const lines = stack.split('\n');

    return lines.filter((line) => !/^ {4}at /.test(line)
        || !/<executor>|\(?node:|Session\.post|new Promise \(<anonymous>\)/
            .test(line)).join('\n');
}

function report(error, where) {
    let name = 'Error', message, stack;

    try {
        if (util.types.isNativeError(error) || error instanceof Error) {
            name = String(error.name || 'Error');
            message = String(error.message);
            stack = cleanStack(String(error.stack
                                      || `${name}: ${message}`));
            if (where && name === 'SyntaxError')
                stack = `${where}\n${stack}`;
        } else {
            message = inspect(error);
            stack = `Uncaught ${message}`;
        }
    } catch {
        message = 'the error has no text';
        stack = message;
    }

    name = name.slice(0, 200);
    message = message.slice(0, 65536);
    stack = stack.slice(0, 65536);

    const special = name === 'TranspileError' || name === 'KeyboardInterrupt';

    try {
        if (name !== 'KeyboardInterrupt')
            writeAll(2, Buffer.from(name === 'TranspileError'
                ? `TypeScript compilation error: ${message}` : stack));
    } catch { /* it was closed */ }
    send('e', stringify({
        ename: special ? name : 'ExecutionError',
        evalue: special ? message : stack,
        traceback: special ? [] : stack.split('\n'),
        name, message, value: message,
    }));
}


// ---- The text of a cell ---------------------------------------------------

// Before these a slash begins a regular expression.
const BEFORE_REGEX = new Set(['return', 'typeof', 'case', 'in', 'of', 'delete',
    'void', 'throw', 'new', 'else', 'do', 'await', 'yield', 'instanceof']);

// Tokens, as far as it takes to find words and brackets: [text, start, end,
// depth].  A guess only where a slash could be both things.
function tokens(code) {
    const found = [], templates = [];
    const word = /[\p{ID_Continue}$\u200c\u200d]+/uy;
    let i = 0, depth = 0, last = null, newline = false;

    const push = (end) => {
        last = [code.slice(i, end), i, end, depth];
        found.push(last);
        newline = false;
        i = end;
    };
    const template = () => {
        // Behind the opening ` or the } of a substitution.
        let j = i + 1;

        while (j < code.length) {
            if (code[j] === '\\') {
                j += 2;
            } else if (code[j] === '`') {
                return push(j + 1);
            } else if (code[j] === '$' && code[j + 1] === '{') {
                templates.push(depth);
                depth++;
                last = ['${', i, j + 2, depth];
                found.push(last);
                i = j + 2;
                return undefined;
            } else {
                j++;
            }
        }
        return push(code.length);
    };

    while (i < code.length) {
        const c = code[i], two = code.slice(i, i + 2);

        if (/\s/.test(c)) {
            newline ||= c === '\n';
            i++;
        } else if (two === '//' || (i === 0 && two === '#!')) {
            const end = code.indexOf('\n', i);
            i = end < 0 ? code.length : end;
        } else if (two === '/*') {
            const end = code.indexOf('*/', i + 2);
            i = end < 0 ? code.length : end + 2;
        } else if (c === '"' || c === "'") {
            let j = i + 1;
            while (j < code.length && code[j] !== c && code[j] !== '\n')
                j += code[j] === '\\' ? 2 : 1;
            push(Math.min(j + 1, code.length));
        } else if (c === '`') {
            template();
        } else if (c === '/') {
            const word_ = last && /^[\p{ID_Continue}$]/u.test(last[0]);
            const regex = last === null || (word_ ? BEFORE_REGEX.has(last[0])
                : last[0] === '}' ? newline : !/^[)\]"'`]/.test(last[0]));
            let j = i + 1, inside = false;

            if (regex) {
                for (; j < code.length && code[j] !== '\n'; j++) {
                    if (code[j] === '\\')
                        j++;
                    else if (code[j] === '[')
                        inside = true;
                    else if (code[j] === ']')
                        inside = false;
                    else if (code[j] === '/' && !inside)
                        break;
                }
                word.lastIndex = ++j;
                if (word.test(code))
                    j = word.lastIndex;
            }
            push(Math.min(j, code.length));
        } else if (c === '}' && templates.length
                   && templates[templates.length - 1] === depth - 1) {
            depth = templates.pop();
            template();
        } else if ('([{'.includes(c)) {
            push(i + 1);
            depth++;
        } else if (')]}'.includes(c)) {
            depth = Math.max(0, depth - 1);
            push(i + 1);
        } else {
            word.lastIndex = i;
            push(word.test(code) ? word.lastIndex : i + 1);
        }
    }

    return found;
}

// Changes: [start, end, text], in order.
function edit(code, changes) {
    let out = '', at = 0;

    for (const [start, end, text] of changes) {
        out += code.slice(at, start) + text;
        at = end;
    }
    return out + code.slice(at);
}

// import() of a cell starts at the cell's directory.
function dynamicImports(code) {
    const list = tokens(code), changes = [];

    list.forEach(([text, start, end], i) => {
        if (text === 'import' && list[i + 1] && list[i + 1][0] === '('
            && !(i > 0 && list[i - 1][0] === '.'))
            changes.push([start, end, IMPORT]);
    });
    return edit(code, changes);
}

// import a, { b as c } from "d" becomes a const of what import() gives.
function staticImports(code) {
    const list = tokens(code), changes = [];
    let count = 0;

    for (let i = 0; i < list.length; i++) {
        if (list[i][0] !== 'import' || list[i][3] !== 0
            || (i + 1 < list.length && /^[(.]$/.test(list[i + 1][0])))
            continue;

        let j = i + 1;
        while (j < list.length && !/^["']/.test(list[j][0]))
            j++;
        if (j === list.length)
            return null;

        const clause = code.slice(list[i][2], list[j][1])
            .replace(/\bfrom\s*$/, '').trim();
        const from = `await ${IMPORT}(${list[j][0]})`;
        const star = /\*\s*as\s+([\p{ID_Continue}$]+)/u.exec(clause);
        const braces = /\{([^]*)\}/.exec(clause);
        const first = /^([\p{ID_Continue}$]+)\s*(?:,|$)/u.exec(clause);
        const names = braces
            ? braces[1].replace(/\s+as\s+/g, ': ').trim() : '';
        let text = '';

        if (clause === '') {
            text = from;
        } else {
            const ns = star ? star[1] : `__sandbox_module_${count++}__`;
            text = `const ${ns} = ${from}`;
            if (first)
                text += `, {default: ${first[1]}} = ${ns}`;
            if (names)
                text += `, {${names}} = ${ns}`;
        }
        changes.push([list[i][1], list[j][2], text]);
        i = j;
    }

    return changes.length ? edit(code, changes) : null;
}

// The kind of an earlier declaration is in the way of this one (var and
// function against let, const and class): declare it as the other kind.
function otherKind(code, name) {
    const list = tokens(code), changes = [];
    const lexical = vmTypeof(name) === 'lexical';

    for (let i = 0; i + 1 < list.length; i++) {
        const [text, start, end, depth] = list[i];

        if (depth !== 0)
            continue;
        if ((text === 'let' || text === 'const') && !lexical) {
            changes.push([start, end, 'var']);
        } else if (text === 'var' && lexical) {
            changes.push([start, end, 'let']);
        } else if ((text === 'class' || text === 'function'
                    || (text === 'async' && list[i + 1][0] === 'function'))
                   && (i === 0 || /^[;})]$/.test(list[i - 1][0])
                       || code.slice(list[i - 1][2], start).includes('\n'))) {
            let j = i + (text === 'async' ? 2 : 1);
            if (list[j] && list[j][0] === '*')
                j++;
            if (!list[j] || list[j][0] !== name)
                continue;
            while (j < list.length
                   && !(list[j][0] === '}' && list[j][3] === 0))
                j++;
            if (j < list.length) {
                changes.push([start, start, `${lexical ? 'let' : 'var'} `
                              + `${name} = `]);
                changes.push([list[j][2], list[j][2], ';']);
            }
        }
    }
    return changes.length ? edit(code, changes) : null;
}

function vmTypeof(name) {
    return Object.prototype.hasOwnProperty.call(globalThis, name)
        ? 'global' : 'lexical';
}


// ---- Running --------------------------------------------------------------

class KeyboardInterrupt extends Error {
    constructor() {
        super('The cell was interrupted');
        this.name = 'KeyboardInterrupt';
        this.stack = 'KeyboardInterrupt: The cell was interrupted';
    }
}

// The value that the inspector only describes.
function fetchValue(remote) {
    if (remote.objectId === undefined) {
        if (remote.unserializableValue === undefined)
            return remote.type === 'undefined' ? undefined : remote.value;
        if (remote.type === 'bigint')
            return BigInt(remote.unserializableValue.slice(0, -1));
        return Number(remote.unserializableValue);
    }

    session.post('Runtime.callFunctionOn', {
        objectId: taker, arguments: [{ objectId: remote.objectId }],
        functionDeclaration: 'function(v) { this(v); }',
        silent: true }, () => {});
    const value = taken;
    taken = undefined;
    return value;
}

// Before a cell of this kind nothing hides what is global.
function openSession() {
    session = new inspector.Session();
    session.connect();
    define(TAKE, (value) => { taken = value; });
    session.post('Runtime.evaluate', { expression: `globalThis.${TAKE}` },
                 (e, r) => { taker = r.result.objectId; });
    delete globalThis[TAKE];
}

async function evaluateRepl(code, name) {
    if (session === null)
        openSession();

    const expression = `${code}\n//# sourceURL=${name}`;
    const answer = await new Promise((resolve, reject) => {
        session.post('Runtime.evaluate',
            { expression, replMode: true, objectGroup: 'cell', silent: true },
            (e, r) => e ? reject(e) : resolve(r));
    });

    const details = answer.exceptionDetails;
    const remote = details && details.exception || answer.result;
    const value = fetchValue(remote);

    session.post('Runtime.releaseObjectGroup', { objectGroup: 'cell' });

    if (details) {
        const line = (details.lineNumber || 0) + 1;
        throw Object.assign(new Thrown(), { value,
            where: `${name}:${line}` });
    }
    return { value };
}

// What a cell threw, which may be anything.
class Thrown { }

function compiles(code) {
    try {
        new vm.Script(code);
        return true;
    } catch {
        return false;
    }
}

// {a: 1} is meant as an object.
function asExpression(code) {
    const text = code.trim();

    if (text.startsWith('{') && text.endsWith('}')
        && (compiles(`(${code}\n)`)
            || compiles(`(async () => (${code}\n))`)))
        return `(${code}\n)`;
    return code;
}

const DECLARES = /\b(?:const|let|class|await|async|using|function|var)\b/;
const SIMPLE = /^[\w\s.,+\-*%<>=!&|?:;'"]*$/;

async function evaluateOnce(code, name) {
    if (DECLARES.test(code))
        return evaluateRepl(code, name);

    return { value: new vm.Script(code, { filename: name })
        .runInThisContext({ displayErrors: false }) };
}

async function evaluate(code, name) {
    if (/\bimport\b/.test(code))
        code = dynamicImports(code);
    code = asExpression(code);

    for (let tries = 0; ; tries++) {
        try {
            return await evaluateOnce(code, name);
        } catch (e) {
            const error = e instanceof Thrown ? e.value : e;
            let other = null;

            if (util.types.isNativeError(error)
                && error.name === 'SyntaxError' && tries < 30) {
                const again = /^Identifier '(.+)' has already been declared$/
                    .exec(error.message);
                if (/^Cannot use import statement/.test(error.message))
                    other = staticImports(code);
                else if (again
                         && compiles(`(async () => {${code}\n})`))
                    other = otherKind(code, again[1]);
            }
            if (other === null || other === code)
                throw e;
            code = other;
        }
    }
}

// Nothing in JavaScript can interrupt a loop: another thread does it, when the
// agent asks for it and this thread hasn't answered the signal before.  What
// it ends is all that is on the stack, so cells run on one of their own.
const OF_RUN = 0, BUSY = 1, HEARD = 2;

// It is started ahead of what needs it, but not while a first cell runs that
// may do without: it takes as long as a Node.js, much on a slow machine.
const GUARD_MS = 1000;

function guard() {
    if (stopGuard !== null)
        return;
    stopGuard = new Int32Array(new SharedArrayBuffer(12));
    if (current !== null)
        Atomics.store(stopGuard, OF_RUN, current.id);
    try {
        const { Worker } = require('worker_threads');
        const worker = new Worker(`
            const { workerData: shared } = require('worker_threads');
            const inspector = require('inspector');
            const stop = new (require('net').Socket)({ fd: ${STOP},
                readable: true, writable: false });

            function wanted(b) {
                for (let i = 0; i + 4 <= b.length; i += 4) {
                    if (b.readInt32LE(i) === Atomics.load(shared, ${OF_RUN})
                        && b.readInt32LE(i) !== Atomics.load(shared, ${HEARD}))
                        return true;
                }
                return false;
            }

            stop.on('error', () => {});
            stop.on('data', (b) => {
                Atomics.store(shared, ${BUSY}, 1);
                if (!wanted(b)) {
                    Atomics.store(shared, ${BUSY}, 0);
                    return;
                }
                const session = new inspector.Session();
                session.connectToMainThread();
                session.post('Runtime.terminateExecution', () => {
                    session.disconnect();
                    Atomics.store(shared, ${BUSY}, 0);
                });
            });`, { eval: true, workerData: stopGuard });
        worker.on('error', () => {});
        worker.unref();
    } catch { /* then a loop costs the context */ }
}

// What the guard stops now must not be the next cell.
function guardIsQuiet() {
    return new Promise((resolve) => {
        const look = setInterval(() => {
            if (Atomics.load(stopGuard, BUSY) === 0) {
                clearInterval(look);
                resolve();
            }
        }, 1);
    });
}


// ---- TypeScript -----------------------------------------------------------

class TranspileError extends Error {
    constructor(message) {
        super(message);
        this.name = 'TranspileError';
    }
}

const ESBUILD_OPTIONS = { loader: 'ts', logLevel: 'silent',
    tsconfigRaw: '{"compilerOptions":{"verbatimModuleSyntax":true}}' };

let transpiler;             // undefined: not looked for; null: there is none

function inPath(name) {
    for (const dir of (process.env.PATH || '').split(':')) {
        const file = path.join(dir || '.', name);
        try {
            fs.accessSync(file, fs.constants.X_OK);
            return file;
        } catch { /* look on */ }
    }
    return null;
}

function stripTypes(code) {
    const emitWarning = process.emitWarning;

    process.emitWarning = () => {};
    try {
        return Module.stripTypeScriptTypes(code, { mode: 'transform' });
    } catch (e) {
        throw new TranspileError(String(e.message).split('\n')[0]);
    } finally {
        process.emitWarning = emitWarning;
    }
}

function esbuildProgram(file) {
    return (code) => {
        const { spawnSync } = require('child_process');
        const r = spawnSync(file, ['--loader=ts', '--log-level=error',
            '--color=false', `--tsconfig-raw=${ESBUILD_OPTIONS.tsconfigRaw}`],
            { input: code, maxBuffer: 64 * 1024 * 1024 });
        const text = String(r.stderr || '');
        const error = /\[ERROR\] (.*)/.exec(text);

        if (r.signal === 'SIGINT')
            throw new KeyboardInterrupt();
        if (r.error || r.status !== 0)
            throw new TranspileError(error ? error[1].replace(/"/g, '')
                : text.trim() || String(r.error || 'esbuild failed'));
        return String(r.stdout);
    };
}

function esbuildModule(esbuild) {
    return async (code) => {
        try {
            return (await esbuild.transform(code, ESBUILD_OPTIONS)).code;
        } catch (e) {
            const first = e.errors && e.errors[0];
            throw new TranspileError(first ? first.text.replace(/"/g, '')
                                     : String(e.message));
        }
    };
}

function findTranspiler() {
    if (transpiler !== undefined)
        return transpiler;

    transpiler = null;
    if (typeof Module.stripTypeScriptTypes === 'function') {
        transpiler = stripTypes;
        return transpiler;
    }

    const program = inPath('esbuild');
    const places = [process.cwd(), '/usr/local/lib', '/usr/lib',
                    path.join(path.dirname(process.execPath), '../lib')];
    try {
        transpiler = esbuildModule(require(require.resolve('esbuild',
            { paths: places })));
    } catch {
        if (program !== null)
            transpiler = esbuildProgram(program);
    }
    return transpiler;
}

const NO_TYPESCRIPT = 'TypeScript needs Node.js 22.13 or newer, or esbuild; '
    + 'neither is in this sandbox';


// ---- Cells ----------------------------------------------------------------

function unwritten() {
    return process.stdout.writableLength + process.stderr.writableLength > 0;
}

async function flush() {
    for (const stream of [process.stdout, process.stderr]) {
        if (stream.writableLength > 0)
            await new Promise((done) => { stream.write('', done); });
    }
}

function begin(request) {
    current = { id: request.id, asked: false };
    current.interrupted = new Promise((resolve, reject) => {
        current.interrupt = () => reject(new KeyboardInterrupt());
    });
    current.interrupted.catch(() => {});
    current.env = {};

    for (const [k, v] of Object.entries(request.env || {})) {
        current.env[k] = process.env[k];
        setEnv(k, v);
    }
    if (!process.listeners('SIGINT').includes(onSigint))
        on('SIGINT', onSigint);
    if (stopGuard !== null) {
        Atomics.store(stopGuard, HEARD, 0);
        Atomics.store(stopGuard, OF_RUN, current.id);
    }
}

function isSimple(code) {
    return language !== 'typescript' && SIMPLE.test(code)
        && !/\b(?:for|while|do)\b/.test(code) && !DECLARES.test(code);
}

// The value of a cell.  The stack it runs on may be ended at any place.
async function valueOf(request) {
    const name = `<cell-${request.count}>`;
    let code = request.code;

    if (isSimple(code))
        return (await evaluate(code, name)).value;
    guard();

    if (language === 'typescript') {
        const convert = findTranspiler();
        if (convert === null)
            throw new TranspileError(NO_TYPESCRIPT);
        code = await convert(code);
    }
    const { value } = await evaluate(code, name);

    return value;       // a promise is awaited
}

async function execute(request) {
    begin(request);

    const run = current;
    const result = Promise.resolve(request).then(valueOf);

    try {
        const value = await Promise.race([result, run.interrupted]);
        if (run.over)
            return;
        if (unwritten())
            await flush();
        held = [];
        show(value);
    } catch (e) {
        if (run.over)
            return;
        if (unwritten())
            await flush();
        held ??= [];
        if (e instanceof Thrown)
            report(e.value, e.where);
        else
            report(e);
    }
    result.catch(() => {});

    if (stopGuard !== null) {
        Atomics.store(stopGuard, OF_RUN, 0);
        if (Atomics.load(stopGuard, BUSY) !== 0)
            await guardIsQuiet();
    }
    finish(run);
}

function finish(run) {
    if (run.over)
        return;
    run.over = true;
    for (const [k, v] of Object.entries(run.env))
        setEnv(k, v);
    current = null;
    send('z', String(run.id));
}

// The agent asks again after a second: if the first time has led to nothing,
// what should have ended the cell was ended itself.
function onSigint() {
    const run = current;

    if (run === null)
        return;
    if (stopGuard !== null)
        Atomics.store(stopGuard, HEARD, run.id);
    if (!run.asked) {
        run.asked = true;
        run.interrupt();
        return;
    }
    held = [];
    report(new KeyboardInterrupt());
    if (stopGuard !== null)
        Atomics.store(stopGuard, OF_RUN, 0);
    finish(run);
    working = false;
    serve();
}

// The agent has interrupted a cell, and it is over: what is on its way must
// not meet the next one.  The loop sees a signal within two turns.
function sync(request) {
    setTimeout(() => setImmediate(() => send('z', String(request.id))), 1);
}

function setEnv(k, v) {
    if (v === null || v === undefined)
        delete process.env[k];
    else
        process.env[k] = v;
}

function define(name, value, writable = true) {
    Object.defineProperty(globalThis, name, { value, writable,
        configurable: true, enumerable: false });
}

// Where require() and import() of cells start.
function locate(dir) {
    const file = path.join(dir, 'cell.js');
    const required = Module.createRequire(file);

    define('require', required);
    define('module', { exports: {}, id: '.', filename: file, loaded: false,
                       children: [], paths: Module._nodeModulePaths
                           ? Module._nodeModulePaths(dir) : [] });
    define('exports', globalThis.module.exports);
    define('__dirname', dir);
    define('__filename', file);

    const own = vm.constants
        && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
    if (own !== undefined) {
        importModule = new vm.Script('(name, options) => import(name, options)',
            { filename: file, importModuleDynamically: own })
            .runInThisContext();
    } else {
        importModule = async (name, options) => {
            if (/^\.{0,2}\//.test(name))
                name = url.pathToFileURL(path.resolve(dir, name)).href;
            try {
                return await import(name, options);
            } catch (e) {
                if (e.code !== 'ERR_MODULE_NOT_FOUND' || /^\w+:/.test(name))
                    throw e;
                return import(url.pathToFileURL(required.resolve(name)).href,
                              options);
            }
        };
    }
    define(IMPORT, (name, options) => importModule(`${name}`, options));
}

function configure(request) {
    let problem = '';

    try {
        process.chdir(request.cwd);
        locate(request.cwd);
    } catch (e) {
        problem = e.code === 'ENOENT' ? 'No such file or directory'
            : e.code === 'ENOTDIR' ? 'Not a directory'
            : e.code === 'EACCES' ? 'Permission denied' : e.message;
    }
    language = request.language;
    for (const [k, v] of Object.entries(request.env || {}))
        setEnv(k, v);
    if (language === 'typescript' && findTranspiler() === null)
        problem = `!${NO_TYPESCRIPT}`;
    send('c', problem);
    setTimeout(() => { if (stopGuard === null) guard(); }, GUARD_MS);
}

// Generators are seeded by a library that begins the source's file: OpenSSL's,
// and with ALL those of V8.  A mark in it asks for that, and another one says
// that it has been done; see seed.c.
const MARK = 15, WHAT = 63, OPENSSL = 'o', ALL = 'a';

function reseed(what) {
    const mark = Buffer.alloc(1);

    try {
        writeSync(SOURCE, mark, 0, 1, MARK);
        writeSync(SOURCE, Buffer.from(what), 0, 1, WHAT);
        dlopen({ exports: {} }, `/proc/self/fd/${SOURCE}`);
    } catch { /* it is no addon */ }
    try {
        readSync(SOURCE, mark, 0, 1, MARK);
    } catch { /* it was closed */ }
    return mark[0] !== 0;
}

// Those of which it is known that nothing else has to be made anew.
const KNOWN = /^v(?:18|20|22)\./;
const LOADS = /(?:^|\s)(?:-r|--(?:require|import|(?:experimental-)?loader))\b/;

// Others go on from the same memory: what is drawn by chance from now on is
// not what they draw.  No cell has run.  Returns why that can't be had.
function ownChance() {
    if (!KNOWN.test(process.version))
        return `Node.js ${process.version} may have other random state`;
    if (Object.keys(require.cache).length > 0
        || LOADS.test([process.env.NODE_OPTIONS, ...process.execArgv]
            .join(' ')))
        return 'modules may have a random state of their own';
    if (!reseed(ALL))
        return 'it has no random state of its own';
    return '';
}

// As if it had been started now.
function ownTime() {
    const { performance } = require('perf_hooks');

    Object.defineProperty(performance, 'timeOrigin', { configurable: true,
        enumerable: true, value: Date.now() - performance.now() });
}

// This process goes on in another machine.  Where cells have run, what they
// have drawn is theirs; nobody has a use for OpenSSL's state.
function renew(request) {
    let problem = '';

    for (const [k, v] of Object.entries(request.env))
        setEnv(k, v);
    try {
        if (request.used) {
            reseed(OPENSSL);
        } else if (request.reseed) {
            ownTime();
            problem = ownChance();
        }
    } catch (e) {
        problem = `it has no chance of its own: ${e}`;
    }
    send('n', problem.slice(0, 500));
}

async function handle(text) {
    const request = parse(text);

    if (request.op === 'open')
        configure(request);
    else if (request.op === 'sync')
        sync(request);
    else if (request.op === 'renew')
        renew(request);
    else
        await execute(request);
}

// One request after another; the agent sends none before the last is done.
let received = [], size = 0, working = false;

async function serve() {
    if (working)
        return;
    working = true;
    while (size >= 4) {
        let all = received.length === 1 ? received[0]
            : Buffer.concat(received);
        const n = all.readUInt32LE(0);
        if (n > REQUEST_MAX)
            process.reallyExit(1);
        if (all.length < 4 + n)
            break;
        received = [all.subarray(4 + n)];
        size -= 4 + n;
        const text = all.toString('utf8', 4, 4 + n);
        all = null;
        await handle(text);
    }
    working = false;
}

function start() {
    on('exit', () => { try { session?.disconnect(); } catch { /* gone */ } });
    on('SIGINT', onSigint);
    on('unhandledRejection', (e) => {
        console.error(`Unhandled rejection: ${cleanStack(inspect(e))}`);
    });
    on('uncaughtException', (e) => {
        console.error(`Uncaught ${cleanStack(inspect(e))}`);
    });
    process.argv.length = 1;

    // Of our own import(), which is none of the user's business.
    const emitWarning = process.emitWarning;
    process.emitWarning = function (warning, ...rest) {
        if (!/USE_MAIN_CONTEXT_DEFAULT_LOADER/.test(String(warning)))
            emitWarning.call(this, warning, ...rest);
    };
    process.stdout.on('error', () => {});
    process.stderr.on('error', () => {});

    const requests = new net.Socket({ fd: REQUESTS, readable: true,
                                      writable: false });
    requests.on('data', (b) => { received.push(b); size += b.length;
                                 serve(); });
    requests.on('close', () => process.reallyExit(0));
    locate(process.cwd());
    warmUp().then(() => send('r'));
}

// The first cell of a context shouldn't be the first of its process.
async function warmUp() {
    warming = true;
    for (let i = 0; i < 25; i++)
        await execute({ id: 0, count: 0, code: '1+1' });
    warming = false;
}

start();
}
