// One sandbox, a session for each user: directory, variables and functions are
// the session's own.  Users who mustn't see one another's files need a sandbox
// each.

import { getSandbox } from 'ngx-sandbox';

const sandbox = getSandbox({
  endpoint: process.env.SANDBOX_ENDPOINT ?? 'http://127.0.0.1:8080',
  apiKey: process.env.SANDBOX_API_KEY,
}, 'example-sessions');

try {
  for (const user of ['ada', 'bob']) {
    await sandbox.mkdir(`/workspace/${user}`, { recursive: true });
    await sandbox.createSession({ id: user, cwd: `/workspace/${user}`,
      env: { NAME: user } });
  }

  const ada = await sandbox.getSession('ada');
  const bob = await sandbox.getSession('bob');

  await Promise.all([ada.exec('mkdir notes && cd notes'),
    bob.exec('greeting=hello')]);
  console.log((await ada.exec('echo $NAME in $PWD')).stdout);
  console.log((await bob.exec('echo $greeting $NAME in $PWD')).stdout);
} finally {
  await sandbox.destroy();
}
