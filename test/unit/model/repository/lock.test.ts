import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { withLock } from '../../../../src/model/repository/lock.ts';

function lockedDir(holder: object): string {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-lock-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, '.lock'), JSON.stringify({ host: hostname(), id: 'other', ...holder }));
  return dir;
}

describe('the lock of a directory', () => {
  it('is taken over when its process id belongs to another process now', async () => {
    const dir = lockedDir({ pid: process.ppid, started: 'former-boot/1234' });
    expect(await withLock(dir, () => Promise.resolve('done'))).toBe('done');
    expect(readdirSync(dir)).toEqual([]);
  });

  it('is taken over when its process had the same id as this one, as in a container', async () => {
    const dir = lockedDir({ pid: process.pid, started: 'former-boot/1234' });
    expect(await withLock(dir, () => Promise.resolve('done'))).toBe('done');
  });

  it.each([
    ['by this process', () => process.pid],
    ['by another process', () => process.ppid],
  ])('is respected while it is held %s', async (_name, pid) => {
    const dir = lockedDir({ pid: pid() });
    await expect(withLock(dir, () => Promise.resolve())).rejects.toMatchObject({ code: 'repo_busy' });
  });

  it('is respected when a call of the same process holds it', async () => {
    const dir = lockedDir({ pid: 2 ** 30 });
    await withLock(dir, async () => {
      await expect(withLock(dir, () => Promise.resolve())).rejects.toMatchObject({ code: 'repo_busy' });
    });
  });
});
