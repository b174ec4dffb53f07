import type { OutboxEntry } from '../../store/types.ts';

/** A message that is with the broker. */
export interface Flight {
  readonly entry: OutboxEntry;
  readonly historical: boolean;
  readonly publishedAtMs: number;
  /** Sent with nothing beside it, for the link was lost over it before. */
  readonly alone: boolean;
  /** Look-rounds of the deadline that had begun when it was sent. */
  readonly round: number;
  /** Which link it went out on: the first, the second, … */
  readonly link: number;
  /** As `InFlight` keeps it. */
  place: number;
}

/**
 * What is under way now, in no order. Unlike a `Set` it leaves no tables behind that keep what was in them: with thousands
 * of messages a second those would outlive the messages by far.
 */
export class InFlight<T extends { place: number }> {
  readonly #all: T[] = [];

  get size(): number {
    return this.#all.length;
  }

  add(item: T): void {
    item.place = this.#all.push(item) - 1;
  }

  /** False when it is not, or no longer, under way. */
  delete(item: T): boolean {
    if (this.#all[item.place] !== item) return false;
    const last = this.#all.pop();
    if (last && last !== item) {
      this.#all[item.place] = last;
      last.place = item.place;
    }
    item.place = -1;
    return true;
  }

  /** As it stands now, so that some may be deleted meanwhile. */
  all(): readonly T[] {
    return [...this.#all];
  }
}
