import { describe, expect, it } from 'vitest';
import { runWritten, whyNotMeasurable } from '../../../scripts/bench/written.ts';

const reason = whyNotMeasurable();

describe.skipIf(reason !== null)(
  `the bytes written to the disk${reason === null ? '' : ` (${reason})`}`,
  () => {
    it('stay within the budget for each observation', async () => {
      const { observations, parts } = await runWritten(0, 80);
      const kB = (bytes: number): number => bytes / 1024 / observations;
      expect(observations).toBe(80);
      expect(kB(parts.log)).toBeLessThan(26);
      expect(kB(parts.database)).toBeLessThan(11);
      // A new camera stores images more often at first; later it is 2.5.
      expect(kB(parts.images)).toBeLessThan(5);
      expect(kB(parts.other)).toBeLessThan(1);
    });
  },
);
