import { parseJsonObject } from '../base/json-object.ts';
import type { Status } from '../contract/states.ts';
import type { Session } from './link/session.ts';
import type { Topics } from './topics.ts';

/** What arrives for the device during the probe. */
export class StatusInbox {
  readonly #retained = Promise.withResolvers<unknown>();
  readonly #delivered = Promise.withResolvers<unknown>();
  readonly #answered = Promise.withResolvers<unknown>();
  #expected: string | null = null;
  retainedPayload: string | null = null;
  isDelivered = false;
  isAnswered = false;
  waitingCommands = 0;
  lostCommands = 0;

  constructor(session: Session, topics: Topics) {
    session.inbox.listen(({ topic, payload, retain, qos }) => {
      const text = Buffer.from(payload).toString();
      if (topics.commandName(topic) !== null) {
        if (qos === 0) this.lostCommands += 1;
        else this.waitingCommands += 1;
      } else if (topic === topics.status && retain) {
        this.retainedPayload = text;
        this.#retained.resolve(null);
      } else if (topic === topics.status && this.#expected !== null) this.#receiveLive(text);
    });
  }

  #receiveLive(text: string): void {
    if (text === this.#expected) {
      this.isDelivered = true;
      this.#delivered.resolve(null);
    } else if ((parseJsonObject(Buffer.from(text)) as Partial<Status> | null)?.state === 'online') {
      this.isAnswered = true;
      this.#answered.resolve(null);
    }
  }

  /** Resolves when the retained status has arrived. */
  get retained(): Promise<unknown> {
    return this.#retained.promise;
  }

  /** From now on, waits for a live message with this payload, and for the status of another client. */
  expect(payload: string): void {
    this.#expected = payload;
  }

  /** Resolves when the expected message has arrived. */
  get delivered(): Promise<unknown> {
    return this.#delivered.promise;
  }

  /** Resolves when another client has published `online`. */
  get answered(): Promise<unknown> {
    return this.#answered.promise;
  }
}
