import { beforeEach, describe, expect, it } from 'vitest';
import { findVolatility } from '../../../src/health/state-volume.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

const STATE = '/var/lib/swellsight-state-of-test';
const volatility = (...mounts: readonly string[]): Promise<string | null> => {
  tree.write('proc/self/mountinfo', `${mounts.join('\n')}\n`);
  return findVolatility(STATE, tree.path);
};

const EXT4_ROOT = '28 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw';
const TMPFS_UPPER = '30 24 0:26 / /media/root-rw rw,relatime shared:3 - tmpfs tmpfs-root rw';
const RASPBERRY_PI_OVERLAY =
  '24 1 0:27 / / rw,relatime shared:1 - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay,workdir=/media/root-rw/overlay-workdir/_';
const DOCKER_LAYER =
  '901 700 0:55 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A,upperdir=/var/lib/docker/overlay2/abc/diff,workdir=/var/lib/docker/overlay2/abc/work';

describe('findVolatility', () => {
  it('finds a state directory on a disk, also below a root in memory', async () => {
    expect(await volatility(EXT4_ROOT)).toBeNull();
    expect(
      await volatility(RASPBERRY_PI_OVERLAY, TMPFS_UPPER, `40 24 179:3 / ${STATE} rw - ext4 /dev/sda1 rw`),
    ).toBeNull();
  });

  it('finds a state directory in memory', async () => {
    expect(await volatility(EXT4_ROOT, '41 28 0:40 / /var/lib rw - tmpfs tmpfs rw')).toBe('memory');
    expect(await volatility(RASPBERRY_PI_OVERLAY, TMPFS_UPPER)).toBe('memory');
  });

  it('finds a state directory in the layer of a container, but not in its volume', async () => {
    expect(await volatility(DOCKER_LAYER)).toBe('layer');
    expect(await volatility(DOCKER_LAYER, `950 901 254:1 /v ${STATE} rw - ext4 /dev/vda1 rw`)).toBeNull();
  });

  it('accepts an overlay whose upper directory is on a disk', async () => {
    const overlay = `40 28 0:30 / /var rw - overlay overlay rw,lowerdir=/usr/var,upperdir=/data/var,workdir=/data/work`;
    expect(
      await volatility(EXT4_ROOT, '29 28 179:3 / /data rw - ext4 /dev/mmcblk0p3 rw', overlay),
    ).toBeNull();
  });

  it('does not take another directory with the same beginning, and reads escaped spaces', async () => {
    expect(await volatility(EXT4_ROOT, `41 28 0:40 / ${STATE}-other rw - tmpfs tmpfs rw`)).toBeNull();
    tree.write('proc/self/mountinfo', `${EXT4_ROOT}\n41 28 0:40 / /a\\040b rw - tmpfs tmpfs rw\n`);
    expect(await findVolatility('/a b/state', tree.path)).toBe('memory');
  });

  it('returns null without /proc', async () => {
    expect(await findVolatility(STATE, tree.path)).toBeNull();
  });
});
