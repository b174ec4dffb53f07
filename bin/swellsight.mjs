#!/usr/bin/env node
// The command line: finds a Node that is new enough, and gives the long-running agent a lean heap.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const main = join(root, 'dist', 'main.js');
const own = join(root, '.tools/node/node_modules', `node-${process.platform}-${process.arch}`, 'bin/node');
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const newEnough = major > 22 || (major === 22 && minor >= 12);
const args = process.argv.slice(2);

// The agent allocates little and lives for years: a small young generation, compact code, and memory of frames given back at once.
const LEAN_FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=96', '--optimize-for-size'];
const LEAN_ENV = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '65536' };
const lean = args[0] === 'run' && !process.execArgv.includes(LEAN_FLAGS[0]);

function fail(message) {
  process.stderr.write(`swellsight: ${message}; run \`npm run setup\` first\n`);
  process.exit(69);
}

/** Becomes another Node process where the platform can, else stays as its parent. */
function become(node, nodeArgs, env) {
  if (typeof process.execve === 'function' && process.platform !== 'win32') {
    process.removeAllListeners('warning');
    process.execve(node, [node, ...nodeArgs], env);
  }
  const child = spawn(node, nodeArgs, { stdio: 'inherit', env });
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal ?? 'SIGTERM']));
}

if (!existsSync(main)) fail('not set up yet');
else if (!newEnough && !existsSync(own)) fail(`Node ${process.versions.node} is too old`);
else if (!newEnough || lean)
  become(newEnough ? process.execPath : own, [...(args[0] === 'run' ? LEAN_FLAGS : []), main, ...args], {
    ...process.env,
    ...(args[0] === 'run' ? LEAN_ENV : {}),
  });
else await import(pathToFileURL(main).href);
