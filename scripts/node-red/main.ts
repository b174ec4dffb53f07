// npm run check:node-red: the flow of config/node-red in the real Node-RED. See docs/dashboards.md.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';

const NODE_RED_VERSION = '5.0.7';

const root = join(import.meta.dirname, '../..');
const dir = join(root, '.cache/node-red');
const run = (command: string, args: readonly string[], env: Record<string, string> = {}): void => {
  const options = { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } } as const;
  const { status, error } = spawnSync(command, args, options);
  if (error) process.stderr.write(`cannot run ${command}: ${error.message}\n`);
  if (status !== 0) process.exit(status ?? 1);
};

const manifest = join(dir, 'node_modules/node-red/package.json');
const installed = existsSync(manifest)
  ? (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
  : null;
if (installed !== NODE_RED_VERSION) {
  mkdirSync(dir, { recursive: true });
  process.stdout.write(`installing node-red ${NODE_RED_VERSION} into .cache/node-red (120 MB)\n`);
  run('npm', [
    ...['install', '--prefix', dir, '--save-exact', '--no-audit', '--no-fund', '--ignore-scripts'],
    `node-red@${NODE_RED_VERSION}`,
  ]);
}
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
run(process.execPath, [vitest, 'run', 'test/integration/central/node-red.test.ts'], {
  SWELLSIGHT_NODE_RED: dir,
});
