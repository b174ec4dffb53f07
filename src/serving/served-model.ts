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

/** A bundle that serves or is about to serve. */
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
  /** Another model serves while this one starts. */
  readonly startsBeside: boolean;
}

export interface ServedModelDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly plans: PlanSource;
  /** The process ended or was stopped while this model was the current one. */
  readonly onExit: (error: AgentError) => void;
}

/**
 * Uploads alone must not fill the queue, because a scheduled frame would displace them: at most 64 wait (`analysis/`). The
 * rest is for bursts and previews of the cameras.
 */
const MAX_QUEUED_FRAMES = 96;
/** An observation that keeps its lease longer than this has leaked it. */
const MAX_LEASE_MS = 600_000;

export const modelRefOf = ({ manifest, digest }: Bundle): ModelRef => ({
  name: manifest.name,
  version: manifest.version,
  digest,
});

/**
 * One model in its vision process, from start to exit.
 *
 * INVARIANT: the process of a replaced model lives until the last observation that leases the model has ended.
 */
export class ServedModel {
  readonly chosen: ChosenBundle;
  readonly process: VisionProcess;
  readonly #clock: Clock;
  #leases = 0;
  #isReplaced = false;
  /** Aborted when a replaced model need not wait for leases any longer. */
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

  /** Raises nothing for a replaced model: its process is expected to end. */
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
   * Another model has become the current one. Resolves when all leases have ended, all requests are answered, and the
   * process is gone.
   */
  async retire(): Promise<void> {
    this.#isReplaced = true;
    if (this.#leases > 0 && this.process.stats().ready)
      await this.#clock.sleep(MAX_LEASE_MS, this.#unused.signal).catch(() => undefined);
    await this.process.drain();
  }
}

/** The operator's event for an event of the vision process; null when there is none. */
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
