import type { AgentError } from '../errors.ts';
import { MOST_AHEAD, type VisionChild } from './child.ts';

/** What was sent to a vision process and is not answered yet; an old process may have it while a new one serves already. */
export class Flights {
  readonly #children = new Map<Promise<void>, VisionChild>();

  get size(): number {
    return this.#children.size;
  }

  /** False also while another process is at work: one frame is worked at at a time. */
  hasRoom(child: VisionChild): boolean {
    const others = [...this.#children.values()];
    return child.end === null && others.length < MOST_AHEAD && others.every((other) => other === child);
  }

  has(child: VisionChild): boolean {
    return [...this.#children.values()].includes(child);
  }

  /** `work` must not reject; `onLanded` is called when it is done, and has room then. */
  add(child: VisionChild, work: Promise<void>, onLanded: () => void): void {
    const flight = work.finally(() => {
      this.#children.delete(flight);
      onLanded();
    });
    this.#children.set(flight, child);
  }

  /** All that is in flight now is answered, or its process is gone. */
  async landed(): Promise<void> {
    await Promise.all(this.#children.keys());
  }

  kill(why: AgentError): void {
    for (const child of this.#children.values()) child.kill(why);
  }
}
