import { digestText } from './files.ts';
import type { Manifest, Stage } from '../manifest.ts';

/** Digest (`sha256:…`) of every file by its path. */
export type Digests = ReadonlyMap<string, string>;

/**
 * One digest over every file of the bundle, model.json included: of the lines that `sha256sum` prints, sorted by path.
 * `cd DIR && sha256sum model.json trunk.onnx golden/* … | LC_ALL=C sort -k2 | sha256sum` gives the same.
 */
export function bundleDigest(digests: Digests): string {
  const lines = [...digests]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, digest]) => `${digest.replace('sha256:', '')}  ${path}\n`);
  return digestText(lines.join(''));
}

/**
 * Digest of what makes embeddings comparable: the head's output, and of each stage that leads to it the weights and the
 * inputs as the manifest has them. Golden images, texts and other heads do not change it. `null` without that head.
 * `weights` gives a stage's file and the files that hold its tensors.
 */
export function embeddingDigest(
  manifest: Manifest,
  digests: Digests,
  weights: ReadonlyMap<string, readonly string[]>,
): string | null {
  const output = manifest.heads.embedding?.output;
  if (output === undefined) return null;
  const stages = leadingTo(output, manifest.stages).map(({ id, file, inputs }) => ({
    id,
    inputs,
    weights: (weights.get(file) ?? [file]).map((path) => digests.get(path) ?? null),
  }));
  return digestText(canonicalJson({ output, stages }));
}

/** The stages that an output depends on, in order. */
function leadingTo(output: string, stages: readonly Stage[]): Stage[] {
  const wanted = new Set([idOf(output)]);
  for (const stage of stages.toReversed()) {
    if (!wanted.has(stage.id)) continue;
    for (const { from } of stage.inputs) {
      for (const source of [from].flat()) if (source !== 'frame') wanted.add(idOf(source));
    }
  }
  return stages.filter(({ id }) => wanted.has(id));
}

const idOf = (ref: string): string => ref.slice(0, ref.indexOf('.'));

/** JSON with the keys of every object in order, so that the same content gives the same text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
