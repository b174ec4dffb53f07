import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { parseManifest } from '../../../../src/model/bundle/parse-manifest.ts';
import { bundleDir, factoryBundleDir } from '../../../fixtures/bundles.ts';

const manifestText = (dir: string): string => readFileSync(join(dir, 'model.json'), 'utf8');
const heads = manifestText(bundleDir('heads'));
const depth = manifestText(bundleDir('depth'));

function faultsOf(text: string): string[] {
  try {
    parseManifest(text);
  } catch (error) {
    expect(error).toBeInstanceOf(AgentError);
    const { code, message, context } = error as AgentError;
    expect(code).toBe('model_manifest_invalid');
    const faults = context['faults'] as string[];
    for (const fault of faults) expect(message).toContain(fault);
    return faults;
  }
  return [];
}

/** Changes of a manifest by JSON pointer: undefined deletes; a last step of `-` appends. */
type Changes = Record<string, unknown>;

function withChanges(text: string, changes: Changes): string {
  const manifest: unknown = JSON.parse(text);
  for (const [pointer, value] of Object.entries(changes)) {
    const steps = pointer.split('/').map((step) => step.replaceAll('~1', '/'));
    const last = steps.pop() ?? '';
    const parent = steps.reduce((part, step) => (part as Changes)[step], manifest);
    if (last === '-') (parent as unknown[]).push(value);
    else if (value === undefined) Reflect.deleteProperty(parent as Changes, last);
    else (parent as Changes)[last] = value;
  }
  return JSON.stringify(manifest);
}

const first = 'stages/0/inputs/0';
const heads0 = (JSON.parse(heads) as { stages: { inputs: unknown[] }[] }).stages[0];
const digest = `sha256:${'0'.repeat(64)}`;

describe('parseManifest', () => {
  it.each([
    ['heads', heads],
    ['depth', depth],
    ['input-half', manifestText(bundleDir('input-half'))],
    ['factory', manifestText(factoryBundleDir)],
  ])('parses the manifest of the %s bundle unchanged', (_name, text) => {
    expect(parseManifest(text)).toEqual(JSON.parse(text));
  });

  it.each<[string, Changes, string]>([
    ['an unknown key', { author: 'me' }, 'model.json: unknown key author'],
    ['a missing key', { license: undefined }, "model.json: must have required property 'license'"],
    ['another format', { format: 0 }, 'format: must be 1'],
    ['a leading zero', { version: '1.02.0' }, 'version: 1.02.0 is not a semver version'],
    ['no version', { version: 'latest' }, 'version: must be semver'],
    ['an unknown range', { 'requires/agent': 'new' }, 'requires.agent: new is not a semver range'],
    [
      'another layout',
      { [`${first}/layout`]: 'HWC' },
      'stages[0].inputs[0].layout: must be one of NHWC, NCHW',
    ],
    [
      'a number as a source',
      { [`${first}/from`]: 7 },
      'stages[0].inputs[0].from: must be "frame", "stage.output" or a list of them',
    ],
    [
      'a directory in a file name',
      { 'stages/0/file': '../analysis.onnx' },
      'stages[0].file: must be a file name in the bundle, without a directory',
    ],
    [
      'a file without .onnx',
      { 'stages/0/file': 'model.json' },
      'stages[0].file: model.json does not end in .onnx',
    ],
    ['a stage twice', { 'stages/-': heads0 }, 'stages[1].id: analysis occurs twice'],
    ['an output twice', { 'stages/0/outputs/-': 'height_m' }, 'stages[0].outputs: height_m occurs twice'],
    [
      'an output name that no reference can express',
      { 'stages/0/outputs/-': 'a b' },
      'stages[0].outputs: "a b" cannot be referred to; rename it in the model',
    ],
    ['an input twice', { 'stages/0/inputs/-': heads0?.inputs[0] }, 'stages[0].inputs: image occurs twice'],
    [
      'an unknown source',
      { [`${first}/from`]: 'other.depth' },
      'stages[0].inputs[0].from: other.depth is not an output of any stage',
    ],
    [
      'its own output as a source',
      { [`${first}/from`]: 'analysis.quality' },
      'stages[0].inputs[0].from: analysis.quality is not an output of an earlier stage',
    ],
    [
      'the frame twice',
      { [`${first}/from`]: ['frame', 'frame'] },
      'stages[0].inputs[0].from: frame occurs twice',
    ],
    [
      'a mean for uint8 input',
      { [`${first}/mean`]: [0.5] },
      'stages[0].inputs[0].mean: uint8 cannot hold normalized values',
    ],
    [
      'a head without an output',
      { 'heads/wave_height/output': 'analysis.height' },
      'heads.wave_height.output: analysis.height is not an output of any stage',
    ],
    ['a unit of feet', { 'heads/wave_height/unit': 'ft' }, 'heads.wave_height.unit: must be "m"'],
    [
      'an interval with one bound',
      { 'heads/wave_height/high': undefined },
      'heads.wave_height: low and high are only allowed together',
    ],
    [
      'an interval without coverage',
      { 'heads/wave_height/coverage': undefined },
      'heads.wave_height: low, high and coverage are only allowed together',
    ],
    [
      'an unknown direction',
      { 'heads/wave_direction/labels/0': 'UP' },
      'heads.wave_direction.labels: UP is not one of LEFT, RIGHT, STRAIGHT',
    ],
    [
      'a golden label that its head lacks',
      { 'golden/0/labels': { wave_direction: 'UP' } },
      'golden[0].labels.wave_direction: UP is not a label of that head',
    ],
    [
      'too few labels',
      { 'heads/breaking_type/labels': ['SPILLING', 'PLUNGING'] },
      'heads.breaking_type.labels: 2 labels for an output of 4 values',
    ],
    [
      'a label twice',
      { 'heads/quality/labels/1': 'brightness' },
      'heads.quality.labels: brightness occurs twice',
    ],
    ['no head', { heads: {} }, 'heads: must NOT have fewer than 1 properties'],
    ['an empty expectation', { 'golden/0/expect': {} }, 'golden[0].expect: lists no output'],
    [
      'an expectation for an unknown output',
      { 'golden/0/expect/analysis.period': [1] },
      'golden[0].expect: analysis.period is not an output of any stage',
    ],
    [
      'an expectation for a name that is not a reference',
      { 'golden/0/expect/height': 'tall' },
      'golden[0].expect: height is not an output of any stage',
    ],
    [
      'a head without a golden value',
      { 'golden/0/expect/analysis.low_m': undefined, 'golden/1/expect/analysis.low_m': undefined },
      'heads.wave_height.low: analysis.low_m is not covered by any golden image',
    ],
    [
      'a golden image of another type',
      { 'golden/0/image': 'golden/picture.gif' },
      'golden[0].image: golden/picture.gif is not a PNG, JPEG or WebP file',
    ],
    ['a digest missing', { 'files/analysis.onnx': undefined }, 'files: analysis.onnx is missing'],
    ['a path upwards', { 'files/..~1agent.js': digest }, 'files: "../agent.js" is not a file of a bundle'],
    ['an absolute path', { 'files/~1etc~1passwd': digest }, 'files: "/etc/passwd" is not a file of a bundle'],
  ])('reports %s', (_what, changes, fault) => {
    expect(faultsOf(withChanges(heads, changes))).toContain(fault);
  });

  it('compares the lengths of mean and std with the channels', () => {
    const two = faultsOf(withChanges(depth, { [`${first}/mean`]: [0.5, 0.5] }));
    expect(two).toEqual(['stages[0].inputs[0].mean: 2 values for 3 color channels']);
    const four = faultsOf(withChanges(depth, { [`${first}/std`]: [1, 1, 1, 1] }));
    expect(four).toEqual(['stages[0].inputs[0].std: 4 values for 3 color channels']);
    // The depth output is the fourth channel.
    expect(faultsOf(withChanges(depth, { 'stages/1/inputs/0/std': [1, 1, 1, 1] }))).toEqual([]);
  });

  it('refuses a stage that uses the output of a later one', () => {
    const { stages } = JSON.parse(depth) as { stages: unknown[] };
    const faults = faultsOf(withChanges(depth, { stages: stages.toReversed() }));
    expect(faults).toEqual(['stages[0].inputs[0].from: depth.depth is not an output of an earlier stage']);
  });

  it('reports all faults of the schema and of the rules together', () => {
    const faults = faultsOf(
      withChanges(heads, {
        format: 0,
        name: 'Heads Model',
        requires: { agent: 'new' },
        [`${first}/from`]: 'other.depth',
        'heads/wave_height/output': 'analysis.height',
        'golden/0/tolerance': 0,
        'files/analysis.onnx': undefined,
      }),
    );
    expect(faults).toEqual([
      'format: must be 1',
      expect.stringContaining('name: '),
      'golden[0].tolerance: must be > 0',
      'requires.agent: new is not a semver range',
      'stages[0].inputs[0].from: other.depth is not an output of any stage',
      'heads.wave_height.output: analysis.height is not an output of any stage',
      'files: analysis.onnx is missing',
    ]);
  });

  it('asks for a newer agent when the format is newer, whatever else is in the manifest', () => {
    const newer = withChanges(heads, { format: 2, stages: 'other', later: true });
    expect(() => parseManifest(newer)).toThrow(
      expect.objectContaining({
        code: 'model_requires',
        message: expect.stringContaining('update the agent'),
      }),
    );
  });

  it.each(['', '{', 'null', '[]', '7', '"model"', '{"__proto__": {"format": 1}}'])('rejects %j', (text) => {
    expect(faultsOf(text).length).toBeGreaterThan(0);
  });

  it('returns a manifest or faults for any JSON in place of any part', () => {
    const anywhere = fc.constantFrom(
      'stages',
      'stages/0',
      `${first}/from`,
      'heads',
      'heads/wave_height',
      'golden',
      'golden/0/expect',
      'golden/0/expect/analysis.height_m',
      'files',
      'requires',
    );
    fc.assert(
      fc.property(
        anywhere,
        fc.jsonValue(),
        (pointer, value) => faultsOf(withChanges(heads, { [pointer]: value })).length >= 0,
      ),
    );
  });
});
