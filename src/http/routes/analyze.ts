import type { FastifyReply } from 'fastify';
import type { Settings } from '../../config/schema.ts';
import { Id } from '../../contract/schema-parts.ts';
import type { AnalysisOptions, AnalysisResult, BatchItem, BatchResult } from '../../contract/analysis.ts';
import type { AgentApi } from '../../contract/api.ts';
import { ANALYSIS_OPERATIONS, type AnalyzeQuery } from '../../contract/openapi/analysis-operations.ts';
import { FLAGS, isSet } from '../../contract/openapi/operation.ts';
import { AgentError } from '../../base/errors.ts';
import { toProblem } from '../problem.ts';
import { addRoute, disconnectSignal, routePath, type Routes } from '../route.ts';
import {
  bufferBytesFor,
  checkUploadHeaders,
  Upload,
  UploadMemory,
  type SentImage,
  type SentPart,
  type UploadLimits,
} from '../upload.ts';
import type { UploadTuning } from '../upload-watch.ts';

const BYTES_PER_MB = 1_000_000;
const CAMERA_ID = new RegExp(Id.pattern ?? '');

export type AnalyzeLimits = Pick<Settings['http'], 'maxUploadMb' | 'batchMax'> & {
  readonly tuning?: UploadTuning;
};

/** `POST /api/v1/analyze` and `…/batch`: uploaded images. */
export function analyzeRoutes({ maxUploadMb, batchMax, tuning }: AnalyzeLimits): Routes {
  const one: UploadLimits = {
    imageBytes: Math.floor(maxUploadMb * BYTES_PER_MB),
    images: 1,
    ...(tuning ? { tuning } : {}),
  };
  const many: UploadLimits = { ...one, images: batchMax };
  const memory = new UploadMemory();
  return (app, { api }) => {
    app.register(async (scope) => {
      const { default: multipart } = await import('@fastify/multipart');
      await scope.register(multipart, { throwFileSizeLimit: false });
      // First admission stage (`analysis/upload-budget.ts`), before the body is received, or asked for by `100 Continue`.
      scope.addHook('onRequest', (request, reply, done) => {
        const limits = request.routeOptions.url === routePath(ANALYSIS_OPERATIONS.analyze) ? one : many;
        checkUploadHeaders(request, limits);
        const reservation = api.reserveUpload(bufferBytesFor(request, limits));
        reply.raw.once('close', () => reservation.release());
        done();
      });
      // `checkUploadHeaders` refuses every other content type before its body is read.
      scope.removeContentTypeParser('application/json');
      scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
      addRoute(scope, ANALYSIS_OPERATIONS.analyze, ({ query, request }, reply) =>
        whileConnected(reply, new Upload(request, one, memory), (upload, signal) =>
          analyzeOne(upload, query, api, signal),
        ),
      );
      addRoute(scope, ANALYSIS_OPERATIONS.analyzeBatch, ({ query, request }, reply) =>
        whileConnected(reply, new Upload(request, many, memory), (upload, signal) =>
          analyzeMany(upload, query, api, batchMax, signal),
        ),
      );
    });
  };
}

/** Runs the work until the client disconnects. */
async function whileConnected<T>(
  reply: FastifyReply,
  upload: Upload,
  work: (upload: Upload, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const signal = disconnectSignal(reply);
  try {
    const answered = await work(upload, signal);
    upload.release();
    return answered;
  } catch (thrown) {
    if (signal.aborted)
      throw new AgentError('request_aborted', 'the client disconnected before its response');
    throw thrown;
  }
}

/** The options, from the query and from fields. */
class Options {
  #camera: string | undefined;
  #strict: string | undefined;

  constructor({ camera, strict }: AnalyzeQuery) {
    this.#camera = camera;
    this.#strict = strict;
  }

  /** Throws `request_invalid` for a field that is unknown, wrong or there already. */
  add({ field, value }: Extract<SentPart, { kind: 'field' }>): void {
    if (field === 'camera' && this.#camera === undefined && CAMERA_ID.test(value)) this.#camera = value;
    else if (field === 'strict' && this.#strict === undefined && FLAGS.includes(value)) this.#strict = value;
    else throw new AgentError('request_invalid', 'a field of the form is unknown, wrong or given twice');
  }

  get value(): AnalysisOptions {
    return { strict: isSet(this.#strict), ...(this.#camera === undefined ? {} : { camera: this.#camera }) };
  }
}

const tooLarge = (): AgentError =>
  new AgentError('image_too_large', 'the image is larger than http.maxUploadMb allows');

async function analyzeOne(
  upload: Upload,
  query: AnalyzeQuery,
  api: AgentApi,
  signal: AbortSignal,
): Promise<AnalysisResult> {
  const options = new Options(query);
  let image: SentImage | null = null;
  for await (const part of upload.parts()) {
    if (part.kind === 'field') options.add(part);
    else if (part.field !== 'file')
      throw new AgentError('request_invalid', 'the image must be in the field file');
    else if (image !== null) throw new AgentError('request_invalid', 'the form has more than one file');
    else if (part.kind === 'too_large') throw tooLarge();
    else image = part;
  }
  if (image === null) throw new AgentError('request_invalid', 'the form lacks the field file');
  return api.analyze(image.bytes, { ...options.value, sha256: image.sha256 }, signal);
}

async function analyzeMany(
  upload: Upload,
  query: AnalyzeQuery,
  api: AgentApi,
  batchMax: number,
  signal: AbortSignal,
): Promise<BatchResult> {
  const startedMs = performance.now();
  const options = new Options(query);
  const results: BatchItem[] = [];
  for await (const part of upload.parts()) {
    signal.throwIfAborted();
    if (part.kind === 'field') {
      if (results.length > 0) throw new AgentError('request_invalid', 'fields must precede the images');
      options.add(part);
      continue;
    }
    if (part.field !== 'files')
      throw new AgentError('request_invalid', 'the images must be in the field files');
    if (results.length >= batchMax)
      throw new AgentError('request_too_large', `a batch has at most ${batchMax} images`);
    const place = { index: results.length, filename: part.filename };
    try {
      if (part.kind === 'too_large') throw tooLarge();
      const result = await api.analyze(part.bytes, { ...options.value, sha256: part.sha256 }, signal);
      results.push({ ...place, ok: true, result });
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown instanceof AgentError && thrown.code === 'camera_unknown') throw thrown;
      results.push({ ...place, ok: false, error: toProblem(thrown) });
    }
  }
  if (results.length === 0)
    throw new AgentError('request_invalid', 'the form has no images in the field files');
  const successful = results.filter(({ ok }) => ok).length;
  return {
    results,
    total_images: results.length,
    successful_analyses: successful,
    failed_analyses: results.length - successful,
    total_processing_time_seconds: Number(((performance.now() - startedMs) / 1000).toFixed(6)),
  };
}
