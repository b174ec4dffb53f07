import type { Clock } from '../base/clock.ts';
import { asAgentError, type AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ProviderReport, VisionEvent } from './protocol.ts';
import type { Plan } from './providers/trial.ts';

/** Gives plans (provider and thread count), best first. The provider ladder of docs/providers.md implements it. */
export interface PlanSource {
  first(signal: AbortSignal): Promise<Plan>;
  /** Looks for a better plan in the background; null when there is none. */
  explore(signal: AbortSignal): Promise<Plan | null>;
  /** The next best plan after `plan` failed on camera frames; null when there is no other plan. */
  demote(plan: Plan, reason: string): Plan | null;
  report(): ProviderReport | null;
}

export interface PlanChoiceOptions {
  /** A fixed plan. Null: the `PlanSource` chooses the plan; without a `PlanSource` it is one CPU thread. */
  readonly plan: Plan | null;
  /** Delay after the start before the search for a better plan begins, seconds; default 20. */
  readonly exploreAfterS?: number;
}

export interface PlanChoiceDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly ladder?: PlanSource;
  readonly onEvent: (event: VisionEvent) => void;
}

const EXPLORE_AFTER_S = 20;
const CPU_PLAN: Plan = { provider: 'cpu', threads: 1 };
/** After this many failed frames or starts in a row the next best plan replaces the plan, if there is one. */
const MAX_FAILURES_IN_ROW = 3;

/** Chooses the provider and thread count of the vision process. Replaces a plan that fails again and again. */
export class PlanChoice {
  readonly #options: PlanChoiceOptions;
  readonly #deps: PlanChoiceDeps;
  #plan: Plan = CPU_PLAN;
  #report: ProviderReport | null = null;
  #failuresInRow = 0;

  constructor(options: PlanChoiceOptions, deps: PlanChoiceDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Null before the first start. */
  get report(): ProviderReport | null {
    return this.#report;
  }

  /**
   * Opens the first process. If the stored plan fails (its driver or card may be missing now), opens with the next best
   * plan. Rejects as `open` and `PlanSource.first` do.
   */
  async openFirst<T>(open: (plan: Plan) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#options.plan !== null) return open(this.#options.plan);
    const plan = (await this.#deps.ladder?.first(signal)) ?? CPU_PLAN;
    try {
      return await open(plan);
    } catch (thrown) {
      if (plan.provider === 'cpu' || signal.aborted) throw thrown;
      const next = this.#demote(plan, asAgentError(thrown).message);
      if (next === null) throw thrown;
      return open(next);
    }
  }

  /** Notes that the vision process runs with this plan from now on. Returns the report on this plan. */
  use(plan: Plan): ProviderReport {
    this.#plan = plan;
    return (this.#report = this.#deps.ladder?.report() ?? reportOfGiven(plan));
  }

  frameSucceeded(): void {
    this.#failuresInRow = 0;
  }

  frameOrStartFailed(): void {
    this.#failuresInRow += 1;
  }

  /** The plan after a failure: the same one, or the next best one after too many failures in a row. */
  afterFailure(error: AgentError): Plan {
    if (this.#failuresInRow < MAX_FAILURES_IN_ROW) return this.#plan;
    const next = this.#demote(this.#plan, error.message);
    if (next === null) return this.#plan;
    this.#failuresInRow = 0;
    return next;
  }

  #demote(plan: Plan, reason: string): Plan | null {
    const next = this.#deps.ladder?.demote(plan, reason) ?? null;
    if (next === null || next.provider === plan.provider) return null;
    this.#deps.onEvent({ type: 'provider_demoted', from: plan.provider, to: next.provider, reason });
    return next;
  }

  /** Waits `exploreAfterS`, then looks for a plan better than the current one; null if there is none. Never rejects. */
  async explore(signal: AbortSignal): Promise<Plan | null> {
    const { clock, log, ladder } = this.#deps;
    const { plan: given, exploreAfterS = EXPLORE_AFTER_S } = this.#options;
    if (given !== null || ladder === undefined) return null;
    try {
      await clock.sleep(exploreAfterS * 1000, signal);
      const plan = await ladder.explore(signal);
      if (plan === null) this.#report = ladder.report() ?? this.#report;
      return plan;
    } catch (thrown) {
      if (!signal.aborted) log.warn({ err: thrown }, 'failed to search for a better provider');
      return null;
    }
  }
}

const reportOfGiven = (plan: Plan): ProviderReport => ({
  ...plan,
  attempts: [{ ...plan, outcome: 'chosen', medianMs: null, reason: null }],
  remembered: false,
});
