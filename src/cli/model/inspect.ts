import { AgentError } from '../../base/errors.ts';
import type { BundleFault, Inspection } from '../../model/bundle/bundle.ts';
import type { Manifest, Stage } from '../../model/manifest.ts';
import { sizePhrase, withBundle } from './source.ts';
import { table } from '../phrases.ts';
import { EXIT, jsonText, paint, type Terminal } from '../terminal.ts';

export interface InspectOptions {
  readonly json?: boolean;
}

/** `model inspect`: what a bundle holds and every fault of it at once; exit code 1 with faults. */
export async function modelInspect(
  path: string,
  options: InspectOptions,
  terminal: Terminal,
): Promise<number> {
  const { inspectBundle } = await import('../../model/bundle/bundle.ts');
  const inspection = await withBundle(path, terminal, (dir) =>
    inspectBundle(dir, { signal: terminal.signal }),
  ).catch((thrown: unknown) => ofArchive(thrown));
  if (options.json === true) terminal.out(jsonText(documentOf(inspection)));
  else {
    for (const part of textOf(inspection)) terminal.out(part);
    tellFaults(inspection.faults, terminal);
  }
  return inspection.faults.length === 0 ? EXIT.ok : EXIT.failed;
}

/** Faults for people, each on a line of its own on standard error. */
export function tellFaults(faults: readonly BundleFault[], terminal: Terminal): void {
  const { bad } = paint(terminal.colour.err);
  for (const { code, message } of faults) terminal.err(`${bad(code)}  ${message}`);
}

/** An archive that is refused is what was asked about, and no failure of the command. */
function ofArchive(thrown: unknown): Inspection {
  const isFault =
    thrown instanceof AgentError &&
    (thrown.code === 'model_archive_refused' || thrown.code === 'model_too_large');
  if (!isFault) throw thrown;
  const { code, message } = thrown;
  const nothing = { files: new Map(), nodes: new Map(), manifest: null, digest: null, embeddingDigest: null };
  return { ...nothing, faults: [{ code, message }] };
}

function documentOf({ manifest, files, nodes, digest, embeddingDigest, faults }: Inspection): unknown {
  return {
    ok: faults.length === 0,
    name: manifest?.name ?? null,
    version: manifest?.version ?? null,
    digest,
    embedding_digest: embeddingDigest,
    description: manifest?.description ?? null,
    license: manifest?.license ?? null,
    size_bytes: totalOf(files),
    files: [...files].map(([path, size_bytes]) => ({ path, size_bytes })),
    stages: (manifest?.stages ?? []).map((stage) => ({
      id: stage.id,
      file: stage.file,
      size_bytes: files.get(stage.file) ?? null,
      nodes: nodes.get(stage.file) ?? null,
      inputs: stage.inputs,
      outputs: stage.outputs,
    })),
    heads: manifest?.heads ?? {},
    golden: (manifest?.golden ?? []).map(({ image, tolerance }) => ({ image, tolerance })),
    requires: manifest?.requires ?? null,
    faults,
  };
}

function textOf({ manifest, files, nodes, digest, embeddingDigest }: Inspection): string[] {
  const rows: string[][] = [];
  if (manifest !== null) {
    const { name, version, license, description } = manifest;
    rows.push(['model', `${name} ${version}, ${license}`]);
    if (description !== '') rows.push(['', description]);
  }
  if (digest !== null) rows.push(['digest', digest]);
  if (embeddingDigest !== null) rows.push(['embedding', embeddingDigest]);
  rows.push(['files', `${String(files.size)}, ${sizePhrase(totalOf(files))} together`]);
  if (manifest !== null) {
    for (const stage of manifest.stages) rows.push(['stage', stagePhrase(stage, files, nodes)]);
    for (const [head, value] of Object.entries(manifest.heads))
      rows.push(['head', `${head} from ${value.output}${labelsOf(value)}`]);
    const tolerance = Math.max(...manifest.golden.map((golden) => golden.tolerance));
    rows.push(['golden', `${count(manifest.golden.length, 'picture')}, off by at most ${String(tolerance)}`]);
    rows.push(['requires', requiresPhrase(manifest.requires)]);
  }
  return [table(rows)];
}

function stagePhrase(
  { id, file, inputs, outputs }: Stage,
  files: ReadonlyMap<string, number>,
  nodes: ReadonlyMap<string, number>,
): string {
  const size = files.get(file);
  const facts = [
    ...(size === undefined ? [] : [sizePhrase(size)]),
    ...(nodes.has(file) ? [count(nodes.get(file) ?? 0, 'node')] : []),
  ];
  const from = inputs.map(
    (input) =>
      `${[input.from].flat().join(' + ')} ${String(input.width)}x${String(input.height)} ${input.color} ${input.layout} ${input.dtype}`,
  );
  return `${id}: ${file} (${facts.join(', ')}), ${from.join('; ')} -> ${outputs.join(', ')}`;
}

const labelsOf = (head: object): string =>
  'labels' in head && Array.isArray(head.labels) ? `: ${head.labels.join(', ')}` : '';

function requiresPhrase({ agent, providers, hardware, memory_mb }: Manifest['requires']): string {
  return [
    `agent ${agent}`,
    ...(providers === undefined ? [] : [`provider ${providers.join(' or ')}`]),
    ...(hardware === undefined ? [] : [`hardware ${hardware.join(' or ')}`]),
    ...(memory_mb === undefined ? [] : [`${String(memory_mb)} MB of memory`]),
  ].join(', ');
}

const totalOf = (files: ReadonlyMap<string, number>): number =>
  [...files.values()].reduce((sum, size) => sum + size, 0);

const count = (number: number, word: string): string => `${String(number)} ${word}${number === 1 ? '' : 's'}`;
