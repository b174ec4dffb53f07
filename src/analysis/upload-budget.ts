import type { UploadReservation } from '../contract/analysis.ts';

export interface UploadBudgetOptions {
  /** Image bytes of all requests together. */
  readonly budgetBytes: number;
  readonly maxRequests: number;
}

/**
 * First admission stage of an uploaded image: memory, reserved before the body is received.
 *
 * INVARIANT: bounded bytes. All uploads together hold at most `budgetBytes`; a single one always fits.
 */
export class UploadBudget {
  readonly #options: UploadBudgetOptions;
  #reservedBytes = 0;
  #requests = 0;

  constructor(options: UploadBudgetOptions) {
    this.#options = options;
  }

  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  get requests(): number {
    return this.#requests;
  }

  /** Null when the number of requests or the budget of bytes is used up. */
  reserve(sizeBytes: number): UploadReservation | null {
    const fits = this.#requests === 0 || this.#reservedBytes + sizeBytes <= this.#options.budgetBytes;
    if (!fits || this.#requests >= this.#options.maxRequests) return null;
    this.#requests += 1;
    this.#reservedBytes += sizeBytes;
    let isHeld = true;
    return {
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#requests -= 1;
        this.#reservedBytes -= sizeBytes;
      },
    };
  }
}
