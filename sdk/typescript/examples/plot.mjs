// Runs Python that nobody has looked at, and keeps the picture that it draws.
//
//   node plot.mjs OUTPUT.png

import { writeFile } from 'node:fs/promises';
import { getSandbox } from 'ngx-sandbox';

const sandbox = getSandbox({
  endpoint: process.env.SANDBOX_ENDPOINT ?? 'http://127.0.0.1:8080',
  apiKey: process.env.SANDBOX_API_KEY,
}, 'example-plot');

const code = `
import matplotlib.pyplot as plt
plt.plot([x * x for x in range(20)])
plt.title("squares")
`;

try {
  const { results, error } = await sandbox.runCode(code, { timeout: 60_000 });

  if (error) throw new Error(`${error.name}: ${error.message}`);

  const png = results.find((result) => result.png)?.png;

  if (!png) throw new Error('the code has drawn nothing');

  await writeFile(process.argv[2] ?? 'plot.png', png, 'base64');
  console.log('drawn');
} finally {
  await sandbox.destroy();
}
