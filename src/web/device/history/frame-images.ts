import { requestImage } from '../../shared/api.ts';

/** Requests at the same time. */
const PARALLEL = 3;

export type FrameImage = { readonly state: 'shown'; readonly url: string } | { readonly state: 'missing' };

/** The images of kept frames, each requested once. `onChange` is called when one has arrived. */
export class FrameImages {
  readonly #images = new Map<string, FrameImage>();
  readonly #stop = new AbortController();
  readonly #onChange: () => void;
  #wanted: string[] = [];
  readonly #underWay = new Set<string>();

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get(id: string): FrameImage | null {
    return this.#images.get(id) ?? null;
  }

  /** Requests these images, in this order, and forgets what waits of former calls. */
  want(ids: readonly string[]): void {
    this.#wanted = ids.filter((id) => !this.#images.has(id) && !this.#underWay.has(id));
    this.#next();
  }

  /** How many of these images have arrived, or do not exist. */
  count(ids: readonly string[]): number {
    return ids.filter((id) => this.#images.has(id)).length;
  }

  close(): void {
    this.#stop.abort();
    for (const image of this.#images.values()) if (image.state === 'shown') URL.revokeObjectURL(image.url);
    this.#images.clear();
  }

  #next(): void {
    while (this.#underWay.size < PARALLEL) {
      const id = this.#wanted.shift();
      if (id === undefined) return;
      this.#underWay.add(id);
      void this.#load(id);
    }
  }

  async #load(id: string): Promise<void> {
    const { signal } = this.#stop;
    // A frame that cannot be loaded is passed over.
    const url = await requestImage(`/api/v1/observations/${id}/image.jpg`, signal).catch(() => null);
    this.#underWay.delete(id);
    if (signal.aborted) {
      if (url !== null) URL.revokeObjectURL(url);
      return;
    }
    this.#images.set(id, url === null ? { state: 'missing' } : { state: 'shown', url });
    this.#onChange();
    this.#next();
  }
}
