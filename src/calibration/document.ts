import { createHash } from 'node:crypto';
import { isoTime } from '../base/clock.ts';
import { CalibrationDocument, type CalibrationLabel } from '../contract/calibration.ts';
import type { ModelRef } from '../contract/observation.ts';
import { AgentError } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import type { SiteCalibration } from './site-calibration.ts';
import { INTERVAL_COVERAGE } from './interval.ts';
import { isSound } from './select-bursts.ts';
import type { LabelledBurst } from './types.ts';

/** Compiles the schema at its first use: imports are rare. */
const ajv = schemaChecker();

/** Everything that the calibration stands on, as one JSON document. Throws `calibration_invalid` without labels. */
export function exportCalibration(
  calibration: SiteCalibration,
  made: { readonly atMs: number; readonly model: ModelRef | null },
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
    created_at: isoTime(made.atMs),
    embedding_digest: calibration.embeddingDigest,
    model: made.model,
    dimension,
    summary: calibration.summary(),
    interval_coverage: INTERVAL_COVERAGE,
    labels,
    digest: digestOf(labels),
  };
}

/**
 * The labelled bursts of a document, bit for bit as they were exported. Nothing else of it is believed: errors and
 * weights are computed anew. Throws `calibration_invalid` for a document that is damaged, of another format, of
 * another camera (where one is expected) or of another embedding.
 */
export function importCalibration(
  document: unknown,
  expected: { readonly embeddingDigest: string; readonly camera?: string },
): { readonly camera: string; readonly bursts: readonly LabelledBurst[] } {
  if (!ajv.validate<CalibrationDocument>(CalibrationDocument, document))
    refuse(`not a calibration document: ${ajv.errorsText(ajv.errors, { dataVar: 'document' })}`);
  if (expected.camera !== undefined && document.camera !== expected.camera)
    refuse(`it belongs to camera ${document.camera}, not ${expected.camera}`);
  if (document.embedding_digest !== expected.embeddingDigest)
    refuse('it was made with another model: its embeddings cannot be compared');
  if (document.digest !== digestOf(document.labels)) refuse('its labels are damaged: the digest differs');
  const ids = new Set(document.labels.map((label) => label.observation_id));
  if (ids.size !== document.labels.length) refuse('it holds two labels of one observation');
  return {
    camera: document.camera,
    bursts: document.labels.map((label) => decodeBurst(label, document.camera, document.dimension)),
  };
}

function encodeBurst({ label, embedding, view }: LabelledBurst): CalibrationLabel {
  const bytes = Buffer.alloc(embedding.length * 4);
  embedding.forEach((value, index) => bytes.writeFloatLE(value, index * 4));
  return {
    observation_id: label.observationId,
    height_m: label.heightM,
    observer: label.observer,
    note: label.note,
    created_at: isoTime(label.createdAtMs),
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
  if (bytes.length !== dimension * 4) refuse(`the embedding of ${label.observation_id} has another length`);
  const embedding = Float32Array.from({ length: dimension }, (_, index) => bytes.readFloatLE(index * 4));
  if (!isSound(embedding)) refuse(`the embedding of ${label.observation_id} is not finite`);
  const createdAtMs = Date.parse(label.created_at);
  if (Number.isNaN(createdAtMs)) refuse(`the time of ${label.observation_id} does not exist`);
  const view =
    label.view === null
      ? null
      : { ...label.view, luma: new Uint8Array(Buffer.from(label.view.luma, 'base64')) };
  if (view !== null && view.luma.length !== view.width * view.height)
    refuse(`the view of ${label.observation_id} has another size`);
  return {
    label: {
      observationId: label.observation_id,
      camera,
      heightM: label.height_m,
      observer: label.observer,
      note: label.note,
      createdAtMs,
      group: label.group,
    },
    embedding,
    view,
  };
}

/** Independent of the order of keys, which other tools may change. */
function digestOf(labels: readonly CalibrationLabel[]): string {
  const hash = createHash('sha256');
  for (const label of labels) {
    const { observation_id, height_m, group, created_at, embedding, view } = label;
    hash.update(JSON.stringify([observation_id, height_m, group, created_at, embedding, view?.luma ?? null]));
  }
  return `sha256:${hash.digest('hex')}`;
}

function refuse(why: string): never {
  throw new AgentError('calibration_invalid', why);
}
