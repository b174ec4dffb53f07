import type Database from 'better-sqlite3';
import { toBytes } from './bursts.ts';
import type { Writer } from './writer.ts';

/** One labelled burst as a trunk sees it. */
export interface SeenBurst {
  readonly observationId: string;
  readonly embedding: Float32Array;
}

/** What trunks made of the pictures of labelled bursts that they had not seen live. */
export class Embeddings {
  readonly #writer: Writer;
  readonly #put: Database.Statement<[{ camera: string; id: string; digest: string; embedding: Uint8Array }]>;
  readonly #unseen: Database.Statement<[{ camera: string; digest: string }], { observation_id: string }>;
  readonly #trunks: Database.Statement<[], { embedding_digest: string }>;
  readonly #forget: Database.Statement<[string]>;

  constructor({ db, writer }: { readonly db: Database.Database; readonly writer: Writer }) {
    this.#writer = writer;
    this.#put = db.prepare(
      `INSERT INTO embeddings (camera, observation_id, embedding_digest, embedding)
       SELECT camera, observation_id, @digest, @embedding FROM bursts
         WHERE camera = @camera AND observation_id = @id
       ON CONFLICT (camera, observation_id, embedding_digest) DO UPDATE SET embedding = excluded.embedding`,
    );
    this.#unseen = db.prepare(
      `SELECT l.observation_id FROM labels l
         JOIN bursts b ON b.camera = l.camera AND b.observation_id = l.observation_id
         LEFT JOIN embeddings e ON e.camera = l.camera AND e.observation_id = l.observation_id
           AND e.embedding_digest = @digest
       WHERE l.camera = @camera AND b.embedding_digest <> @digest AND e.row_id IS NULL
       ORDER BY l.created_at_ms DESC, l.observation_id`,
    );
    this.#trunks = db.prepare('SELECT DISTINCT embedding_digest FROM embeddings');
    this.#forget = db.prepare('DELETE FROM embeddings WHERE embedding_digest = ?');
  }

  /** Labelled observations that this trunk has not seen, newest label first. */
  unseen(camera: string, digest: string): readonly string[] {
    return this.#unseen.all({ camera, digest }).map((row) => row.observation_id);
  }

  /** In one transaction. A burst that is gone meanwhile is passed over. */
  remember(camera: string, digest: string, bursts: readonly SeenBurst[]): void {
    this.#writer.write(() => {
      for (const { observationId, embedding } of bursts)
        this.#put.run({ camera, id: observationId, digest, embedding: toBytes(embedding) });
    });
  }

  /** Forgets what all other trunks made. */
  keepOnly(digests: readonly string[]): void {
    const gone = this.#trunks.all().filter((row) => !digests.includes(row.embedding_digest));
    if (gone.length === 0) return;
    this.#writer.write(() => {
      for (const row of gone) this.#forget.run(row.embedding_digest);
    });
  }
}
