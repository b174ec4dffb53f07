// Entry of the fetching process: what strangers wrote is fetched and looked into only here. One job, then it ends.
import { constants, setPriority } from 'node:os';
import { asAgentError } from '../../base/errors.ts';
import type { FetchDeps } from './download.ts';
import { failureReport, type FetchJob, type FetchReport } from './messages.ts';
import { asSpaceError } from './space.ts';

const ALIVE_EVERY_MS = 1000;
const PROGRESS_EVERY_MS = 500;

let toldMs = -Infinity;

const tell = (report: FetchReport): void => void process.send?.(report);

const deps: FetchDeps = {
  onProgress: (progress) => {
    const nowMs = performance.now();
    if (nowMs - toldMs < PROGRESS_EVERY_MS && progress.bytes !== progress.totalBytes) return;
    toldMs = nowMs;
    tell({ type: 'progress', ...progress });
  },
  onWait: (reason, retryInMs) => tell({ type: 'waiting', reason: reason.slice(0, 300), retryInMs }),
};

async function work(job: FetchJob): Promise<FetchReport> {
  // The control process ends this one when it is to stop.
  const { signal } = new AbortController();
  if (job.kind === 'verify') {
    const { verify } = await import('./verify.ts');
    return { type: 'done', bundle: await verify(job, deps, signal) };
  }
  // Most pushes that are refused end here: what looks into bundles is not even loaded then.
  const { check, download } = await import('./download.ts');
  if (job.kind === 'download') await download(job, deps, signal);
  else await check(job, signal);
  return { type: 'done', bundle: null };
}

process.once('message', (job) => {
  void work(job as FetchJob)
    .catch((thrown: unknown) => failureReport(asAgentError(asSpaceError(thrown))))
    .then((report) => process.send?.(report, () => process.exit(0)));
});
process.once('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole process group of a terminal: the control process decides when this one stops.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

// Frames come first.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
setInterval(() => {
  tell({ type: 'alive', rssMb: Math.round(process.memoryUsage.rss() / 2 ** 20) });
}, ALIVE_EVERY_MS).unref();
