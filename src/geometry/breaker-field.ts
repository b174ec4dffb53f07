import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { BreakerHeight } from './breaker-height.ts';

type BreakerField = SeaStateRecord['breaker'];

/** The field `breaker` of a record: the height, or why there is none. */
export const breakerField = (
  height: BreakerHeight | NonNullable<BreakerField['reason']>,
  tide_m: number | null,
): BreakerField =>
  typeof height === 'string'
    ? { height_m: null, low_m: null, high_m: null, count: null, tide_m, reason: height }
    : {
        height_m: rounded(height.heightM),
        low_m: rounded(height.lowM),
        high_m: rounded(height.highM),
        count: height.count,
        tide_m,
        reason: null,
      };

const rounded = (value: number): number => Math.round(value * 100) / 100;
