// A process that runs for long: started, left, and found again by its id, with
// the output from where one had stopped reading.

import { getSandbox, parseSSEStream } from 'ngx-sandbox';

const sandbox = getSandbox({
  endpoint: process.env.SANDBOX_ENDPOINT ?? 'http://127.0.0.1:8080',
  apiKey: process.env.SANDBOX_API_KEY,
}, 'example-process');

let offset = 0;

/** Reads lines until `until` is seen, or to the end. */
async function read(until) {
  const stream = await sandbox.streamProcessLogs('build',
    { stdoutOffset: offset, offsets: true });

  for await (const event of parseSSEStream(stream)) {
    if (event.type === 'stdout') {
      process.stdout.write(event.data);
      offset = event.next;
      if (until && event.data.includes(until)) return null;
    } else if (event.type === 'exit') {
      return event.exitCode;
    }
  }
}

try {
  await sandbox.startProcess(
    'for i in 1 2 3 4 5; do echo step $i; sleep 0.2; done; exit 3',
    { processId: 'build' });

  await read('step 2');
  console.log('-- away, and back again');
  console.log('exit code', await read());
} finally {
  await sandbox.destroy();
}
