import type { Clock } from '../base/clock.ts';
import { asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ClockMoment, CorrectionResult, RaiseEvent } from '../store/types.ts';
import { ClockSync } from './clock-sync.ts';
import { StepEvents } from './step-events.ts';
import type { ClockState } from './types.ts';

/** The part of the store that corrects the times of records. */
export interface StoredTimes {
  /** Makes new records ask here whether the clock is synchronised. */
  setSyncSource(isSynced: () => boolean): void;
  /** Adds the time that the machine was suspended. */
  noteSleep(sleptMs: number, bootId: string): void;
  /** Corrects or marks one batch of records that were made before the clock was set. */
  correctTimestamps(moment: ClockMoment): CorrectionResult;
}

export interface TimeSyncDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: { readonly timeCorrection: StoredTimes };
  readonly raise: RaiseEvent;
  /** Replaces the kernel's clock state in tests. */
  readonly kernel?: (() => ClockState | null) | undefined;
  /** Called when times of stored records were corrected: what was published of them has to be published again. */
  readonly onCorrected: () => void;
}

/** Pause between two batches, in which new records can be stored. */
const BATCH_PAUSE_MS = 5;
/** Pause after a failed write. */
const RETRY_MS = 60_000;

/** Watches the wall clock, raises events for its steps, and corrects the records that were made before it was set. */
export class TimeSync {
  readonly #bootId: string;
  readonly #deps: TimeSyncDeps;
  readonly #sync: ClockSync;
  readonly #steps: StepEvents;
  #signal: AbortSignal = AbortSignal.abort();
  #isCorrecting = false;
  /** A correction was requested while another one ran, or before `start`. */
  #requested: { readonly stepped: boolean } | null = null;

  constructor(options: { readonly bootId: string }, deps: TimeSyncDeps) {
    const { clock, log, store, raise } = deps;
    this.#bootId = options.bootId;
    this.#deps = deps;
    this.#steps = new StepEvents({ clock, raise, state: () => this.state() });
    this.#sync = new ClockSync({
      clock,
      ...(deps.kernel ? { kernel: deps.kernel } : {}),
      onSlept: (sleptMs) => {
        log.info({ slept_ms: Math.round(sleptMs) }, 'machine was suspended');
        try {
          store.timeCorrection.noteSleep(sleptMs, this.#bootId);
        } catch (thrown) {
          log.error({ err: asAgentError(thrown) }, 'timestamps not corrected');
        }
      },
      onStep: (deltaMs) => {
        log.warn({ delta_ms: deltaMs }, 'clock step');
        this.#steps.add(deltaMs, this.#signal);
        this.#correct(true);
      },
      onSynced: () => this.#correct(false),
    });
  }

  /** Reads the clock's state for the first time, so that `state` is valid afterwards; goes on until the signal aborts. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#deps.store.timeCorrection.setSyncSource(() => this.state().synced);
    await this.#sync.start(signal);
    this.#correct(false);
  }

  /** At most 5 s old. */
  state(): ClockState {
    return this.#sync.state();
  }

  /** The state in the form that each record carries. */
  wire(): { readonly synced: boolean; readonly offset_ms: number | null } {
    const { synced, offsetMs } = this.#sync.state();
    return { synced, offset_ms: offsetMs };
  }

  #correct(stepped: boolean): void {
    this.#requested = { stepped: stepped || this.#requested?.stepped === true };
    if (this.#isCorrecting) return;
    this.#isCorrecting = true;
    void this.#correctAll().finally(() => (this.#isCorrecting = false));
  }

  async #correctAll(): Promise<void> {
    const { clock, store, log } = this.#deps;
    const total = { corrected: 0, uncertain: 0 };
    const isStopping = (): boolean => this.#signal.aborted;
    while (this.#requested !== null && !isStopping()) {
      const { stepped } = this.#requested;
      this.#requested = null;
      try {
        for (;;) {
          const moment = { bootId: this.#bootId, synced: this.state().synced, stepped };
          const { corrected, uncertain, more } = store.timeCorrection.correctTimestamps(moment);
          total.corrected += corrected;
          total.uncertain += uncertain;
          if (!more) break;
          await clock.sleep(BATCH_PAUSE_MS, this.#signal);
        }
      } catch (thrown) {
        if (isStopping()) return;
        log.error({ err: asAgentError(thrown) }, 'timestamps not corrected');
        this.#requested ??= { stepped };
        await clock.sleep(RETRY_MS, this.#signal).catch(() => undefined);
      }
    }
    if (total.corrected > 0 || total.uncertain > 0) this.#report(total);
  }

  #report(total: { readonly corrected: number; readonly uncertain: number }): void {
    const { log, raise, onCorrected } = this.#deps;
    log.info(total, 'timestamps corrected');
    if (this.#signal.aborted) return;
    raise({
      type: 'times_mended',
      severity: 'info',
      code: total.corrected > 0 ? 'time_corrected' : 'time_uncertain',
      message: `Corrected the times of ${total.corrected} records and events that were made before the clock was set; marked ${total.uncertain} of an earlier boot as uncertain.`,
      context: total,
    });
    onCorrected();
  }
}
