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

/** Runs the loop, kills it after a time, and returns the last number of each step that it printed. */
async function runAndKill(first: number, afterMs: number): Promise<Record<string, number>> {
  const child = spawn(process.execPath, [LOOP, dir.path, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  await once(child.stdout, 'data');
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  child.kill('SIGKILL');
  await once(child, 'close');
  const last: Record<string, number> = {};
  for (const line of output.split('\n').slice(0, -1)) {
    const [step = '', number = ''] = line.split(' ');
    last[step] = Number(number);
  }
  return last;
}

it(`keeps confirmed changes, and drops and reports others, after ${ROUNDS} SIGKILLs at random moments`, async () => {
  let confirmed = 0;
  let interrupted = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const last = await runAndKill(confirmed + 1, Math.random() * 200);
    const acknowledged = last['confirmed'] ?? confirmed;
    const events: EventDraft[] = [];
    const hasTrialFile = existsSync(join(dir.path, 'var', 'config-trial.json'));
    const configuration = Configuration.open(
      { file: join(dir.path, 'config.json'), env: {}, cwd: dir.path },
      { clock: systemClock },
    );
    const host = {
      apply: () => Promise.resolve(),
      restart: () => undefined,
      frameMs: () => null,
      isConnected: () => true,
    };
    configuration.attach({ ...host, raise: (event) => events.push(event) }, configuration.settings);
    const { retentionDays } = configuration.settings.store;
    const inForce = retentionDays === 90 && acknowledged === 0 ? 0 : retentionDays;
    // A confirmation may be stored, but not printed yet.
    expect([acknowledged, acknowledged + 1]).toContain(inForce);
    expect(configuration.settings.heartbeat.intervalS).toBe(inForce === 0 ? 30 : 1 + (inForce % 3000));
    if (inForce === acknowledged && last['set'] === acknowledged + 1) {
      expect(events.map(({ type }) => type)).toEqual(['config_undone']);
      interrupted += 1;
    } else if (!hasTrialFile || inForce > acknowledged) expect(events).toEqual([]);
    expect(configuration.view().trial).toBeNull();
    configuration.close();
    confirmed = inForce;
  }
  console.log(`${confirmed} changes confirmed, ${interrupted} interrupted on trial`);
  expect(confirmed).toBeGreaterThan(0);
  expect(interrupted).toBeGreaterThan(0);
  expect(readFileSync(join(dir.path, 'var', 'config-overlay.json'), 'utf8')).toContain('"format":1');
}, 240_000);
