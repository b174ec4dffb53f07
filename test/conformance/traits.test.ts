import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  connect,
  type IClientOptions,
  type IClientPublishOptions,
  type IPublishPacket,
  type MqttClient,
} from 'mqtt';
import { expect, it } from 'vitest';
import { EmbeddedBroker } from '../../src/mqtt/embedded.ts';
import { freePort, Mosquitto, until } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';
import { silentLog } from '../fixtures/store.ts';
import { brokerTable, BROKERS, type BrokerName, type Traits } from './traits.ts';

/** A broker of its own, to be stopped and killed. */
interface Subject {
  readonly url: string;
  /** A topic that nobody may write to. */
  readonly denied: string;
  /** How long after its start it may take until a client gets what is there for it; on a slow machine too. */
  readonly patienceMs: number;
  readonly end: (how: 'stop' | 'kill') => Promise<void>;
  readonly up: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

async function mosquitto(): Promise<Subject> {
  const broker = await Mosquitto.start({ persistence: true, acl: ['topic readwrite t/#'] });
  return {
    url: broker.url,
    denied: 'denied/x',
    patienceMs: 20_000,
    end: (how) => broker.down(how === 'stop' ? 'SIGTERM' : 'SIGKILL'),
    up: () => broker.up(),
    remove: () => broker.stop(),
  };
}

async function nats(): Promise<Subject> {
  const cluster = await NatsCluster.start();
  return {
    url: cluster.urls[0] ?? '',
    // What it does not take it answers by hanging up.
    denied: 'a.b',
    // The consumer of the session chooses its leader anew.
    patienceMs: 60_000,
    end: (how) => cluster.kill(how === 'stop' ? 'SIGTERM' : 'SIGKILL'),
    up: () => cluster.up(),
    remove: () => cluster.stop(),
  };
}

async function embedded(): Promise<Subject> {
  const port = await freePort();
  const open = async (): Promise<EmbeddedBroker> => {
    const broker = new EmbeddedBroker({ host: '127.0.0.1', port }, { log: silentLog });
    await broker.start();
    return broker;
  };
  let broker = await open();
  return {
    url: `mqtt://127.0.0.1:${port}`,
    denied: '$denied',
    patienceMs: 20_000,
    end: () => broker.stop(),
    up: async () => void (broker = await open()),
    remove: () => broker.stop(),
  };
}

const SUBJECTS: readonly [BrokerName, () => Promise<Subject>][] = [
  ['mosquitto, MQTT 5', mosquitto],
  ['mosquitto, MQTT 3.1.1', mosquitto],
  ['NATS cluster', nats],
  ['embedded', embedded],
];

/** What is not to come is waited for so long; what is to come, as long as the subject may take. */
const QUIET_MS = 1500;
/** Enough for a client to be there before it is over. */
const EXPIRY_S = 5;

/** Bare clients of one version of MQTT, which find out what a broker does. */
class Probe {
  readonly #subject: Subject;
  /** What the table says: it tells for what to wait, and never what is found. */
  readonly #wanted: Traits;
  readonly #clients: MqttClient[] = [];

  constructor(subject: Subject, wanted: Traits) {
    this.#subject = subject;
    this.#wanted = wanted;
  }

  /** The will is left as given: the suite sees it of a real agent. */
  async measure(): Promise<Traits> {
    // Each broker is asked for 5, also where everything else is measured with 3.1.1.
    const five = await this.#connect({ protocolVersion: 5 }).catch(() => null);
    const stop = await this.#outlives('stop');
    const kill = await this.#outlives('kill');
    return {
      protocolVersion: five === null ? 4 : 5,
      messageExpiry: await this.#expires(),
      responseTopic: await this.#carriesResponseTopic(),
      retainAsPublished: await this.#showsRetain(),
      // Behind the one before, which left a retained message.
      retainHandling: !(await this.#isKept('t/retained', !this.#wanted.retainHandling, { qos: 1, rh: 2 })),
      reasonCodes: await this.#refusesWithReason(),
      qos2: await this.#takes('t/two', 2),
      keepsSessions: stop.before && kill.before,
      survivesStop: stop.after,
      survivesKill: kill.after,
      dotsInTopics: await this.#takes('t/a.b', 1),
      will: this.#wanted.will,
    };
  }

  close(): void {
    for (const client of this.#clients) client.end(true);
  }

  /** A cluster that is electing a leader cuts off who knocks meanwhile. */
  async #client(options: IClientOptions = {}, listener?: (payload: string) => void): Promise<MqttClient> {
    const endMs = performance.now() + this.#subject.patienceMs;
    for (;;) {
      try {
        return await this.#connect(options, listener);
      } catch (refused) {
        if (performance.now() > endMs) throw refused;
        await delay(1000);
      }
    }
  }

  async #connect(options: IClientOptions, listener?: (payload: string) => void): Promise<MqttClient> {
    const client = connect(this.#subject.url, {
      protocolVersion: this.#wanted.protocolVersion,
      clientId: `probe-${this.#clients.length}`,
      reconnectPeriod: 0,
      connectTimeout: 20_000,
      ...options,
    });
    this.#clients.push(client);
    // Before the CONNACK: what waited comes right behind it.
    if (listener) client.on('message', (_topic, payload) => listener(payload.toString()));
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    client.on('error', () => undefined);
    return client;
  }

  /** Whether it comes to that, as soon as it has; otherwise after the time that is given to what is wanted, or is not. */
  async #comes(isThere: () => boolean, wanted: boolean): Promise<boolean> {
    const withinMs = wanted ? this.#subject.patienceMs : QUIET_MS;
    return until(isThere, 'it', withinMs).catch(() => false);
  }

  /** Whether a message is retained on a topic, as a new subscriber sees it. */
  async #isKept(
    topic: string,
    wanted = true,
    options: Parameters<MqttClient['subscribeAsync']>[1] = { qos: 1 },
  ): Promise<boolean> {
    const messages: string[] = [];
    const subscriber = await this.#client({}, (payload) => messages.push(payload));
    await subscriber.subscribeAsync(topic, options);
    return this.#comes(() => messages.length > 0, wanted);
  }

  async #expires(): Promise<boolean> {
    const sender = await this.#client();
    const properties = { messageExpiryInterval: EXPIRY_S };
    await sender.publishAsync('t/expiry', 'x', { qos: 1, retain: true, properties });
    expect(await this.#isKept('t/expiry')).toBe(true);
    await delay(EXPIRY_S * 1000 + 500);
    return !(await this.#isKept('t/expiry', !this.#wanted.messageExpiry));
  }

  async #carriesResponseTopic(): Promise<boolean> {
    const packet = await this.#echo('t/response', { properties: { responseTopic: 't/answer' } });
    return packet.properties?.responseTopic === 't/answer';
  }

  async #showsRetain(): Promise<boolean> {
    const { retain } = await this.#echo('t/retained', { retain: true });
    expect(await this.#isKept('t/retained')).toBe(true);
    return retain;
  }

  /** What a subscriber gets of a message. */
  async #echo(topic: string, options: IClientPublishOptions): Promise<IPublishPacket> {
    const [sender, receiver] = [await this.#client(), await this.#client()];
    await receiver.subscribeAsync(topic, { qos: 1, rap: true });
    const got = new Promise<IPublishPacket>((resolve) =>
      receiver.once('message', (_topic, _payload, packet) => resolve(packet)),
    );
    await sender.publishAsync(topic, 'x', { qos: 1, ...options });
    return got;
  }

  async #refusesWithReason(): Promise<boolean> {
    const sender = await this.#client();
    return this.#answer(
      sender,
      sender.publishAsync(this.#subject.denied, 'x', { qos: 1 }).then(
        () => false,
        (error: unknown) => error instanceof Error && 'code' in error && Number(error.code) >= 128,
      ),
    );
  }

  async #takes(topic: string, qos: 1 | 2): Promise<boolean> {
    const sender = await this.#client();
    return this.#answer(
      sender,
      sender.publishAsync(topic, 'x', { qos }).then(
        () => true,
        () => false,
      ),
    );
  }

  /** What comes of a message; false also when the broker hangs up on it, or says nothing. */
  #answer(sender: MqttClient, told: Promise<boolean>): Promise<boolean> {
    return Promise.race([
      told,
      new Promise<boolean>((resolve) => sender.once('close', () => resolve(false))),
      delay(this.#subject.patienceMs, false, { ref: false }),
    ]);
  }

  /** What waits for a client that is away, and what is retained: before, and after the broker ended and began. */
  async #outlives(how: 'stop' | 'kill'): Promise<{ readonly before: boolean; readonly after: boolean }> {
    const session: IClientOptions = {
      clientId: `away-${how}`,
      clean: false,
      ...(this.#wanted.protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
    };
    const { keepsSessions, survivesStop, survivesKill } = this.#wanted;
    const survives = how === 'stop' ? survivesStop : survivesKill;
    const missed = async (message: string, wanted: boolean): Promise<boolean> => {
      const got: string[] = [];
      const back = await this.#client(session, (payload) => got.push(payload));
      const came = await this.#comes(() => got.includes(message), wanted);
      await back.endAsync();
      return came;
    };
    const away = await this.#client(session);
    await away.subscribeAsync(`t/${how}/#`, { qos: 1 });
    await away.endAsync();
    const sender = await this.#client();
    await sender.publishAsync(`t/${how}/1`, 'first', { qos: 1 });
    const before = await missed('first', keepsSessions);
    await sender.publishAsync(`t/${how}/2`, 'second', { qos: 1 });
    await sender.publishAsync(`t/${how}/kept`, 'kept', { qos: 1, retain: true });
    await this.#subject.end(how);
    await this.#subject.up();
    const waited = await missed('second', survives);
    const kept = await this.#isKept(`t/${how}/kept`, survives);
    // Half of it would be a line of its own in the table.
    expect(kept).toBe(waited);
    return { before, after: waited && kept };
  }
}

it.concurrent.each(SUBJECTS)(
  '%s is as the table says',
  async (name, open) => {
    const traits = BROKERS[name];
    const { protocolVersion } = traits;
    const subject = await open();
    const probe = new Probe(subject, traits);
    try {
      // The one column of mosquitto speaks the older version on purpose.
      const best = name === 'mosquitto, MQTT 3.1.1' ? 5 : protocolVersion;
      expect(await probe.measure()).toEqual({ ...traits, protocolVersion: best });
    } finally {
      probe.close();
      await subject.remove();
    }
  },
  240_000,
);

it('docs/brokers.md prints this table', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/brokers.md'), 'utf8');
  expect(docs).toContain(brokerTable());
});
