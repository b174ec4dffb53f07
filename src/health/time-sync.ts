import type { Clock } from '../base/clock.ts';
import { asAgentError, isAbort } from '../base/errors.ts';
import { ClockSync } from './clock.ts';
import { StepEvents } from './step-events.ts';
import type { ClockState } from './types.ts';
import type { Log } from '../base/log.ts';
import type { Store } from '../store/store.ts';
import type { RaiseEvent } from '../store/types.ts';

export interface TimeSyncDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly raise: RaiseEvent;
  /** The kernel's word on its clock, but for tests. */
  readonly kernel?: (() => ClockState | null) | undefined;
}

/** Between two batches, so that the records of this moment are not held up. */
const BREATH_MS = 5;
/** After a disk that would not take it. */
const RETRY_MS = 60_000;

/** Watches the wall clock, tells of its steps, and has the records mended that were made before it was set. */
export class TimeSync {
  readonly #bootId: string;
  readonly #deps: TimeSyncDeps;
  readonly #sync: ClockSync;
  readonly #steps: StepEvents;
  #signal: AbortSignal = AbortSignal.abort();
  #onMended: () => void = () => undefined;
  #mending = false;
  /** Asked for while it ran, or before the first look. */
  #again: { readonly stepped: boolean } | null = null;

  constructor(options: { readonly bootId: string }, deps: TimeSyncDeps) {
    const { clock, log, store, raise } = deps;
    this.#bootId = options.bootId;
    this.#deps = deps;
    this.#steps = new StepEvents({ clock, raise, state: () => this.state() });
    this.#sync = new ClockSync({
      clock,
      ...(deps.kernel ? { kernel: deps.kernel } : {}),
      onSlept: (sleptMs) => {
        log.info({ slept_ms: Math.round(sleptMs) }, 'the machine was asleep');
        this.#attempt(() => store.timeCorrection.noteSleep(sleptMs, this.#bootId));
      },
      onStep: (deltaMs) => {
        log.warn({ delta_ms: deltaMs }, 'clock step');
        this.#steps.stepped(deltaMs, this.#signal);
        this.#mend(true);
      },
      onSynced: () => this.#mend(false),
    });
  }

  /** Takes the first look, so that `state` is true from then on; goes on until the signal aborts. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#deps.store.timeCorrection.setSyncSource(() => this.state().synced);
    await this.#sync.start(signal);
    this.#mend(false);
  }

  /** Calls `listener` when times of stored records were moved: what was told of them is to be told anew. */
  onMended(listener: () => void): void {
    this.#onMended = listener;
  }

  /** As of the last look, at most 5 s old. */
  state(): ClockState {
    return this.#sync.state();
  }

  /** As each record carries it. */
  wire(): { readonly synced: boolean; readonly offset_ms: number | null } {
    const { synced, offsetMs } = this.#sync.state();
    return { synced, offset_ms: offsetMs };
  }

  #mend(stepped: boolean): void {
    this.#again = { stepped: stepped || this.#again?.stepped === true };
    if (this.#mending) return;
    this.#mending = true;
    void this.#mendAll().finally(() => (this.#mending = false));
  }

  async #mendAll(): Promise<void> {
    const { clock, store, log, raise } = this.#deps;
    const total = { corrected: 0, uncertain: 0 };
    while (this.#again !== null && !this.#signal.aborted) {
      const { stepped } = this.#again;
      this.#again = null;
      try {
        for (;;) {
          const outcome = store.timeCorrection.correctTimestamps({
            bootId: this.#bootId,
            synced: this.state().synced,
            stepped,
          });
          total.corrected += outcome.corrected;
          total.uncertain += outcome.uncertain;
          if (!outcome.more) break;
          await clock.sleep(BREATH_MS, this.#signal);
        }
      } catch (thrown) {
        if (isAbort(thrown)) return;
        log.error({ err: asAgentError(thrown) }, 'times not mended');
        this.#again ??= { stepped };
        await clock.sleep(RETRY_MS, this.#signal).catch(() => undefined);
      }
    }
    if (total.corrected === 0 && total.uncertain === 0) return;
    log.info(total, 'times mended');
    if (this.#signal.aborted) return;
    raise({
      type: 'times_mended',
      severity: 'info',
      code: total.corrected > 0 ? 'time_corrected' : 'time_uncertain',
      message: `Made before the clock was set: ${total.corrected} records and events were given their right times, ${total.uncertain} of an earlier boot were marked as uncertain.`,
      context: total,
    });
    this.#onMended();
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#deps.log.error({ err: asAgentError(thrown) }, 'times not mended');
    }
  }
}
