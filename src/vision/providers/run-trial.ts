import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { residentMb } from '../../base/process-facts.ts';
import { visionEnvironment } from '../vision-child.ts';
import { missingLibrary, reasonLine } from './reason.ts';
import type { Runtime, TrialMessage, TrialOrder, TrialOutcome, TrialRequest, TrialRunner } from './trial.ts';
import { lowerPriority, type ProcessLimits } from '../process-priority.ts';

export interface TrialLimits {
  /** Until the verdict is there; for a restrained trial CPU time, since it waits for its turn. */
  readonly timeoutMs: number;
  /** Resident memory, MiB: what the vision process would be recycled at. */
  readonly maxRssMb: number;
  /** For trials beside a model that serves. */
  readonly processLimits?: ProcessLimits;
}

const entry = new URL(
  import.meta.url.endsWith('.ts') ? './trial-process.ts' : './trial-process.js',
  import.meta.url,
);

const POLL_MS = 50;
/** A restrained trial may wait so many times longer than it works: it has little of the CPU beside ones that serve. */
const MAX_WAIT = 15;
const TICKS_PER_S = 100;
const KEPT_STDERR_CHARS = 4096;

/**
 * Runs each trial in a process of its own, which is killed when it is over a limit. A provider may crash, hang, eat
 * the memory or write garbage: here each becomes an outcome.
 */
export function createTrialRunner(limits: TrialLimits): TrialRunner {
  return (request, signal) => new Trial(request, limits, signal).settled;
}

class Trial {
  readonly settled: ReturnType<TrialRunner>;
  readonly #child: ChildProcess;
  readonly #limits: TrialLimits;
  #runtime: Runtime | null = null;
  #verdict: TrialOutcome | null = null;
  #stderr = '';

  constructor(request: TrialRequest, limits: TrialLimits, signal: AbortSignal) {
    signal.throwIfAborted();
    this.#limits = limits;
    this.#child = fork(entry, {
      execArgv: ['--max-old-space-size=128'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced',
      // The same as the vision process gets: what is proved here must hold there.
      env: visionEnvironment(process.env),
      // A process group of its own, so that it can be killed with whatever a provider's library started.
      detached: process.platform !== 'win32',
    });
    lowerPriority(this.#child.pid, limits.processLimits?.niceness ?? 0);
    this.settled = this.#settle(request, signal);
  }

  #settle(request: TrialRequest, signal: AbortSignal): ReturnType<TrialRunner> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const { timeoutMs, processLimits: restrained } = this.#limits;
      const timer = setTimeout(() => this.#hung(), restrained ? MAX_WAIT * timeoutMs : timeoutMs);
      const poll = setInterval(() => {
        this.#checkMemory();
        if (restrained && (cpuMs(child.pid) ?? 0) > request.threads * timeoutMs) this.#hung();
      }, POLL_MS);
      const abort = (): void => this.#kill();
      signal.addEventListener('abort', abort, { once: true });

      child.on('message', (message) => this.#take(message as TrialMessage));
      child.stderr?.on('data', (chunk: Buffer) => {
        this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-KEPT_STDERR_CHARS);
      });
      // A message may be lost when the process dies at once; the exit code then says what happened.
      child.once('error', (error) => {
        this.#verdict ??= { type: 'crashed', reason: reasonLine(error.message) };
        this.#kill();
      });
      child.once('close', (code, killedBy) => {
        clearTimeout(timer);
        clearInterval(poll);
        signal.removeEventListener('abort', abort);
        if (signal.aborted) reject(signal.reason as Error);
        else resolve({ outcome: this.#outcome(code, killedBy), runtime: this.#runtime });
      });
      const { maxRssMb, processLimits } = this.#limits;
      const order: TrialOrder = {
        ...request,
        hardRssMb: Math.min(2 * maxRssMb, processLimits?.hardRssMb ?? Infinity),
      };
      child.send(order, (error) => {
        if (error !== null) this.#kill();
      });
    });
  }

  #take(message: TrialMessage): void {
    switch (message.type) {
      case 'runtime':
        this.#runtime = message.runtime;
        break;
      case 'outcome':
        // Native libraries may hang or crash in their own clean-up: nothing more is wanted of this process.
        this.#end(message.outcome);
        break;
    }
  }

  #hung(): void {
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

  #end(outcome: TrialOutcome): void {
    this.#verdict ??= outcome;
    this.#kill();
  }

  #kill(): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    try {
      process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
    } catch {
      // It has just ended, or has no group yet.
      this.#child.kill('SIGKILL');
    }
  }

  #outcome(code: number | null, killedBy: NodeJS.Signals | null): TrialOutcome {
    const verdict = this.#verdict ?? this.#died(code, killedBy);
    if (verdict.type !== 'unavailable') return verdict;
    // onnxruntime throws "failed to load shared library" and prints which one.
    const missing = missingLibrary(this.#stderr);
    return missing === null ? verdict : { ...verdict, reason: `${verdict.reason} (${missing})` };
  }

  #died(code: number | null, killedBy: NodeJS.Signals | null): TrialOutcome {
    const how = killedBy === null ? `exit code ${code ?? -1}` : `signal ${killedBy}`;
    const last = this.#stderr
      .split('\n')
      .filter((line) => line.trim() !== '')
      .at(-1);
    const detail = last === undefined ? '' : `: ${reasonLine(last)}`;
    return { type: 'crashed', reason: `the process ended with ${how}${detail}` };
  }
}

/** CPU time of a process so far, ms; null where there is no /proc. */
function cpuMs(pid: number | undefined): number | null {
  if (pid === undefined) return null;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_S;
  } catch {
    return null;
  }
}
