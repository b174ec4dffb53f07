import { fork } from 'node:child_process';
import { addAbortListener, once } from 'node:events';
import { extname } from 'node:path';
import { childEnvironment } from '../../base/child-environment.ts';
import type { SeaStatePicture } from '../../contract/sea-state.ts';
import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { lowerPriority } from '../../base/process-priority.ts';
import type { ClipSamples, TimedSamples } from '../resample.ts';
import type { FigureData, Job, Measured, Reply } from './messages.ts';

const ENTRY = new URL(`./child${extname(import.meta.url)}`, import.meta.url);
/** The samples are outside the heap, which stays small. */
const NODE_FLAGS = [
  '--max-old-space-size=96',
  '--max-semi-space-size=1',
  '--optimize-for-size',
  '--expose-gc',
  '--no-warnings',
];
/** Memory of samples goes back to the system at once. */
const LEAN_ENV = { MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '65536' };
const LOWEST_PRIORITY = 19;
/** A clip takes some seconds of processor time; at the lowest priority it may have to wait for long. */
const MAX_MS = 900_000;
const MAX_STDERR_CHARS = 2048;

/** Measures and draws clips, each in a child process of the lowest priority, one after another. */
export class SeaStateProcess {
  readonly #clock: Clock;
  readonly #niceness: number;
  #last: Promise<unknown> = Promise.resolve();

  /** `niceness`: added to the nice value; default: the lowest priority. */
  constructor(deps: { readonly clock: Clock; readonly niceness?: number }) {
    this.#clock = deps.clock;
    this.#niceness = deps.niceness ?? LOWEST_PRIORITY;
  }

  /**
   * Takes the memory of the samples: their arrays are empty afterwards. Rejects with `internal` when the process crashes or
   * takes too long, and with the reason of the signal.
   */
  async measure(
    { values, ...samples }: ClipSamples,
    columns: TimedSamples | null,
    signal: AbortSignal,
  ): Promise<Measured> {
    const { values: columnValues = new Uint8Array(0), ...shape } = columns ?? {};
    const job: Job = {
      type: 'measure',
      samples,
      columns: columns && (shape as Omit<TimedSamples, 'values'>),
    };
    const reply = await this.#inTurn(job, [values, columnValues], signal);
    if (reply.type !== 'measured') throw new AgentError('internal', 'the process of the sea state drew');
    return reply.measured;
  }

  /** A figure as PNG. Rejects as `measure` does. */
  async draw(figure: SeaStatePicture, data: FigureData, signal: AbortSignal): Promise<Uint8Array> {
    const reply = await this.#inTurn({ type: 'draw', figure, data }, [], signal);
    if (reply.type !== 'drawn') throw new AgentError('internal', 'the process of the sea state measured');
    return reply.png;
  }

  #inTurn(job: Job, input: readonly Uint8Array[], signal: AbortSignal): Promise<Reply> {
    const run = this.#last.then(() => this.#run(job, input, signal));
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #run(job: Job, input: readonly Uint8Array[], signal: AbortSignal): Promise<Reply> {
    signal.throwIfAborted();
    const child = fork(ENTRY, {
      serialization: 'advanced',
      execArgv: NODE_FLAGS,
      env: { ...childEnvironment(process.env, 'vision'), ...LEAN_ENV },
      stdio: ['pipe', 'ignore', 'pipe', 'ipc'],
      // A session of its own: the priority of a session counts, too.
      detached: true,
    });
    lowerPriority(child.pid, this.#niceness, 'trial');
    const stop = new AbortController();
    const kill = (): void => void child.kill('SIGKILL');
    using _abort = addAbortListener(signal, kill);
    using _stop = { [Symbol.dispose]: () => stop.abort() };
    const limit = { isExceeded: false };
    this.#clock.sleep(MAX_MS, stop.signal).then(
      () => {
        limit.isExceeded = true;
        kill();
      },
      () => undefined,
    );
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-MAX_STDERR_CHARS);
    });
    const replies: Reply[] = [];
    child.on('message', (message) => {
      replies.push(message as Reply);
      // Its work is done: the shutdown of Node may wait for its own threads without end.
      kill();
    });
    // The exit tells more than a write that failed.
    child.stdin?.on('error', () => undefined);
    const ended = once(child, 'close') as Promise<[code: number | null, by: NodeJS.Signals | null]>;
    child.send(job, () => undefined);
    for (const part of input) child.stdin?.write(part);
    // The agent need not keep the samples while the process measures them.
    child.stdin?.end(() => input.forEach(release));
    const [code, by] = await ended;
    signal.throwIfAborted();
    const [reply] = replies;
    if (reply) return reply;
    const reason = limit.isExceeded
      ? `took more than ${MAX_MS / 1000} s`
      : `ended with ${by ?? `exit code ${code}`}`;
    throw new AgentError('internal', `the process of the sea state ${reason}`, { context: { stderr } });
  }
}

/** Frees the memory of an array now, and not with the next garbage collection. */
function release({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
