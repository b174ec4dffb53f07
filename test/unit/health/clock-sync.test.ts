import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClockSync, parseTimex } from '../../../src/health/clock-sync.ts';
import type { ClockState } from '../../../src/health/types.ts';
import { FakeClock } from '../../fixtures/fake-clock.ts';
import { tempDir } from '../../fixtures/store.ts';

const HOUR_MS = 3_600_000;

let dir: ReturnType<typeof tempDir>;
beforeEach(() => {
  dir = tempDir();
});
afterEach(() => dir.remove());

/** Samples every 5 s for a minute, and returns the reported steps, each with the state at that time. */
async function watch(clock: FakeClock, kernel: () => ClockState | null): Promise<[number, boolean][]> {
  const steps: [number, boolean][] = [];
  const sync: ClockSync = new ClockSync({
    clock,
    kernel,
    flag: join(dir.path, 'synchronized'),
    onStep: (deltaMs) => void steps.push([deltaMs, sync.state().synced]),
  });
  for (let sample = 0; sample < 12; sample += 1) {
    await sync.sample();
    clock.pass(5_000);
  }
  return steps;
}

describe('ClockSync', () => {
  const start = Date.UTC(2026, 0, 1);

  it('reports the first step of a board without a battery clock, forward and back', async () => {
    const forward = new FakeClock(0, [{ atMonoMs: 12_000, byMs: start }]);
    const isSynced = (): ClockState => ({ synced: forward.nowMs() > start, offsetMs: null });
    expect(await watch(forward, isSynced)).toEqual([[start, true]]);
    const back = new FakeClock(start, [{ atMonoMs: 12_000, byMs: -HOUR_MS }]);
    expect(await watch(back, () => ({ synced: true, offsetMs: 0 }))).toEqual([[-HOUR_MS, true]]);
  });

  it('does not report slewing or a leap second as a step', async () => {
    const slewed = new FakeClock(
      start,
      Array.from({ length: 10 }, (_, index) => ({ atMonoMs: index * 5_000 + 1, byMs: 2.5 })),
    );
    expect(await watch(slewed, () => null)).toEqual([]);
    expect(await watch(new FakeClock(start, [{ atMonoMs: 20_000, byMs: -1_000 }]), () => null)).toEqual([]);
  });

  it('reports each of two steps once', async () => {
    const clock = new FakeClock(start, [
      { atMonoMs: 7_000, byMs: 60_000 },
      { atMonoMs: 30_000, byMs: -60_000 },
    ]);
    expect((await watch(clock, () => null)).map(([deltaMs]) => deltaMs)).toEqual([60_000, -60_000]);
  });

  it('uses the kernel, else the file of systemd-timesyncd', async () => {
    const flag = join(dir.path, 'synchronized');
    let answer: ClockState | null = { synced: true, offsetMs: -0.25 };
    const sync = new ClockSync({
      clock: new FakeClock(start),
      kernel: () => answer,
      flag,
      onStep: () => undefined,
    });
    expect(sync.state()).toEqual({ synced: false, offsetMs: null });
    await sync.sample();
    expect(sync.state()).toEqual({ synced: true, offsetMs: -0.25 });
    answer = { synced: false, offsetMs: null };
    writeFileSync(flag, '');
    await sync.sample();
    expect(sync.state().synced).toBe(false);
    answer = null;
    await sync.sample();
    expect(sync.state()).toEqual({ synced: true, offsetMs: null });
  });

  it('runs timedatectl as the last resort, rarely, and does not wait for it', async () => {
    const program = join(dir.path, 'timedatectl');
    const counter = join(dir.path, 'asked');
    writeFileSync(program, `#!/bin/sh\necho asked >> ${counter}\nsleep 0.3\necho yes\n`);
    chmodSync(program, 0o755);
    const clock = new FakeClock(start);
    const sync = new ClockSync({
      clock,
      kernel: () => null,
      flag: join(dir.path, 'none'),
      timedatectl: program,
      onStep: () => undefined,
    });
    await sync.sample();
    expect(sync.state().synced).toBe(false);
    await vi.waitUntil(
      async () => {
        clock.pass(5_000);
        await sync.sample();
        return sync.state().synced;
      },
      { timeout: 60_000, interval: 50 },
    );
    const asked = (): number => readFileSync(counter, 'utf8').split('asked').length - 1;
    expect(asked()).toBe(1);
    writeFileSync(program, '#!/bin/sh\nexit 1\n');
    clock.pass(10 * 60_000);
    await vi.waitUntil(
      async () => {
        await sync.sample();
        return !sync.state().synced;
      },
      { timeout: 60_000, interval: 50 },
    );
  });

  it('calls onSynced after onStep, at each synchronisation', async () => {
    const calls: string[] = [];
    const clock = new FakeClock(0, [{ atMonoMs: 12_000, byMs: start }]);
    let synced = false;
    const sync = new ClockSync({
      clock,
      kernel: () => ({ synced: synced && clock.nowMs() > start, offsetMs: null }),
      onStep: () => calls.push('step'),
      onSynced: () => calls.push('synced'),
    });
    synced = true;
    for (let sample = 0; sample < 5; sample += 1) {
      await sync.sample();
      clock.pass(5_000);
    }
    expect(calls).toEqual(['step', 'synced']);
    synced = false;
    await sync.sample();
    synced = true;
    await sync.sample();
    expect(calls).toEqual(['step', 'synced', 'synced']);
  });

  it('distinguishes a suspend, in which the boot clock advances, from a step', async () => {
    const calls: [string, number][] = [];
    const clock = new FakeClock(start, [{ atMonoMs: 12_000, byMs: HOUR_MS }]);
    // The clocks are read at slightly different times.
    const asleepMs = (): number => (clock.monoMs() > 12_000 ? HOUR_MS - 400 : 0);
    const sync = new ClockSync({
      clock,
      kernel: () => ({ synced: true, offsetMs: 0 }),
      bootClock: () => Promise.resolve(clock.monoMs() + 77_000 + asleepMs()),
      onStep: (deltaMs) => calls.push(['step', deltaMs]),
      onSlept: (sleptMs) => calls.push(['slept', sleptMs]),
    });
    for (let sample = 0; sample < 6; sample += 1) {
      await sync.sample();
      clock.pass(5_000);
    }
    expect(calls).toEqual([['slept', HOUR_MS - 400]]);
  });

  it('has a valid state after the start, and stops with the signal', async () => {
    const stop = new AbortController();
    let asked = 0;
    const kernel = (): ClockState => {
      asked += 1;
      if (asked === 3) stop.abort();
      return { synced: true, offsetMs: 0 };
    };
    const sync = new ClockSync({ clock: new FakeClock(start), kernel, onStep: () => undefined });
    await sync.start(stop.signal);
    expect(sync.state().synced).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(asked).toBe(3);
  });
});

describe('parseTimex', () => {
  /** A `struct timex` as each time source sets it. */
  const timex = (status: number, maxErrorUs: number, offset = 0): Buffer => {
    const bytes = Buffer.alloc(208);
    bytes.writeBigInt64LE(BigInt(offset), 8);
    bytes.writeBigInt64LE(BigInt(maxErrorUs), 24);
    bytes.writeInt32LE(status, 40);
    return bytes;
  };
  const UNSYNC = 0x40;
  const PLL = 0x01;
  const NANO = 0x2000;

  it.each([
    ['a clock without a source', timex(UNSYNC, 16_000_000), { synced: false, offsetMs: null }],
    ['systemd-timesyncd, ntpd', timex(PLL | NANO, 250_000, -1_500_000), { synced: true, offsetMs: -1.5 }],
    ['an old kernel in microseconds', timex(PLL, 250_000, 2_500), { synced: true, offsetMs: 2.5 }],
    ['chrony with rtcsync', timex(0, 17_288), { synced: true, offsetMs: 0 }],
    ['chrony without rtcsync, which leaves the flag', timex(UNSYNC, 17_288), { synced: true, offsetMs: 0 }],
    ['a program that gave up hours ago', timex(UNSYNC | PLL, 16_000_000), { synced: false, offsetMs: null }],
    ['an invalid error', timex(UNSYNC, -1), { synced: false, offsetMs: null }],
  ])('reads the state of %s', (_, bytes, state) => {
    expect(parseTimex(bytes)).toEqual(state);
  });
});
