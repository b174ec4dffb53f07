import { cameraOf, type prepareOutbox, type Sum } from './statements.ts';

type TallyStatements = Pick<ReturnType<typeof prepareOutbox>, 'count' | 'bytes' | 'setBytes'>;

/** How much waits: known at any time, beside a table that would have to be read through for it. */
export class OutboxTally {
  readonly #statements: TallyStatements;
  #rows = 0;
  #events = 0;
  #bytes = 0;

  constructor(statements: TallyStatements) {
    this.#statements = statements;
    this.count();
  }

  get rows(): number {
    return this.#rows;
  }

  get events(): number {
    return this.#events;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Looks into the table: at the start, and when a transaction did not happen. */
  count(): void {
    const { depth, events } = this.#statements.count.get() ?? { depth: 0, events: 0 };
    this.#rows = depth;
    this.#events = events;
    this.#bytes = this.#statements.bytes.get()?.value ?? 0;
  }

  came(stream: string, bytes: number): void {
    this.#rows += 1;
    if (cameraOf(stream) === null) this.#events += 1;
    this.grew(bytes);
  }

  /** By so many bytes; they may be fewer than none. */
  grew(bytes: number): void {
    this.#bytes += bytes;
    this.#statements.setBytes.run(this.#bytes);
  }

  /** `save` must follow, before the transaction ends. */
  went({ rows, events, bytes }: Sum): void {
    this.#rows -= rows;
    this.#events -= events;
    this.#bytes -= bytes;
  }

  save(): void {
    this.#statements.setBytes.run(this.#bytes);
  }
}
