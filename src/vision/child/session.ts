import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { AgentError } from '../../base/errors.ts';
import { settleAll } from '../../base/settle-all.ts';
import type { Bundle, Stage, StageInput } from '../../model/manifest.ts';
import { coveringSize, type RgbImage, type Size } from './decode.ts';
import type { Box, FittedRgb, TensorValues } from './preprocess.ts';
import {
  decodeSizeFor,
  fitPixels,
  frameChannels,
  framePlanes,
  isPlainRgb,
  mapPlanes,
  packPlanes,
  WHOLE_FRAME,
} from './preprocess.ts';
import { toReasonLine } from '../reason-line.ts';
import { providerOption } from './provider-options.ts';

/** Outputs of all stages; the key is `stage.output`. */
export type Outputs = ReadonlyMap<string, TensorValues>;

export interface SessionOptions {
  /** onnxruntime's name of the only execution provider; the session never falls back to another one. */
  readonly provider: string;
  /** Intra-op threads, 1 or more. */
  readonly threads: number;
}

/** Pixels of one frame, cropped and scaled for every input that reads the frame; the key is `fitKey`. */
export type PreparedFrame = ReadonlyMap<string, FittedRgb>;

interface OpenStage {
  readonly stage: Stage;
  readonly session: InferenceSession;
}

const fitKey = (input: StageInput): string => `${input.width}x${input.height}:${input.fit}`;
const sourcesOf = (input: StageInput): readonly string[] =>
  typeof input.from === 'string' ? [input.from] : input.from;

/**
 * Opens every stage of a bundle on one provider. Blocks the thread while it loads.
 * Throws `provider_unavailable` if the runtime does not have the provider or its libraries are missing,
 * `vision_start_failed` if a stage cannot be loaded, and `model_manifest_invalid` if a stage lacks an input or output
 * that the manifest names.
 */
export async function openSession(bundle: Bundle, options: SessionOptions): Promise<Session> {
  const opened: OpenStage[] = [];
  try {
    for (const stage of bundle.manifest.stages) {
      const session = await openStage(bundle, stage, options);
      opened.push({ stage, session });
      checkStage(stage, session);
    }
  } catch (thrown) {
    // A failed release must not replace the reason.
    await Promise.allSettled(opened.map(({ session }) => session.release()));
    throw thrown;
  }
  return new Session(bundle, options, opened);
}

async function openStage(bundle: Bundle, stage: Stage, options: SessionOptions): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(join(bundle.dir, stage.file), {
      executionProviders: [providerOption(options.provider, bundle.digest)],
      intraOpNumThreads: options.threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      logSeverityLevel: 4,
      // Frames arrive with gaps. Threads that wait actively (spin) in a gap use three times the inference's CPU time.
      extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
    });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const isProviderFault = options.provider !== 'cpu' && /provider|backend/i.test(text);
    throw new AgentError(
      isProviderFault ? 'provider_unavailable' : 'vision_start_failed',
      `stage ${stage.id} does not open on ${options.provider}: ${toReasonLine(text.replaceAll(bundle.dir, ''))}`,
      { cause, context: { stage: stage.id, provider: options.provider } },
    );
  }
}

/** A model file may name any number of inputs. An error crosses to the control process and lists only a few. */
const MAX_LISTED = 8;
const MAX_LISTED_CHARS = 200;

function checkStage(stage: Stage, session: InferenceSession): void {
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
    if (found?.isTensor === true && !acceptsFrame(input, found.shape))
      missing.push(
        `input ${input.name} of shape ${describeShape(frameShape(input))} (the file has ${describeShape(found.shape)})`,
      );
  }
  if (missing.length > 0) {
    const listed = missing.slice(0, MAX_LISTED).map((name) => name.slice(0, MAX_LISTED_CHARS));
    const more = missing.length > MAX_LISTED ? ` and ${missing.length - MAX_LISTED} more` : '';
    throw new AgentError('model_manifest_invalid', `stage ${stage.id} lacks ${listed.join(', ')}${more}`, {
      context: { stage: stage.id, missing: listed },
    });
  }
}

/** Shape of the tensor that an image input gets; null for the number of channels of earlier stages, which is not known. */
function frameShape(input: StageInput): readonly (number | null)[] {
  const isFrame = input.from === 'frame';
  const channels = !isFrame ? null : input.color === 'gray' ? 1 : 3;
  return input.layout === 'NHWC'
    ? [1, input.height, input.width, channels]
    : [1, channels, input.height, input.width];
}

/**
 * False when the shape in the model file excludes the tensor of the manifest, such as a batch of four. A dimension of the file
 * that is a name or not positive may have any size. An input that gets the output of a stage unchanged is not checked.
 */
function acceptsFrame(input: StageInput, shape: readonly (number | string)[]): boolean {
  if (shape.length === 0 || (shape.length !== 4 && input.from !== 'frame')) return true;
  const wanted = frameShape(input);
  return (
    shape.length === wanted.length &&
    shape.every(
      (size, at) => typeof size === 'string' || size <= 0 || wanted[at] === null || size === wanted[at],
    )
  );
}

const describeShape = (shape: readonly (number | string | null)[]): string =>
  `[${shape.map((size) => size ?? '?').join(',')}]`;

/** All stages of one bundle, open on one provider. Calls must not overlap. */
export class Session {
  readonly bundle: Bundle;
  readonly provider: string;
  readonly threads: number;
  readonly #stages: readonly OpenStage[];

  constructor(bundle: Bundle, options: SessionOptions, stages: readonly OpenStage[]) {
    this.bundle = bundle;
    this.provider = options.provider;
    this.threads = options.threads;
    this.#stages = stages;
  }

  /** The inputs that read the frame. */
  *#frameInputs(): Iterable<StageInput> {
    for (const { stage } of this.#stages) {
      for (const input of stage.inputs) if (sourcesOf(input).includes('frame')) yield input;
    }
  }

  /** The smallest size to which a frame must be decoded for all inputs, pixels. */
  decodeSize(source: Size, region: Box = WHOLE_FRAME): Size {
    const sizes = [...this.#frameInputs()].map((input) => decodeSizeFor(source, region, input));
    return coveringSize([{ width: 1, height: 1 }, ...sizes]);
  }

  /** Crops and scales the pixels for all inputs on other threads, so this thread can work in parallel. */
  async prepare(image: RgbImage, region: Box = WHOLE_FRAME): Promise<PreparedFrame> {
    const prepared = new Map<string, FittedRgb>();
    for (const input of this.#frameInputs()) {
      const key = fitKey(input);
      if (!prepared.has(key)) prepared.set(key, await fitPixels(image, region, input));
    }
    return prepared;
  }

  /**
   * Runs all stages on prepared pixels; blocks the thread. Throws `vision_output_invalid` for NaN, infinity, a shape
   * that does not fit the next stage, or an error of the runtime.
   */
  async infer(prepared: PreparedFrame): Promise<Outputs> {
    const outputs = new Map<string, TensorValues>();
    for (const { stage, session } of this.#stages) {
      const feeds: Record<string, Tensor> = {};
      for (const input of stage.inputs) {
        const metadata = session.inputMetadata.find(({ name }) => name === input.name);
        const rank = metadata?.isTensor === true ? metadata.shape.length : 4;
        feeds[input.name] = toTensor(input, rank, prepared, outputs);
      }
      const results = await session.run(feeds, stage.outputs).catch((cause: unknown) => {
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new AgentError(
          'vision_output_invalid',
          `stage ${stage.id} failed: ${toReasonLine(text.replaceAll(this.bundle.dir, ''))}`,
          { cause, context: { stage: stage.id } },
        );
      });
      for (const name of stage.outputs) {
        const ref = `${stage.id}.${name}`;
        const tensor = results[name];
        if (tensor === undefined) throw new AgentError('vision_output_invalid', `output ${ref} is missing`);
        outputs.set(ref, readTensor(ref, tensor));
      }
    }
    return outputs;
  }

  async release(): Promise<void> {
    await settleAll(this.#stages.map(({ session }) => session.release()));
  }
}

/**
 * Builds the tensor of one input from the frame and the outputs of earlier stages. An input that is not an image (its
 * rank is not 4, for example a feature vector) gets its single source unchanged.
 */
function toTensor(input: StageInput, rank: number, prepared: PreparedFrame, outputs: Outputs): Tensor {
  const dims = (channels: number): number[] =>
    input.layout === 'NHWC'
      ? [1, input.height, input.width, channels]
      : [1, channels, input.height, input.width];
  const rgb = prepared.get(fitKey(input));
  const unchanged = rank !== 4 && typeof input.from === 'string' ? outputs.get(input.from) : undefined;
  if (unchanged !== undefined) {
    const { data } = unchanged;
    return makeTensor(input.dtype === 'float16' ? new Float16Array(data) : data, unchanged.dims);
  }
  if (input.from === 'frame' && rgb !== undefined && isPlainRgb(input))
    return new Tensor('uint8', rgb, dims(3));
  const parts = sourcesOf(input).map((from) => {
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

function makeTensor(data: Float32Array | Float16Array | Uint8Array, dims: readonly number[]): Tensor {
  if (data instanceof Float32Array) return new Tensor('float32', data, dims);
  if (data instanceof Uint8Array) return new Tensor('uint8', data, dims);
  // onnxruntime-common stores half data as a `Float16Array`, which the native binding of 1.30 reads as empty ("not
  // enough space: expected 6144, got 0"). So replace it with the same data as 16-bit words.
  const words = new Uint16Array(data.buffer, data.byteOffset, data.length);
  const tensor = new Tensor('float16', words, dims);
  Reflect.set(tensor, 'cpuData', words);
  return tensor;
}

/**
 * The values of one output as float32. Throws `vision_output_invalid` for text, and for NaN and infinity, which
 * onnxruntime does not report.
 */
export function readTensor(ref: string, tensor: Tensor): TensorValues {
  const values = { data: toFloat32(ref, tensor), dims: tensor.dims };
  for (const value of values.data) {
    if (!Number.isFinite(value)) {
      throw new AgentError('vision_output_invalid', `output ${ref} contains ${value}`, { context: { ref } });
    }
  }
  return values;
}

function toFloat32(ref: string, { type, data }: Tensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (Array.isArray(data)) {
    throw new AgentError('vision_output_invalid', `output ${ref} is text`, { context: { ref } });
  }
  if (type === 'float16' && data instanceof Uint16Array)
    return new Float32Array(new Float16Array(data.buffer, data.byteOffset, data.length));
  const values = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) values[i] = Number(data[i]);
  return values;
}
