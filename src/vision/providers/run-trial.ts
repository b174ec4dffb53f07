import { fork, type ChildProcess } from 'node:child_process';
import { addAbortListener } from 'node:events';
import { readFileSync } from 'node:fs';
import { residentMb } from '../../base/process-facts.ts';
import { lowerPriority, type ProcessLimits } from '../process-priority.ts';
import { visionEnvironment } from '../vision-child.ts';
import { findMissingLibrary, toReasonLine } from './trial.ts';
import type { Runtime, TrialMessage, TrialOrder, TrialOutcome, TrialRequest, TrialRunner } from './trial.ts';

export interface TrialLimits {
  /** Time limit of a trial, ms. With `processLimits` it is CPU time per thread: the trial often waits for the CPU. */
  readonly timeoutMs: number;
  /** Limit of resident memory, MiB: a vision process of this size would be replaced. */
  readonly maxRssMb: number;
  /** For a trial that runs alongside a serving model. */
  readonly processLimits?: ProcessLimits;
}

const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './trial-process.ts' : './trial-process.js',
  import.meta.url,
);

const POLL_INTERVAL_MS = 50;
/** A trial with `processLimits` gets little CPU time: its wall-clock limit is this many times its CPU-time limit. */
const WALL_TIME_FACTOR = 15;
/** USER_HZ, the unit of /proc/PID/stat: 100 on every Linux platform that Node supports. */
const TICKS_PER_S = 100;
const MAX_STDERR_CHARS = 4096;

/**
 * Runs each trial in its own process and kills a process that exceeds a limit. A provider may crash, hang, use all
 * memory or return garbage: each of these becomes an outcome.
 */
export function createTrialRunner(limits: TrialLimits): TrialRunner {
  return (request, signal) => new Trial(request, limits, signal).result;
}

class Trial {
  readonly result: ReturnType<TrialRunner>;
  readonly #child: ChildProcess;
  readonly #limits: TrialLimits;
  #runtime: Runtime | null = null;
  #outcome: TrialOutcome | null = null;
  #stderr = '';

  constructor(request: TrialRequest, limits: TrialLimits, signal: AbortSignal) {
    signal.throwIfAborted();
    this.#limits = limits;
    this.#child = fork(ENTRY, {
      execArgv: ['--max-old-space-size=128'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced',
      // Use the environment of the vision process, so that a provider that works here also works there.
      env: visionEnvironment(process.env),
      // Its own process group, so that #kill also ends the processes that a provider's library started.
      detached: process.platform !== 'win32',
    });
    lowerPriority(this.#child.pid, limits.processLimits?.niceness ?? 0);
    this.result = this.#run(request, signal);
  }

  async #run(request: TrialRequest, signal: AbortSignal): ReturnType<TrialRunner> {
    const child = this.#child;
    const { timeoutMs, maxRssMb, processLimits } = this.#limits;
    const timer = setTimeout(
      () => this.#endAsHung(),
      processLimits ? WALL_TIME_FACTOR * timeoutMs : timeoutMs,
    );
    const poll = setInterval(() => {
      this.#checkMemory();
      if (processLimits && (cpuTimeMs(child.pid) ?? 0) > request.threads * timeoutMs) this.#endAsHung();
    }, POLL_INTERVAL_MS);
    using _abort = addAbortListener(signal, () => this.#kill());

    child.on('message', (message) => this.#receive(message as TrialMessage));
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-MAX_STDERR_CHARS);
    });
    child.once('error', (error) => {
      this.#end({ type: 'crashed', reason: toReasonLine(error.message) });
    });
    const closed = new Promise<TrialOutcome>((resolve) =>
      child.once('close', (code, killedBy) => resolve(this.#finalOutcome(code, killedBy))),
    );
    const hardRssMb = Math.min(2 * maxRssMb, processLimits?.hardRssMb ?? Infinity);
    const order: TrialOrder = { ...request, hardRssMb };
    child.send(order, (error) => {
      if (error !== null) this.#kill();
    });
    const outcome = await closed;
    clearTimeout(timer);
    clearInterval(poll);
    signal.throwIfAborted();
    return { outcome, runtime: this.#runtime };
  }

  #receive(message: TrialMessage): void {
    switch (message.type) {
      case 'runtime':
        this.#runtime = message.runtime;
        break;
      case 'outcome':
        // Kill it now: native libraries may hang or crash in their own clean-up.
        this.#end(message.outcome);
        break;
    }
  }

  #endAsHung(): void {
    const seconds = Math.round(this.#limits.timeoutMs / 1000);
    this.#end({ type: 'hung', reason: `no result within ${seconds} s` });
  }

  #checkMemory(): void {
    const rssMb = residentMb(this.#child.pid);
    if (rssMb === null || rssMb <= this.#limits.maxRssMb) return;
    this.#end({
      type: 'too_big',
      reason: `used ${Math.round(rssMb)} MB, over the limit of ${this.#limits.maxRssMb} MB`,
    });
  }

  /** The first outcome counts. */
  #end(outcome: TrialOutcome): void {
    this.#outcome ??= outcome;
    this.#kill();
  }

  #kill(): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    try {
      process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
    } catch {
      // The process has just ended, or does not have its group yet.
      this.#child.kill('SIGKILL');
    }
  }

  /** A process that crashes may lose its last message; then the outcome follows from its exit code. */
  #finalOutcome(code: number | null, killedBy: NodeJS.Signals | null): TrialOutcome {
    const outcome = this.#outcome ?? this.#crashOutcome(code, killedBy);
    if (outcome.type !== 'unavailable') return outcome;
    // onnxruntime throws "failed to load shared library" and prints the name of the library.
    const missing = findMissingLibrary(this.#stderr);
    return missing === null ? outcome : { ...outcome, reason: `${outcome.reason} (${missing})` };
  }

  #crashOutcome(code: number | null, killedBy: NodeJS.Signals | null): TrialOutcome {
    const exit = killedBy === null ? `exit code ${code ?? -1}` : `signal ${killedBy}`;
    const lastLine = this.#stderr.split('\n').findLast((line) => line.trim() !== '');
    const detail = lastLine === undefined ? '' : `: ${toReasonLine(lastLine)}`;
    return { type: 'crashed', reason: `the process ended with ${exit}${detail}` };
  }
}

/** CPU time that a process has used, ms; null where there is no /proc. Source: proc(5), fields 14 and 15 of stat. */
function cpuTimeMs(pid: number | undefined): number | null {
  if (pid === undefined) return null;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_S;
  } catch {
    return null;
  }
}
