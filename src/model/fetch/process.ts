// Entry of the fetch process. This separate process downloads and parses untrusted data, so that a crash, a hang or too
// much memory there does not affect the agent. It runs one job and exits.
import { constants, setPriority } from 'node:os';
import { asAgentError } from '../../base/errors.ts';
import { asSpaceError } from '../disk-space.ts';
import type { FetchEvents } from './download.ts';
import { MAX_REPORT_TEXT_CHARS, type FetchJob } from './job.ts';
import type { FetchReport } from './report.ts';

const ALIVE_INTERVAL_MS = 1000;
const PROGRESS_INTERVAL_MS = 500;

let lastProgressMs = -Infinity;

const send = (report: FetchReport): void => void process.send?.(report);

const events: FetchEvents = {
  onProgress: (progress) => {
    const nowMs = performance.now();
    if (nowMs - lastProgressMs < PROGRESS_INTERVAL_MS && progress.bytes !== progress.totalBytes) return;
    lastProgressMs = nowMs;
    send({ type: 'progress', ...progress });
  },
  onWait: (reason, retryInMs) => send({ type: 'waiting', reason: reason.slice(0, 300), retryInMs }),
};

async function runJob(job: FetchJob): Promise<FetchReport> {
  // This signal is never aborted: the agent stops a job by killing this process.
  const { signal } = new AbortController();
  if (job.kind === 'newest') {
    const { findNewestAgent } = await import('./newest-agent.ts');
    return { type: 'done', bundle: await findNewestAgent(job, events, signal) };
  }
  if (job.kind === 'verify' && job.product === 'agent') {
    const { verifyAgent } = await import('./verify-agent.ts');
    return { type: 'done', bundle: await verifyAgent(job, events, signal) };
  }
  if (job.kind === 'verify') {
    const { verify } = await import('./verify.ts');
    return { type: 'done', bundle: await verify(job, events, signal) };
  }
  // Most installs that are refused end in the code below: do not load the code that parses bundles for them.
  const { checkBlocks, download } = await import('./download.ts');
  if (job.kind === 'download') await download(job, events, signal);
  else await checkBlocks(job, signal);
  return { type: 'done', bundle: null };
}

process.once('message', (job) => {
  void runJob(job as FetchJob)
    .catch((thrown: unknown): FetchReport => {
      const { code, message } = asAgentError(asSpaceError(thrown));
      return { type: 'failed', code, message: message.slice(0, MAX_REPORT_TEXT_CHARS) };
    })
    .then((report) => process.send?.(report, () => process.exit(0)));
});
process.once('disconnect', () => process.exit(0));
// Ignore both signals: Ctrl-C in a terminal reaches the whole process group, but the agent decides when this process
// stops.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

// The processes that analyse frames have priority over this one.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
setInterval(() => {
  send({ type: 'alive', rssMb: Math.round(process.memoryUsage.rss() / 2 ** 20) });
}, ALIVE_INTERVAL_MS).unref();
