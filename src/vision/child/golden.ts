import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import type { Bundle } from '../../model/manifest.ts';
import { decodeImage, readImageHeader } from './decode.ts';
import { readHeads } from './heads.ts';
import type { Outputs, PreparedFrame, Session, SessionOptions } from './session.ts';
import { openSession } from './session.ts';

type Golden = Bundle['manifest']['golden'][number];

/** A golden output that the session does not reproduce. */
export interface GoldenMismatch {
  readonly image: string;
  /** `stage.output`. */
  readonly output: string;
  /** Largest absolute difference; null if the output is missing or shorter than expected. */
  readonly difference: number | null;
  readonly tolerance: number;
}

/**
 * Opens a bundle and verifies it on its golden images. Throws as `openSession` and `findGoldenMismatches`, and
 * `model_golden_mismatch` if an output differs by more than its tolerance.
 */
export async function openVerifiedSession(bundle: Bundle, options: SessionOptions): Promise<Session> {
  const session = await openSession(bundle, options);
  try {
    const mismatches = await findGoldenMismatches(session, bundle);
    const [first] = mismatches;
    if (first === undefined) return session;
    throw new AgentError('model_golden_mismatch', `${describeMismatch(first)} (${first.image})`, {
      context: { mismatches },
    });
  } catch (thrown) {
    // A failed release must not replace the reason.
    await Promise.allSettled([session.release()]);
    throw thrown;
  }
}

/**
 * Runs the golden images of the bundle through the open session and compares the outputs with the expected values:
 * absolute difference, over the first `expect.length` values of each output. The whole frame is used, without gate or
 * mask. Returns an empty list if every output is reproduced. Throws as `decodeImage` and `Session.infer`,
 * `vision_output_invalid` if the number of values in an output does not match its head, and `model_golden_mismatch` if
 * a head gives another label than the manifest expects.
 */
export async function findGoldenMismatches(session: Session, bundle: Bundle): Promise<GoldenMismatch[]> {
  const mismatches: GoldenMismatch[] = [];
  for (const golden of bundle.manifest.golden) {
    const outputs = await session.infer(await prepareGolden(session, bundle, golden));
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

export const describeMismatch = ({ output, difference, tolerance }: GoldenMismatch): string =>
  difference === null
    ? `${output} is missing or too short`
    : `${output} is off by ${difference.toPrecision(3)}, allowed is ${tolerance}`;

/** Decodes a golden image and prepares the whole frame for the session, without gate or mask. */
export async function prepareGolden(
  session: Session,
  bundle: Bundle,
  { image }: Golden,
): Promise<PreparedFrame> {
  const bytes = await readFile(join(bundle.dir, image));
  const header = await readImageHeader(bytes);
  return session.prepare(await decodeImage(bytes, header, session.decodeSize(header.size)));
}

/** Reads every head once, so that a head that does not fit its output is found before the first camera frame. */
function checkHeads({ manifest: { heads } }: Bundle, { image, labels = {} }: Golden, outputs: Outputs): void {
  const { waveDirection, breakingType } = readHeads(heads, outputs);
  for (const [head, value] of [
    ['wave_direction', waveDirection],
    ['breaking_type', breakingType],
  ] as const) {
    const expected = labels[head];
    if (expected === undefined || value?.label === expected) continue;
    throw new AgentError(
      'model_golden_mismatch',
      `${head} of ${image} is ${value?.label ?? 'missing'}, expected is ${expected}`,
    );
  }
}

function largestDifference(values: Float32Array | undefined, expected: readonly number[]): number | null {
  if (values === undefined || values.length < expected.length) return null;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs((values[i] ?? Number.NaN) - (expected[i] ?? Number.NaN)));
  }
  return largest;
}
