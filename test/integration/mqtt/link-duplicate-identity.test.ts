import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Topics } from '../../../src/mqtt/topics.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { until } from '../../fixtures/mosquitto.ts';

const bed = new LinkTestBed();

type Running = ReturnType<typeof startLink>;
const eventSigns = ({ events }: Running): unknown[] =>
  events.map(({ type, context }) => [type, context['sign']]);
const reportsConflict = ({ link }: Running): boolean =>
  link.stats().faults?.includes('link_contested') === true;

/** The two agents disconnect each other quickly until they detect the conflict, and slowly afterwards. */
const tuning = {
  backoff: { minMs: 200, maxMs: 200, resetAfterMs: 60_000 },
  conflictBackoff: { minMs: 2000, maxMs: 2000, resetAfterMs: 60_000 },
};

describe('two agents under one identity', () => {
  it.each([5, 4] as const)(
    'detect each other and slow down when client id and name are equal, in MQTT version %d',
    async (protocolVersion) => {
      const mosquitto = await bed.broker();
      const options = (session: string) => linkOptions(mosquitto.url, { session, protocolVersion, tuning });
      const first = bed.link(options('first'));
      await until(() => first.births.length === 1, 'the first');
      const second = bed.link(options('second'));
      await until(() => reportsConflict(first) || reportsConflict(second), 'the detection');
      await until(() => reportsConflict(first) && reportsConflict(second), 'both detections', 60_000);
      for (const one of [first, second]) expect(eventSigns(one)).toEqual([['mqtt_taken_over', 'absence']]);
      expect(first.events[0]?.context['other_session']).toBe('second');
      expect(second.events[0]?.context['other_session']).toBe('first');
      const before = first.births.length + second.births.length;
      await delay(2500);
      // With the normal delays there would be about 15 connections; now each delay is at least one second.
      expect(first.births.length + second.births.length - before).toBeLessThanOrEqual(6);
    },
  );

  it.each([5, 4] as const)(
    'detect each other by a foreign subscription when only the client id is equal, in MQTT version %d',
    async (protocolVersion) => {
      const mosquitto = await bed.broker();
      const elsewhere = new Topics({ base: 'swellsight/v1', site: 'test', device: 'dev2' });
      const first = bed.link(linkOptions(mosquitto.url, { session: 'first', protocolVersion, tuning }));
      await until(() => first.births.length === 1, 'the first');
      const second = bed.link(linkOptions(mosquitto.url, { session: 'second', protocolVersion, tuning }), {
        topics: elsewhere,
      });
      await until(() => reportsConflict(first) || reportsConflict(second), 'the detection');
      const [detecting] = [first, second].filter(reportsConflict);
      expect(eventSigns(detecting!)).toEqual([['mqtt_taken_over', 'subscription']]);
    },
  );

  it('do not overwrite each other endlessly when only the name is equal', async () => {
    const mosquitto = await bed.broker();
    const seen = await mosquitto.record(topics.status);
    const first = bed.link(linkOptions(mosquitto.url, { session: 'first', clientId: 'one' }));
    await until(() => first.births.length === 1, 'the first');
    const second = bed.link(linkOptions(mosquitto.url, { session: 'second', clientId: 'two' }));
    await until(() => reportsConflict(first), 'the detection');
    expect(eventSigns(first)).toEqual([['mqtt_taken_over', 'status']]);
    await delay(2500);
    expect(seen.map(({ payload }) => String(payload)).map(describeStatus)).toEqual([
      'first starting',
      'first online',
      'second starting',
      'second online',
    ]);
    // The other agent disconnects: this one publishes its status again.
    await second.link.stop();
    await until(() => describeStatus(String(seen.at(-1)?.payload)) === 'first online', 'the replaced status');
    expect(first.births).toHaveLength(1);
  });

  it('are reported when the broker sends DISCONNECT 142', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const running = bed.link(linkOptions(proxy.url));
    await until(() => running.births.length === 1, 'the birth');
    proxy.sendToClients(Buffer.from([0xe0, 0x02, 142, 0]));
    await until(() => running.births.length === 2, 'the second birth');
    expect(eventSigns(running)).toEqual([['mqtt_taken_over', 'disconnect']]);
    expect(reportsConflict(running)).toBe(true);
  });

  it.each([5, 4] as const)(
    'are not reported after a restart, a kill, a lost or a restored broker, in MQTT version %d',
    async (protocolVersion) => {
      const mosquitto = await bed.broker();
      const proxy = await bed.proxyTo(mosquitto.port);
      const options = (session: string) => linkOptions(proxy.url, { session, protocolVersion });
      const before = startLink(options('before'));
      await until(() => before.births.length === 1, 'the run before');
      await before.link.stop();
      // As after a power cut: the retained `online` of an earlier run.
      const watcher = await mosquitto.client();
      const leaveOnline = (session: string, at: string): Promise<unknown> =>
        watcher.publishAsync(topics.status, JSON.stringify({ state: 'online', session, at }), {
          qos: 1,
          retain: true,
        });
      await leaveOnline('before', '2026-01-02T00:00:00.000Z');
      const running = bed.link(options('now'));
      await until(() => running.births.length === 1, 'the birth');
      proxy.cut();
      await until(() => running.births.length === 2, 'the second birth');
      // The broker comes back with its state of one hour ago.
      proxy.frozen = true;
      proxy.cut();
      await until(() => !running.link.connected, 'the loss');
      await leaveOnline('before', '2026-01-01T23:00:00.000Z');
      proxy.frozen = false;
      proxy.cut();
      await until(() => running.births.length === 3, 'the third birth');
      await mosquitto.down('SIGKILL');
      await mosquitto.up();
      await until(() => running.births.length === 4, 'the fourth birth');
      expect(running.events).toEqual([]);
      expect(running.link.stats().faults).toEqual([]);
    },
  );
});

function describeStatus(payload: string): string {
  const { session, state } = JSON.parse(payload) as { session: string; state: string };
  return `${session} ${state}`;
}
