import { AgentError } from '../../base/errors.ts';
import { MAX_EMBEDDING_VALUES, type ClassHead, type Manifest } from '../../model/manifest.ts';
import type { ClassValue, HeadValues } from '../protocol.ts';
import type { Outputs } from './session.ts';

/**
 * Reads the heads of the manifest from the outputs of one frame. Heights in metres; a height below zero reads as 0.
 * Throws `vision_output_invalid` if the number of values in an output does not match its head, and for an embedding of
 * more than 65,536 values. All values are finite, because `Session.infer` gives finite outputs.
 */
export function readHeads(heads: Manifest['heads'], outputs: Outputs): HeadValues {
  return {
    waveHeight: readHeight(heads.wave_height, outputs),
    waveDirection: heads.wave_direction ? readClass(heads.wave_direction, outputs) : null,
    breakingType: heads.breaking_type ? readClass(heads.breaking_type, outputs) : null,
    embedding: heads.embedding ? readEmbedding(heads.embedding, outputs) : null,
    quality: heads.quality ? readQuality(heads.quality, outputs) : null,
  };
}

function readValues(ref: string, outputs: Outputs, count?: number): Float32Array {
  const values = outputs.get(ref)?.data;
  if (values === undefined || values.length === 0 || (count !== undefined && values.length !== count)) {
    const found = values?.length ?? 0;
    throw new AgentError(
      'vision_output_invalid',
      `output ${ref} has ${found} values, not ${count ?? 'at least 1'}`,
      { context: { ref, found, wanted: count ?? null } },
    );
  }
  return values;
}

function readEmbedding(
  { output, values: count }: NonNullable<Manifest['heads']['embedding']>,
  outputs: Outputs,
): Float32Array {
  const values = readValues(output, outputs, count);
  if (values.length <= MAX_EMBEDDING_VALUES) return values;
  throw new AgentError(
    'vision_output_invalid',
    `output ${output} has ${values.length} values, an embedding has at most ${MAX_EMBEDDING_VALUES}`,
    { context: { ref: output, found: values.length, wanted: MAX_EMBEDDING_VALUES } },
  );
}

function readHeight(head: Manifest['heads']['wave_height'], outputs: Outputs): HeadValues['waveHeight'] {
  if (head === undefined) return null;
  const readMetres = (ref: string): number => Math.max(0, readValues(ref, outputs, 1)[0] ?? 0);
  return {
    heightM: readMetres(head.output),
    lowM: head.low === undefined ? null : readMetres(head.low),
    highM: head.high === undefined ? null : readMetres(head.high),
    coverage: head.coverage ?? null,
  };
}

function readClass(head: ClassHead, outputs: Outputs): ClassValue {
  const logits = readValues(head.output, outputs, head.labels.length);
  const probabilities = applyActivation(logits, head.activation, head.temperature ?? 1);
  const all = head.labels.map((label, i) => ({ label, probability01: probabilities[i] ?? 0 }));
  const best = all.reduce((top, value) => (value.probability01 > top.probability01 ? value : top));
  return { ...best, all };
}

/** Divides logits by the temperature and applies the activation. `none` clamps probabilities to 0..1. */
export function applyActivation(
  logits: ArrayLike<number>,
  activation: ClassHead['activation'],
  temperature: number,
): number[] {
  switch (activation) {
    case 'none':
      return Array.from(logits, (value) => Math.min(1, Math.max(0, value)));
    case 'sigmoid':
      return Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit / temperature)));
    case 'softmax': {
      // Subtract the largest logit before the division: neither the quotient nor `exp` can then become +infinity.
      const largest = Math.max(...Array.from(logits));
      const weights = Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
      const sum = weights.reduce((total, weight) => total + weight, 0);
      return weights.map((weight) => weight / sum);
    }
  }
}

function readQuality(
  head: NonNullable<Manifest['heads']['quality']>,
  outputs: Outputs,
): NonNullable<HeadValues['quality']> {
  const values = readValues(head.output, outputs, head.labels.length);
  return head.labels.map((label, i) => ({ label, value: values[i] ?? 0 }));
}
