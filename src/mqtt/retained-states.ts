import type { Clock } from '../base/clock.ts';
import { asAgentError, type AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { PublishOptions, StateOptions } from './types.ts';

interface State {
  /** JSON; an empty string clears the topic. */
  readonly payload: string;
  readonly expiryS: number | undefined;
  readonly absolute: boolean;
  readonly setMonoMs: number;
}

export type PublishState = (topic: string, payload: string, options: PublishOptions) => Promise<void>;

export interface RetainedStatesDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Called when a state is left out because the link was repeatedly lost over it. */
  readonly onLeftOut?: (topic: string, sizeBytes: number) => void;
}

/**
 * After this many births that were lost during the states, the next ones publish one state at a time to find the cause.
 */
const LOST_BIRTHS_BEFORE_SEQUENTIAL = 2;
/** Losses over one state, published alone, before the state is left out. */
const MAX_STRIKES = 2;
const LEFT_OUT_MS = 3_600_000;
/** Maximum number of values of one `each` topic that wait for the value in flight; the oldest are dropped. */
const MAX_QUEUED_VALUES = 16;

/**
 * The newest value of each retained topic; at most one publish of a topic is in flight. A value that is set meanwhile
 * replaces the previous one, unless the topic is set with `each`.
 */
export class RetainedStates {
  readonly #deps: RetainedStatesDeps;
  readonly #states = new Map<string, State>();
  readonly #inFlight = new Set<string>();
  /** Topics that the broker refused temporarily. */
  readonly #postponed = new Set<string>();
  /** Values of `each` topics that wait for the value in flight. */
  readonly #queued = new Map<string, State[]>();
  #lostBirths = 0;
  readonly #strikes = new Map<string, number>();
  readonly #leftOut = new Map<string, { readonly sizeBytes: number; readonly untilMonoMs: number }>();

  constructor(deps: RetainedStatesDeps) {
    this.#deps = deps;
  }

  set(topic: string, payload: unknown, options: StateOptions = {}): void {
    const state = {
      payload: payload === null ? '' : JSON.stringify(payload),
      expiryS: options.expiryS,
      absolute: options.absolute ?? false,
      setMonoMs: this.#deps.clock.monoMs(),
    };
    this.#states.set(topic, state);
    if (options.each !== true || !this.#inFlight.has(topic)) return;
    const queued = this.#queued.get(topic) ?? [];
    if (queued.at(-1)?.payload === state.payload) queued.pop();
    this.#queued.set(topic, [...queued, state].slice(-MAX_QUEUED_VALUES));
  }

  /**
   * Publishes the newest value of one topic, and again if it changes meanwhile. Does not reject: after a failure, the
   * next birth or `publishPostponed` publishes the state again.
   */
  async publish(topic: string, publish: PublishState): Promise<void> {
    if (this.#inFlight.has(topic)) return;
    this.#inFlight.add(topic);
    try {
      for (let sent: State | undefined; sent !== this.#states.get(topic);) {
        sent = this.#queued.get(topic)?.shift() ?? this.#states.get(topic);
        if (sent && !this.#isLeftOut(topic, sent)) await this.#send(topic, sent, publish);
      }
    } catch (error) {
      const { code, message, context } = this.#postponeIfBusy(topic, error);
      this.#deps.log.debug({ topic, code, reason: message, ...context }, 'state not published');
    } finally {
      this.#inFlight.delete(topic);
      this.#queued.delete(topic);
    }
  }

  /** Publishes the states that the broker refused temporarily. */
  publishPostponed(publish: PublishState): void {
    for (const topic of [...this.#postponed]) {
      this.#postponed.delete(topic);
      void this.publish(topic, publish);
    }
  }

  /**
   * Publishes every state: `info`, then absolute topics, then the others. Rejects when the link is lost. A state that
   * the broker refuses is logged and skipped. A state over which the link is lost each time is left out for one hour,
   * or until it is half as large.
   */
  async publishAll(publish: PublishState): Promise<void> {
    const isSequential = this.#lostBirths >= LOST_BIRTHS_BEFORE_SEQUENTIAL;
    const topics = [...this.#states].sort((a, b) => birthRank(a) - birthRank(b)).map(([topic]) => topic);
    this.#lostBirths += 1;
    if (isSequential) for (const topic of topics) await this.#publishInBirth(topic, publish, true);
    else await Promise.all(topics.map((topic) => this.#publishInBirth(topic, publish, false)));
    this.#lostBirths = 0;
    this.#strikes.clear();
  }

  async #publishInBirth(topic: string, publish: PublishState, isAlone: boolean): Promise<void> {
    const state = this.#states.get(topic);
    if (!state || this.#isExpired(state) || this.#isLeftOut(topic, state)) return;
    try {
      await this.#send(topic, state, publish);
    } catch (thrown) {
      const error = this.#postponeIfBusy(topic, thrown);
      if (isLinkLoss(error)) {
        if (isAlone) this.#addStrike(topic, state);
        throw error;
      }
      this.#deps.log.warn({ topic, code: error.code, ...error.context }, 'state refused');
    }
  }

  #addStrike(topic: string, { payload }: State): void {
    const strikes = (this.#strikes.get(topic) ?? 0) + 1;
    this.#strikes.set(topic, strikes);
    if (strikes < MAX_STRIKES) return;
    const sizeBytes = Buffer.byteLength(payload);
    this.#strikes.delete(topic);
    this.#leftOut.set(topic, { sizeBytes, untilMonoMs: this.#deps.clock.monoMs() + LEFT_OUT_MS });
    this.#deps.onLeftOut?.(topic, sizeBytes);
  }

  #isLeftOut(topic: string, { payload }: State): boolean {
    const leftOut = this.#leftOut.get(topic);
    if (!leftOut) return false;
    const isStillLeftOut =
      this.#deps.clock.monoMs() < leftOut.untilMonoMs && Buffer.byteLength(payload) > leftOut.sizeBytes / 2;
    if (!isStillLeftOut) this.#leftOut.delete(topic);
    return isStillLeftOut;
  }

  #postponeIfBusy(topic: string, thrown: unknown): AgentError {
    const error = asAgentError(thrown);
    if (error.code === 'mqtt_busy') this.#postponed.add(topic);
    return error;
  }

  #isExpired({ expiryS, setMonoMs }: State): boolean {
    return expiryS !== undefined && this.#deps.clock.monoMs() - setMonoMs > expiryS * 1000;
  }

  #send(topic: string, { payload, expiryS, absolute }: State, publish: PublishState): Promise<void> {
    return publish(topic, payload, {
      qos: 1,
      retain: true,
      absolute,
      ...(expiryS === undefined ? {} : { expiryS }),
    });
  }
}

/** Lower ranks are published first. */
const birthRank = ([topic, { absolute }]: readonly [string, State]): number =>
  topic === 'info' ? 0 : absolute ? 1 : 2;

const isLinkLoss = ({ code }: AgentError): boolean => code === 'mqtt_unreachable' || code === 'mqtt_timeout';
