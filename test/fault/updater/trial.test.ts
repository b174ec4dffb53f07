import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Device, FACTORY } from '../../fixtures/updater/device.ts';

const NEXT = '1.1.0';

describe('a version on trial', () => {
  it('is committed when it is confirmed, and the former version stays for a rollback', async () => {
    const device = await Device.create();
    const archive = await device.putOnTrial({ version: NEXT });
    expect(device.calls).toEqual(['start timer', 'restart']);
    expect(device.current()).toBe(NEXT);
    expect(device.state()).toMatchObject({
      running: archive.version,
      trial: { version: NEXT, former: device.factory, phase: 'switching' },
    });

    device.confirm();
    const state = await device.update();

    expect(state).toMatchObject({
      running: archive.version,
      last_good: device.factory,
      factory: device.factory,
      trial: null,
      working: null,
      last_result: { version: NEXT, status: 'committed', code: null },
    });
    expect(state.installed.map(({ version }) => version)).toEqual([FACTORY, NEXT]);
    expect(device.calls.slice(2)).toEqual(['stop timer']);
    expect(readdirSync(device.paths.state).sort()).toEqual(['metadata', 'reserve', 'state.json']);
  });

  it('stays on trial when the confirmation is for another trial', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    const { trial } = device.state();
    for (const wrong of [{ trial: randomUUID() }, { digest: 'f'.repeat(64) }, { format: 2 }]) {
      const text = JSON.stringify({ format: 1, trial: trial?.id, digest: trial?.digest, ...wrong });
      writeFileSync(join(device.paths.requests, 'confirm.json'), text);
      expect((await device.update()).trial).toMatchObject({ phase: 'probation', starts: 1 });
    }
  });

  it('is not confirmed before it was started', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT }, 0);
    device.confirm();
    const state = await device.update();
    expect(state.trial).toMatchObject({ phase: 'switching', starts: 0 });
    expect(device.calls.filter((call) => call === 'restart')).toHaveLength(2);
  });

  it('returns at its fourth start, without the updater', async () => {
    const device = await Device.create();
    const archive = await device.putOnTrial({ version: NEXT, behaviour: 'bad' }, 0);
    expect([1, 2, 3, 4, 5].map(() => device.start())).toEqual([NEXT, NEXT, NEXT, FACTORY, FACTORY]);

    const state = await device.update();

    expect(state).toMatchObject({
      running: device.factory,
      trial: null,
      last_result: { status: 'returned', code: 'update_crash_loop', version: NEXT },
      banned: [{ ...archive.version, reason: 'update_crash_loop' }],
    });
    expect(state.installed).toEqual([device.factory]);
  });

  it('is banned: the same archive is refused', async () => {
    const device = await Device.create();
    const archive = await device.putOnTrial({ version: NEXT, behaviour: 'bad' }, 4);
    await device.update();
    device.requestInstall(archive);
    expect((await device.update()).last_result).toMatchObject({ status: 'refused', code: 'update_banned' });
    expect(device.current()).toBe(FACTORY);
  });

  it('keeps its confirmation when a fourth start comes later', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT }, 3);
    const { trial } = device.state();
    // What the updater writes first when it has seen the confirmation.
    writeFileSync(join(device.paths.state, `verdict-${trial?.id ?? ''}`), 'committed\n');
    expect(device.start()).toBe(NEXT);
    expect((await device.update()).last_result).toMatchObject({ status: 'committed' });
  });

  it('returns when its deadline has passed, as for a version that hangs', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT, behaviour: 'hanging' });
    device.uptimeS += 1799;
    expect((await device.update()).trial).not.toBeNull();
    device.uptimeS += 1;
    const state = await device.update();
    expect(state).toMatchObject({
      running: device.factory,
      trial: null,
      last_result: { status: 'returned', code: 'update_deadline' },
      banned: [{ version: NEXT }],
    });
    expect(device.current()).toBe(FACTORY);
    expect(device.calls.slice(-2)).toEqual(['restart', 'stop timer']);
  });

  it.each([
    { missing: ['broker'], isBanned: false },
    { missing: ['observations', 'broker'], isBanned: false },
    { missing: ['observations', 'vision'], isBanned: true },
    { missing: [], isBanned: true },
  ])('is banned at its deadline unless only the surroundings are missing: $missing', async (given) => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT, behaviour: 'hanging' });
    const waiting = { format: 1, trial: device.state().trial?.id, missing: given.missing };
    writeFileSync(join(device.paths.requests, 'waiting.json'), JSON.stringify(waiting));
    device.uptimeS += 1800;
    const state = await device.update();
    expect(state).toMatchObject({ running: device.factory, last_result: { code: 'update_deadline' } });
    expect(state.last_result?.message).toContain(given.missing.join(', '));
    expect(state.banned).toHaveLength(given.isBanned ? 1 : 0);
  });

  it('gets the time that the agent asks for, as on a slow board', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT });
    device.requestInstall(archive, { trial_s: 7200 });
    await device.update();
    device.start();
    device.uptimeS += 7199;
    expect((await device.update()).trial).toMatchObject({ phase: 'probation' });
  });

  it('gets its time again after a reboot, but not more starts', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    device.bootId = randomUUID();
    device.uptimeS = 20;
    expect((await device.update()).trial).toMatchObject({ deadline_at_uptime_s: 1820, starts: 1 });
    expect([device.start(), device.start(), device.start()]).toEqual([NEXT, NEXT, FACTORY]);
  });

  it('returns when it reports that it is not good, and is banned', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    device.requestRollback({ reason: { code: 'store_failed', message: 'the database is read-only' } });
    const state = await device.update();
    expect(state.last_result).toMatchObject({
      status: 'returned',
      code: 'update_rejected',
      message: 'store_failed: the database is read-only',
    });
    expect(state.banned).toHaveLength(1);
    expect(device.current()).toBe(FACTORY);
  });

  it('returns when an operator wants the former version back, and may be installed again', async () => {
    const device = await Device.create();
    const archive = await device.putOnTrial({ version: NEXT });
    device.requestRollback();
    expect(await device.update()).toMatchObject({ running: device.factory, banned: [], trial: null });
    device.requestInstall(archive);
    expect((await device.update()).trial).toMatchObject({ version: NEXT });
  });

  it('survives the loss of the state file', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    writeFileSync(join(device.paths.state, 'state.json'), '{"format":1,');
    expect(await device.update()).toMatchObject({
      running: { version: NEXT },
      factory: device.factory,
      trial: { version: NEXT, former: device.factory },
    });
  });
});

describe('a rollback', () => {
  it('returns to the last good version, which has to prove itself too', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    device.confirm();
    await device.update();
    device.requestRollback();
    expect((await device.update()).trial).toMatchObject({ action: 'rollback', version: FACTORY });
    expect(device.start()).toBe(FACTORY);
    device.confirm();
    const state = await device.update();
    expect(state).toMatchObject({ running: device.factory, last_good: null, banned: [] });
    expect(state.last_result).toMatchObject({ action: 'rollback', status: 'committed' });
    expect(state.installed).toEqual([device.factory]);
  });

  it('is refused without another version', async () => {
    const device = await Device.create();
    device.requestRollback();
    expect((await device.update()).last_result).toMatchObject({ code: 'update_no_previous' });
  });

  it('never bans the factory version', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    device.confirm();
    await device.update();
    device.requestRollback();
    await device.update();
    expect([1, 2, 3, 4].map(() => device.start()).at(-1)).toBe(NEXT);
    expect(await device.update()).toMatchObject({
      running: { version: NEXT },
      banned: [],
      last_result: { status: 'returned', code: 'update_crash_loop' },
    });
  });
});

describe('clean-up', () => {
  it('keeps the running, the last good and the factory version, and no other', async () => {
    const device = await Device.create();
    for (const version of ['1.1.0', '1.2.0', '1.3.0']) {
      await device.putOnTrial({ version });
      device.confirm();
      await device.update();
    }
    const state = await device.update();
    expect(state.installed.map(({ version }) => version)).toEqual([FACTORY, '1.2.0', '1.3.0']);
    expect(state).toMatchObject({ running: { version: '1.3.0' }, last_good: { version: '1.2.0' } });
  });

  it('repairs a link that points to nothing', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    device.confirm();
    await device.update();
    const { running } = device.state();
    const release = join(device.paths.root, `versions/${NEXT}-${running.digest.slice(0, 12)}/archive.sha256`);
    writeFileSync(release, 'damaged');
    expect((await device.update()).running).toEqual(device.factory);
    expect(device.current()).toBe(FACTORY);
    expect(device.calls.at(-1)).toBe('restart');
  });
});

describe('count-start', () => {
  it.each(['', 'x', '{"format":1}', '{\n  "id": "$(touch ran)",\n  "directory": "`touch ran`",\n'])(
    'never prevents a start, whatever the trial file contains: %j',
    async (text) => {
      const device = await Device.create();
      writeFileSync(join(device.paths.state, 'trial.json'), text);
      expect(device.start()).toBe(FACTORY);
      expect(existsSync('ran')).toBe(false);
    },
  );

  it('counts from one when the counter is damaged', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    writeFileSync(join(device.paths.state, 'starts'), '\0\0\0');
    device.start();
    const { trial } = device.state();
    expect(readFileSync(join(device.paths.state, 'starts'), 'utf8')).toMatch(`${trial?.id ?? ''} 1 `);
  });

  it('returns without a ban when the starts came from several boots', async () => {
    const device = await Device.create();
    const archive = await device.putOnTrial({ version: NEXT });
    const starts = join(device.paths.state, 'starts');
    const [id = ''] = readFileSync(starts, 'utf8').split(' ');
    writeFileSync(starts, `${id} 1 ${randomUUID()}\n`);
    expect([1, 2, 3].map(() => device.start())).toEqual([NEXT, NEXT, FACTORY]);
    expect(await device.update()).toMatchObject({ banned: [], last_result: { code: 'update_crash_loop' } });
    device.requestInstall(archive);
    expect((await device.update()).trial).toMatchObject({ version: NEXT });
  });
});
