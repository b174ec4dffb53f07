import type Database from 'better-sqlite3';
import type { ViewSignature } from '../vision/protocol.ts';
import { packBurst, unpackBurst } from './packed-burst.ts';
import type { BurstFeatures } from './types.ts';
import type { Writer } from './writer.ts';

interface RecentRow extends Pick<BurstRow, 'camera' | 'captured_at_ms' | 'embedding_digest'> {
  readonly row_id: number;
  /** See `packBurst`. */
  readonly features: Uint8Array;
}

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
  readonly #addRecent: Database.Statement<[number, string, Uint8Array]>;
  readonly #findRecent: Database.Statement<[string], RecentRow>;
  readonly #oldestRecent: Database.Statement<[number], { row_id: number; captured_at_ms: number }>;
  readonly #deleteRecentUpTo: Database.Statement<[number]>;
  readonly #put: Database.Statement<[BurstRow]>;
  readonly #cameras: Database.Statement<[string], { camera: string }>;

  constructor(db: Database.Database) {
    this.#addRecent = db.prepare('INSERT INTO recent_bursts VALUES (?, ?, ?)');
    this.#findRecent = db.prepare(
      `SELECT r.row_id, r.embedding_digest, r.features, o.camera, o.captured_at_ms
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
  add(rowId: number, { embedding, embeddingDigest, view }: BurstFeatures): void {
    if (!embedding || embeddingDigest === null) return;
    this.#addRecent.run(rowId, embeddingDigest, packBurst({ embedding, view }));
  }

  /** Copies the burst of an observation for its label. Call it in the transaction that stores the label. */
  keep(observationId: string): void {
    const row = this.#findRecent.get(observationId);
    if (!row) return;
    const { embedding, view } = unpackBurst(row.features);
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
