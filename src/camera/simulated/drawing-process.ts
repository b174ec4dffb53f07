import { type ChildProcess, fork } from 'node:child_process';
import { addAbortListener } from 'node:events';
import { withAbort } from '../../base/abort.ts';
import { childEnvironment } from '../../base/child-environment.ts';
import { AgentError } from '../../base/errors.ts';
import type { Scene } from './scene.ts';

export interface DrawRequest {
  readonly id: number;
  readonly scene: Scene;
  readonly format: 'jpeg' | 'png';
}

export interface DrawReply {
  readonly id: number;
  readonly bytes: Uint8Array;
  /** Share of the water in the image that is white, 0..1. */
  readonly white01: number;
}

interface PendingDraw {
  readonly child: ChildProcess;
  readonly resolve: (reply: DrawReply) => void;
  readonly reject: (error: Error) => void;
}

const IS_SOURCE = import.meta.url.endsWith('.ts');
const ENTRY = new URL(IS_SOURCE ? './drawing-child.ts' : './drawing-child.js', import.meta.url);
/**
 * The heap contains the JPEG and the tables of its encoder; images and textures are outside of it. A larger heap would fill with
 * garbage of clips. Running from TypeScript source needs 25 MB more.
 */
const HEAP_FLAGS = [`--max-old-space-size=${IS_SOURCE ? '64' : '32'}`, '--max-semi-space-size=2'];
/** Length of the end of stderr in the context of an error. */
const STDERR_TAIL_CHARS = 400;

/**
 * Controls the child process that draws, for all simulated cameras of the agent: a process for each one would need 100 MB. The
 * process starts with the first scene; if it ends, the next scene starts it again. It draws one scene after another. It exits
 * when the last camera leaves, and when the agent exits, because its IPC channel closes.
 */
export class DrawingProcess {
  #child: ChildProcess | null = null;
  /** The running process, and killed ones that have not exited yet. */
  readonly #alive = new Set<ChildProcess>();
  readonly #pending = new Map<number, PendingDraw>();
  #nextId = 1;
  #users = 0;
  /** Settles when the scenes before the next one are drawn. */
  #drawn: Promise<unknown> = Promise.resolve();

  /** Process id; null when no process runs. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Counts a camera that draws; it must call `leave` once. */
  join(): void {
    this.#users += 1;
  }

  /** The last camera ends the process, and waits for its exit. */
  async leave(): Promise<void> {
    this.#users -= 1;
    if (this.#users === 0) await this.#close();
  }

  /**
   * Returns a scene as an encoded image. After `timeoutS`, the wait for other scenes included, throws `camera_timeout`, and kills the
   * process if it was drawing this scene. Throws `camera_ended` when the process ended meanwhile, and the signal's reason on
   * abort.
   */
  async draw(
    scene: Scene,
    { timeoutS, format }: { readonly timeoutS: number; readonly format: DrawRequest['format'] },
    signal: AbortSignal,
  ): Promise<DrawReply> {
    signal.throwIfAborted();
    const late = new AbortController();
    const timer = setTimeout(
      () => late.abort(new AgentError('camera_timeout', `no image within ${timeoutS} s`)),
      timeoutS * 1000,
    );
    const before = this.#drawn;
    const { promise: done, resolve: finish } = Promise.withResolvers<null>();
    this.#drawn = before.then(() => done);
    try {
      await withAbort(before, AbortSignal.any([signal, late.signal]));
      return await this.#drawNow({ scene, format }, late.signal, signal);
    } finally {
      clearTimeout(timer);
      finish(null);
    }
  }

  async #drawNow(
    request: Omit<DrawRequest, 'id'>,
    late: AbortSignal,
    signal: AbortSignal,
  ): Promise<DrawReply> {
    const child = (this.#child ??= this.#start());
    const id = this.#nextId;
    this.#nextId += 1;
    const { promise, resolve, reject } = Promise.withResolvers<DrawReply>();
    this.#pending.set(id, { child, resolve, reject });
    const handleLate = (): void => {
      this.#detach(child);
      child.kill('SIGKILL');
      reject(late.reason as Error);
    };
    using _late = addAbortListener(late, handleLate);
    try {
      // The callback also gets an error when the channel has already closed.
      child.send({ id, ...request } satisfies DrawRequest, (error) => {
        if (error) reject(new AgentError('camera_ended', error.message, { cause: error }));
      });
      return await withAbort(promise, signal);
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Kills the process. Resolves when it and all processes that were killed earlier have exited. */
  async #close(): Promise<void> {
    const exits = Array.from(this.#alive, (child) => {
      child.kill('SIGKILL');
      return new Promise<void>((resolve) => child.once('close', () => resolve()));
    });
    await Promise.all(exits);
  }

  #start(): ChildProcess {
    const child = fork(ENTRY, [], {
      serialization: 'advanced',
      execArgv: HEAP_FLAGS,
      // One glibc arena is enough for one allocating thread. More arenas would not return freed images to the system.
      env: { ...childEnvironment(process.env, 'program'), MALLOC_ARENA_MAX: '1' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#alive.add(child);
    let stderr = '';
    child.stderr?.on('data', (text: Buffer) => {
      stderr = (stderr + text.toString()).slice(-STDERR_TAIL_CHARS);
    });
    child.on('message', (reply) => {
      const drawn = reply as DrawReply;
      this.#pending.get(drawn.id)?.resolve(drawn);
    });
    const handleEnd = (reason: string): void => {
      this.#detach(child);
      this.#alive.delete(child);
      const error = new AgentError('camera_ended', `the drawing process ended: ${reason}`, {
        context: { stderr },
      });
      for (const draw of this.#pending.values()) if (draw.child === child) draw.reject(error);
    };
    child.on('error', (error) => handleEnd(error.message));
    child.on('close', (code, killedBy) => handleEnd(killedBy ?? `code ${code}`));
    return child;
  }

  /** Stops using this process, so that the next scene starts a new one. */
  #detach(child: ChildProcess): void {
    if (this.#child === child) this.#child = null;
  }
}
