import { createHash } from 'node:crypto';
import { isoTime } from '../base/clock.ts';
import { CalibrationDocument, type CalibrationLabel } from '../contract/calibration.ts';
import type { ModelRef } from '../contract/observation.ts';
import { AgentError } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import type { SiteCalibration } from './site-calibration.ts';
import { INTERVAL_COVERAGE } from './interval.ts';
import { isValidEmbedding } from './select-bursts.ts';
import type { LabelledBurst } from './types.ts';

/** Compiles the JSON schema only when a document is imported, which happens rarely. */
const ajv = schemaChecker();

/** Exports the labelled bursts of a calibration as one JSON document. Throws `calibration_invalid` without labels. */
export function exportCalibration(
  calibration: SiteCalibration,
  created: { readonly atMs: number; readonly model: ModelRef | null },
): CalibrationDocument {
  const labels = calibration.bursts().map(encodeBurst);
  const dimension = calibration.bursts()[0]?.embedding.length;
  if (dimension === undefined)
    throw new AgentError('calibration_invalid', 'this camera has no labels for the model in use', {
      context: { camera: calibration.camera },
    });
  return {
    schema: 'swellsight.calibration/1',
    camera: calibration.camera,
    created_at: isoTime(created.atMs),
    embedding_digest: calibration.embeddingDigest,
    model: created.model,
    dimension,
    summary: calibration.summary(),
    interval_coverage: INTERVAL_COVERAGE,
    labels,
    digest: digestOf(labels),
  };
}

/**
 * Returns the labelled bursts of a document, bit for bit as they were exported. Ignores all other contents of the
 * document, so the caller must fit the labels again. Throws `calibration_invalid` for a document that is damaged,
 * or that has another format, another camera (if one is expected) or another embedding digest.
 */
export function importCalibration(
  document: unknown,
  expected: { readonly embeddingDigest: string; readonly camera?: string },
): { readonly camera: string; readonly bursts: readonly LabelledBurst[] } {
  if (!ajv.validate<CalibrationDocument>(CalibrationDocument, document))
    reject(`the document is not a calibration: ${ajv.errorsText(ajv.errors, { dataVar: 'document' })}`);
  if (expected.camera !== undefined && document.camera !== expected.camera)
    reject(`the document belongs to camera ${document.camera}, not ${expected.camera}`);
  if (document.embedding_digest !== expected.embeddingDigest)
    reject('the document was made with another model, so its embeddings cannot be compared');
  if (document.digest !== digestOf(document.labels))
    reject('the labels are damaged: their digest does not match');
  const ids = new Set(document.labels.map((label) => label.observation_id));
  if (ids.size !== document.labels.length) reject('the document has two labels for one observation');
  return {
    camera: document.camera,
    bursts: document.labels.map((label) => decodeBurst(label, document.camera, document.dimension)),
  };
}

function encodeBurst({ label, embedding, view, capturedAtMs }: LabelledBurst): CalibrationLabel {
  const bytes = Buffer.alloc(embedding.length * 4);
  embedding.forEach((value, index) => bytes.writeFloatLE(value, index * 4));
  return {
    observation_id: label.observationId,
    height_m: label.heightM,
    observer: label.observer,
    note: label.note,
    ...(label.height == null ? {} : { height: label.height }),
    ...(label.unit == null ? {} : { unit: label.unit }),
    ...(label.scale == null ? {} : { scale: label.scale }),
    ...(label.tideM == null ? {} : { tide_m: label.tideM }),
    created_at: isoTime(label.createdAtMs),
    ...(capturedAtMs === null ? {} : { captured_at: isoTime(capturedAtMs) }),
    group: label.group,
    embedding: bytes.toString('base64'),
    view:
      view === null
        ? null
        : { width: view.width, height: view.height, luma: Buffer.from(view.luma).toString('base64') },
  };
}

function decodeBurst(label: CalibrationLabel, camera: string, dimension: number): LabelledBurst {
  const bytes = Buffer.from(label.embedding, 'base64');
  if (bytes.length !== dimension * 4) reject(`the embedding of ${label.observation_id} has the wrong length`);
  const embedding = Float32Array.from({ length: dimension }, (_, index) => bytes.readFloatLE(index * 4));
  if (!isValidEmbedding(embedding))
    reject(`the embedding of ${label.observation_id} contains NaN or infinity`);
  const createdAtMs = Date.parse(label.created_at);
  if (Number.isNaN(createdAtMs)) reject(`the creation time of ${label.observation_id} is not a date`);
  const capturedAtMs = label.captured_at === undefined ? null : Date.parse(label.captured_at);
  if (Number.isNaN(capturedAtMs)) reject(`the capture time of ${label.observation_id} is not a date`);
  const view =
    label.view === null
      ? null
      : { ...label.view, luma: new Uint8Array(Buffer.from(label.view.luma, 'base64')) };
  if (view !== null && view.luma.length !== view.width * view.height)
    reject(`the view of ${label.observation_id} has the wrong size`);
  return {
    label: {
      observationId: label.observation_id,
      camera,
      heightM: label.height_m,
      observer: label.observer,
      note: label.note,
      ...(label.height === undefined ? {} : { height: label.height }),
      ...(label.unit === undefined ? {} : { unit: label.unit }),
      ...(label.scale === undefined ? {} : { scale: label.scale }),
      ...(label.tide_m === undefined ? {} : { tideM: label.tide_m }),
      createdAtMs,
      group: label.group,
    },
    embedding,
    view,
    capturedAtMs,
  };
}

/** Digest of the labels. It does not depend on the order of JSON keys, which other tools may change. */
function digestOf(labels: readonly CalibrationLabel[]): string {
  const hash = createHash('sha256');
  for (const label of labels) {
    const { observation_id, height_m, group, created_at, captured_at, embedding, view } = label;
    const values = [observation_id, height_m, group, created_at, embedding, view?.luma ?? null];
    // Documents of earlier agents have no capture time.
    hash.update(JSON.stringify(captured_at === undefined ? values : [...values, captured_at]));
  }
  return `sha256:${hash.digest('hex')}`;
}

function reject(message: string): never {
  throw new AgentError('calibration_invalid', message);
}
