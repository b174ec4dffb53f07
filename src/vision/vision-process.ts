// Longer than 300 lines because the parts of one class keep its invariants.
import { AgentError, asAgentError } from '../base/errors.ts';
import { MAX_START_TIME_S, memoryLimits } from '../base/provider-limits.ts';
import { Backoff } from '../base/retry.ts';
import { settleAll } from '../base/settle-all.ts';
import type { Bundle } from '../model/manifest.ts';
import { expectReply, type VisionReply, type VisionRequest } from './messages.ts';
import { PlanChoice, type PlanChoiceDeps, type PlanChoiceOptions } from './plan-choice.ts';
import type { ProcessLimits } from '../base/process-priority.ts';
import type {
  FrameOptions,
  FrameResult,
  ShrunkFrame,
  ProviderReport,
  RenderOptions,
  ShrinkOptions,
  VisionClient,
  VisionStats,
} from './protocol.ts';
import type { Plan } from './providers/trial.ts';
import { RequestQueue, type QueuedRequest, type SubmitOptions } from './request-queue.ts';
import { SourceShares } from './source-shares.ts';
import { VisionChild } from './vision-child.ts';
import { StatsCounter } from './vision-stats.ts';

export interface VisionOptions extends PlanChoiceOptions {
  readonly bundle: Bundle;
  /** Time limit of one frame, seconds. */
  readonly timeoutS: number;
  /** Resident memory above which the process is replaced between frames, MiB, without the provider: see `memoryLimits`. */
  readonly maxRssMb: number;
  /** Limits for a process that only tries a model while another process serves. */
  readonly processLimits?: ProcessLimits;
  /** Another process serves while this one starts: start with low priority. */
  readonly startsBeside?: boolean;
  /** Maximum number of waiting frames. */
  readonly queueMax: number;
  /** Time limit for opening the model and verifying it, seconds; default: `MAX_START_TIME_S`. */
  readonly openTimeoutS?: number;
}

export interface VisionDeps extends PlanChoiceDeps {
  readonly random?: () => number;
}

const RESTART = { minMs: 500, maxMs: 60_000, resetAfterMs: 60_000 };
/** A new process may already be near `maxRssMb`: replace it only after its memory has grown by this much, MiB. */
const MIN_GROWTH_MB = 16;
const CLOSE_GRACE_MS = 2000;

/**
 * Supervises the vision process of one bundle: queues frames, restarts the process after a crash, and replaces it.
 *
 * INVARIANTS
 * - One frame is being processed at a time. The next frame is sent early, so that the process need not wait for it.
 * - A crash, hang or timeout loses only the frame that is being processed; all other frames go to the next process.
 * - To replace a process (too much memory, better plan), the new one first opens and verifies the model. Until then the
 *   old one serves.
 * - After `close` has resolved, no child process runs, and none is started.
 */
export class VisionProcess implements VisionClient {
  readonly #options: VisionOptions;
  readonly #deps: VisionDeps;
  readonly #queue: RequestQueue;
  readonly #shares: SourceShares;
  readonly #plans: PlanChoice;
  readonly #stats: StatsCounter;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #serving: VisionChild | null = null;
  #restarting: Promise<void> | null = null;
  #replacing: Promise<void> | null = null;
  /** Why the last start failed. While set, frames are refused instead of waiting for the next attempt. */
  #startFailure: AgentError | null = null;
  #isDraining = false;

  constructor(options: VisionOptions, deps: VisionDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#shares = new SourceShares(deps);
    this.#queue = new RequestQueue(
      { max: options.queueMax },
      { ...deps, shares: this.#shares, serving: () => this.#serving, send: this.#send.bind(this) },
    );
    this.#plans = new PlanChoice(options, deps);
    this.#stats = new StatsCounter(deps);
    this.#backoff = new Backoff(RESTART, deps);
  }

  /**
   * Chooses the plan, starts the process, opens and verifies the model. On failure, closes this object and rejects with
   * `model_*`, `provider_unavailable` or `vision_*`. The signal aborts only the start; after the start use `close`.
   */
  async start(signal: AbortSignal): Promise<void> {
    const starting = AbortSignal.any([signal, this.#stop.signal]);
    try {
      this.#serve(await this.#plans.openFirst((plan) => this.#open(plan, starting), starting));
    } catch (thrown) {
      await this.close().catch(() => undefined);
      throw thrown;
    }
    void this.#plans.explore(this.#stop.signal).then((plan) => {
      if (plan !== null) this.#replace(plan, () => undefined);
    });
  }

  async analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    const reply = await this.#submit({ type: 'analyze', bytes, options }, signal, options);
    return expectReply(reply, 'analyzed').result;
  }

  async render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array> {
    const reply = await this.#submit({ type: 'render', bytes, options }, signal);
    return expectReply(reply, 'rendered').jpeg;
  }

  async shrink(bytes: Uint8Array, options: ShrinkOptions, signal?: AbortSignal): Promise<ShrunkFrame> {
    const { source } = options;
    const reply = await this.#submit({ type: 'shrink', bytes, options }, signal, {
      priority: 'clip',
      source,
    });
    return expectReply(reply, 'shrunk').picture;
  }

  get report(): ProviderReport | null {
    return this.#plans.report;
  }

  get pid(): number | null {
    return this.#serving?.pid ?? null;
  }

  stats(): VisionStats {
    return this.#stats.snapshot(this.#serving !== null);
  }

  /**
   * Accepts no more frames, finishes those that it has, then closes. Use this after another model took its place. If the
   * process ends meanwhile, it is not restarted: the remaining frames are refused with `vision_closed`.
   */
  async drain(): Promise<void> {
    this.#isDraining = true;
    while (this.#queue.hasInFlight) await this.#queue.inFlightSettled();
    await this.close();
  }

  /** Refuses waiting frames with `vision_closed`, waits two seconds for the frames already sent, kills the process. */
  async close(): Promise<void> {
    const closed = closedError();
    this.#stop.abort(closed);
    this.#queue.rejectWaiting(closed);
    const child = this.#serving;
    this.#serving = null;
    using _kill = setTimeout(() => this.#queue.killInFlight(closed), CLOSE_GRACE_MS);
    await this.#queue.inFlightSettled();
    await settleAll([child?.release(CLOSE_GRACE_MS), this.#restarting, this.#replacing]);
  }

  #submit(
    request: VisionRequest,
    signal: AbortSignal | undefined,
    options?: SubmitOptions,
  ): Promise<VisionReply> {
    signal?.throwIfAborted();
    const refusal = this.#isDraining ? closedError() : this.#refusal();
    if (refusal !== null) throw refusal;
    return this.#queue.submit(request, signal, options);
  }

  async #send(child: VisionChild, entry: QueuedRequest): Promise<void> {
    const sentMs = this.#deps.clock.monoMs();
    try {
      const reply = await child.request(entry.request, this.#options.timeoutS * 1000);
      if (reply === null) {
        this.#queueAgain(entry);
        return;
      }
      const tookMs = this.#shares.ended(entry.source, sentMs, null);
      this.#stats.progress(reply.rssMb);
      if (entry.request.type === 'analyze') this.#stats.frame(tookMs);
      this.#plans.frameSucceeded();
      entry.resolve(reply);
      this.#checkMemory(child, reply.rssMb);
    } catch (thrown) {
      const error = asAgentError(thrown);
      this.#shares.ended(entry.source, sentMs, error.code);
      entry.reject(thrown);
      if (!error.code.startsWith('image_')) this.#noteFailure(child, error);
    }
  }

  #noteFailure(child: VisionChild, error: AgentError): void {
    this.#stats.failure();
    this.#plans.frameOrStartFailed();
    if (this.#serving !== child) return;
    if (child.end !== null) {
      this.#restartAfter(error);
      return;
    }
    // The process still runs, but its output is invalid: another plan may give valid output.
    const next = this.#plans.afterFailure(error);
    if (next.provider !== child.plan.provider) this.#replace(next, () => undefined);
  }

  /** Queues a request again after its process ended before it began the request. */
  #queueAgain(entry: QueuedRequest): void {
    const refusal = this.#refusal();
    if (entry.signal?.aborted === true) entry.reject(entry.signal.reason);
    else if (refusal !== null) entry.reject(refusal);
    else this.#queue.putBack(entry);
  }

  /** The error for new frames while they cannot be analysed now or soon; null when they can. */
  #refusal(): AgentError | null {
    return this.#isClosed() ? closedError() : this.#startFailure;
  }

  #restartAfter(error: AgentError): void {
    this.#serving = null;
    this.#restarting ??= this.#restart(error).finally(() => {
      this.#restarting = null;
    });
  }

  async #restart(firstError: AgentError): Promise<void> {
    let error = firstError;
    while (!this.#isClosed()) {
      const restartInMs = this.#backoff.nextMs();
      this.#deps.onEvent({ type: 'exited', code: error.code, detail: error.message, restartInMs });
      const plan = this.#plans.afterFailure(error);
      try {
        await this.#deps.clock.sleep(restartInMs, this.#stop.signal);
        // A replacement process that was already starting may serve by now.
        await this.#replacing;
        if (this.#serving !== null) return;
        const child = await this.#open(plan, this.#stop.signal);
        this.#stats.restart();
        this.#serve(child);
        return;
      } catch (thrown) {
        if (this.#isClosed()) return;
        error = asAgentError(thrown);
        this.#stats.failure();
        this.#plans.frameOrStartFailed();
        // The waiting frames did not cause this: refuse them with a code that does not blame them.
        this.#startFailure = new AgentError('vision_start_failed', error.message, { cause: error });
        this.#queue.rejectWaiting(this.#startFailure);
      }
    }
  }

  #isClosed(): boolean {
    return this.#stop.signal.aborted;
  }

  #serve(child: VisionChild): void {
    if (this.#isClosed()) {
      child.kill(closedError());
      return;
    }
    this.#serving = child;
    this.#startFailure = null;
    this.#backoff.started();
    this.#stats.progress(child.openedRssMb);
    this.#deps.onEvent({ type: 'started', report: this.#plans.use(child.plan) });
    void child.ended.then(() => {
      // If the process had a frame, the failure of that frame starts the restart instead.
      if (this.#serving === child && !this.#queue.isInFlightAt(child) && child.end !== null) {
        this.#stats.failure();
        this.#restartAfter(child.end);
      }
    });
    this.#queue.sendWaiting();
  }

  #open(plan: Plan, signal: AbortSignal, startsBeside = this.#options.startsBeside): Promise<VisionChild> {
    const { bundle, maxRssMb, openTimeoutS, processLimits } = this.#options;
    const hardRssMb = memoryLimits(plan.provider, maxRssMb, processLimits?.hardRssMb).killAboveMb;
    const niceness = processLimits?.niceness ?? (startsBeside === true ? 'while_starting' : 0);
    const timeoutMs = 1000 * (openTimeoutS ?? MAX_START_TIME_S);
    return VisionChild.open({ bundle, plan, hardRssMb, niceness, timeoutMs }, signal);
  }

  #checkMemory(child: VisionChild, rssMb: number): void {
    const limits = memoryLimits(child.plan.provider, this.#options.maxRssMb);
    const limitMb = Math.max(limits.replaceAboveMb, child.openedRssMb + MIN_GROWTH_MB);
    if (rssMb <= limitMb || this.#replacing !== null) return;
    this.#replace(child.plan, () => this.#deps.onEvent({ type: 'recycled', rssMb, limitMb }));
  }

  /** Opens another process while the old one serves, switches to it between frames, and ends the old one. */
  #replace(plan: Plan, onOpened: () => void): void {
    this.#replacing ??= this.#open(plan, this.#stop.signal, true)
      .then(async (child) => {
        const old = this.#serving;
        onOpened();
        this.#serve(child);
        await this.#queue.inFlightSettled();
        await old?.release(CLOSE_GRACE_MS);
      })
      .catch((thrown: unknown) => {
        if (!this.#isClosed()) this.#deps.log.warn({ err: thrown }, 'cannot replace vision process');
      })
      .finally(() => {
        this.#replacing = null;
      });
  }
}

const closedError = (): AgentError => new AgentError('vision_closed', 'the vision process is stopping');
