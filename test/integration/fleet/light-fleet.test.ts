import { afterAll, beforeAll, expect, it } from 'vitest';
import { LightFleet } from '../../../scripts/fleet/light-fleet.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { DeviceTable } from '../../../src/web/fleet/device-table.ts';
import { contractFault } from '../../fixtures/contract.ts';
import { Mosquitto, until } from '../../fixtures/mosquitto.ts';

let plain: Mosquitto;
beforeAll(async () => {
  plain = await Mosquitto.start();
});
afterAll(() => plain.stop());

it('the light fleet publishes what real devices would, with the faults that the table then shows', async () => {
  const stop = new AbortController();
  const messages = await plain.record('lights/v1/#');
  const fleet = await LightFleet.start(
    { url: plain.url, base: 'lights/v1', devices: 150, ownConnections: 2, everyS: 1, heartbeatS: 1 },
    { clock: systemClock, random: seeded(7) },
  );
  for (const [index, fault] of (
    ['offline', 'down', 'frozen', 'disk_low', 'updating', 'asleep'] as const
  ).entries())
    await fleet.devices[10 + index]!.setFault(fault);
  const running = fleet.run(stop.signal);
  await until(() => messages.length > 1500, 'messages');
  const faults = messages.map(({ topic, payload }) =>
    contractFault(topic.replace('lights/v1', 'swellsight/v1'), payload),
  );
  expect(faults.filter(Boolean)).toEqual([]);
  fleet.devices[0]!.cut();
  const { topic } = fleet.devices[0]!;
  await until(
    () =>
      messages.at(-1) &&
      messages.some((m) => m.topic === `${topic}status` && String(m.payload).includes('"offline"')),
    'the will',
  );
  const table = new DeviceTable('lights/v1');
  const nowMs = Date.now();
  for (const { topic: name, payload, packet } of messages)
    table.receive({
      topic: name,
      payload,
      retained: packet.retain,
      receivedMs: nowMs,
      expiryS: packet.properties?.messageExpiryInterval,
    });
  const conditions = new Map(table.rows(nowMs).map(({ device, condition }) => [device.name, condition]));
  const ofDevice = (index: number): string | undefined => conditions.get(fleet.devices[index]!.name);
  expect([0, 1, 10, 11, 12, 13, 14, 15].map(ofDevice)).toEqual([
    'offline',
    'ok',
    'offline',
    'camera_fault',
    'camera_fault',
    'degraded',
    'updating',
    'asleep',
  ]);
  expect(table.size).toBe(150);
  stop.abort();
  await running;
  fleet.close();
});

/** Random numbers that are the same in each run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
