import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { updateIdOf } from '../../../src/contract/model.ts';
import type { DeviceMessages } from '../../../src/fleet/device-messages.ts';
import { Rollout, type RolloutOptions } from '../../../src/fleet/rollout.ts';
import {
  createRolloutFile,
  isPaused,
  readRollout,
  removeRollout,
  setPaused,
  writeNewRollout,
  writeRollout,
  type RolloutAction,
  type RolloutFile,
} from '../../../src/fleet/rollout-file.ts';

const OPTIONS: RolloutOptions = {
  canaries: 1,
  batchPct: 50,
  haltOnPct: 40,
  retryFailed: false,
  oneStage: false,
};
const MODEL: RolloutAction = { kind: 'model', name: 'gauge', version: '2.0.0' };
const RESTART: RolloutAction = { kind: 'command', command: 'restart', argsDigest: '' };
const isOnline = (): boolean => true;

const planOf = (action: RolloutAction, ...devices: string[]): RolloutFile => ({
  ...createRolloutFile(action),
  devices,
});

/** The state of a device with an active version, and the last install. */
function stateOf(
  active: string,
  install: { readonly commandId: string; readonly phase: string; readonly version?: string } | null = null,
): DeviceMessages['model/state'] {
  const record = install && {
    update_id: updateIdOf(install.commandId),
    name: 'gauge',
    version: install.version ?? '2.0.0',
    phase: install.phase,
    percent: null,
    reason: install.phase === 'failed' ? { code: 'model_space', message: 'full' } : null,
  };
  return {
    active: { name: 'gauge', version: active, digest: '' },
    candidate: null,
    phase: install?.phase ?? 'committed',
    install: record,
  } as DeviceMessages['model/state'];
}

/** Reports a state and returns the phase of the device. */
function phaseAfter(rollout: Rollout, device: string, state: DeviceMessages['model/state']) {
  rollout.applyReport(device, { kind: 'model', state });
  return rollout.devices.get(device)?.phase;
}

describe('Rollout of a command', () => {
  const ABORT: RolloutAction = { kind: 'command', command: 'model.abort', argsDigest: '' };

  it('waits again after a command that was not acknowledged in time, and still hears a late answer', () => {
    const rollout = new Rollout(OPTIONS, planOf(RESTART, 'a'));
    rollout.markSent('a', 'one');
    rollout.applyReport('a', { kind: 'deferred', reason: 'expired' });
    expect(rollout.devices.get('a')).toMatchObject({ phase: 'sent', detail: 'expired' });
    rollout.markUnsent('a');
    expect([rollout.listDue(isOnline), rollout.hasStarted]).toEqual([['a'], false]);
    rollout.applyReport('a', { kind: 'accepted' });
    expect(rollout.devices.get('a')).toMatchObject({ phase: 'installing', detail: null });
  });

  it('counts a device without an install as done after an abort, not after another command', () => {
    const report = { kind: 'failed', code: 'model_install_none', message: null, isOld: false } as const;
    const phases = [ABORT, RESTART].map((action) => {
      const rollout = new Rollout(OPTIONS, planOf(action, 'a'));
      rollout.markSent('a', 'one');
      rollout.applyReport('a', report);
      return rollout.devices.get('a')?.phase;
    });
    expect(phases).toEqual(['committed', 'failed']);
  });
});

describe('Rollout of a model', () => {
  it('takes what is done from the states of the devices, not from the plan', () => {
    const file = planOf(MODEL, 'a', 'b', 'c');
    const rollout = new Rollout(OPTIONS, file);
    expect(phaseAfter(rollout, 'a', stateOf('2.0.0'))).toBe('committed');
    expect(phaseAfter(rollout, 'b', stateOf('1.0.0'))).toBe('waiting');
    const ofC = rollout.commandId('c');
    expect(phaseAfter(rollout, 'c', stateOf('1.0.0', { commandId: ofC, phase: 'shadow' }))).toBe(
      'installing',
    );
    expect(rollout.listDue(isOnline)).toEqual(['b']);
  });

  it('installs again, with another command, where the version was replaced after an earlier run', () => {
    const rollout = new Rollout(OPTIONS, planOf(MODEL, 'a'));
    const first = rollout.commandId('a');
    expect(phaseAfter(rollout, 'a', stateOf('1.0.0', { commandId: first, phase: 'committed' }))).toBe(
      'waiting',
    );
    const second = rollout.commandId('a');
    expect(second).not.toBe(first);
    expect(rollout.file.attempts).toEqual({ a: 2 });
    rollout.markSent('a', null);
    expect(phaseAfter(rollout, 'a', stateOf('2.0.0', { commandId: second, phase: 'committed' }))).toBe(
      'committed',
    );
    // In the same run, it is a failure: two operators must not compete without an end.
    expect(phaseAfter(rollout, 'a', stateOf('1.0.0', { commandId: second, phase: 'committed' }))).toBe(
      'failed',
    );
    expect([rollout.devices.get('a')?.detail, rollout.isHalted]).toEqual(['superseded', true]);
  });

  it('installs again where the device only repeats an old answer', () => {
    const rollout = new Rollout(OPTIONS, planOf(MODEL, 'a'));
    const first = rollout.commandId('a');
    phaseAfter(rollout, 'a', stateOf('1.0.0'));
    rollout.markSent('a', null);
    rollout.applyReport('a', { kind: 'accepted' });
    rollout.applyReport('a', { kind: 'succeeded', result: {}, isOld: true });
    expect(rollout.devices.get('a')?.phase).toBe('waiting');
    expect(rollout.commandId('a')).not.toBe(first);
    // The final answer of an install that this run joined has the mark of a repeated answer too.
    rollout.markSent('a', null);
    const state = stateOf('1.0.0', { commandId: rollout.commandId('a'), phase: 'shadow' });
    expect(phaseAfter(rollout, 'a', state)).toBe('installing');
    rollout.applyReport('a', { kind: 'succeeded', result: {}, isOld: true });
    expect(rollout.devices.get('a')?.phase).toBe('installing');
  });

  it('does not count a device that is starting as one with another version', () => {
    const rollout = new Rollout(OPTIONS, planOf(MODEL, 'a'));
    expect(phaseAfter(rollout, 'a', stateOf('2.0.0'))).toBe('committed');
    const starting = { ...stateOf('2.0.0'), active: null, phase: 'loading' };
    expect(phaseAfter(rollout, 'a', starting)).toBe('committed');
  });

  it('waits for the probation of the same version by another install', () => {
    const rollout = new Rollout(OPTIONS, planOf(MODEL, 'a'));
    const other = { commandId: 'other', phase: 'probation' };
    expect(phaseAfter(rollout, 'a', stateOf('2.0.0', other))).toBe('probation');
    expect(rollout.isOver(isOnline)).toBe(false);
    expect(phaseAfter(rollout, 'a', stateOf('2.0.0', { ...other, phase: 'committed' }))).toBe('committed');
  });

  it('counts earlier failures, and tries again only when told', () => {
    const file = planOf(MODEL, 'a', 'b');
    const failed = stateOf('1.0.0', {
      commandId: new Rollout(OPTIONS, file).commandId('a'),
      phase: 'failed',
    });
    const stopped = new Rollout(OPTIONS, file);
    expect(phaseAfter(stopped, 'a', failed)).toBe('failed');
    expect([stopped.isHalted, stopped.listDue(isOnline)]).toEqual([true, []]);
    const again = new Rollout({ ...OPTIONS, retryFailed: true }, file);
    expect(phaseAfter(again, 'a', failed)).toBe('waiting');
    expect([again.isHalted, again.listDue(isOnline)]).toEqual([false, ['a']]);
    again.markSent('a', null);
    const second = stateOf('1.0.0', { commandId: again.commandId('a'), phase: 'failed' });
    expect(phaseAfter(again, 'a', second)).toBe('failed');
  });

  it('with approval, each run goes through one stage', () => {
    const file = planOf(MODEL, 'a', 'b', 'c', 'd', 'e');
    const done = stateOf('2.0.0');
    const runOneStage = (known: readonly string[]): string[] => {
      const rollout = new Rollout({ ...OPTIONS, oneStage: true, batchPct: 40 }, file);
      for (const device of known) phaseAfter(rollout, device, done);
      rollout.begin();
      const started: string[] = [];
      for (let due = rollout.listDue(isOnline); due.length > 0; due = rollout.listDue(isOnline)) {
        started.push(...due);
        for (const device of due) rollout.markSent(device, null);
        expect(rollout.isOver(isOnline)).toBe(false);
        for (const device of due) phaseAfter(rollout, device, done);
      }
      expect(rollout.isOver(isOnline)).toBe(true);
      return started;
    };
    expect(runOneStage([])).toEqual(['a']);
    expect(runOneStage(['a'])).toEqual(['b', 'c']);
    expect(runOneStage(['a', 'b', 'c'])).toEqual(['d', 'e']);
    expect(runOneStage(['a', 'b', 'c', 'd', 'e'])).toEqual([]);
  });
});

describe('Rollout of a command', () => {
  it('counts a restart only when the device is back with another session', () => {
    const rollout = new Rollout(OPTIONS, planOf(RESTART, 'a'));
    const phase = () => rollout.devices.get('a')?.phase;
    rollout.applyReport('a', { kind: 'session', session: 'one' });
    rollout.markSent('a', 'one');
    rollout.applyReport('a', { kind: 'accepted' });
    rollout.applyReport('a', { kind: 'succeeded', result: { restarting: true }, isOld: false });
    rollout.applyReport('a', { kind: 'session', session: 'one' });
    expect([phase(), rollout.isOver(isOnline)]).toEqual(['installing', false]);
    rollout.applyReport('a', { kind: 'session', session: 'two' });
    expect([phase(), rollout.devices.get('a')?.result]).toEqual(['committed', { restarting: true }]);
    rollout.applyReport('a', { kind: 'succeeded', result: {}, isOld: false });
    expect(phase()).toBe('committed');
  });

  it('halts when too many devices fail, and starts no further stage', () => {
    const rollout = new Rollout(OPTIONS, planOf({ ...RESTART, command: 'ping' }, 'a', 'b', 'c', 'd'));
    const [first = ''] = rollout.listDue(isOnline);
    rollout.markSent(first, null);
    expect(rollout.listDue(isOnline)).toEqual([]);
    rollout.applyReport(first, { kind: 'succeeded', result: { pong: true }, isOld: false });
    expect(rollout.listDue(isOnline)).toEqual(['b', 'c']);
    for (const device of ['b', 'c']) {
      rollout.markSent(device, null);
      rollout.applyReport(device, { kind: 'failed', code: 'internal', message: null, isOld: false });
    }
    expect([rollout.isHalted, rollout.listDue(isOnline), rollout.isOver(isOnline)]).toEqual([true, [], true]);
  });
});

describe('the file of a rollout', () => {
  it('is read only for the same action, can be paused, and goes with its mark', () => {
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-rollout-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const path = join(dir, 'plan.json');
    expect(readRollout(path, MODEL)).toBeNull();
    expect(() => setPaused(path, true)).toThrow('there is no rollout file');
    const file = planOf(MODEL, 'a');
    writeNewRollout(path, file);
    // Of two runs that start together, only one sends the command.
    expect(() => writeNewRollout(path, planOf(MODEL, 'b'))).toThrow('another run has just created');
    expect(readRollout(path, { ...MODEL })).toEqual(file);
    const longer = planOf(MODEL, 'a', 'b');
    writeRollout(path, longer);
    expect(readRollout(path, MODEL)).toEqual(longer);
    expect(() => readRollout(path, RESTART)).toThrow('is the rollout of gauge 2.0.0');
    setPaused(path, true);
    expect(isPaused(path)).toBe(true);
    setPaused(path, false);
    expect(isPaused(path)).toBe(false);
    setPaused(path, true);
    removeRollout(path);
    expect([readRollout(path, MODEL), isPaused(path)]).toEqual([null, false]);
    for (const text of ['', '{}', '{"format": 2}', JSON.stringify({ ...file, devices: { a: 1 } })]) {
      writeFileSync(path, text);
      expect(() => readRollout(path, MODEL)).toThrow('is not a rollout file');
    }
  });
});
