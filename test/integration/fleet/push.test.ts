import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedDevice } from '../../../scripts/fleet/device.ts';
import { systemClock } from '../../../src/base/clock.ts';
import type { RolloutFile } from '../../../src/fleet/rollout-file.ts';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { Mosquitto, until } from '../../fixtures/mosquitto.ts';
import { silentLog } from '../../fixtures/store.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');
/** Devices of a site. No device of `good` fails; every third device of `bad` refuses the model. */
const COUNTS = { good: 30, bad: 20 } as const;

describe('Staged rollout over fifty simulated devices', () => {
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'swellsight-push-'));
  const stop = new AbortController();
  const devices: { readonly site: string; readonly device: string; readonly simulated: SimulatedDevice }[] =
    [];
  let broker: Mosquitto;
  let running: Promise<void>[] = [];

  const push = (...args: string[]): Promise<CliResult> =>
    runCli(['fleet', 'push', '--broker', broker.url, '--json', ...args], { cwd: dir });
  const lines = ({ stdout }: CliResult): Record<string, unknown>[] =>
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const summary = (result: CliResult): Record<string, unknown> =>
    lines(result).at(-1)?.['summary'] as Record<string, unknown>;
  const countInstalls = (site: string): number =>
    devices
      .filter((one) => one.site === site)
      .reduce((sum, { simulated }) => sum + simulated.installs.startedCount, 0);

  beforeAll(async () => {
    broker = await Mosquitto.start({ lines: ['max_connections -1'] });
    for (const [site, count] of Object.entries(COUNTS))
      for (let index = 1; index <= count; index += 1) {
        const device = `sim${String(index).padStart(2, '0')}`;
        const failsWith = site === 'bad' && index % 3 === 0 ? 'model_golden_mismatch' : null;
        const simulated = new SimulatedDevice(
          {
            mqtt: {
              url: [broker.url],
              protocolVersion: 5,
              clientId: `${site}-${device}`,
              username: null,
              password: null,
              ca: null,
              cert: null,
              key: null,
            },
            base: 'swellsight/v1',
            site,
            device,
            stateDir: join(dir, site, device),
            everyS: 3600,
            heartbeatS: 3600,
            installs: { phaseMs: 100, failsWith },
          },
          { clock: systemClock, log: silentLog, random: Math.random },
        );
        devices.push({ site, device, simulated });
      }
    running = devices.map(({ simulated }) => simulated.run(stop.signal));
    await until(() => devices.every(({ simulated }) => simulated.isConnected), 'all devices', 120_000);
  }, 180_000);

  afterAll(async () => {
    stop.abort();
    await Promise.all(running);
    await broker.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('installs the model on every device, canaries first, and changes nothing when run again', async () => {
    const args = ['gauge', '2.0.0', '--to', 'good/*', '--canary', '2', '--batch', '40'];
    const first = await push(...args);
    expect(first.code, first.stderr).toBe(0);
    expect(summary(first)).toMatchObject({ committed: 30, failed: 0, waiting: 0, halted: false });
    const reported = lines(first).slice(0, -1);
    const at = (phase: string): string[] =>
      reported.filter((one) => one['phase'] === phase).map((one) => String(one['device']));
    const sent = at('sent');
    const order = (device: string, phase: string): number =>
      reported.findIndex((one) => one['device'] === device && one['phase'] === phase);
    // The first batch starts after both canaries are committed, and the second batch after the first.
    const canaries = sent.slice(0, 2);
    const firstOther = order(sent[2] ?? '', 'sent');
    for (const canary of canaries) expect(order(canary, 'committed')).toBeLessThan(firstOther);
    const second = order(sent[14] ?? '', 'sent');
    for (const device of sent.slice(2, 14)) expect(order(device, 'committed')).toBeLessThan(second);
    expect(countInstalls('good')).toBe(30);
    const again = await push(...args);
    expect(again.code).toBe(0);
    expect(summary(again)).toMatchObject({ committed: 30 });
    // A second rollout of the same model installs nothing either.
    const other = await push(...args, '--file', 'other.json');
    expect([other.code, summary(other)]).toMatchObject([0, { committed: 30 }]);
    expect(countInstalls('good')).toBe(30);
  }, 180_000);

  it('halts automatically when too many devices fail, and starts no further install', async () => {
    const args = ['gauge', '2.0.0', '--to', 'bad', '--canary', '2', '--batch', '30', '--halt-on', '20'];
    // The default file belongs to the rollout to other devices.
    expect((await push(...args)).code).toBe(2);
    args.push('--file', 'bad.json');
    const result = await push(...args);
    expect(result.code).toBe(1);
    const { committed, failed, waiting, halted } = summary(result) as Record<string, number>;
    expect(halted).toBe(true);
    // Two canaries and six devices of the first batch, of which every third fails.
    expect(countInstalls('bad')).toBe(8);
    expect([Number(committed) > 1, failed, waiting]).toEqual([true, 2, 12]);
    const file = JSON.parse(readFileSync(join(dir, 'bad.json'), 'utf8')) as RolloutFile;
    expect(
      Object.values(file.devices).filter(({ detail }) => detail === 'model_golden_mismatch'),
    ).toHaveLength(2);
    // A second run does not continue a halted rollout.
    expect((await push(...args)).code).toBe(2);
    expect(countInstalls('bad')).toBe(8);
  }, 180_000);

  it('continues after it was killed', async () => {
    const args = ['gauge', '3.0.0', '--to', 'good/sim0?', '--canary', '1', '--batch', '50'];
    const countBefore = countInstalls('good');
    const first = spawn(
      process.execPath,
      [MAIN, 'fleet', 'push', '--broker', broker.url, '--json', ...args],
      { cwd: dir, stdio: 'ignore' },
    );
    await until(() => countInstalls('good') - countBefore >= 3, 'the first batch', 60_000);
    first.kill('SIGKILL');
    await once(first, 'exit');
    const installsAtKill = countInstalls('good') - countBefore;
    expect(installsAtKill).toBeLessThan(9);
    const next = await push(...args);
    expect([next.code, summary(next)]).toMatchObject([0, { committed: 9 }]);
    expect(countInstalls('good') - countBefore).toBe(9);
  }, 180_000);

  it('lists every device with fleet watch', async () => {
    const { stdout, code } = await runCli(['fleet', 'watch', '--broker', broker.url, '--once']);
    expect(code).toBe(0);
    expect(stdout.split('\n').filter((line) => /^(good|bad)\/sim\d\d +online/.test(line))).toHaveLength(50);
  }, 60_000);

  it.each([
    ['a canary count that is not a number', ['gauge', '2.0.0', '--canary', 'many']],
    ['an invalid model name', ['../gauge', '2.0.0']],
    ['a pattern without devices', ['gauge', '9.0.0', '--to', 'nowhere/*', '--file', 'nobody.json']],
    ['an unknown transport', ['gauge', '2.0.0', '--over', 'carrier-pigeon', 'file']],
  ])('exits with 2 for %s', async (_what, args) => {
    expect((await push(...args)).code).toBe(2);
  });
});
