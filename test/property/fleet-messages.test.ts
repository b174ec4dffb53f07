import fc from 'fast-check';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RolloutRun } from '../../src/cli/fleet/rollout-run.ts';
import { processTerminal } from '../../src/cli/terminal.ts';
import { Devices } from '../../src/fleet/devices.ts';
import { Rollout } from '../../src/fleet/rollout.ts';
import { createRolloutFile } from '../../src/fleet/rollout-file.ts';
import { runCli } from '../fixtures/cli.ts';
import { deviceMessages, hostileMessage } from '../fixtures/device-messages.ts';
import { Mosquitto } from '../fixtures/mosquitto.ts';

/** The long form: SWELLSIGHT_FUZZ_MESSAGES=1000000. */
const RUNS = Number(process.env['SWELLSIGHT_FUZZ_MESSAGES'] ?? 1000);
const BASE = 'swellsight/v1';
const NAME = 'home/a';
const SEED = 13;

it(
  'no message ends the readers of fleet watch and fleet push',
  () => {
    const devices = new Devices(BASE, () => true);
    const plan = createRolloutFile({ kind: 'model', name: 'gauge', version: '2.0.0' });
    const terminal = { ...processTerminal({}, new AbortController().signal), out: () => undefined };
    const options = { canaries: 1, batchPct: 100, haltOnPct: 100, retryFailed: false, oneStage: false };
    const rollout = new Rollout(options, { ...plan, devices: [NAME] });
    const run = new RolloutRun(
      { waitMs: 0, resendMs: 30_000, deviceTimeoutMs: 1, oneStage: false, hasPlan: true, json: true },
      {
        rollout,
        devices,
        send: () => Promise.resolve(),
        save: () => undefined,
        hold: () => null,
        windowEndMs: () => Infinity,
        onResult: () => undefined,
        terminal,
      },
    );
    fc.assert(
      fc.property(hostileMessage, fc.jsonValue({ maxDepth: 2 }), ({ topic, payload }, value) => {
        const full = `${BASE}/${NAME}/${topic}`;
        const device = devices.receive(full, payload);
        run.receive(full, payload);
        const answers = [
          { id: value, status: 'failed' },
          { id: { toString: 1 }, status: 'rejected' },
          { id: rollout.commandId(NAME), status: value, reason: value, error: value, result: value },
          { id: rollout.commandId(NAME), status: 'rejected', reason: { toString: value } },
        ];
        for (const answer of answers)
          run.receive(`${BASE}/${NAME}/cmdres/model.install`, Buffer.from(JSON.stringify(answer)));
        expect(JSON.stringify(device).length).toBeLessThan(100_000);
      }),
      { numRuns: RUNS, seed: SEED },
    );
  },
  60_000 + RUNS * 5,
);

describe('retained messages at a real broker', () => {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-fleet-'));
  let broker: Mosquitto;
  beforeAll(async () => {
    broker = await Mosquitto.start();
    const publisher = await broker.client();
    const retain = async (
      name: string,
      messages: Readonly<Record<string, object | string>>,
    ): Promise<void> => {
      for (const [topic, message] of Object.entries(messages)) {
        const payload = typeof message === 'string' ? message : JSON.stringify(message);
        await publisher.publishAsync(`${BASE}/${name}/${topic}`, payload, { retain: true, qos: 1 });
      }
    };
    const valid = deviceMessages();
    await retain('good/a', valid);
    await retain('good/later', { ...valid, health: { ...valid['health'], new_field: 1 } });
    await retain('bad/empty', { status: {}, health: {}, 'model/state': {}, 'agent/state': {} });
    await retain('bad/type', { ...valid, status: { ...valid['status'], state: {} } });
    await retain('bad/enum', { ...valid, status: { ...valid['status'], state: 'asleep' } });
    await retain('bad/degraded', { ...valid, health: { ...valid['health'], degraded: [{ toString: 1 }] } });
    await retain('bad/active', {
      ...valid,
      'model/state': { ...valid['model/state'], active: { name: { toString: 1 } } },
    });
    await retain('bad/nan', { ...valid, health: '{"uptime_s":NaN}' });
    await retain('bad/deep', { ...valid, 'agent/state': '{"a":'.repeat(100_000) });
    await retain('bad/large', { ...valid, health: { at: 'x'.repeat(10_000_000) } });
    for (const [index, { topic, payload }] of fc
      .sample(hostileMessage, { numRuns: 100, seed: SEED })
      .entries())
      await publisher.publishAsync(`${BASE}/fuzz/${String(index)}/${topic}`, payload, {
        retain: true,
        qos: 1,
      });
  }, 120_000);
  afterAll(async () => {
    await broker.stop();
    rmSync(dir, { recursive: true });
  });

  it('fleet watch shows every device, and which messages are invalid', async () => {
    const { code, stdout, stderr } = await runCli([
      'fleet',
      'watch',
      '--broker',
      broker.url,
      '--once',
      '--json',
    ]);
    expect([code, stderr]).toEqual([0, '']);
    const { devices } = JSON.parse(stdout) as { devices: { device: string; invalid: string[] }[] };
    const invalid = Object.fromEntries(devices.map((one) => [one.device, one.invalid]));
    expect(invalid).toMatchObject({
      'good/a': [],
      'good/later': [],
      'bad/empty': ['status', 'health', 'model/state', 'agent/state'],
      'bad/type': ['status'],
      'bad/enum': ['status'],
      'bad/degraded': ['health'],
      'bad/active': ['model/state'],
      'bad/nan': ['health'],
      'bad/deep': ['agent/state'],
      'bad/large': ['health'],
    });
    const table = await runCli(['fleet', 'watch', '--broker', broker.url, '--once', '--to', 'bad']);
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/^bad\/nan +online .*invalid health$/m);
  }, 60_000);

  it.each([
    ['a model', ['gauge', '1.0.0']],
    ['the agent', ['--agent', '1.0.0']],
  ])(
    'fleet push of %s reads all messages and ends',
    async (_what, what) => {
      const args = ['fleet', 'push', '--broker', broker.url, '--json', '--device-timeout', '0.01', ...what];
      const { stderr, stdout } = await runCli(
        [...args, '--halt-on', '100', '--canary', '0', '--batch', '100'],
        { cwd: dir },
      );
      expect(stderr).toMatch(/^when the cause is gone, .*\n$/);
      expect(stdout).toContain('"device":"good/a","phase":"committed"');
      expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toHaveProperty('summary');
    },
    60_000,
  );
});

it('ten thousand invented devices do not fill the memory, and the limit is reported', () => {
  const devices = new Devices(BASE, () => true);
  const health = Buffer.from(JSON.stringify(deviceMessages()['health']));
  for (let index = 0; index < 10_000; index += 1)
    devices.receive(`${BASE}/x/${String(index)}/health`, health);
  expect([devices.list().length, devices.isFull]).toEqual([5000, true]);
});
