import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { contractFault } from '../../fixtures/contract.ts';
import { Mosquitto } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';

const ENTRY = join(import.meta.dirname, '../../../scripts/fleet/main.ts');
let broker: Mosquitto | null = null;

afterEach(() => broker?.stop());

it('publishes messages of many devices that match the contract, and every record arrives', async () => {
  broker = await Mosquitto.start({ persistence: true, lines: ['max_queued_messages 0'] });
  const messages = await broker.record('swellsight/v1/#');
  const dir = tempDir();
  const file = join(dir.path, 'fleet.json');
  const options = ['--devices', '12', '--every', '0.5', '--heartbeat', '2', '--minutes', '0.1'];
  const fleet = spawn(
    process.execPath,
    [ENTRY, '--broker', broker.url, '--start-over', '1', '--json', file, ...options],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const [code] = (await once(fleet, 'exit')) as [number];
  const result = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  dir.remove();

  expect(code).toBe(0);
  expect(result).toMatchObject({ devices: 12, missing: 0 });
  expect(result['stored']).toBeGreaterThan(100);
  expect(result['arrived']).toBe(result['stored']);
  expect(messages.length).toBeGreaterThan(200);
  expect(messages.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean)).toEqual([]);
  const last = new Map(messages.filter(({ topic }) => topic.endsWith('/status')).map((m) => [m.topic, m]));
  const states = [...last.values()].map(
    ({ payload }) => (JSON.parse(payload.toString()) as { state: string }).state,
  );
  expect(states).toEqual(Array.from({ length: 12 }, () => 'stopped'));
});

it('names an invalid option', async () => {
  const fleet = spawn(process.execPath, [ENTRY, '--devices', 'many'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [[text], [code]] = await Promise.all([once(fleet.stderr, 'data'), once(fleet, 'exit')]);
  expect(String(text)).toContain('--devices must be a number above 0');
  expect(code).toBe(2);
});
