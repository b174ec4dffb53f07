import type { Clock } from '../base/clock.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { Bundle } from '../model/manifest.ts';
import type { VisionProcess } from '../vision/client.ts';

/** A bundle that serves or is about to. */
export interface ChosenBundle {
  readonly bundle: Bundle;
  /** `factory`: shipped with the agent. */
  readonly slot: 'active' | 'factory';
  /** Shipped, or signed for. */
  readonly trusted: boolean;
}

/** An observation that holds a model for longer than this has been forgotten. */
const MAX_HOLD_MS = 600_000;

export const refOf = ({ manifest, digest }: Bundle): ModelRef => ({
  name: manifest.name,
  version: manifest.version,
  digest,
});

/** One model in its process, from its start until nobody needs it any more. */
export class ServedModel {
  readonly chosen: ChosenBundle;
  readonly process: VisionProcess;
  readonly #clock: Clock;
  #holds = 0;
  /** Aborted when, being a former model, it need not wait any longer. */
  readonly #letGo = new AbortController();
  #former = false;

  constructor(chosen: ChosenBundle, process: VisionProcess, deps: { readonly clock: Clock }) {
    this.chosen = chosen;
    this.process = process;
    this.#clock = deps.clock;
  }

  get digest(): string {
    return this.chosen.bundle.digest;
  }

  /** Another one serves. */
  get isFormer(): boolean {
    return this.#former;
  }

  hold(): void {
    this.#holds += 1;
  }

  release(): void {
    this.#holds -= 1;
    if (this.#former && this.#holds === 0) this.#letGo.abort();
  }

  /** Its process is gone: whoever holds it must do with another. */
  ended(): void {
    if (this.#former) this.#letGo.abort();
  }

  /**
   * Another one serves from now on. Resolves when the observations that hold this one have ended, what it has in hand is
   * answered, and its process is gone.
   */
  async retire(): Promise<void> {
    this.#former = true;
    if (this.#holds > 0 && this.process.stats().ready)
      await this.#clock.sleep(MAX_HOLD_MS, this.#letGo.signal).catch(() => undefined);
    await this.process.drain();
  }
}
