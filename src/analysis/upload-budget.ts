import type { ImageRoom } from '../contract/analysis.ts';

export interface RoomsOptions {
  /** Bytes of images that requests may hold in memory, all together. */
  readonly budgetBytes: number;
  /** Requests that may hold any. */
  readonly most: number;
}

/** The memory that requests' images may take, given out before a body is read. */
export class UploadBudget {
  readonly #options: RoomsOptions;
  #takenBytes = 0;
  #taken = 0;

  constructor(options: RoomsOptions) {
    this.#options = options;
  }

  get takenBytes(): number {
    return this.#takenBytes;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Null when there is none: by number, or by bytes; one alone always finds room. */
  take(sizeBytes: number): ImageRoom | null {
    const fits = this.#taken === 0 || this.#takenBytes + sizeBytes <= this.#options.budgetBytes;
    if (!fits || this.#taken >= this.#options.most) return null;
    this.#taken += 1;
    this.#takenBytes += sizeBytes;
    let held = true;
    return {
      release: () => {
        if (!held) return;
        held = false;
        this.#taken -= 1;
        this.#takenBytes -= sizeBytes;
      },
    };
  }
}
