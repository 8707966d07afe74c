// Compiles src/ twice: ES modules, and CommonJS for those who require().
// Node tells the two apart by the package.json next to them.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const tsc = process.env.TSC ?? require.resolve('typescript/bin/tsc');
const out = process.argv[2] ?? join(top, 'dist');

rmSync(out, { recursive: true, force: true });

for (const [dir, type, ...options] of [
  ['esm', 'module', '--module', 'ES2022', '--moduleResolution', 'bundler'],
  ['cjs', 'commonjs', '--module', 'CommonJS', '--moduleResolution', 'node10',
    '--ignoreDeprecations', '5.0', '--verbatimModuleSyntax', 'false'],
]) {
  execFileSync(process.execPath,
    [tsc, '-p', join(top, 'tsconfig.json'), '--outDir', join(out, dir),
      ...options],
    { stdio: 'inherit' });
  mkdirSync(join(out, dir), { recursive: true });
  writeFileSync(join(out, dir, 'package.json'), `{"type":"${type}"}\n`);
  if (!readdirSync(join(out, dir)).includes('index.js')) {
    throw new Error(`${dir} was not built`);
  }
}
