import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Topics } from '../../../src/mqtt/topics.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { Mosquitto, until } from '../../fixtures/mosquitto.ts';
import { Proxy } from '../../fixtures/proxy.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function broker(): Promise<Mosquitto> {
  const mosquitto = await Mosquitto.start();
  cleanups.push(() => mosquitto.stop());
  return mosquitto;
}

function started(...args: Parameters<typeof startLink>): ReturnType<typeof startLink> {
  const running = startLink(...args);
  cleanups.push(() => running.link.stop());
  return running;
}

type Running = ReturnType<typeof startLink>;
const told = ({ events }: Running): unknown[] => events.map(({ type, context }) => [type, context['sign']]);
const contested = ({ link }: Running): boolean => link.stats().faults?.includes('link_contested') === true;

/** The fight is fast until it is seen, and slow from then on. */
const tuning = {
  backoff: { minMs: 200, maxMs: 200, resetAfterMs: 60_000 },
  conflictBackoff: { minMs: 2000, maxMs: 2000, resetAfterMs: 60_000 },
};

describe('two agents under one identity', () => {
  it.each([5, 4] as const)(
    'with one client id and one name see each other and no longer fight in a fast loop, in MQTT version %d',
    async (protocolVersion) => {
      const mosquitto = await broker();
      const options = (session: string) => linkOptions(mosquitto.url, { session, protocolVersion, tuning });
      const first = started(options('first'));
      await until(() => first.ups.length === 1, 'the first');
      const second = started(options('second'));
      await until(() => contested(first) || contested(second), 'the sighting');
      await until(() => contested(first) && contested(second), 'both sightings', 60_000);
      for (const one of [first, second]) expect(told(one)).toEqual([['mqtt_taken_over', 'absence']]);
      expect(first.events[0]?.context['other_session']).toBe('second');
      expect(second.events[0]?.context['other_session']).toBe('first');
      const before = first.ups.length + second.ups.length;
      await delay(2500);
      // In the usual series there would be some 15 in this time; each waits at least a second now.
      expect(first.ups.length + second.ups.length - before).toBeLessThanOrEqual(6);
    },
  );

  it.each([5, 4] as const)(
    'with one client id and different names know each other by a foreign subscription, in MQTT version %d',
    async (protocolVersion) => {
      const mosquitto = await broker();
      const elsewhere = new Topics({ base: 'swellsight/v1', site: 'test', device: 'dev2' });
      const first = started(linkOptions(mosquitto.url, { session: 'first', protocolVersion, tuning }));
      await until(() => first.ups.length === 1, 'the first');
      const second = started(linkOptions(mosquitto.url, { session: 'second', protocolVersion, tuning }), {
        topics: elsewhere,
      });
      await until(() => contested(first) || contested(second), 'the sighting');
      const [seer] = [first, second].filter(contested);
      expect(told(seer!)).toEqual([['mqtt_taken_over', 'subscription']]);
    },
  );

  it('with different client ids and one name do not shout each other down', async () => {
    const mosquitto = await broker();
    const seen = await mosquitto.record(topics.status);
    const first = started(linkOptions(mosquitto.url, { session: 'first', clientId: 'one' }));
    await until(() => first.ups.length === 1, 'the first');
    const second = started(linkOptions(mosquitto.url, { session: 'second', clientId: 'two' }));
    await until(() => contested(first), 'the sighting');
    expect(told(first)).toEqual([['mqtt_taken_over', 'status']]);
    await delay(2500);
    expect(seen.map(({ payload }) => String(payload)).map(stateOf)).toEqual([
      'first starting',
      'first online',
      'second starting',
      'second online',
    ]);
    // The other one leaves: what is true is said again.
    await second.link.stop();
    await until(() => stateOf(String(seen.at(-1)?.payload)) === 'first online', 'the mending');
    expect(first.ups).toHaveLength(1);
  });

  it('is told by DISCONNECT 142 where the broker sends one', async () => {
    const mosquitto = await broker();
    const proxy = await Proxy.to(mosquitto.port);
    cleanups.push(() => proxy.stop());
    const running = started(linkOptions(proxy.url));
    await until(() => running.ups.length === 1, 'the birth');
    proxy.say(Buffer.from([0xe0, 0x02, 142, 0]));
    await until(() => running.ups.length === 2, 'the second birth');
    expect(told(running)).toEqual([['mqtt_taken_over', 'disconnect']]);
    expect(contested(running)).toBe(true);
  });

  it.each([5, 4] as const)(
    'are not suspected after a restart, a kill, a lost broker or a restored one, in MQTT version %d',
    async (protocolVersion) => {
      const mosquitto = await broker();
      const proxy = await Proxy.to(mosquitto.port);
      cleanups.push(() => proxy.stop());
      const options = (session: string) => linkOptions(proxy.url, { session, protocolVersion });
      const before = startLink(options('before'));
      await until(() => before.ups.length === 1, 'the run before');
      await before.link.stop();
      // As after a power cut: `online` of a run that is no more.
      const watcher = await mosquitto.client();
      const left = (session: string, at: string): Promise<unknown> =>
        watcher.publishAsync(topics.status, JSON.stringify({ state: 'online', session, at }), {
          qos: 1,
          retain: true,
        });
      await left('before', '2026-01-02T00:00:00.000Z');
      const running = started(options('now'));
      await until(() => running.ups.length === 1, 'the birth');
      proxy.cut();
      await until(() => running.ups.length === 2, 'the second birth');
      // The broker comes back with what it had on its disk an hour ago.
      proxy.frozen = true;
      proxy.cut();
      await until(() => !running.link.connected, 'the loss');
      await left('before', '2026-01-01T23:00:00.000Z');
      proxy.frozen = false;
      proxy.cut();
      await until(() => running.ups.length === 3, 'the third birth');
      await mosquitto.down('SIGKILL');
      await mosquitto.up();
      await until(() => running.ups.length === 4, 'the fourth birth');
      expect(running.events).toEqual([]);
      expect(running.link.stats().faults).toEqual([]);
    },
  );
});

function stateOf(payload: string): string {
  const { session, state } = JSON.parse(payload) as { session: string; state: string };
  return `${session} ${state}`;
}
