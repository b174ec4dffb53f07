import { AgentError } from '../base/errors.ts';
import type { VisionReply, VisionRequest } from './messages.ts';

export type Priority = 'schedule' | 'request';

export interface QueuedRequest {
  readonly request: VisionRequest;
  readonly priority: Priority;
  /** Aborted when nobody waits for the reply any more. */
  readonly signal: AbortSignal | undefined;
  readonly resolve: (reply: VisionReply) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Bounded; scheduled frames before requests, each in the order they came. When it is full a request is refused, and a
 * scheduled frame takes the place of the newest request.
 */
export class RequestQueue {
  readonly #max: number;
  readonly #waiting: QueuedRequest[] = [];

  constructor(options: { readonly max: number }) {
    this.#max = options.max;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Rejects the entry, or the one that it displaces, with `vision_busy` when there is no room. */
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
    const end = entry.priority === 'schedule' ? this.#firstRequest() : this.#waiting.length;
    this.#waiting.splice(end, 0, entry);
  }

  /** One whose turn did not come where it was sent. It was let in before: there is always room for it. */
  putBack(entry: QueuedRequest): void {
    const front = entry.priority === 'schedule' ? 0 : this.#firstRequest();
    this.#waiting.splice(front, 0, entry);
  }

  /** Where the scheduled frames end. */
  #firstRequest(): number {
    const at = this.#waiting.findIndex(({ priority }) => priority === 'request');
    return at === -1 ? this.#waiting.length : at;
  }

  next(): QueuedRequest | undefined {
    return this.#waiting.shift();
  }

  /** Takes an entry out again; its promise is the caller's to settle. */
  remove(entry: QueuedRequest): void {
    const at = this.#waiting.indexOf(entry);
    if (at !== -1) this.#waiting.splice(at, 1);
  }

  rejectAll(reason: AgentError): void {
    for (const entry of this.#waiting.splice(0)) entry.reject(reason);
  }
}
