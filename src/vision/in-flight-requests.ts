import type { AgentError } from '../base/errors.ts';
import { MAX_AHEAD, type VisionChild } from './vision-child.ts';

/** What was sent to a vision process and is not answered yet; that may be the old one while a new one serves already. */
export class InFlightRequests {
  readonly #flights = new Set<Promise<void>>();
  /** Has all of them: one frame is worked at at a time. */
  #child: VisionChild | null = null;

  get size(): number {
    return this.#flights.size;
  }

  hasRoom(child: VisionChild): boolean {
    return child.end === null && (this.size === 0 || (this.has(child) && this.size < MAX_AHEAD));
  }

  has(child: VisionChild): boolean {
    return this.size > 0 && this.#child === child;
  }

  /** `work` must not reject; `onLanded` is called when it is done, and has room then. Only where `hasRoom`. */
  add(child: VisionChild, work: Promise<void>, onLanded: () => void): void {
    this.#child = child;
    const flight = work.finally(() => {
      this.#flights.delete(flight);
      onLanded();
    });
    this.#flights.add(flight);
  }

  /** All that is in flight now is answered, or its process is gone. */
  async landed(): Promise<void> {
    await Promise.all(this.#flights);
  }

  kill(why: AgentError): void {
    if (this.size > 0) this.#child?.kill(why);
  }
}
