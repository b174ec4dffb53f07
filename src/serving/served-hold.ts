import type { ModelRef } from '../contract/observation.ts';
import { AgentError } from '../base/errors.ts';
import type { Bundle } from '../model/manifest.ts';
import type { FrameOptions, FrameResult, HeldVision } from '../vision/protocol.ts';
import { refOf, type ServedModel } from './served-model.ts';

export interface HoldDeps {
  /** The model that serves; waits for the first one. */
  readonly serving: (signal?: AbortSignal) => Promise<ServedModel>;
  readonly current: () => ServedModel | null;
  /** What is opened, before anything serves. */
  readonly opened: () => Bundle | null;
  readonly ask: (
    model: ServedModel,
    bytes: Uint8Array,
    options: FrameOptions,
    signal?: AbortSignal,
  ) => Promise<FrameResult>;
}

/** A former model's process has gone: the frame was not looked at. */
export const wasNotAsked = (thrown: unknown): boolean =>
  thrown instanceof AgentError && thrown.code === 'vision_closed';

/** One observation's hold on the model that answers its first frame. */
export class ServedHold implements HeldVision {
  readonly #deps: HoldDeps;
  #model: ServedModel | null = null;
  #answered = false;
  #released = false;

  constructor(deps: HoldDeps) {
    this.#deps = deps;
  }

  async analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    const serving = await this.#deps.serving(signal);
    for (let model = this.#model ?? this.#pin(serving); ;) {
      try {
        const result = await this.#deps.ask(model, bytes, options, signal);
        this.#answered = true;
        return result;
      } catch (thrown) {
        const other = this.#otherThan(model);
        if (!wasNotAsked(thrown) || other === null) throw thrown;
        model = other;
      }
    }
  }

  /** Another one for frames that this one will not answer; null when it has answered some already. */
  #otherThan(model: ServedModel): ServedModel | null {
    if (this.#model !== null && this.#model !== model) return this.#model;
    const current = this.#deps.current();
    if (this.#answered || current === null || current === model) return null;
    return this.#pin(current);
  }

  #pin(model: ServedModel): ServedModel {
    this.#model?.release();
    this.#model = model;
    if (!this.#released) model.hold();
    return model;
  }

  get #bundle(): Bundle | null {
    return this.#model?.chosen.bundle ?? this.#deps.opened();
  }

  get model(): ModelRef | null {
    return this.#bundle && refOf(this.#bundle);
  }

  get provider(): string | null {
    return (this.#model ?? this.#deps.current())?.process.report?.provider ?? null;
  }

  get embeddingDigest(): string | null {
    return this.#bundle?.embeddingDigest ?? null;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#model?.release();
  }
}
