import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { closeAtEnd } from '../../base/closing.ts';
import { AgentError } from '../../base/errors.ts';
import type { BundleFault, Inspection } from '../../model/bundle/bundle.ts';
import type { Manifest, Stage } from '../../model/manifest.ts';
import { formatCount, formatSize, formatTable } from '../format.ts';
import { bad, line } from '../line.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';

export interface InspectOptions {
  readonly json?: boolean;
}

/** `model inspect`: prints the content and all faults of a bundle. Exits with 1 if there are faults. */
export async function inspectModel(
  path: string,
  options: InspectOptions,
  terminal: Terminal,
): Promise<number> {
  const { inspectBundle } = await import('../../model/bundle/bundle.ts');
  const inspection = await withBundle(path, terminal, (dir) =>
    inspectBundle(dir, { signal: terminal.signal }),
  ).catch((thrown: unknown) => toInspection(thrown));
  if (options.json === true) terminal.out(toJson(toDocument(inspection)));
  else {
    terminal.out(formatTable(toRows(inspection)));
    printFaults(inspection.faults, terminal);
  }
  return inspection.faults.length === 0 ? EXIT.ok : EXIT.failed;
}

/** Prints one line for each fault on standard error. */
export function printFaults(faults: readonly BundleFault[], terminal: Terminal): void {
  for (const { code, message } of faults) terminal.err(line`${bad(code)}  ${message}`);
}

/** Converts the refusal of an archive to an inspection: it is a result, not a failure of the command. */
function toInspection(thrown: unknown): Inspection {
  const isFault =
    thrown instanceof AgentError &&
    (thrown.code === 'model_archive_refused' || thrown.code === 'model_too_large');
  if (!isFault) throw thrown;
  const { code, message } = thrown;
  const empty = { files: new Map(), nodes: new Map(), manifest: null, digest: null, embeddingDigest: null };
  return { ...empty, faults: [{ code, message }] };
}

function toDocument({ manifest, files, nodes, digest, embeddingDigest, faults }: Inspection): unknown {
  return {
    ok: faults.length === 0,
    name: manifest?.name ?? null,
    version: manifest?.version ?? null,
    digest,
    embedding_digest: embeddingDigest,
    description: manifest?.description ?? null,
    license: manifest?.license ?? null,
    size_bytes: sumSizes(files),
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

function toRows({ manifest, files, nodes, digest, embeddingDigest }: Inspection): string[][] {
  const rows: string[][] = [];
  if (manifest !== null) {
    const { name, version, license, description } = manifest;
    rows.push(['model', `${name} ${version}, ${license}`]);
    if (description !== '') rows.push(['', description]);
  }
  if (digest !== null) rows.push(['digest', digest]);
  if (embeddingDigest !== null) rows.push(['embedding', embeddingDigest]);
  rows.push(['files', `${String(files.size)}, ${formatSize(sumSizes(files))} in total`]);
  if (manifest !== null) {
    for (const stage of manifest.stages) rows.push(['stage', describeStage(stage, files, nodes)]);
    for (const [head, value] of Object.entries(manifest.heads))
      rows.push(['head', `${head} from ${value.output}${describeLabels(value)}`]);
    const tolerance = Math.max(...manifest.golden.map((golden) => golden.tolerance));
    rows.push(['golden', `${formatCount(manifest.golden.length, 'image')}, tolerance ${String(tolerance)}`]);
    rows.push(['requires', describeRequirements(manifest.requires)]);
  }
  return rows;
}

function describeStage(
  { id, file, inputs, outputs }: Stage,
  files: ReadonlyMap<string, number>,
  nodes: ReadonlyMap<string, number>,
): string {
  const size = files.get(file);
  const facts = [
    ...(size === undefined ? [] : [formatSize(size)]),
    ...(nodes.has(file) ? [formatCount(nodes.get(file) ?? 0, 'node')] : []),
  ];
  const from = inputs.map(
    (input) =>
      `${[input.from].flat().join(' + ')} ${String(input.width)}x${String(input.height)} ${input.color} ${input.layout} ${input.dtype}`,
  );
  return `${id}: ${file} (${facts.join(', ')}), ${from.join('; ')} -> ${outputs.join(', ')}`;
}

const describeLabels = (head: object): string =>
  'labels' in head && Array.isArray(head.labels) ? `: ${head.labels.join(', ')}` : '';

function describeRequirements({ agent, providers, hardware, memory_mb }: Manifest['requires']): string {
  return [
    `agent ${agent}`,
    ...(providers === undefined ? [] : [`provider ${providers.join(' or ')}`]),
    ...(hardware === undefined ? [] : [`hardware ${hardware.join(' or ')}`]),
    ...(memory_mb === undefined ? [] : [`${String(memory_mb)} MB of memory`]),
  ].join(', ');
}

const sumSizes = (files: ReadonlyMap<string, number>): number =>
  [...files.values()].reduce((sum, size) => sum + size, 0);

/**
 * Calls `use` with the directory of a bundle: `path` itself, or the temporary directory of an unpacked archive. Throws
 * `model_not_found`, and for an archive `model_archive_refused`, `model_too_large` and `model_space`.
 */
export async function withBundle<T>(
  path: string,
  terminal: Terminal,
  use: (dir: string) => Promise<T>,
): Promise<T> {
  const source = resolve(terminal.cwd, path);
  const found = await stat(source).catch((cause: unknown) => {
    throw new AgentError('model_not_found', `${path} does not exist`, { cause });
  });
  if (!found.isFile()) return use(source);
  const { unpackArchive } = await import('../../model/archive/unpack.ts');
  const { BUNDLE_LIMITS } = await import('../../model/bundle/files.ts');
  const tempDir = await mkdtemp(join(tmpdir(), 'swellsight-model-'));
  await using _removed = closeAtEnd(() => rm(tempDir, { recursive: true, force: true }));
  const dir = join(tempDir, 'bundle');
  const { totalBytes: maxBytes, files: maxFiles } = BUNDLE_LIMITS;
  await unpackArchive(source, dir, { maxBytes, maxFiles, layout: 'bundle' }, terminal.signal);
  return await use(dir);
}

export interface PackOptions {
  readonly out?: string;
  readonly json?: boolean;
}

/** `model pack`: packs a bundle without faults. Otherwise prints the faults and exits with 1. */
export async function packModel(path: string, options: PackOptions, terminal: Terminal): Promise<number> {
  const { signal, cwd } = terminal;
  const dir = resolve(cwd, path);
  const { inspectBundle } = await import('../../model/bundle/bundle.ts');
  const { manifest, digest, faults } = await inspectBundle(dir, { signal });
  // The devices may meet requirements that this machine does not meet.
  const bundleFaults = faults.filter(({ code }) => manifest === null || code !== 'model_requires');
  if (manifest === null || digest === null || bundleFaults.length > 0) {
    if (options.json === true) terminal.out(toJson({ ok: false, faults: bundleFaults }));
    else printFaults(bundleFaults, terminal);
    return EXIT.failed;
  }
  const { name, version } = manifest;
  const file = resolve(cwd, options.out ?? `${name}-${version}.tar`);
  const fromBundle = relative(dir, file);
  if (fromBundle !== '..' && !fromBundle.startsWith('../') && !isAbsolute(fromBundle))
    throw new AgentError(
      'usage',
      'the archive would be inside of the bundle; choose another path with --out',
    );
  const { packBundle } = await import('../../model/archive/pack.ts');
  const { sizeBytes, sha256 } = await packBundle(dir, file, signal);
  if (options.json === true) {
    const packed = { file, size_bytes: sizeBytes, sha256: `sha256:${sha256}` };
    terminal.out(toJson({ ok: true, name, version, digest, ...packed }));
  } else {
    terminal.out([`${file}  ${formatSize(sizeBytes)}`, `${name} ${version}  ${digest}`]);
  }
  return EXIT.ok;
}
