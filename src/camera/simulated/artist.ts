import { type ChildProcess, fork } from 'node:child_process';
import { AgentError } from '../../base/errors.ts';
import type { Scene } from './scene.ts';

export interface DrawRequest {
  readonly id: number;
  readonly scene: Scene;
}

export interface DrawAnswer {
  readonly id: number;
  readonly jpeg: Uint8Array;
}

interface Waiting {
  readonly child: ChildProcess;
  readonly resolve: (jpeg: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

const ENTRY = new URL(import.meta.url.endsWith('.ts') ? './process.ts' : './process.js', import.meta.url);
/** A small heap: one picture, its textures and its JPEG; and, where it runs from source, the stripping of types (25 MB). */
const HEAP_FLAGS = ['--max-old-space-size=64', '--max-semi-space-size=2'];
/** Longest end of what the process printed that goes into the error, characters. */
const STDERR_TAIL = 400;

/**
 * Handle of the process that draws. It starts with the first scene, and again with the next one after it died.
 * The process exits by itself when this one does, for then its channel closes.
 */
export class Artist {
  #child: ChildProcess | null = null;
  /** The running process, and those that are being killed. */
  readonly #alive = new Set<ChildProcess>();
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  /** Of the running process; null when there is none. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /**
   * JPEG bytes of a scene. Throws `camera_timeout` after `timeoutS` (and kills the process, which must hang),
   * `camera_ended` when the process died meanwhile, and the signal's reason when that fires.
   */
  async draw(scene: Scene, timeoutS: number, signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted();
    const child = (this.#child ??= this.#start());
    const id = this.#nextId;
    this.#nextId += 1;
    const settled = new AbortController();
    try {
      return await new Promise<Uint8Array>((resolve, reject) => {
        this.#waiting.set(id, { child, resolve, reject });
        signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: settled.signal });
        const timer = setTimeout(() => {
          this.#drop(child);
          child.kill('SIGKILL');
          reject(new AgentError('camera_timeout', `no picture within ${timeoutS} s`));
        }, timeoutS * 1000);
        settled.signal.addEventListener('abort', () => clearTimeout(timer));
        // A channel that is closed already says so here.
        child.send({ id, scene } satisfies DrawRequest, (error) => {
          if (error) reject(new AgentError('camera_ended', error.message, { cause: error }));
        });
      });
    } finally {
      this.#waiting.delete(id);
      settled.abort();
    }
  }

  /** Ends the process; resolves when it is gone, and any before it that hung. */
  async close(): Promise<void> {
    const gone = Array.from(this.#alive, (child) => {
      child.kill('SIGKILL');
      return new Promise<void>((resolve) => child.once('close', () => resolve()));
    });
    await Promise.all(gone);
  }

  #start(): ChildProcess {
    const child = fork(ENTRY, [], {
      serialization: 'advanced',
      execArgv: HEAP_FLAGS,
      // One thread allocates: more arenas of glibc would only hold freed pictures.
      env: { ...process.env, MALLOC_ARENA_MAX: '1' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#alive.add(child);
    let stderr = '';
    child.stderr?.on('data', (text: Buffer) => {
      stderr = (stderr + text.toString()).slice(-STDERR_TAIL);
    });
    child.on('message', (answer) => {
      const { id, jpeg } = answer as DrawAnswer;
      this.#waiting.get(id)?.resolve(jpeg);
    });
    const ended = (how: string): void => {
      this.#drop(child);
      this.#alive.delete(child);
      const error = new AgentError('camera_ended', `the drawing process ended: ${how}`, {
        context: { stderr },
      });
      for (const waiting of this.#waiting.values()) if (waiting.child === child) waiting.reject(error);
    };
    child.on('error', (error) => ended(error.message));
    child.on('close', (code, killedBy) => ended(killedBy ?? `code ${code}`));
    return child;
  }

  /** The next scene goes to a new process. */
  #drop(child: ChildProcess): void {
    if (this.#child === child) this.#child = null;
  }
}
