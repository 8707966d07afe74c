// A terminal in a page.  The key stays here: for each connection the page gets
// a ticket, which opens one WebSocket and is good for a minute.
//
//   npm install @xterm/xterm && node terminal.mjs [PORT]

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { getSandbox } from 'ngx-sandbox';

const sandbox = getSandbox({
  endpoint: process.env.SANDBOX_ENDPOINT ?? 'http://127.0.0.1:8080',
  apiKey: process.env.SANDBOX_API_KEY,
}, 'example-terminal');
const here = new URL('.', import.meta.url);
const files = {
  '/': ['terminal.html', 'text/html'],
  '/xterm.js': ['node_modules/@xterm/xterm/lib/xterm.js', 'text/javascript'],
  '/xterm.css': ['node_modules/@xterm/xterm/css/xterm.css', 'text/css'],
  '/addon.js': ['node_modules/ngx-sandbox/dist/esm/xterm.js',
    'text/javascript'],
};

// The sandbox has to be there: a ticket makes none.
await sandbox.exec('true');

const server = createServer(async (request, response) => {
  try {
    if (request.method === 'POST' && request.url === '/ticket') {
      // Whoever may have a terminal is for your own login to say.
      const ticket = await sandbox.createTicket({
        origin: `http://${request.headers.host}` });

      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify(ticket));
      return;
    }

    const [file, type] = files[request.url] ?? [];

    if (!file) {
      response.writeHead(404).end();
      return;
    }

    response.setHeader('Content-Type', type);
    response.end(await readFile(new URL(file, here)));
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});

server.listen(Number(process.argv[2] ?? 3001), '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${server.address().port}/`));
