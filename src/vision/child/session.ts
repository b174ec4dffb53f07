import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { AgentError } from '../../base/errors.ts';
import type { Bundle, Stage, StageInput } from '../../model/manifest.ts';
import type { Box, Picture, Size } from './picture.ts';
import { WHOLE } from './picture.ts';
import type { FittedRgb, Values } from './preprocess.ts';
import {
  fitPixels,
  frameChannels,
  framePlanes,
  isPlainRgb,
  mapPlanes,
  packPlanes,
  sizeWanted,
} from './preprocess.ts';
import { toHalf } from './half.ts';
import { tensorValues } from './tensor-values.ts';

/** Outputs of all stages by `stage.output`. */
export type Outputs = ReadonlyMap<string, Values>;

export interface SessionOptions {
  /** onnxruntime's name of the one execution provider; there is no silent fallback to another. */
  readonly provider: string;
  readonly threads: number;
}

/** A frame's pixels, cut and scaled for every input that wants them. */
export type PreparedFrame = ReadonlyMap<string, FittedRgb>;

const fitKey = (input: StageInput): string => `${input.width}x${input.height}:${input.fit}`;
const sources = (input: StageInput): readonly string[] =>
  typeof input.from === 'string' ? [input.from] : input.from;

/**
 * Opens every stage of a bundle on one provider. Blocks the thread while it loads.
 * Throws `provider_unavailable` when the runtime has no such provider or its libraries are missing,
 * `vision_start_failed` when a stage cannot be loaded, and `model_manifest_invalid` when a stage lacks an input or
 * output that the manifest names.
 */
export async function openSession(bundle: Bundle, options: SessionOptions): Promise<Session> {
  const opened: { stage: Stage; session: InferenceSession }[] = [];
  try {
    for (const stage of bundle.manifest.stages) {
      const session = await openStage(bundle, stage, options);
      opened.push({ stage, session });
      checkNames(stage, session);
    }
  } catch (thrown) {
    await Promise.all(opened.map(({ session }) => session.release()));
    throw thrown;
  }
  return new Session(bundle, options, opened);
}

async function openStage(bundle: Bundle, stage: Stage, options: SessionOptions): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(join(bundle.dir, stage.file), {
      executionProviders: [options.provider],
      intraOpNumThreads: options.threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      logSeverityLevel: 4,
      // Frames come with gaps: threads that spin through them cost three times the CPU of the work itself.
      extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
    });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const code =
      options.provider === 'cpu' || !/provider|backend/i.test(text)
        ? 'vision_start_failed'
        : 'provider_unavailable';
    throw new AgentError(
      code,
      `stage ${stage.id} does not open on ${options.provider}: ${oneLine(text, bundle.dir)}`,
      {
        cause,
        context: { stage: stage.id, provider: options.provider },
      },
    );
  }
}

/** First line, without the bundle's path: the text may reach clients. */
const oneLine = (text: string, dir: string): string =>
  (text.split('\n')[0] ?? '').replaceAll(dir, '').slice(0, 300);

function checkNames(stage: Stage, session: InferenceSession): void {
  const missing = [
    ...stage.inputs
      .filter(({ name }) => !session.inputNames.includes(name))
      .map(({ name }) => `input ${name}`),
    ...session.inputNames
      .filter((name) => !stage.inputs.some((input) => input.name === name))
      .map((name) => `a source for input ${name}`),
    ...stage.outputs.filter((name) => !session.outputNames.includes(name)).map((name) => `output ${name}`),
  ];
  for (const input of stage.inputs) {
    const found = session.inputMetadata.find(({ name }) => name === input.name);
    if (found?.isTensor === true && found.type !== input.dtype) {
      missing.push(`input ${input.name} of type ${input.dtype} (the file has ${found.type})`);
    }
  }
  if (missing.length > 0) {
    throw new AgentError('model_manifest_invalid', `stage ${stage.id} lacks ${missing.join(', ')}`, {
      context: { stage: stage.id, missing },
    });
  }
}

/** All stages of one bundle, open on one provider. Calls must not overlap. */
export class Session {
  readonly bundle: Bundle;
  readonly provider: string;
  readonly threads: number;
  readonly #stages: readonly { readonly stage: Stage; readonly session: InferenceSession }[];

  constructor(
    bundle: Bundle,
    options: SessionOptions,
    stages: readonly { readonly stage: Stage; readonly session: InferenceSession }[],
  ) {
    this.bundle = bundle;
    this.provider = options.provider;
    this.threads = options.threads;
    this.#stages = stages;
  }

  /** Inputs that see the frame. */
  *#frameInputs(): Iterable<StageInput> {
    for (const { stage } of this.#stages) {
      for (const input of stage.inputs) if (sources(input).includes('frame')) yield input;
    }
  }

  /** The size to which a frame must at least be decoded for all inputs. */
  sizeWanted(source: Size, region: Box = WHOLE): Size {
    let width = 1;
    let height = 1;
    for (const input of this.#frameInputs()) {
      const wanted = sizeWanted(source, region, input);
      width = Math.max(width, wanted.width);
      height = Math.max(height, wanted.height);
    }
    return { width, height };
  }

  /** Cuts and scales the pixels for the inputs; runs off this thread, so that other work can go on beside it. */
  async prepare(picture: Picture, region: Box = WHOLE): Promise<PreparedFrame> {
    const prepared = new Map<string, FittedRgb>();
    for (const input of this.#frameInputs()) {
      const key = fitKey(input);
      if (!prepared.has(key)) prepared.set(key, await fitPixels(picture, region, input));
    }
    return prepared;
  }

  /**
   * Runs all stages on prepared pixels; blocks the thread. Throws `vision_output_invalid` for NaN, infinity or a
   * shape that does not fit the next stage, `internal` when the runtime itself refuses.
   */
  async infer(prepared: PreparedFrame): Promise<Outputs> {
    const outputs = new Map<string, Values>();
    for (const { stage, session } of this.#stages) {
      const feeds: Record<string, Tensor> = {};
      for (const input of stage.inputs) {
        const shape = session.inputMetadata.find(({ name }) => name === input.name);
        const rank = shape?.isTensor === true ? shape.shape.length : 4;
        feeds[input.name] = toTensor(input, rank, prepared, outputs);
      }
      const results = await session.run(feeds, stage.outputs).catch((cause: unknown) => {
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new AgentError(
          'vision_output_invalid',
          `stage ${stage.id} failed: ${oneLine(text, this.bundle.dir)}`,
          {
            cause,
            context: { stage: stage.id },
          },
        );
      });
      for (const name of stage.outputs) {
        const ref = `${stage.id}.${name}`;
        const tensor = results[name];
        if (tensor === undefined) throw new AgentError('vision_output_invalid', `output ${ref} is missing`);
        outputs.set(ref, tensorValues(ref, tensor));
      }
    }
    return outputs;
  }

  /** `prepare` and `infer` in one. */
  async run(picture: Picture, region: Box = WHOLE): Promise<Outputs> {
    return this.infer(await this.prepare(picture, region));
  }

  async release(): Promise<void> {
    await Promise.all(this.#stages.map(({ session }) => session.release()));
  }
}

/**
 * One input's tensor from the frame and the outputs of earlier stages. An input that is no picture (rank other than 4,
 * such as a feature vector) takes its one source as it stands.
 */
function toTensor(input: StageInput, rank: number, prepared: PreparedFrame, outputs: Outputs): Tensor {
  const dims = (channels: number): number[] =>
    input.layout === 'NHWC'
      ? [1, input.height, input.width, channels]
      : [1, channels, input.height, input.width];
  const rgb = prepared.get(fitKey(input));
  const whole = rank !== 4 && typeof input.from === 'string' ? outputs.get(input.from) : undefined;
  if (whole !== undefined) {
    return makeTensor(input.dtype === 'float16' ? toHalf(whole.data) : whole.data, whole.dims);
  }
  if (input.from === 'frame' && rgb !== undefined && isPlainRgb(input))
    return new Tensor('uint8', rgb, dims(3));
  const parts = sources(input).map((from) => {
    if (from === 'frame' && rgb !== undefined)
      return { planes: framePlanes(rgb, input), channels: frameChannels(input) };
    const map = outputs.get(from);
    if (map === undefined) throw new AgentError('model_manifest_invalid', `no earlier stage gives ${from}`);
    const planes = mapPlanes(map, input);
    return { planes, channels: planes.length / (input.width * input.height) };
  });
  const channels = parts.reduce((sum, part) => sum + part.channels, 0);
  const joined = new Float32Array(channels * input.width * input.height);
  let at = 0;
  for (const { planes } of parts) {
    joined.set(planes, at);
    at += planes.length;
  }
  return makeTensor(packPlanes(joined, channels, input), dims(channels));
}

function makeTensor(data: Float32Array | Uint8Array | Uint16Array, dims: readonly number[]): Tensor {
  if (data instanceof Float32Array) return new Tensor('float32', data, dims);
  if (data instanceof Uint16Array) return halfTensor(data, dims);
  return new Tensor('uint8', data, dims);
}

/**
 * onnxruntime-common turns half data into a `Float16Array` where there is one (Node 24), which the native binding of
 * 1.30 reads as empty ("not enough space: expected 6144, got 0"): the tensor gets its 16-bit words back.
 */
function halfTensor(words: Uint16Array, dims: readonly number[]): Tensor {
  const tensor = new Tensor('float16', words, dims);
  Reflect.set(tensor, 'cpuData', words);
  return tensor;
}
