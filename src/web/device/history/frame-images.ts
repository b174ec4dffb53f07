import { requestImage } from '../../shared/api.ts';

/** Requests at the same time. */
const PARALLEL = 3;

/** `missing`: no image is kept. `failed`: the request failed; the next `want` tries again. */
export type FrameImage =
  { readonly state: 'shown'; readonly url: string } | { readonly state: 'missing' | 'failed' };

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

  /** Requests these images, in this order. Images of former calls that were not requested yet are dropped. */
  want(ids: readonly string[]): void {
    const isOpen = (id: string): boolean => {
      const image = this.#images.get(id);
      return (image === undefined || image.state === 'failed') && !this.#underWay.has(id);
    };
    this.#wanted = ids.filter(isOpen);
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
    const image = await requestImage(`/api/v1/observations/${id}/image.jpg`, signal).then(
      (url): FrameImage => (url === null ? { state: 'missing' } : { state: 'shown', url }),
      (): FrameImage => ({ state: 'failed' }),
    );
    this.#underWay.delete(id);
    if (signal.aborted) {
      if (image.state === 'shown') URL.revokeObjectURL(image.url);
      return;
    }
    this.#images.set(id, image);
    this.#onChange();
    this.#next();
  }
}
