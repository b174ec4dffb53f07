import { fork, type ChildProcess } from 'node:child_process';
import { childEnvironment } from '../../base/child-environment.ts';
import { residentMb } from '../../base/process-facts.ts';
import { AgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { readReport, type FetchJob, type FetchReport, type VerifiedBundle } from './messages.ts';
import type { Progress } from '../types.ts';

const ENTRY = new URL(import.meta.url.endsWith('.ts') ? './process.ts' : './process.js', import.meta.url);

const KEPT_STDERR_CHARS = 2000;
const LOOK_EVERY_MS = 500;
/** A busy board needs its time to load a program. */
const START_MS = 60_000;

export interface FetchChildDeps {
  readonly log: Log;
  readonly onProgress: (progress: Progress) => void;
}

/**
 * Runs one job in a process of its own, which is gone when this settles. Rejects with what the job says, with
 * `model_fetch_crashed` when the process ended by itself, hung or talked nonsense, `model_out_of_memory` when it took more
 * than it may, and with the signal's reason.
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
  const watch = new Watch(child, job);
  try {
    return await new Promise<VerifiedBundle | null>((resolve, reject) => {
      const fail = (error: Error): void => {
        // It settles but once: what comes after a kill is the kill's own noise.
        reject(error);
        child.kill('SIGKILL');
      };
      const onAbort = (): void => fail(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      watch.onFault = fail;
      child.on('message', (message) => {
        const report = readReport(message);
        if (report === null) fail(crashed('the process that fetches talks nonsense'));
        else watch.heard(report);
        if (report?.type === 'progress') onProgress({ bytes: report.bytes, totalBytes: report.totalBytes });
        else if (report?.type === 'waiting') log.info({ ...report, type: undefined }, 'the transfer waits');
        else if (report?.type === 'failed') fail(new AgentError(report.code, report.message));
        else if (report?.type === 'done') resolve(report.bundle);
      });
      void exited.then(() => {
        signal.removeEventListener('abort', onAbort);
        fail(watch.ending());
      });
      child.send(job, (error) => {
        if (error) fail(crashed('the process that fetches cannot be reached', error));
      });
    });
  } finally {
    watch.stop();
    child.kill('SIGKILL');
    await exited;
  }
}

/** Looks after a running process: how much it takes, how long it is silent, how it ended. */
class Watch {
  onFault: (error: AgentError) => void = () => undefined;
  readonly #child: ChildProcess;
  readonly #job: FetchJob;
  readonly #timer: NodeJS.Timeout;
  readonly #startedMs = performance.now();
  #heardMs: number | null = null;
  #stderr = '';
  #outOfMemory = false;

  constructor(child: ChildProcess, job: FetchJob) {
    this.#child = child;
    this.#job = job;
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      // V8 says so at first, and a long trace follows.
      this.#outOfMemory ||= /out of memory/i.test(text);
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR_CHARS);
    });
    child.on('error', (cause) => this.onFault(crashed('the process that fetches cannot be started', cause)));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  heard(report: FetchReport): void {
    this.#heardMs = performance.now();
    if (report.type === 'alive') this.#checkMemory(report.rssMb);
  }

  /** Why it ended, when it had not said that it was done. */
  ending(): AgentError {
    const { exitCode, signalCode } = this.#child;
    if (this.#outOfMemory) return this.#tooMuch();
    const how = signalCode ?? `exit code ${exitCode ?? -1}`;
    const last = this.#stderr.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
    return new AgentError('model_fetch_crashed', `the process that fetches ended with ${how}`, {
      context: { last },
    });
  }

  #look(): void {
    const nowMs = performance.now();
    const { silenceMs, verifyMs } = this.#job.limits;
    // Also while its own loop is held by what it reads.
    this.#checkMemory(residentMb(this.#child.pid));
    const isSilent =
      this.#heardMs === null ? nowMs - this.#startedMs > START_MS : nowMs - this.#heardMs > silenceMs;
    if (isSilent) this.onFault(crashed('the process that fetches hangs'));
    else if (this.#job.kind !== 'download' && nowMs - this.#startedMs > verifyMs)
      this.onFault(crashed('the verification takes too long'));
  }

  #checkMemory(rssMb: number | null): void {
    if (rssMb !== null && rssMb > this.#job.limits.rssMb) this.onFault(this.#tooMuch());
  }

  #tooMuch(): AgentError {
    const { rssMb } = this.#job.limits;
    return new AgentError('model_out_of_memory', `looking into the model takes more than ${rssMb} MB`);
  }
}

const crashed = (message: string, cause?: unknown): AgentError =>
  new AgentError('model_fetch_crashed', message, { cause });
