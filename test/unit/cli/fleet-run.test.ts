import { expect, it, onTestFinished } from 'vitest';
import { RolloutRun } from '../../../src/cli/fleet/rollout-run.ts';
import { processTerminal } from '../../../src/cli/terminal.ts';
import { Devices } from '../../../src/fleet/devices.ts';
import { createRolloutFile } from '../../../src/fleet/rollout-file.ts';
import { Rollout } from '../../../src/fleet/rollout.ts';

const STATUS = {
  schema: 'swellsight.status/1',
  state: 'online',
  session: 'one',
  at: '2026-12-01T00:00:00.000Z',
};

it('sends a command again neither outside the window nor while the rollout is paused', async () => {
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const devices = new Devices('fleet', () => true);
  devices.receive('fleet/home/a/status', Buffer.from(JSON.stringify(STATUS)));
  const action = { kind: 'command', command: 'ping', argsDigest: '' } as const;
  const stages = { canaries: 1, batchPct: 100, haltOnPct: 100, retryFailed: false, oneStage: false };
  const rollout = new Rollout(stages, { ...createRolloutFile(action), devices: ['home/a'] });
  let windowEndMs: number | null = 1000;
  let held: string | null = null;
  const sentUntilMs: (number | null)[] = [];
  const lines: string[] = [];
  const notes: string[] = [];
  const run = new RolloutRun(
    { waitMs: 0, deviceTimeoutMs: 600_000, resendMs: 0, oneStage: false, hasPlan: false, json: true },
    {
      rollout,
      devices,
      send: (_device, _id, endMs) => {
        sentUntilMs.push(endMs);
        // The second copy is sent again at once, and is the last one before the pause.
        if (sentUntilMs.length === 1) windowEndMs = null;
        if (sentUntilMs.length === 2) held = 'paused';
        return Promise.resolve();
      },
      save: () => undefined,
      hold: () => held,
      windowEndMs: () => windowEndMs,
      onResult: () => undefined,
      terminal: {
        ...processTerminal({}, stop.signal),
        out: (text) => void lines.push(...[text].flat().map(String)),
        err: (text) => void notes.push(...[text].flat().map(String)),
      },
    },
  );
  const ended = run.finish();
  await expect.poll(() => notes).toEqual([expect.stringContaining('the window of home/a')]);
  expect([sentUntilMs, rollout.devices.get('home/a')?.phase]).toEqual([[1000], 'waiting']);
  windowEndMs = 2000;
  await expect.poll(() => notes.at(-1)).toBe('paused');
  expect([sentUntilMs, rollout.devices.get('home/a')?.phase]).toEqual([[1000, 2000], 'waiting']);
  // The device received an earlier copy.
  const answer = { id: rollout.commandId('home/a'), status: 'succeeded', result: null };
  run.receive('fleet/home/a/cmdres/ping', Buffer.from(JSON.stringify(answer)));
  expect([await ended, sentUntilMs.length]).toEqual([0, 2]);
  expect(lines.map((line) => (JSON.parse(line) as { phase?: string }).phase)).toEqual([
    'sent',
    'waiting',
    'sent',
    'waiting',
    'done',
    undefined,
  ]);
});
