import { randomBytes, randomUUID } from 'node:crypto';
import { statSync, type BigIntStats } from 'node:fs';
import type Database from 'better-sqlite3';
import type { HardwareIds } from './types.ts';

/** In the table `memory`. */
const KEY = 'store.identity';

/** What the database keeps. */
interface DatabaseIdentity {
  readonly id: string;
  readonly token: string;
  /** The token that the side file had when this one was made: a power cut may have come before the side file was written. */
  readonly formerToken: string | null;
}

/** What the side file keeps. */
export interface FileIdentity extends HardwareIds {
  readonly id: string;
  readonly token: string;
  /** When the side file was created; empty: unknown. A copy of it contains this value, but was created at another time. */
  readonly created: string;
}

/** Why the store got a new id. */
type StoreIdChange =
  /** The side file is a copy: the state directory was restored or copied. */
  | 'copied'
  | 'other_machine'
  | 'other_disk'
  /** Database and side file are not of the same time: one of them was restored. */
  | 'database_replaced'
  /** The side file is missing or damaged. */
  | 'file_missing';

interface FoundStore {
  readonly database: DatabaseIdentity | null;
  /** `unknown`: an older version of the agent wrote the side file. */
  readonly file: FileIdentity | 'unknown' | 'missing';
  /** `createdOf` the side file; empty without a side file. */
  readonly created: string;
  readonly hardware: HardwareIds;
}

/**
 * The time of creation of a file, which no copy has and which nobody can set. Empty when it is unknown: the file system
 * does not record it, or an old kernel does not report it, and Node gives the time of the last change in its place. The
 * number of the inode cannot replace it: FAT, FUSE and others number the files anew at each mount.
 * `program`: a file that was changed after its creation, which shows such a kernel.
 */
export function createdOf(
  { birthtimeNs }: BigIntStats,
  program = statSync(process.execPath, { bigint: true, throwIfNoEntry: false }),
): string {
  const isReported = birthtimeNs > 0n && (!program || program.birthtimeNs !== program.ctimeNs);
  return isReported ? `t${birthtimeNs}` : '';
}

/**
 * The id of the numbering of records. With it, the camera and `seq`, a record has a name that never repeats: when the
 * state directory was restored or copied, numbers may repeat, and the id is a new one.
 *
 * The database and the side file of the sequence numbers contain the id and a common token, which is new in each run and
 * after it, so that an older copy of one of them does not match the other. The side file also contains the time of its
 * own creation and names of the hardware.
 */
export class StoreIdentity {
  readonly #hardware: HardwareIds;
  readonly #read: Database.Statement<[], { value: string }>;
  readonly #write: Database.Statement<[string]>;
  #kept: DatabaseIdentity = { id: '', token: '', formerToken: null };
  /** The token in the side file. */
  #writtenToken: string | null = null;
  /** Set when this run began with a new id though there was a former one, or traces of it. */
  change: { readonly reason: StoreIdChange; readonly before: string | null } | null = null;

  constructor(db: Database.Database, hardware: HardwareIds = { machine: [], disk: null }) {
    this.#hardware = hardware;
    this.#read = db.prepare(`SELECT value FROM memory WHERE key = '${KEY}'`);
    this.#write = db.prepare(
      `INSERT INTO memory VALUES ('${KEY}', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
    );
  }

  get id(): string {
    return this.#kept.id;
  }

  /** Decides on the id of this run. Call it once, in a transaction. */
  open(file: FoundStore['file'], stats: BigIntStats | undefined): void {
    const row = this.#read.get();
    const database = row ? (JSON.parse(row.value) as DatabaseIdentity) : null;
    const created = stats ? createdOf(stats) : '';
    const { id, change } = judgeStore({ database, file, created, hardware: this.#hardware });
    const inFile = typeof file === 'object' ? file : null;
    this.change = change && { reason: change, before: database?.id ?? inFile?.id ?? null };
    this.#writtenToken = inFile?.token ?? null;
    if (database?.id === id) this.#kept = database;
    else this.#keep({ id, token: '', formerToken: null });
  }

  /** Makes a new token: write the side file after it. Throws the errors of SQLite. */
  renewToken(): void {
    const token = randomBytes(6).toString('base64url');
    this.#keep({ id: this.#kept.id, token, formerToken: this.#writtenToken });
  }

  #keep(identity: DatabaseIdentity): void {
    this.#write.run(JSON.stringify(identity));
    this.#kept = identity;
  }

  /** What the side file must contain. */
  inFile(stats: BigIntStats): FileIdentity {
    const { id, token } = this.#kept;
    return { id, token, created: createdOf(stats), ...this.#hardware };
  }

  /** Call it after the side file was written. */
  written(): void {
    this.#writtenToken = this.#kept.token;
  }
}

/** Reads the identity in a side file, which may be damaged. */
export const readFileIdentity = (value: unknown): FileIdentity | 'unknown' =>
  isFileIdentity(value) ? value : 'unknown';

function isFileIdentity(value: unknown): value is FileIdentity {
  const { id, token, created, machine, disk } = (value ?? {}) as Partial<Record<keyof FileIdentity, unknown>>;
  const texts = [id, token, created, disk ?? ''];
  return texts.every((text) => typeof text === 'string') && Array.isArray(machine);
}

/**
 * Decides whether the store continues the numbering of its former runs. A new id never repeats a number; so in doubt
 * the id is a new one. Facts that were or are unknown decide nothing.
 */
function judgeStore({ database, file, created, hardware }: FoundStore): {
  readonly id: string;
  readonly change: StoreIdChange | null;
} {
  const changed = (change: StoreIdChange) => ({ id: randomUUID(), change });
  if (file === 'unknown') return { id: database?.id ?? randomUUID(), change: null };
  if (file === 'missing') return database ? changed('file_missing') : { id: randomUUID(), change: null };
  // Files of earlier versions may contain the number of an inode, such as `i123`.
  if (created !== '' && file.created.startsWith('t') && created !== file.created) return changed('copied');
  const isKnown = (id: string): boolean => file.machine.includes(id);
  if (file.machine.length > 0 && hardware.machine.length > 0 && !hardware.machine.some(isKnown))
    return changed('other_machine');
  if (file.disk !== null && hardware.disk !== null && file.disk !== hardware.disk)
    return changed('other_disk');
  if (database && file.token !== database.token && file.token !== database.formerToken)
    return changed('database_replaced');
  return { id: file.id, change: null };
}
