import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import type { Bundle } from '../../model/manifest.ts';
import { decode, readHeader } from './decode.ts';
import { readHeads } from './heads.ts';
import type { Outputs, Session, SessionOptions } from './session.ts';
import { openSession } from './session.ts';

/** One golden value that was not reproduced. */
export interface GoldenMismatch {
  readonly image: string;
  /** `stage.output`. */
  readonly output: string;
  /** Largest absolute difference; null when the output is missing or shorter than expected. */
  readonly difference: number | null;
  readonly tolerance: number;
}

/**
 * Runs the bundle's golden images through the open session, whole frames without gate or mask, and compares the
 * outputs with the expected values: absolute difference, over the first `expect.length` values of each output. Empty
 * when everything is reproduced. Throws what `decode` and `Session.infer` throw, `vision_output_invalid` when an output has
 * another number of values than its head has labels, and `model_golden_mismatch` when a head says another label.
 */
export async function proveGolden(session: Session, bundle: Bundle): Promise<GoldenMismatch[]> {
  const mismatches: GoldenMismatch[] = [];
  for (const golden of bundle.manifest.golden) {
    const outputs = await runImage(session, await readFile(join(bundle.dir, golden.image)));
    for (const [output, expected] of Object.entries(golden.expect)) {
      const difference = largestDifference(outputs.get(output)?.data, expected);
      if (difference === null || !(difference <= golden.tolerance)) {
        mismatches.push({ image: golden.image, output, difference, tolerance: golden.tolerance });
      }
    }
    checkHeads(bundle, golden, outputs);
  }
  return mismatches;
}

type Golden = Bundle['manifest']['golden'][number];

/** Every head must be able to read the outputs: else the first frame at work would be the one to tell. */
function checkHeads({ manifest: { heads } }: Bundle, { image, labels = {} }: Golden, outputs: Outputs): void {
  const { waveDirection, breakingType } = readHeads(heads, outputs);
  for (const [head, value] of [
    ['wave_direction', waveDirection],
    ['breaking_type', breakingType],
  ] as const) {
    const wanted = labels[head];
    if (wanted === undefined || value?.label === wanted) continue;
    throw new AgentError(
      'model_golden_mismatch',
      `${head} of ${image} is ${value?.label ?? 'nothing'}, expected is ${wanted}`,
    );
  }
}

/** Opens a bundle and proves it. Throws as `openSession`, and `model_golden_mismatch`. */
export async function openProven(bundle: Bundle, options: SessionOptions): Promise<Session> {
  const session = await openSession(bundle, options);
  try {
    const mismatches = await proveGolden(session, bundle);
    const [worst] = mismatches;
    if (worst === undefined) return session;
    throw new AgentError(
      'model_golden_mismatch',
      `${worst.output} of ${worst.image} is off by ${worst.difference ?? 'all'}, allowed is ${worst.tolerance}`,
      { context: { mismatches } },
    );
  } catch (thrown) {
    await session.release();
    throw thrown;
  }
}

/** All stage outputs for one encoded image, whole frame, no gate, no masks. */
export async function runImage(session: Session, bytes: Uint8Array): Promise<Outputs> {
  const header = await readHeader(bytes);
  return session.run(await decode(bytes, header, session.sizeWanted(header.size)));
}

function largestDifference(values: Float32Array | undefined, expected: readonly number[]): number | null {
  if (values === undefined || values.length < expected.length) return null;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs((values[i] ?? Number.NaN) - (expected[i] ?? Number.NaN)));
  }
  return largest;
}
