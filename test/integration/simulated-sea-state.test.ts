import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isClose, measureSimulatedClip } from '../../scripts/sea-state/measure.ts';
import { createSeas } from '../../scripts/sea-state/seas.ts';
import { DrawingProcess } from '../../src/camera/simulated/drawing-process.ts';
import type { Conditions } from '../../src/camera/simulated/scene.ts';

/** The short form of `npm run check:sea`. */
describe('the wave period of simulated seas, from their images to the estimate', () => {
  const drawing = new DrawingProcess();
  const clip = { durationS: 200, fps: 1, widthPx: 160 };
  const swells = [{ heightM: 1, periodS: 10 }];
  beforeAll(() => drawing.join());
  afterAll(() => drawing.leave());

  it('is close to the truth', async () => {
    const found: string[] = [];
    // One train without sway, one with it, two trains.
    for (const index of [4, 16, 13]) {
      const { seed, conditions } = createSeas(20, 1000)[index] ?? { seed: 0, conditions: {} };
      const steps = [{ fromS: 0, conditions }];
      const { estimate, truth } = await measureSimulatedClip({ ...clip, seed, steps }, drawing);
      const [periodS, truthS] = [estimate.period?.peakS ?? 0, truth?.periodS ?? 0];
      found.push(`${periodS.toFixed(1)} s of ${truthS.toFixed(1)} s ${estimate.reasons.join()}`);
      expect([found.at(-1), isClose(periodS, truthS)]).toEqual([found.at(-1), true]);
    }
    console.log(found.join(', '));
  }, 120_000);

  it.each<[string, string, readonly { fromS: number; conditions: Conditions }[]]>([
    ['a flat sea', 'no_water|no_peak|incoherent', [{ fromS: 0, conditions: { swells: [] } }]],
    ['night', 'dark', [{ fromS: 0, conditions: { swells, night: true } }]],
    ['fog', 'fog', [{ fromS: 0, conditions: { swells, fog01: 1 } }]],
    [
      'a moved camera',
      'view_changed',
      [
        { fromS: 0, conditions: { swells } },
        { fromS: 80, conditions: { swells, move: { panPx: 12, tiltPx: -8, zoom: 1 } } },
      ],
    ],
    ['a stopped camera', 'frozen', [{ fromS: 0, conditions: { swells, frozen: true } }]],
    ['reversed time', 'seaward', [{ fromS: 0, conditions: { swells, reversed: true } }]],
    ['lost images', 'gaps', [{ fromS: 0, conditions: { swells, dropped01: 0.4 } }]],
  ])(
    'is refused for %s',
    async (_what, reason, steps) => {
      const { estimate } = await measureSimulatedClip({ ...clip, seed: 5, steps }, drawing);
      expect(estimate.period).toBeNull();
      expect(estimate.reasons.join()).toMatch(new RegExp(`^(${reason})$`));
    },
    60_000,
  );
});
