interface Suspicion {
  readonly strikes: number;
  /** The last link that a strike was counted for. */
  readonly link: number;
}

/** Messages over which the link was lost. Each is to be sent alone, until it gets through or has had its strikes. */
export class PoisonMessages {
  readonly #rows = new Map<number, Suspicion>();

  has(rowId: number): boolean {
    return this.#rows.has(rowId);
  }

  /**
   * Notes a loss over a message. Returns its strikes: one for each link that it was alone on, however often a link
   * that is being left refuses it.
   */
  add(rowId: number, sent: { readonly alone: boolean; readonly link: number }): number {
    const before = this.#rows.get(rowId) ?? { strikes: 0, link: 0 };
    const counts = sent.alone && sent.link !== before.link;
    const strikes = before.strikes + (counts ? 1 : 0);
    this.#rows.set(rowId, { strikes, link: counts ? sent.link : before.link });
    return strikes;
  }

  forgive(rowId: number): void {
    this.#rows.delete(rowId);
  }
}
