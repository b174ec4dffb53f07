/**
 * A typed event. It lets a part notify parts that are constructed later: the earlier one gets `emit`, the later ones are
 * added as listeners when all of them exist.
 */
export class Emitter<Args extends readonly unknown[] = []> {
  readonly #listeners: ((...args: Args) => unknown)[] = [];

  /** Adds a listener. Listeners run in the order in which they were added. */
  listen(listener: (...args: Args) => unknown): void {
    this.#listeners.push(listener);
  }

  /** Calls every listener. An error of a listener reaches the caller, and the listeners after it do not run. */
  readonly emit = (...args: Args): void => {
    for (const listener of this.#listeners) listener(...args);
  };

  /** As `emit`, and waits for each listener before the next one runs. */
  readonly emitAndWait = async (...args: Args): Promise<void> => {
    for (const listener of this.#listeners) await listener(...args);
  };
}
