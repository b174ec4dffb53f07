import { addAbortListener } from 'node:events';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { residentMb } from '../../base/process-facts.ts';
import { memoryLimits, type MemoryLimits } from '../../base/provider-limits.ts';
import { NativeProcess } from '../native-process.ts';
import type { ProcessLimits } from '../../base/process-priority.ts';
import { toReasonLine } from '../reason-line.ts';
import { findMissingLibrary } from './trial.ts';
import type { Runtime, TrialMessage, TrialOrder, TrialOutcome, TrialRequest, TrialRunner } from './trial.ts';

export interface TrialLimits {
  /** Time limit of a trial, ms. With `processLimits` it is CPU time per thread: the trial often waits for the CPU. */
  readonly timeoutMs: number;
  /** Limit of resident memory without the libraries of the provider, MiB: `inference.maxRssMb`. */
  readonly maxRssMb: number;
  /** For a trial that runs alongside a serving model. */
  readonly processLimits?: ProcessLimits;
}

const ENTRY = new URL(`./trial-process${extname(import.meta.url)}`, import.meta.url);
const POLL_INTERVAL_MS = 50;
/** A trial with `processLimits` gets little CPU time: its wall-clock limit is this many times its CPU-time limit. */
const WALL_TIME_FACTOR = 15;
/** USER_HZ, the unit of /proc/PID/stat: 100 on every Linux platform that Node supports. */
const TICKS_PER_S = 100;

/**
 * Runs each trial in its own process and kills a process that exceeds a limit. A provider may crash, hang, use all
 * memory or return garbage: each of these becomes an outcome.
 */
export function createTrialRunner(limits: TrialLimits): TrialRunner {
  return (request, signal) => new Trial(request, limits, signal).result;
}

class Trial {
  readonly result: ReturnType<TrialRunner>;
  readonly #native: NativeProcess;
  readonly #limits: TrialLimits;
  readonly #memory: MemoryLimits;
  #runtime: Runtime | null = null;
  #outcome: TrialOutcome | null = null;

  constructor(request: TrialRequest, limits: TrialLimits, signal: AbortSignal) {
    signal.throwIfAborted();
    this.#limits = limits;
    // A vision process above the first of these limits would be replaced.
    this.#memory = memoryLimits(request.provider, limits.maxRssMb, limits.processLimits?.hardRssMb);
    this.#native = new NativeProcess({
      entry: ENTRY,
      nodeFlags: ['--max-old-space-size=128'],
      pipes: [],
      niceness: limits.processLimits?.niceness ?? 0,
      purpose: 'trial',
    });
    this.result = this.#run(request, signal);
  }

  async #run(request: TrialRequest, signal: AbortSignal): ReturnType<TrialRunner> {
    const { child } = this.#native;
    const { timeoutMs, processLimits } = this.#limits;
    const timer = setTimeout(
      () => this.#endAsHung(),
      processLimits ? WALL_TIME_FACTOR * timeoutMs : timeoutMs,
    );
    const poll = setInterval(() => {
      this.#checkMemory();
      if (processLimits && (cpuTimeMs(child.pid) ?? 0) > request.threads * timeoutMs) this.#endAsHung();
    }, POLL_INTERVAL_MS);
    using _abort = addAbortListener(signal, () => this.#native.kill());

    child.on('message', (message) => this.#receive(message as TrialMessage));
    child.once('error', (error) => {
      this.#end({ type: 'crashed', reason: toReasonLine(error.message) });
    });
    const closed = new Promise<TrialOutcome>((resolve) =>
      child.once('close', (code, killedBy) => resolve(this.#finalOutcome(code, killedBy))),
    );
    const order: TrialOrder = { ...request, hardRssMb: this.#memory.killAboveMb };
    child.send(order, (error) => {
      if (error !== null) this.#native.kill();
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
    const rssMb = residentMb(this.#native.child.pid);
    if (rssMb === null || rssMb <= this.#memory.replaceAboveMb) return;
    this.#end({
      type: 'too_big',
      reason: `used ${Math.round(rssMb)} MB, over the limit of ${this.#memory.replaceAboveMb} MB`,
    });
  }

  /** The first outcome counts. */
  #end(outcome: TrialOutcome): void {
    this.#outcome ??= outcome;
    this.#native.kill();
  }

  /** A process that crashes may lose its last message; then the outcome follows from its exit code. */
  #finalOutcome(code: number | null, killedBy: NodeJS.Signals | null): TrialOutcome {
    const outcome = this.#outcome ?? this.#crashOutcome(code, killedBy);
    if (outcome.type !== 'unavailable') return outcome;
    // onnxruntime throws "failed to load shared library" and prints the name of the library.
    const missing = findMissingLibrary(this.#native.stderr);
    return missing === null ? outcome : { ...outcome, reason: `${outcome.reason} (${missing})` };
  }

  #crashOutcome(code: number | null, killedBy: NodeJS.Signals | null): TrialOutcome {
    const exit = killedBy === null ? `exit code ${code ?? -1}` : `signal ${killedBy}`;
    const { lastLine, hasExceededMemory } = this.#native;
    const detail = lastLine === undefined ? '' : `: ${toReasonLine(lastLine)}`;
    const reason = `the process ended with ${exit}${detail}`;
    return { type: hasExceededMemory ? 'too_big' : 'crashed', reason };
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
