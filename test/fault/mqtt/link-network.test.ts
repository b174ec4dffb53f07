import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import { collect } from '../../fixtures/collect.ts';
import { FaultGate } from '../../fixtures/fault-gate.ts';
import { linkOptions, topics } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { freePort, until } from '../../fixtures/mosquitto.ts';
import { Namespace } from '../../fixtures/namespace.ts';
import { draft, NO_FEATURES, tempDir } from '../../fixtures/store.ts';

const bed = new LinkTestBed();

const BACKOFF = { minMs: 100, maxMs: 300, resetAfterMs: 60_000 };
const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
);

describe('a network that drops packets', () => {
  it.each([5, 4] as const)(
    'is detected on an idle link within one and a half keep-alives, version %d',
    async (version) => {
      const mosquitto = await bed.broker();
      const proxy = await bed.proxyTo(mosquitto.port);
      const { link, births } = bed.link(
        linkOptions(proxy.url, {
          protocolVersion: version,
          tuning: { keepAliveS: 2, ackTimeoutMs: 30_000, backoff: BACKOFF },
        }),
      );
      await until(() => births.length === 1, 'the birth');
      proxy.frozen = true;
      const frozenMs = performance.now();
      await until(() => !link.connected, 'the loss');
      // 3 s, and a margin for a busy machine; far below the 30 s of an acknowledgement.
      expect(performance.now() - frozenMs).toBeLessThan(12_000);
      proxy.frozen = false;
      await until(() => births.length === 2, 'the second birth');
    },
  );

  it('is detected earlier with a message in flight, by its acknowledgement timeout', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const { link, births } = bed.link(
      linkOptions(proxy.url, { tuning: { keepAliveS: 30, ackTimeoutMs: 700 } }),
    );
    await until(() => births.length === 1, 'the birth');
    proxy.frozen = true;
    const sentMs = performance.now();
    const all = await Promise.allSettled(
      Array.from({ length: 50 }, (_, n) => link.publish(`event/n${n}`, '{}', { qos: 1, retain: false })),
    );
    expect(performance.now() - sentMs).toBeLessThan(12_000);
    expect(all.every(({ status }) => status === 'rejected')).toBe(true);
  });

  it.skipIf(!Namespace.isAvailable())(
    'loses nothing and reconnects soon after a real partition (nft drop in a network namespace; needs root)',
    async () => {
      const space = new Namespace();
      bed.defer(() => space.remove());
      const dir = tempDir('swellsight-ns-');
      bed.defer(() => dir.remove());
      const [port, watchPort] = [18_830, 18_831];
      const config = join(dir.path, 'mosquitto.conf');
      writeFileSync(
        config,
        ['user root', `listener ${port}`, `listener ${watchPort}`, 'allow_anonymous true', ''].join('\n'),
      );
      const child = space.spawn('mosquitto', ['-c', config]);
      bed.defer(() => child.kill('SIGKILL'));
      const watcher = await retry(() =>
        connectAsync(`mqtt://${space.address}:${watchPort}`, { reconnectPeriod: 0 }, false),
      );
      bed.defer(() => watcher.end(true));
      const seqs = new Set<number>();
      watcher.on('message', (_topic, payload) =>
        seqs.add((JSON.parse(payload.toString()) as Observation).seq),
      );
      await watcher.subscribeAsync(
        ['observation', 'backfill'].map((kind) => `${topics.prefix}camera/north/${kind}`),
        { qos: 1 },
      );
      const running = bed.device(
        linkOptions(`mqtt://${space.address}:${port}`, {
          tuning: { keepAliveS: 2, ackTimeoutMs: 1000, connectTimeoutMs: 500, backoff: BACKOFF },
        }),
        { backfillPerS: 1000 },
      );
      running.start();
      const append = (count: number): void => {
        for (let n = 0; n < count; n += 1) running.store.append(draft(), NO_FEATURES);
      };
      await until(() => running.link.connected, 'the birth');
      for (let round = 1; round <= 3; round += 1) {
        append(5);
        // The first time on an idle link, then with records in flight.
        if (round === 1) await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');
        space.dropAll(port);
        const partitionedMs = performance.now();
        append(round === 1 ? 0 : 5);
        await until(() => !running.link.connected, 'the loss');
        expect(performance.now() - partitionedMs).toBeLessThan(12_000);
        append(5);
        space.restore();
        await until(() => running.link.connected, 'the next link');
      }
      await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');
      await until(() => seqs.size === 40, 'all records');
    },
  );
});

describe('addresses', () => {
  it('continues with the next one when a name cannot be resolved', async () => {
    const mosquitto = await bed.broker();
    const { births, link } = bed.link(linkOptions(['mqtt://no-such-host.invalid:1883', mosquitto.url]));
    await until(() => births.length === 1, 'the birth');
    expect(link.stats().broker).toBe(`127.0.0.1:${mosquitto.port}`);
  });

  it.skipIf(!hasIpv6)('connects by IPv6 (needs ::1)', async () => {
    const port = await freePort();
    await bed.broker({ lines: [`listener ${port} ::1`] });
    const { births, link } = bed.link(linkOptions(`mqtt://[::1]:${port}`));
    await until(() => births.length === 1, 'the birth');
    expect(link.stats().broker).toBe(`[::1]:${port}`);
  });

  it('tries the next broker when one accepts and soon loses it, and the first one after a stable link', async () => {
    const [flaky, steady] = [await bed.broker(), await bed.broker()];
    const gate = await FaultGate.to(flaky.port);
    bed.defer(() => gate.stop());
    const { births, link } = bed.link(
      linkOptions([gate.url, steady.url], {
        tuning: { backoff: { minMs: 20, maxMs: 50, resetAfterMs: 500 } },
      }),
    );
    await until(() => births.length === 1, 'the first');
    expect(link.stats().broker).toBe(`127.0.0.1:${gate.port}`);
    gate.cut();
    await until(() => births.length === 2, 'the second');
    expect(link.stats().broker).toBe(`127.0.0.1:${steady.port}`);
    await new Promise((resolve) => setTimeout(resolve, 700));
    await steady.down('SIGKILL');
    await until(() => births.length === 3, 'the first again');
    expect(link.stats().broker).toBe(`127.0.0.1:${gate.port}`);
  });
});

describe('limits that the broker does not announce', () => {
  it('3.1.1: sets aside the record over which the broker closes the connection, and delivers the others', async () => {
    const mosquitto = await bed.broker({ lines: ['max_packet_size 4096'] });
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = bed.device(
      linkOptions(mosquitto.url, {
        protocolVersion: 4,
        tuning: { ackTimeoutMs: 1000, backoff: { minMs: 10, maxMs: 20, resetAfterMs: 1e6 } },
      }),
      { backfillPerS: 1000 },
    );
    running.start();
    await until(() => running.link.connected, 'the birth');
    running.store.append(draft(), NO_FEATURES);
    running.store.append(draft({ warnings: ['w'.repeat(5000)] }), NO_FEATURES);
    running.store.append(draft(), NO_FEATURES);
    await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox', 60_000);
    const seqs = new Set(seen.map(({ payload }) => (JSON.parse(payload.toString()) as Observation).seq));
    expect([...seqs].toSorted()).toEqual([1, 3]);
    expect(running.store.events.recent(9).map(({ type }) => type)).toContain('outbox_rejected');
  });

  it('3.1.1: cannot detect a forbidden message that the broker acknowledges (documented)', async () => {
    const mosquitto = await bed.broker({
      users: { dev1: 'p', watcher: 'p' },
      acl: ['user dev1', `topic readwrite ${topics.prefix}status`, 'user watcher', 'topic read swellsight/#'],
    });
    const seen = await mosquitto.record(`${topics.prefix}#`, { username: 'watcher', password: 'p' });
    const running = bed.device(
      linkOptions(mosquitto.url, { protocolVersion: 4, username: 'dev1', password: 'p' }),
    );
    running.start();
    await until(() => running.link.connected, 'the birth');
    running.store.append(draft(), NO_FEATURES);
    await until(() => running.store.outbox.stats().depth === 0, 'the acknowledgement');
    expect(seen.every(({ topic }) => topic === topics.status)).toBe(true);
  });
});

describe('two hundred lost connections', () => {
  it('leak no memory, timer or socket', async () => {
    // Otherwise each answer waits 40 ms for the previous one.
    const mosquitto = await bed.broker({ lines: ['set_tcp_nodelay true'] });
    const gate = await FaultGate.to(mosquitto.port);
    bed.defer(() => gate.stop());
    const { link, births } = bed.link(
      linkOptions(gate.url, { tuning: { backoff: { minMs: 1, maxMs: 2, resetAfterMs: 1e9 } } }),
    );
    link.setState('info', { filler: 'x'.repeat(1000) });
    link.setState('health', { n: 1 }, { expiryS: 90 });
    const measure = async (): Promise<{ heapMb: number; timers: number; sockets: number }> => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      collect();
      const resources = process.getActiveResourcesInfo();
      const count = (what: string): number => resources.filter((name) => name.startsWith(what)).length;
      return {
        heapMb: process.memoryUsage().heapUsed / 2 ** 20,
        timers: count('Timeout'),
        sockets: count('TCP'),
      };
    };
    const lose = async (times: number): Promise<void> => {
      for (let n = 0; n < times; n += 1) {
        const wanted = births.length + 1;
        // In every second round with a message in flight.
        const pending = n % 2 === 0 ? link.publish('event/x', '{}', { qos: 1, retain: false }) : null;
        gate.cut();
        await pending?.catch(() => undefined);
        await until(() => births.length >= wanted, 'the next birth');
      }
    };
    await until(() => births.length === 1, 'the birth');
    await lose(50);
    const before = await measure();
    await lose(200);
    const after = await measure();
    expect(after.heapMb - before.heapMb).toBeLessThan(4);
    expect(after.timers).toBeLessThanOrEqual(before.timers + 2);
    expect(after.sockets).toBeLessThanOrEqual(before.sockets + 1);
    expect(link.stats().faults).toEqual([]);
  }, 240_000);
});

async function retry<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 100; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
