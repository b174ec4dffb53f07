import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { runNow } from '../../src/calibration/steps.ts';
import { buildViewReference, checkView } from '../../src/calibration/view/check-view.ts';
import { encodeJpeg, SeaPainter } from '../../src/camera/simulated/sea-painter.ts';
import { sceneAt, type Conditions } from '../../src/camera/simulated/scene.ts';
import { judgeQuality, measureQuality } from '../../src/vision/child/quality.ts';
import { viewSignature } from '../../src/vision/child/analyze.ts';

const painter = new SeaPainter(1);

/** Smaller than the camera's size `FULL`, to save time. The quality gate gives the same result. */
const SMALL = { widthPx: 800, heightPx: 450 };
const FULL = { widthPx: 1280, heightPx: 720 };

async function analyzeScene(day: number, conditions: Conditions = {}, size = SMALL) {
  const scene = sceneAt({ seed: 1, seaTimeS: day * 86_400, motionS: day * 7, conditions, ...size });
  const rgb = await sharp(encodeJpeg(painter.paint(scene)))
    .resize(512, 288, { fit: 'fill' })
    .raw()
    .toBuffer();
  const { signals, luma } = measureQuality({ rgb, masked: null, brokenBytes01: 0 });
  return { quality: judgeQuality(signals), view: viewSignature(luma) };
}

describe('SimulatedCamera with the quality gate and the view check', () => {
  it('passes in fair weather as one view, and shows a changed view after a move', async () => {
    const fair = [];
    for (let day = 0; day < 10; day += 1) fair.push(await analyzeScene(day, {}, day === 9 ? FULL : SMALL));
    expect(fair.flatMap(({ quality }) => quality.reasons)).toEqual([]);

    const views = fair.map(({ view }) => view);
    const reference = runNow(buildViewReference(views.slice(0, 7), true));
    expect(views.slice(7).map((view) => checkView(reference, view).state)).toEqual(['same', 'same', 'same']);
    const moved: string[] = [];
    for (const day of [10, 11, 12]) {
      const { quality, view } = await analyzeScene(day, { move: { panPx: -25, tiltPx: 15, zoom: 1 } });
      expect(quality.reasons).toEqual([]);
      moved.push(checkView(reference, view).state);
    }
    // One of the images may contain too much foam for a verdict.
    expect(moved).not.toContain('same');
    expect(moved.filter((state) => state === 'changed').length).toBeGreaterThanOrEqual(2);
  }, 240_000);

  it.each([
    ['dark', { night: true }],
    ['fog', { fog01: 1 }],
    ['glare', { glare: true }],
    ['obstructed', { obstructed01: 0.4 }],
  ] as const)('is rejected as %s', async (reason, conditions) => {
    expect((await analyzeScene(2, conditions)).quality.reasons).toEqual([reason]);
  });

  it('has a lower score with rain on the lens', async () => {
    const dry = (await analyzeScene(3)).quality.score01;
    expect((await analyzeScene(3, { rain01: 1 })).quality.score01).toBeLessThan(Math.min(0.6, dry - 0.3));
  });
});
