// The npm scripts: set up what is missing, then run the script under a supported Node.
import { dirname, delimiter, join } from 'node:path';
import { runChild } from '../bin/child.mjs';
import { ensureBuild, ensureNode, ensurePackages, ensureSystemPackages, root } from './setup.mjs';

const TASKS = {
  start: { system: [], script: ['bin/swellsight.mjs', 'run', '--pretty'] },
  // Its static checks run while apt installs the packages.
  test: { system: ['camera', 'test'], script: ['scripts/check/main.ts'], startsEarly: true },
  check: { system: [], script: ['scripts/check/main.ts', '--quick'] },
  torture: { system: ['test'], script: ['scripts/torture/main.ts'] },
  'torture:update': { system: ['test'], script: ['scripts/update-torture/main.ts'] },
  'torture:models': { system: [], script: ['scripts/model-torture/main.ts'] },
  bench: { system: ['camera'], script: ['scripts/bench/main.ts'] },
  'check:memory': { system: [], script: ['scripts/memory/main.ts'] },
  'check:sea': { system: [], script: ['scripts/sea-state/main.ts'] },
  'check:breakers': { system: [], script: ['scripts/sea-state/breakers-main.ts'] },
  'check:node-red': { system: ['test'], script: ['scripts/node-red/main.ts'] },
  load: { system: [], script: ['scripts/load/main.ts'] },
  screenshots: { system: ['test'], script: ['scripts/screenshots/main.ts'] },
  fleet: { system: [], script: ['scripts/fleet/main.ts'] },
  'check:image': { system: ['camera', 'image'], script: ['scripts/image/main.ts'] },
  'check:board': { system: ['board'], script: ['scripts/board/main.ts'] },
  package: { system: [], script: ['scripts/package/main.ts'] },
  setup: { system: ['camera', 'test'] },
  build: { system: [] },
};

const startedMs = Date.now();
const [name = '', ...args] = process.argv.slice(2);
const task = TASKS[name];
if (!task) {
  process.stderr.write(`usage: node scripts/task.mjs ${Object.keys(TASKS).join('|')}\n`);
  process.exit(2);
}

const report = (error) => process.stderr.write(`setup failed: ${error.message}\n`);
function fail(error) {
  report(error);
  process.exit(69);
}

// apt and npm mostly wait for the network, so they run at the same time.
const system = ensureSystemPackages(task.system);
let node;
try {
  node = ensureNode();
  ensurePackages(node);
  ensureBuild(node);
} catch (error) {
  await system.catch(() => {});
  fail(error);
}
if (task.startsEarly) system.catch(report);
else await system.catch(fail);
if (!task.script) process.exit(0);

const [script, ...scriptArgs] = task.script;
runChild(
  node,
  [join(root, script), ...scriptArgs, ...args],
  {
    ...process.env,
    CHECK_STARTED_MS: String(startedMs),
    PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`,
  },
  task.startsEarly ? { ready: system } : {},
);
