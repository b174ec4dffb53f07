import { describe, expect, it } from 'vitest';
import type { ScheduleSettings } from '../../../src/config/schema.ts';
import type { CaptureSlowdown } from '../../../src/health/types.ts';
import { createSchedule } from '../../../src/schedule/schedule.ts';
import { FakeClock } from '../../fixtures/fake-clock.ts';
import { slotsOf } from '../../fixtures/schedule-slots.ts';

const START = Date.parse('2026-05-01T12:00:00Z');
const NONE: CaptureSlowdown = { factor: 1, reason: null };

/** One character for each slot: `o` observed, `h` left out for heat, `p` for low power, `x` overlap. */
async function run(
  schedule: ScheduleSettings,
  spanS: number,
  slowdownAt: (second: number) => CaptureSlowdown,
  workMs?: (index: number) => number,
): Promise<string> {
  const clock = new FakeClock(START);
  const slowdown = (): CaptureSlowdown => slowdownAt(clock.monoMs() / 1000);
  const made = createSchedule({ schedule, location: null, seedId: 'a' }, { clock, slowdown });
  const slots = await slotsOf(made, clock, spanS * 1000, workMs);
  const letter = { heat: 'h', low_power: 'p', overlap: 'x', late: 'l', clock_step: 's' };
  return slots.map(({ skipped }) => (skipped === null ? 'o' : letter[skipped])).join('');
}

describe('a schedule under heat or low power', () => {
  it('observes every slot without a slowdown', async () => {
    expect(await run({ everyS: 10 }, 60, () => NONE)).toBe('ooooooo');
  });

  it('observes the last of each n slots, and gives a reason for each slot that is left out', async () => {
    expect(await run({ everyS: 10 }, 120, () => ({ factor: 4, reason: 'heat' }))).toBe('hhhohhhohhhoh');
    expect(await run({ everyS: 10 }, 50, () => ({ factor: 2, reason: 'low_power' }))).toBe('popopo');
  });

  it('follows a slowdown that changes', async () => {
    const slowdown = (second: number): CaptureSlowdown =>
      second >= 20 && second < 60 ? { factor: 3, reason: 'heat' } : NONE;
    expect(await run({ everyS: 10 }, 90, slowdown)).toBe('oohhohoooo');
  });

  it('still reports overlaps, which are not counted as left out', async () => {
    const slow = (): CaptureSlowdown => ({ factor: 2, reason: 'heat' });
    expect(await run({ everyS: 10 }, 80, slow, () => 15_000)).toBe('hoxhoxho');
  });

  it('never leaves out slots of a cron pattern', async () => {
    const slow = (): CaptureSlowdown => ({ factor: 8, reason: 'heat' });
    expect(await run({ cron: '* * * * *' }, 300, slow)).toBe('ooooo');
  });
});
