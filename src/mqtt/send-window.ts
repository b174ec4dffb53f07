interface Waiting {
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

/**
 * Turns to send: at most `size` messages are unacknowledged at a time, whoever sends them. Bulk messages wait until
 * no other message does.
 */
export class SendWindow {
  readonly #size: number;
  #used = 0;
  readonly #urgent: Waiting[] = [];
  readonly #bulk: Waiting[] = [];
  #closed: { readonly reason: Error } | null = null;

  constructor(size: number) {
    this.#size = size;
  }

  /** True when the message may be sent at once; `release` must follow. */
  tryEnter(): boolean {
    if (this.#closed || this.#used >= this.#size) return false;
    this.#used += 1;
    return true;
  }

  /** Resolves when the message may be sent; `release` must follow. Rejects when the window is closed meanwhile. */
  enter(bulk: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closed.reason);
    if (this.tryEnter()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      (bulk ? this.#bulk : this.#urgent).push({ resolve, reject });
    });
  }

  release(): void {
    const next = this.#urgent.shift() ?? this.#bulk.shift();
    // The turn is handed on; the count stays.
    if (next) next.resolve();
    else this.#used -= 1;
  }

  close(reason: Error): void {
    this.#closed ??= { reason };
    for (const { reject } of [...this.#urgent.splice(0), ...this.#bulk.splice(0)]) reject(reason);
  }
}
