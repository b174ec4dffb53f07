import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { runNow } from '../../../src/calibration/steps.ts';
import {
  buildViewReference,
  checkView,
  type ViewReference,
} from '../../../src/calibration/view/check-view.ts';
import { parseLabels } from '../../../src/cli/calibrate/labels.ts';
import type { ViewSignature } from '../../../src/vision/protocol.ts';
import { everyFrame, surfcamDir } from '../../fixtures/surfcam.ts';

const frames = surfcamDir();

/** A window of a frame, shares of its sides: the view of a camera that is turned or zoomed. */
interface Window {
  readonly x: number;
  readonly y: number;
  readonly size: number;
}
const WHOLE: Window = { x: 0, y: 0, size: 1 };
const turned = (w: Window, byX: number, byY: number): Window => ({
  ...w,
  x: w.x + byX * w.size,
  y: w.y + byY * w.size,
});
const zoomed = (w: Window, by: number): Window => {
  const size = w.size / by;
  return { x: w.x + (w.size - size) / 2, y: w.y + (w.size - size) / 2, size };
};

describe.skipIf(frames === null)('view check on real frames (needs the real beach frames)', () => {
  const dir = join(frames ?? '', 'frames');
  const decoded = new Map<string, Promise<{ data: Buffer; width: number; height: number }>>();
  const decode = (file: string) => {
    const known =
      decoded.get(file) ??
      sharp(join(dir, file))
        .greyscale()
        .resize(800, 450, { fit: 'fill' })
        .raw()
        .toBuffer({ resolveWithObject: true })
        .then(({ data, info }) => ({ data, width: info.width, height: info.height }));
    decoded.set(file, known);
    return known;
  };
  const signatures = new Map<string, Promise<ViewSignature | null>>();
  /** Reads each window of each frame only once, because references and frames of other cameras are used often. */
  const signatureAt = (file: string, window: Window): Promise<ViewSignature | null> => {
    const key = [file, window.x, window.y, window.size].join();
    const known = signatures.get(key) ?? readSignature(file, window);
    signatures.set(key, known);
    return known;
  };
  async function readSignature(file: string, window: Window): Promise<ViewSignature | null> {
    const inside = [window.x, window.y, 1 - window.x - window.size, 1 - window.y - window.size];
    if (inside.some((margin) => margin < -1e-9)) return null;
    const { data, width, height } = await decode(file);
    const luma = new Uint8Array(160 * 90);
    for (let row = 0; row < 90; row += 1)
      for (let column = 0; column < 160; column += 1) {
        let sum = 0;
        // Nine samples per cell, interpolated between pixels.
        for (let s = 0; s < 9; s += 1) {
          const x = (window.x + ((column + ((s % 3) + 0.5) / 3) / 160) * window.size) * width - 0.5;
          const y = (window.y + ((row + (Math.floor(s / 3) + 0.5) / 3) / 90) * window.size) * height - 0.5;
          const [x0, y0] = [Math.max(0, Math.floor(x)), Math.max(0, Math.floor(y))];
          const [x1, y1] = [Math.min(x0 + 1, width - 1), Math.min(y0 + 1, height - 1)];
          const [fx, fy] = [Math.max(0, x - x0), Math.max(0, y - y0)];
          const top = data[y0 * width + x0]! * (1 - fx) + data[y0 * width + x1]! * fx;
          const low = data[y1 * width + x0]! * (1 - fx) + data[y1 * width + x1]! * fx;
          sum += top * (1 - fy) + low * fy;
        }
        luma[row * 160 + column] = Math.round(sum / 9);
      }
    return { luma, width: 160, height: 90 };
  }

  it(
    'distinguishes a moved or zoomed view from the same view at other times',
    { timeout: 180_000 },
    async () => {
      const { rows } = parseLabels(await readFile(join(frames ?? '', 'labels.csv'), 'utf8'));
      const filesOf = (camera: string) => {
        const bursts = new Map<string, string[]>();
        for (const row of rows)
          if (row.camera === camera) bursts.set(row.burst, [...(bursts.get(row.burst) ?? []), row.file]);
        return [...bursts.values()];
      };
      const table = new Map<string, { same: number; changed: number; unknown: number }>();
      const count = (name: string, reference: ViewReference | null, view: ViewSignature | null) => {
        if (view === null) return;
        const row = table.get(name) ?? { same: 0, changed: 0, unknown: 0 };
        row[checkView(reference, view).state] += 1;
        table.set(name, row);
      };
      for (const [camera, part] of [
        ['A', { x: 0.05, y: 0.22, size: 0.73 }],
        ['C', { x: 0.25, y: 0.25, size: 0.7 }],
      ] as const) {
        const bursts = filesOf(camera);
        const otherCameras = ['A', 'B', 'C']
          .filter((other) => other !== camera)
          .flatMap((other) => filesOf(other).map((f) => f[9] ?? f[0]!));
        for (const [index, files] of bursts.entries()) {
          if (!everyFrame && index % 3 > 0) continue;
          const others = bursts.filter((_, at) => at !== index).map((b) => b[10] ?? b[0]!);
          const referenceOf = async (window: Window) =>
            runNow(
              buildViewReference(
                (await Promise.all(others.map((file) => signatureAt(file, window)))).filter(
                  (v) => v !== null,
                ),
                true,
              ),
            );
          const whole = await referenceOf(WHOLE);
          const partial = await referenceOf(part);
          for (const file of [files[0]!, files[7] ?? files[1]!, files.at(-1)!]) {
            count(`${camera} same, other clip`, whole, await signatureAt(file, WHOLE));
            count(`${camera} same, part of the frame`, partial, await signatureAt(file, part));
          }
          for (const file of otherCameras)
            count(`${camera} other camera`, whole, await signatureAt(file, WHOLE));
          for (const by of [0.03, 0.05, 0.1, 0.2])
            for (const sign of [1, -1]) {
              count(
                `${camera} pan ${by * 100}%`,
                partial,
                await signatureAt(files[7]!, turned(part, sign * by, 0)),
              );
              count(
                `${camera} tilt ${by * 100}%`,
                partial,
                await signatureAt(files[7]!, turned(part, 0, sign * by)),
              );
            }
          for (const by of [0.9, 1.1, 1.2])
            count(`${camera} zoom ${by}`, partial, await signatureAt(files[7]!, zoomed(part, by)));
        }
      }
      console.log('view check                  same changed unknown');
      for (const [name, row] of table)
        console.log(
          `${name.padEnd(26)} ${String(row.same).padStart(5)} ${String(row.changed).padStart(7)} ${String(row.unknown).padStart(7)}`,
        );

      const total = (test: RegExp) =>
        [...table]
          .filter(([name]) => test.test(name))
          .reduce(
            (sum, [, row]) => ({
              same: sum.same + row.same,
              changed: sum.changed + row.changed,
              unknown: sum.unknown + row.unknown,
            }),
            { same: 0, changed: 0, unknown: 0 },
          );
      const share = (row: { same: number; changed: number; unknown: number }, key: keyof typeof row) =>
        row[key] / (row.same + row.changed + row.unknown);
      expect(total(/same, other clip/)).toMatchObject({ changed: 0 });
      expect(share(total(/same, other clip/), 'same')).toBeGreaterThan(0.9);
      expect(share(total(/same, part/), 'changed')).toBeLessThan(0.03);
      expect(total(/other camera/)).toMatchObject({ same: 0 });
      expect(share(total(/A other camera/), 'changed')).toBeGreaterThan(0.7);
      expect(share(total(/(pan|tilt) (5|10|20)%/), 'changed')).toBeGreaterThan(0.6);
      expect(share(total(/(pan|tilt) (5|10|20)%/), 'same')).toBeLessThan(0.04);
      expect(share(total(/zoom/), 'changed')).toBeGreaterThan(0.6);
      expect(share(total(/zoom/), 'same')).toBeLessThan(0.05);
    },
  );
});
