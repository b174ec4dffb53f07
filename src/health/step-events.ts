import type { Clock } from '../base/clock.ts';
import type { RaiseEvent } from '../store/types.ts';
import type { ClockState } from './types.ts';

/** Minimum time between two events, for a clock that steps again and again. */
const EVENT_INTERVAL_MS = 10 * 60_000;

/** Raises `clock_step`: immediately for the first step, then one event for all steps of the next ten minutes. */
export class StepEvents {
  readonly #deps: { clock: Clock; raise: RaiseEvent; state: () => ClockState };
  #isWaiting = false;
  #unreported = { steps: 0, netMs: 0, largestMs: 0 };

  constructor(deps: { clock: Clock; raise: RaiseEvent; state: () => ClockState }) {
    this.#deps = deps;
  }

  /** Reports a step. Steps that wait for their event are dropped when the signal aborts. */
  add(deltaMs: number, signal: AbortSignal): void {
    const { steps, netMs, largestMs } = this.#unreported;
    this.#unreported = {
      steps: steps + 1,
      netMs: netMs + deltaMs,
      largestMs: Math.abs(deltaMs) > Math.abs(largestMs) ? deltaMs : largestMs,
    };
    if (!this.#isWaiting) this.#report(signal);
  }

  #report(signal: AbortSignal): void {
    const { clock, raise, state } = this.#deps;
    const { steps, netMs, largestMs } = this.#unreported;
    this.#isWaiting = steps > 0;
    if (steps === 0) return;
    this.#unreported = { steps: 0, netMs: 0, largestMs: 0 };
    const { synced, offsetMs } = state();
    raise({
      type: 'clock_step',
      severity: 'warning',
      code: 'clock_step',
      message:
        steps === 1
          ? `The wall clock was moved by ${seconds(netMs)} s.`
          : `The wall clock was moved ${steps} times, by ${seconds(netMs)} s together, by ${seconds(largestMs)} s at most.`,
      context: { delta_ms: netMs, steps, largest_ms: largestMs, synced, offset_ms: offsetMs },
    });
    void clock.sleep(EVENT_INTERVAL_MS, signal).then(
      () => this.#report(signal),
      () => undefined,
    );
  }
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);
