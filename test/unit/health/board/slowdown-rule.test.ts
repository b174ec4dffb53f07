import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SlowdownRule, type BoardStress } from '../../../../src/health/board/slowdown-rule.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;

/** The factors over time, sampled every five seconds: one entry for each change. */
function changes(phases: readonly (readonly [BoardStress, minutes: number])[], maxFactor = 8) {
  const rule = new SlowdownRule();
  const seen: string[] = [];
  let monoMs = 0;
  for (const [stress, minutes] of phases) {
    const endMs = monoMs + minutes * MINUTE_MS;
    for (; monoMs < endMs; monoMs += 5 * SECOND_MS) {
      const { factor, reason } = rule.update(stress, maxFactor, monoMs);
      const text = `${String(factor)} ${reason ?? '-'}`;
      if (seen.at(-1)?.endsWith(` ${text}`) !== true) seen.push(`${String(monoMs / MINUTE_MS)} min: ${text}`);
    }
  }
  return seen;
}

describe('SlowdownRule', () => {
  it('doubles at once and every two minutes, up to the limit, and halves after every five minutes of calm', () => {
    expect(
      changes([
        ['calm', 1],
        ['heat', 10],
        ['calm', 20],
      ]),
    ).toEqual([
      '0 min: 1 -',
      '1 min: 2 heat',
      '3 min: 4 heat',
      '5 min: 8 heat',
      '16 min: 4 heat',
      '21 min: 2 heat',
      '26 min: 1 -',
    ]);
  });

  it('stays as it is between stress and calm, and counts calm time from its last beginning', () => {
    expect(
      changes([
        ['low_power', 1],
        ['warm', 30],
        ['calm', 4],
        ['warm', 1],
        ['calm', 6],
      ]),
    ).toEqual(['0 min: 2 low_power', '41 min: 1 -']);
  });

  it('gives the present reason', () => {
    expect(
      changes([
        ['low_power', 1],
        ['heat', 0.5],
      ]),
    ).toEqual(['0 min: 2 low_power', '1 min: 2 heat']);
  });

  it('never slows down with a limit of 1, and obeys a limit that is lowered', () => {
    expect(changes([['heat', 30]], 1)).toEqual(['0 min: 1 -']);
    const rule = new SlowdownRule();
    for (let minute = 0; minute < 10; minute += 1) rule.update('heat', 8, minute * MINUTE_MS);
    expect(rule.update('warm', 2, 10 * MINUTE_MS)).toEqual({ factor: 2, reason: 'heat' });
    expect(rule.update('warm', 1, 11 * MINUTE_MS)).toEqual({ factor: 1, reason: null });
  });

  it('keeps the factor within 1 and the limit, and a reason exactly when it is above 1', () => {
    const stress = fc.constantFrom<BoardStress>('heat', 'low_power', 'warm', 'calm');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(stress, fc.integer({ min: 1, max: 400 })), { maxLength: 60 }),
        fc.integer({ min: 1, max: 64 }),
        (steps, maxFactor) => {
          const rule = new SlowdownRule();
          let monoMs = 0;
          for (const [sample, seconds] of steps) {
            monoMs += seconds * SECOND_MS;
            const { factor, reason } = rule.update(sample, maxFactor, monoMs);
            expect(Number.isInteger(factor)).toBe(true);
            expect(factor).toBeGreaterThanOrEqual(1);
            expect(factor).toBeLessThanOrEqual(maxFactor);
            expect(reason === null).toBe(factor === 1);
          }
        },
      ),
    );
  });
});
