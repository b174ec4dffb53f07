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
  /** Called when a state is no longer published, because the connection was lost each time it was published. */
  readonly onLeftOut?: (topic: string, sizeBytes: number) => void;
}

/**
 * When the connection was lost this many times in a row while the states were published, they are published one at a
 * time after the next connects, to find the state that is the cause.
 */
const LOST_ROUNDS_BEFORE_SEQUENTIAL = 2;
/** A state is left out after the connection was lost this many times while only this state was published. */
const MAX_STRIKES = 2;
/** How long a state is left out. */
const LEFT_OUT_MS = 3_600_000;
/** Maximum number of waiting values of a topic that is set with `each`. Above it, the oldest values are dropped. */
const MAX_QUEUED_VALUES = 16;

/**
 * The newest value of each retained topic; at most one publish of a topic is in flight. A value that is set during a
 * publish replaces the waiting value, unless it is set with `each`: then every value is published.
 */
export class RetainedStates {
  readonly #deps: RetainedStatesDeps;
  readonly #states = new Map<string, State>();
  readonly #inFlight = new Set<string>();
  /** Topics whose state the broker refused temporarily. */
  readonly #postponed = new Set<string>();
  /** Values set with `each` that wait until the value before them is published, by topic. */
  readonly #queued = new Map<string, State[]>();
  #lostRounds = 0;
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

  /** The topics that have a value, relative to the topic of the device. */
  get topics(): readonly string[] {
    return [...this.#states.keys()].filter((topic) => this.has(topic));
  }

  /** False for a topic that was never set or was cleared. */
  has(topic: string): boolean {
    const state = this.#states.get(topic);
    return state !== undefined && state.payload !== '' && !state.absolute;
  }

  /**
   * Publishes the newest value of one topic, and again if it changes during the publish. Does not reject: after a
   * failure, `publishAll` after the next connect or `publishPostponed` publishes the state again.
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
      this.#deps.log.debug(
        { topic, code, reason: message, ...context },
        'cannot publish a retained state now',
      );
    } finally {
      this.#inFlight.delete(topic);
      this.#queued.delete(topic);
    }
  }

  /** Publishes the states again that the broker refused temporarily. */
  publishPostponed(publish: PublishState): void {
    for (const topic of [...this.#postponed]) {
      this.#postponed.delete(topic);
      void this.publish(topic, publish);
    }
  }

  /**
   * Publishes every state after a connect: `info`, then absolute topics, then the others. Rejects when the connection
   * is lost. Logs and skips a state that the broker refuses. When the connection was lost each time a state was
   * published, leaves this state out for one hour, or until it is half as large.
   */
  async publishAll(publish: PublishState): Promise<void> {
    const isSequential = this.#lostRounds >= LOST_ROUNDS_BEFORE_SEQUENTIAL;
    const topics = [...this.#states].sort((a, b) => publishRank(a) - publishRank(b)).map(([topic]) => topic);
    this.#lostRounds += 1;
    if (isSequential) for (const topic of topics) await this.#publishOrSkip(topic, publish, true);
    else await Promise.all(topics.map((topic) => this.#publishOrSkip(topic, publish, false)));
    this.#lostRounds = 0;
    this.#strikes.clear();
  }

  async #publishOrSkip(topic: string, publish: PublishState, isAlone: boolean): Promise<void> {
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
      this.#deps.log.warn({ topic, code: error.code, ...error.context }, 'broker refused a retained state');
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

/** The position of a state in `publishAll`: lower ranks are published first. */
const publishRank = ([topic, { absolute }]: readonly [string, State]): number =>
  topic === 'info' ? 0 : absolute ? 1 : 2;

const isLinkLoss = ({ code }: AgentError): boolean => code === 'mqtt_unreachable' || code === 'mqtt_timeout';
