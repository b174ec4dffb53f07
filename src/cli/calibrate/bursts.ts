import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { LabelledBurst } from '../../calibration/types.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { asAgentError } from '../../base/errors.ts';
import type { VisionClient, ViewSignature } from '../../vision/protocol.ts';
import type { LabelRow } from './labels.ts';

export interface BurstOptions {
  /** Base directory of the file names. Its subdirectory `frames` is searched too. */
  readonly dir: string;
  /** Number of frames of each burst, spread evenly over it; null: all. */
  readonly framesPerBurst: number | null;
  /** Whether to use frames that the quality gate rejects. */
  readonly ignoreGate: boolean;
}

export interface BurstDependencies {
  readonly vision: VisionClient;
  readonly signal: AbortSignal;
  readonly progress: (done: number, total: number) => void;
}

/** The embeddings of one labelled burst. */
export interface BurstReading {
  readonly camera: string;
  readonly name: string;
  /** Null when no frame could be used. */
  readonly burst: LabelledBurst | null;
  readonly framesUsed: number;
  /** Files that could not be used, with the reason. */
  readonly faults: readonly { readonly file: string; readonly why: string }[];
  /** Number of frames that the quality gate rejects, used or not. */
  readonly gated: number;
}

/** Computes the embeddings of labelled frames. The first row of a burst gives the height and group of all its frames. */
export async function embedBursts(
  rows: readonly LabelRow[],
  options: BurstOptions,
  dependencies: BurstDependencies,
): Promise<readonly BurstReading[]> {
  const bursts = new Map<string, LabelRow[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.camera, row.burst]);
    bursts.set(key, [...(bursts.get(key) ?? []), row]);
  }
  const sampled = [...bursts.values()].map((frames) => sampleEvenly(frames, options.framesPerBurst));
  const total = sampled.reduce((sum, frames) => sum + frames.length, 0);
  const readings: BurstReading[] = [];
  let done = 0;
  for (const [index, frames] of sampled.entries()) {
    readings.push(
      await embedBurst(frames, index, options, {
        ...dependencies,
        progress: (doneInBurst) => dependencies.progress(done + doneInBurst, total),
      }),
    );
    done += frames.length;
  }
  return readings;
}

async function embedBurst(
  frames: readonly LabelRow[],
  index: number,
  options: BurstOptions,
  { vision, signal, progress }: BurstDependencies,
): Promise<BurstReading> {
  const faults: { file: string; why: string }[] = [];
  const embeddings: Float32Array[] = [];
  const views: ViewSignature[] = [];
  let gated = 0;
  for (const [at, { file }] of frames.entries()) {
    signal.throwIfAborted();
    const bytes = await readFrame(options.dir, file);
    if (bytes === null) faults.push({ file, why: 'missing' });
    else {
      try {
        const result = await vision.analyze(
          bytes,
          { roi: null, privacyMasks: [], ignoreGate: options.ignoreGate },
          signal,
        );
        if (result.quality.reasons.length > 0) gated += 1;
        const embedding = result.heads?.embedding ?? null;
        if (embedding !== null) {
          embeddings.push(embedding);
          views.push(result.view);
        } else if (result.heads === null) faults.push({ file, why: result.quality.reasons.join(', ') });
        else faults.push({ file, why: 'the model has no embedding' });
      } catch (thrown) {
        const error = asAgentError(thrown);
        // An invalid image only fails itself; an ended vision process fails the run.
        if (!error.code.startsWith('image_')) throw thrown;
        faults.push({ file, why: error.code });
      }
    }
    progress(at + 1, frames.length);
  }
  const first = frames[0];
  const burst =
    first === undefined || embeddings.length === 0
      ? null
      : {
          label: {
            observationId: `${first.camera}/${first.burst}`,
            camera: first.camera,
            heightM: first.heightM,
            observer: first.observer,
            note: first.note,
            ...first.reading,
            tideM: first.tideM,
            // Files have no capture time: use the order of the list.
            createdAtMs: index,
            group: first.group,
          },
          embedding: averageEmbeddings(embeddings),
          view: views[views.length >> 1] ?? null,
          capturedAtMs: null,
        };
  return {
    camera: first?.camera ?? '',
    name: first?.burst ?? '',
    burst,
    framesUsed: embeddings.length,
    faults,
    gated,
  };
}

/** Returns the middle frames of `count` equal parts of the burst. */
function sampleEvenly<T>(frames: readonly T[], count: number | null): readonly T[] {
  if (count === null || count >= frames.length) return frames;
  return Array.from({ length: count }, (_, part) => {
    const middle = Math.floor(((part + 0.5) * frames.length) / count);
    return frames.slice(middle, middle + 1);
  }).flat();
}

function averageEmbeddings(embeddings: readonly Float32Array[]): Float32Array {
  const mean = new Float32Array(embeddings[0]?.length ?? 0);
  return mean.map(
    (_, k) => embeddings.reduce((sum, embedding) => sum + (embedding[k] ?? 0), 0) / embeddings.length,
  );
}

async function readFrame(dir: string, file: string): Promise<Uint8Array | null> {
  const paths = isAbsolute(file) ? [file] : [join(dir, file), join(dir, 'frames', file)];
  for (const path of paths) {
    try {
      return await readFile(path);
    } catch (thrown) {
      if (!/^(ENOENT|ENOTDIR|EISDIR)$/.test(errorCode(thrown) ?? '')) throw thrown;
    }
  }
  return null;
}
