import { BREAKING_TYPES, DIRECTIONS } from '../../contract/observation.ts';
import type { Manifest, Stage, StageInput } from '../manifest.ts';
import { parseRange, parseVersion } from '../semver.ts';

export const PARTS_WITH_RULES = ['version', 'stages', 'heads', 'golden', 'files', 'requires'] as const;
/** The parts of a manifest that match their schema. */
export type ValidParts = Partial<Pick<Manifest, (typeof PARTS_WITH_RULES)[number]>>;

const IMAGE_NAME = /\.(png|jpe?g|webp)$/i;
/** The part of an output reference after `stage.`. */
const OUTPUT_NAME = /^[A-Za-z0-9_:./-]{1,128}$/;
const BUNDLE_PATH = /^(golden\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Checks the rules that no schema can express. Returns one line for each fault; the line begins with the place in the
 * manifest.
 */
export function findRuleFaults({ version, stages, heads, golden, files, requires }: ValidParts): string[] {
  return [
    ...(version !== undefined && !parseVersion(version)
      ? [`version: ${version} is not a semver version`]
      : []),
    ...(requires && !parseRange(requires.agent)
      ? [`requires.agent: ${requires.agent} is not a semver range`]
      : []),
    ...(stages ? stageFaults(stages) : []),
    ...(stages && heads ? headFaults(heads, outputsOf(stages)) : []),
    ...(stages && golden ? goldenFaults(golden, outputsOf(stages)) : []),
    ...(heads && golden ? [...coverageFaults(heads, golden), ...labelFaults(heads, golden)] : []),
    ...(files ? fileFaults(files, stages ?? [], golden ?? []) : []),
  ];
}

const outputsOf = (stages: readonly Stage[]): Set<string> =>
  new Set(stages.flatMap(({ id, outputs }) => outputs.map((output) => `${id}.${output}`)));

function stageFaults(stages: readonly Stage[]): string[] {
  const faults: string[] = [];
  for (const [index, stage] of stages.entries()) {
    const place = `stages[${index}]`;
    const earlier = outputsOf(stages.slice(0, index));
    const all = outputsOf(stages);
    if (stages.findIndex(({ id }) => id === stage.id) < index)
      faults.push(`${place}.id: ${stage.id} occurs twice`);
    if (!stage.file.endsWith('.onnx')) faults.push(`${place}.file: ${stage.file} does not end in .onnx`);
    for (const output of stage.outputs)
      if (!OUTPUT_NAME.test(output))
        faults.push(
          `${place}.outputs: ${JSON.stringify(output)} cannot be referred to; rename it in the model`,
        );
    for (const output of repeated(stage.outputs)) faults.push(`${place}.outputs: ${output} occurs twice`);
    for (const name of repeated(stage.inputs.map((input) => input.name)))
      faults.push(`${place}.inputs: ${name} occurs twice`);
    for (const [number, input] of stage.inputs.entries()) {
      const at = `${place}.inputs[${number}]`;
      for (const source of [input.from].flat()) {
        if (source === 'frame' || earlier.has(source)) continue;
        const reason = all.has(source)
          ? 'is not an output of an earlier stage'
          : 'is not an output of any stage';
        faults.push(`${at}.from: ${source} ${reason}`);
      }
      faults.push(...repeated([input.from].flat()).map((source) => `${at}.from: ${source} occurs twice`));
      faults.push(...normalizationFaults(input, at));
    }
  }
  return faults;
}

function normalizationFaults(input: StageInput, at: string): string[] {
  const faults: string[] = [];
  const sources = [input.from].flat();
  const colors = sources.includes('frame') ? (input.color === 'gray' ? 1 : 3) : 0;
  for (const key of ['mean', 'std'] as const) {
    const length = input[key]?.length;
    if (length === undefined) continue;
    if (input.dtype === 'uint8') faults.push(`${at}.${key}: uint8 cannot hold normalized values`);
    // The number of channels of an output of another stage is known only at run time.
    const fits = length === 1 || (sources.length > 1 || colors === 0 ? length >= colors : length === colors);
    if (!fits) faults.push(`${at}.${key}: ${length} values for ${colors} color channels`);
  }
  return faults;
}

/** Every output that a head reads, with the place of the head in the manifest. */
function headOutputs(heads: Manifest['heads']): { at: string; output: string }[] {
  const named = Object.entries(heads).map(([head, { output }]) => ({ at: `heads.${head}.output`, output }));
  const { low, high } = heads.wave_height ?? {};
  if (low !== undefined) named.push({ at: 'heads.wave_height.low', output: low });
  if (high !== undefined) named.push({ at: 'heads.wave_height.high', output: high });
  return named;
}

function headFaults(heads: Manifest['heads'], outputs: ReadonlySet<string>): string[] {
  const faults = headOutputs(heads)
    .filter(({ output }) => !outputs.has(output))
    .map(({ at, output }) => `${at}: ${output} is not an output of any stage`);
  const { low, high, coverage } = heads.wave_height ?? {};
  if ((low === undefined) !== (high === undefined))
    faults.push('heads.wave_height: low and high are only allowed together');
  if ((low === undefined) !== (coverage === undefined)) {
    faults.push('heads.wave_height: low, high and coverage are only allowed together');
  }
  const known = { wave_direction: DIRECTIONS, breaking_type: BREAKING_TYPES } as const;
  for (const head of ['wave_direction', 'breaking_type'] as const) {
    const allowed: readonly string[] = known[head];
    for (const label of heads[head]?.labels ?? [])
      if (!allowed.includes(label))
        faults.push(`heads.${head}.labels: ${label} is not one of ${allowed.join(', ')}`);
  }
  for (const label of repeated(heads.quality?.labels ?? []))
    faults.push(`heads.quality.labels: ${label} occurs twice`);
  return faults;
}

function goldenFaults(golden: Manifest['golden'], outputs: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  for (const [index, { image, expect }] of golden.entries()) {
    const place = `golden[${index}]`;
    if (!IMAGE_NAME.test(image)) faults.push(`${place}.image: ${image} is not a PNG, JPEG or WebP file`);
    if (Object.keys(expect).length === 0) faults.push(`${place}.expect: lists no output`);
    for (const output of Object.keys(expect)) {
      if (!outputs.has(output)) faults.push(`${place}.expect: ${output} is not an output of any stage`);
    }
  }
  return faults;
}

/** Checks that a golden image covers every head. Without one, nobody would notice a wrong output on a device. */
function coverageFaults(heads: Manifest['heads'], golden: Manifest['golden']): string[] {
  const lengths = new Map<string, number>();
  for (const { expect } of golden) {
    for (const [output, values] of Object.entries(expect)) {
      // The schema does not check the values of a key that is not an output reference.
      if (Array.isArray(values)) lengths.set(output, Math.max(values.length, lengths.get(output) ?? 0));
    }
  }
  const faults = headOutputs(heads)
    .filter(({ output }) => !lengths.has(output))
    .map(({ at, output }) => `${at}: ${output} is not covered by any golden image`);
  for (const head of ['wave_direction', 'breaking_type', 'quality'] as const) {
    const { output, labels } = heads[head] ?? { output: '', labels: [] };
    const length = lengths.get(output) ?? 0;
    if (length > labels.length) {
      faults.push(`heads.${head}.labels: ${labels.length} labels for an output of ${length} values`);
    }
  }
  return faults;
}

/** Checks that each golden label is a label of its head. */
function labelFaults(heads: Manifest['heads'], golden: Manifest['golden']): string[] {
  return golden.flatMap(({ labels = {} }, index) =>
    (['wave_direction', 'breaking_type'] as const)
      .filter((head) => labels[head] !== undefined && !heads[head]?.labels.includes(labels[head]))
      .map((head) => `golden[${index}].labels.${head}: ${labels[head] ?? ''} is not a label of that head`),
  );
}

function fileFaults(
  files: NonNullable<Manifest['files']>,
  stages: readonly Stage[],
  golden: Manifest['golden'],
): string[] {
  const named = new Set([...stages.map(({ file }) => file), ...golden.map(({ image }) => image)]);
  return [
    ...Object.keys(files)
      .filter((path) => !BUNDLE_PATH.test(path) || path === 'model.json')
      .map((path) => `files: ${JSON.stringify(path)} is not a file of a bundle`),
    ...[...named].filter((path) => !Object.hasOwn(files, path)).map((path) => `files: ${path} is missing`),
  ];
}

const repeated = (values: readonly string[]): string[] => [
  ...new Set(values.filter((value, index) => values.indexOf(value) < index)),
];
