import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { DiskProbe, WriteRate } from '../../../src/health/disk.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';
import { ManualClock } from '../../fixtures/store.ts';

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

describe('DiskProbe', () => {
  it('reads the file system of a directory, and returns null for a missing directory', async () => {
    const space = await new DiskProbe({ dir: tree.path }).read();
    expect(space.freeMb).toBeGreaterThan(0);
    expect(space.usedPct).toBeGreaterThanOrEqual(0);
    expect(space.usedPct).toBeLessThanOrEqual(100);
    expect(await new DiskProbe({ dir: join(tree.path, 'gone') }).read()).toEqual({
      freeMb: null,
      usedPct: null,
    });
  });
});

describe('WriteRate', () => {
  const VISION = 4242;
  const io = (pid: number | 'self', writtenMb: number): void =>
    tree.write(`proc/${pid}/io`, `rchar: 1\nwrite_bytes: ${writtenMb * 2 ** 20}\ncancelled_write_bytes: 0\n`);

  it('extrapolates after ten minutes, without the bytes written before the first sample', async () => {
    const clock = new ManualClock();
    const rate = new WriteRate({ clock, root: tree.path });
    io('self', 100);
    expect(await rate.sample([process.pid])).toBeNull();
    clock.advance(9 * 60_000);
    io('self', 101);
    expect(await rate.sample([process.pid])).toBeNull();
    clock.advance(60_000);
    expect(await rate.sample([process.pid])).toBe(144);
  });

  it('adds the vision process across its restarts', async () => {
    const clock = new ManualClock();
    const rate = new WriteRate({ clock, root: tree.path });
    io('self', 0);
    io(VISION, 5);
    await rate.sample([process.pid, VISION]);
    clock.advance(12 * 3_600_000);
    io(VISION, 7);
    await rate.sample([process.pid, VISION]);
    io(VISION + 1, 3);
    clock.advance(12 * 3_600_000);
    expect(await rate.sample([process.pid, VISION + 1])).toBe(5);
  });

  it('drops writes that are older than a day', async () => {
    const clock = new ManualClock();
    const rate = new WriteRate({ clock, root: tree.path });
    io('self', 0);
    await rate.sample([process.pid]);
    io('self', 1000);
    for (let hour = 0; hour < 30; hour += 1) {
      clock.advance(3_600_000);
      await rate.sample([process.pid]);
    }
    expect(await rate.sample([process.pid])).toBe(0);
  });

  it('returns null without /proc', async () => {
    expect(await new WriteRate({ clock: new ManualClock(), root: tree.path }).sample([1])).toBeNull();
  });
});
