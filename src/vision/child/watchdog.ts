import { Worker } from 'node:worker_threads';
import { BYTES_PER_MB, MEMORY_LIMIT_EXCEEDED } from '../messages.ts';

/**
 * Code of the watchdog thread, in plain JavaScript because the worker evaluates it without loading a module. Kills the
 * vision process when the control process has ended, and when resident memory exceeds the hard limit. It needs a
 * thread of its own: native code may block the main thread for any length of time.
 */
const SOURCE = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const parent = process.ppid;
const kill = (reason) => {
  if (reason) try { writeSync(2, reason); } catch {}
  process.kill(process.pid, 'SIGKILL');
};
setInterval(() => {
  if (process.ppid !== parent) kill();
  const rss = process.memoryUsage.rss();
  if (rss > workerData.hardRssBytes) kill('resident size ' + Math.round(rss / 2 ** 20) + ' ${MEMORY_LIMIT_EXCEEDED}');
}, workerData.intervalMs);
`;

const INTERVAL_MS = 250;

/** Starts the watchdog thread. It does not keep the process alive, and its heap is limited to a few megabytes. */
export function startWatchdog(hardRssMb: number): void {
  new Worker(SOURCE, {
    eval: true,
    execArgv: [],
    env: {},
    workerData: { hardRssBytes: hardRssMb * BYTES_PER_MB, intervalMs: INTERVAL_MS },
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
  }).unref();
}
