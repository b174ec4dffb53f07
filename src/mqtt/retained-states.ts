import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { asAgentError } from '../errors.ts';
import type { PublishOptions } from './types.ts';

interface State {
  /** JSON; empty clears the topic. */
  readonly payload: string;
  readonly expiryS: number | undefined;
  readonly setMonoMs: number;
}

export type Publish = (topic: string, payload: string, options: PublishOptions) => Promise<void>;

/** The retained states: the newest value of each topic, at most one publish of a topic under way. */
export class RetainedStates {
  readonly #deps: { clock: Clock; log: Log };
  readonly #states = new Map<string, State>();
  readonly #underWay = new Set<string>();

  constructor(deps: { clock: Clock; log: Log }) {
    this.#deps = deps;
  }

  set(topic: string, payload: unknown, expiryS?: number): void {
    this.#states.set(topic, {
      payload: payload === null ? '' : JSON.stringify(payload),
      expiryS,
      setMonoMs: this.#deps.clock.monoMs(),
    });
  }

  /**
   * Publishes one topic's newest value, and again while it changed meanwhile. Failures are left to the next birth,
   * which publishes everything again.
   */
  async publish(topic: string, publish: Publish): Promise<void> {
    if (this.#underWay.has(topic)) return;
    this.#underWay.add(topic);
    try {
      for (let sent: State | undefined; sent !== this.#states.get(topic);) {
        sent = this.#states.get(topic);
        if (sent) await this.#send(topic, sent, publish);
      }
    } catch (error) {
      const { code, message, context } = asAgentError(error);
      this.#deps.log.debug({ topic, code, reason: message, ...context }, 'state not published');
    } finally {
      this.#underWay.delete(topic);
    }
  }

  /** Publishes every state, `info` first. Rejects when the link is lost; a state that is refused is logged and left out. */
  async publishAll(publish: Publish): Promise<void> {
    const topics = [...this.#states.keys()].sort((a, b) => Number(b === 'info') - Number(a === 'info'));
    await Promise.all(
      topics.map(async (topic) => {
        const state = this.#states.get(topic);
        if (!state || this.#expired(state)) return;
        try {
          await this.#send(topic, state, publish);
        } catch (error) {
          const known = asAgentError(error);
          if (known.retryable) throw known;
          this.#deps.log.warn({ topic, code: known.code, ...known.context }, 'state refused');
        }
      }),
    );
  }

  #expired({ expiryS, setMonoMs }: State): boolean {
    return expiryS !== undefined && this.#deps.clock.monoMs() - setMonoMs > expiryS * 1000;
  }

  #send(topic: string, { payload, expiryS }: State, publish: Publish): Promise<void> {
    return publish(topic, payload, { qos: 1, retain: true, ...(expiryS === undefined ? {} : { expiryS }) });
  }
}
