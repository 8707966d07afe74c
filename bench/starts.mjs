// Times what a client of the control API sees, against a running system.
//
//   starts.mjs PORT KEY starts N      create → first command, one by one
//   starts.mjs PORT KEY burst N       N at once
//   starts.mjs PORT KEY wake N        a request for a sandbox that sleeps
//   starts.mjs PORT KEY exec N        `true` in a session, beside GET /health
//
// Prints one JSON object.
import http from 'node:http';
import { performance } from 'node:perf_hooks';

const [port, key, what, count] = process.argv.slice(2);
const n = Number(count);
const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });

function request(method, path, body) {
  return new Promise((resolve, reject) => {
    const data = body && JSON.stringify(body);
    const req = http.request({
      agent, host: '127.0.0.1', port, method, path,
      headers: {
        authorization: `Bearer ${key}`,
        ...(data && { 'content-type': 'application/json',
                      'content-length': Buffer.byteLength(data) }),
      },
    }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk) => { text += chunk; });
      res.on('end', () => resolve({ status: res.statusCode, text }));
      res.on('error', reject);
    });
    req.setTimeout(60000, () => req.destroy(new Error(`no answer: ${path}`)));
    req.on('error', reject);
    req.end(data);
  });
}

async function start(id) {
  const begun = performance.now();
  let r = await request('POST', '/v1/sandbox', { id });

  if (r.status !== 200) throw new Error(`create: ${r.status} ${r.text}`);
  r = await request('POST', `/v1/sandbox/${id}/exec`, { argv: ['true'] });
  if (!r.text.includes('"exit_code":0')) {
    throw new Error(`exec: ${r.status} ${r.text}`);
  }
  return performance.now() - begun;
}

const quantile = (list, q) => {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
};
const summary = (list) => ({ p50: quantile(list, 0.5), p99: quantile(list, 0.99),
                             n: list.length });
const ids = Array.from({ length: n }, (_, i) => `b${process.pid}-${i}`);

if (what === 'starts' || what === 'burst') {
  await request('GET', '/health');
  const times = [];
  if (what === 'starts') {
    for (const id of ids) times.push(await start(id));
  } else {
    times.push(...await Promise.all(ids.map(start)));
  }
  for (const id of ids) await request('DELETE', `/v1/sandbox/${id}`);
  console.log(JSON.stringify(summary(times)));
} else if (what === 'wake') {
  const path = '/v1/sandbox/bench-wake';
  const times = [];
  await start('bench-wake');
  for (let i = 0; i < n; i++) {
    await request('POST', `${path}/sleep`);
    const begun = performance.now();
    const r = await request('GET', `${path}/api/ping`);
    if (r.status !== 200) throw new Error(`wake: ${r.status} ${r.text}`);
    times.push(performance.now() - begun);
  }
  await request('DELETE', path);
  console.log(JSON.stringify(summary(times)));
} else {
  const id = 'bench-exec';
  const exec = (extra) => request('POST', `/v1/sandbox/${id}/api/execute`,
    { command: 'true', ...extra });
  const time = async (call) => {
    const times = [];
    for (let i = 0; i < n; i++) {
      const begun = performance.now();
      const r = await call();
      if (r.status !== 200) throw new Error(`${r.status} ${r.text}`);
      times.push(performance.now() - begun);
    }
    return summary(times);
  };
  await exec();
  console.log(JSON.stringify({
    health: await time(() => request('GET', '/health')),
    ping: await time(() => request('GET', `/v1/sandbox/${id}/api/ping`)),
    session: await time(() => exec()),
    sessionless: await time(() => exec({ sessionId: '__DISABLE_SESSION__' })),
  }));
  await request('DELETE', `/v1/sandbox/${id}`);
}
agent.destroy();
