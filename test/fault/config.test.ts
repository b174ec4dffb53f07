import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { Configuration } from '../../src/config/configuration.ts';
import type { EventDraft } from '../../src/contract/states.ts';
import { tempDir } from '../fixtures/store.ts';

const LOOP = join(import.meta.dirname, '..', 'fixtures', 'config-loop.ts');
const ROUNDS = 12;

let dir: ReturnType<typeof tempDir>;
beforeEach(() => {
  dir = tempDir();
  writeFileSync(join(dir.path, 'config.json'), JSON.stringify({ stateDir: join(dir.path, 'var') }));
});
afterEach(() => dir.remove());

/** Runs the loop until it is killed; the last number of each word that it said. */
async function killed(first: number, afterMs: number): Promise<Record<string, number>> {
  const child = spawn(process.execPath, [LOOP, dir.path, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await once(child.stdout, 'data');
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  child.kill('SIGKILL');
  await once(child, 'close');
  const last: Record<string, number> = {};
  for (const line of said.split('\n').slice(0, -1)) {
    const [word = '', number = ''] = line.split(' ');
    last[word] = Number(number);
  }
  return last;
}

it(`SIGKILL at any moment, ${ROUNDS} times: what was confirmed stands, what was not is gone and told of`, async () => {
  let confirmed = 0;
  let interrupted = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const last = await killed(confirmed + 1, Math.random() * 200);
    const acknowledged = last['confirmed'] ?? confirmed;
    const events: EventDraft[] = [];
    const trialLeft = existsSync(join(dir.path, 'var', 'config-trial.json'));
    const configuration = Configuration.open(
      { file: join(dir.path, 'config.json'), env: {}, cwd: dir.path },
      { clock: systemClock },
    );
    const host = { apply: () => Promise.resolve(), restart: () => undefined, connected: () => true };
    configuration.attach({ ...host, raise: (event) => events.push(event) }, configuration.settings);
    const { retentionDays } = configuration.settings.store;
    const stands = retentionDays === 90 && acknowledged === 0 ? 0 : retentionDays;
    // A confirmation that was written, but not yet told of, stands as well.
    expect([acknowledged, acknowledged + 1]).toContain(stands);
    expect(configuration.settings.heartbeat.intervalS).toBe(stands === 0 ? 30 : 1 + (stands % 3000));
    if (stands === acknowledged && last['set'] === acknowledged + 1) {
      expect(events.map(({ type }) => type)).toEqual(['config_undone']);
      interrupted += 1;
    } else if (!trialLeft || stands > acknowledged) expect(events).toEqual([]);
    expect(configuration.view().trial).toBeNull();
    configuration.close();
    confirmed = stands;
  }
  console.log(`${confirmed} changes confirmed, ${interrupted} interrupted on trial`);
  expect(confirmed).toBeGreaterThan(0);
  expect(interrupted).toBeGreaterThan(0);
  expect(readFileSync(join(dir.path, 'var', 'config-overlay.json'), 'utf8')).toContain('"format":1');
}, 240_000);
