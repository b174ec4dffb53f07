import { freePort, Mosquitto } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';
import { Proxy } from '../fixtures/proxy.ts';
import type { BrokerName } from './traits.ts';

/** A running broker, as the suite needs it. */
export interface Broker {
  readonly name: BrokerName;
  /** `mqtt` of the agent's configuration. */
  readonly mqtt: Readonly<Record<string, unknown>>;
  /** For all other clients, the preferred address first. */
  readonly urls: readonly string[];
  /** Control over a broker that runs outside of the agent; null for the embedded one. */
  readonly external: {
    /** Between agent and broker: one for each address. */
    readonly proxies: readonly Proxy[];
    /** Stops all nodes of the broker and closes all connections. */
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
    urls: [broker.url],
    external: {
      proxies: [proxy],
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

/** The agent uses all three nodes, all other clients the second and the third. */
export async function nats(): Promise<Broker & { readonly cluster: NatsCluster }> {
  const cluster = await NatsCluster.start();
  const proxies = await Promise.all(cluster.nodes.map(({ ports }) => Proxy.to(ports.mqtt)));
  return {
    name: 'NATS cluster',
    cluster,
    mqtt: { url: proxies.map(({ url }) => url), protocolVersion: 4 },
    urls: cluster.urls.slice(1),
    external: {
      proxies,
      down: async () => {
        await Promise.all(proxies.map((proxy) => proxy.refuse()));
        await cluster.kill();
      },
      up: async () => {
        await cluster.up();
        await Promise.all(proxies.map((proxy) => proxy.accept()));
      },
    },
    stop: async () => {
      for (const proxy of proxies) proxy.stop();
      await cluster.stop();
    },
  };
}

export async function embedded(): Promise<Broker> {
  const port = await freePort();
  return {
    name: 'embedded',
    mqtt: { embedded: { port } },
    urls: [`mqtt://127.0.0.1:${port}`],
    external: null,
    stop: () => Promise.resolve(),
  };
}
