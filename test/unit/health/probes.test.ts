import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBootId } from '../../../src/health/boot.ts';
import { DiskProbe, WriteRate } from '../../../src/health/disk.ts';
import { readFreeMemoryMb } from '../../../src/base/free-memory.ts';
import { readTemperatureC } from '../../../src/health/temperature.ts';
import { readThrottled } from '../../../src/health/throttle.ts';
import { ManualClock, tempDir } from '../../fixtures/store.ts';

let root: ReturnType<typeof tempDir>;
beforeEach(() => {
  root = tempDir();
});
afterEach(() => root.remove());

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root.path, path)), { recursive: true });
  writeFileSync(join(root.path, path), text);
}

function zone(index: number, type: string, milliC: string): void {
  put(`sys/class/thermal/thermal_zone${index}/type`, `${type}\n`);
  put(`sys/class/thermal/thermal_zone${index}/temp`, `${milliC}\n`);
}

describe('readTemperatureC', () => {
  it('takes the processor of a Jetson Nano, not the power chip that always says 100', async () => {
    for (const [index, [type, milliC]] of [
      ['AO-therm', '43000'],
      ['CPU-therm', '38500'],
      ['GPU-therm', '37000'],
      ['PLL-therm', '36000'],
      ['PMIC-Die', '100000'],
      ['thermal-fan-est', '38000'],
    ].entries())
      zone(index, type ?? '', milliC ?? '');
    expect(await readTemperatureC(root.path)).toBe(38.5);
  });

  it('takes the zone of a Pi, the package of a PC, and the SoC of a Rockchip board', async () => {
    zone(0, 'acpitz', '27800');
    zone(1, 'x86_pkg_temp', '51000');
    expect(await readTemperatureC(root.path)).toBe(51);
    zone(2, 'cpu-thermal', '47236');
    expect(await readTemperatureC(root.path)).toBe(47.2);
    root.remove();
    zone(0, 'soc-thermal', '40000');
    expect(await readTemperatureC(root.path)).toBe(40);
  });

  it('passes over nonsense, then asks the sensors', async () => {
    zone(0, 'cpu-thermal', '-273000');
    zone(1, 'cpu1-thermal', 'garbage');
    put('sys/class/hwmon/hwmon0/name', 'nvme');
    put('sys/class/hwmon/hwmon0/temp1_input', '60000');
    expect(await readTemperatureC(root.path)).toBeNull();
    put('sys/class/hwmon/hwmon1/name', 'k10temp');
    put('sys/class/hwmon/hwmon1/temp1_input', '55125');
    expect(await readTemperatureC(root.path)).toBe(55.1);
  });

  it('says null without /sys', async () => {
    expect(await readTemperatureC(root.path)).toBeNull();
  });
});

describe('readThrottled', () => {
  const flags = 'sys/devices/platform/soc/soc:firmware/get_throttled';

  it.each([
    ['0', false],
    ['50000', false],
    ['50005', true],
    ['1', true],
    ['0x80008', true],
  ])('reads the flags %s of a Pi: what holds now counts, history does not', async (text, expected) => {
    put(flags, `${text}\n`);
    expect(await readThrottled(root.path)).toBe(expected);
  });

  it('reads the alerts of a Jetson', async () => {
    put('sys/class/thermal/cooling_device0/type', 'pwm-fan');
    put('sys/class/thermal/cooling_device0/cur_state', '3');
    expect(await readThrottled(root.path)).toBeNull();
    put('sys/class/thermal/cooling_device1/type', 'gpu-throttle-alert');
    put('sys/class/thermal/cooling_device1/cur_state', '0');
    expect(await readThrottled(root.path)).toBe(false);
    put('sys/class/thermal/cooling_device2/type', 'cpu-throttle-alert');
    put('sys/class/thermal/cooling_device2/cur_state', '1');
    expect(await readThrottled(root.path)).toBe(true);
  });

  it('falls back to the under-voltage alarm, and says null where nothing tells', async () => {
    put('sys/class/hwmon/hwmon3/name', 'rpi_volt');
    put('sys/class/hwmon/hwmon3/in0_lcrit_alarm', '1');
    expect(await readThrottled(root.path)).toBe(true);
    root.remove();
    expect(await readThrottled(root.path)).toBeNull();
    put(flags, 'garbage');
    expect(await readThrottled(root.path)).toBeNull();
  });
});

describe('readFreeMemoryMb', () => {
  const MB = 2 ** 20;
  const machine = (): void =>
    put('proc/meminfo', 'MemTotal:  4096000 kB\nMemFree:  100 kB\nMemAvailable:  2048000 kB\n');

  it('takes the machine where no cgroup limits', async () => {
    machine();
    put('proc/self/cgroup', '0::/system.slice/swellsight.service\n');
    put('sys/fs/cgroup/system.slice/swellsight.service/memory.max', 'max\n');
    put('sys/fs/cgroup/system.slice/swellsight.service/memory.current', `${90 * MB}\n`);
    expect(await readFreeMemoryMb(root.path)).toBe(2000);
  });

  it('takes the tightest limit of the path, page cache counted as free', async () => {
    machine();
    put('proc/self/cgroup', '0::/system.slice/swellsight.service\n');
    put('sys/fs/cgroup/system.slice/memory.max', `${1000 * MB}`);
    put('sys/fs/cgroup/system.slice/memory.current', `${200 * MB}`);
    put('sys/fs/cgroup/system.slice/swellsight.service/memory.max', `${256 * MB}`);
    put('sys/fs/cgroup/system.slice/swellsight.service/memory.current', `${200 * MB}`);
    put('sys/fs/cgroup/system.slice/swellsight.service/memory.stat', `anon 1\ninactive_file ${20 * MB}\n`);
    expect(await readFreeMemoryMb(root.path)).toBe(76);
  });

  it('finds the limit in a container, whose own root is all that is mounted', async () => {
    machine();
    put('proc/self/cgroup', '12:memory:/docker/0123abc\n1:name=systemd:/docker/0123abc\n');
    put('sys/fs/cgroup/memory/memory.limit_in_bytes', `${256 * MB}`);
    put('sys/fs/cgroup/memory/memory.usage_in_bytes', `${300 * MB}`);
    put('sys/fs/cgroup/memory/memory.stat', `total_inactive_file ${94 * MB}\n`);
    expect(await readFreeMemoryMb(root.path)).toBe(50);
  });

  it('never goes below zero, and works without /proc', async () => {
    put('proc/self/cgroup', '0::/\n');
    put('sys/fs/cgroup/memory.max', `${MB}`);
    put('sys/fs/cgroup/memory.current', `${9 * MB}`);
    expect(await readFreeMemoryMb(root.path)).toBe(0);
    root.remove();
    expect(await readFreeMemoryMb(root.path)).toBeGreaterThan(0);
  });
});

describe('DiskProbe', () => {
  it('measures the file system of a folder, and says null for one that is gone', async () => {
    const space = await new DiskProbe({ dir: root.path }).read();
    expect(space.freeMb).toBeGreaterThan(0);
    expect(space.usedPct).toBeGreaterThanOrEqual(0);
    expect(space.usedPct).toBeLessThanOrEqual(100);
    expect(await new DiskProbe({ dir: join(root.path, 'gone') }).read()).toEqual({
      freeMb: null,
      usedPct: null,
    });
  });
});

describe('WriteRate', () => {
  const VISION = 4242;
  const io = (pid: number | 'self', writtenMb: number): void =>
    put(`proc/${pid}/io`, `rchar: 1\nwrite_bytes: ${writtenMb * 2 ** 20}\ncancelled_write_bytes: 0\n`);

  it('extrapolates once ten minutes have passed, what was written before the first look not counted', async () => {
    const clock = new ManualClock();
    const rate = new WriteRate({ clock, root: root.path });
    io('self', 100);
    expect(await rate.sample([process.pid])).toBeNull();
    clock.advance(9 * 60_000);
    io('self', 101);
    expect(await rate.sample([process.pid])).toBeNull();
    clock.advance(60_000);
    expect(await rate.sample([process.pid])).toBe(144);
  });

  it('adds the vision process, over its restarts', async () => {
    const clock = new ManualClock();
    const rate = new WriteRate({ clock, root: root.path });
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

  it('forgets what is older than a day', async () => {
    const clock = new ManualClock();
    const rate = new WriteRate({ clock, root: root.path });
    io('self', 0);
    await rate.sample([process.pid]);
    io('self', 1000);
    for (let hour = 0; hour < 30; hour += 1) {
      clock.advance(3_600_000);
      await rate.sample([process.pid]);
    }
    expect(await rate.sample([process.pid])).toBe(0);
  });

  it('says null without /proc', async () => {
    expect(await new WriteRate({ clock: new ManualClock(), root: root.path }).sample([1])).toBeNull();
  });
});

describe('bootId', () => {
  it('takes the kernel at its word, else makes one', () => {
    put('boot_id', '332225ae-a909-4b81-9e98-dae23b1d8b0b\n');
    expect(readBootId(join(root.path, 'boot_id'))).toBe('332225ae-a909-4b81-9e98-dae23b1d8b0b');
    put('boot_id', 'garbage');
    const made = readBootId(join(root.path, 'boot_id'));
    expect(made).toMatch(/^[0-9a-f-]{36}$/);
    expect(readBootId(join(root.path, 'gone'))).not.toBe(made);
  });
});
