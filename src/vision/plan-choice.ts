import type { Clock } from '../base/clock.ts';
import { asAgentError, type AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ProviderReport, VisionEvent } from './protocol.ts';
import type { Plan } from './providers/trial.ts';

/** Gives plans, best first: the provider ladder. */
export interface PlanSource {
  first(signal: AbortSignal): Promise<Plan>;
  /** Looks for a better plan in the background; null when there is none. */
  explore(signal: AbortSignal): Promise<Plan | null>;
  /** The next plan after one that failed at work; null when there is none. */
  demote(plan: Plan, reason: string): Plan | null;
  report(): ProviderReport | null;
}

export interface PlanChoiceOptions {
  /** Null: the ladder chooses, or one CPU thread without a ladder. */
  readonly plan: Plan | null;
  /** Delay after the start before the ladder looks for a better plan, seconds; default 20. */
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
/** A plan is given up after this many failed frames or starts in a row, if there is another one. */
const MAX_FAILURES_IN_ROW = 3;

/** The provider and thread count that the vision process runs with. Gives up a plan that keeps failing. */
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
   * Opens the first process. A remembered accelerator may be missing now (driver, card): then opens with the next best
   * plan. Rejects as `open` and the ladder's `first` do.
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

  /** A process runs with this plan from now on. Returns the report on it. */
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

  /** The plan to go on with after a failure: the same one, or the next after too many failures in a row. */
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

  /** After `exploreAfterS`, looks for a better plan than the one in use; null when there is none. Never rejects. */
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
      if (!signal.aborted) log.warn({ err: thrown }, 'search for a better provider failed');
      return null;
    }
  }
}

const reportOfGiven = (plan: Plan): ProviderReport => ({
  ...plan,
  attempts: [{ ...plan, outcome: 'chosen', medianMs: null, reason: null }],
  remembered: false,
});
