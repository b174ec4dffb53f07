import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { AgentError, asAgentError } from '../../src/base/errors.ts';
import { createLog } from '../../src/base/log.ts';
import { packBundle } from '../../src/model/archive/pack.ts';
import { BUNDLE_UNPACK_LIMITS, unpackArchive } from '../../src/model/archive/unpack.ts';
import { openBundle } from '../../src/model/bundle/bundle.ts';
import { VisionProcess } from '../../src/vision/vision-process.ts';
import { COLOUR, makeBundle } from '../fixtures/onnx-bundle.ts';

/** Debian's libonnx-testdata: the test models of the ONNX project. */
const DATA = '/usr/share/libonnx-testdata/data';
const hasTestData = existsSync(DATA);
const ALL = process.env['SWELLSIGHT_ONNX_MODELS'] === 'all';

const models = new Map(
  hasTestData
    ? ['node', 'pytorch-converted', 'pytorch-operator', 'simple']
        .flatMap((group) =>
          readdirSync(join(DATA, group)).map((name) => join(DATA, group, name, 'model.onnx')),
        )
        .filter((path) => existsSync(path))
        .map((path) => [basename(dirname(path)), path] as const)
    : [],
);

interface Outcome {
  readonly code: AgentError['code'] | 'installed';
  readonly message: string;
}

/** Packs, unpacks, opens and proves a model like an install. */
async function install(name: string, golden: readonly number[] | null): Promise<Outcome> {
  const root = await mkdtemp(join(tmpdir(), 'onnx-model-'));
  try {
    await makeBundle(join(root, 'bundle'), models.get(name) ?? '', golden);
    await packBundle(join(root, 'bundle'), join(root, 'bundle.tar'));
    await unpackArchive(join(root, 'bundle.tar'), join(root, 'unpacked'), BUNDLE_UNPACK_LIMITS);
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

/** Runs two at a time; returns the outcomes in the order of the items. */
async function runInPairs<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<Outcome>,
): Promise<ReadonlyMap<Item, Outcome>> {
  const outcomes = new Map<Item, Outcome>();
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) outcomes.set(item, await work(item));
  };
  await Promise.all([worker(), worker()]);
  return new Map(
    items.flatMap((item) => [[item, outcomes.get(item) ?? { code: 'internal', message: '' }] as const]),
  );
}

type Expected = readonly [name: string, code: Outcome['code'], golden?: readonly number[]];

/** Models of each kind; with the first output values where an image of one colour determines them. */
const SAMPLES: readonly Expected[] = [
  ['test_globalaveragepool', 'installed', COLOUR],
  ['test_globalmaxpool', 'installed', COLOUR],
  ['test_maxpool_2d_default', 'installed', [COLOUR[0]]],
  ['test_averagepool_2d_default', 'installed', [COLOUR[0]]],
  ['test_erf', 'installed', [1]],
  // Wrong golden values must be detected.
  ['test_globalaveragepool', 'model_golden_mismatch', [90, 60, 31]],
  ['test_identity', 'installed'],
  ['test_maxpool_2d_uint8', 'installed'],
  ['test_basic_conv_with_padding', 'installed'],
  ['test_MaxPool2d', 'installed'],
  ['test_ConvTranspose2d', 'installed'],
  // Inputs that are not images: one, three or five axes, or another shape.
  ['test_abs', 'model_manifest_invalid'],
  ['test_relu', 'model_manifest_invalid'],
  ['test_Conv3d', 'model_manifest_invalid'],
  ['test_Conv2d', 'model_manifest_invalid'],
  ['test_dft', 'model_manifest_invalid'],
  // Inputs of booleans, integers, strings and sequences.
  ['test_xor_bcast4v3d', 'model_manifest_invalid'],
  ['test_Embedding', 'model_manifest_invalid'],
  ['test_cast_STRING_to_FLOAT', 'model_manifest_invalid'],
  ['test_sequence_model1', 'model_manifest_invalid'],
  ['test_identity_sequence', 'vision_output_invalid'],
  // A model without inputs.
  ['test_constant', 'model_manifest_invalid'],
  // An operator that the runtime lacks; a loop.
  ['test_gradient_of_add', 'vision_start_failed'],
  ['test_loop11', 'model_manifest_invalid'],
  ['test_bernoulli_double', 'model_manifest_invalid'],
];

describe.skipIf(!hasTestData)('models of the ONNX project (Debian libonnx-testdata)', () => {
  it('installs or refuses models of each kind with an error message', async () => {
    const outcomes = await runInPairs(SAMPLES, ([name, , golden]) => install(name, golden ?? null));
    expect([...outcomes].map(([[name], { code }]) => [name, code])).toEqual(
      SAMPLES.map(([name, code]) => [name, code]),
    );
    for (const [, { code, message }] of outcomes) if (code !== 'installed') expect(message).not.toBe('');
  });

  it.skipIf(!ALL)(
    'installs or refuses every model (SWELLSIGHT_ONNX_MODELS=all)',
    async () => {
      const outcomes = await runInPairs([...models.keys()].sort(), (name) => install(name, null));
      const counts = new Map<string, number>();
      for (const [name, { code, message }] of outcomes) {
        counts.set(code, (counts.get(code) ?? 0) + 1);
        console.log(name, code, message);
      }
      console.log(outcomes.size, 'models', Object.fromEntries(counts));
      expect(outcomes.size).toBe(models.size);
      expect(counts.get('installed')).toBeGreaterThan(40);
      // A runtime crash stops only its process, but it should be known.
      expect(counts.get('vision_crashed') ?? 0).toBe(0);
      expect(counts.get('internal') ?? 0).toBe(0);
    },
    3_600_000,
  );
});
