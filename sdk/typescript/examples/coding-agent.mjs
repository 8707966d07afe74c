// The loop of a coding agent: clone, run the tests, edit until they pass, show
// the result.  The "model" is a list of edits.
//
//   node coding-agent.mjs REPOSITORY

import { getSandbox } from 'ngx-sandbox';

const sandbox = getSandbox({
  endpoint: process.env.SANDBOX_ENDPOINT ?? 'http://127.0.0.1:8080',
  apiKey: process.env.SANDBOX_API_KEY,
}, 'example-agent', { sleepAfter: '5m' });

const edits = [
  ['add.py', 'def add(a, b):\n    return a - -b - 1\n'],
  ['add.py', 'def add(a, b):\n    return a + b\n'],
];

try {
  const { targetDir } = await sandbox.gitCheckout(process.argv[2],
    { targetDir: '/workspace/project', depth: 1 });
  const test = () => sandbox.exec('python3 -m unittest -q 2>&1',
    { cwd: targetDir, timeout: 60_000 });

  for (const [file, text] of [[], ...edits]) {
    if (file) await sandbox.writeFile(`${targetDir}/${file}`, text);

    const { success, stdout } = await test();

    if (success) {
      console.log('tests pass');
      break;
    }

    console.log('tests fail:', stdout.split('\n').at(-1));
  }

  const server = await sandbox.startProcess('python3 -m http.server 8000',
    { cwd: targetDir });

  await server.waitForPort(8000, { timeout: 30_000 });
  console.log('preview:', (await sandbox.exposePort(8000)).url);
} finally {
  if (!process.env.KEEP) await sandbox.destroy();
}
