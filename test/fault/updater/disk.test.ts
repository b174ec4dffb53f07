import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { canMountLoop, LoopDisk } from '../../fixtures/loop-disk.ts';
import { Device, FACTORY } from '../../fixtures/updater/device.ts';

const NEXT = '1.1.0';

async function deviceOnDisk(sizeMb: number, inodes?: number): Promise<{ device: Device; disk: LoopDisk }> {
  const disk = new LoopDisk(sizeMb, inodes);
  onTestFinished(() => disk.remove());
  const root = join(disk.mount, 'opt');
  mkdirSync(root);
  const device = await Device.create(root);
  spawnSync('chmod', ['755', disk.dir]);
  return { device, disk };
}

describe.skipIf(!canMountLoop())('(root only) disks', () => {
  it('refuses an update when the versions are read-only', async () => {
    const { device, disk } = await deviceOnDisk(64);
    device.requestInstall(await device.release({ version: NEXT }));
    spawnSync('mount', ['-o', 'remount,ro', disk.mount]);
    const state = await device.update();
    expect(state.last_result, device.logged.join('\n')).toMatchObject({
      status: 'refused',
      code: 'update_read_only',
    });
    expect(device.current()).toBe(FACTORY);
  });

  it('refuses an update before it begins when the disk has too little space', async () => {
    const { device, disk } = await deviceOnDisk(64);
    device.requestInstall(await device.release({ version: NEXT }));
    disk.fill(1_000_000);
    const state = await device.update();
    expect(state.last_result).toMatchObject({ status: 'refused', code: 'update_space' });
    expect(state.last_result?.message).toMatch(/needs \d+ MB of disk space, \d+ MB are free/);
    disk.free();
    device.requestInstall(await device.release({ version: '1.2.0' }));
    expect((await device.update()).trial).toMatchObject({ version: '1.2.0' });
  });

  it('refuses an update when the disk fills up while it is unpacked, and leaves nothing', async () => {
    const { device, disk } = await deviceOnDisk(64);
    const large = { 'dist/large.js': '#'.repeat(20_000_000) };
    const archive = await device.release({ version: NEXT, files: large });
    // Only the signed description says how much space is needed.
    const { 'dist/large.js': file, ...files } = archive.release.files;
    const understated = {
      ...archive.release,
      files: { ...files, 'dist/large.js': { ...file!, size: 4_000_000 } },
    };
    await device.repository.publish([{ ...archive, release: understated }]);
    device.requestInstall(archive);
    disk.fill(37_000_000 + 5_000_000);
    const result = (await device.update()).last_result;
    expect(result).toMatchObject({ status: 'refused' });
    expect(['update_space', 'update_archive_refused']).toContain(result?.code);
    expect(device.current()).toBe(FACTORY);
    expect(
      existsSync(join(device.paths.root, `versions/.new-${NEXT}-${archive.version.digest.slice(0, 12)}`)),
    ).toBe(false);
  });

  it('returns to the former version although the version on trial has filled the disk', async () => {
    const { device, disk } = await deviceOnDisk(64);
    const state = join(disk.mount, 'state');
    await device.putOnTrial({ version: NEXT, behaviour: 'bad' }, 0);
    // The state moves to the small disk, as on a device with one partition.
    spawnSync('cp', ['-a', device.paths.state, state]);
    renameSync(device.paths.state, `${device.paths.state}.before`);
    symlinkSync(state, device.paths.state);
    disk.fill();
    expect(() => writeFileSync(join(state, 'probe'), Buffer.alloc(8192, 1))).toThrow(/ENOSPC/);
    expect([1, 2, 3, 4].map(() => device.start())).toEqual([NEXT, NEXT, NEXT, FACTORY]);
    expect(await device.update()).toMatchObject({
      running: device.factory,
      banned: [{ version: NEXT }],
      last_result: { status: 'returned', code: 'update_crash_loop' },
    });
  });

  describe.each(['crash loop', 'deadline'])('with a version that takes all inodes and blocks (%s)', (end) => {
    it('returns, and records it', async () => {
      const { device, disk } = await deviceOnDisk(96, 256);
      const state = join(disk.mount, 'state');
      mkdirSync(state);
      rmSync(device.paths.state, { recursive: true });
      symlinkSync(state, device.paths.state);
      const takeAll = (): void => {
        disk.fill();
        disk.fillInodes();
      };
      await device.putOnTrial({ version: NEXT, behaviour: 'hanging' }, 0);
      takeAll();
      for (let start = 0; start < (end === 'deadline' ? 2 : 4); start += 1) {
        device.start();
        takeAll();
        device.bootId = randomUUID();
        if (end === 'deadline') await device.update();
        takeAll();
      }
      device.uptimeS += 1800;
      expect(await device.update()).toMatchObject({
        running: device.factory,
        trial: null,
        banned: [{ version: NEXT }],
        last_result: {
          status: 'returned',
          code: end === 'deadline' ? 'update_deadline' : 'update_crash_loop',
        },
      });
      expect(device.current()).toBe(FACTORY);
    });
  });
});
