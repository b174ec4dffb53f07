import { addAbortListener } from 'node:events';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { VisionReply, VisionRequest } from './messages.ts';
import { MAX_AHEAD, type FrameOptions, type FramePriority } from './protocol.ts';
import type { SourceShares } from './source-shares.ts';
import type { VisionChild } from './vision-child.ts';

const RANK: Readonly<Record<FramePriority, number>> = { schedule: 0, request: 1, upload: 2, clip: 3 };

export type SubmitOptions = Pick<FrameOptions, 'priority' | 'finishOnceDue' | 'source'>;

/** The source of requests that name none. */
const NO_SOURCE = '';

export interface QueuedRequest {
  readonly request: VisionRequest;
  readonly priority: FramePriority;
  /** As in `FrameOptions`. */
  readonly source: string;
  /** Aborts when nobody waits for the reply any longer. */
  readonly signal: AbortSignal | undefined;
  readonly resolve: (reply: VisionReply) => void;
  readonly reject: (reason: unknown) => void;
}

export interface RequestQueueDeps {
  /** The process that gets the next request; null while no process is open. */
  readonly serving: () => VisionChild | null;
  /** Sends one request and settles its entry. Must not reject. */
  readonly send: (child: VisionChild, entry: QueuedRequest) => Promise<void>;
  readonly shares: SourceShares;
  readonly clock: Clock;
}

/**
 * The requests to the vision process: those that wait to be sent, and those that were sent and have no reply yet.
 *
 * INVARIANTS
 * - Frames wait in the order of their priority, frames of equal priority as `SourceShares` says, frames of one source in the
 *   order of arrival.
 * - A full queue refuses a new frame with `vision_busy`, unless a frame of lower priority waits: then it accepts the new
 *   frame, and refuses the newest waiting frame of the lowest priority.
 * - Only one process has requests: a new process gets its first request after the old one has answered all of its own.
 */
export class RequestQueue {
  readonly #max: number;
  readonly #deps: RequestQueueDeps;
  readonly #waiting: QueuedRequest[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  /** The process to which all unanswered requests were sent. */
  #child: VisionChild | null = null;
  /** The source of the frame that was sent last. */
  #lastSource = NO_SOURCE;
  /** Ends the wait for a source that rests; null while there is no such wait. */
  #resting: AbortController | null = null;

  constructor(options: { readonly max: number }, deps: RequestQueueDeps) {
    this.#max = options.max;
    this.#deps = deps;
  }

  /** Resolves with the reply. Rejects with `vision_busy`, the signal's reason, or the error from the process. */
  async submit(
    request: VisionRequest,
    signal: AbortSignal | undefined,
    { priority = 'request', finishOnceDue = false, source = NO_SOURCE }: SubmitOptions = {},
  ): Promise<VisionReply> {
    const { promise, resolve, reject } = Promise.withResolvers<VisionReply>();
    const entry: QueuedRequest = { request, priority, source, signal, resolve, reject };
    this.#deps.shares.submitted(source, priority);
    const abort = (): void => {
      if (finishOnceDue && this.#isDue(entry)) return;
      this.remove(entry);
      reject(signal?.reason);
    };
    using _abort = signal ? addAbortListener(signal, abort) : null;
    this.add(entry);
    this.sendWaiting();
    return await promise;
  }

  /** Adds the entry. When the queue is full, rejects it, or an entry of lower priority, with `vision_busy`. */
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

  /** Returns a request to the queue after its process ended before processing it. Ignores the limit of the queue. */
  putBack(entry: QueuedRequest): void {
    this.#waiting.splice(this.#indexOfRank(RANK[entry.priority]), 0, entry);
  }

  /** Index of the first waiting frame of this rank or a later rank. */
  #indexOfRank(rank: number): number {
    const index = this.#waiting.findIndex(({ priority }) => RANK[priority] >= rank);
    return index === -1 ? this.#waiting.length : index;
  }

  /** Takes the next frame that may be sent; undefined when there is none, or all of them have to wait. */
  next(): QueuedRequest | undefined {
    const { shares } = this.#deps;
    let next: QueuedRequest | undefined;
    for (const entry of this.#waiting) {
      if (next !== undefined && RANK[entry.priority] > RANK[next.priority]) break;
      if (shares.restMs(entry.source) > 0) continue;
      if (next === undefined || shares.usedMs(entry.source) < shares.usedMs(next.source)) next = entry;
    }
    if (next === undefined || (this.hasInFlight && !shares.mayGoAhead(next.source, this.#lastSource)))
      return undefined;
    this.remove(next);
    return next;
  }

  /** Removes a waiting entry without resolving or rejecting it. */
  remove(entry: QueuedRequest): void {
    const index = this.#waiting.indexOf(entry);
    if (index !== -1) this.#waiting.splice(index, 1);
  }

  /** True when the request was already sent to the process, or is the next one to be sent. */
  #isDue(entry: QueuedRequest): boolean {
    const isResting = this.#deps.shares.restMs(entry.source) > 0;
    return !isResting && this.#inFlight.size + this.#waiting.indexOf(entry) < MAX_AHEAD;
  }

  rejectWaiting(reason: AgentError): void {
    this.#resting?.abort();
    for (const entry of this.#waiting.splice(0)) entry.reject(reason);
  }

  /** Sends waiting requests to the process until it has `MAX_AHEAD`. Call this also after the process was replaced. */
  sendWaiting(): void {
    const child = this.#deps.serving();
    while (child !== null && this.#hasRoom(child)) {
      const entry = this.next();
      if (entry === undefined) {
        this.#wakeAfterRest();
        return;
      }
      this.#child = child;
      this.#lastSource = entry.source;
      const sent = this.#deps.send(child, entry).finally(() => {
        this.#inFlight.delete(sent);
        this.sendWaiting();
      });
      this.#inFlight.add(sent);
    }
  }

  /** Tries again when the first waiting frame may be sent. Without waiting frames, or while one is in flight, it need not. */
  #wakeAfterRest(): void {
    if (this.#resting !== null || this.#waiting.length === 0 || this.hasInFlight) return;
    const resting = (this.#resting = new AbortController());
    const restMs = Math.min(...this.#waiting.map(({ source }) => this.#deps.shares.restMs(source)));
    const wake = (): void => {
      this.#resting = null;
      this.sendWaiting();
    };
    void this.#deps.clock.sleep(Math.ceil(restMs), resting.signal).then(wake, () => {
      this.#resting = null;
    });
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

  /** Resolves when all requests that are sent now have a reply, or their process has ended. */
  async inFlightSettled(): Promise<void> {
    await Promise.all(this.#inFlight);
  }

  killInFlight(reason: AgentError): void {
    if (this.hasInFlight) this.#child?.kill(reason);
  }
}
