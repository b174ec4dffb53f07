import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { Bundle } from '../model/manifest.ts';
import type { EventDraft } from '../contract/states.ts';
import type { RaiseEvent } from '../store/types.ts';
import { VisionProcess } from '../vision/vision-process.ts';
import type { PlanSource } from '../vision/plan-choice.ts';
import type { VisionEvent } from '../vision/protocol.ts';

/** A bundle whose model serves (analyses the frames), or is about to serve. */
export interface ChosenBundle {
  readonly bundle: Bundle;
  /** `factory`: shipped with the agent. */
  readonly slot: 'active' | 'factory';
  /** Shipped, or signed by the operator's repository. */
  readonly trusted: boolean;
}

export interface ServedModelOptions {
  readonly chosen: ChosenBundle;
  readonly inference: Settings['inference'];
  /** True when another model still serves while the process of this model starts. */
  readonly startsBeside: boolean;
}

export interface ServedModelDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly plans: PlanSource;
  /** Called when the process of this model ended or was stopped while this model was the current one. */
  readonly onExit: (error: AgentError) => void;
}

/**
 * Longest queue of frames for one vision process. At most 64 of these places hold uploaded images (see `analysis/`), so
 * that uploads alone cannot fill the queue and displace a scheduled frame. The other places are for bursts and previews
 * of the cameras.
 */
const MAX_QUEUED_FRAMES = 96;
/** Longest lease (the right of one observation to use this model). A longer lease was never ended because of a bug. */
const MAX_LEASE_MS = 600_000;

export const modelRefOf = ({ manifest, digest }: Bundle): ModelRef => ({
  name: manifest.name,
  version: manifest.version,
  digest,
});

/**
 * One model in its vision process, from the start of the process to its exit.
 *
 * INVARIANT: the process of a replaced model runs until the last observation with a lease on this model has ended, or
 * for `MAX_LEASE_MS` at most.
 */
export class ServedModel {
  readonly chosen: ChosenBundle;
  readonly process: VisionProcess;
  readonly #clock: Clock;
  #leases = 0;
  #isReplaced = false;
  /** Aborted when a replaced model has no leases left, or when its process has exited. */
  readonly #unused = new AbortController();

  constructor(options: ServedModelOptions, deps: ServedModelDeps) {
    const { chosen, inference, startsBeside } = options;
    const { clock, log, plans } = deps;
    const { timeoutS, maxRssMb } = inference;
    this.chosen = chosen;
    this.#clock = clock;
    this.process = new VisionProcess(
      { bundle: chosen.bundle, plan: null, timeoutS, maxRssMb, queueMax: MAX_QUEUED_FRAMES, startsBeside },
      { clock, log, ladder: plans, onEvent: (event) => this.#onVisionEvent(event, deps) },
    );
  }

  get digest(): string {
    return this.chosen.bundle.digest;
  }

  /** Raises no event for a replaced model, because its process is expected to end. */
  #onVisionEvent(event: VisionEvent, { raise, onExit }: ServedModelDeps): void {
    if (this.#isReplaced) {
      if (event.type === 'exited') this.#unused.abort();
      return;
    }
    const draft = draftVisionEvent(event);
    if (draft !== null) raise(draft);
    if (event.type === 'exited') onExit(new AgentError(event.code, event.detail));
  }

  addLease(): void {
    this.#leases += 1;
  }

  endLease(): void {
    this.#leases -= 1;
    if (this.#isReplaced && this.#leases === 0) this.#unused.abort();
  }

  /**
   * Call this when another model has become the current one. Resolves when all leases of this model have ended, all its
   * requests are answered, and its process has exited.
   */
  async retire(): Promise<void> {
    this.#isReplaced = true;
    if (this.#leases > 0 && this.process.stats().ready)
      await this.#clock.sleep(MAX_LEASE_MS, this.#unused.signal).catch(() => undefined);
    await this.process.drain();
  }
}

/** The event for the operator that describes an event of the vision process; null when operators need no event. */
function draftVisionEvent(event: VisionEvent): EventDraft | null {
  switch (event.type) {
    case 'started':
      return null;
    case 'recycled':
      return {
        type: 'vision_recycled',
        severity: 'warning',
        code: 'vision_recycled',
        message: 'The vision process reached its memory ceiling and was replaced.',
        context: { rss_mb: event.rssMb, limit_mb: event.limitMb },
      };
    case 'provider_demoted':
      return {
        type: 'provider_demoted',
        severity: 'warning',
        code: 'provider_demoted',
        message: 'The provider failed repeatedly and was replaced by another one.',
        context: { from: event.from, to: event.to, reason: event.reason },
      };
    case 'exited':
      return {
        type: 'vision_exited',
        severity: 'error',
        code: event.code,
        message: 'The vision process ended or was killed, and will be restarted.',
        context: { detail: event.detail, restart_in_ms: Math.round(event.restartInMs) },
      };
  }
}
