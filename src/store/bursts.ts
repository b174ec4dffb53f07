import type Database from 'better-sqlite3';
import type { Observation } from '../contract/observation.ts';
import type { ViewSignature } from '../vision/protocol.ts';
import { packBurst, unpackBurst } from './packed-burst.ts';
import type { BurstFeatures } from './types.ts';
import type { Writer } from './writer.ts';

interface RecentRow extends Pick<BurstRow, 'camera' | 'captured_at_ms' | 'embedding_digest'> {
  readonly row_id: number;
  /** See `packBurst`. */
  readonly features: Uint8Array;
  readonly view_row_id: number | null;
}

interface StoredView {
  readonly rowId: number;
  readonly view: ViewSignature;
  readonly capturedAtMs: number;
}

/** A view is stored again after this time, because the light changes. */
const MAX_VIEW_AGE_MS = 600_000;
/**
 * In nearly equal views, a quarter of the pixels differs by at most this, luma 0..255, though the sea moves. In the frames
 * of docs/calibration.md: 0.5 to 8 within a burst, 60% of them below this limit; 4.1 and more between two cameras.
 */
const MAX_QUARTER_DIFFERENCE = 3.5;

/** A row of the table `bursts`. */
export interface BurstRow {
  readonly camera: string;
  readonly observation_id: string;
  readonly captured_at_ms: number;
  readonly embedding_digest: string;
  /** Float32, little-endian. */
  readonly embedding: Uint8Array;
  readonly view_luma: Uint8Array | null;
  readonly view_width: number | null;
  readonly view_height: number | null;
}

/**
 * What the model computed from each burst of frames (embedding and view signature): packed in `recent_bursts` until it is
 * too old for a label, in `bursts` once it has one.
 */
export class Bursts {
  readonly #addRecent: Database.Statement<[number, string, Uint8Array, number | null]>;
  readonly #findRecent: Database.Statement<[string], RecentRow>;
  readonly #features: Database.Statement<[number], { features: Uint8Array }>;
  readonly #oldestRecent: Database.Statement<[number], { row_id: number; captured_at_ms: number }>;
  readonly #deleteRecentUpTo: Database.Statement<[number]>;
  readonly #put: Database.Statement<[BurstRow]>;
  readonly #cameras: Database.Statement<[string], { camera: string }>;

  /** The last stored view of each camera. */
  readonly #lastViews = new Map<string, StoredView>();

  constructor({ db, writer }: { readonly db: Database.Database; readonly writer: Writer }) {
    // The rows of these views may not exist.
    writer.onRollback(() => this.#lastViews.clear());
    this.#addRecent = db.prepare('INSERT INTO recent_bursts VALUES (?, ?, ?, ?)');
    this.#features = db.prepare('SELECT features FROM recent_bursts WHERE row_id = ?');
    this.#findRecent = db.prepare(
      `SELECT r.row_id, r.embedding_digest, r.features, r.view_row_id, o.camera, o.captured_at_ms
       FROM observations o JOIN recent_bursts r ON r.row_id = o.row_id WHERE o.id = ?`,
    );
    this.#oldestRecent = db.prepare(
      `SELECT r.row_id, o.captured_at_ms FROM recent_bursts r JOIN observations o ON o.row_id = r.row_id
       ORDER BY r.row_id LIMIT ?`,
    );
    this.#deleteRecentUpTo = db.prepare('DELETE FROM recent_bursts WHERE row_id <= ?');
    this.#put = db.prepare(
      `INSERT INTO bursts (camera, observation_id, captured_at_ms, embedding_digest, embedding,
                           view_luma, view_width, view_height)
       VALUES (@camera, @observation_id, @captured_at_ms, @embedding_digest, @embedding,
               @view_luma, @view_width, @view_height)
       ON CONFLICT (camera, observation_id) DO UPDATE SET
         embedding_digest = excluded.embedding_digest, embedding = excluded.embedding,
         view_luma = excluded.view_luma, view_width = excluded.view_width, view_height = excluded.view_height`,
    );
    this.#cameras = db.prepare('SELECT camera FROM bursts WHERE observation_id = ?');
  }

  /** Adds the burst of a record; does nothing when no model ran. Call it in the transaction that stores the record. */
  add(rowId: number, record: Observation, { embedding, embeddingDigest, view }: BurstFeatures): void {
    if (!embedding || embeddingDigest === null) return;
    const capturedAtMs = Date.parse(record.captured_at);
    const last = this.#lastViews.get(record.camera);
    const isRecent = last !== undefined && Math.abs(capturedAtMs - last.capturedAtMs) < MAX_VIEW_AGE_MS;
    const known = view && isRecent && isNearlySame(last.view, view) ? last : null;
    if (view && !known) this.#lastViews.set(record.camera, { rowId, view, capturedAtMs });
    const packed = packBurst({ embedding, view: known ? null : view });
    this.#addRecent.run(rowId, embeddingDigest, packed, view && (known?.rowId ?? rowId));
  }

  /**
   * Copies the burst of an observation for its label. Later bursts may use the view of the packed row, which stays. Call it
   * in the transaction that stores the label.
   */
  keep(observationId: string): void {
    const row = this.#findRecent.get(observationId);
    if (!row) return;
    const { embedding } = unpackBurst(row.features);
    const withView = row.view_row_id === null ? undefined : this.#features.get(row.view_row_id);
    const view = withView ? unpackBurst(withView.features).view : null;
    this.put({
      camera: row.camera,
      observation_id: observationId,
      captured_at_ms: row.captured_at_ms,
      embedding_digest: row.embedding_digest,
      embedding: embeddingToBytes(embedding),
      ...viewToColumns(view),
    });
  }

  /**
   * Deletes bursts without a label that were captured between the two times; at most `limit`. Also deletes those that were
   * stored before one of them, whose clock was wrong. Returns the number of deleted rows.
   */
  deleteAgedRecent(fromMs: number, toMs: number, limit: number): number {
    const aged = this.#oldestRecent
      .all(limit)
      .findLast(({ captured_at_ms }) => captured_at_ms > fromMs && captured_at_ms < toMs);
    return aged ? this.#deleteRecentUpTo.run(aged.row_id).changes : 0;
  }

  put(row: BurstRow): void {
    this.#put.run(row);
  }

  /** The cameras that have a burst with this id: several cameras when a calibration was imported into each of them. */
  camerasOf(observationId: string): readonly string[] {
    const recent = this.#findRecent.get(observationId);
    return [...(recent ? [recent] : []), ...this.#cameras.all(observationId)].map(({ camera }) => camera);
  }
}

export interface BurstEmbedding {
  readonly observationId: string;
  readonly embedding: Float32Array;
}

/** Embeddings of labelled bursts that were computed by other models than the model that ran at the capture. */
export class Embeddings {
  readonly #writer: Writer;
  readonly #put: Database.Statement<[{ camera: string; id: string; digest: string; embedding: Uint8Array }]>;
  readonly #missing: Database.Statement<[{ camera: string; digest: string }], { observation_id: string }>;
  readonly #digests: Database.Statement<[], { embedding_digest: string }>;
  readonly #delete: Database.Statement<[string]>;

  constructor({ db, writer }: { readonly db: Database.Database; readonly writer: Writer }) {
    this.#writer = writer;
    this.#put = db.prepare(
      `INSERT INTO embeddings (camera, observation_id, embedding_digest, embedding)
       SELECT camera, observation_id, @digest, @embedding FROM bursts
         WHERE camera = @camera AND observation_id = @id
       ON CONFLICT (camera, observation_id, embedding_digest) DO UPDATE SET embedding = excluded.embedding`,
    );
    this.#missing = db.prepare(
      `SELECT l.observation_id FROM labels l
         JOIN bursts b ON b.camera = l.camera AND b.observation_id = l.observation_id
         LEFT JOIN embeddings e ON e.camera = l.camera AND e.observation_id = l.observation_id
           AND e.embedding_digest = @digest
       WHERE l.camera = @camera AND b.embedding_digest <> @digest AND e.row_id IS NULL
       ORDER BY l.created_at_ms DESC, l.observation_id`,
    );
    this.#digests = db.prepare('SELECT DISTINCT embedding_digest FROM embeddings');
    this.#delete = db.prepare('DELETE FROM embeddings WHERE embedding_digest = ?');
  }

  /** The ids of labelled observations that have no embedding of this model, newest label first. */
  missing(camera: string, digest: string): readonly string[] {
    return this.#missing.all({ camera, digest }).map((row) => row.observation_id);
  }

  /** Adds embeddings in one transaction. Skips bursts that no longer exist. */
  add(camera: string, digest: string, bursts: readonly BurstEmbedding[]): void {
    this.#writer.write(() => {
      for (const { observationId, embedding } of bursts)
        this.#put.run({ camera, id: observationId, digest, embedding: embeddingToBytes(embedding) });
    });
  }

  /** Deletes all embeddings except those of the models with these digests. */
  keepOnly(digests: readonly string[]): void {
    const unused = this.#digests.all().filter((row) => !digests.includes(row.embedding_digest));
    if (unused.length === 0) return;
    this.#writer.write(() => {
      for (const row of unused) this.#delete.run(row.embedding_digest);
    });
  }
}

/** Whether two views show the same place, up to moving content and to the brightness of the whole view. */
function isNearlySame(a: ViewSignature, b: ViewSignature): boolean {
  const { length } = a.luma;
  if (a.width !== b.width || a.height !== b.height || length === 0) return false;
  let sum = 0;
  for (let at = 0; at < length; at += 1) sum += (a.luma[at] ?? 0) - (b.luma[at] ?? 0);
  const brighter = sum / length;
  let near = 0;
  for (let at = 0; at < length; at += 1)
    if (Math.abs((a.luma[at] ?? 0) - (b.luma[at] ?? 0) - brighter) <= MAX_QUARTER_DIFFERENCE) near += 1;
  return near >= length / 4;
}

export type ViewColumns = Pick<BurstRow, 'view_luma' | 'view_width' | 'view_height'>;

export function viewToColumns(view: ViewSignature | null): ViewColumns {
  return {
    view_luma: view?.luma ?? null,
    view_width: view?.width ?? null,
    view_height: view?.height ?? null,
  };
}

export function viewFromColumns(row: ViewColumns): ViewSignature | null {
  if (!row.view_luma || row.view_width === null || row.view_height === null) return null;
  return { luma: new Uint8Array(row.view_luma), width: row.view_width, height: row.view_height };
}

export const embeddingToBytes = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Copies the bytes, because a blob may not be aligned to four bytes. */
export const embeddingFromBytes = (bytes: Uint8Array): Float32Array =>
  new Float32Array(new Uint8Array(bytes).buffer, 0, Math.floor(bytes.byteLength / 4));
