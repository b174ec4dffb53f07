import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { childEnvironment } from '../base/child-environment.ts';
import type { Clock } from '../base/clock.ts';

export type ProgramExit =
  | { readonly kind: 'exited'; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  | { readonly kind: 'not_started'; readonly error: NodeJS.ErrnoException };

/** A process asked to end gets this long to say goodbye to the camera before it is killed. */
const GRACE_MS = 1500;
/** After SIGKILL only a process stuck inside the kernel lives on; waiting for it longer would stop the agent. */
const KILLED_MS = 3000;
const DRAIN_MS = 1000;
const STDERR_TAIL_BYTES = 8192;

/**
 * A program in a process group of its own, so that it ends with everything that it started.
 * It gets the agent's environment without the agent's own settings (they may hold secrets) and with plain messages.
 */
export class ChildProgram {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #clock: Clock;
  #stderr = Buffer.alloc(0);
  #ended = false;
  /** Settles when the program has ended and its output is read, or it could not be started; never rejects. */
  readonly exited: Promise<ProgramExit>;

  constructor(
    options: { readonly program: string; readonly args: readonly string[]; readonly stdin?: string },
    deps: { readonly clock: Clock },
  ) {
    this.#clock = deps.clock;
    this.#child = spawn(options.program, options.args, {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...childEnvironment(process.env, 'program'), LC_ALL: 'C' },
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error: NodeJS.ErrnoException) => {
        if (this.#child.pid !== undefined) return;
        this.#ended = true;
        resolve({ kind: 'not_started', error });
      });
      this.#child.once('exit', (code, signal) => {
        this.#ended = true;
        // What it left behind would hold the camera, and keep stdout open.
        this.#signalGroup('SIGKILL');
        const exit: ProgramExit = { kind: 'exited', code, signal };
        const drained = new AbortController();
        this.#child.once('close', () => {
          drained.abort();
          resolve(exit);
        });
        // A grandchild that left the group may hold stdout for ever.
        this.#clock.sleep(DRAIN_MS, drained.signal).then(
          () => resolve(exit),
          () => undefined,
        );
      });
    });
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, chunk]);
      if (this.#stderr.length > STDERR_TAIL_BYTES) this.#stderr = this.#stderr.subarray(-STDERR_TAIL_BYTES);
    });
    // A program may end without reading its input; that is no failure of ours.
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr])
      stream.on('error', () => undefined);
    this.#child.stdin.end(options.stdin ?? '');
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get stdout(): Readable {
    return this.#child.stdout;
  }

  /** The last 8 KiB that it wrote on stderr. May hold secrets: redact before it goes anywhere. */
  stderrTail(): string {
    return this.#stderr.toString('utf8');
  }

  /** Ends the whole group: SIGTERM, and SIGKILL after a short grace. Idempotent. */
  async stop(): Promise<void> {
    if (!this.#ended) {
      this.#signalGroup('SIGTERM');
      if (!(await this.#endsWithin(GRACE_MS))) {
        this.#signalGroup('SIGKILL');
        await this.#endsWithin(KILLED_MS);
      }
    }
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  async #endsWithin(ms: number): Promise<boolean> {
    const waited = new AbortController();
    const timer = this.#clock.sleep(ms, waited.signal).catch(() => undefined);
    await Promise.race([this.exited, timer]);
    waited.abort();
    return this.#ended;
  }

  #signalGroup(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // ESRCH: nobody of the group is left.
    }
  }
}
