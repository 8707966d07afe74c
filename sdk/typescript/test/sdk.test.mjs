// Each method of the library, against a running system.
//
//   SANDBOX_API, SANDBOX_KEY   where it is
//   SANDBOX_SDK                the built library: …/dist/esm/index.js

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

const sdk = await import(process.env.SANDBOX_SDK);
const { getSandbox, listSandboxes, parseSSEStream, collectFile, streamFile }
  = sdk;
const client = { endpoint: process.env.SANDBOX_API,
  apiKey: process.env.SANDBOX_KEY };
const made = [];

function fresh(options, more = {}) {
  const id = `sdk-${randomBytes(5).toString('hex')}`;
  const sandbox = getSandbox({ ...client, ...more }, id, options);

  made.push(sandbox);
  return sandbox;
}

async function events(stream) {
  const all = [];

  for await (const event of parseSSEStream(stream)) all.push(event);

  return all;
}

function rejects(promise, Class, code) {
  return assert.rejects(promise, (error) => {
    assert.ok(error instanceof Class, `${error.constructor.name}: ${error}`);
    assert.ok(error instanceof sdk.SandboxError);
    if (code) assert.equal(error.code, code);
    return true;
  });
}

after(async () => {
  for (const { id } of made) await getSandbox(client, id).destroy();
});

describe('a sandbox', () => {
  let sandbox;

  before(() => {
    sandbox = fresh();
  });

  test('nothing is sent before the first operation', async () => {
    const lazy = fresh();

    await rejects(lazy.getRecord(), sdk.SandboxNotFoundError);
    assert.deepEqual(await lazy.getState(), { status: 'stopped',
      state: 'created', lastChange: 0, reason: null });
    assert.equal(await lazy.getContainerPlacementId(), undefined);
  });

  test('exec: output, exit codes, state of the default session', async () => {
    const result = await sandbox.exec('echo out; echo err >&2; exit_code=7');

    assert.equal(result.success, true);
    assert.equal(result.exitCode, 0);
    assert.equal(result.stdout.trim(), 'out');
    assert.equal(result.stderr.trim(), 'err');
    assert.equal(typeof result.duration, 'number');
    assert.equal((await sandbox.exec('(exit $exit_code)')).exitCode, 7);
    assert.equal((await sandbox.exec('no-such-command')).exitCode, 127);
  });

  test('exec: cwd, env, stdin', async () => {
    assert.equal((await sandbox.exec('pwd', { cwd: '/tmp' })).stdout.trim(),
      '/tmp');
    assert.equal((await sandbox.exec('echo "$A"', { env: { A: "it's" } }))
      .stdout.trim(), "it's");
    assert.equal((await sandbox.exec('wc -c', { stdin: 'three' })).stdout
      .trim(), '5');
  });

  test('exec: a time limit ends the command, not the session', async () => {
    await sandbox.exec('kept=yes');
    await rejects(sandbox.exec('sleep 60', { timeout: 300 }),
      sdk.CommandError, 'COMMAND_EXECUTION_ERROR');
    assert.equal((await sandbox.exec('echo $kept')).stdout.trim(), 'yes');
  });

  test('exec: output as it comes, and the callbacks', async () => {
    const seen = [];
    let complete;
    const result = await sandbox.exec('echo a; echo b >&2; exit 3', {
      stream: true, onOutput: (stream, data) => seen.push([stream, data]),
      onComplete: (r) => { complete = r; } });

    assert.equal(result.exitCode, 3);
    assert.equal(result.success, false);
    assert.deepEqual(seen.map(([s]) => s).sort(), ['stderr', 'stdout']);
    assert.equal(result.stdout, 'a\n');
    assert.equal(complete, result);
  });

  test('exec: aborting stops the waiting', async () => {
    const abort = new AbortController();
    const waiting = sandbox.exec('sleep 3', { signal: abort.signal });

    setTimeout(() => abort.abort(new Error('enough')), 200);
    await assert.rejects(waiting, /enough/);
  });

  test('exec: without a default session', async () => {
    const plain = getSandbox(client, sandbox.id,
      { enableDefaultSession: false });

    await plain.exec('lost=1');
    assert.equal((await plain.exec('echo "<$lost>"')).stdout, '<>\n');
  });

  test('execStream: events in their order, one end', async () => {
    const all = await events(await sandbox.execStream('echo 1; exit 4'));

    assert.equal(all[0].type, 'start');
    assert.deepEqual(all.filter((e) => e.type === 'stdout')
      .map((e) => e.data).join(''), '1\n');
    assert.equal(all.at(-1).type, 'complete');
    assert.equal(all.at(-1).exitCode, 4);
  });

  test('execStream: aborting ends the loop', async () => {
    const abort = new AbortController();
    const stream = await sandbox.execStream('echo go; sleep 60',
      { processId: 'aborted', signal: abort.signal });

    await assert.rejects(async () => {
      for await (const event of parseSSEStream(stream, abort.signal)) {
        if (event.type === 'stdout') abort.abort(new Error('stop'));
      }
    }, /stop/);
    await sandbox.killProcess('aborted');
  });

  test('an unknown error keeps its code', async () => {
    await rejects(sandbox.startProcess(' '), sdk.CommandError,
      'INVALID_COMMAND');
  });
});

describe('processes', () => {
  let sandbox;

  before(() => {
    sandbox = fresh();
  });

  test('start, look, logs, kill', async () => {
    const process = await sandbox.startProcess('echo hello; sleep 60',
      { processId: 'one', env: { A: 'b' } });

    assert.equal(process.id, 'one');
    assert.ok(process.pid > 0);
    assert.equal(await process.getStatus(), 'running');
    assert.equal((await process.waitForLog('hello', 10_000)).line, 'hello');
    assert.equal((await process.getLogs()).stdout, 'hello\n');
    assert.equal((await sandbox.getProcessLogs('one')).processId, 'one');
    assert.ok((await sandbox.listProcesses()).some((p) => p.id === 'one'));
    await process.kill();
    assert.equal(await process.getStatus(), 'killed');
    assert.equal((await sandbox.getProcess('one')).exitCode, 143);
    assert.equal(await sandbox.getProcess('nobody'), null);
    await rejects(sandbox.killProcess('nobody'), sdk.ProcessNotFoundError);
  });

  test('waits: a pattern, an end, limits of time', async () => {
    const process = await sandbox.startProcess(
      'echo listening on 8123; sleep 0.3; exit 5');
    const { match } = await process.waitForLog(/on (\d+)/g, 10_000);

    assert.equal(match[1], '8123');
    assert.deepEqual(await process.waitForExit(20_000), { exitCode: 5 });
    await rejects(process.waitForLog('never', 500),
      sdk.ProcessExitedBeforeReadyError);

    const sleeper = await sandbox.startProcess('sleep 60');

    await rejects(sleeper.waitForExit(200), sdk.ProcessReadyTimeoutError);
    await rejects(sleeper.waitForPort(8999, { mode: 'tcp', timeout: 300 }),
      sdk.ProcessReadyTimeoutError);
    await sleeper.kill('SIGKILL');
    await rejects(sleeper.waitForPort(8999, { mode: 'tcp' }),
      sdk.ProcessExitedBeforeReadyError);
  });

  test('input', async () => {
    const process = await sandbox.startProcess('tr a-z A-Z',
      { stdinOpen: true, stdin: 'one\n' });

    await process.writeStdin('two\n');
    await process.closeStdin();
    assert.deepEqual(await process.waitForExit(20_000), { exitCode: 0 });
    assert.equal((await process.getLogs()).stdout, 'ONE\nTWO\n');
  });

  test('callbacks, and a stream from an offset', async () => {
    const output = [];
    const code = await new Promise((resolve, reject) => {
      void sandbox.startProcess('echo abc; exit 2', { processId: 'told',
        onOutput: (stream, data) => output.push(data), onExit: resolve,
        onError: reject }).catch(reject);
    });

    assert.equal(code, 2);
    assert.equal(output.join(''), 'abc\n');

    const all = await events(await sandbox.streamProcessLogs('told',
      { stdoutOffset: 1 }));

    assert.equal(all.find((e) => e.type === 'stdout').data, 'bc\n');
    assert.equal(all.at(-1).type, 'exit');
  });

  test('all at once', async () => {
    await sandbox.startProcess('sleep 60');
    await sandbox.startProcess('sleep 60');
    assert.ok(await sandbox.killAllProcesses() >= 2);
    assert.equal(await sandbox.cleanupCompletedProcesses(), 0);
  });
});

describe('files', () => {
  let sandbox;

  before(() => {
    sandbox = fresh();
  });

  test('text and bytes, there and back', async () => {
    await sandbox.writeFile('/workspace/a/b.txt', 'zwölf\n');

    const read = await sandbox.readFile('/workspace/a/b.txt');

    assert.equal(read.content, 'zwölf\n');
    assert.equal(read.encoding, 'utf-8');
    assert.equal(read.size, 7);

    const bytes = randomBytes(100_000);

    await sandbox.writeFile('/workspace/raw.bin', new Uint8Array(bytes));
    assert.deepEqual(Buffer.from((await sandbox.readFile('/workspace/raw.bin',
      { encoding: 'base64' })).content, 'base64'), bytes);

    const raw = await sandbox.readFile('/workspace/raw.bin',
      { encoding: 'none' });

    assert.equal(raw.size, 100_000);
    assert.deepEqual(Buffer.from(await new Response(raw.content)
      .arrayBuffer()), bytes);
    await sandbox.writeFile('/workspace/small', 'AAEC', { encoding: 'base64' });
    assert.equal((await sandbox.exec('wc -c < /workspace/small')).stdout
      .trim(), '3');
  });

  test('streams', async () => {
    const source = new Blob(['x'.repeat(300_000), '\n']).stream();

    await sandbox.writeFile('/workspace/long.txt', source);

    const { content, metadata } = await collectFile(
      await sandbox.readFileStream('/workspace/long.txt'));

    assert.equal(content.length, 300_001);
    assert.equal(metadata.size, 300_001);
    assert.equal(metadata.isBinary, false);

    const binary = await collectFile(
      await sandbox.readFileStream('/workspace/raw.bin'));

    assert.ok(binary.content instanceof Uint8Array);
    assert.equal(binary.content.length, 100_000);

    let pieces = 0;

    for await (const piece of streamFile(
      await sandbox.readFileStream('/workspace/long.txt'))) {
      assert.equal(typeof piece, 'string');
      pieces++;
    }
    assert.ok(pieces > 1);
    await rejects(collectFile(await sandbox.readFileStream('/nowhere')),
      sdk.FileNotFoundError);
  });

  test('directories, names, errors', async () => {
    await sandbox.mkdir('/workspace/d/e', { recursive: true });
    await sandbox.writeFile('/workspace/d/.hidden', '');
    await sandbox.writeFile('/workspace/d/seen', '');

    const list = async (options) => (await sandbox.listFiles('/workspace/d',
      options)).files.map((f) => f.name).sort();

    assert.deepEqual(await list(), ['e', 'seen']);
    assert.deepEqual(await list({ includeHidden: true }),
      ['.hidden', 'e', 'seen']);
    assert.equal((await sandbox.exists('/workspace/d/seen')).exists, true);
    await sandbox.renameFile('/workspace/d/seen', '/workspace/d/renamed');
    await sandbox.moveFile('/workspace/d/renamed', '/workspace/moved');
    assert.equal((await sandbox.exists('/workspace/d/seen')).exists, false);
    await sandbox.deleteFile('/workspace/moved');
    await rejects(sandbox.deleteFile('/workspace/moved'),
      sdk.FileNotFoundError, 'FILE_NOT_FOUND');
    await rejects(sandbox.deleteFile('/workspace/d'), sdk.FileSystemError,
      'IS_DIRECTORY');
    await assert.rejects(sandbox.readFile('/workspace/nothing'),
      { name: 'FileNotFoundError', httpStatus: 404,
        path: '/workspace/nothing', operation: 'file.read' });
  });

  test('archives', async () => {
    const tar = await new Response(await sandbox.downloadArchive(
      '/workspace/d')).blob();

    await sandbox.uploadArchive('/workspace/copy', tar);
    assert.equal((await sandbox.exists('/workspace/copy/.hidden')).exists,
      true);
  });

  test('changes', async () => {
    const options = { include: ['*.log'] };
    const first = await sandbox.checkChanges('/workspace', options);
    const stream = await sandbox.watch('/workspace');

    for await (const event of parseSSEStream(stream)) {
      if (event.type === 'watching') {
        await sandbox.writeFile('/workspace/new.log', '');
      } else if (event.type === 'event' && event.path.endsWith('new.log')) {
        break;
      }
    }

    const second = await sandbox.checkChanges('/workspace',
      { ...options, since: first.version });

    assert.equal(second.status, 'changed');
  });

  test('git', async () => {
    await sandbox.exec('git init -q -b main /tmp/origin && cd /tmp/origin && '
      + 'git -c user.email=a@b -c user.name=a commit -q --allow-empty -m a');

    const clone = await sandbox.gitCheckout('file:///tmp/origin',
      { targetDir: '/workspace/clone', depth: 1 });

    assert.equal(clone.branch, 'main');
    await rejects(sandbox.gitCheckout('file:///tmp/none'),
      sdk.GitRepositoryNotFoundError);
    await rejects(sandbox.gitCheckout('-x'), sdk.InvalidGitUrlError);
  });

  test('backups', async () => {
    const backup = await sandbox.createBackup({ dir: '/workspace/d',
      name: 'mine' });

    await sandbox.exec('rm -rf /workspace/d/* && touch /workspace/d/other');
    await sandbox.restoreBackup(backup);
    assert.equal((await sandbox.exists('/workspace/d/e')).exists, true);
    assert.equal((await sandbox.exists('/workspace/d/other')).exists, false);
    await rejects(sandbox.restoreBackup({ ...backup, id: crypto.randomUUID() }),
      sdk.BackupNotFoundError);
    await rejects(sandbox.restoreBackup({ ...backup, id: '../x' }),
      sdk.InvalidBackupConfigError);
    await rejects(sandbox.createBackup({ dir: '/etc' }),
      sdk.InvalidBackupConfigError);
    await rejects(sandbox.mountBucket('b', '/mnt', {}), sdk.NotSupportedError);
    await rejects(sandbox.unmountBucket('/mnt'), sdk.NotSupportedError);
    if (process.env.SANDBOX_MACHINES) await (await sandbox.fork()).destroy();
    else await rejects(sandbox.fork(), sdk.NotSupportedError);
  });
});

describe('code', () => {
  let sandbox;

  before(() => {
    sandbox = fresh();
  });

  test('cells keep their state; results, output, errors', async () => {
    const seen = [];
    const first = await sandbox.runCode('x = 41\nprint("hi")\nx + 1', {
      onStdout: ({ text }) => { seen.push(text); } });

    assert.equal(first.results[0].text, '42');
    assert.equal(first.logs.stdout.join(''), 'hi\n');
    assert.equal(seen.join(''), 'hi\n');
    assert.equal(first.executionCount, 1);
    assert.equal((await sandbox.runCode('x')).results[0].text, '41');

    const failed = await sandbox.runCode('1 / 0');

    assert.equal(failed.error.name, 'ZeroDivisionError');
    assert.equal(failed.error.message, 'division by zero');
    assert.ok(failed.error.traceback.length > 0);
  });

  test('contexts', async () => {
    const context = await sandbox.createCodeContext({ language: 'javascript',
      envVars: { A: 'b' } });

    assert.equal(context.language, 'javascript');
    assert.equal((await sandbox.runCode('process.env.A', { context }))
      .results[0].text, "'b'");
    assert.ok((await sandbox.listCodeContexts())
      .some((c) => c.id === context.id));
    await sandbox.deleteCodeContext(context.id);
    await rejects(sandbox.runCode('1', { context }), sdk.ContextNotFoundError);
    await rejects(sandbox.createCodeContext({ language: 'cobol' }),
      sdk.SandboxSecurityError, 'INVALID_LANGUAGE');
  });

  test('a time limit leaves the state alone; streams', async () => {
    const slow = await sandbox.runCode('while True: pass', { timeout: 500 });

    assert.equal(slow.error.name, 'TimeoutError');
    assert.equal((await sandbox.runCode('x')).results[0].text, '41');

    const all = await events(await sandbox.runCodeStream('print(1)'));

    assert.equal(all.at(-1).type, 'execution_complete');
  });
});

describe('sessions', () => {
  let sandbox;

  before(() => {
    sandbox = fresh();
  });

  test('state of their own, and all the methods', async () => {
    const session = await sandbox.createSession({ id: 'work', cwd: '/tmp',
      env: { A: '1', B: null } });

    assert.equal((await session.exec('cd /usr; echo $A')).stdout.trim(), '1');
    assert.equal((await session.exec('pwd')).stdout.trim(), '/usr');
    assert.equal((await sandbox.exec('pwd')).stdout.trim(), '/workspace');
    await session.setEnvVars({ C: "a'b\nc", A: null });
    assert.equal((await session.exec('echo "$C<$A>"')).stdout.trim(),
      "a'b\nc<>");
    await session.writeFile('/tmp/f', 'x');
    assert.equal((await session.readFile('/tmp/f')).content, 'x');
    assert.ok((await sandbox.listSessions()).includes('work'));
    await rejects(sandbox.createSession({ id: 'work' }),
      sdk.SessionAlreadyExistsError);
    assert.equal((await (await sandbox.getSession('work')).exec('pwd')).stdout
      .trim(), '/usr');
    assert.equal((await sandbox.deleteSession('work')).success, true);
    await rejects(sandbox.deleteSession(`sandbox-${sandbox.id}`),
      sdk.SandboxSecurityError);
    await rejects(session.setEnvVars({ '1x': 'a' }), sdk.CommandError);
  });

  test('one whose shell ends', async () => {
    const session = await sandbox.getSession('short');

    await rejects(session.exec('exit 3'), sdk.SessionTerminatedError);
    assert.equal((await session.exec('echo again')).stdout.trim(), 'again');
  });
});

describe('ports', () => {
  let sandbox;

  before(async () => {
    sandbox = fresh();
    await sandbox.writeFile('/workspace/index.html', 'the page');

    const server = await sandbox.startProcess('python3 -m http.server 8000');

    await server.waitForPort(8000, { timeout: 30_000 });
  });

  test('exposed, listed, looked at, closed', async () => {
    const exposed = await sandbox.exposePort(8000, { name: 'web' });

    assert.equal(exposed.port, 8000);
    assert.ok(exposed.url.includes(exposed.token));
    assert.equal(exposed.access, 'token');
    assert.equal((await sandbox.exposePort(8000)).url, exposed.url);
    assert.deepEqual((await sandbox.listPorts()).map((p) => p.port), [8000]);
    assert.equal((await sandbox.getExposedPorts())[0].url, exposed.url);
    assert.equal(await sandbox.isPortExposed(8000), true);
    assert.equal(await sandbox.validatePortToken(8000, exposed.token), true);
    assert.equal(await sandbox.validatePortToken(8000, 'another1'), false);
    await sandbox.unexposePort(8000);
    assert.equal(await sandbox.isPortExposed(8000), false);
    assert.equal(await sandbox.validatePortToken(8000, exposed.token), false);
    await rejects(sandbox.exposePort(80), sdk.SandboxSecurityError);
    await rejects(sandbox.exposePort(3000), sdk.SandboxSecurityError);
    await rejects(sandbox.exposePort(8000, { token: 'no spaces' }),
      sdk.SandboxError);
  });
});

describe('private ports, and ways of one\'s own', () => {
  let sandbox;

  before(async () => {
    sandbox = fresh();
    await sandbox.writeFile('/workspace/index.html', 'the page');

    const server = await sandbox.startProcess('python3 -m http.server 8000');

    await server.waitForPort(8000, { timeout: 30_000 });
  });

  test('a link to a private port', async () => {
    await sandbox.exposePort(8000, { access: 'private' });

    const link = await sandbox.createPreviewLink(8000, { expires: '10m',
      path: '/index.html' });

    assert.match(link.url, /sandbox_link=/);
    assert.ok(Date.parse(link.expiresAt) > Date.now());
  });

  test("a ticket for somebody's page", async () => {
    const ticket = await sandbox.createTicket({
      origin: 'https://app.example.com', route: '/proxy/8000/live?x=1',
      expires: 30 });

    assert.match(ticket.protocol, /^sandbox-ticket\./);
    assert.equal(ticket.expiresIn, 30);
    assert.equal(ticket.url, `${client.endpoint.replace('http', 'ws')}`
      + `/v1/sandbox/${sandbox.id}/proxy/8000/live?x=1`);
    await rejects(sandbox.createTicket({ origin: 'nowhere' }),
      sdk.SandboxError);
  });

  test('containerFetch: whatever the service says', async () => {
    const found = await sandbox.containerFetch('/index.html?x=1', 8000);

    assert.equal(found.status, 200);
    assert.equal(await found.text(), 'the page');
    assert.equal((await sandbox.containerFetch('/none', 8000)).status, 404);
    assert.equal((await sandbox.containerFetch(
      new Request('http://anything/', { method: 'POST', body: 'x' }), 8000))
      .status, 501);
    await assert.rejects(sandbox.containerFetch('/', 80),
      sdk.SandboxSecurityError);
  });

  test('a terminal', { skip: process.env.SANDBOX_WS || globalThis.WebSocket
    ? false : 'no package ws' }, async () => {
    const ws = process.env.SANDBOX_WS && await import(process.env.SANDBOX_WS);
    const opening = ws ? getSandbox({ ...client, openWebSocket: (url, protocols,
      headers) => new ws.WebSocket(url, protocols, { headers }) }, sandbox.id)
      : sandbox;
    const socket = await opening.terminal({ cols: 100, rows: 30 });
    let seen = '';

    await new Promise((resolve, reject) => {
      socket.addEventListener('error', reject);
      socket.addEventListener('message', ({ data }) => {
        if (typeof data === 'string') {
          if (data.includes('"ready"')) {
            socket.send(new TextEncoder().encode('echo $((6 * 7)); exit 9\n'));
          } else if (data.includes('"exit"')) {
            resolve(assert.equal(JSON.parse(data).code, 9));
          }
        } else {
          seen += new TextDecoder().decode(data);
        }
      });
    });
    assert.match(seen, /42\r\n/);
  });
});

describe('errors on the way', () => {
  test('a wrong key', async () => {
    await rejects(fresh({}, { apiKey: 'wrong' }).exec('true'),
      sdk.UnauthorizedError, 'UNAUTHORIZED');
  });

  test('nobody there', async () => {
    const lost = getSandbox({ endpoint: 'http://127.0.0.1:1', apiKey: 'x',
      retry: { maxAttempts: 2, baseDelayMs: 10 } }, 'nobody');

    await rejects(lost.exec('true'), sdk.ConnectionLostError,
      'CONNECTION_LOST');
  });

  test('ids and endpoints that are none', () => {
    assert.throws(() => getSandbox(client, 'Upper'), sdk.SandboxSecurityError);
    assert.throws(() => getSandbox(client, '../x'), sdk.SandboxSecurityError);
    assert.throws(() => getSandbox({ endpoint: 'x' }, 'a'),
      sdk.SandboxSecurityError);
    assert.equal(getSandbox(client, 'Upper', { normalizeId: true }).id,
      'upper');
  });

  test('503 is tried again, other errors are not, a stream is not', async () => {
    const calls = [];
    const answers = [503, 503, 200];
    const fetch = async (url, init) => {
      calls.push(init.method);

      const status = answers[calls.length - 1] ?? 500;

      return new Response(status === 200 ? '{"exists":true}'
        : '{"error":"busy","code":"busy"}', { status,
        headers: { 'Retry-After': '0' } });
    };
    const stubbed = getSandbox({ ...client, fetch,
      retry: { baseDelayMs: 1 } }, 'stubbed');

    assert.equal((await stubbed.exists('/x')).exists, true);
    assert.equal(calls.length, 3);
    await rejects(stubbed.exec('true'), sdk.SandboxError, 'BUSY');
    assert.equal(calls.length, 4);

    answers.push(500, 503);
    await rejects(stubbed.writeFile('/x', new Blob(['x']).stream()),
      sdk.ContainerUnavailableError);
    assert.equal(calls.length, 5);
  });
});

describe('life', () => {
  test('sleep, wake, options and variables that last', async () => {
    const sandbox = fresh({ sleepAfter: '1h' });

    await sandbox.setEnvVars({ KEPT: 'yes', GONE: 'x' });
    await sandbox.setEnvVars({ GONE: null });
    await sandbox.writeFile('/workspace/kept', 'yes');
    assert.equal((await sandbox.exec('echo $KEPT$GONE')).stdout.trim(), 'yes');
    await sandbox.sleep();
    assert.equal((await sandbox.getState()).state, 'asleep');
    assert.equal(await sandbox.getContainerPlacementId(), null);
    await sandbox.wake();
    assert.equal((await sandbox.getState()).status, 'running');
    assert.equal((await sandbox.exec('echo $KEPT; cat kept')).stdout.trim(),
      'yes\nyes');
    await sandbox.stop();
    await sandbox.setSleepAfter(90);
    await sandbox.setKeepAlive(true);
    await sandbox.setLabels({ a: 'b' });
    await sandbox.setContainerTimeouts({ portReadyTimeoutMS: 60_000 });

    const record = await sandbox.getRecord();

    assert.equal(record.options.sleepAfter, 90);
    assert.equal(record.options.keepAlive, true);
    assert.deepEqual(record.labels, { a: 'b' });
    assert.equal(record.state, 'asleep');

    /* The same id with other options: they are changed. */
    await getSandbox(client, sandbox.id, { sleepAfter: '2h' }).exec('true');
    assert.equal((await sandbox.getRecord()).options.sleepAfter, 7200);
  });

  test('list, destroy, and the id is free again', async () => {
    const sandbox = fresh({ labels: { kind: 'test' }, env: { GREETING: 'hi' } });

    assert.equal((await sandbox.exec('echo $GREETING')).stdout.trim(), 'hi');

    const record = await sandbox.getRecord();

    assert.deepEqual(record.labels, { kind: 'test' });
    assert.equal((await sandbox.getState()).status, 'running');
    assert.match(await sandbox.getContainerPlacementId(), /\.1$/);

    let cursor;
    const ids = [];

    do {
      const page = await listSandboxes(client, { limit: 2, cursor });

      ids.push(...page.sandboxes.map((s) => s.id));
      cursor = page.cursor ?? undefined;
    } while (cursor);
    assert.ok(ids.includes(sandbox.id));

    await sandbox.destroy();
    await rejects(sandbox.getRecord(), sdk.SandboxNotFoundError);
    assert.equal((await sandbox.exec('echo $GREETING')).stdout.trim(), 'hi');
  });
});
