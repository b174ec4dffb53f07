import type { Clock } from '../base/clock.ts';
import type { Change } from './change.ts';
import type { Overlay } from './overlay.ts';

export type UndoReason =
  'not_confirmed' | 'broker_lost' | 'start_failed' | 'not_applied' | 'withdrawn' | 'interrupted';

export interface TrialOptions {
  readonly id: string;
  /** From the settings in force to the settings on trial. */
  readonly change: Change;
  /** The part of the change that takes effect on confirmation; often empty. */
  readonly onConfirm: Change;
  /** The overlay to store on confirmation. */
  readonly overlay: Overlay;
  readonly withinS: number;
  /** How long the broker may be unreachable, seconds. */
  readonly brokerPatienceS: number;
  /** Whether the broker was connected at the start. If not, the trial cannot lose it. */
  readonly connected: boolean;
}

/** A change of the settings that is undone unless it is confirmed in time. Measures time on the monotonic clock. */
export class Trial {
  readonly id: string;
  readonly change: Change;
  readonly onConfirm: Change;
  readonly overlay: Overlay;
  /** Wall clock, for display only. */
  readonly confirmByMs: number;
  readonly #options: TrialOptions;
  readonly #clock: Clock;
  readonly #endMonoMs: number;
  readonly #ended = new AbortController();
  #connectedMonoMs: number;
  #hasBegun = false;
  #isApplied = false;

  constructor(options: TrialOptions, deps: { readonly clock: Clock }) {
    const { clock } = deps;
    this.id = options.id;
    this.change = options.change;
    this.onConfirm = options.onConfirm;
    this.overlay = options.overlay;
    this.#options = options;
    this.#clock = clock;
    this.confirmByMs = clock.nowMs() + options.withinS * 1000;
    this.#endMonoMs = clock.monoMs() + options.withinS * 1000;
    this.#connectedMonoMs = clock.monoMs();
  }

  /** Dotted keys of the whole change. */
  get keys(): readonly string[] {
    return [...this.change.keys, ...this.onConfirm.keys];
  }

  /** Returns false when the trial has begun before, or has ended. */
  begin(): boolean {
    if (this.#hasBegun || this.#ended.signal.aborted) return false;
    this.#hasBegun = true;
    this.#connectedMonoMs = this.#clock.monoMs();
    return true;
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  markApplied(): void {
    this.#isApplied = this.#hasBegun;
  }

  /** Whether it may be confirmed: it is applied, and the broker is connected if it was connected at the start. */
  isConfirmable(connected: boolean): boolean {
    return this.#isApplied && (connected || !this.#options.connected);
  }

  secondsLeft(): number {
    return Math.max(0, Math.round(this.#endMonoMs - this.#clock.monoMs()) / 1000);
  }

  /** Checks the time and the connection. Returns the reason to undo the change now, or null. */
  check(connected: boolean): UndoReason | null {
    const { connected: wasConnected, brokerPatienceS } = this.#options;
    const nowMonoMs = this.#clock.monoMs();
    if (connected) this.#connectedMonoMs = nowMonoMs;
    const isLost = wasConnected && this.#hasBegun && !connected;
    if (isLost && nowMonoMs - this.#connectedMonoMs >= brokerPatienceS * 1000) return 'broker_lost';
    if (nowMonoMs < this.#endMonoMs) return null;
    return isLost ? 'broker_lost' : 'not_confirmed';
  }

  end(): void {
    this.#ended.abort();
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }
}
