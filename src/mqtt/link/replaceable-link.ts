import type { Clock } from '../../base/clock.ts';
import type { Link, LinkStats, PublishOptions, StateOptions } from '../types.ts';

/** A link that can be started and stopped. */
export interface StartableLink extends Link {
  start(signal: AbortSignal): void;
  stop(): Promise<void>;
  announce(): Promise<void>;
}

interface State {
  readonly payload: unknown;
  readonly options: StateOptions;
  readonly setMonoMs: number;
}

/**
 * The one link, as the other parts hold it, while the connection behind it may be changed for another: they see a link
 * that was lost and came back. The retained states go along.
 */
export class ReplaceableLink<T> implements StartableLink {
  readonly #make: (options: T) => StartableLink;
  readonly #clock: Clock;
  readonly #onState: ((topic: string, payload: unknown) => void) | undefined;
  readonly #states = new Map<string, State>();
  #link: StartableLink;
  #signal: AbortSignal | null = null;
  #stopping = false;
  /** Replacements happen one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(
    options: T,
    make: (options: T) => StartableLink,
    deps: { readonly clock: Clock; readonly onState?: (topic: string, payload: unknown) => void },
  ) {
    this.#make = make;
    this.#clock = deps.clock;
    this.#onState = deps.onState;
    this.#link = make(options);
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    if (!this.#stopping) this.#link.start(signal);
  }

  stop(): Promise<void> {
    this.#stopping = true;
    return this.#turn.then(() => this.#link.stop());
  }

  /** Leaves the broker in good order and goes on with other options. Resolves when the new link has been started. */
  replace(options: T): Promise<void> {
    this.#turn = this.#turn.then(() => this.#replace(options));
    return this.#turn;
  }

  async #replace(options: T): Promise<void> {
    if (this.#stopping || !this.#signal || this.#signal.aborted) return;
    await this.#link.stop();
    const link = this.#make(options);
    for (const [topic, { payload, options: how, setMonoMs }] of this.#states) {
      const expired = how.expiryS !== undefined && this.#clock.monoMs() - setMonoMs > how.expiryS * 1000;
      if (!expired) link.setState(topic, payload, how);
    }
    this.#link = link;
    this.start(this.#signal);
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  get maxPayloadBytes(): number {
    return this.#link.maxPayloadBytes;
  }

  setState(topic: string, payload: unknown, options: StateOptions = {}): void {
    this.#states.set(topic, { payload, options, setMonoMs: this.#clock.monoMs() });
    this.#link.setState(topic, payload, options);
    this.#onState?.(topic, payload);
  }

  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    return this.#link.publish(topic, payload, options);
  }

  announce(): Promise<void> {
    return this.#link.announce();
  }

  stats(): LinkStats {
    return this.#link.stats();
  }
}
