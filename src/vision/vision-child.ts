import { addAbortListener } from 'node:events';
import { extname } from 'node:path';
import type { Writable } from 'node:stream';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import { expectReply, FRAME_FD, type VisionReply, type VisionRequest, type WireRequest } from './messages.ts';
import { NativeProcess } from './native-process.ts';
import { canRestorePriority, restorePriority } from '../base/process-priority.ts';
import { MAX_AHEAD } from './protocol.ts';
import type { Plan } from './providers/trial.ts';
import { isVisionReply } from './reply-check.ts';
import { toReasonLine } from './reason-line.ts';

const ENTRY = new URL(`./child/process${extname(import.meta.url)}`, import.meta.url);

/** Frames and arrays are short-lived: keep the heap small, and give freed memory back. */
const NODE_FLAGS = ['--max-old-space-size=96', '--max-semi-space-size=2', '--expose-gc', '--no-warnings'];
/** When both need the CPU, a starting process gets a third of the CPU time of the process that serves. */
const STARTING_NICENESS = 5;

export interface OpenOptions {
  readonly bundle: Bundle;
  readonly plan: Plan;
  /** Resident memory at which the process kills itself, MiB. */
  readonly hardRssMb: number;
  /** Added to the nice value. `while_starting`: low priority until the model is open, if this can be undone. */
  readonly niceness: number | 'while_starting';
  readonly timeoutMs: number;
}

interface Pending {
  readonly id: number;
  readonly deadlineMs: number;
  readonly resolve: (reply: VisionReply | null) => void;
  readonly reject: (error: AgentError) => void;
}

/**
 * One operating system process that runs the model.
 *
 * INVARIANTS
 * - The process handles one request at a time, in the order in which they were sent. It has at most two requests.
 * - The deadline of a request starts when the process begins it. The process is killed when it misses a deadline.
 * - A reply carries the number of its request, and its shape is checked: the process is untrusted.
 * - When the process ends, the request that is being processed fails. The request that was sent early resolves to null:
 *   the caller may send it to another process.
 */
export class VisionChild {
  readonly plan: Plan;
  readonly #native: NativeProcess;
  /** The requests without a reply; the process handles the first one, and the second one was sent early. */
  readonly #pending: Pending[] = [];
  #nextId = 0;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #end: AgentError | null = null;
  #openedRssMb = 0;
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;

  /**
   * Starts a process that opens the bundle and verifies it on its golden images. On failure or abort, first ends the
   * process, then rejects: with the signal's reason, an error of `openVerifiedSession`, `vision_timeout` or
   * `vision_crashed`.
   */
  static async open(options: OpenOptions, signal: AbortSignal): Promise<VisionChild> {
    signal.throwIfAborted();
    const { bundle, plan, hardRssMb, niceness, timeoutMs } = options;
    const isLowered = niceness === 'while_starting' && canRestorePriority();
    const startNiceness = niceness === 'while_starting' ? (isLowered ? STARTING_NICENESS : 0) : niceness;
    const child = new VisionChild(plan, startNiceness);
    using _abort = addAbortListener(signal, () => child.kill(asAgentError(signal.reason)));
    try {
      const reply = await child.request({ type: 'open', bundle, ...plan, hardRssMb }, timeoutMs);
      child.#openedRssMb = expectReply(reply, 'opened').rssMb;
      if (isLowered) restorePriority(child.pid);
      return child;
    } catch (thrown) {
      child.kill(asAgentError(thrown));
      await child.ended;
      signal.throwIfAborted();
      throw thrown;
    }
  }

  private constructor(plan: Plan, niceness: number) {
    this.plan = plan;
    this.#native = new NativeProcess({ entry: ENTRY, nodeFlags: NODE_FLAGS, pipes: ['pipe'], niceness });
    const { child } = this.#native;
    this.ended = new Promise((resolve) => {
      child.once('error', (cause) => {
        this.#settleEnd(
          new AgentError('vision_start_failed', 'the vision process cannot be started', { cause }),
        );
        resolve();
      });
      child.once('exit', (code, signal) => {
        const how = signal ?? `exit code ${code ?? -1}`;
        const { lastLine, hasExceededMemory } = this.#native;
        const detail = lastLine === undefined ? '' : `: ${toReasonLine(lastLine)}`;
        const message = `the vision process ended with ${how}${detail}`;
        const context = { code, signal, hasExceededMemory };
        this.#settleEnd(new AgentError('vision_crashed', message, { context }));
        resolve();
      });
    });
    child.on('message', (message) => {
      this.#receive(message);
    });
    // Ignore write errors: if the process has ended, its exit event reports this.
    this.#framePipe?.on('error', () => undefined);
  }

  get pid(): number | undefined {
    return this.#native.child.pid;
  }

  /** Resident memory of the process after it opened the bundle, MiB. */
  get openedRssMb(): number {
    return this.#openedRssMb;
  }

  /** Why the process ended or was killed; null while it runs. */
  get end(): AgentError | null {
    return this.#end;
  }

  /**
   * Sends one request. Rejects with the error of the reply (`image_*`, `vision_output_invalid`, …), `vision_timeout`
   * after `deadlineMs` (the process is killed), or `vision_crashed`. Resolves to null when the process ended before it
   * began to process this request.
   */
  async request(request: VisionRequest, deadlineMs: number): Promise<VisionReply | null> {
    if (this.#end !== null) throw this.#end;
    if (this.#pending.length >= MAX_AHEAD)
      throw new AgentError('internal', `the vision process has ${MAX_AHEAD} requests already`);
    const reply = await new Promise<VisionReply | null>((resolve, reject) => {
      const id = this.#nextId++;
      this.#send(request, id);
      this.#pending.push({ id, deadlineMs, resolve, reject });
      if (this.#pending.length === 1) this.#startDeadline();
    });
    if (reply?.type === 'failed') {
      const { code, message, context } = reply.error;
      throw new AgentError(code, message, { context });
    }
    return reply;
  }

  /** Starts the deadline of the request that the process handles now. */
  #startDeadline(): void {
    clearTimeout(this.#deadlineTimer);
    const [first] = this.#pending;
    if (first === undefined) return;
    const { deadlineMs } = first;
    this.#deadlineTimer = setTimeout(() => {
      const message = `the vision process did not reply within ${deadlineMs / 1000} s`;
      this.kill(new AgentError('vision_timeout', message, { context: { deadlineMs } }));
    }, deadlineMs);
  }

  /** A reply that is malformed or not to the first request would give a frame the result of another: ends the process. */
  #receive(message: unknown): void {
    const [first] = this.#pending;
    if (!isVisionReply(message) || message.id !== first?.id) {
      this.kill(new AgentError('vision_crashed', 'the vision process sent an invalid reply'));
      return;
    }
    this.#pending.shift();
    this.#startDeadline();
    first.resolve(message);
  }

  #send(request: VisionRequest, id: number): void {
    if (request.type === 'open') {
      this.#post({ ...request, id });
      return;
    }
    const { bytes, ...rest } = request;
    this.#post({ ...rest, id, sizeBytes: bytes.length });
    this.#framePipe?.write(bytes);
  }

  #post(message: WireRequest): void {
    this.#native.child.send(message, (cause) => {
      if (cause === null) return;
      this.kill(new AgentError('vision_crashed', 'the vision process cannot be reached', { cause }));
    });
  }

  get #framePipe(): Writable | null {
    return this.#native.child.stdio[FRAME_FD] as Writable | null;
  }

  /** Kills the process and its group at once; the request that is being processed rejects with `reason`. */
  kill(reason: AgentError): void {
    this.#settleEnd(reason);
    this.#native.kill();
  }

  /** Lets an idle process exit; kills it after `graceMs`. */
  async release(graceMs: number): Promise<void> {
    if (this.#native.child.connected) this.#native.child.disconnect();
    const stopping = new AgentError('vision_closed', 'the vision process is stopping');
    const killTimer = setTimeout(() => this.kill(stopping), graceMs);
    await this.ended;
    clearTimeout(killTimer);
  }

  #settleEnd(reason: AgentError): void {
    this.#end ??= reason;
    clearTimeout(this.#deadlineTimer);
    const [first, ...others] = this.#pending.splice(0);
    first?.reject(this.#end);
    for (const other of others) other.resolve(null);
  }
}
