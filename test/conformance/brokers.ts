import { freePort, Mosquitto } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';
import { Proxy } from '../fixtures/proxy.ts';
import type { BrokerName } from './traits.ts';

/** A running broker, as the suite needs it. */
export interface Broker {
  readonly name: BrokerName;
  /** `mqtt` of the agent's configuration. */
  readonly mqtt: Readonly<Record<string, unknown>>;
  /** Where everyone else connects. */
  readonly url: string;
  /** What can only be done to a broker that lives apart from the agent. */
  readonly outside: {
    /** On the agent's way to the broker. */
    readonly proxy: Proxy;
    /** The broker ends, every node of it; clients notice. */
    readonly down: () => Promise<void>;
    readonly up: () => Promise<void>;
  } | null;
  readonly stop: () => Promise<void>;
}

export async function mosquitto(protocolVersion: 5 | 4): Promise<Broker> {
  const broker = await Mosquitto.start({ persistence: true, lines: ['max_queued_messages 0'] });
  const proxy = await Proxy.to(broker.port);
  return {
    name: protocolVersion === 5 ? 'mosquitto, MQTT 5' : 'mosquitto, MQTT 3.1.1',
    mqtt: { url: proxy.url, protocolVersion },
    url: broker.url,
    outside: {
      proxy,
      down: async () => {
        await proxy.refuse();
        await broker.down();
      },
      up: async () => {
        await broker.up();
        await proxy.accept();
      },
    },
    stop: async () => {
      proxy.stop();
      await broker.stop();
    },
  };
}

/** The agent has all three nodes and prefers the first; everyone else is on the second. */
export async function nats(): Promise<Broker & { readonly cluster: NatsCluster }> {
  const cluster = await NatsCluster.start();
  const [first, second, third] = cluster.nodes.map(({ ports }) => ports.mqtt);
  if (first === undefined || second === undefined || third === undefined) throw new Error('three nodes');
  const proxy = await Proxy.to(first);
  const direct = (port: number): string => `mqtt://127.0.0.1:${port}`;
  return {
    name: 'NATS cluster',
    cluster,
    mqtt: { url: [proxy.url, direct(second), direct(third)], protocolVersion: 4 },
    url: direct(second),
    outside: {
      proxy,
      down: async () => {
        await proxy.refuse();
        await cluster.kill();
      },
      up: async () => {
        await cluster.up();
        await proxy.accept();
      },
    },
    stop: async () => {
      proxy.stop();
      await cluster.stop();
    },
  };
}

export async function embedded(): Promise<Broker> {
  const port = await freePort();
  return {
    name: 'embedded',
    mqtt: { embedded: { port } },
    url: `mqtt://127.0.0.1:${port}`,
    outside: null,
    stop: () => Promise.resolve(),
  };
}
