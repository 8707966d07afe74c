// The calls of bench/agent.c with the client that most programs have, Node's
// own: a round trip costs it more than the server, and the ratios are those
// that such a program sees.
//
//   agent.mjs AGENT_SOCKET KEY NGINX_SOCKET DIR
//
// Prints medians in milliseconds, as JSON.
import http from 'node:http';
import net from 'node:net';
import { performance } from 'node:perf_hooks';

const [socket, key, nginx, dir] = process.argv.slice(2);

class Preface extends http.Agent {
  createConnection(options, done) {
    const s = net.connect(socket);
    s.once('error', done);
    s.write(`CONTROL ${key}\n`);
    s.once('data', () => done(null, s));      // OK
  }
}

const toAgent = { agent: new Preface({ keepAlive: true, maxSockets: 1 }) };
const toNginx = { agent: new http.Agent({ keepAlive: true, maxSockets: 1 }),
                  socketPath: nginx };

function ask(to, method, path, body, onData) {
  return new Promise((resolve, reject) => {
    const data = body && JSON.stringify(body);
    const r = http.request({ ...to, method, path, headers: data
      ? { 'content-type': 'application/json',
          'content-length': Buffer.byteLength(data) } : {} }, (m) => {
      const parts = [];
      m.on('data', (c) => { onData?.(c); parts.push(c); });
      m.on('end', () => {
        if (m.statusCode !== 200) {
          reject(new Error(`${path}: ${m.statusCode} ${Buffer.concat(parts)}`));
        }
        resolve();
      });
    });
    r.on('error', reject);
    r.end(data);
  });
}

const post = (path, body, onData) => ask(toAgent, 'POST', path, body, onData);
const file = `${dir}/small.txt`;
const kilo = 'x'.repeat(1024);

// Until the text first comes by.
const until = async (text) => {
  const begun = performance.now();
  let took, seen = '';
  await post('/api/execute/stream', { command: 'echo hi' }, (c) => {
    seen += c;
    if (took === undefined && seen.includes(text)) {
      took = performance.now() - begun;
    }
  });
  return took;
};

const calls = {
  HTTP: [2000, () => ask(toNginx, 'POST', '/small', { command: 'true' })],
  ping: [2000, () => ask(toAgent, 'GET', '/api/ping')],
  'exec `true` in a session': [2000,
    () => post('/api/execute', { command: 'true' })],
  'exec `/bin/true`': [500,
    () => post('/api/execute', { command: '/bin/true' })],
  'exec without a session': [300, () => post('/api/execute',
    { command: 'true', sessionId: '__DISABLE_SESSION__' })],
  'stream: first byte': [300, () => until('data')],
  'stream: first stdout': [300, () => until('"stdout"')],
  'write 1 KiB': [1000,
    (i) => post('/api/write', { path: `${dir}/w${i % 100}`, content: kilo })],
  'read 1 KiB': [1000, () => post('/api/read', { path: file })],
  exists: [1000, () => post('/api/exists', { path: file })],
};

// In turns, so that all of them see the same machine.
const times = Object.fromEntries(Object.keys(calls).map((n) => [n, []]));
for (let round = 0; round < 6; round++) {
  for (const [name, [n, call]] of Object.entries(calls)) {
    for (let i = 0; i < n / 5; i++) {
      const begun = performance.now();
      const took = await call(i);
      if (round > 0) times[name].push(took ?? performance.now() - begun);
    }
  }
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
console.log(JSON.stringify(Object.fromEntries(
  Object.entries(times).map(([n, list]) => [n, median(list)]))));
process.exit(0);
