import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { DiskProbe } from '../../../src/health/disk.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';

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
