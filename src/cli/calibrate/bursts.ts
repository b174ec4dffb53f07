import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { LabelledBurst } from '../../calibration/types.ts';
import { asAgentError } from '../../base/errors.ts';
import type { VisionClient, ViewSignature } from '../../vision/protocol.ts';
import type { LabelRow } from './csv.ts';

export interface BurstOptions {
  /** Folder that file names are relative to; its subfolder `frames` is looked into as well. */
  readonly dir: string;
  /** Frames used of each burst, spread over it; null uses all. */
  readonly framesPerBurst: number | null;
  /** Use frames that the quality gate rejects. */
  readonly ignoreGate: boolean;
}

export interface BurstDependencies {
  readonly vision: VisionClient;
  readonly signal: AbortSignal;
  readonly progress: (done: number, total: number) => void;
}

/** What became of the labelled frames of one burst. */
export interface BurstReading {
  readonly camera: string;
  readonly name: string;
  /** Null when none of its frames could be used. */
  readonly burst: LabelledBurst | null;
  readonly framesUsed: number;
  /** Files that could not be used, and why. */
  readonly faults: readonly { readonly file: string; readonly why: string }[];
  /** Frames that the gate speaks against, used or not. */
  readonly gated: number;
}

/** Embeddings of labelled frames, burst by burst. The frames of a burst share its first row's height and group. */
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
  const chosen = [...bursts.values()].map((frames) => spread(frames, options.framesPerBurst));
  const total = chosen.reduce((sum, frames) => sum + frames.length, 0);
  const readings: BurstReading[] = [];
  let done = 0;
  for (const [index, frames] of chosen.entries()) {
    readings.push(
      await embedBurst(frames, index, options, {
        ...dependencies,
        progress: (within) => dependencies.progress(done + within, total),
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
        else faults.push({ file, why: 'the model gives no embedding' });
      } catch (thrown) {
        const error = asAgentError(thrown);
        // A bad picture fails alone; a vision process that is gone ends the run.
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
            observer: null,
            note: first.note,
            // Files carry no time of their own; the order of the list stands for it.
            createdAtMs: index,
            group: first.group,
          },
          embedding: meanOf(embeddings),
          view: views[views.length >> 1] ?? null,
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

/** `wanted` frames spread evenly over the burst: the middles of as many equal parts. */
function spread<T>(frames: readonly T[], wanted: number | null): readonly T[] {
  if (wanted === null || wanted >= frames.length) return frames;
  return Array.from({ length: wanted }, (_, part) => {
    const middle = Math.floor(((part + 0.5) * frames.length) / wanted);
    return frames.slice(middle, middle + 1);
  }).flat();
}

function meanOf(embeddings: readonly Float32Array[]): Float32Array {
  const mean = new Float32Array(embeddings[0]?.length ?? 0);
  return mean.map(
    (_, k) => embeddings.reduce((sum, embedding) => sum + (embedding[k] ?? 0), 0) / embeddings.length,
  );
}

async function readFrame(dir: string, file: string): Promise<Uint8Array | null> {
  const places = isAbsolute(file) ? [file] : [join(dir, file), join(dir, 'frames', file)];
  for (const place of places) {
    try {
      return await readFile(place);
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? thrown.code : null;
      if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EISDIR') throw thrown;
    }
  }
  return null;
}
