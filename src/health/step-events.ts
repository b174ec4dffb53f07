import type { Clock } from '../base/clock.ts';
import type { RaiseEvent } from '../store/types.ts';
import type { ClockState } from './types.ts';

/** A clock that is set again and again is told of at once, and then so often. */
const TOLD_EVERY_MS = 10 * 60_000;

/** Raises `clock_step`: the first step at once, those of the ten minutes after it as one event at their end. */
export class StepEvents {
  readonly #deps: { clock: Clock; raise: RaiseEvent; state: () => ClockState };
  #quiet = false;
  #untold = { steps: 0, netMs: 0, largestMs: 0 };

  constructor(deps: { clock: Clock; raise: RaiseEvent; state: () => ClockState }) {
    this.#deps = deps;
  }

  /** What waits to be told is given up when the signal aborts. */
  stepped(deltaMs: number, signal: AbortSignal): void {
    const { steps, netMs, largestMs } = this.#untold;
    this.#untold = {
      steps: steps + 1,
      netMs: netMs + deltaMs,
      largestMs: Math.abs(deltaMs) > Math.abs(largestMs) ? deltaMs : largestMs,
    };
    if (!this.#quiet) this.#tell(signal);
  }

  #tell(signal: AbortSignal): void {
    const { clock, raise, state } = this.#deps;
    const { steps, netMs, largestMs } = this.#untold;
    this.#quiet = steps > 0;
    if (steps === 0) return;
    this.#untold = { steps: 0, netMs: 0, largestMs: 0 };
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
    void clock.sleep(TOLD_EVERY_MS, signal).then(
      () => this.#tell(signal),
      () => undefined,
    );
  }
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);
