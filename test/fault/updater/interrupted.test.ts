import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { operatorRollback } from '../../../src/updater/request-directory.ts';
import { Device, FACTORY } from '../../fixtures/updater/device.ts';

const NEXT = '1.1.0';

async function commit(device: Device, version: string): Promise<void> {
  await device.putOnTrial({ version });
  device.confirm();
  await device.update();
}

describe('a trial whose beginning was interrupted', () => {
  it.each(['start timer', 'restart'])('goes on in the next run when `%s` failed', async (call) => {
    const device = await Device.create();
    await commit(device, '1.1.0');
    await commit(device, '1.2.0');
    device.requestInstall(await device.release({ version: '1.3.0' }));
    device.failingCalls.add(call);
    await expect(device.update()).rejects.toThrow(call);
    expect(device.state().last_result).toMatchObject({ version: '1.2.0', status: 'committed' });

    device.failingCalls.clear();
    expect((await device.update()).trial).toMatchObject({ version: '1.3.0', former: { version: '1.2.0' } });
    expect([1, 2, 3, 4].map(() => device.start())).toEqual(['1.3.0', '1.3.0', '1.3.0', '1.2.0']);
    expect(existsSync(join(device.paths.root, 'current/dist/main.js'))).toBe(true);
    expect(await device.update()).toMatchObject({
      running: { version: '1.2.0' },
      last_result: { version: '1.3.0', status: 'returned' },
    });
  });

  it('returns in the next run when the restart at its end failed', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT, behaviour: 'hanging' });
    device.uptimeS += 1800;
    device.failingCalls.add('restart');
    await expect(device.update()).rejects.toThrow('restart');
    device.failingCalls.clear();
    expect(await device.update()).toMatchObject({ running: device.factory, banned: [{ version: NEXT }] });
    expect(device.calls.slice(-2)).toEqual(['restart', 'stop timer']);
  });
});

describe('a preflight that outlived its updater', () => {
  it('is stopped before its copy of the database is removed', async () => {
    const device = await Device.create();
    const copy = join(device.paths.state, 'preflight');
    mkdirSync(copy);
    await device.update();
    expect(device.preflightStops).toBe(1);
    expect(existsSync(copy)).toBe(false);
  });
});

describe('a rollback that an operator starts by hand', () => {
  it('ends a trial, which does not begin again', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT, behaviour: 'hanging' });
    const ended = await device.update(operatorRollback());
    expect(ended).toMatchObject({
      trial: null,
      running: device.factory,
      last_result: { status: 'returned' },
    });
    expect((await device.update()).trial).toBeNull();
    expect(device.current()).toBe(FACTORY);
  });

  it('works although the agent has put a directory in the place of its request', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT, behaviour: 'hanging' });
    const request = join(device.paths.requests, 'request.json');
    rmSync(request);
    mkdirSync(request);
    expect(await device.update(operatorRollback())).toMatchObject({ trial: null, running: device.factory });
  });

  it('is not followed by the install that was handled before', async () => {
    const device = await Device.create();
    await commit(device, NEXT);
    expect((await device.update(operatorRollback())).trial).toMatchObject({ version: FACTORY });
    device.start();
    device.confirm();
    expect(await device.update()).toMatchObject({ trial: null, running: device.factory });
    expect(await device.update()).toMatchObject({ trial: null, running: device.factory });
  });
});

describe('a rollback whose trial failed', () => {
  it('is followed by a rollback to the factory version', async () => {
    const device = await Device.create();
    await commit(device, '1.1.0');
    await commit(device, '1.2.0');
    device.requestRollback();
    await device.update();
    for (let start = 0; start < 4; start += 1) device.start();
    expect(await device.update()).toMatchObject({
      running: { version: '1.2.0' },
      last_good: null,
      banned: [{ version: '1.1.0' }],
    });
    device.requestRollback();
    expect((await device.update()).trial).toMatchObject({ version: FACTORY });
  });

  it('never makes the repair of the link use the banned version', async () => {
    const device = await Device.create();
    await commit(device, '1.1.0');
    await commit(device, '1.2.0');
    const { running, last_good: lastGood } = device.state();
    device.writeState({
      ...device.state(),
      banned: [{ ...lastGood!, reason: 'update_crash_loop', at: new Date().toISOString() }],
    });
    const digest = running.digest.slice(0, 12);
    rmSync(join(device.paths.root, `versions/1.2.0-${digest}/archive.sha256`));
    expect(await device.update()).toMatchObject({ running: device.factory });
    expect(device.current()).toBe(FACTORY);
  });
});
