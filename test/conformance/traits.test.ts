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
  /** How long after its start it may take until a session gets what it missed. */
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
    patienceMs: 5000,
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
    patienceMs: 20_000,
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
    patienceMs: 1500,
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

const CONNECT_ATTEMPTS = 5;

/** Bare clients of one version of MQTT, which find out what a broker does. */
class Probe {
  readonly #subject: Subject;
  readonly #version: 4 | 5;
  readonly #clients: MqttClient[] = [];

  constructor(subject: Subject, version: 4 | 5) {
    this.#subject = subject;
    this.#version = version;
  }

  /** The will is left as given: the suite sees it of a real agent. */
  async measure(will: boolean): Promise<Traits> {
    // Each broker is asked for 5, also where everything else is measured with 3.1.1.
    const five = await this.#client({ protocolVersion: 5 }).catch(() => null);
    const stop = await this.#outlives('stop');
    const kill = await this.#outlives('kill');
    return {
      protocolVersion: five === null ? 4 : 5,
      messageExpiry: await this.#expires(),
      responseTopic: await this.#carriesResponseTopic(),
      retainAsPublished: await this.#showsRetain(),
      // Behind the one before, which left a retained message.
      retainHandling: (await this.#heard('t/retained', { qos: 1, rh: 2 })).length === 0,
      reasonCodes: await this.#refusesWithReason(),
      qos2: await this.#takes('t/two', 2),
      keepsSessions: stop.before && kill.before,
      survivesStop: stop.after,
      survivesKill: kill.after,
      dotsInTopics: await this.#takes('t/a.b', 1),
      will,
    };
  }

  close(): void {
    for (const client of this.#clients) client.end(true);
  }

  /** A cluster that is electing a leader cuts off who knocks meanwhile. */
  async #client(options: IClientOptions = {}, listener?: (payload: string) => void): Promise<MqttClient> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#connect(options, listener);
      } catch (refused) {
        if (attempt === CONNECT_ATTEMPTS) throw refused;
        await delay(1000);
      }
    }
  }

  async #connect(options: IClientOptions, listener?: (payload: string) => void): Promise<MqttClient> {
    const client = connect(this.#subject.url, {
      protocolVersion: this.#version,
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

  /** What is retained on a topic, as a subscriber sees it within a while. */
  async #heard(topic: string, options: Parameters<MqttClient['subscribeAsync']>[1] = { qos: 1 }) {
    const messages: string[] = [];
    const subscriber = await this.#client({}, (payload) => messages.push(payload));
    await subscriber.subscribeAsync(topic, options);
    await delay(500);
    return messages;
  }

  async #expires(): Promise<boolean> {
    const sender = await this.#client();
    const properties = { messageExpiryInterval: 3 };
    await sender.publishAsync('t/expiry', 'x', { qos: 1, retain: true, properties });
    expect(await this.#heard('t/expiry')).toEqual(['x']);
    await delay(3700);
    return (await this.#heard('t/expiry')).length === 0;
  }

  async #carriesResponseTopic(): Promise<boolean> {
    const packet = await this.#echo('t/response', { properties: { responseTopic: 't/answer' } });
    return packet.properties?.responseTopic === 't/answer';
  }

  async #showsRetain(): Promise<boolean> {
    const { retain } = await this.#echo('t/retained', { retain: true });
    expect(await this.#heard('t/retained')).toEqual(['x']);
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
    const told = sender.publishAsync(this.#subject.denied, 'x', { qos: 1 }).then(
      () => false,
      (error: unknown) => error instanceof Error && 'code' in error && Number(error.code) >= 128,
    );
    return Promise.race([told, delay(2500).then(() => false)]);
  }

  async #takes(topic: string, qos: 1 | 2): Promise<boolean> {
    const sender = await this.#client();
    return Promise.race([
      sender.publishAsync(topic, 'x', { qos }).then(
        () => true,
        () => false,
      ),
      new Promise<boolean>((resolve) => sender.once('close', () => resolve(false))),
      delay(5000).then(() => false),
    ]);
  }

  /** What waits for a client that is away, and what is retained: before, and after the broker ended and began. */
  async #outlives(how: 'stop' | 'kill'): Promise<{ readonly before: boolean; readonly after: boolean }> {
    const session: IClientOptions = {
      clientId: `away-${how}`,
      clean: false,
      ...(this.#version === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
    };
    const missed = async (): Promise<readonly string[]> => {
      const got: string[] = [];
      const back = await this.#client(session, (payload) => got.push(payload));
      await until(() => got.length > 0, 'what was missed', this.#subject.patienceMs).catch(() => undefined);
      await back.endAsync();
      return got;
    };
    const away = await this.#client(session);
    await away.subscribeAsync(`t/${how}/#`, { qos: 1 });
    await away.endAsync();
    const sender = await this.#client();
    await sender.publishAsync(`t/${how}/1`, 'first', { qos: 1 });
    const before = (await missed()).includes('first');
    await sender.publishAsync(`t/${how}/2`, 'second', { qos: 1 });
    await sender.publishAsync(`t/${how}/kept`, 'kept', { qos: 1, retain: true });
    await this.#subject.end(how);
    await this.#subject.up();
    const waited = (await missed()).includes('second');
    const kept = (await this.#heard(`t/${how}/kept`)).length === 1;
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
    const probe = new Probe(subject, protocolVersion);
    try {
      // The one column of mosquitto speaks the older version on purpose.
      const best = name === 'mosquitto, MQTT 3.1.1' ? 5 : protocolVersion;
      expect(await probe.measure(traits.will)).toEqual({ ...traits, protocolVersion: best });
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
