interface Waiting {
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

/**
 * AdmissionQueue to send: at most `size` messages are unacknowledged at a time, whoever sends them. Bulk messages wait until
 * no other message does.
 */
export class SendWindow {
  readonly #size: number;
  #used = 0;
  /** AdmissionQueue that were given and whose owners have not yet run: who comes now must not get in before them. */
  #given = 0;
  readonly #urgent: Waiting[] = [];
  readonly #bulk: Waiting[] = [];
  #closed: { readonly reason: Error } | null = null;

  constructor(size: number) {
    this.#size = size;
  }

  /** True when the message may be sent at once; `release` must follow. */
  tryEnter(): boolean {
    if (this.#closed || this.#given > 0 || this.#used >= this.#size) return false;
    this.#used += 1;
    return true;
  }

  /** Resolves when the message may be sent; `release` must follow. Rejects when the window is closed meanwhile. */
  enter(bulk: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closed.reason);
    return new Promise((resolve, reject) => {
      (bulk ? this.#bulk : this.#urgent).push({ resolve, reject });
      if (this.#given === 0) this.#give();
    });
  }

  release(): void {
    this.#used -= 1;
    this.#give();
  }

  #give(): void {
    while (this.#used < this.#size) {
      const next = this.#urgent.shift() ?? this.#bulk.shift();
      if (!next) return;
      this.#used += 1;
      this.#given += 1;
      next.resolve();
      // Runs right behind what waits for this turn.
      queueMicrotask(() => {
        this.#given -= 1;
        if (this.#given === 0) this.#give();
      });
    }
  }

  close(reason: Error): void {
    this.#closed ??= { reason };
    for (const { reject } of [...this.#urgent.splice(0), ...this.#bulk.splice(0)]) reject(reason);
  }
}
