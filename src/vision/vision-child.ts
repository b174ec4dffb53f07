import { fork, type ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import { childEnvironment } from '../base/child-environment.ts';
import { AgentError, type ErrorCode } from '../base/errors.ts';
import { FRAME_FD, type VisionReply, type VisionRequest, type WireRequest } from './messages.ts';
import { restorePriority, lowerPriority } from './process-priority.ts';

const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './child/process.ts' : './child/process.js',
  import.meta.url,
);

/** Small pictures and short-lived arrays: the heap need not grow, and freed memory should go back. */
const NODE_FLAGS = ['--max-old-space-size=96', '--max-semi-space-size=2', '--expose-gc', '--no-warnings'];
const KEPT_STDERR_CHARS = 2000;

export function visionEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    ...childEnvironment(environment, 'vision'),
    // onnxruntime must not phone home.
    ORT_DISABLE_TELEMETRY: '1',
    // glibc: few arenas, and blocks of picture size go back to the system when freed. 159 MB resident became 138.
    MALLOC_ARENA_MAX: '2',
    MALLOC_MMAP_THRESHOLD_: '131072',
    MALLOC_TRIM_THRESHOLD_: '131072',
  };
}

interface Pending {
  readonly deadlineMs: number;
  readonly resolve: (reply: VisionReply | null) => void;
  readonly reject: (error: AgentError) => void;
}

/** Requests that may lie at the process: the one that it works at, and the next, so that it need not wait for it. */
export const MAX_AHEAD = 2;

/**
 * One vision process. It works at one request at a time, in the order they came; every request has a deadline from when
 * its turn comes, and passing it costs the process.
 */
export class VisionChild {
  readonly #process: ChildProcess;
  /** The first one is being worked at. */
  readonly #pending: Pending[] = [];
  #deadline: NodeJS.Timeout | undefined;
  #end: AgentError | null = null;
  #stderr = '';
  /** Resolves when the process is gone. */
  readonly ended: Promise<void>;

  constructor(niceness = 0) {
    this.#process = fork(ENTRY, {
      serialization: 'advanced',
      execArgv: NODE_FLAGS,
      env: visionEnvironment(process.env),
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'ipc'],
      // A process group of its own, so that it can be killed with whatever a provider's library started.
      detached: process.platform !== 'win32',
    });
    lowerPriority(this.#process.pid, niceness);
    this.ended = new Promise((resolve) => {
      this.#process.once('error', (cause) => {
        this.#settleEnd(
          new AgentError('vision_start_failed', 'the vision process cannot be started', { cause }),
        );
        resolve();
      });
      this.#process.once('exit', (code, signal) => {
        const how = signal ?? `exit code ${code ?? -1}`;
        const last = this.#stderr.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
        this.#settleEnd(
          new AgentError(
            'vision_crashed',
            `the vision process ended with ${how}${last === '' ? '' : `: ${last}`}`,
            {
              context: { code, signal },
            },
          ),
        );
        resolve();
      });
    });
    this.#process.on('message', (reply) => {
      const pending = this.#pending.shift();
      this.#watchNext();
      pending?.resolve(reply as VisionReply);
    });
    // A process that is gone tells so by its exit.
    this.#frames?.on('error', () => undefined);
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-KEPT_STDERR_CHARS);
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Ends what it was held back by at its start. */
  restorePriority(): void {
    restorePriority(this.pid);
  }

  /** Null while it lives. */
  get end(): AgentError | null {
    return this.#end;
  }

  /**
   * Sends one request and waits for its answer. Rejects with what the answer says (`image_*`, `vision_output_invalid`,
   * …), `vision_timeout` after `deadlineMs` (the process is killed), or `vision_crashed` when it ended. Null when it
   * ended before the turn of this one: it may go to another process.
   */
  async request(request: VisionRequest, deadlineMs: number): Promise<VisionReply | null> {
    if (this.#end !== null) throw this.#end;
    if (this.#pending.length >= MAX_AHEAD)
      throw new AgentError('internal', 'too many requests lie at the vision process');
    const reply = await new Promise<VisionReply | null>((resolve, reject) => {
      this.#send(request);
      this.#pending.push({ deadlineMs, resolve, reject });
      if (this.#pending.length === 1) this.#watchNext();
    });
    if (reply?.type === 'failed') {
      const { code, message, context } = reply.error;
      throw new AgentError(code, message, { context });
    }
    return reply;
  }

  /** The turn of the first one begins. */
  #watchNext(): void {
    clearTimeout(this.#deadline);
    const [first] = this.#pending;
    if (first === undefined) return;
    const { deadlineMs } = first;
    this.#deadline = setTimeout(() => {
      const seconds = deadlineMs / 1000;
      this.kill(
        new AgentError('vision_timeout', `no answer within ${seconds} s`, { context: { deadlineMs } }),
      );
    }, deadlineMs);
  }

  #send(request: VisionRequest): void {
    const post = (message: WireRequest): void => {
      this.#process.send(message, (cause) => {
        if (cause === null) return;
        this.kill(new AgentError('vision_crashed', 'the vision process cannot be reached', { cause }));
      });
    };
    if (request.type === 'open') {
      post(request);
      return;
    }
    const { bytes, ...rest } = request;
    post({ ...rest, sizeBytes: bytes.length });
    this.#frames?.write(bytes);
  }

  get #frames(): Writable | null {
    return this.#process.stdio[FRAME_FD] as Writable | null;
  }

  /** Ends the process and its group at once; whoever waits gets `why`. */
  kill(why: AgentError): void {
    this.#settleEnd(why);
    const { pid } = this.#process;
    if (pid === undefined || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    try {
      process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
    } catch {
      // It has just ended, or was killed before it had its group.
      this.#process.kill('SIGKILL');
    }
  }

  /** Lets an idle process go; kills it when it has not ended after `graceMs`. */
  async release(graceMs: number): Promise<void> {
    const code: ErrorCode = 'vision_closed';
    if (this.#process.connected) this.#process.disconnect();
    const timer = setTimeout(
      () => this.kill(new AgentError(code, 'the vision process is stopping')),
      graceMs,
    );
    await this.ended;
    clearTimeout(timer);
  }

  #settleEnd(why: AgentError): void {
    this.#end ??= why;
    clearTimeout(this.#deadline);
    const [first, ...others] = this.#pending.splice(0);
    first?.reject(this.#end);
    for (const one of others) one.resolve(null);
  }
}
