import { AgentError } from '../base/errors.ts';
import type { VisionReply, VisionRequest } from './messages.ts';
import { MAX_AHEAD, type VisionChild } from './vision-child.ts';

export type Priority = 'schedule' | 'request';

export interface SubmitOptions {
  readonly priority?: Priority;
  /** See `FrameOptions.finishOnceSent`. */
  readonly finishOnceSent?: boolean;
}

export interface QueuedRequest {
  readonly request: VisionRequest;
  readonly priority: Priority;
  /** Aborted when nobody waits for the reply any longer. */
  readonly signal: AbortSignal | undefined;
  readonly resolve: (reply: VisionReply) => void;
  readonly reject: (reason: unknown) => void;
}

export interface RequestQueueDeps {
  /** The process that gets the next request; null while there is none. */
  readonly serving: () => VisionChild | null;
  /** Sends one request and settles its entry. Must not reject. */
  readonly send: (child: VisionChild, entry: QueuedRequest) => Promise<void>;
}

/**
 * The requests to the vision process: those that wait, and those that were sent and have no reply yet.
 *
 * INVARIANTS
 * - Schedule first: scheduled frames go before requests, each kind in order of arrival.
 * - Bounded: a full queue refuses a request with `vision_busy`; a scheduled frame displaces the newest request.
 * - One process at a time: a new process gets its first request when the old one has answered all of its own.
 */
export class RequestQueue {
  readonly #max: number;
  readonly #deps: RequestQueueDeps;
  readonly #waiting: QueuedRequest[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  /** The process that has all requests in flight. */
  #child: VisionChild | null = null;

  constructor(options: { readonly max: number }, deps: RequestQueueDeps) {
    this.#max = options.max;
    this.#deps = deps;
  }

  /** Resolves with the reply. Rejects with `vision_busy`, the signal's reason, or as the process does. */
  async submit(
    request: VisionRequest,
    signal: AbortSignal | undefined,
    { priority = 'request', finishOnceSent = false }: SubmitOptions = {},
  ): Promise<VisionReply> {
    let abort = (): void => undefined;
    try {
      return await new Promise<VisionReply>((resolve, reject) => {
        const entry: QueuedRequest = { request, priority, signal, resolve, reject };
        abort = () => {
          if (this.remove(entry) || !finishOnceSent) reject(signal?.reason as Error);
        };
        signal?.addEventListener('abort', abort, { once: true });
        this.add(entry);
        this.sendWaiting();
      });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Rejects the entry, or the one that it displaces, with `vision_busy` when the queue is full. */
  add(entry: QueuedRequest): void {
    if (this.#waiting.length >= this.#max) {
      const last = this.#waiting.at(-1);
      const displaced = entry.priority === 'schedule' && last?.priority === 'request' ? last : entry;
      displaced.reject(
        new AgentError('vision_busy', `${this.#max} frames are waiting already`, {
          context: { max: this.#max },
        }),
      );
      if (displaced === entry) return;
      this.#waiting.pop();
    }
    const end = entry.priority === 'schedule' ? this.#firstRequestIndex() : this.#waiting.length;
    this.#waiting.splice(end, 0, entry);
  }

  /** Queues a request again whose process ended before it began. It was admitted before, so the bound does not apply. */
  putBack(entry: QueuedRequest): void {
    const front = entry.priority === 'schedule' ? 0 : this.#firstRequestIndex();
    this.#waiting.splice(front, 0, entry);
  }

  /** Scheduled frames are before this index. */
  #firstRequestIndex(): number {
    const index = this.#waiting.findIndex(({ priority }) => priority === 'request');
    return index === -1 ? this.#waiting.length : index;
  }

  next(): QueuedRequest | undefined {
    return this.#waiting.shift();
  }

  /** Removes an entry that waits, without settling it. False when it does not wait. */
  remove(entry: QueuedRequest): boolean {
    const index = this.#waiting.indexOf(entry);
    if (index !== -1) this.#waiting.splice(index, 1);
    return index !== -1;
  }

  rejectWaiting(reason: AgentError): void {
    for (const entry of this.#waiting.splice(0)) entry.reject(reason);
  }

  /** Sends waiting requests to the serving process while it has room. Call this when another process serves. */
  sendWaiting(): void {
    const child = this.#deps.serving();
    while (child !== null && this.#hasRoom(child)) {
      const entry = this.next();
      if (entry === undefined) return;
      this.#child = child;
      const sent = this.#deps.send(child, entry).finally(() => {
        this.#inFlight.delete(sent);
        this.sendWaiting();
      });
      this.#inFlight.add(sent);
    }
  }

  #hasRoom(child: VisionChild): boolean {
    const { size } = this.#inFlight;
    return child.end === null && (size === 0 || (this.#child === child && size < MAX_AHEAD));
  }

  isInFlightAt(child: VisionChild): boolean {
    return this.#inFlight.size > 0 && this.#child === child;
  }

  get hasInFlight(): boolean {
    return this.#inFlight.size > 0;
  }

  /** Resolves when the requests that are in flight now are answered, or their process is gone. */
  async inFlightSettled(): Promise<void> {
    await Promise.all(this.#inFlight);
  }

  killInFlight(reason: AgentError): void {
    if (this.hasInFlight) this.#child?.kill(reason);
  }
}
