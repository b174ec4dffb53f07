import { AgentError } from '../base/errors.ts';
import type { VisionReply, VisionRequest } from './messages.ts';
import { MAX_AHEAD, type FramePriority } from './protocol.ts';
import type { VisionChild } from './vision-child.ts';

const RANK: Readonly<Record<FramePriority, number>> = { schedule: 0, request: 1, upload: 2 };

export interface SubmitOptions {
  readonly priority?: FramePriority;
  /** See `FrameOptions.finishOnceDue`. */
  readonly finishOnceDue?: boolean;
}

export interface QueuedRequest {
  readonly request: VisionRequest;
  readonly priority: FramePriority;
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
 * - Schedule first: frames wait in the order of their priority, each kind in order of arrival.
 * - Bounded: a full queue refuses a frame with `vision_busy`, unless a frame of lower priority waits: then it displaces
 *   the newest of the lowest priority.
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
    { priority = 'request', finishOnceDue = false }: SubmitOptions = {},
  ): Promise<VisionReply> {
    let abort = (): void => undefined;
    try {
      return await new Promise<VisionReply>((resolve, reject) => {
        const entry: QueuedRequest = { request, priority, signal, resolve, reject };
        abort = () => {
          if (finishOnceDue && this.#isDue(entry)) return;
          this.remove(entry);
          reject(signal?.reason as Error);
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
      const displaced = last && RANK[last.priority] > RANK[entry.priority] ? last : entry;
      displaced.reject(
        new AgentError('vision_busy', `${this.#max} frames are waiting already`, {
          context: { max: this.#max },
        }),
      );
      if (displaced === entry) return;
      this.#waiting.pop();
    }
    this.#waiting.splice(this.#indexOfRank(RANK[entry.priority] + 1), 0, entry);
  }

  /** Queues a request again whose process ended before it began. It was admitted before, so the bound does not apply. */
  putBack(entry: QueuedRequest): void {
    this.#waiting.splice(this.#indexOfRank(RANK[entry.priority]), 0, entry);
  }

  /** Index of the first frame of this rank or a later one. */
  #indexOfRank(rank: number): number {
    const index = this.#waiting.findIndex(({ priority }) => RANK[priority] >= rank);
    return index === -1 ? this.#waiting.length : index;
  }

  next(): QueuedRequest | undefined {
    return this.#waiting.shift();
  }

  /** Removes an entry that waits, without settling it. */
  remove(entry: QueuedRequest): void {
    const index = this.#waiting.indexOf(entry);
    if (index !== -1) this.#waiting.splice(index, 1);
  }

  /** Whether the process has the request, or gets it next. */
  #isDue(entry: QueuedRequest): boolean {
    return this.#inFlight.size + this.#waiting.indexOf(entry) < MAX_AHEAD;
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
