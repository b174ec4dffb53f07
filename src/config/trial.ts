import type { Clock } from '../base/clock.ts';
import type { Change } from './change.ts';
import type { Overlay } from './overlay.ts';

export type UndoReason = 'not_confirmed' | 'broker_lost' | 'start_failed' | 'not_applied' | 'interrupted';

export interface TrialOptions {
  readonly id: string;
  /** From what was in force to what is tried. */
  readonly change: Change;
  /** What follows when it is confirmed; nothing for most. */
  readonly held: Change;
  readonly overlay: Overlay;
  readonly withinS: number;
  /** How long the broker may be out of reach, seconds. */
  readonly brokerPatienceS: number;
  /** Whether there was a link when it began: one that was not there cannot be lost by it. */
  readonly connected: boolean;
}

/** A change of the settings that is undone unless it is confirmed in time. Its time is monotonic. */
export class Trial {
  readonly id: string;
  readonly change: Change;
  readonly held: Change;
  readonly overlay: Overlay;
  /** Wall clock, for people. */
  readonly confirmByMs: number;
  readonly #options: TrialOptions;
  readonly #clock: Clock;
  readonly #endMonoMs: number;
  readonly #ended = new AbortController();
  #connectedMonoMs: number;
  #begun = false;
  #applied = false;

  constructor(options: TrialOptions, deps: { readonly clock: Clock }) {
    const { clock } = deps;
    this.id = options.id;
    this.change = options.change;
    this.held = options.held;
    this.overlay = options.overlay;
    this.#options = options;
    this.#clock = clock;
    this.confirmByMs = clock.nowMs() + options.withinS * 1000;
    this.#endMonoMs = clock.monoMs() + options.withinS * 1000;
    this.#connectedMonoMs = clock.monoMs();
  }

  /** Dotted keys of all that it changes. */
  get keys(): readonly string[] {
    return [...this.change.keys, ...this.held.keys];
  }

  /** False when it has begun already, or has ended. */
  begin(): boolean {
    if (this.#begun || this.#ended.signal.aborted) return false;
    this.#begun = true;
    this.#connectedMonoMs = this.#clock.monoMs();
    return true;
  }

  get begun(): boolean {
    return this.#begun;
  }

  applied(): void {
    this.#applied = this.#begun;
  }

  /** Whether it may be confirmed: it works, and the broker is still there if it was before. */
  inForce(connected: boolean): boolean {
    return this.#applied && (connected || !this.#options.connected);
  }

  secondsLeft(): number {
    return Math.max(0, Math.round(this.#endMonoMs - this.#clock.monoMs()) / 1000);
  }

  /** Looks at the time and at the link. Returns why the trial has to end now, or null. */
  look(connected: boolean): UndoReason | null {
    const { connected: wasConnected, brokerPatienceS } = this.#options;
    const nowMonoMs = this.#clock.monoMs();
    if (connected) this.#connectedMonoMs = nowMonoMs;
    const lost = wasConnected && this.#begun && !connected;
    if (lost && nowMonoMs - this.#connectedMonoMs >= brokerPatienceS * 1000) return 'broker_lost';
    if (nowMonoMs < this.#endMonoMs) return null;
    return lost ? 'broker_lost' : 'not_confirmed';
  }

  end(): void {
    this.#ended.abort();
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }
}
