import type { UploadReservation } from '../contract/analysis.ts';

export interface UploadBudgetOptions {
  /** Limit for the image bytes of all requests together. */
  readonly budgetBytes: number;
  readonly maxRequests: number;
}

/**
 * The first limit that an uploaded image must pass: memory is reserved before the body is received.
 *
 * INVARIANT: bounded bytes. All uploads together hold at most `budgetBytes`; a single upload is always accepted.
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

  /** Reserves memory for one request. Returns null when the number of requests or the budget of bytes is used up. */
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
