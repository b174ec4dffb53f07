// Writes every generated file. With --check, fails when a generated file differs from the checked-in one.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './setup.mjs';

const { status } = spawnSync(
  process.execPath,
  [join(root, 'scripts', 'generate', 'main.ts'), ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit' },
);
process.exit(status ?? 1);
