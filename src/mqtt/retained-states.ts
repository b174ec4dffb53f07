import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { asAgentError, type AgentError } from '../base/errors.ts';
import type { PublishOptions, StateOptions } from './types.ts';

interface State {
  /** JSON; empty clears the topic. */
  readonly payload: string;
  readonly expiryS: number | undefined;
  readonly absolute: boolean;
  readonly setMonoMs: number;
}

export type Publish = (topic: string, payload: string, options: PublishOptions) => Promise<void>;

export interface RetainedStatesDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** The link was lost over this state again and again. */
  readonly onLeftOut?: (topic: string, sizeBytes: number) => void;
}

/** Births that were lost among the states, after which these are sent one at a time: one of them may be the reason. */
const ONE_BY_ONE_AFTER = 2;
/** Losses over one state, sent alone, before it is left out. */
const STRIKES = 2;
const LEFT_OUT_FOR_MS = 3_600_000;
/** Values of one topic that wait for the one under way, where each of them is to be seen. */
const MAX_STEPS = 16;

/**
 * The retained states: the newest value of each topic, at most one publish of a topic under way. Values that come meanwhile
 * replace each other, but for a topic that is set with `each`.
 */
export class RetainedStates {
  readonly #deps: RetainedStatesDeps;
  readonly #states = new Map<string, State>();
  readonly #underWay = new Set<string>();
  /** Topics that the broker did not want just then. */
  readonly #postponed = new Set<string>();
  readonly #steps = new Map<string, State[]>();
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
    if (options.each !== true || !this.#underWay.has(topic)) return;
    const steps = this.#steps.get(topic) ?? [];
    if (steps.at(-1)?.payload === state.payload) steps.pop();
    this.#steps.set(topic, [...steps, state].slice(-MAX_STEPS));
  }

  /**
   * Publishes one topic's newest value, and again while it changed meanwhile. Failures are left to the next birth,
   * which publishes everything again, or to `publishPostponed`.
   */
  async publish(topic: string, publish: Publish): Promise<void> {
    if (this.#underWay.has(topic)) return;
    this.#underWay.add(topic);
    try {
      for (let sent: State | undefined; sent !== this.#states.get(topic);) {
        sent = this.#steps.get(topic)?.shift() ?? this.#states.get(topic);
        if (sent && !this.#isLeftOut(topic, sent)) await this.#send(topic, sent, publish);
      }
    } catch (error) {
      const { code, message, context } = this.#noted(topic, error);
      this.#deps.log.debug({ topic, code, reason: message, ...context }, 'state not published');
    } finally {
      this.#underWay.delete(topic);
      this.#steps.delete(topic);
    }
  }

  /** Publishes what the broker did not want before. */
  publishPostponed(publish: Publish): void {
    for (const topic of [...this.#postponed]) {
      this.#postponed.delete(topic);
      void this.publish(topic, publish);
    }
  }

  /**
   * Publishes every state: `info`, then absolute topics, then the others. Rejects when the link is lost; a state that is refused is logged and left
   * out. So is one over which the link is lost each time, for an hour or until it is half as large.
   */
  async publishAll(publish: Publish): Promise<void> {
    const oneByOne = this.#lostBirths >= ONE_BY_ONE_AFTER;
    const topics = [...this.#states].sort((a, b) => rank(a) - rank(b)).map(([topic]) => topic);
    this.#lostBirths += 1;
    if (oneByOne) for (const topic of topics) await this.#born(topic, publish, true);
    else await Promise.all(topics.map((topic) => this.#born(topic, publish, false)));
    this.#lostBirths = 0;
    this.#strikes.clear();
  }

  async #born(topic: string, publish: Publish, alone: boolean): Promise<void> {
    const state = this.#states.get(topic);
    if (!state || this.#expired(state) || this.#isLeftOut(topic, state)) return;
    try {
      await this.#send(topic, state, publish);
    } catch (error) {
      const known = this.#noted(topic, error);
      if (isLoss(known)) {
        if (alone) this.#strike(topic, state);
        throw known;
      }
      this.#deps.log.warn({ topic, code: known.code, ...known.context }, 'state refused');
    }
  }

  #strike(topic: string, { payload }: State): void {
    const strikes = (this.#strikes.get(topic) ?? 0) + 1;
    this.#strikes.set(topic, strikes);
    if (strikes < STRIKES) return;
    const sizeBytes = Buffer.byteLength(payload);
    this.#strikes.delete(topic);
    this.#leftOut.set(topic, { sizeBytes, untilMonoMs: this.#deps.clock.monoMs() + LEFT_OUT_FOR_MS });
    this.#deps.onLeftOut?.(topic, sizeBytes);
  }

  #isLeftOut(topic: string, { payload }: State): boolean {
    const left = this.#leftOut.get(topic);
    if (!left) return false;
    const still =
      this.#deps.clock.monoMs() < left.untilMonoMs && Buffer.byteLength(payload) > left.sizeBytes / 2;
    if (!still) this.#leftOut.delete(topic);
    return still;
  }

  #noted(topic: string, error: unknown): AgentError {
    const known = asAgentError(error);
    if (known.code === 'mqtt_busy') this.#postponed.add(topic);
    return known;
  }

  #expired({ expiryS, setMonoMs }: State): boolean {
    return expiryS !== undefined && this.#deps.clock.monoMs() - setMonoMs > expiryS * 1000;
  }

  #send(topic: string, { payload, expiryS, absolute }: State, publish: Publish): Promise<void> {
    return publish(topic, payload, {
      qos: 1,
      retain: true,
      absolute,
      ...(expiryS === undefined ? {} : { expiryS }),
    });
  }
}

const rank = ([topic, { absolute }]: readonly [string, State]): number =>
  topic === 'info' ? 0 : absolute ? 1 : 2;

const isLoss = ({ code }: AgentError): boolean => code === 'mqtt_unreachable' || code === 'mqtt_timeout';
