import { Type, type Static } from '@sinclair/typebox';
import type { Clock } from '../../base/clock.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { Nullable } from '../../contract/schema-parts.ts';
import type { KeyValue } from '../../store/types.ts';
import type { TrialRecord } from './candidates.ts';
import type { Plan } from './trial.ts';

const STORE_KEY = 'inference.plans';
/** Number of stored findings; each new one beyond this removes the oldest one. */
const MAX_FINDINGS = 8;
/** Duration of the first demotion of a provider; it doubles with each further demotion, up to the maximum. */
const FIRST_DEMOTION_MS = 24 * 3_600_000;
const MAX_DEMOTION_MS = 30 * FIRST_DEMOTION_MS;

/** A provider that gave right results in its trial and failed later. The agent stores it: do not rename a field. */
export interface Demotion {
  readonly provider: string;
  /** One line without paths. */
  readonly reason: string;
  /** Wall clock, ms: the provider may be tried again from then on. */
  readonly untilMs: number;
  /** Number of demotions so far. */
  readonly times: number;
  /** True if the provider was tried again after this demotion. */
  readonly retried: boolean;
}

/** Results of the trials of one model with one onnxruntime on one machine. The agent stores it: do not rename a field. */
export interface Finding {
  readonly plan: Plan;
  readonly tried: readonly TrialRecord[];
  readonly backends: readonly string[];
  readonly demotions: readonly Demotion[];
  /** Wall clock of the trials, ms. */
  readonly foundAtMs: number;
}

const plan = { provider: Type.String(), threads: Type.Integer({ minimum: 1 }) };
const Trial = Type.Object({
  ...plan,
  // Another version of the agent may have stored an outcome that this version does not know.
  outcome: Type.Unsafe<TrialRecord['outcome']>(Type.String()),
  medianMs: Nullable(Type.Number()),
  reason: Nullable(Type.String()),
});
const Entry = Type.Tuple([
  Type.String(),
  Type.Object({
    plan: Type.Object(plan),
    tried: Type.Array(Trial),
    backends: Type.Array(Type.String()),
    demotions: Type.Array(
      Type.Object({
        provider: Type.String(),
        reason: Type.String(),
        untilMs: Type.Number(),
        times: Type.Integer(),
        retried: Type.Boolean(),
      }),
    ),
    foundAtMs: Type.Number(),
  }),
]);
const isEntry = schemaChecker({ strict: true }).compile<Static<typeof Entry>>(Entry);

/**
 * Keeps the findings for the last models, newest first, in one value of the database. If this value is unreadable (old
 * format, damage), no finding is known; the result of the next trials replaces the value.
 */
export class PlanMemory {
  readonly #store: KeyValue;

  constructor(deps: { store: KeyValue }) {
    this.#store = deps.store;
  }

  read(key: string): Finding | null {
    return this.#entries().find(([name]) => name === key)?.[1] ?? null;
  }

  write(key: string, finding: Finding): void {
    const others = this.#entries().filter(([name]) => name !== key);
    this.#store.set(STORE_KEY, JSON.stringify([[key, finding], ...others].slice(0, MAX_FINDINGS)));
  }

  #entries(): readonly (readonly [string, Finding])[] {
    try {
      const parsed: unknown = JSON.parse(this.#store.get(STORE_KEY) ?? '[]');
      return Array.isArray(parsed) ? parsed.filter((entry: unknown) => isEntry(entry)) : [];
    } catch {
      return [];
    }
  }
}

/** Immutable list of demotions (see `Demotion`): each `with…` method returns a new list. */
export class Demotions {
  readonly #clock: Clock;
  readonly list: readonly Demotion[];

  constructor(list: readonly Demotion[], deps: { clock: Clock }) {
    this.list = list;
    this.#clock = deps.clock;
  }

  /** The providers that must not be used now, each with its reason. */
  get active(): ReadonlyMap<string, string> {
    const active = this.list.filter((demotion) => this.#isActive(demotion));
    return new Map(active.map(({ provider, reason }) => [provider, reason]));
  }

  /** True if a demotion has expired and its provider was not tried since. */
  get isRetryDue(): boolean {
    return this.list.some((demotion) => !demotion.retried && !this.#isActive(demotion));
  }

  withDemoted(provider: string, reason: string): Demotions {
    const times = (this.list.find((demotion) => demotion.provider === provider)?.times ?? 0) + 1;
    // The limit of the exponent keeps the product finite.
    const durationMs = Math.min(MAX_DEMOTION_MS, FIRST_DEMOTION_MS * 2 ** Math.min(times - 1, 10));
    const untilMs = this.#clock.nowMs() + durationMs;
    const others = this.list.filter((demotion) => demotion.provider !== provider);
    return this.#copy([...others, { provider, reason, untilMs, times, retried: false }]);
  }

  /** Marks every expired demotion as retried. */
  withExpiredRetried(): Demotions {
    return this.#copy(
      this.list.map((demotion) => (this.#isActive(demotion) ? demotion : { ...demotion, retried: true })),
    );
  }

  #copy(list: readonly Demotion[]): Demotions {
    return new Demotions(list, { clock: this.#clock });
  }

  #isActive({ untilMs }: Demotion): boolean {
    return this.#clock.nowMs() < untilMs;
  }
}
