import type { Clock } from '../../base/clock.ts';

const FIRST_MS = 24 * 3_600_000;
const MAX_MS = 30 * FIRST_MS;

/** A provider that was proved and then failed at work. */
export interface Demotion {
  readonly provider: string;
  /** One line without paths. */
  readonly reason: string;
  /** Wall clock, ms: from then on the provider may be tried again. */
  readonly untilMs: number;
  /** How often it was demoted so far. */
  readonly times: number;
  /** It has been tried again since. */
  readonly retried: boolean;
}

/** Who is passed over, and until when: a day at first, twice as long each time, a month at most. */
export class Demotions {
  readonly #clock: Clock;
  readonly list: readonly Demotion[];

  constructor(list: readonly Demotion[], deps: { clock: Clock }) {
    this.list = list;
    this.#clock = deps.clock;
  }

  /** The providers that are passed over now, with the reason. */
  get active(): ReadonlyMap<string, string> {
    const active = this.list.filter((one) => this.#isActive(one));
    return new Map(active.map(({ provider, reason }) => [provider, reason]));
  }

  /** One of them has run out and was not tried since. */
  get isRetryDue(): boolean {
    return this.list.some((one) => !one.retried && !this.#isActive(one));
  }

  with(provider: string, reason: string): Demotions {
    const times = (this.list.find((one) => one.provider === provider)?.times ?? 0) + 1;
    const untilMs = this.#clock.nowMs() + Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(times - 1, 10));
    const others = this.list.filter((one) => one.provider !== provider);
    return this.#of([...others, { provider, reason, untilMs, times, retried: false }]);
  }

  /** Every provider that may be was tried again. */
  retried(): Demotions {
    return this.#of(this.list.map((one) => (this.#isActive(one) ? one : { ...one, retried: true })));
  }

  #of(list: readonly Demotion[]): Demotions {
    return new Demotions(list, { clock: this.#clock });
  }

  #isActive({ untilMs }: Demotion): boolean {
    return this.#clock.nowMs() < untilMs;
  }
}
