import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedDevice } from '../../../scripts/fleet/device.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { Mosquitto, until } from '../../fixtures/mosquitto.ts';
import { silentLog } from '../../fixtures/store.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');
/** Devices of a site. No device of `good` and `more` fails; every third device of `bad` refuses the model. */
const COUNTS = { good: 20, bad: 20, more: 10 } as const;

const IN_ORDER = { concurrent: false, timeout: 180_000 } as const;

describe('Staged rollout over fifty simulated devices', () => {
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'swellsight-push-'));
  const stop = new AbortController();
  const devices: { readonly site: string; readonly device: string; readonly simulated: SimulatedDevice }[] =
    [];
  let broker: Mosquitto;
  let running: Promise<void>[] = [];

  const fleet = (...args: string[]): Promise<CliResult> =>
    runCli(['fleet', ...args, '--broker', broker.url, '--json'], { cwd: dir });
  /** Starts a command whose output is not read, except for its notes. */
  const start = (...args: string[]) =>
    spawn(process.execPath, [MAIN, 'fleet', ...args, '--broker', broker.url, '--json'], {
      cwd: dir,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  const firstNote = async ({ stderr }: ReturnType<typeof start>): Promise<string> =>
    String(((await once(stderr, 'data')) as [Buffer])[0]);
  const push = (...args: string[]): Promise<CliResult> => fleet('push', ...args);
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

  /** How many devices ran a command. */
  const countRuns = (command: string): number =>
    devices.filter(({ simulated }) => simulated.installs.ran.includes(command)).length;

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

  // The command line mostly waits: the sites take part at the same time, the tests of a site one after the other.
  describe.concurrent('devices without faults', () => {
    it(
      'installs the model on every device, canaries first, and changes nothing when run again',
      IN_ORDER,
      async () => {
        const args = ['gauge', '2.0.0', '--to', 'good/*', '--canary', '2', '--batch', '40'];
        const first = await push(...args);
        expect(first.code, first.stderr).toBe(0);
        expect(summary(first)).toMatchObject({ committed: 20, failed: 0, waiting: 0, halted: false });
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
        const second = order(sent[10] ?? '', 'sent');
        for (const device of sent.slice(2, 10)) expect(order(device, 'committed')).toBeLessThan(second);
        expect(countInstalls('good')).toBe(20);
        expect(reported.find(({ phase }) => phase === 'probation')).toMatchObject({
          at: expect.stringMatching(/^20/),
          sentence: expect.stringContaining('60 minutes'),
          remedy: null,
        });
        const again = await push(...args);
        expect(again.code).toBe(0);
        expect(summary(again)).toMatchObject({ committed: 20 });
        expect(countInstalls('good')).toBe(20);
        // The file remembers only an unfinished plan.
        expect(readdirSync(dir).filter((name) => name.startsWith('rollout-gauge-2.0.0'))).toEqual([]);
      },
    );

    it(
      'rolls a group back in stages; the next push installs again where another version is active',
      IN_ORDER,
      async () => {
        writeFileSync(join(dir, 'fleet.yaml'), "groups:\n  first: ['good/sim0?']\n");
        const back = await fleet(
          'rollback',
          '--to',
          'group:first',
          '--except',
          'good/sim09',
          '--batch',
          '100',
        );
        expect([back.code, summary(back)]).toMatchObject([
          0,
          { command: 'model.rollback', done: 8, stages: 2 },
        ]);
        const again = await push('gauge', '2.0.0', '--to', 'good', '--batch', '100');
        expect([again.code, summary(again)]).toMatchObject([0, { committed: 20 }]);
        expect(lines(again).filter(({ detail }) => detail === 'was there')).toHaveLength(12);
        expect(countInstalls('good')).toBe(28);
      },
    );
  });

  describe.concurrent('devices with faults', () => {
    it(
      'halts automatically when too many devices fail, and starts no further install',
      IN_ORDER,
      async () => {
        const args = [
          'gauge',
          '2.0.0',
          '--file',
          'bad.json',
          '--to',
          'bad',
          '--canary',
          '2',
          '--batch',
          '30',
          '--halt-on',
          '20',
        ];
        const result = await push(...args);
        expect(result.code).toBe(1);
        const { committed, failed, waiting, halted } = summary(result) as Record<string, number>;
        expect(halted).toBe(true);
        // Two canaries and six devices of the first batch, of which every third fails.
        expect(countInstalls('bad')).toBe(8);
        expect([Number(committed) > 1, failed, waiting]).toEqual([true, 2, 12]);
        const failures = lines(result).filter(({ phase }) => phase === 'failed');
        expect(failures).toMatchObject([
          { detail: 'model_golden_mismatch', sentence: 'this device is simulated to fail.' },
          { remedy: 'use another provider or another version of the model' },
        ]);
        // A second run asks the devices, and halts at once.
        const again = await push(...args);
        expect([again.code, summary(again)]).toMatchObject([1, { failed: 2, waiting: 12, halted: true }]);
        expect(countInstalls('bad')).toBe(8);
        // With further attempts it goes on; the file does not tie it to its former devices.
        const retried = await push(
          'gauge',
          '2.0.0',
          '--file',
          'bad.json',
          '--to',
          'bad/sim0?',
          '--halt-on',
          '100',
          '--retry-failed',
        );
        expect([retried.code, summary(retried)]).toMatchObject([1, { committed: 6, failed: 3, waiting: 0 }]);
        // Sim09 is new in this run, and 03 and 06 failed twice.
        expect(countInstalls('bad')).toBe(11);
      },
    );

    it('halts a command too', IN_ORDER, async () => {
      const halted = await fleet(
        'command',
        'ping',
        '--to',
        'bad',
        '--canary',
        '2',
        '--batch',
        '30',
        '--halt-on',
        '20',
      );
      expect([halted.code, summary(halted)]).toMatchObject([1, { command: 'ping', failed: 2, waiting: 12 }]);
      expect([summary(halted)['halted'], countRuns('ping')]).toEqual([true, 8]);
    });
  });

  describe.concurrent('interrupted and held rollouts', () => {
    it('continues after it was killed', IN_ORDER, async () => {
      const args = ['gauge', '3.0.0', '--canary', '1', '--batch', '50'];
      const countBefore = countInstalls('more');
      const first = start('push', ...args, '--to', 'more/sim01', '--to', 'more/sim02', '--to', 'more/sim03');
      await until(() => countInstalls('more') - countBefore >= 2, 'the first batch', 60_000);
      first.kill('SIGKILL');
      await once(first, 'exit');
      const installsAtKill = countInstalls('more') - countBefore;
      expect(installsAtKill).toBeLessThan(4);
      // Devices that are new join the plan, whatever selected the first ones.
      const next = await push(...args, '--to', 'more/sim0?');
      expect([next.code, summary(next)]).toMatchObject([0, { committed: 9 }]);
      expect(countInstalls('more') - countBefore).toBe(9);
    });

    it('pauses and approves stages', IN_ORDER, async () => {
      const patch = '{logLevel: "debug"}';
      const set = [
        'config',
        'set',
        patch,
        '--to',
        'more/sim0?',
        '--batch',
        '50',
        '--file',
        'plan.json',
        '--approve',
      ];
      const stage = await fleet(...set);
      expect([stage.code, summary(stage)]).toMatchObject([0, { done: 1, waiting: 8, stages: 3 }]);
      expect((await runCli(['fleet', 'pause', 'plan.json'], { cwd: dir })).code).toBe(0);
      const next = start(...set);
      expect(await firstNote(next)).toContain('paused; `swellsight fleet resume plan.json` continues');
      expect(countRuns('config.set')).toBe(1);
      expect((await runCli(['fleet', 'resume', 'plan.json'], { cwd: dir })).code).toBe(0);
      expect(await once(next, 'exit')).toEqual([0, null]);
      expect(countRuns('config.set')).toBe(6);
      const reports = await fleet('diagnostics', '--to', 'more', '--out', 'reports');
      expect([reports.code, readdirSync(join(dir, 'reports')).length]).toEqual([0, 10]);
    });
  });

  it.concurrent(
    'starts devices only in their window',
    async () => {
      const hour = (offset: number): string =>
        `${String((new Date().getUTCHours() + offset + 24) % 24).padStart(2, '0')}:00`;
      const closed = start('command', 'model.reload', '--window', `${hour(2)}-${hour(3)}`);
      expect(await firstNote(closed)).toContain('waiting for the window of ');
      closed.kill('SIGKILL');
      await once(closed, 'exit');
      expect(countRuns('model.reload')).toBe(0);
      const open = `${hour(-1)}-${hour(2)}`;
      expect((await fleet('command', 'model.reload', '--to', 'good/sim20', '--window', open)).code).toBe(0);
      expect(countRuns('model.reload')).toBe(1);
    },
    60_000,
  );

  it.concurrent.each([
    ['a canary count that is not a number', ['gauge', '2.0.0', '--canary', 'many']],
    ['a canary count in percent', ['gauge', '2.0.0', '--canary', '5%']],
    ['an invalid model name', ['../gauge', '2.0.0']],
    ['a pattern without devices', ['gauge', '9.0.0', '--to', 'nowhere/*', '--file', 'nobody.json']],
    ['a pattern without a level', ['gauge', '2.0.0', '--except', 'home/#']],
    ['an unknown group', ['gauge', '2.0.0', '--to', 'group:unknown']],
    ['an unknown transport', ['gauge', '2.0.0', '--over', 'carrier-pigeon', 'file']],
  ])('exits with 2 for %s', async (_what, args) => {
    expect((await push(...args)).code).toBe(2);
  });

  it('lists every device with fleet watch', async () => {
    const watch = ['fleet', 'watch', '--broker', broker.url, '--once'];
    const [all, none] = await Promise.all([runCli(watch), runCli([...watch, '--to', 'nowhere'])]);
    const { stdout, code } = all;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^50 devices: online \(50\); 0 degraded; models: .*gauge 3\.0\.0 \(9\)/m);
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('no device matches')]);
    expect(stdout.split('\n').filter((line) => /^(good|bad|more)\/sim\d\d +online/.test(line))).toHaveLength(
      50,
    );
  }, 60_000);
});
