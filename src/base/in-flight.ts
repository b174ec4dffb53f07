/**
 * An unordered collection of requests or messages that wait for an answer; adding and removing take constant time. A
 * `Set` would leave hash tables behind that keep removed items reachable: at thousands of messages a second those
 * tables outlive the messages by far.
 */
export class InFlight<T extends { place: number }> {
  readonly #all: T[] = [];

  get size(): number {
    return this.#all.length;
  }

  /** Sets `place` of the item, which belongs to this collection until the item is deleted. */
  add(item: T): void {
    item.place = this.#all.push(item) - 1;
  }

  /** False when the item is not, or no longer, in the collection. */
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

  /** A copy, so that items can be deleted while the caller iterates. */
  all(): readonly T[] {
    return [...this.#all];
  }
}
