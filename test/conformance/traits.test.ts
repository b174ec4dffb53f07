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
import { EmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { freePort, Mosquitto, until } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';
import { silentLog } from '../fixtures/store.ts';
import { brokerTable, BROKERS, type BrokerName, type Traits } from './traits.ts';

/** A broker that the test stops and kills. */
interface Subject {
  readonly url: string;
  /** A topic that no client may publish to. */
  readonly deniedTopic: string;
  /** After its start, a client gets its waiting messages within this time, also on a slow machine. */
  readonly timeoutMs: number;
  readonly down: (how: 'stop' | 'kill') => Promise<void>;
  readonly up: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

async function mosquitto(): Promise<Subject> {
  const broker = await Mosquitto.start({ persistence: true, acl: ['topic readwrite t/#'] });
  return {
    url: broker.url,
    deniedTopic: 'denied/x',
    timeoutMs: 20_000,
    down: (how) => broker.down(how === 'stop' ? 'SIGTERM' : 'SIGKILL'),
    up: () => broker.up(),
    remove: () => broker.stop(),
  };
}

async function nats(): Promise<Subject> {
  const cluster = await NatsCluster.start();
  return {
    url: cluster.urls[0] ?? '',
    // It closes the connection for a topic that it does not accept.
    deniedTopic: 'a.b',
    // The consumer of the session elects a new leader first.
    timeoutMs: 60_000,
    down: (how) => cluster.kill(how === 'stop' ? 'SIGTERM' : 'SIGKILL'),
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
    deniedTopic: '$denied',
    timeoutMs: 20_000,
    down: () => broker.stop(),
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

/** How long to wait for a message that must not come. */
const QUIET_MS = 1500;
/** Long enough for a client to connect before the message expires. */
const EXPIRY_S = 5;

/** Plain clients of one MQTT version that measure what a broker does. */
class Probe {
  readonly #subject: Subject;
  /** The entries of the table. They decide how long to wait, never what is measured. */
  readonly #expected: Traits;
  readonly #clients: MqttClient[] = [];

  constructor(subject: Subject, expected: Traits) {
    this.#subject = subject;
    this.#expected = expected;
  }

  /** Does not measure the will: the suite tests it with a real agent. */
  async measure(): Promise<Traits> {
    // Try version 5 with each broker, also where all other traits are measured with 3.1.1.
    const version5Client = await this.#connect({ protocolVersion: 5 }).catch(() => null);
    const stop = await this.#measureSurvival('stop');
    const kill = await this.#measureSurvival('kill');
    return {
      protocolVersion: version5Client === null ? 4 : 5,
      messageExpiry: await this.#expiresMessages(),
      responseTopic: await this.#carriesResponseTopic(),
      retainAsPublished: await this.#keepsRetainFlag(),
      // Uses the retained message of the line above.
      retainHandling: !(await this.#isRetained('t/retained', !this.#expected.retainHandling, {
        qos: 1,
        rh: 2,
      })),
      reasonCodes: await this.#refusesWithReason(),
      qos2: await this.#accepts('t/two', 2),
      keepsSessions: stop.before && kill.before,
      survivesStop: stop.after,
      survivesKill: kill.after,
      dotsInTopics: await this.#accepts('t/a.b', 1),
      will: this.#expected.will,
    };
  }

  close(): void {
    for (const client of this.#clients) client.end(true);
  }

  /** Connects a client. A cluster that is electing a leader closes new connections: try again. */
  async #client(options: IClientOptions = {}, listener?: (payload: string) => void): Promise<MqttClient> {
    const endMs = performance.now() + this.#subject.timeoutMs;
    for (;;) {
      try {
        return await this.#connect(options, listener);
      } catch (thrown) {
        if (performance.now() > endMs) throw thrown;
        await delay(1000);
      }
    }
  }

  async #connect(options: IClientOptions, listener?: (payload: string) => void): Promise<MqttClient> {
    const client = connect(this.#subject.url, {
      protocolVersion: this.#expected.protocolVersion,
      clientId: `probe-${this.#clients.length}`,
      reconnectPeriod: 0,
      connectTimeout: 20_000,
      ...options,
    });
    this.#clients.push(client);
    // Waiting messages follow the CONNACK at once.
    if (listener) client.on('message', (_topic, payload) => listener(payload.toString()));
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    client.on('error', () => undefined);
    return client;
  }

  /** Waits for the condition, shorter when the table says that it never holds. */
  async #becomesTrue(condition: () => boolean, isExpected: boolean): Promise<boolean> {
    const timeoutMs = isExpected ? this.#subject.timeoutMs : QUIET_MS;
    return until(condition, 'the condition', timeoutMs).catch(() => false);
  }

  /** Whether a new subscriber gets a retained message on a topic. */
  async #isRetained(
    topic: string,
    isExpected = true,
    options: Parameters<MqttClient['subscribeAsync']>[1] = { qos: 1 },
  ): Promise<boolean> {
    const messages: string[] = [];
    const subscriber = await this.#client({}, (payload) => messages.push(payload));
    await subscriber.subscribeAsync(topic, options);
    return this.#becomesTrue(() => messages.length > 0, isExpected);
  }

  async #expiresMessages(): Promise<boolean> {
    const sender = await this.#client();
    const properties = { messageExpiryInterval: EXPIRY_S };
    await sender.publishAsync('t/expiry', 'x', { qos: 1, retain: true, properties });
    expect(await this.#isRetained('t/expiry')).toBe(true);
    await delay(EXPIRY_S * 1000 + 500);
    return !(await this.#isRetained('t/expiry', !this.#expected.messageExpiry));
  }

  async #carriesResponseTopic(): Promise<boolean> {
    const packet = await this.#echo('t/response', { properties: { responseTopic: 't/answer' } });
    return packet.properties?.responseTopic === 't/answer';
  }

  async #keepsRetainFlag(): Promise<boolean> {
    const { retain } = await this.#echo('t/retained', { retain: true });
    expect(await this.#isRetained('t/retained')).toBe(true);
    return retain;
  }

  /** Publishes a message; returns the packet that a subscriber receives. */
  async #echo(topic: string, options: IClientPublishOptions): Promise<IPublishPacket> {
    const [sender, receiver] = [await this.#client(), await this.#client()];
    await receiver.subscribeAsync(topic, { qos: 1, rap: true });
    const received = new Promise<IPublishPacket>((resolve) =>
      receiver.once('message', (_topic, _payload, packet) => resolve(packet)),
    );
    await sender.publishAsync(topic, 'x', { qos: 1, ...options });
    return received;
  }

  async #refusesWithReason(): Promise<boolean> {
    const sender = await this.#client();
    return this.#outcomeOf(
      sender,
      sender.publishAsync(this.#subject.deniedTopic, 'x', { qos: 1 }).then(
        () => false,
        (error: unknown) => error instanceof Error && 'code' in error && Number(error.code) >= 128,
      ),
    );
  }

  async #accepts(topic: string, qos: 1 | 2): Promise<boolean> {
    const sender = await this.#client();
    return this.#outcomeOf(
      sender,
      sender.publishAsync(topic, 'x', { qos }).then(
        () => true,
        () => false,
      ),
    );
  }

  /** The result of a publish; false when the broker closes the connection or does not answer. */
  #outcomeOf(sender: MqttClient, result: Promise<boolean>): Promise<boolean> {
    return Promise.race([
      result,
      new Promise<boolean>((resolve) => sender.once('close', () => resolve(false))),
      delay(this.#subject.timeoutMs, false, { ref: false }),
    ]);
  }

  /** Whether messages for a disconnected client and retained messages exist before and after a restart of the broker. */
  async #measureSurvival(
    how: 'stop' | 'kill',
  ): Promise<{ readonly before: boolean; readonly after: boolean }> {
    const session: IClientOptions = {
      clientId: `away-${how}`,
      clean: false,
      ...(this.#expected.protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
    };
    const { keepsSessions, survivesStop, survivesKill } = this.#expected;
    const survives = how === 'stop' ? survivesStop : survivesKill;
    const isDeliveredLater = async (message: string, isExpected: boolean): Promise<boolean> => {
      const received: string[] = [];
      const client = await this.#client(session, (payload) => received.push(payload));
      const isDelivered = await this.#becomesTrue(() => received.includes(message), isExpected);
      await client.endAsync();
      return isDelivered;
    };
    const first = await this.#client(session);
    await first.subscribeAsync(`t/${how}/#`, { qos: 1 });
    await first.endAsync();
    const sender = await this.#client();
    await sender.publishAsync(`t/${how}/1`, 'first', { qos: 1 });
    const before = await isDeliveredLater('first', keepsSessions);
    await sender.publishAsync(`t/${how}/2`, 'second', { qos: 1 });
    await sender.publishAsync(`t/${how}/kept`, 'kept', { qos: 1, retain: true });
    await this.#subject.down(how);
    await this.#subject.up();
    const isDelivered = await isDeliveredLater('second', survives);
    const isRetained = await this.#isRetained(`t/${how}/kept`, survives);
    // If the two differed, the table would need a line for each.
    expect(isRetained).toBe(isDelivered);
    return { before, after: isDelivered && isRetained };
  }
}

it.concurrent.each(SUBJECTS)(
  'measures the traits of %s as in the table',
  async (name, open) => {
    const traits = BROKERS[name];
    const { protocolVersion } = traits;
    const subject = await open();
    const probe = new Probe(subject, traits);
    try {
      // The column of mosquitto with MQTT 3.1.1 speaks the older version on purpose.
      const newestVersion = name === 'mosquitto, MQTT 3.1.1' ? 5 : protocolVersion;
      expect(await probe.measure()).toEqual({ ...traits, protocolVersion: newestVersion });
    } finally {
      probe.close();
      await subject.remove();
    }
  },
  240_000,
);

it('prints the same table in docs/brokers.md', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/brokers.md'), 'utf8');
  expect(docs).toContain(brokerTable());
});
