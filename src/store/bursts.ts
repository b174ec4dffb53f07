import type Database from 'better-sqlite3';
import type { ViewSignature } from '../vision/protocol.ts';
import type { BurstRow } from './rows.ts';
import type { BurstMemory } from './types.ts';

/** Embeddings and view signatures, by camera and observation. */
export class Bursts {
  readonly #put: Database.Statement<[BurstRow]>;
  readonly #find: Database.Statement<[string], { camera: string }>;

  constructor(deps: { db: Database.Database }) {
    this.#put = deps.db.prepare(
      `INSERT INTO bursts (camera, observation_id, captured_at_ms, embedding_digest, embedding,
                           view_luma, view_width, view_height)
       VALUES (@camera, @observation_id, @captured_at_ms, @embedding_digest, @embedding,
               @view_luma, @view_width, @view_height)
       ON CONFLICT (camera, observation_id) DO UPDATE SET
         embedding_digest = excluded.embedding_digest, embedding = excluded.embedding,
         view_luma = excluded.view_luma, view_width = excluded.view_width, view_height = excluded.view_height`,
    );
    this.#find = deps.db.prepare('SELECT camera FROM bursts WHERE observation_id = ?');
  }

  /** Keeps what a model saw; nothing when no model ran. Call it in the record's transaction. */
  remember(camera: string, observationId: string, capturedAtMs: number, memory: BurstMemory): void {
    if (!memory.embedding || memory.embeddingDigest === null) return;
    this.put({
      camera,
      observation_id: observationId,
      captured_at_ms: capturedAtMs,
      embedding_digest: memory.embeddingDigest,
      embedding: toBytes(memory.embedding),
      ...viewColumns(memory.view),
    });
  }

  put(row: BurstRow): void {
    this.#put.run(row);
  }

  /** The cameras that have a burst under this id: one, unless a calibration was imported into several. */
  camerasOf(observationId: string): readonly string[] {
    return this.#find.all(observationId).map(({ camera }) => camera);
  }
}

export function viewColumns(
  view: ViewSignature | null,
): Pick<BurstRow, 'view_luma' | 'view_width' | 'view_height'> {
  return {
    view_luma: view?.luma ?? null,
    view_width: view?.width ?? null,
    view_height: view?.height ?? null,
  };
}

export function viewOf(row: BurstRow): ViewSignature | null {
  if (!row.view_luma || row.view_width === null || row.view_height === null) return null;
  return { luma: new Uint8Array(row.view_luma), width: row.view_width, height: row.view_height };
}

export const toBytes = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A copy: the blob's bytes need not lie on a multiple of four. */
export const toFloats = (bytes: Uint8Array): Float32Array =>
  new Float32Array(Uint8Array.from(bytes).buffer, 0, Math.floor(bytes.byteLength / 4));
