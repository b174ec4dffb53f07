#!/usr/bin/env node
// The command line: starts dist/main.js under a supported Node, and the agent with a small heap.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runChild } from './child.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const main = join(root, 'dist', 'main.js');
const fetchedNode = join(
  root,
  '.tools/node/node_modules',
  `node-${process.platform}-${process.arch}`,
  'bin/node',
);
const minimum = Number(
  /\d+/.exec(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node)[0],
);
const isSupported = Number.parseInt(process.versions.node, 10) >= minimum;
const args = process.argv.slice(2);

// The agent allocates little and runs for years: a small young generation, compact code, and frame memory returned at once.
const LEAN_FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=96', '--optimize-for-size'];
const LEAN_ENV = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '65536' };
const isRun = args[0] === 'run';
const needsLeanHeap = isRun && !process.execArgv.includes(LEAN_FLAGS[0]);

function fail(message) {
  process.stderr.write(`swellsight: ${message}; run \`npm run setup\` first\n`);
  process.exit(69);
}

/** Replaces this process by another Node; where the platform cannot, starts it as a child. */
function replaceProcess(node, nodeArgs, env) {
  if (typeof process.execve === 'function' && process.platform !== 'win32') {
    process.removeAllListeners('warning');
    process.execve(node, [node, ...nodeArgs], env);
  }
  runChild(node, nodeArgs, env);
}

if (!existsSync(main)) fail('not set up yet');
else if (!isSupported && !existsSync(fetchedNode)) fail(`Node ${process.versions.node} is too old`);
else if (!isSupported || needsLeanHeap)
  replaceProcess(
    isSupported ? process.execPath : fetchedNode,
    [...(isRun ? LEAN_FLAGS : []), main, ...args],
    {
      ...process.env,
      ...(isRun ? LEAN_ENV : {}),
    },
  );
else await import(pathToFileURL(main).href);
