import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { addAbortListener } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { closeAtEnd } from '../base/closing.ts';
import { childEnvironment } from '../base/child-environment.ts';
import type { Clock } from '../base/clock.ts';
import { settleWithin } from '../base/deadline.ts';
import { AgentError } from '../base/errors.ts';

export type ProgramExit =
  | { readonly kind: 'exited'; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  | { readonly kind: 'not_started'; readonly error: NodeJS.ErrnoException };

/** Time between SIGTERM and SIGKILL, in which the program can close its connection to the camera. */
const SIGTERM_GRACE_MS = 1500;
/** Longest wait after SIGKILL. Only a process that hangs in the kernel takes longer, and it must not block the agent. */
const SIGKILL_GRACE_MS = 3000;
/** Longest wait for the end of the output after the program exited. */
const DRAIN_MS = 1000;
const STDERR_TAIL_BYTES = 8192;

/**
 * A program in its own process group, so that stopping it also stops its children. Of the environment variables it gets
 * those that camera programs need. Its messages are English.
 */
export class ChildProgram {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #clock: Clock;
  #stderr = Buffer.alloc(0);
  #hasEnded = false;
  #stopping: Promise<void> | null = null;
  /** Settles when the program has ended and its output is read, or when it could not start; never rejects. */
  readonly exited: Promise<ProgramExit>;

  constructor(
    options: {
      readonly program: string;
      readonly args: readonly string[];
      /** Default: empty. Null: the owner writes to `stdin` and ends it. */
      readonly stdin?: string | null;
    },
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
        this.#hasEnded = true;
        resolve({ kind: 'not_started', error });
      });
      this.#child.once('exit', (code, signal) => {
        this.#hasEnded = true;
        // Child processes that the program left behind would keep the camera and stdout open.
        this.#signalGroup('SIGKILL');
        const exit: ProgramExit = { kind: 'exited', code, signal };
        const drained = new AbortController();
        this.#child.once('close', () => {
          drained.abort();
          resolve(exit);
        });
        // A child of the program that left the process group may keep stdout open forever.
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
    // A program may end without reading its input. That is not a failure of the capture.
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr])
      stream.on('error', () => undefined);
    if (options.stdin !== null) this.#child.stdin.end(options.stdin ?? '');
  }

  get stdin(): Writable {
    return this.#child.stdin;
  }

  get stdout(): Readable {
    return this.#child.stdout;
  }

  /** The last 8 KiB of stderr. They may contain secrets: redact them before use in logs and errors. */
  stderrTail(): string {
    return this.#stderr.toString('utf8');
  }

  /** Ends the whole process group with SIGTERM, then with SIGKILL. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    if (!this.#hasEnded) {
      this.#signalGroup('SIGTERM');
      if (!(await this.#endsWithin(SIGTERM_GRACE_MS))) {
        this.#signalGroup('SIGKILL');
        await this.#endsWithin(SIGKILL_GRACE_MS);
      }
    }
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  async #endsWithin(ms: number): Promise<boolean> {
    await settleWithin(ms, this.#clock, this.exited);
    return this.#hasEnded;
  }

  #signalGroup(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // ESRCH: no process of the group is left.
    }
  }
}

export interface ProgramResult {
  /** Null when a signal ended the program. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Null when the program wrote more than `maxStdoutBytes` and was stopped for that. */
  readonly stdout: Buffer | null;
  /** The last 8 KiB; they may contain secrets. */
  readonly stderr: string;
}

/** A process that hangs in the kernel, for example in the driver of a camera, ends only when the kernel lets it go. */
const HANGING: ProgramExit = { kind: 'exited', code: null, signal: 'SIGKILL' };

/**
 * Runs a program until it exits. Throws `camera_program_missing` when it cannot start, and the signal's reason on
 * abort. When the promise settles, all processes of the program have ended, or hang in the kernel and end later.
 */
export async function runProgram(
  options: { readonly program: string; readonly args: readonly string[]; readonly maxStdoutBytes: number },
  deps: { readonly clock: Clock },
  signal: AbortSignal,
): Promise<ProgramResult> {
  signal.throwIfAborted();
  const program = new ChildProgram(options, deps);
  const stopped = Promise.withResolvers<ProgramExit>();
  const stop = (): void => void program.stop().then(() => stopped.resolve(HANGING));
  using _abort = addAbortListener(signal, stop);
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  program.stdout.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes <= options.maxStdoutBytes) chunks.push(chunk);
    else {
      chunks.length = 0;
      stop();
    }
  });
  await using _stopped = closeAtEnd(() => program.stop());
  const exit = await Promise.race([program.exited, stopped.promise]);
  signal.throwIfAborted();
  if (exit.kind === 'not_started') throw createMissingProgramError(options.program, exit.error);
  return {
    code: exit.code,
    signal: exit.signal,
    stdout: sizeBytes > options.maxStdoutBytes ? null : Buffer.concat(chunks),
    stderr: program.stderrTail(),
  };
}

/** The error for a program that could not start. */
export function createMissingProgramError(program: string, error: NodeJS.ErrnoException): AgentError {
  return new AgentError('camera_program_missing', `cannot start ${program}`, {
    context: { program, reason: error.code },
  });
}
