import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { ClipSamples } from '../../../src/sea-state/resample.ts';
import { SeaStateProcess } from '../../../src/sea-state/process/sea-state-process.ts';
import { descendants } from '../../fixtures/capture.ts';
import { randomSea } from '../../fixtures/random-sea.ts';

const signal = new AbortController().signal;
const seaOf = (periodS: number): ClipSamples => {
  const { samples, rateHz, ...sea } = randomSea({ trains: [{ periodS, amount: 1 }], durationS: 300 });
  const findings = { faults: [], hasMoved: false, isRegistered: true };
  const timesS = Float64Array.from({ length: samples }, (_, at) => at / rateHz);
  return { ...sea, wantedHz: rateHz, timesS, findings };
};
const wavesProcesses = (): readonly number[] => descendants('sea-state/process/child');

describe('SeaStateProcess', () => {
  it('measures and draws a clip, and leaves no process', async () => {
    const seaStates = new SeaStateProcess({ clock: systemClock, niceness: 0 });
    const { estimate, stack, cpuMs } = await seaStates.measure(seaOf(10), null, signal);
    expect(Math.abs((estimate.period?.peakS ?? 0) - 10)).toBeLessThan(1);
    expect(stack.values).toHaveLength(stack.rows * stack.samples);
    expect(cpuMs).toBeGreaterThan(0);
    const { period, spectrum } = estimate;
    const data = { title: 'north', caption: 'a & b', fromS: 0, stack, period, spectrum };
    for (const figure of ['timestack', 'spectrum'] as const) {
      const png = Buffer.from(await seaStates.draw(figure, data, signal));
      expect(png.subarray(1, 4).toString()).toBe('PNG');
    }
    expect(wavesProcesses()).toEqual([]);
  });

  it('reports a crash as internal, and serves the next clip', async () => {
    const seaStates = new SeaStateProcess({ clock: systemClock, niceness: 0 });
    const crashed = seaStates.measure(seaOf(10), null, signal);
    const next = seaStates.measure(seaOf(7), null, signal);
    while (wavesProcesses().length === 0) await systemClock.sleep(5, signal);
    for (const pid of wavesProcesses()) process.kill(pid, 'SIGKILL');
    await expect(crashed).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('SIGKILL') as string,
    });
    expect((await next).estimate.reasons).toEqual([]);
  });

  it('ends with its signal', async () => {
    const seaStates = new SeaStateProcess({ clock: systemClock, niceness: 0 });
    const stop = new AbortController();
    const measured = seaStates.measure(seaOf(10), null, stop.signal);
    while (wavesProcesses().length === 0) await systemClock.sleep(5, signal);
    stop.abort();
    await expect(measured).rejects.toMatchObject({ name: 'AbortError' });
    expect(wavesProcesses()).toEqual([]);
  });
});
