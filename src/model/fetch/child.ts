import { fork, type ChildProcess } from 'node:child_process';
import { extname } from 'node:path';
import { closeAtEnd } from '../../base/closing.ts';
import { withAbort } from '../../base/abort.ts';
import { childEnvironment } from '../../base/child-environment.ts';
import { AgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { residentMb } from '../../base/process-facts.ts';
import type { FetchJob } from './job.ts';
import { isFetchReport, type FetchReport, type VerifiedBundle } from './report.ts';
import type { FetchProgress } from '../types.ts';

const ENTRY = new URL(`./process${extname(import.meta.url)}`, import.meta.url);

const MAX_STDERR_CHARS = 2000;
const CHECK_INTERVAL_MS = 500;
/** Longest time until the first report: a busy board is slow to load the program. */
const MAX_START_MS = 60_000;

export interface FetchChildDeps {
  readonly log: Log;
  readonly onProgress: (progress: FetchProgress) => void;
}

/**
 * Runs one job in its own process. The process has exited when the promise settles. Rejects with the error that the
 * process reports, with `model_fetch_crashed` when the process exits early, hangs or sends invalid reports, with
 * `model_out_of_memory` when it exceeds its memory limit, or with the reason of the signal.
 */
export async function runFetchJob(
  job: FetchJob,
  { log, onProgress }: FetchChildDeps,
  signal: AbortSignal,
): Promise<VerifiedBundle | null> {
  signal.throwIfAborted();
  const child = fork(ENTRY, {
    execArgv: [`--max-old-space-size=${job.limits.heapMb}`, '--max-semi-space-size=2', '--no-warnings'],
    env: { ...childEnvironment(process.env, 'fetch'), MALLOC_ARENA_MAX: '2' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const watchdog = new Watchdog(child, job);
  await using _ended = closeAtEnd(() => {
    watchdog.stop();
    child.kill('SIGKILL');
    return exited;
  });
  // The first error is reported. Later errors are consequences of killing the process.
  const { promise, resolve, reject } = Promise.withResolvers<VerifiedBundle | null>();
  watchdog.onFault = reject;
  child.on('message', (report: unknown) => {
    if (!isFetchReport(report)) {
      reject(crashed('the fetch process sent an invalid report'));
      return;
    }
    watchdog.onReport(report);
    if (report.type === 'progress') onProgress({ bytes: report.bytes, totalBytes: report.totalBytes });
    else if (report.type === 'waiting')
      log.info({ ...report, type: undefined }, 'waiting before the next attempt of a model transfer');
    else if (report.type === 'failed') reject(new AgentError(report.code, report.message));
    else if (report.type === 'done') resolve(report.bundle);
  });
  void exited.then(() => reject(watchdog.exitError()));
  child.send(job, (error) => {
    if (error) reject(crashed('the fetch process cannot be reached', error));
  });
  return await withAbort(promise, signal);
}

/** Watches the memory and the reports of a running fetch process, and finds the cause of its exit. */
class Watchdog {
  onFault: (error: AgentError) => void = () => undefined;
  readonly #child: ChildProcess;
  readonly #job: FetchJob;
  readonly #timer: NodeJS.Timeout;
  readonly #startedMs = performance.now();
  #lastReportMs: number | null = null;
  #stderr = '';
  #isOutOfMemory = false;

  constructor(child: ChildProcess, job: FetchJob) {
    this.#child = child;
    this.#job = job;
    this.#timer = setInterval(() => this.#check(), CHECK_INTERVAL_MS);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      // V8 prints this text first. The long stack trace after it fills the buffer.
      this.#isOutOfMemory ||= /out of memory/i.test(text);
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR_CHARS);
    });
    child.on('error', (cause) => this.onFault(crashed('the fetch process cannot be started', cause)));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  onReport(report: FetchReport): void {
    this.#lastReportMs = performance.now();
    if (report.type === 'alive') this.#checkMemory(report.rssMb);
  }

  /** The reason why the process exited before it reported `done`. */
  exitError(): AgentError {
    const { exitCode, signalCode } = this.#child;
    if (this.#isOutOfMemory) return this.#outOfMemory();
    const how = signalCode ?? `exit code ${exitCode ?? -1}`;
    const last = this.#stderr.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
    return new AgentError('model_fetch_crashed', `the fetch process ended with ${how}`, {
      context: { last },
    });
  }

  #check(): void {
    const nowMs = performance.now();
    const { silenceMs, verifyMs } = this.#job.limits;
    // Measure from outside: this also works while the event loop of the process is blocked and it sends no reports.
    this.#checkMemory(residentMb(this.#child.pid));
    const isSilent =
      this.#lastReportMs === null
        ? nowMs - this.#startedMs > MAX_START_MS
        : nowMs - this.#lastReportMs > silenceMs;
    if (isSilent) this.onFault(crashed('the fetch process hangs'));
    else if (this.#job.kind !== 'download' && nowMs - this.#startedMs > verifyMs)
      this.onFault(crashed('the verification takes too long'));
  }

  #checkMemory(rssMb: number | null): void {
    if (rssMb !== null && rssMb > this.#job.limits.rssMb) this.onFault(this.#outOfMemory());
  }

  #outOfMemory(): AgentError {
    const { rssMb } = this.#job.limits;
    return new AgentError('model_out_of_memory', `verifying the model takes more than ${rssMb} MB of memory`);
  }
}

const crashed = (message: string, cause?: unknown): AgentError =>
  new AgentError('model_fetch_crashed', message, { cause });
