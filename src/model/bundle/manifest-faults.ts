import { BREAKING_TYPES, DIRECTIONS } from '../../contract/observation.ts';
import type { Manifest, Stage, StageInput } from '../manifest.ts';
import { parseRange, parseVersion } from '../semver.ts';

/** The parts of a manifest whose shape is right. */
export type SoundParts = Partial<
  Pick<Manifest, 'version' | 'stages' | 'heads' | 'golden' | 'files' | 'requires'>
>;

const IMAGE_NAME = /\.(png|jpe?g|webp)$/i;
/** What a reference can hold after `stage.`. */
const OUTPUT_NAME = /^[A-Za-z0-9_:./-]{1,128}$/;
const BUNDLE_PATH = /^(golden\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** What a schema cannot say of a manifest: one line for each fault, led by its place. */
export function findFaults({ version, stages, heads, golden, files, requires }: SoundParts): string[] {
  return [
    ...(version !== undefined && !parseVersion(version) ? [`version: ${version} is no semver version`] : []),
    ...(requires && !parseRange(requires.agent) ? [`requires.agent: ${requires.agent} is no range`] : []),
    ...(stages ? stageFaults(stages) : []),
    ...(stages && heads ? headFaults(heads, outputsOf(stages)) : []),
    ...(stages && golden ? goldenFaults(golden, outputsOf(stages)) : []),
    ...(heads && golden ? [...proofFaults(heads, golden), ...labelFaults(heads, golden)] : []),
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
      faults.push(`${place}.id: ${stage.id} stands twice`);
    if (!stage.file.endsWith('.onnx')) faults.push(`${place}.file: ${stage.file} does not end in .onnx`);
    faults.push(
      ...stage.outputs
        .filter((output) => !OUTPUT_NAME.test(output))
        .map(
          (output) =>
            `${place}.outputs: ${JSON.stringify(output)} cannot be referred to; rename it in the model`,
        ),
    );
    faults.push(...repeated(stage.outputs).map((output) => `${place}.outputs: ${output} stands twice`));
    faults.push(
      ...repeated(stage.inputs.map(({ name }) => name)).map(
        (name) => `${place}.inputs: ${name} stands twice`,
      ),
    );
    for (const [number, input] of stage.inputs.entries()) {
      const at = `${place}.inputs[${number}]`;
      for (const source of [input.from].flat()) {
        if (source === 'frame' || earlier.has(source)) continue;
        const why = all.has(source) ? 'comes from no earlier stage' : 'is no output of a stage';
        faults.push(`${at}.from: ${source} ${why}`);
      }
      faults.push(...repeated([input.from].flat()).map((source) => `${at}.from: ${source} stands twice`));
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
    // How many channels another stage gives is known only when it runs.
    const fits = length === 1 || (sources.length > 1 || colors === 0 ? length >= colors : length === colors);
    if (!fits) faults.push(`${at}.${key}: ${length} values for ${colors} color channels`);
  }
  return faults;
}

/** Every output that a head reads, with the place that names it. */
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
    .map(({ at, output }) => `${at}: ${output} is no output of a stage`);
  const { low, high, coverage } = heads.wave_height ?? {};
  if ((low === undefined) !== (high === undefined))
    faults.push('heads.wave_height: low and high need each other');
  if ((low === undefined) !== (coverage === undefined)) {
    faults.push('heads.wave_height: an interval and its coverage need each other');
  }
  const unknown = (labels: readonly string[], known: readonly string[]): string[] =>
    labels
      .filter((label) => !known.includes(label))
      .map((label) => `${label} is none of ${known.join(', ')}`);
  faults.push(
    ...unknown(heads.wave_direction?.labels ?? [], DIRECTIONS).map(
      (fault) => `heads.wave_direction.labels: ${fault}`,
    ),
    ...unknown(heads.breaking_type?.labels ?? [], BREAKING_TYPES).map(
      (fault) => `heads.breaking_type.labels: ${fault}`,
    ),
    ...repeated(heads.quality?.labels ?? []).map((label) => `heads.quality.labels: ${label} stands twice`),
  );
  return faults;
}

function goldenFaults(golden: Manifest['golden'], outputs: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  for (const [index, { image, expect }] of golden.entries()) {
    const place = `golden[${index}]`;
    if (!IMAGE_NAME.test(image)) faults.push(`${place}.image: ${image} is no PNG, JPEG or WebP`);
    if (Object.keys(expect).length === 0) faults.push(`${place}.expect: names no output`);
    for (const output of Object.keys(expect)) {
      if (!outputs.has(output)) faults.push(`${place}.expect: ${output} is no output of a stage`);
    }
  }
  return faults;
}

/** A head that no golden image covers could be wrong on a device without anyone noticing. */
function proofFaults(heads: Manifest['heads'], golden: Manifest['golden']): string[] {
  const lengths = new Map<string, number>();
  for (const { expect } of golden) {
    for (const [output, values] of Object.entries(expect)) {
      if (!Array.isArray(values)) continue;
      lengths.set(output, Math.max(values.length, lengths.get(output) ?? 0));
    }
  }
  const faults = headOutputs(heads)
    .filter(({ output }) => !lengths.has(output))
    .map(({ at, output }) => `${at}: ${output} is proved by no golden image`);
  for (const head of ['wave_direction', 'breaking_type', 'quality'] as const) {
    const { output, labels } = heads[head] ?? { output: '', labels: [] };
    const length = lengths.get(output) ?? 0;
    if (length > labels.length) {
      faults.push(`heads.${head}.labels: ${labels.length} labels for an output of ${length} values`);
    }
  }
  return faults;
}

/** A golden label must be one that its head can say. */
function labelFaults(heads: Manifest['heads'], golden: Manifest['golden']): string[] {
  return golden.flatMap(({ labels = {} }, index) =>
    (['wave_direction', 'breaking_type'] as const)
      .filter((head) => labels[head] !== undefined && !heads[head]?.labels.includes(labels[head]))
      .map((head) => `golden[${index}].labels.${head}: ${labels[head] ?? ''} is no label of that head`),
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
      .map((path) => `files: ${JSON.stringify(path)} is no file of a bundle`),
    ...[...named].filter((path) => !Object.hasOwn(files, path)).map((path) => `files: ${path} is missing`),
  ];
}

const repeated = (values: readonly string[]): string[] => [
  ...new Set(values.filter((value, index) => values.indexOf(value) < index)),
];
