import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SiteCalibration } from '../../../src/calibration/site-calibration.ts';
import { importCalibration } from '../../../src/calibration/document.ts';
import { formatCalibrateReport } from '../../../src/cli/calibrate/report.ts';
import { calibrateFiles, type CalibrateOptions } from '../../../src/cli/calibrate/command.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import { VisionProcess } from '../../../src/vision/vision-process.ts';
import { factoryBundleDir } from '../../fixtures/bundles.ts';
import { surfcamDir } from '../../fixtures/surfcam.ts';

const frames = surfcamDir();

describe.skipIf(frames === null)('calibrate on real frames (needs the real beach frames)', () => {
  const surfcam = frames ?? '';
  let bundle: Bundle;
  let vision: VisionProcess;
  let scratch: string;

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'calibrate-'));
    bundle = await openBundle(factoryBundleDir);
    vision = new VisionProcess(
      { bundle, plan: { provider: 'cpu', threads: 1 }, timeoutS: 30, maxRssMb: 400, queueMax: 4 },
      { clock: systemClock, log: createLog('silent'), onEvent: () => undefined },
    );
    await vision.start(AbortSignal.timeout(60_000));
  });
  afterAll(async () => {
    await vision.close();
    await rm(scratch, { recursive: true, force: true });
  });

  const calibrate = (options: Partial<CalibrateOptions>) =>
    calibrateFiles(
      {
        dir: surfcam,
        labels: join(surfcam, 'labels.csv'),
        camera: null,
        out: null,
        framesPerBurst: 3,
        ignoreGate: true,
        sessionHours: 6,
        holdOut: 'group',
        ...options,
      },
      {
        vision,
        model: { name: bundle.manifest.name, version: bundle.manifest.version, digest: bundle.digest },
        embeddingDigest: bundle.embeddingDigest ?? '',
        nowMs: () => Date.UTC(2026, 0, 1),
        signal: AbortSignal.timeout(120_000),
      },
    );

  it(
    'reproduces the published errors on camera A, and its document gives heights',
    { timeout: 120_000 },
    async () => {
      const out = join(scratch, 'A.json');
      const report = await calibrate({ camera: 'A', framesPerBurst: null, out });
      console.log(formatCalibrateReport(report).join('\n'));
      const [a] = report.cameras;
      expect(a).toMatchObject({
        bursts: 12,
        groups: 12,
        frames_used: 240,
        frames_gated: 20,
        faults: [],
      });
      expect(a?.held_out?.ridge.mae_m).toBeGreaterThan(0.2);
      expect(a?.held_out?.ridge.mae_m).toBeLessThan(0.236);
      expect(a?.held_out?.median.mae_m).toBeCloseTo(0.2417, 3);
      expect(a?.held_out?.ridge.interval_coverage).toBeGreaterThanOrEqual(0.75);
      expect(a?.held_out?.ridge.interval_half_width_m).toBeLessThan(0.5);
      // The evaluation and the calibration itself must find the same errors for ridge regression.
      expect(a?.calibration.loo_mae_m).toBeCloseTo(a?.held_out?.ridge.mae_m ?? NaN, 3);

      const { bursts } = importCalibration(JSON.parse(await readFile(out, 'utf8')), {
        embeddingDigest: bundle.embeddingDigest ?? '',
        camera: 'A',
      });
      const calibration = new SiteCalibration({
        camera: 'A',
        embeddingDigest: bundle.embeddingDigest ?? '',
        sessionHours: 6,
      });
      expect((await calibration.fit(bursts)).summary).toMatchObject({ labels: 12, labels_wanted: 0 });
      const frame = await vision.analyze(await readFile(join(surfcam, 'frames', 'beach_262.jpg')), {
        roi: null,
        privacyMasks: [],
      });
      const estimate = calibration.estimate(frame.heads?.embedding ?? new Float32Array(0), frame.view);
      expect(estimate).toMatchObject({ basis: 'site_calibrated', coverage: 0.8, summary: { view: 'same' } });
      expect(estimate.heightM).toBeGreaterThan(0.6);
      expect(estimate.lowM! < 1 && estimate.highM! > 1).toBe(true);
    },
  );

  it('uses the median on cameras with fewer than eight bursts', { timeout: 120_000 }, async () => {
    const report = await calibrate({ framesPerBurst: 1 });
    console.log(formatCalibrateReport(report).join('\n'));
    const [, b, c] = report.cameras;
    expect(b).toMatchObject({ camera: 'B', bursts: 6, groups: 3, basis: 'site_median' });
    expect(c).toMatchObject({ camera: 'C', bursts: 5, groups: 5, basis: 'site_median' });
    expect([b?.calibration.labels_wanted, c?.calibration.labels_wanted]).toEqual([5, 3]);
    expect(c?.held_out?.rule).toEqual(c?.held_out?.median);
  });

  it('reports files that are missing, damaged or rejected, and continues with the rest', async () => {
    await writeFile(
      join(scratch, 'torn.jpg'),
      (await readFile(join(surfcam, 'frames', 'beach_061.jpg'))).subarray(0, 9000),
    );
    await writeFile(join(scratch, 'empty.jpg'), '');
    const at = (name: string) => join(surfcam, 'frames', name);
    const labels = join(scratch, 'labels.csv');
    await writeFile(
      labels,
      [
        'height_m,file,note',
        '0.4,none.jpg,"gone, long ago"',
        '0.4,torn.jpg,',
        '0.4,empty.jpg,',
        `0.6,${at('beach_061.jpg')},`,
        `0.4,${at('beach_001.jpg')},glare`,
        'high,x.jpg,',
      ].join('\n'),
    );
    const report = await calibrate({ dir: scratch, labels, ignoreGate: false });
    expect(report.rows_refused).toEqual([{ line: 7, why: 'height_m is not a height: high' }]);
    expect(report.cameras[0]).toMatchObject({ bursts: 1, held_out: null, basis: 'site_median' });
    expect(report.cameras[0]?.faults.map(({ file }) => file.replace(/.*\//, ''))).toEqual([
      'none.jpg',
      'torn.jpg',
      'empty.jpg',
      'beach_001.jpg',
    ]);
    expect(formatCalibrateReport(report).join('\n')).toContain('none.jpg: missing');
  });

  it.each([
    ['a missing labels file', { labels: '/nowhere/labels.csv' }],
    ['a camera without labels', { camera: 'Z' }],
    ['one document for several cameras', { out: '/nowhere/all.json' }],
  ])('rejects %s before it reads a frame', async (_, options) => {
    await expect(calibrate(options)).rejects.toMatchObject({ code: 'usage' });
  });
});
