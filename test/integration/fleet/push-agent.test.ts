import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedDevice } from '../../../scripts/fleet/device.ts';
import { systemClock } from '../../../src/base/clock.ts';
import type { AgentVersions } from '../../../src/contract/agent-update.ts';
import { initTestRepository } from '../../fixtures/agent-repository.ts';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { contractFault } from '../../fixtures/contract.ts';
import { Mosquitto, until, type Message } from '../../fixtures/mosquitto.ts';
import { silentLog } from '../../fixtures/store.ts';
import { packFakeVersion } from '../../fixtures/updater/fake-version.ts';
import { WebServer } from '../../fixtures/web-server.ts';

const COUNT = 20;
const GOOD = '1.1.0';
/** Crashes at each start, on every device. */
const BAD = '1.2.0';

describe('Staged rollout of the agent over twenty simulated devices', () => {
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'swellsight-push-'));
  const stop = new AbortController();
  const devices: SimulatedDevice[] = [];
  let broker: Mosquitto;
  let server: WebServer;
  let messages: Message[] = [];
  let running: Promise<void>[] = [];

  const push = (...args: string[]): Promise<CliResult> =>
    runCli(['fleet', 'push', '--broker', broker.url, '--json', ...args], { cwd: dir });
  const lines = ({ stdout }: CliResult): Record<string, unknown>[] =>
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const summary = (result: CliResult): unknown => lines(result).at(-1)?.['summary'];
  const started = (): string[] => devices.map((device) => device.agents?.started.join(' ') ?? '');
  const stateOf = (device: string): AgentVersions => {
    const topic = `swellsight/v1/fleet/${device}/agent/state`;
    const last = messages.findLast((message) => message.topic === topic);
    return JSON.parse(String(last?.payload)) as AgentVersions;
  };

  beforeAll(async () => {
    broker = await Mosquitto.start({ lines: ['max_connections -1'] });
    messages = await broker.record('swellsight/v1/#');
    const repository = await initTestRepository(dir);
    for (const version of [GOOD, BAD]) {
      const { file } = await packFakeVersion(dir, { version });
      const { code, stderr } = await runCli(['repo', 'publish-agent', repository.dir, file], { cwd: dir });
      expect([code, stderr]).toEqual([0, '']);
    }
    server = await WebServer.start(repository.dir);
    for (let index = 1; index <= COUNT; index += 1) {
      const device = `sim${String(index).padStart(2, '0')}`;
      const mqtt = { url: [broker.url], protocolVersion: 5, clientId: device } as const;
      const noSecrets = { username: null, password: null, ca: null, cert: null, key: null };
      devices.push(
        new SimulatedDevice(
          {
            mqtt: { ...mqtt, ...noSecrets },
            base: 'swellsight/v1',
            site: 'fleet',
            device,
            stateDir: join(dir, device),
            everyS: 2,
            heartbeatS: 3600,
            agents: {
              repository: server.url,
              trustRoot: repository.rootFile,
              version: '1.0.0',
              crashing: new Set([BAD]),
            },
          },
          { clock: systemClock, log: silentLog, random: Math.random },
        ),
      );
    }
    running = devices.map((device) => device.run(stop.signal));
    await until(() => devices.every((device) => device.isConnected), 'all devices', 120_000);
  }, 180_000);

  afterAll(async () => {
    stop.abort();
    await Promise.all(running);
    await server.stop();
    await broker.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('updates every device, canaries first, and changes nothing when run again', async () => {
    const args = ['--agent', GOOD, '--canary', '2', '--batch', '50'];
    const first = await push(...args);
    expect(first.code, first.stderr + first.stdout).toBe(0);
    expect(summary(first)).toMatchObject({ name: 'agent', version: GOOD, committed: COUNT, halted: false });
    expect(new Set(started())).toEqual(new Set([`1.0.0 ${GOOD}`]));
    const reported = lines(first).slice(0, -1);
    const order = (device: unknown, phase: string): number =>
      reported.findIndex((one) => one['device'] === device && one['phase'] === phase);
    const sent = reported.filter(({ phase }) => phase === 'sent').map(({ device }) => device);
    for (const canary of sent.slice(0, 2))
      expect(order(canary, 'committed')).toBeLessThan(order(sent[2], 'sent'));
    expect(stateOf('sim01')).toMatchObject({
      running: { version: GOOD },
      last_good: { version: '1.0.0' },
      update: { action: 'install', version: GOOD, phase: 'committed' },
    });
    const again = await push(...args, '--file', 'other.json');
    expect([again.code, summary(again)]).toMatchObject([0, { committed: COUNT }]);
    expect(new Set(started())).toEqual(new Set([`1.0.0 ${GOOD}`]));
  }, 300_000);

  it('halts by itself at a version that crashes, and the devices that tried it run the former one', async () => {
    const args = ['--agent', BAD, '--canary', '2', '--batch', '50', '--halt-on', '10'];
    const result = await push(...args);
    expect(result.code, result.stderr).toBe(1);
    expect(summary(result)).toMatchObject({ committed: 0, halted: true });
    const { failed, waiting } = summary(result) as { failed: number; waiting: number };
    // Only the two canaries got it. The second one may not have failed yet.
    expect([waiting, failed >= 1 && failed <= 2]).toEqual([COUNT - 2, true]);
    // The second canary may still be on its way back.
    const isBack = (): boolean =>
      started().filter((versions) => versions === `1.0.0 ${GOOD} ${GOOD}`).length >= failed;
    await until(isBack, 'the former version', 60_000);
    const failure = lines(result).find(({ phase }) => phase === 'failed');
    expect(failure).toMatchObject({
      detail: 'update_crash_loop',
      remedy: expect.stringContaining('read its log'),
    });
    const device = String(failure?.['device']);
    // The message of the state may come after the start of the version.
    const state = (): AgentVersions => stateOf(device.replace('fleet/', ''));
    await expect.poll(state, { timeout: 60_000 }).toMatchObject({
      running: { version: GOOD },
      banned: [{ version: BAD, reason: 'update_crash_loop' }],
      update: { version: BAD, phase: 'returned', reason: { code: 'update_crash_loop' } },
    });
    const untouched = started().filter((versions) => versions === `1.0.0 ${GOOD}`);
    expect(untouched.length).toBeGreaterThanOrEqual(COUNT - 2);
    // A second run asks the devices, and halts at once.
    const again = await push(...args);
    expect([again.code, summary(again)]).toMatchObject([1, { waiting: COUNT - 2, halted: true }]);
  }, 300_000);

  it('rolls the agent back; a device is done when the former version is confirmed', async () => {
    const only = ['--to', 'fleet/sim19', '--to', 'fleet/sim20'];
    const back = await runCli(['fleet', 'rollback', '--agent', '--broker', broker.url, '--json', ...only]);
    expect([back.code, summary(back)]).toMatchObject([0, { command: 'agent.rollback', done: 2 }]);
    expect([stateOf('sim19').running.version, stateOf('sim20').running.version]).toEqual(['1.0.0', '1.0.0']);
  }, 120_000);

  it('answers each command twice, the second time from the version that ran at the end', () => {
    const answers = messages
      .filter(({ topic }) => topic === 'swellsight/v1/fleet/sim01/cmdres/agent.install')
      .map(({ payload }) => JSON.parse(String(payload)) as Record<string, unknown>);
    expect(answers.slice(0, 2)).toMatchObject([
      { status: 'accepted' },
      { status: 'succeeded', result: { version: GOOD } },
    ]);
    const faults = messages
      .filter(({ topic }) => /\/(agent\/|cmdres\/agent|event\/agent)/.test(topic))
      .map(({ topic, payload }) => contractFault(topic, payload));
    expect(faults.length).toBeGreaterThan(COUNT * 5);
    expect(faults.filter(Boolean)).toEqual([]);
  });

  it.each([
    ['a version that is none', ['--agent', 'newest']],
    ['a model and an agent', ['gauge', '2.0.0', '--agent', '1.0.0']],
    ['a repeated attempt of a version that failed', ['--agent', '1.0.0', '--clear-failed']],
  ])('exits with 2 for %s', async (_what, args) => {
    expect((await push(...args)).code).toBe(2);
  });
});
