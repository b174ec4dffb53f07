import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { AnalysisResult, BatchResult } from '../../../src/contract/analysis.ts';
import type { AnalysisCache } from '../../../src/store/types.ts';
import { makeAnalyzing } from '../../fixtures/analyzing.ts';
import {
  exifThumbnail,
  multiPicture,
  ultraHdr,
  withSegments,
} from '../../fixtures/camera-zoo/attached-jpegs.ts';
import { form, image, post } from '../../fixtures/form.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';
import { burst } from '../../fixtures/labelled.ts';
import { analyzeOnce } from '../../fixtures/lease.ts';
import { surfcamDir } from '../../fixtures/surfcam.ts';

const ANALYZE = '/api/v1/analyze';
const BATCH = `${ANALYZE}/batch`;

const ajv = new Ajv({ strict: false, formats: fullFormats });
const checkResult = ajv.compile(AnalysisResult);
const checkBatch = ajv.compile(BatchResult);

async function ask(
  port: number,
  bytes: Uint8Array,
  query = '',
  filename = 'wave.jpg',
): Promise<AnalysisResult> {
  const { status, json } = await post(port, `${ANALYZE}${query}`, form([image(bytes, 'file', filename)]));
  expect([status, checkResult(json) || checkResult.errors]).toEqual([200, true]);
  return json as AnalysisResult;
}

const dark = () =>
  sharp({ create: { width: 320, height: 180, channels: 3, background: '#000' } })
    .png()
    .toBuffer();

describe('uploaded images', () => {
  it('are read by content, not by name, and have no height without a calibration', async () => {
    const { port, serving } = await makeAnalyzing();
    const original = sharp(await jpegOf(2, { width: 320, height: 180 }));
    for (const bytes of await Promise.all([
      original.clone().jpeg().toBuffer(),
      original.clone().png().toBuffer(),
      original.clone().webp().toBuffer(),
    ])) {
      const result = await ask(port, bytes, '', 'wave.tiff');
      expect(result).toMatchObject({
        status: 'measured',
        reasons: ['uncalibrated'],
        wave_height_meters: null,
        wave_height_feet: null,
        interval: null,
        height_basis: null,
        extreme_conditions: null,
        model: serving.model,
        provider: 'cpu',
        cached: false,
        camera: null,
      });
      expect(result.processing_time_seconds).toBeGreaterThan(0);
    }
  });

  it('give the result of their primary image, whatever is attached to it', async () => {
    const { port } = await makeAnalyzing();
    const primary = await jpegOf(2, { width: 320, height: 180 });
    const [same, preview] = [await jpegOf(5, { width: 320, height: 180 }), await jpegOf(5)];
    const { wave_height_meters, quality, status } = await ask(port, primary);
    for (const bytes of [
      withSegments(primary, exifThumbnail(preview)),
      multiPicture(primary, [same, preview]),
      ultraHdr(primary, preview),
      ultraHdr(primary, same),
      Buffer.concat([primary, same]),
    ])
      expect(await ask(port, bytes)).toMatchObject({ wave_height_meters, quality, status });
  });

  it('are refused without their end marker', async () => {
    const { port } = await makeAnalyzing();
    const bytes = (await jpegOf(2, { width: 320, height: 180 })).subarray(0, -2);
    const { status, json } = await post(port, ANALYZE, form([image(bytes)]));
    expect([status, json['code']]).toEqual([400, 'image_corrupt']);
  });

  it('are rejected with nulls by the quality gate, and with an error only when strict', async () => {
    const { port } = await makeAnalyzing();
    expect(await ask(port, await dark())).toMatchObject({
      status: 'rejected',
      reasons: ['dark'],
      wave_height_meters: null,
      confidence_scores: { height: null, direction: null, breaking: null, overall: null },
      quality: { dark: 1 },
    });
    for (const query of ['?strict', '?strict=true']) {
      const { status, json } = await post(port, `${ANALYZE}${query}`, form([image(await dark())]));
      expect([status, json['code'], json['detail']]).toEqual([
        422,
        'image_rejected',
        'the image is refused: dark',
      ]);
    }
    expect((await ask(port, await dark(), '?strict=false')).status).toBe('rejected');
    const sound = image(await jpegOf(2, { width: 320, height: 180 }), 'files');
    const { json } = await post(port, `${BATCH}?strict`, form([image(await dark(), 'files'), sound]));
    expect(checkBatch(json) || checkBatch.errors).toBe(true);
    expect(json).toMatchObject({
      results: [
        { ok: false, error: { status: 422 } },
        { ok: true, result: { status: 'measured' } },
      ],
      successful_analyses: 1,
      failed_analyses: 1,
    });
  });

  it('get a height from the calibration of the named camera, and do not affect its view check', async () => {
    const { port, serving, calibration } = await makeAnalyzing();
    const frame = await jpegOf(2, { width: 320, height: 180 });
    const { heads, view } = await analyzeOnce(serving, frame, { roi: null, privacyMasks: [] });
    calibration.fitNow(
      [1, 1.2, 1.4].map((heightM, i) => burst(`b${i}`, heightM, heads?.embedding ?? [], { view })),
    );
    const before = calibration.summary();
    const result = await ask(port, frame, '?camera=north');
    expect(result).toMatchObject({
      status: 'measured',
      reasons: [],
      wave_height_meters: 1.2,
      wave_height_feet: 3.94,
      height_basis: 'site_median',
      extreme_conditions: false,
      camera: 'north',
    });
    expect(result.interval?.low_meters).toBeLessThan(1.2);
    expect(result.interval?.high_meters).toBeGreaterThan(1.2);
    const elsewhere = await sharp(await jpegOf(9, { width: 320, height: 180 }))
      .flip()
      .modulate({ brightness: 0.6 })
      .jpeg()
      .toBuffer();
    await ask(port, elsewhere, '?camera=north');
    expect([calibration.summary(), calibration.lastViewCheck()]).toEqual([before, null]);
    const { status, json } = await post(port, `${ANALYZE}?camera=south`, form([image(frame)]));
    expect([status, json['code']]).toEqual([404, 'camera_unknown']);
  });

  it('are cached for their conditions, and analyzed once when sent several times at once', async () => {
    const kept = new Map<string, string>();
    const cache: AnalysisCache = {
      get: (key) => kept.get(key) ?? null,
      put: (key, json) => void kept.set(key, json),
      stats: () => ({ hits: 0, misses: 0, entries: kept.size, sizeBytes: 0 }),
    };
    let frames = 0;
    const { port, calibration, serving, camera } = await makeAnalyzing({
      cache,
      onFrame: () => (frames += 1),
    });
    const frame = await jpegOf(2, { width: 320, height: 180 });
    const together = await Promise.all(Array.from({ length: 6 }, () => ask(port, frame)));
    expect([frames, together.filter(({ cached }) => cached).length]).toEqual([1, 5]);
    const [first] = together.filter(({ cached }) => !cached);
    const again = await ask(port, frame);
    expect(again).toEqual({ ...first, cached: true, processing_time_seconds: again.processing_time_seconds });
    expect(again.processing_time_seconds).not.toBe(first?.processing_time_seconds);
    expect(frames).toBe(1);

    // Rejected images are cached too; `strict` is applied to the cached result.
    await ask(port, await dark());
    expect((await post(port, `${ANALYZE}?strict`, form([image(await dark())]))).status).toBe(422);
    expect(frames).toBe(2);

    expect((await ask(port, frame, '?camera=north')).cached).toBe(false);
    expect((await ask(port, frame, '?camera=north')).cached).toBe(true);
    const { heads, view } = await analyzeOnce(serving, frame, { roi: null, privacyMasks: [] });
    calibration.fitNow([burst('b', 1, heads?.embedding ?? [], { view })]);
    expect(await ask(port, frame, '?camera=north')).toMatchObject({ cached: false, wave_height_meters: 1 });
    // A second fit of the same labels is the same calibration.
    calibration.fitNow([burst('b', 1, heads?.embedding ?? [], { view })]);
    expect((await ask(port, frame, '?camera=north')).cached).toBe(true);
    camera.privacyMasks = [
      [
        [0, 0],
        [0.2, 0],
        [0.2, 0.2],
      ],
    ];
    expect((await ask(port, frame, '?camera=north')).cached).toBe(false);
    expect((await ask(port, frame)).cached).toBe(true);
  });

  it('are still analyzed for the second client when the first one has disconnected', async () => {
    const { analysis } = await makeAnalyzing();
    const [frame, ...others] = await Promise.all(
      [2, 3, 4].map((seed) => jpegOf(seed, { width: 1280, height: 720 })),
    );
    const never = new AbortController().signal;
    // These go first.
    const before = others.map((one) => analysis.analyze(one, {}, never));
    const leaving = new AbortController();
    const first = analysis.analyze(frame!, {}, leaving.signal);
    const second = analysis.analyze(frame!, {}, never);
    leaving.abort();
    await expect(first).rejects.toMatchObject({ name: 'AbortError' });
    expect(await second).toMatchObject({ status: 'measured', cached: false });
    await Promise.all(before);
  });

  it('are not analyzed again when the client disconnects during the analysis', async () => {
    let frames = 0;
    const { analysis } = await makeAnalyzing({ onFrame: () => (frames += 1) });
    const frame = await jpegOf(2, { width: 1280, height: 720 });
    const leaving = new AbortController();
    const first = analysis.analyze(frame, {}, leaving.signal);
    const second = analysis.analyze(frame, {}, new AbortController().signal);
    leaving.abort();
    expect((await second).cached).toBe(true);
    expect((await first).status).toBe('measured');
    expect(frames).toBe(1);
  });

  const frames = surfcamDir();
  it.skipIf(frames === null)(
    'of a real beach in full size are measured (needs SWELLSIGHT_SURFCAM)',
    async () => {
      const { port } = await makeAnalyzing();
      const dir = join(frames ?? '', 'full');
      const { readdirSync } = await import('node:fs');
      const names = readdirSync(dir)
        .filter((name) => /\.jpe?g$/i.test(name))
        .slice(0, 3);
      const body = form(names.map((name) => image(readFileSync(join(dir, name)), 'files', name)));
      const { json } = await post(port, BATCH, body);
      expect(checkBatch(json) || checkBatch.errors).toBe(true);
      expect(json).toMatchObject({ total_images: names.length, failed_analyses: 0 });
      expect((json as BatchResult).results.map(({ filename }) => filename)).toEqual(names);
    },
  );
});
