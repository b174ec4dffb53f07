import { type ChildProcess, fork } from 'node:child_process';
import { AgentError } from '../../base/errors.ts';
import type { Scene } from './scene.ts';

export interface DrawRequest {
  readonly id: number;
  readonly scene: Scene;
}

export interface DrawReply {
  readonly id: number;
  readonly jpeg: Uint8Array;
}

interface PendingDraw {
  readonly child: ChildProcess;
  readonly resolve: (jpeg: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './drawing-child.ts' : './drawing-child.js',
  import.meta.url,
);
/** The heap holds one image, its textures and its JPEG. Running from source adds type stripping (25 MB). */
const HEAP_FLAGS = ['--max-old-space-size=64', '--max-semi-space-size=2'];
/** Length of the end of stderr in the context of an error. */
const STDERR_TAIL_CHARS = 400;

/**
 * The child process that draws. It starts with the first scene, and again with the next scene after it ended.
 * It exits when the agent does, because its IPC channel closes.
 */
export class DrawingProcess {
  #child: ChildProcess | null = null;
  /** The running process, and killed ones that have not exited yet. */
  readonly #alive = new Set<ChildProcess>();
  readonly #pending = new Map<number, PendingDraw>();
  #nextId = 1;

  /** Process id; null when no process runs. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /**
   * The JPEG of a scene. Throws `camera_timeout` after `timeoutS` and kills the process, which hangs. Throws
   * `camera_ended` when the process ended meanwhile, and the signal's reason on abort.
   */
  async draw(scene: Scene, timeoutS: number, signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted();
    const child = (this.#child ??= this.#start());
    const id = this.#nextId;
    this.#nextId += 1;
    const settled = new AbortController();
    try {
      return await new Promise<Uint8Array>((resolve, reject) => {
        this.#pending.set(id, { child, resolve, reject });
        signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: settled.signal });
        const timer = setTimeout(() => {
          this.#detach(child);
          child.kill('SIGKILL');
          reject(new AgentError('camera_timeout', `no image within ${timeoutS} s`));
        }, timeoutS * 1000);
        settled.signal.addEventListener('abort', () => clearTimeout(timer));
        // The callback also reports a channel that has already closed.
        child.send({ id, scene } satisfies DrawRequest, (error) => {
          if (error) reject(new AgentError('camera_ended', error.message, { cause: error }));
        });
      });
    } finally {
      this.#pending.delete(id);
      settled.abort();
    }
  }

  /** Kills the process and resolves when it has exited, together with earlier ones that hung. */
  async close(): Promise<void> {
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
      // Only one thread allocates. More glibc arenas would keep freed images.
      env: { ...process.env, MALLOC_ARENA_MAX: '1' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#alive.add(child);
    let stderr = '';
    child.stderr?.on('data', (text: Buffer) => {
      stderr = (stderr + text.toString()).slice(-STDERR_TAIL_CHARS);
    });
    child.on('message', (reply) => {
      const { id, jpeg } = reply as DrawReply;
      this.#pending.get(id)?.resolve(jpeg);
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

  /** The next scene starts a new process. */
  #detach(child: ChildProcess): void {
    if (this.#child === child) this.#child = null;
  }
}
