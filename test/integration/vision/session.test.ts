import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import type { Polygon } from '../../../src/config/schema.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { findGoldenMismatches } from '../../../src/vision/child/golden.ts';
import { InProcessVision } from '../../../src/vision/in-process.ts';
import { openSession } from '../../../src/vision/child/session.ts';
import { bundleDir, factoryBundleDir, type BundleName } from '../../fixtures/bundles.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';
import { field, varint } from '../../fixtures/protobuf.ts';

const PLAN = { provider: 'cpu', threads: 1 };
const bundleOf = (name: BundleName): Promise<Bundle> => openBundle(bundleDir(name));
const solid = (width: number, height: number, background: string) =>
  sharp({ create: { width, height, channels: 3, background } });

/** A model file with one input `x` of float32 with these dimensions, and the output `y` with the same values. */
function identityModel(dims: readonly number[]): Buffer {
  const number = (tag: number, value: number): Buffer => Buffer.concat([varint(tag * 8), varint(value)]);
  const shape = field(2, ...dims.map((size) => field(1, number(1, size))));
  const value = (name: string): Buffer[] => [field(1, name), field(2, field(1, number(1, 1), shape))];
  const node = field(1, field(1, 'x'), field(2, 'y'), field(4, 'Identity'));
  const graph = field(7, node, field(2, 'g'), field(11, ...value('x')), field(12, ...value('y')));
  return Buffer.concat([number(1, 8), graph, field(8, field(1, ''), number(2, 13))]);
}

describe('openSession and findGoldenMismatches', () => {
  it.each([
    'heads',
    'depth',
    'input-bgr',
    'input-gray',
    'input-half',
    'input-cover',
    'input-contain',
  ] as const)('reproduce the golden outputs of the bundle %s', async (name) => {
    const bundle = await bundleOf(name);
    const session = await openSession(bundle, PLAN);
    expect(await findGoldenMismatches(session, bundle)).toEqual([]);
    await session.release();
  });

  it('reproduce the golden outputs of the shipped model', async () => {
    const bundle = await openBundle(factoryBundleDir);
    const session = await openSession(bundle, PLAN);
    expect(await findGoldenMismatches(session, bundle)).toEqual([]);
    await session.release();
  });

  it('report the outputs of a wrong model', async () => {
    const bundle = await bundleOf('wrong-golden');
    const session = await openSession(bundle, PLAN);
    const mismatches = await findGoldenMismatches(session, bundle);
    expect(mismatches[0]).toMatchObject({ image: 'golden/picture-1.png', output: 'analysis.height_m' });
    expect(mismatches[0]?.difference).toBeGreaterThan(mismatches[0]!.tolerance);
    await session.release();
  });

  it('reject a head with fewer labels than its output has values', async () => {
    const bundle = await bundleOf('heads');
    const { heads, golden } = bundle.manifest;
    const session = await openSession(bundle, PLAN);
    // Golden values may cover only the start of an output, so the manifest alone does not show the fault.
    const short = golden.map((one) => ({
      ...one,
      expect: { ...one.expect, 'analysis.direction': one.expect['analysis.direction']!.slice(0, 2) },
    }));
    const direction = { ...heads.wave_direction!, labels: ['LEFT', 'RIGHT'] };
    const changed = {
      ...bundle,
      manifest: { ...bundle.manifest, golden: short, heads: { ...heads, wave_direction: direction } },
    };
    await expect(findGoldenMismatches(session, changed)).rejects.toMatchObject({
      code: 'vision_output_invalid',
      message: 'output analysis.direction has 3 values, not 2',
    });
    await session.release();
  });

  it('reject labels in the wrong order if the golden images have expected labels', async () => {
    const bundle = await bundleOf('heads');
    const { heads, golden } = bundle.manifest;
    const session = await openSession(bundle, PLAN);
    const ordered = (labels: string[]): Bundle => ({
      ...bundle,
      manifest: {
        ...bundle.manifest,
        golden: golden.map((one, n) => ({ ...one, labels: { wave_direction: n === 0 ? 'RIGHT' : 'LEFT' } })),
        heads: { ...heads, wave_direction: { ...heads.wave_direction!, labels } },
      },
    });
    expect(await findGoldenMismatches(session, ordered(['LEFT', 'RIGHT', 'STRAIGHT']))).toEqual([]);
    await expect(findGoldenMismatches(session, ordered(['RIGHT', 'LEFT', 'STRAIGHT']))).rejects.toMatchObject(
      {
        code: 'model_golden_mismatch',
        message: 'wave_direction of golden/picture-1.png is LEFT, expected is RIGHT',
      },
    );
    await session.release();
  });

  it('reject NaN, which the runtime does not report', async () => {
    const bundle = await bundleOf('nan');
    const session = await openSession(bundle, PLAN);
    await expect(findGoldenMismatches(session, bundle)).rejects.toMatchObject({
      code: 'vision_output_invalid',
    });
    await session.release();
  });

  it('reject a manifest with an input, output or type that the model file does not have', async () => {
    const bundle = await bundleOf('heads');
    const [stage] = bundle.manifest.stages;
    const changed = (changes: object): Bundle => ({
      ...bundle,
      manifest: { ...bundle.manifest, stages: [{ ...stage!, ...changes }] },
    });
    for (const changes of [
      { outputs: ['no_such_output'] },
      { inputs: [{ ...stage!.inputs[0]!, name: 'no_such_input' }] },
      { inputs: [{ ...stage!.inputs[0]!, dtype: 'float32' }] },
    ]) {
      await expect(openSession(changed(changes), PLAN)).rejects.toMatchObject({
        code: 'model_manifest_invalid',
      });
    }
  });

  it.each([
    [
      'a batch of another size',
      [4, 3, 8, 8],
      { layout: 'NCHW', width: 8, height: 8 },
      /shape \[1,3,8,8\] \(the file has \[4,3,8,8\]\)/,
    ],
    ['another order of the axes', [1, 3, 8, 8], { layout: 'NHWC', width: 8, height: 8 }, /shape \[1,8,8,3\]/],
    ['another size', [1, 3, 8, 8], { layout: 'NCHW', width: 16, height: 16 }, /shape \[1,3,16,16\]/],
    ['another number of axes', [1, 3, 8], { layout: 'NCHW', width: 8, height: 8 }, /the file has \[1,3,8\]/],
    ['grey for colour', [1, 1, 8, 8], { layout: 'NCHW', width: 8, height: 8 }, /the file has \[1,1,8,8\]/],
  ])('name the shape that does not fit: %s', async (_name, dims, changes, message) => {
    const { path, write } = makeFileTree();
    write('model.onnx', identityModel(dims).toString('latin1'), 'latin1');
    const bundle = await bundleOf('heads');
    const [stage] = bundle.manifest.stages;
    const input = {
      ...stage!.inputs[0]!,
      name: 'x',
      dtype: 'float32',
      fit: 'stretch',
      color: 'rgb',
      ...changes,
    } as const;
    const stages = [{ id: 'analysis', file: 'model.onnx', inputs: [input], outputs: ['y'] }];
    const changed = { ...bundle, dir: path, manifest: { ...bundle.manifest, stages } } as unknown as Bundle;
    await expect(openSession(changed, PLAN)).rejects.toMatchObject({
      code: 'model_manifest_invalid',
      message: expect.stringMatching(message) as string,
    });
  });

  it('report a missing provider, and a file that cannot be read', async () => {
    const bundle = await bundleOf('heads');
    await expect(openSession(bundle, { provider: 'cuda', threads: 1 })).rejects.toMatchObject({
      code: 'provider_unavailable',
    });
    const elsewhere = { ...bundle, dir: bundleDir('nan').replace('nan', 'nowhere') };
    const failure = await openSession(elsewhere, PLAN).catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code: 'vision_start_failed' });
    expect(String(failure)).not.toContain(elsewhere.dir);
  });
});

describe('analyze and render', () => {
  const opened: InProcessVision[] = [];
  const open = async (bundle: Bundle): Promise<InProcessVision> => {
    const vision = await InProcessVision.open({ bundle, plan: PLAN }, { clock: systemClock });
    opened.push(vision);
    return vision;
  };
  afterAll(async () => {
    await Promise.all(opened.map((vision) => vision.close()));
  });
  const options = { roi: null, privacyMasks: [], ignoreGate: true };

  it('return every head of the manifest', async () => {
    const vision = await open(await bundleOf('heads'));
    const bytes = readFileSync(join(bundleDir('heads'), 'golden', 'picture-1.png'));
    const { heads, widthPx, view, timingMs } = await vision.analyze(bytes, options);
    expect(heads?.waveHeight?.coverage).toBe(0.8);
    expect(heads!.waveHeight!.lowM!).toBeLessThan(heads!.waveHeight!.heightM);
    expect(['LEFT', 'RIGHT', 'STRAIGHT']).toContain(heads?.waveDirection?.label);
    expect(heads?.breakingType?.all).toHaveLength(4);
    expect(heads?.embedding).toHaveLength(12);
    expect(heads?.quality?.map(({ label }) => label)).toEqual(['brightness', 'contrast']);
    expect([widthPx, view.luma.length]).toEqual([64, 160 * 90]);
    expect(Object.values(timingMs).every((ms) => ms >= 0)).toBe(true);
  });

  it('hide masked pixels from model, view and preview, and crop the region for the model', async () => {
    // Height is 4 m times the mean brightness: white is 4 m, mask grey 2 m, black 0.
    const vision = await open(await bundleOf('heads'));
    const white = await solid(640, 480, '#ffffff').png().toBuffer();
    const everything: Polygon = [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
    ];
    const masked = await vision.analyze(white, {
      ...options,
      privacyMasks: [everything],
      previewWidthPx: 100,
    });
    expect(masked.heads?.waveHeight?.heightM).toBeCloseTo((4 * 128) / 255, 2);
    expect(masked.view.luma.every((luma) => luma === 128)).toBe(true);
    const preview = await sharp(masked.preview!).raw().toBuffer({ resolveWithObject: true });
    expect([preview.info.width, preview.info.height]).toEqual([100, 75]);
    expect(Math.max(...preview.data)).toBeLessThan(140);

    const black = await solid(320, 480, '#000000').png().toBuffer();
    const half = await sharp(white)
      .composite([{ input: black, left: 0, top: 0 }])
      .png()
      .toBuffer();
    const right: Polygon = [
      [0.5, 0],
      [1, 0],
      [1, 1],
      [0.5, 1],
    ];
    expect((await vision.analyze(half, { ...options, roi: right })).heads?.waveHeight?.heightM).toBeCloseTo(
      4,
      2,
    );
    const wedge: Polygon = [
      [0.5, 0],
      [1, 0],
      [1, 1],
    ];
    const height = (await vision.analyze(half, { ...options, roi: wedge })).heads!.waveHeight!.heightM;
    expect(height).toBeCloseTo((4 * (255 + 128)) / 2 / 255, 1);
  });

  it('do not run the model on a frame that the gate rejects', async () => {
    const vision = await open(await bundleOf('heads'));
    const glare = await solid(640, 360, '#ffffff').png().toBuffer();
    const result = await vision.analyze(glare, { roi: null, privacyMasks: [] });
    expect(result.quality.reasons).toContain('glare');
    expect(result.heads).toBeNull();
  });

  it('render a masked JPEG with a caption at the requested width', async () => {
    const vision = await open(await bundleOf('heads'));
    const white = await solid(640, 480, '#ffffff').jpeg().toBuffer();
    const left: Polygon = [
      [0, 0],
      [0.5, 0],
      [0.5, 1],
      [0, 1],
    ];
    const jpeg = await vision.render(white, {
      privacyMasks: [left],
      roi: left,
      maxWidthPx: 320,
      lines: ['0.6 m'],
    });
    const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([320, 240]);
    const luma = (x: number, y: number): number => data[(y * 320 + x) * 3]!;
    expect(luma(80, 100)).toBeLessThan(140);
    expect(luma(240, 100)).toBeGreaterThan(245);
    expect(luma(240, 236)).toBeLessThan(110);
  });
});
