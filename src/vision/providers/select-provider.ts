import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { AgentError, type ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Settings } from '../../config/schema.ts';
import type { Bundle } from '../../model/manifest.ts';
import type { KeyValue } from '../../store/types.ts';
import type { Hardware } from '../hardware/hardware.ts';
import type { ProviderReport } from '../protocol.ts';
import {
  choosePlan,
  explainAttempts,
  initialThreads,
  listCandidates,
  threadCounts,
  type Candidates,
  type TrialRecord,
} from './candidates.ts';
import { Demotions, PlanMemory } from './plan-memory.ts';
import { createProviderTrials } from './provider-trials.ts';
import { identifyRuntime } from './runtime-files.ts';
import { toReasonLine } from '../reason-line.ts';
import type { Plan, TrialRunner } from './trial.ts';

export interface LadderOptions {
  readonly bundle: Bundle;
  readonly inference: Settings['inference'];
  readonly hardware: Hardware;
}

export interface LadderDeps {
  readonly memory: KeyValue;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: a child process for each trial. */
  readonly trial?: TrialRunner;
  /** Identifies the installed onnxruntime and the software of the GPU; default `identifyRuntime`. */
  readonly runtime?: () => string;
}

/** Timed runs per trial. The start waits for the first trial; later trials in the background may take longer. */
const TIMED_RUNS = { first: 5, explore: 25 };
const RETRY_FAILED_AFTER_MS = 7 * 24 * 3_600_000;
/** Outcomes whose cause may disappear, such as a missing driver or library, or too little memory. */
const RETRYABLE_OUTCOMES: readonly TrialRecord['outcome'][] = ['unavailable', 'crashed', 'hung', 'too_big'];

/**
 * The provider ladder: finds the best execution provider and thread count for one bundle on this machine by trials.
 * Each trial runs one candidate in its own process, checks the golden outputs and measures the time. `first` returns
 * quickly (the stored plan, or the CPU with few threads), `explore` tries the other candidates in the background, and
 * `demote` selects the next best plan after failures.
 */
export class ProviderLadder {
  readonly #options: LadderOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #memory: PlanMemory;
  readonly #trial: TrialRunner;
  readonly #runtime: () => string;
  #key = '';
  #trials: readonly TrialRecord[] = [];
  #backends: readonly string[] | null = null;
  #demotions: Demotions;
  #current: Plan | null = null;
  #isRemembered = false;
  /** Every build contains the CPU provider: a failure on it is a fault of the model. Null before it was tried. */
  #modelFault: ErrorCode | null = null;
  /** Wall clock of the last exploration, ms; null before the first one. */
  #exploredAtMs: number | null = null;
  #exploring: Promise<Plan | null> | null = null;

  constructor(options: LadderOptions, deps: LadderDeps) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#memory = new PlanMemory({ store: deps.memory });
    this.#runtime = deps.runtime ?? identifyRuntime;
    this.#demotions = new Demotions([], deps);
    const { maxRssMb } = options.inference;
    this.#trial = deps.trial ?? createProviderTrials({ maxRssMb });
  }

  /**
   * Returns a plan to serve with immediately: the stored one without any trial, otherwise the CPU with few threads after
   * one trial. A configured list without `cpu` is tried in its order until one provider is right.
   * Throws `model_requires` for other hardware, `model_golden_mismatch` for wrong outputs, `model_manifest_invalid` or
   * `vision_start_failed` if the CPU refuses it, `provider_unavailable`. A later call returns the current plan.
   */
  async first(signal: AbortSignal): Promise<Plan> {
    if (this.#current !== null) return this.#current;
    this.#checkHardware();
    this.#key = this.#memoryKey();
    const finding = this.#memory.read(this.#key);
    if (finding !== null) {
      this.#trials = finding.tried;
      this.#backends = finding.backends;
      this.#demotions = new Demotions(finding.demotions, { clock: this.#clock });
      this.#current = finding.plan;
      this.#isRemembered = true;
      this.#exploredAtMs = finding.foundAtMs;
      this.#log.info({ ...finding.plan }, 'using the provider that earlier trials chose');
      return finding.plan;
    }
    const { inference, hardware } = this.#options;
    const threads = initialThreads(inference.threads, hardware.cores);
    // The first trial reports the providers of the installed onnxruntime; then the list of candidates grows.
    for (let provider = this.#nextUntried(); provider !== undefined; provider = this.#nextUntried()) {
      await this.#try({ provider, threads }, TIMED_RUNS.first, signal);
      const plan = this.#choose();
      if (plan === null) continue;
      this.#current = plan;
      this.#log.info({ ...plan }, 'chose the first provider; trying others later');
      return plan;
    }
    throw this.#noProviderError();
  }

  /**
   * Tries the candidates that `first` skipped, one after another, and stores the result. Resolves to a better plan than
   * the current one, or to null if the current one stays. Returns at once if there is nothing left to try. Rejects only
   * with the reason of the signal. Overlapping calls share one run.
   */
  explore(signal: AbortSignal): Promise<Plan | null> {
    this.#exploring ??= this.#explore(signal).finally(() => {
      this.#exploring = null;
    });
    return this.#exploring;
  }

  async #explore(signal: AbortSignal): Promise<Plan | null> {
    if (this.#current === null) throw new AgentError('internal', 'explore before first');
    if (this.#exploredAtMs !== null && !this.#isRetryDue(this.#exploredAtMs)) return null;
    const candidates = this.#candidates();
    // Try the CPU first: an accelerator leaves some nodes to the CPU, and these run with the CPU's best thread count.
    let threads = this.#current.threads;
    for (const provider of cpuFirst(candidates.providers)) {
      if (provider === 'cpu') {
        await this.#tryThreadCounts(signal);
        const cpuPlan = choosePlan(this.#trials, { ...candidates, providers: ['cpu'] }, new Map());
        threads = cpuPlan?.threads ?? threads;
      } else if (this.#canWin(provider, candidates)) {
        await this.#try({ provider, threads }, TIMED_RUNS.explore, signal);
      }
    }
    this.#exploredAtMs = this.#clock.nowMs();
    const before = this.#current;
    const plan = this.#choose() ?? before;
    this.#current = plan;
    this.#isRemembered = false;
    this.#demotions = this.#demotions.withExpiredRetried();
    this.#store();
    this.#log.info({ ...plan, attempts: this.report()?.attempts }, 'chose provider after trials');
    return isSamePlan(plan, before) ? null : plan;
  }

  /**
   * Selects the next best plan after repeated failures of `plan`, and excludes its provider for a day, then for twice as
   * long each time, up to 30 days. Returns null, and keeps the plan, if there is no other one.
   */
  demote(plan: Plan, reason: string): Plan | null {
    if (this.#current === null || this.#current.provider !== plan.provider) return this.#current;
    const reasonLine = toReasonLine(reason);
    const demotions = this.#demotions.withDemoted(plan.provider, reasonLine);
    const next = choosePlan(this.#trials, this.#candidates(), demotions.active);
    if (next === null) return null;
    this.#demotions = demotions;
    this.#current = next;
    this.#store();
    this.#log.warn({ from: plan.provider, to: next.provider, reason: reasonLine }, 'replaced provider');
    return next;
  }

  /** The current provider, and why the others are not used; null before `first`. */
  report(): ProviderReport | null {
    if (this.#current === null) return null;
    return {
      ...this.#current,
      attempts: explainAttempts(this.#trials, this.#candidates(), this.#current, this.#demotions.active),
      remembered: this.#isRemembered,
    };
  }

  #checkHardware(): void {
    const { bundle, hardware } = this.#options;
    const required = bundle.manifest.requires.hardware;
    if (required === undefined || required.includes(hardware.kind)) return;
    throw new AgentError(
      'model_requires',
      `the model asks for ${required.join(' or ')}, this is ${hardware.kind}`,
      { context: { wanted: required, kind: hardware.kind } },
    );
  }

  /** Tries each thread count, if there are several then twice: other work on the machine may slow down one trial. */
  async #tryThreadCounts(signal: AbortSignal): Promise<void> {
    const { inference, hardware } = this.#options;
    const counts = threadCounts(inference.threads, hardware.cores);
    const plans = counts.map((threads): Plan => ({ provider: 'cpu', threads }));
    for (const plan of plans) await this.#try(plan, TIMED_RUNS.explore, signal);
    if (plans.length > 1) for (const plan of plans) await this.#try(plan, TIMED_RUNS.explore, signal, faster);
  }

  /** Runs one trial and records it. `merge` combines it with an earlier record of the same plan; default: replace it. */
  async #try(
    plan: Plan,
    runs: number,
    signal: AbortSignal,
    merge = (_before: TrialRecord, now: TrialRecord) => now,
  ): Promise<void> {
    const { outcome, runtime } = await this.#trial({ ...plan, bundle: this.#options.bundle, runs }, signal);
    if (plan.provider === 'cpu')
      this.#modelFault = (outcome.type === 'unavailable' ? outcome.code : null) ?? 'vision_start_failed';
    this.#backends = runtime?.backends ?? this.#backends;
    const record: TrialRecord = {
      ...plan,
      outcome: outcome.type,
      medianMs: outcome.type === 'right' ? outcome.medianMs : null,
      reason: outcome.type === 'right' ? null : outcome.reason,
    };
    const before = this.#trials.find((trial) => isSamePlan(trial, plan));
    const others = this.#trials.filter((trial) => trial !== before);
    this.#trials = [...others, before === undefined ? record : merge(before, record)];
  }

  #candidates(): Candidates {
    const { bundle, inference, hardware } = this.#options;
    const { requires } = bundle.manifest;
    return listCandidates(inference.providers, hardware, this.#backends, requires.providers);
  }

  #nextUntried(): string | undefined {
    return cpuFirst(this.#candidates().providers).find(
      (provider) => !this.#trials.some((trial) => trial.provider === provider),
    );
  }

  #choose(): Plan | null {
    return choosePlan(this.#trials, this.#candidates(), this.#demotions.active);
  }

  /** With a configured list, a provider after the current one cannot win. */
  #canWin(provider: string, { providers, rule }: Candidates): boolean {
    if (rule === 'fastest' || this.#current === null) return true;
    return providers.indexOf(provider) < providers.indexOf(this.#current.provider);
  }

  /** True if a demotion has expired, or if a provider failed long ago for a reason that may have passed. */
  #isRetryDue(exploredAtMs: number): boolean {
    if (this.#demotions.isRetryDue) return true;
    const isOld = Math.abs(this.#clock.nowMs() - exploredAtMs) > RETRY_FAILED_AFTER_MS;
    return isOld && this.#trials.some((trial) => RETRYABLE_OUTCOMES.includes(trial.outcome));
  }

  #store(): void {
    if (this.#current === null || this.#exploredAtMs === null) return;
    const finding = {
      plan: this.#current,
      tried: this.#trials,
      backends: this.#backends ?? [],
      demotions: this.#demotions.list,
      foundAtMs: this.#exploredAtMs,
    };
    try {
      this.#memory.write(this.#key, finding);
    } catch (thrown) {
      // Without stored results (for example on a full disk) the next start only takes longer: it repeats the trials.
      this.#log.warn({ err: thrown }, 'cannot store the results of the provider trials');
    }
  }

  #memoryKey(): string {
    const { bundle, inference, hardware } = this.#options;
    const { providers, threads, maxRssMb } = inference;
    const identity = [bundle.digest, this.#runtime(), hardware.fingerprint, providers, threads, maxRssMb];
    return createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 32);
  }

  #noProviderError(): AgentError {
    const reasons = [
      ...this.#trials.map(({ provider, reason, outcome }) => `${provider}: ${reason ?? outcome}`),
      ...this.#candidates().excluded.map(({ provider, reason }) => `${provider}: ${reason}`),
    ];
    const isWrong = this.#trials.some(({ outcome }) => outcome === 'wrong');
    return new AgentError(
      isWrong ? 'model_golden_mismatch' : (this.#modelFault ?? 'provider_unavailable'),
      `no provider runs this model; ${reasons.join('; ')}`,
      { context: { attempts: this.#trials, backends: this.#backends } },
    );
  }
}

const isSamePlan = (a: Plan, b: Plan): boolean => a.provider === b.provider && a.threads === b.threads;

/** The faster of two trials of one plan: other work on the machine slowed the other one down. */
const faster = (a: TrialRecord, b: TrialRecord): TrialRecord =>
  (a.medianMs ?? Infinity) <= (b.medianMs ?? Infinity) ? a : b;

/** The CPU provider takes little time to try and is always there. */
const cpuFirst = (providers: readonly string[]): readonly string[] =>
  providers.includes('cpu') ? ['cpu', ...providers.filter((name) => name !== 'cpu')] : providers;
