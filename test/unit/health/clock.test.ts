import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClockSync } from '../../../src/health/clock.ts';
import type { ClockState } from '../../../src/health/types.ts';
import { FakeClock } from '../../fixtures/fake-clock.ts';
import { tempDir } from '../../fixtures/store.ts';

const HOUR_MS = 3_600_000;

let dir: ReturnType<typeof tempDir>;
beforeEach(() => {
  dir = tempDir();
});
afterEach(() => dir.remove());

/** Samples every 5 s for a minute, and returns the steps that were told with the state at that moment. */
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

  it('tells the first synchronisation of a board without a battery clock, both ways', async () => {
    const forward = new FakeClock(0, [{ atMonoMs: 12_000, byMs: start }]);
    const isSynced = (): ClockState => ({ synced: forward.nowMs() > start, offsetMs: null });
    expect(await watch(forward, isSynced)).toEqual([[start, true]]);
    const back = new FakeClock(start, [{ atMonoMs: 12_000, byMs: -HOUR_MS }]);
    expect(await watch(back, () => ({ synced: true, offsetMs: 0 }))).toEqual([[-HOUR_MS, true]]);
  });

  it('takes neither slewing nor a leap second nor time asleep in one place for a step', async () => {
    const slewed = new FakeClock(
      start,
      Array.from({ length: 10 }, (_, index) => ({ atMonoMs: index * 5_000 + 1, byMs: 2.5 })),
    );
    expect(await watch(slewed, () => null)).toEqual([]);
    expect(await watch(new FakeClock(start, [{ atMonoMs: 20_000, byMs: -1_000 }]), () => null)).toEqual([]);
  });

  it('tells each of two steps once', async () => {
    const clock = new FakeClock(start, [
      { atMonoMs: 7_000, byMs: 60_000 },
      { atMonoMs: 30_000, byMs: -60_000 },
    ]);
    expect((await watch(clock, () => null)).map(([deltaMs]) => deltaMs)).toEqual([60_000, -60_000]);
  });

  it('believes the kernel, else the file of systemd-timesyncd', async () => {
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

  it('asks timedatectl where nothing else tells, rarely, and never waits for it', async () => {
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
      { timeout: 5_000, interval: 50 },
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
      { timeout: 5_000, interval: 50 },
    );
  });

  it('starts with a true state, and stops with the signal', async () => {
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
