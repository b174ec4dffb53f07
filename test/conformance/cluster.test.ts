import { setTimeout as delay } from 'node:timers/promises';
import { connect, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation } from '../../src/contract/observation.ts';
import { Device, linkOptions, topics } from '../fixtures/link.ts';
import { until } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';
import { draft, NO_FEATURES } from '../fixtures/store.ts';

const CAMERAS = ['north', 'south', 'east'];
const PER_S = 400;
/** Made before the kill, while the node is away, and in all. */
const AT_KILL = 500;
const IN_ALL = 2000;
/** The most that the agent sends before an acknowledgement. */
const IN_FLIGHT = 20;

/** The agent's own store, forwarder and link at a rate that no camera comes to. */
describe('three-node cluster under load', () => {
  let cluster: NatsCluster;
  let subscriber: MqttClient;
  let device: Device;
  const got: { readonly record: Observation; readonly topic: string; readonly atMs: number }[] = [];
  let made = 0;

  beforeAll(async () => {
    cluster = await NatsCluster.start();
    const servers = cluster.nodes
      .slice(1)
      .map(({ ports }) => ({ host: '127.0.0.1', port: ports.mqtt, protocol: 'mqtt' as const }));
    subscriber = connect({
      servers,
      protocolVersion: 4,
      clientId: 'load',
      clean: false,
      reconnectPeriod: 200,
      keepalive: 5,
    });
    subscriber.on('error', () => undefined);
    subscriber.on('message', (topic, payload) =>
      got.push({ record: JSON.parse(payload.toString()) as Observation, topic, atMs: performance.now() }),
    );
    await new Promise((resolve) => subscriber.once('connect', resolve));
    await subscriber.subscribeAsync(`${topics.prefix}camera/#`, { qos: 1 });
    device = new Device(
      linkOptions(cluster.urls, {
        protocolVersion: 4,
        tuning: { ackTimeoutMs: 10_000, connectTimeoutMs: 10_000 },
      }),
      { backfillPerS: 2000 },
    ).start();
    await until(() => device.link.connected, 'the link', 60_000);
  });

  afterAll(async () => {
    await device.stop();
    subscriber.end(true);
    await cluster.stop();
  });

  /** Makes records up to a number, at a steady rate, and waits for nothing else. */
  async function make(upTo: number): Promise<void> {
    while (made < upTo) {
      for (let n = 0; n < PER_S / 20; n += 1, made += 1)
        device.store.append(draft({ camera: CAMERAS[made % CAMERAS.length] ?? '' }), NO_FEATURES);
      await delay(50);
    }
  }

  /** All is there, and in order but for so many of each stream. */
  async function delivered(mayBeLate: number): Promise<void> {
    const known = () => new Set(got.map(({ record }) => record.id)).size;
    await until(() => known() >= made || null, `all of ${made} records`, 60_000).catch(() => undefined);
    expect(known()).toBe(made);
    for (const camera of CAMERAS) {
      const own = got.filter(({ record }) => record.camera === camera);
      const seqs = [...new Set(own.map(({ record }) => record.seq))].sort((a, b) => a - b);
      expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, n) => n + 1));
      for (const kind of ['observation', 'backfill']) {
        const first = [
          ...new Set(own.filter(({ topic }) => topic.endsWith(kind)).map(({ record }) => record.seq)),
        ];
        const late = first.filter((seq, n) => first.slice(0, n).some((before) => before > seq));
        expect(late.slice(mayBeLate)).toEqual([]);
      }
    }
    await until(() => device.store.outbox.stats().depth === 0, 'an empty outbox');
  }

  /** Longest silence at the subscriber since then, ms. */
  function silence(sinceMs: number): number {
    const times = [sinceMs, ...got.map(({ atMs }) => atMs).filter((atMs) => atMs > sinceMs)];
    return Math.round(Math.max(...times.map((atMs, n) => atMs - (times[n - 1] ?? atMs))));
  }

  it('kill -9 of the node that it is connected to: every number arrives', async () => {
    await make(AT_KILL);
    const port = Number(device.link.stats().broker?.split(':')[1]);
    const node = cluster.nodes.find(({ ports }) => ports.mqtt === port);
    const killedMs = performance.now();
    await node?.kill();
    await make(IN_ALL / 2);
    await until(() => device.link.connected, 'the link', 60_000);
    await delivered(0);
    console.log(
      `node killed at ${PER_S} records/s: ${made} made, ${made} arrived, ${got.length - made} again, silence ${silence(killedMs)} ms`,
    );
    await cluster.up();
  }, 240_000);

  it('kill -9 of the node that leads the stream of messages: every number arrives', async () => {
    const leader = await cluster.leader('$MQTT_msgs');
    const killedMs = performance.now();
    const again = got.length - made;
    await Promise.all([make(IN_ALL), delay(500).then(() => leader.kill())]);
    await until(() => device.link.connected, 'the link', 60_000);
    // What was under way to the leader when it died may come behind what its successor took first.
    await delivered(IN_FLIGHT);
    console.log(
      `leader killed at ${PER_S} records/s: ${made} made, ${made} arrived, ${got.length - made - again} again, silence ${silence(killedMs)} ms`,
    );
  }, 240_000);
});
