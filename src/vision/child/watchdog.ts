import { Worker } from 'node:worker_threads';

/**
 * Runs beside the main thread of the vision process, which native code may hold for ever: ends the process when the
 * control process is gone, and when the resident size passes the hard ceiling. Plain JavaScript, since it is
 * evaluated in a thread that loads nothing.
 */
const SOURCE = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const parent = process.ppid;
const end = (why) => {
  if (why) try { writeSync(2, why); } catch {}
  process.kill(process.pid, 'SIGKILL');
};
setInterval(() => {
  if (process.ppid !== parent) end();
  const rss = process.memoryUsage.rss();
  if (rss > workerData.hardRssBytes) end('resident size ' + Math.round(rss / 2 ** 20) + ' MB is over the ceiling');
}, workerData.everyMs);
`;

const EVERY_MS = 250;

/** Starts the watchdog thread; it never keeps the process alive. Its heap is held to a few megabytes. */
export function startWatchdog(hardRssBytes: number): void {
  new Worker(SOURCE, {
    eval: true,
    execArgv: [],
    env: {},
    workerData: { hardRssBytes, everyMs: EVERY_MS },
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
  }).unref();
}
