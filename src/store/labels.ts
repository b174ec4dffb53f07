import type Database from 'better-sqlite3';
import type { Label, LabelledBurst } from '../calibration/types.ts';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import {
  embeddingFromBytes,
  embeddingToBytes,
  viewFromColumns,
  viewToColumns,
  type BurstRow,
  type Bursts,
  type ViewColumns,
} from './bursts.ts';
import type { Observations } from './observations.ts';
import type { CapturedLabel, Labels } from './types.ts';
import type { Writer } from './writer.ts';

const MAX_HEIGHT_M = 25;
const MAX_IMPORTED_BURSTS = 10_000;
const MAX_EMBEDDING_VALUES = 65_536;
const MAX_ID_CHARS = 200;
/** A fit uses the newest 200 usable bursts. Some of those that are read may be unusable. */
const MAX_READ_BURSTS = 250;

/** SQL: columns of `labels l` with the names of the fields of `Label`, so that rows can be used without a copy. */
export const LABEL_COLUMNS = `l.camera, l.observation_id AS observationId, l.height_m AS heightM, l.observer, l.note,
    l.created_at_ms AS createdAtMs, l.group_id AS "group"`;
const READING_COLUMNS = 'r.height, r.unit, r.scale, r.tide_m AS tideM';
const JOIN_READINGS =
  'LEFT JOIN label_readings r ON r.camera = l.camera AND r.observation_id = l.observation_id';

export interface LabelsDeps {
  readonly db: Database.Database;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly bursts: Bursts;
  readonly observations: Observations;
}

/** Wave heights that people observed. The burst of a label is kept even after retention has deleted the observation. */
export class SqliteLabels implements Labels {
  readonly #deps: LabelsDeps;
  readonly #put: Database.Statement<[Label]>;
  readonly #putReading: Database.Statement<[Label]>;
  readonly #remove: Database.Statement<[{ id: string; camera: string | null }]>;
  readonly #list: Database.Statement<[string], Label>;
  readonly #captured: Database.Statement<[string, number, number], CapturedLabel>;
  readonly #joined: Database.Statement<
    [{ camera: string; digest: string }],
    Label & ViewColumns & Pick<BurstRow, 'embedding' | 'captured_at_ms'>
  >;

  constructor(deps: LabelsDeps) {
    this.#deps = deps;
    this.#put = deps.db.prepare(
      `INSERT INTO labels VALUES
         (@camera, @observationId, @heightM, @observer, @note, @createdAtMs, @group)
       ON CONFLICT (camera, observation_id) DO UPDATE SET height_m = excluded.height_m,
         observer = excluded.observer, note = excluded.note, created_at_ms = excluded.created_at_ms,
         group_id = excluded.group_id`,
    );
    this.#putReading = deps.db.prepare(
      'INSERT INTO label_readings VALUES (@camera, @observationId, @height, @unit, @scale, @tideM)',
    );
    this.#remove = deps.db.prepare(
      'DELETE FROM labels WHERE observation_id = @id AND (@camera IS NULL OR camera = @camera)',
    );
    this.#list = deps.db.prepare(
      `SELECT ${LABEL_COLUMNS}, ${READING_COLUMNS} FROM labels l ${JOIN_READINGS} WHERE l.camera = ? ORDER BY l.created_at_ms, l.observation_id`,
    );
    this.#captured = deps.db.prepare(
      `SELECT l.observation_id AS observationId, l.height_m AS heightM, l.observer, b.captured_at_ms AS capturedAtMs
       FROM labels l JOIN bursts b ON b.camera = l.camera AND b.observation_id = l.observation_id
       WHERE l.camera = ? AND b.captured_at_ms >= ? AND b.captured_at_ms < ? ORDER BY b.captured_at_ms`,
    );
    this.#joined = deps.db.prepare(
      `SELECT ${LABEL_COLUMNS}, ${READING_COLUMNS},
         iif(b.embedding_digest = @digest, b.embedding, e.embedding) AS embedding,
         b.view_luma, b.view_width, b.view_height, b.captured_at_ms
       FROM labels l ${JOIN_READINGS} JOIN bursts b ON b.camera = l.camera AND b.observation_id = l.observation_id
         LEFT JOIN embeddings e ON e.camera = l.camera AND e.observation_id = l.observation_id
           AND e.embedding_digest = @digest
       WHERE l.camera = @camera AND (b.embedding_digest = @digest OR e.row_id IS NOT NULL)
       ORDER BY l.created_at_ms DESC, l.observation_id DESC LIMIT ${MAX_READ_BURSTS}`,
    );
  }

  add(input: Omit<Label, 'camera' | 'createdAtMs' | 'group'> & { readonly group?: string }): Label {
    const { bursts, clock, writer } = this.#deps;
    if (!isHeight(input.heightM))
      throw new AgentError('label_refused', 'the height must be between 0 and 25 m');
    const label: Label = {
      observationId: input.observationId,
      camera: this.#cameraOf(input.observationId),
      heightM: input.heightM,
      observer: input.observer,
      note: input.note,
      createdAtMs: Math.round(clock.nowMs()),
      group: input.group ?? input.observationId,
      ...readingOf(input),
    };
    writer.write(() => {
      bursts.keep(label.observationId);
      this.#write(label);
    });
    return label;
  }

  remove(observationId: string, camera?: string): boolean {
    return this.#deps.writer.write(
      () => this.#remove.run({ id: observationId, camera: camera ?? null }).changes > 0,
    );
  }

  list(camera: string): readonly Label[] {
    return this.#deps.writer.read(() => this.#list.all(camera));
  }

  captured(camera: string, fromMs: number, toMs: number): readonly CapturedLabel[] {
    return this.#deps.writer.read(() => this.#captured.all(camera, fromMs, toMs));
  }

  bursts(camera: string, embeddingDigest: string): readonly LabelledBurst[] {
    const rows = this.#deps.writer
      .read(() => this.#joined.all({ camera, digest: embeddingDigest }))
      .reverse();
    return rows.map(({ embedding, view_luma, view_width, view_height, captured_at_ms, ...label }) => ({
      label,
      embedding: embeddingFromBytes(embedding),
      view: viewFromColumns({ view_luma, view_width, view_height }),
      capturedAtMs: captured_at_ms,
    }));
  }

  import(camera: string, embeddingDigest: string, bursts: readonly LabelledBurst[]): void {
    assertImportable(bursts);
    this.restore(
      bursts.map(({ label }) => ({ ...label, camera })),
      bursts.map(({ label, embedding, view, capturedAtMs }) => ({
        camera,
        observation_id: label.observationId,
        captured_at_ms: capturedAtMs ?? label.createdAtMs,
        embedding_digest: embeddingDigest,
        embedding: embeddingToBytes(embedding),
        ...viewToColumns(view),
      })),
    );
  }

  /** Stores the rows as they are, in one transaction. */
  restore(labels: readonly Label[], bursts: readonly BurstRow[]): void {
    this.#deps.writer.write(() => {
      for (const burst of bursts) this.#deps.bursts.put(burst);
      for (const label of labels) this.#write(label);
    });
  }

  #write(label: Label): void {
    this.#put.run(label);
    const reading = readingOf(label);
    if (reading.height !== null || reading.tideM !== null) this.#putReading.run({ ...label, ...reading });
  }

  #cameraOf(observationId: string): string {
    const { bursts, observations } = this.#deps;
    const observation = observations.find(observationId);
    if (observation && observation.status !== 'measured')
      throw new AgentError(
        'label_refused',
        `the observation has the status ${observation.status}: it has no wave height`,
        { context: { observationId } },
      );
    const [camera, ...others] = bursts.camerasOf(observationId);
    if (observation && camera === undefined)
      throw new AgentError('label_refused', 'the embedding of this observation is no longer stored', {
        context: { observationId },
      });
    // Without the observation, the camera is unknown if several cameras have a burst with this id.
    const owner = observation?.camera ?? (others.length === 0 ? camera : undefined);
    if (owner === undefined)
      throw new AgentError('observation_unknown', 'no observation has this id', {
        context: { observationId },
      });
    return owner;
  }
}

const readingOf = ({ height, unit, scale, tideM }: Pick<Label, 'height' | 'unit' | 'scale' | 'tideM'>) => ({
  height: height ?? null,
  unit: unit ?? null,
  scale: scale ?? null,
  tideM: tideM ?? null,
});

const isHeight = (heightM: number): boolean => heightM >= 0 && heightM <= MAX_HEIGHT_M;

function assertImportable(bursts: readonly LabelledBurst[]): void {
  const refuse = (message: string): never => {
    throw new AgentError('calibration_invalid', message);
  };
  if (bursts.length > MAX_IMPORTED_BURSTS)
    refuse(`the calibration has more than ${MAX_IMPORTED_BURSTS} bursts`);
  const length = bursts[0]?.embedding.length ?? 0;
  for (const { label, embedding, view } of bursts) {
    const { observationId } = label;
    if (observationId === '' || observationId.length > MAX_ID_CHARS)
      refuse(`a burst has an empty id, or one of more than ${MAX_ID_CHARS} characters`);
    if (!isHeight(label.heightM)) refuse(`burst ${observationId}: the height must be between 0 and 25 m`);
    if (!Number.isSafeInteger(label.createdAtMs))
      refuse(`burst ${observationId}: the time is not an integer`);
    if (embedding.length !== length || length === 0 || length > MAX_EMBEDDING_VALUES)
      refuse(
        `burst ${observationId}: the embedding is empty, too long, or not as long as that of the first burst`,
      );
    if (!embedding.every(Number.isFinite))
      refuse(`burst ${observationId}: the embedding has values that are not finite`);
    if (view && view.luma.length !== view.width * view.height)
      refuse(`burst ${observationId}: the view does not match its width and height`);
  }
}
