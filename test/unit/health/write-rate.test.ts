import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { WriteRate } from '../../../src/health/write-rate.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';
import { MemoryKeyValue } from '../../fixtures/key-value.ts';
import { ManualClock } from '../../fixtures/store.ts';

const HOUR_MS = 3_600_000;
const VISION = 4242;

let tree: ReturnType<typeof makeFileTree>;
let clock: ManualClock;
let memory: MemoryKeyValue;
beforeEach(() => {
  tree = makeFileTree();
  clock = new ManualClock();
  memory = new MemoryKeyValue();
});

const start = (): WriteRate => new WriteRate({ clock, memory, root: tree.path });
const io = (pid: number | 'self', writtenMb: number): void =>
  tree.write(`proc/${pid}/io`, `rchar: 1\nwrite_bytes: ${writtenMb * 2 ** 20}\ncancelled_write_bytes: 0\n`);

describe('WriteRate', () => {
  it('extrapolates after ten minutes, without the bytes written before the first sample', async () => {
    const rate = start();
    io('self', 100);
    expect(await rate.sample([])).toBeNull();
    clock.advance(9 * 60_000);
    io('self', 101);
    expect(await rate.sample([])).toBeNull();
    clock.advance(60_000);
    expect(await rate.sample([])).toBe(144);
  });

  it('counts the vision process once: its bytes move to the parent when it ends', async () => {
    const rate = start();
    io('self', 0);
    io(VISION, 5);
    await rate.sample([VISION]);
    clock.advance(12 * HOUR_MS);
    io(VISION, 7);
    await rate.sample([VISION]);
    // The process has ended and is not yet waited for: its bytes are nowhere.
    tree.write(`proc/${VISION}/io`, '');
    await rate.sample([VISION]);
    // The kernel has added them to the parent, and a new process has written 3 MB.
    io('self', 7);
    io(VISION + 1, 3);
    clock.advance(12 * HOUR_MS);
    expect(await rate.sample([VISION + 1])).toBe(5);
  });

  it('drops writes that are older than a day', async () => {
    const rate = start();
    io('self', 0);
    await rate.sample([]);
    io('self', 1000);
    for (let hour = 0; hour < 30; hour += 1) {
      clock.advance(HOUR_MS);
      await rate.sample([]);
    }
    expect(await rate.sample([])).toBe(0);
  });

  it('knows the rate right after a restart', async () => {
    const before = start();
    io('self', 0);
    await before.sample([]);
    for (let hour = 1; hour <= 12; hour += 1) {
      clock.advance(HOUR_MS);
      io('self', 10 * hour);
      await before.sample([]);
    }
    // A reboot: the counters of the kernel and the monotonic clock begin anew.
    clock = new ManualClock();
    io('self', 50);
    expect(await start().sample([])).toBe(240);
  });

  it('is stored for the first time after ten minutes, then once an hour', async () => {
    const rate = start();
    io('self', 0);
    let stored = 0;
    memory.set = () => {
      stored += 1;
    };
    for (let minute = 0; minute <= 9; minute += 1) {
      await rate.sample([]);
      clock.advance(60_000);
    }
    expect(stored).toBe(0);
    for (let minute = 10; minute <= 129; minute += 1) {
      await rate.sample([]);
      clock.advance(60_000);
    }
    expect(stored).toBe(2);
  });

  it('continues when the disk is full and when the stored value is damaged', async () => {
    memory.set('health.writes', '[{"ms":"x"},null,{"ms":600000,"bytes":1048576}]');
    memory.set = () => {
      throw new Error('disk full');
    };
    io('self', 0);
    const rate = start();
    expect(await rate.sample([])).toBe(144);
    clock.advance(2 * HOUR_MS);
    expect(await rate.sample([])).toBeCloseTo(11.1, 1);
    memory.values.set('health.writes', '{');
    expect(await start().sample([])).toBeNull();
  });

  it('returns null without /proc', async () => {
    expect(await start().sample([1])).toBeNull();
  });

  it('rests on the rule of the kernel that the bytes of an ended child are added to its parent', () => {
    const writtenIn = (io: string): number => Number(/^write_bytes: (\d+)$/m.exec(io)?.[1]);
    const own = (): number => writtenIn(readFileSync('/proc/self/io', 'utf8'));
    const before = own();
    const script = 'dd if=/dev/zero of=data bs=1M count=2 conv=fsync 2>&-; cat /proc/$$/io';
    const child = spawnSync('sh', ['-c', script], { cwd: tree.path, encoding: 'utf8' });
    expect(own() - before).toBeGreaterThanOrEqual(writtenIn(child.stdout));
  });
});
