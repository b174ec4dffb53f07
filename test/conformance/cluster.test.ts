import { setTimeout as delay } from 'node:timers/promises';
import { connect, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation } from '../../src/contract/observation.ts';
import { Device, linkOptions, topics } from '../fixtures/link.ts';
import { until } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';
import { draft, NO_FEATURES } from '../fixtures/store.ts';

const CAMERAS = ['north', 'south', 'east'];
const RECORDS_PER_S = 400;
const RECORDS_BEFORE_KILL = 500;
const TOTAL_RECORDS = 2000;
/** The agent sends this many records before it waits for an acknowledgement. */
const MAX_IN_FLIGHT = 20;

/** The agent's store, forwarder and link at a higher rate than any camera has. */
describe('Three-node NATS cluster under load', () => {
  let cluster: NatsCluster;
  let subscriber: MqttClient;
  let device: Device;
  const received: { readonly record: Observation; readonly topic: string; readonly atMs: number }[] = [];
  let storedCount = 0;

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
      received.push({
        record: JSON.parse(payload.toString()) as Observation,
        topic,
        atMs: performance.now(),
      }),
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

  /** Stores records at a steady rate up to a total, without waiting for their delivery. */
  async function storeRecords(total: number): Promise<void> {
    while (storedCount < total) {
      for (let n = 0; n < RECORDS_PER_S / 20; n += 1, storedCount += 1)
        device.store.append(draft({ camera: CAMERAS[storedCount % CAMERAS.length] ?? '' }), NO_FEATURES);
      await delay(50);
    }
  }

  /** Expects every record, and in each stream at most so many records out of order. */
  async function expectDelivery(maxOutOfOrder: number): Promise<void> {
    const uniqueCount = () => new Set(received.map(({ record }) => record.id)).size;
    await until(() => uniqueCount() >= storedCount, `all of ${storedCount} records`, 60_000).catch(
      () => undefined,
    );
    expect(uniqueCount()).toBe(storedCount);
    for (const camera of CAMERAS) {
      const own = received.filter(({ record }) => record.camera === camera);
      const seqs = [...new Set(own.map(({ record }) => record.seq))].sort((a, b) => a - b);
      expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, n) => n + 1));
      for (const kind of ['observation', 'backfill']) {
        const first = [
          ...new Set(own.filter(({ topic }) => topic.endsWith(kind)).map(({ record }) => record.seq)),
        ];
        const outOfOrder = first.filter((seq, n) => first.slice(0, n).some((before) => before > seq));
        expect(outOfOrder.slice(maxOutOfOrder)).toEqual([]);
      }
    }
    await until(() => device.store.outbox.stats().depth === 0, 'an empty outbox');
  }

  /** The longest time without a message at the subscriber, ms. */
  function longestSilenceMs(sinceMs: number): number {
    const times = [sinceMs, ...received.map(({ atMs }) => atMs).filter((atMs) => atMs > sinceMs)];
    return Math.round(Math.max(...times.map((atMs, n) => atMs - (times[n - 1] ?? atMs))));
  }

  it('delivers every record when the connected node is killed', async () => {
    await storeRecords(RECORDS_BEFORE_KILL);
    const port = Number(device.link.stats().broker?.split(':')[1]);
    const node = cluster.nodes.find(({ ports }) => ports.mqtt === port);
    const killedMs = performance.now();
    await node?.kill();
    await storeRecords(TOTAL_RECORDS / 2);
    await until(() => device.link.connected, 'the link', 60_000);
    await expectDelivery(0);
    console.log(
      `node killed at ${RECORDS_PER_S} records/s: ${storedCount} stored and arrived, ${received.length - storedCount} duplicates, silence ${longestSilenceMs(killedMs)} ms`,
    );
    await cluster.up();
  }, 240_000);

  it('delivers every record when the leader of the message stream is killed', async () => {
    const leader = await cluster.leader('$MQTT_msgs');
    const killedMs = performance.now();
    const earlierDuplicates = received.length - storedCount;
    await Promise.all([storeRecords(TOTAL_RECORDS), delay(500).then(() => leader.kill())]);
    await until(() => device.link.connected, 'the link', 60_000);
    // Records that were in flight to the killed leader may arrive after newer ones.
    await expectDelivery(MAX_IN_FLIGHT);
    console.log(
      `leader killed at ${RECORDS_PER_S} records/s: ${storedCount} stored and arrived, ${received.length - storedCount - earlierDuplicates} duplicates, silence ${longestSilenceMs(killedMs)} ms`,
    );
  }, 240_000);
});
