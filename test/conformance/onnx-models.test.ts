import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { AgentError, asAgentError } from '../../src/base/errors.ts';
import { createLog } from '../../src/base/log.ts';
import { packBundle } from '../../src/model/archive/pack.ts';
import { unpackArchive } from '../../src/model/archive/unpack.ts';
import { openBundle } from '../../src/model/bundle/bundle.ts';
import { BUNDLE_LIMITS } from '../../src/model/bundle/files.ts';
import { VisionProcess } from '../../src/vision/vision-process.ts';
import { COLOUR, makeBundle } from '../fixtures/onnx-bundle.ts';

/** Debian's libonnx-testdata: the ONNX project's own test models, which no one here made. */
const DATA = '/usr/share/libonnx-testdata/data';
const isThere = existsSync(DATA);
const ALL = process.env['SWELLSIGHT_ONNX_MODELS'] === 'all';

const models = new Map(
  isThere
    ? ['node', 'pytorch-converted', 'pytorch-operator', 'simple']
        .flatMap((group) =>
          readdirSync(join(DATA, group)).map((name) => join(DATA, group, name, 'model.onnx')),
        )
        .filter((path) => existsSync(path))
        .map((path) => [basename(dirname(path)), path] as const)
    : [],
);

interface End {
  readonly code: AgentError['code'] | 'installed';
  readonly message: string;
}

/** Packs, unpacks, opens and proves the model, as an install does. */
async function install(name: string, golden: readonly number[] | null): Promise<End> {
  const root = await mkdtemp(join(tmpdir(), 'onnx-model-'));
  try {
    await makeBundle(join(root, 'bundle'), models.get(name) ?? '', golden);
    await packBundle(join(root, 'bundle'), join(root, 'bundle.tar'));
    const { totalBytes: maxBytes, files: maxFiles } = BUNDLE_LIMITS;
    await unpackArchive(join(root, 'bundle.tar'), join(root, 'unpacked'), {
      maxBytes,
      maxFiles,
      layout: 'bundle',
    });
    const bundle = await openBundle(join(root, 'unpacked'));
    const plan = { provider: 'cpu', threads: 1 };
    const vision = new VisionProcess(
      { bundle, plan, timeoutS: 20, openTimeoutS: 30, maxRssMb: 512, queueMax: 1 },
      { clock: systemClock, log: createLog('silent'), onEvent: () => undefined },
    );
    await vision.start(AbortSignal.timeout(60_000));
    await vision.close();
    return { code: 'installed', message: '' };
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(AgentError);
    const { code, message } = asAgentError(thrown);
    expect(message).not.toContain(root);
    return { code, message };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** Two at a time; the ends in the order of the items. */
async function atOnce<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<End>,
): Promise<ReadonlyMap<Item, End>> {
  const ends = new Map<Item, End>();
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) ends.set(item, await work(item));
  };
  await Promise.all([worker(), worker()]);
  return new Map(
    items.flatMap((item) => [[item, ends.get(item) ?? { code: 'internal', message: '' }] as const]),
  );
}

type Expected = readonly [name: string, code: End['code'], golden?: readonly number[]];

/** Some of each kind; with first values where a picture of one colour gives them. */
const SOME: readonly Expected[] = [
  ['test_globalaveragepool', 'installed', COLOUR],
  ['test_globalmaxpool', 'installed', COLOUR],
  ['test_maxpool_2d_default', 'installed', [COLOUR[0]]],
  ['test_averagepool_2d_default', 'installed', [COLOUR[0]]],
  ['test_erf', 'installed', [1]],
  // Wrong on purpose: the proof must be one.
  ['test_globalaveragepool', 'model_golden_mismatch', [90, 60, 31]],
  ['test_identity', 'installed'],
  ['test_maxpool_2d_uint8', 'installed'],
  ['test_basic_conv_with_padding', 'installed'],
  ['test_MaxPool2d', 'installed'],
  ['test_ConvTranspose2d', 'installed'],
  // No picture: three axes, one, five, another shape.
  ['test_abs', 'vision_output_invalid'],
  ['test_relu', 'vision_output_invalid'],
  ['test_Conv3d', 'vision_output_invalid'],
  ['test_Conv2d', 'vision_output_invalid'],
  ['test_dft', 'vision_output_invalid'],
  // Truths, whole numbers, texts, lists.
  ['test_xor_bcast4v3d', 'model_manifest_invalid'],
  ['test_Embedding', 'model_manifest_invalid'],
  ['test_cast_STRING_to_FLOAT', 'model_manifest_invalid'],
  ['test_sequence_model1', 'vision_output_invalid'],
  ['test_identity_sequence', 'vision_output_invalid'],
  // Nothing goes in.
  ['test_constant', 'model_manifest_invalid'],
  // An operator that the runtime does not have; a body that runs in circles.
  ['test_gradient_of_add', 'vision_start_failed'],
  ['test_loop11', 'model_manifest_invalid'],
  ['test_bernoulli_double', 'vision_output_invalid'],
];

describe.skipIf(!isThere)('models of the ONNX project (Debian libonnx-testdata)', () => {
  it('installs or refuses some of each kind, with a reason', async () => {
    const ends = await atOnce(SOME, ([name, , golden]) => install(name, golden ?? null));
    expect([...ends].map(([[name], { code }]) => [name, code])).toEqual(
      SOME.map(([name, code]) => [name, code]),
    );
    for (const [, { code, message }] of ends) if (code !== 'installed') expect(message).not.toBe('');
  });

  it.skipIf(!ALL)(
    'installs or refuses every one of them (SWELLSIGHT_ONNX_MODELS=all)',
    async () => {
      const ends = await atOnce([...models.keys()].sort(), (name) => install(name, null));
      const counts = new Map<string, number>();
      for (const [name, { code, message }] of ends) {
        counts.set(code, (counts.get(code) ?? 0) + 1);
        console.log(name, code, message);
      }
      console.log(ends.size, 'models', Object.fromEntries(counts));
      expect(ends.size).toBe(models.size);
      expect(counts.get('installed')).toBeGreaterThan(40);
      // A runtime that dies of a model costs no more than its process, and is still worth knowing.
      expect(counts.get('vision_crashed') ?? 0).toBe(0);
      expect(counts.get('internal') ?? 0).toBe(0);
    },
    3_600_000,
  );
});
