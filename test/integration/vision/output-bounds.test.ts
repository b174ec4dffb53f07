import { onTestFinished, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { Bundle, Manifest } from '../../../src/model/manifest.ts';
import { InProcessVision } from '../../../src/vision/in-process.ts';
import { startVision } from '../../fixtures/vision-process.ts';
import { greyFrame, openSteeredBundle, type SteeredOutput } from '../../fixtures/steered-model.ts';

const PLAN = { provider: 'cpu', threads: 1 };
const FRAME = { roi: null, privacyMasks: [], ignoreGate: true };
const DIRECTIONS = ['LEFT', 'RIGHT', 'STRAIGHT'];

async function openInProcess(bundle: Bundle): Promise<InProcessVision> {
  const vision = await InProcessVision.open({ bundle, plan: PLAN }, { clock: systemClock });
  onTestFinished(() => vision.close());
  return vision;
}

const output = (gives: SteeredOutput['gives'], count = 1, name = 'out'): SteeredOutput => ({
  name,
  count,
  gives,
});
const height = { output: 'stage.zero', unit: 'm' } as const;

/** Each way from an output to a value of a head: the head, and the number of values of its output. */
const HEADS: readonly (readonly [string, Manifest['heads'], number])[] = [
  ['a height', { wave_height: { output: 'stage.out', unit: 'm' } }, 1],
  [
    'the lower end of an interval',
    { wave_height: { ...height, low: 'stage.out', high: 'stage.zero', coverage: 0.8 } },
    1,
  ],
  [
    'the upper end of an interval',
    { wave_height: { ...height, low: 'stage.zero', high: 'stage.out', coverage: 0.8 } },
    1,
  ],
  ...(['softmax', 'sigmoid', 'none'] as const).map(
    (activation) =>
      [
        `classes with ${activation}`,
        { wave_direction: { output: 'stage.out', labels: DIRECTIONS, activation } },
        3,
      ] as const,
  ),
  ['an embedding', { embedding: { output: 'stage.out' } }, 5],
  ['a quality', { quality: { output: 'stage.out', labels: ['fog', 'rain'] } }, 2],
  ['a depth map', { depth: { output: 'stage.out' } }, 16],
];
const INVALID = HEADS.flatMap(([name, heads, count]) =>
  (['nan', 'infinity'] as const).map((gives) => ({ name, heads, count, gives })),
);

describe('values that are not finite', () => {
  it.each(INVALID)('$gives in $name fails the golden test', async ({ heads, count, gives }) => {
    const bundle = await openSteeredBundle([output(gives, count), output('zero', 1, 'zero')], heads, 100);
    await expect(openInProcess(bundle)).rejects.toMatchObject({ code: 'vision_output_invalid' });
  });

  it.each(INVALID)('$gives in $name fails the frame alone', async ({ heads, count, gives }) => {
    const bundle = await openSteeredBundle([output(gives, count), output('zero', 1, 'zero')], heads);
    const vision = await openInProcess(bundle);
    await expect(vision.analyze(await greyFrame(100), FRAME)).rejects.toMatchObject({
      code: 'vision_output_invalid',
    });
    await expect(vision.analyze(await greyFrame(0), FRAME)).resolves.toMatchObject({
      heads: expect.anything() as object,
    });
  });

  it.each([1e-308, 5e-324, 1e-4, 1e4, 1e308])(
    'a manifest with a temperature of %d is refused',
    async (temperature) => {
      const heads = {
        breaking_type: {
          output: 'stage.out',
          labels: ['SPILLING', 'PLUNGING'],
          activation: 'softmax' as const,
          temperature,
        },
      };
      await expect(openSteeredBundle([output('zero', 2)], heads)).rejects.toMatchObject({
        code: 'model_manifest_invalid',
        message: expect.stringContaining('temperature') as string,
      });
    },
  );
});

describe('the number of values of an embedding', () => {
  const embedding = { output: 'stage.out' };

  it('may be 65,536', async () => {
    const bundle = await openSteeredBundle([output('zero', 65_536)], { embedding });
    const { vision } = await startVision('heads', { bundle });
    const { heads } = await vision.analyze(await greyFrame(0), FRAME);
    expect(heads?.embedding).toHaveLength(65_536);
  });

  it.each([
    ['one above the limit', 65_537, embedding],
    ['four million', 4_000_000, embedding],
    ['more than the manifest states', 11, { ...embedding, values: 10 }],
    ['fewer than the manifest states', 9, { ...embedding, values: 10 }],
  ])('fails the golden test: %s', async (_name, count, head) => {
    const bundle = await openSteeredBundle([output('zero', count)], { embedding: head });
    await expect(startVision('heads', { bundle })).rejects.toMatchObject({ code: 'vision_output_invalid' });
  });

  it('fails a frame above the limit, and the process continues', async () => {
    const bundle = await openSteeredBundle([output('grows')], { embedding });
    const { vision, events } = await startVision('heads', { bundle });
    await expect(vision.analyze(await greyFrame(250), FRAME)).rejects.toMatchObject({
      code: 'vision_output_invalid',
      message: expect.stringMatching(/2\d{6} values.*at most 65536/) as string,
    });
    await expect(vision.analyze(await greyFrame(0), FRAME)).resolves.toMatchObject({
      heads: { embedding: Float32Array.of(0) },
    });
    expect(events.filter(({ type }) => type === 'exited')).toEqual([]);
  });

  it.each([0, 65_537, 1.5])('cannot be stated as %d', async (values) => {
    await expect(
      openSteeredBundle([output('zero', 5)], { embedding: { ...embedding, values } }),
    ).rejects.toMatchObject({ code: 'model_manifest_invalid' });
  });
});

it('a quality label may not be longer than 64 characters', async () => {
  const quality = { output: 'stage.out', labels: ['x'.repeat(65)] };
  await expect(openSteeredBundle([output('zero')], { quality })).rejects.toMatchObject({
    code: 'model_manifest_invalid',
  });
});

it('a model file with many inputs fails with a short message', async () => {
  const bundle = await openSteeredBundle([output('zero')], { embedding: { output: 'stage.out' } });
  const [stage] = bundle.manifest.stages;
  const outputs = Array.from({ length: 2000 }, (_, at) => `missing_output_number_${at}`);
  const stages = [{ ...stage!, outputs }];
  const changed = { ...bundle, manifest: { ...bundle.manifest, stages } };
  await expect(startVision('heads', { bundle: changed })).rejects.toMatchObject({
    code: 'model_manifest_invalid',
    message: expect.stringContaining('and 1992 more') as string,
  });
});
