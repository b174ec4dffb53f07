import { beforeEach, describe, expect, it } from 'vitest';
import { readFreeMemoryMb } from '../../../src/base/free-memory.ts';
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

  it('never returns less than zero, and works without /proc', async () => {
    tree.write('proc/self/cgroup', '0::/\n');
    tree.write('sys/fs/cgroup/memory.max', `${MB}`);
    tree.write('sys/fs/cgroup/memory.current', `${9 * MB}`);
    expect(await readFreeMemoryMb(tree.path)).toBe(0);
    tree.remove();
    expect(await readFreeMemoryMb(tree.path)).toBeGreaterThan(0);
  });
});
