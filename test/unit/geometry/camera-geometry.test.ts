import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadGeometry } from '../../../src/geometry/camera-geometry.ts';

const dir = mkdtempSync(join(tmpdir(), 'swellsight-geometry-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, content: object): string => {
  writeFileSync(join(dir, name), JSON.stringify(content));
  return join(dir, name);
};
const SIZE = { width: 1280, height: 720 };
const POSE = {
  schema: 'swellsight.pose/1',
  ...{ position_m: [0, 0, 12], azimuth_deg: 0, tilt_deg: 0, roll_deg: 0 },
  lens: { camera_matrix: [[1000, 0, 640], [0, 1000, 360], [0, 0, 1]] }, // prettier-ignore
  image: SIZE,
  ...{ residual_px: { rms: 1, max: 2 }, ambiguous: false, points: [] },
};
const M2 = [{ name: 'M2', amplitude: 1.2, phase: 0 }];

describe('loadGeometry', () => {
  it('sees the same water by the row of the horizon and by tilt and field of view', async () => {
    // 50 degrees over 1280 pixels: the horizon is 5 degrees, or 120 pixels, above the middle.
    const focal = 640 / Math.tan((25 * Math.PI) / 180);
    const horizonRow = 0.5 - (focal * Math.tan((5 * Math.PI) / 180)) / 720;
    const byRow = await loadGeometry({ cameraHeightM: 10, horizonRow, fovDeg: 50 });
    const byTilt = await loadGeometry({ cameraHeightM: 10, tiltDeg: 5, fovDeg: 50 });
    for (const pixel of [
      [640, 400],
      [200, 600],
    ] as const) {
      const [a, b] = [byRow, byTilt].map((geometry) => geometry.viewIn(SIZE).pointAtLevel(pixel, 0));
      expect(a?.[1]).toBeCloseTo(b?.[1] ?? NaN, 3);
    }
    expect(byRow.horizon01).toBeCloseTo(horizonRow, 2);
  });

  it('uses a pose in frames of any size of the same shape, and refuses others', async () => {
    const geometry = await loadGeometry({ pose: file('pose.json', POSE) });
    const [large, small] = [
      geometry.viewIn(SIZE).pointAtLevel([700, 460], 0),
      geometry.viewIn({ width: 640, height: 360 }).pointAtLevel([350, 230], 0),
    ];
    expect(large?.[1]).toBeCloseTo(120, 5);
    expect(small?.[1]).toBeCloseTo(120, 5);
    expect(geometry.horizon01).toBeCloseTo(0.5, 2);
    expect(() => geometry.viewIn({ width: 1280, height: 960 })).toThrow('the pose is for images of 1280x720');
  });

  it('knows the level of the water from a fixed offset, constituents, or a station', async () => {
    const at = Date.UTC(2026, 5, 1);
    const place = { cameraHeightM: 10, horizonRow: 0.4 };
    const levels = async (tide: object): Promise<number | null> =>
      (await loadGeometry({ ...place, tide })).levelAt(at);
    expect((await loadGeometry(place)).levelAt(at)).toBeNull();
    expect(await levels({ offsetM: 0.3 })).toBe(0.3);
    const predicted = await levels({ constituents: M2 });
    expect(Math.abs(predicted ?? 99)).toBeLessThan(1.3);
    const station = file('station.json', { harmonic_constituents: M2 });
    expect(await levels({ station, offsetM: 1 })).toBeCloseTo((predicted ?? 99) + 1, 6);
  });

  it('does not know a predicted level while the clock is not set', async () => {
    const place = { cameraHeightM: 10, horizonRow: 0.4 };
    expect((await loadGeometry({ ...place, tide: { constituents: M2 } })).levelAt(null)).toBeNull();
    expect((await loadGeometry({ ...place, tide: { offsetM: 1 } })).levelAt(null)).toBe(1);
  });

  it.each([
    ['a pose that is not there', { pose: join(dir, 'none.json') }, 'pose_unusable'],
    [
      'a pose without the size of its image',
      { pose: file('no-size.json', { ...POSE, image: null }) },
      'pose_unusable',
    ],
    ['another file as pose', { pose: file('other.json', {}) }, 'pose_unusable'],
    [
      'a station that is not there',
      { cameraHeightM: 9, horizonRow: 0.4, tide: { station: join(dir, 'none') } },
      'tide_invalid',
    ],
    [
      'an unknown constituent',
      { cameraHeightM: 9, horizonRow: 0.4, tide: { constituents: [{ name: 'Q', amplitude: 1, phase: 0 }] } },
      'tide_invalid',
    ],
  ])('rejects %s', async (_, settings, code) => {
    await expect(loadGeometry(settings)).rejects.toMatchObject({ code });
  });
});
