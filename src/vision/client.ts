import { AgentError, asAgentError } from '../base/errors.ts';
import { Backoff } from '../base/retry.ts';
import type { VisionChild } from './vision-child.ts';
import type { PlanSource, VisionDeps, VisionOptions } from './client-options.ts';
import { InFlightRequests } from './in-flight-requests.ts';
import type { Plan } from './providers/trial.ts';
import { expectReply, type VisionReply, type VisionRequest } from './messages.ts';
import type {
  FrameOptions,
  FrameResult,
  ProviderReport,
  RenderOptions,
  VisionClient,
  VisionStats,
} from './protocol.ts';
import { RequestQueue, type Priority, type QueuedRequest } from './request-queue.ts';
import { openFirst, openServing, reportOf, type Serving } from './open-process.ts';
import { StatsCounter } from './vision-stats.ts';

const RESTART = { minMs: 500, maxMs: 60_000, resetAfterMs: 60_000 };
/** A plan that fails so many frames or starts in a row is given up, if the ladder has another. */
const FAILURES_TO_DEMOTE = 3;
/** A fresh process may be near the ceiling already: it is not replaced before it has grown by so much. */
const MIN_GROWTH_MB = 16;
const CLOSE_GRACE_MS = 2000;

/**
 * The supervised vision process of one bundle.
 *
 * INVARIANTS
 * - One frame is worked at at a time, in one process. The next one may lie there already, so that the process need not
 *   wait for it; behind another process's frame it waits until that is answered.
 * - A crash, hang or time-out costs the frame that is worked at alone: what waits goes to the next process.
 * - A process is replaced (memory, better plan) by opening and proving the new one first; the old one serves meanwhile.
 * - After `close` nothing is started and no child is left.
 */
export class VisionProcess implements VisionClient {
  readonly #options: VisionOptions;
  readonly #deps: VisionDeps;
  readonly #queue: RequestQueue;
  readonly #stats: StatsCounter;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #serving: Serving | null = null;
  readonly #opening = new Set<VisionChild>();
  #plan: Plan | null = null;
  #report: ProviderReport | null = null;
  readonly #flights = new InFlightRequests();
  /** When the newest answer came, or the newest failure. */
  #turnMs = -Infinity;
  #restarting: Promise<void> | null = null;
  #replacing: Promise<void> | null = null;
  /** Why the last start failed; while set, frames are refused instead of waiting for the next attempt. */
  #down: AgentError | null = null;
  #failuresInRow = 0;
  #draining = false;

  constructor(options: VisionOptions, deps: VisionDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#queue = new RequestQueue({ max: options.queueMax });
    this.#stats = new StatsCounter(deps);
    this.#backoff = new Backoff(RESTART, deps);
  }

  /**
   * Chooses the plan, starts the process, opens and proves the model. Rejects when that fails (`model_*`,
   * `provider_unavailable`, `vision_*`): the handle is closed then, and another bundle or a later attempt is the
   * caller's choice. The signal ends a start that is under way; later on, `close` does.
   */
  async start(signal: AbortSignal): Promise<void> {
    const starting = AbortSignal.any([signal, this.#stop.signal]);
    try {
      this.#serve(await openFirst(this.#options, this.#deps, this.#opening, starting));
    } catch (thrown) {
      await this.close();
      throw thrown;
    }
    if (this.#options.plan === null && this.#deps.ladder !== undefined) void this.#explore(this.#deps.ladder);
  }

  async analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    const priority = options.priority ?? 'request';
    const reply = await this.#submit({ type: 'analyze', bytes, options }, priority, signal);
    return expectReply(reply, 'analyzed').result;
  }

  async render(bytes: Uint8Array, options: RenderOptions, signal?: AbortSignal): Promise<Uint8Array> {
    const reply = await this.#submit({ type: 'render', bytes, options }, 'request', signal);
    return expectReply(reply, 'rendered').jpeg;
  }

  get report(): ProviderReport | null {
    return this.#report;
  }

  get pid(): number | null {
    return this.#serving?.child.pid ?? null;
  }

  stats(): VisionStats {
    return this.#stats.snapshot(this.#serving !== null);
  }

  /**
   * Takes no more frames, finishes those that it has, then closes: for a handle that was replaced by another. A process
   * that is gone is not started again for them: they are refused (`vision_closed`), and the other handle is there.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    while (this.#flights.size > 0) await this.#flights.landed();
    await this.close();
  }

  /** Refuses what waits (`vision_closed`), gives the frames in flight two seconds, and ends the process for sure. */
  async close(): Promise<void> {
    const closed = closedError();
    this.#stop.abort(closed);
    this.#queue.rejectAll(closed);
    for (const child of this.#opening) child.kill(closed);
    const child = this.#serving?.child;
    this.#serving = null;
    const late = setTimeout(() => this.#flights.kill(closed), CLOSE_GRACE_MS);
    await this.#flights.landed();
    clearTimeout(late);
    await Promise.all([child?.release(CLOSE_GRACE_MS), this.#restarting, this.#replacing]);
  }

  async #submit(request: VisionRequest, priority: Priority, signal?: AbortSignal): Promise<VisionReply> {
    signal?.throwIfAborted();
    const refusal = this.#draining ? closedError() : this.#refusal();
    if (refusal !== null) throw refusal;
    let abort = (): void => undefined;
    try {
      return await new Promise<VisionReply>((resolve, reject) => {
        const entry: QueuedRequest = { request, priority, signal, resolve, reject };
        abort = () => {
          this.#queue.remove(entry);
          reject(signal?.reason as Error);
        };
        signal?.addEventListener('abort', abort, { once: true });
        this.#queue.add(entry);
        this.#pump();
      });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  #pump(): void {
    const serving = this.#serving;
    while (serving !== null && this.#flights.hasRoom(serving.child)) {
      const entry = this.#queue.next();
      if (entry === undefined) return;
      this.#flights.add(serving.child, this.#work(serving, entry), () => this.#pump());
    }
  }

  async #work(serving: Serving, entry: QueuedRequest): Promise<void> {
    const { clock } = this.#deps;
    const sentMs = clock.monoMs();
    try {
      const reply = await serving.child.request(entry.request, this.#options.timeoutS * 1000);
      if (reply === null) {
        this.#sendAnew(entry);
        return;
      }
      const tookMs = clock.monoMs() - Math.max(sentMs, this.#turnMs);
      this.#turnMs = clock.monoMs();
      this.#stats.progress(reply.rssMb);
      if (entry.request.type === 'analyze') this.#stats.frame(tookMs);
      this.#failuresInRow = 0;
      entry.resolve(reply);
      this.#checkMemory(serving, reply.rssMb);
    } catch (thrown) {
      this.#turnMs = clock.monoMs();
      entry.reject(thrown);
      const error = asAgentError(thrown);
      if (error.code.startsWith('image_')) return;
      this.#stats.failure();
      this.#failuresInRow += 1;
      if (this.#serving !== serving) return;
      if (serving.child.end !== null) this.#lost(error);
      else this.#stepDown(serving.plan, error);
    }
  }

  /** Its process was gone before its turn came. */
  #sendAnew(entry: QueuedRequest): void {
    if (entry.signal?.aborted === true) return;
    const refusal = this.#refusal();
    if (refusal === null) this.#queue.putBack(entry);
    else entry.reject(refusal);
  }

  /** Why no frame is worked at, now or soon. */
  #refusal(): AgentError | null {
    return this.#isClosed() ? closedError() : this.#down;
  }

  /** The serving process is gone: start another, after a pause. */
  #lost(error: AgentError): void {
    this.#serving = null;
    this.#restarting ??= this.#restart(error).finally(() => {
      this.#restarting = null;
    });
  }

  async #restart(first: AgentError): Promise<void> {
    let error = first;
    while (!this.#isClosed()) {
      const restartInMs = this.#backoff.nextMs();
      this.#deps.onEvent({ type: 'exited', code: error.code, detail: error.message, restartInMs });
      const plan = this.#planAfterFailure(error);
      try {
        await this.#deps.clock.sleep(restartInMs, this.#stop.signal);
        // A replacement that was under way may have come first.
        await this.#replacing;
        if (this.#serving !== null) return;
        const serving = await this.#open(plan, this.#stop.signal);
        this.#stats.restart();
        this.#serve(serving);
        return;
      } catch (thrown) {
        if (this.#isClosed()) return;
        error = asAgentError(thrown);
        this.#stats.failure();
        this.#failuresInRow += 1;
        // It is not the fault of those that wait.
        this.#down = new AgentError('vision_start_failed', error.message, { cause: error });
        this.#queue.rejectAll(this.#down);
      }
    }
  }

  #isClosed(): boolean {
    return this.#stop.signal.aborted;
  }

  /** The process lives but answers rubbish: another plan may do better. */
  #stepDown(plan: Plan, error: AgentError): void {
    const next = this.#planAfterFailure(error);
    if (next.provider !== plan.provider) this.#replace(next, () => undefined);
  }

  #planAfterFailure(error: AgentError): Plan {
    const plan = this.#plan ?? { provider: 'cpu', threads: 1 };
    if (this.#failuresInRow < FAILURES_TO_DEMOTE) return plan;
    const next = this.#deps.ladder?.demote(plan, error.message) ?? null;
    if (next === null || next.provider === plan.provider) return plan;
    this.#failuresInRow = 0;
    const { message: reason } = error;
    this.#deps.onEvent({ type: 'provider_demoted', from: plan.provider, to: next.provider, reason });
    return next;
  }

  #serve(serving: Serving): void {
    if (this.#stop.signal.aborted) {
      serving.child.kill(closedError());
      return;
    }
    this.#serving = serving;
    this.#plan = serving.plan;
    this.#down = null;
    this.#backoff.started();
    this.#stats.progress(serving.openedRssMb);
    this.#report = this.#deps.ladder?.report() ?? reportOf(serving.plan);
    this.#deps.onEvent({ type: 'started', report: this.#report });
    void serving.child.ended.then(() => {
      // It ended between frames; during one, the frame's own failure tells.
      if (this.#serving === serving && !this.#flights.has(serving.child) && serving.child.end !== null) {
        this.#stats.failure();
        this.#lost(serving.child.end);
      }
    });
    this.#pump();
  }

  #open(plan: Plan, signal: AbortSignal): Promise<Serving> {
    return openServing(plan, this.#options, this.#opening, signal);
  }

  #checkMemory(serving: Serving, rssMb: number): void {
    const limitMb = Math.max(this.#options.maxRssMb, serving.openedRssMb + MIN_GROWTH_MB);
    if (rssMb <= limitMb || this.#replacing !== null) return;
    this.#replace(serving.plan, () => this.#deps.onEvent({ type: 'recycled', rssMb, limitMb }));
  }

  /** Opens another process beside the serving one, switches over between frames, and lets the old one go. */
  #replace(plan: Plan, done: () => void): void {
    this.#replacing ??= openServing(
      plan,
      { ...this.#options, startsBeside: true },
      this.#opening,
      this.#stop.signal,
    )
      .then(async (serving) => {
        const old = this.#serving;
        done();
        this.#serve(serving);
        await this.#flights.landed();
        await old?.child.release(CLOSE_GRACE_MS);
      })
      .catch((thrown: unknown) => {
        if (!this.#stop.signal.aborted) this.#deps.log.warn({ err: thrown }, 'vision process not replaced');
      })
      .finally(() => {
        this.#replacing = null;
      });
  }

  async #explore(ladder: PlanSource): Promise<void> {
    try {
      await this.#deps.clock.sleep((this.#options.exploreAfterS ?? 20) * 1000, this.#stop.signal);
      const plan = await ladder.explore(this.#stop.signal);
      if (plan !== null) this.#replace(plan, () => undefined);
      else this.#report = ladder.report() ?? this.#report;
    } catch (thrown) {
      if (!this.#stop.signal.aborted) this.#deps.log.warn({ err: thrown }, 'no better provider looked for');
    }
  }
}

const closedError = (): AgentError => new AgentError('vision_closed', 'the vision process is stopping');
