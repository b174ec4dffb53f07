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
 * The one link of the agent, whose settings can change at run time. Each change replaces the inner link. For the other
 * parts of the agent, this looks like a connection that was lost and came back. The retained states are passed on to
 * the new link.
 */
export class ReplaceableLink<T> implements StartableLink {
  readonly #create: (options: T) => StartableLink;
  readonly #clock: Clock;
  readonly #onState: ((topic: string, payload: unknown) => void) | undefined;
  readonly #states = new Map<string, State>();
  #link: StartableLink;
  #signal: AbortSignal | null = null;
  #isStopping = false;
  /** During a replacement, the broker that the agent leaves gets no state any more. */
  #isLeaving = false;
  /** Settles at the end of the last replacement; the next replacement waits for it. */
  #replacing: Promise<void> = Promise.resolve();

  constructor(
    options: T,
    create: (options: T) => StartableLink,
    deps: { readonly clock: Clock; readonly onState?: (topic: string, payload: unknown) => void },
  ) {
    this.#create = create;
    this.#clock = deps.clock;
    this.#onState = deps.onState;
    this.#link = create(options);
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    if (!this.#isStopping) this.#link.start(signal);
  }

  stop(): Promise<void> {
    this.#isStopping = true;
    // Also after a replacement that failed: the link that is there now must stop.
    return this.#replacing.catch(() => undefined).then(() => this.#link.stop());
  }

  /**
   * Disconnects from the broker and continues with other options. `lastStates` are published only to the broker that the
   * agent leaves, by topic. Resolves when the new link has been started. Rejects when the former link did not stop, after
   * the start of the new one.
   */
  replace(options: T, lastStates: () => readonly (readonly [string, object])[] = () => []): Promise<void> {
    this.#replacing = this.#replacing.catch(() => undefined).then(() => this.#replace(options, lastStates()));
    return this.#replacing;
  }

  async #replace(options: T, lastStates: readonly (readonly [string, object])[]): Promise<void> {
    if (this.#isStopping || !this.#signal || this.#signal.aborted) return;
    for (const [topic, payload] of lastStates) this.#link.setState(topic, payload);
    this.#isLeaving = true;
    const [former] = await Promise.allSettled([this.#link.stop()]);
    const link = this.#create(options);
    for (const [topic, { payload, options: stateOptions, setMonoMs }] of this.#states) {
      const { expiryS = Infinity } = stateOptions;
      const isExpired = this.#clock.monoMs() - setMonoMs > expiryS * 1000;
      if (!isExpired) link.setState(topic, payload, stateOptions);
    }
    this.#link = link;
    this.#isLeaving = false;
    this.start(this.#signal);
    if (former.status === 'rejected') throw former.reason;
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  get maxPayloadBytes(): number {
    return this.#link.maxPayloadBytes;
  }

  setState(topic: string, payload: unknown, options: StateOptions = {}): void {
    this.#states.set(topic, { payload, options, setMonoMs: this.#clock.monoMs() });
    if (!this.#isLeaving) this.#link.setState(topic, payload, options);
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
