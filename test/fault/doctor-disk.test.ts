import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadSettings } from '../../src/config/load.ts';
import type { Finding } from '../../src/control/doctor/finding.ts';
import { checkDisk } from '../../src/control/doctor/machine.ts';
import { canMountLoop, LoopDisk } from '../fixtures/loop-disk.ts';
import { memoryDir } from '../fixtures/store.ts';

async function check(stateDir: string): Promise<Finding[]> {
  const settings = loadSettings({ file: null, env: {}, cwd: '/', overlay: { stateDir } });
  const { signal } = new AbortController();
  const findings: Finding[] = [];
  for await (const finding of checkDisk({ settings, signal })) findings.push(finding);
  return findings;
}

const failure = (code: string, remedy: string) => [
  {
    check: 'disk',
    state: 'fail',
    detail: expect.stringContaining(`cannot be written (${code})`) as unknown,
    mend: expect.stringContaining(remedy) as unknown,
  },
];

function makeDisk(): LoopDisk {
  const disk = new LoopDisk(4);
  onTestFinished(() => disk.remove());
  return disk;
}

describe('the check of the disk in doctor', () => {
  it('gives the remedy of a path that cannot be a directory', async () => {
    const dir = memoryDir();
    onTestFinished(dir.remove);
    const file = join(dir.path, 'file');
    writeFileSync(file, '');
    expect(await check(file)).toEqual(failure('EEXIST', 'parts are directories'));
    expect(await check(join(file, 'state'))).toEqual(failure('ENOTDIR', 'parts are directories'));
    expect(await check('/proc/swellsight')).toEqual(failure('ENOENT', 'parts are directories'));
    expect(await check(join(dir.path, 'a'.repeat(300)))).toEqual(failure('ENAMETOOLONG', 'shorter path'));
    expect(await check(join(dir.path, 'state'))).toMatchObject([{ check: 'disk' }]);
    expect(readdirSync(join(dir.path, 'state'))).toEqual([]);
  });

  it.skipIf(!canMountLoop())('gives the remedy of a full disk, and leaves no file there', async () => {
    const disk = makeDisk();
    const state = join(disk.mount, 'state');
    mkdirSync(state);
    disk.fill();
    expect(await check(state)).toEqual(failure('ENOSPC', 'free space'));
    expect(readdirSync(state)).toEqual([]);
  });

  it.skipIf(!canMountLoop())('gives the remedy of a disk without inodes', async () => {
    const disk = new LoopDisk(4, 32);
    onTestFinished(() => disk.remove());
    const state = join(disk.mount, 'state');
    mkdirSync(state);
    disk.fillInodes();
    expect(await check(state)).toEqual(failure('ENOSPC', 'inodes'));
  });

  it.skipIf(!canMountLoop())('gives the remedy of a disk that is mounted read-only', async () => {
    const disk = makeDisk();
    expect(spawnSync('mount', ['-o', 'remount,ro', disk.mount]).status).toBe(0);
    expect(await check(disk.mount)).toEqual(failure('EROFS', 'writable'));
    expect(await check(join(disk.mount, 'state'))).toEqual(failure('EROFS', 'writable'));
  });

  it.skipIf(process.getuid?.() === 0)('gives the remedy of missing permissions', async () => {
    expect(await check('/usr/swellsight')).toEqual(failure('EACCES', 'chown'));
  });
});
