import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { Settings } from '../../config/schema.ts';
import { AgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Bundle } from '../../model/manifest.ts';
import type { KeyValue } from '../../store/types.ts';
import type { Hardware } from '../hardware/hardware.ts';
import { candidatesFor, safeThreads, threadCandidates, type Candidates } from './candidates.ts';
import { choose, explain, type Tried } from './choose.ts';
import { Demotions } from './demotions.ts';
import { PlanMemory } from './memory.ts';
import { reasonLine } from './reason.ts';
import { createTrialRunner } from './run-trial.ts';
import { runtimeIdentity } from './runtime.ts';
import type { Plan, TrialRunner } from './trial.ts';
import type { ProviderReport } from '../protocol.ts';

export interface LadderOptions {
  readonly bundle: Bundle;
  readonly inference: Settings['inference'];
  readonly hardware: Hardware;
}

export interface LadderDeps {
  readonly memory: KeyValue;
  readonly clock: Clock;
  readonly log: Log;
  /** Child processes of its own unless told otherwise. */
  readonly trial?: TrialRunner;
  /** Tells one installed onnxruntime from another. */
  readonly runtime?: () => string;
}

/** What takes longer would leave the agent blind for as long after every restart of the vision process. */
const TRIAL_TIMEOUT_MS = 60_000;
/** A start waits for its trial; in the background there is time to measure well. */
const RUNS = { first: 5, explore: 25 };
const RETRY_FAILED_MS = 7 * 24 * 3_600_000;
const MAY_PASS: readonly Tried['outcome'][] = ['unavailable', 'crashed', 'hung', 'too_big'];

/**
 * Finds the provider and the thread count for one bundle on this machine, by trying and not by believing: each
 * candidate alone, in a process of its own, proved on the golden outputs and timed. `first` is quick (from memory, or
 * the CPU with few threads), `explore` tries the rest in the background, `demote` steps down when a plan fails at work.
 */
export class ProviderLadder {
  readonly #options: LadderOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #memory: PlanMemory;
  readonly #trial: TrialRunner;
  readonly #runtime: () => string;
  #key = '';
  #tried: readonly Tried[] = [];
  #backends: readonly string[] | null = null;
  #demotions: Demotions;
  #current: Plan | null = null;
  #remembered = false;
  /** Wall clock of the last exploration; null before one. */
  #exploredAtMs: number | null = null;
  #exploring: Promise<Plan | null> | null = null;

  constructor(options: LadderOptions, deps: LadderDeps) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#memory = new PlanMemory({ store: deps.memory });
    this.#runtime = deps.runtime ?? runtimeIdentity;
    this.#demotions = new Demotions([], deps);
    const { maxRssMb } = options.inference;
    this.#trial = deps.trial ?? createTrialRunner({ timeoutMs: TRIAL_TIMEOUT_MS, maxRssMb });
  }

  /**
   * A plan to serve with at once: the remembered one without any trial, else the CPU with few threads, proved. A list
   * without `cpu` is tried in its order until one is right.
   * Throws `model_requires` on hardware that the model refuses, `model_golden_mismatch` when something ran and nothing
   * was right, `vision_start_failed` when the model fails even on the CPU, `provider_unavailable` when none of the
   * wanted providers runs.
   */
  async first(signal: AbortSignal): Promise<Plan> {
    this.#checkHardware();
    this.#key = this.#memoryKey();
    const finding = this.#memory.recall(this.#key);
    if (finding !== null) {
      this.#tried = finding.tried;
      this.#backends = finding.backends;
      this.#demotions = new Demotions(finding.demotions, { clock: this.#clock });
      this.#current = finding.plan;
      this.#remembered = true;
      this.#exploredAtMs = finding.foundAtMs;
      this.#log.info({ ...finding.plan }, 'provider remembered');
      return finding.plan;
    }
    const { inference, hardware } = this.#options;
    const threads = safeThreads(inference.threads, hardware.cores);
    for (let provider = this.#untried(); provider !== undefined; provider = this.#untried()) {
      await this.#try({ provider, threads }, RUNS.first, signal);
      const plan = this.#choose();
      if (plan === null) continue;
      this.#current = plan;
      this.#log.info({ ...plan }, 'provider proved');
      return plan;
    }
    throw this.#nothingRight();
  }

  /**
   * Tries what `first` left out, one after another, and remembers the outcome. Resolves to a better plan than the
   * present one, or to null: then nothing is to be changed. Costs nothing when there is nothing left to try.
   * Rejects only with the AbortError of the signal. Calls that overlap share one run.
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
    const { inference, hardware } = this.#options;
    const candidates = this.#candidates();
    // The CPU comes first: its best thread count serves the nodes that an accelerator leaves to the CPU.
    let threads = this.#current.threads;
    for (const provider of cpuFirst(candidates.providers)) {
      if (provider === 'cpu') {
        const counts = threadCandidates(inference.threads, hardware.cores);
        // Twice where there is a choice: other work on the machine must not decide for months.
        for (const round of counts.length > 1 ? ['first', 'second'] : ['first'])
          for (const count of counts)
            await this.#try({ provider, threads: count }, RUNS.explore, signal, round === 'second');
        threads = choose(this.#tried, { ...candidates, providers: ['cpu'] }, new Map())?.threads ?? threads;
      } else if (this.#isWorthTrying(provider, candidates)) {
        await this.#try({ provider, threads }, RUNS.explore, signal);
      }
    }
    this.#exploredAtMs = this.#clock.nowMs();
    const before = this.#current;
    const plan = this.#choose() ?? before;
    this.#current = plan;
    this.#remembered = false;
    this.#demotions = this.#demotions.retried();
    this.#remember();
    this.#log.info({ ...plan, attempts: this.report()?.attempts }, 'provider chosen');
    return samePlan(plan, before) ? null : plan;
  }

  /**
   * The plan failed at work, repeatedly. Its provider is passed over for a day, then for twice as long each time, up
   * to a month; the next best proved plan is returned, or null when there is none: then the plan stays.
   */
  demote(plan: Plan, reason: string): Plan | null {
    if (this.#current === null || this.#current.provider !== plan.provider) return this.#current;
    const line = reasonLine(reason);
    const demotions = this.#demotions.with(plan.provider, line);
    const next = choose(this.#tried, this.#candidates(), demotions.active);
    if (next === null) return null;
    this.#demotions = demotions;
    this.#current = next;
    this.#remember();
    this.#log.warn({ from: plan.provider, to: next.provider, reason: line }, 'provider demoted');
    return next;
  }

  /** Which provider runs, and why the others do not; null before `first`. */
  report(): ProviderReport | null {
    if (this.#current === null) return null;
    return {
      ...this.#current,
      attempts: explain(this.#tried, this.#candidates(), this.#current, this.#demotions.active),
      remembered: this.#remembered,
    };
  }

  #checkHardware(): void {
    const { bundle, hardware } = this.#options;
    const wanted = bundle.manifest.requires.hardware;
    if (wanted === undefined || wanted.includes(hardware.kind)) return;
    throw new AgentError(
      'model_requires',
      `the model asks for ${wanted.join(' or ')}, this is ${hardware.kind}`,
      {
        context: { wanted, kind: hardware.kind },
      },
    );
  }

  async #try(plan: Plan, runs: number, signal: AbortSignal, again = false): Promise<void> {
    const request = { ...plan, bundle: this.#options.bundle, runs };
    const { outcome, runtime } = await this.#trial(request, signal);
    this.#backends = runtime?.backends ?? this.#backends;
    const tried: Tried = {
      ...plan,
      outcome: outcome.type,
      medianMs: outcome.type === 'right' ? outcome.medianMs : null,
      reason: outcome.type === 'right' ? null : outcome.reason,
    };
    const before = this.#tried.find((one) => samePlan(one, plan));
    const others = this.#tried.filter((one) => one !== before);
    this.#tried = [...others, again && before !== undefined ? quieter(before, tried) : tried];
  }

  #candidates(): Candidates {
    const { bundle, inference, hardware } = this.#options;
    return candidatesFor(inference.providers, hardware, this.#backends, bundle.manifest.requires.providers);
  }

  /** The list grows when the first trial has told what the runtime was built with. */
  #untried(): string | undefined {
    return cpuFirst(this.#candidates().providers).find(
      (provider) => !this.#tried.some((one) => one.provider === provider),
    );
  }

  #choose(): Plan | null {
    return choose(this.#tried, this.#candidates(), this.#demotions.active);
  }

  /** Under an ordered list nothing that stands behind the present provider can win. */
  #isWorthTrying(provider: string, { providers, rule }: Candidates): boolean {
    if (rule === 'fastest' || this.#current === null) return true;
    return providers.indexOf(provider) < providers.indexOf(this.#current.provider);
  }

  /**
   * A demotion has run out, or a provider failed long ago for what may have passed: a driver that came late, a library
   * that was installed since, a machine short of memory that day.
   */
  #isRetryDue(exploredAtMs: number): boolean {
    if (this.#demotions.isRetryDue) return true;
    const isOld = Math.abs(this.#clock.nowMs() - exploredAtMs) > RETRY_FAILED_MS;
    return isOld && this.#tried.some((one) => MAY_PASS.includes(one.outcome));
  }

  #remember(): void {
    if (this.#current === null || this.#exploredAtMs === null) return;
    const finding = {
      plan: this.#current,
      tried: this.#tried,
      backends: this.#backends ?? [],
      demotions: this.#demotions.list,
      foundAtMs: this.#exploredAtMs,
    };
    try {
      this.#memory.keep(this.#key, finding);
    } catch (thrown) {
      // A full disk costs the next start its head start, and this one nothing.
      this.#log.warn({ err: thrown }, 'provider not remembered');
    }
  }

  #memoryKey(): string {
    const { bundle, inference, hardware } = this.#options;
    const identity = [
      bundle.digest,
      this.#runtime(),
      hardware.fingerprint,
      inference.providers,
      inference.threads,
      inference.maxRssMb,
    ];
    return createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 32);
  }

  #nothingRight(): AgentError {
    const reasons = [
      ...this.#tried.map((one) => `${one.provider}: ${one.reason ?? one.outcome}`),
      ...this.#candidates().excluded.map((one) => `${one.provider}: ${one.reason}`),
    ];
    const isWrong = this.#tried.some((one) => one.outcome === 'wrong');
    // The CPU is always there: what fails on it is the model.
    const isModel = this.#tried.some((one) => one.provider === 'cpu');
    return new AgentError(
      isWrong ? 'model_golden_mismatch' : isModel ? 'vision_start_failed' : 'provider_unavailable',
      `no provider runs this model; ${reasons.join('; ')}`,
      { context: { attempts: this.#tried, backends: this.#backends } },
    );
  }
}

const samePlan = (a: Plan, b: Plan): boolean => a.provider === b.provider && a.threads === b.threads;

/** Of two trials of one plan, the one that less was in the way of. */
const quieter = (a: Tried, b: Tried): Tried => ((a.medianMs ?? Infinity) <= (b.medianMs ?? Infinity) ? a : b);

/** The CPU is quick to prove and always there. */
const cpuFirst = (providers: readonly string[]): readonly string[] =>
  providers.includes('cpu') ? ['cpu', ...providers.filter((name) => name !== 'cpu')] : providers;
