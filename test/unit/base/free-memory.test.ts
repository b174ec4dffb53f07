import { totalmem } from 'node:os';
import { beforeEach, describe, expect, it } from 'vitest';
import { readFreeMemoryMb, readUsableMemoryMb } from '../../../src/base/free-memory.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

describe('readFreeMemoryMb', () => {
  const MB = 2 ** 20;
  const machine = (): void =>
    tree.write('proc/meminfo', 'MemTotal:  4096000 kB\nMemFree:  100 kB\nMemAvailable:  2048000 kB\n');

  it('returns the memory of the machine when no cgroup has a limit', async () => {
    machine();
    tree.write('proc/self/cgroup', '0::/system.slice/swellsight.service\n');
    tree.write('sys/fs/cgroup/system.slice/swellsight.service/memory.max', 'max\n');
    tree.write('sys/fs/cgroup/system.slice/swellsight.service/memory.current', `${90 * MB}\n`);
    expect(await readFreeMemoryMb(tree.path)).toBe(2000);
  });

  it('uses the tightest limit of the path and counts page cache as free', async () => {
    machine();
    tree.write('proc/self/cgroup', '0::/system.slice/swellsight.service\n');
    tree.write('sys/fs/cgroup/system.slice/memory.max', `${1000 * MB}`);
    tree.write('sys/fs/cgroup/system.slice/memory.current', `${200 * MB}`);
    tree.write('sys/fs/cgroup/system.slice/swellsight.service/memory.max', `${256 * MB}`);
    tree.write('sys/fs/cgroup/system.slice/swellsight.service/memory.current', `${200 * MB}`);
    tree.write(
      'sys/fs/cgroup/system.slice/swellsight.service/memory.stat',
      `anon 1\ninactive_file ${20 * MB}\n`,
    );
    expect(await readFreeMemoryMb(tree.path)).toBe(76);
  });

  it('finds the limit in a container, where only its own cgroup is mounted', async () => {
    machine();
    tree.write('proc/self/cgroup', '12:memory:/docker/0123abc\n1:name=systemd:/docker/0123abc\n');
    tree.write('sys/fs/cgroup/memory/memory.limit_in_bytes', `${256 * MB}`);
    tree.write('sys/fs/cgroup/memory/memory.usage_in_bytes', `${300 * MB}`);
    tree.write('sys/fs/cgroup/memory/memory.stat', `total_inactive_file ${94 * MB}\n`);
    expect(await readFreeMemoryMb(tree.path)).toBe(50);
  });

  it('uses the tightest limit of nested cgroups of version 1', async () => {
    machine();
    tree.write('proc/self/cgroup', '9:name=systemd:/\n4:cpu,memory:/pods/one/agent\n0::/\n');
    const level = (path: string, limitMb: number, usedMb: number): void => {
      tree.write(`sys/fs/cgroup/memory/${path}/memory.limit_in_bytes`, `${limitMb * MB}`);
      tree.write(`sys/fs/cgroup/memory/${path}/memory.usage_in_bytes`, `${usedMb * MB}`);
    };
    level('pods/one/agent', 500, 100);
    level('pods/one', 300, 250);
    level('pods', 9_000_000, 260);
    expect(await readFreeMemoryMb(tree.path)).toBe(50);
    expect(readUsableMemoryMb(tree.path)).toBe(300);
  });

  it('never returns less than zero, and works without /proc', async () => {
    tree.write('proc/self/cgroup', '0::/\n');
    tree.write('sys/fs/cgroup/memory.max', `${MB}`);
    tree.write('sys/fs/cgroup/memory.current', `${9 * MB}`);
    expect(await readFreeMemoryMb(tree.path)).toBe(0);
    tree.remove();
    expect(await readFreeMemoryMb(tree.path)).toBeGreaterThan(0);
  });
});

describe('readUsableMemoryMb', () => {
  const MB = 2 ** 20;
  const machineMb = Math.floor(totalmem() / MB);

  it('returns the memory of the machine without a limit', () => {
    expect(readUsableMemoryMb(tree.path)).toBe(machineMb);
    tree.write('proc/self/cgroup', '4:memory:/agent\n');
    // Without a limit, version 1 reports the largest multiple of the page size, here of 4 KiB and of 16 KiB.
    for (const unlimited of ['9223372036854771712', '9223372036854759424']) {
      tree.write('sys/fs/cgroup/memory/agent/memory.limit_in_bytes', `${unlimited}\n`);
      expect(readUsableMemoryMb(tree.path)).toBe(machineMb);
    }
    tree.write('proc/self/cgroup', '0::/system.slice/swellsight.service\n');
    tree.write('sys/fs/cgroup/system.slice/swellsight.service/memory.max', 'max\n');
    expect(readUsableMemoryMb(tree.path)).toBe(machineMb);
  });

  it('returns the tightest limit of nested cgroups of version 2 in the same unit', () => {
    tree.write('proc/self/cgroup', '0::/system.slice/swellsight.service\n');
    tree.write('sys/fs/cgroup/system.slice/memory.max', `${64 * MB}\n`);
    tree.write('sys/fs/cgroup/system.slice/swellsight.service/memory.max', `${48 * MB + 1}\n`);
    expect(readUsableMemoryMb(tree.path)).toBe(48);
    tree.write('sys/fs/cgroup/system.slice/memory.max', `${32 * MB}\n`);
    expect(readUsableMemoryMb(tree.path)).toBe(32);
  });

  it('finds the limit in a container, where only its own cgroup is mounted', () => {
    tree.write('proc/self/cgroup', '0::/\n');
    tree.write('sys/fs/cgroup/memory.max', `${56 * MB}\n`);
    expect(readUsableMemoryMb(tree.path)).toBe(56);
  });
});
