import { asAgentError, type ErrorCode } from '../../base/errors.ts';
import type { RaiseEvent } from '../types.ts';

/** Counts records that the disk did not take, and tells of them when it takes one again. */
export class UnstoredRecords {
  readonly #raise: RaiseEvent;
  #lost: { readonly records: number; readonly code: ErrorCode } | null = null;

  constructor(deps: { raise: RaiseEvent }) {
    this.#raise = deps.raise;
  }

  /** Stores a record. Throws what `store` throws. */
  count<T>(store: () => T): T {
    let stored: T;
    try {
      stored = store();
    } catch (thrown) {
      const { code } = asAgentError(thrown);
      if (code.startsWith('store_')) this.#lost = { records: (this.#lost?.records ?? 0) + 1, code };
      throw thrown;
    }
    if (this.#lost !== null) this.#tell(this.#lost);
    return stored;
  }

  #tell({ records, code }: { readonly records: number; readonly code: ErrorCode }): void {
    this.#lost = null;
    this.#raise({
      type: 'records_unstored',
      severity: 'error',
      code,
      message: `The disk did not take ${records} records. They have no number, and were not published.`,
      context: { records },
    });
  }
}
