// A front-end project of this machine in a sandbox: Vite serves it behind a
// preview, and what is saved here appears there without a reload.
//
//   node live-preview.mjs PROJECT      (after `npm install` in it)

import { spawn } from 'node:child_process';
import { on } from 'node:events';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { getSandbox } from 'ngx-sandbox';

const project = resolve(process.argv[2] ?? '.');
const sandbox = getSandbox({
  endpoint: process.env.SANDBOX_ENDPOINT ?? 'http://127.0.0.1:8080',
  apiKey: process.env.SANDBOX_API_KEY,
}, 'example-live');
const stop = new AbortController();

process.on('SIGINT', () => stop.abort());
process.on('SIGTERM', () => stop.abort());

// From now on: what is saved while the project is sent is not to be missed.
const changes = on(watch(project, { recursive: true, signal: stop.signal }),
  'change', { signal: stop.signal });

try {
  const tar = spawn('tar', ['-C', project, '-cf', '-', '.']);

  await sandbox.uploadArchive('/workspace', Readable.toWeb(tar.stdout));

  const vite = await sandbox.startProcess(
    'node node_modules/vite/bin/vite.js --host 127.0.0.1 --port 5173',
    { cwd: '/workspace' });

  await vite.waitForPort(5173, { timeout: 60_000 });

  // Vite wants to know the names that it is asked by, but for localhost's.
  const { url } = await sandbox.exposePort(5173);

  console.log(`preview: ${url}`);

  for await (const [, filename] of changes) {
    if (!filename || filename.startsWith('node_modules')) continue;

    try {
      await sandbox.writeFile(`/workspace/${filename}`,
        await readFile(resolve(project, filename)));
      console.log(`sent ${filename}`);
    } catch (error) {
      // Gone again, as editors do it, or a directory.
      if (error.code !== 'ENOENT' && error.code !== 'EISDIR') throw error;
    }
  }
} catch (error) {
  if (error.name !== 'AbortError') throw error;
} finally {
  stop.abort();
  await sandbox.destroy();
}
