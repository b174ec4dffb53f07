#!/usr/bin/env node
// The command line. Re-executes itself under the project's own Node when the machine's is too old.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const main = join(root, 'dist', 'main.js');

if (!existsSync(main)) {
  process.stderr.write('swellsight: not set up yet; run `npm run setup` first\n');
  process.exit(69);
}
if (major > 22 || (major === 22 && minor >= 12)) {
  await import(pathToFileURL(main).href);
} else {
  const own = join(root, '.tools/node/node_modules', `node-${process.platform}-${process.arch}`, 'bin/node');
  if (!existsSync(own)) {
    process.stderr.write(
      `swellsight: Node ${process.versions.node} is too old; run \`npm run setup\` first\n`,
    );
    process.exit(69);
  }
  const child = spawn(own, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal ?? 'SIGTERM']));
}
