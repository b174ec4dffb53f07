import { closeSync, constants, fstatSync, openSync, readSync, rmSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TSchema } from '@sinclair/typebox';
import { Type } from '@sinclair/typebox';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { replaceFile } from '../base/atomic-file.ts';
import { createDirectory } from '../base/create-directory.ts';
import { AgentError, ERROR_CODES } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { UPDATE_PHASES } from '../contract/agent-update.ts';
import { Count, Nullable, StringEnum } from '../contract/schema-parts.ts';
import {
  ArchiveDigest,
  MAX_UPDATE_FILE_BYTES,
  UpdaterState,
  type UpdateConfirmation,
  type UpdateRequest,
  type UpdateWaiting,
} from '../contract/update-files.ts';
import type { BeforeUpdate, UpdateRecord } from './types.ts';

const Format = Type.Literal(1);
const UpdateId = Type.String({ format: 'uuid' });

const RecordSchema = Type.Object({
  format: Format,
  id: UpdateId,
  action: StringEnum(['install', 'rollback']),
  automatic: Type.Boolean(),
  version: Type.String(),
  digest: Nullable(ArchiveDigest),
  source: Nullable(
    Type.Union([
      Type.Object({ kind: Type.Literal('repository') }),
      Type.Object({ kind: Type.Literal('mqtt'), sizeBytes: Count, digest: Type.String() }),
    ]),
  ),
  commandId: Nullable(Type.String()),
  phase: StringEnum(UPDATE_PHASES),
  reason: Nullable(Type.Object({ code: StringEnum(Object.keys(ERROR_CODES)), message: Type.String() })),
  startedAtMs: Type.Number(),
  phaseAtMs: Type.Number(),
  bytes: Count,
  totalBytes: Nullable(Count),
});

const BeforeSchema = Type.Object({
  format: Format,
  id: UpdateId,
  degraded: Type.Array(Type.String()),
  connected: Type.Boolean(),
  camera_up: Type.Boolean(),
});

const checker = schemaChecker({ strict: false, formats: fullFormats });
const validators = {
  record: checker.compile<UpdateRecord>(RecordSchema satisfies TSchema),
  before: checker.compile<BeforeUpdate>(BeforeSchema),
  state: checker.compile<UpdaterState>(UpdaterState),
};

export interface UpdateFilesOptions {
  readonly stateDir: string;
  /** Directory of the updater's `state.json`; null when this installation has no updater. */
  readonly updaterDir: string | null;
}

/**
 * The files of updates: the agent's own record (`update.json`) and snapshot (`before.json`), the requests to the updater,
 * and the state of the updater, which is untrusted input here.
 */
export class UpdateFiles {
  /** `{stateDir}/update`. */
  readonly dir: string;
  readonly #updaterDir: string | null;

  constructor({ stateDir, updaterDir }: UpdateFilesOptions) {
    this.dir = join(stateDir, 'update');
    this.#updaterDir = updaterDir;
  }

  get hasUpdater(): boolean {
    return this.#updaterDir !== null;
  }

  /** The state of the updater; null without an updater, and when the file is missing or damaged. */
  readState(): UpdaterState | null {
    if (this.#updaterDir === null) return null;
    const value = readJson(join(this.#updaterDir, 'state.json'));
    return validators.state(value) ? value : null;
  }

  /** The last record; null when there is none, or a power cut damaged it. */
  readRecord(): UpdateRecord | null {
    const value = readJson(join(this.dir, 'update.json'));
    return validators.record(value) ? value : null;
  }

  /** Throws `store_failed`; then the former record remains. */
  writeRecord(record: UpdateRecord): void {
    this.#write('update.json', record);
  }

  readBefore(): BeforeUpdate | null {
    const value = readJson(join(this.dir, 'before.json'));
    return validators.before(value) ? value : null;
  }

  /** Stores the snapshot, then the request. Throws `store_failed`. */
  writeRequest(request: UpdateRequest, before: BeforeUpdate): void {
    this.#write('before.json', before);
    this.#write('request.json', request);
  }

  /** True when the stored request is the one of this update. */
  hasRequest(id: string): boolean {
    const value = readJson(join(this.dir, 'request.json'));
    return typeof value === 'object' && value !== null && 'id' in value && value.id === id;
  }

  removeRequest(): void {
    rmSync(join(this.dir, 'request.json'), { force: true });
  }

  /** Throws `store_failed`. */
  writeConfirmation(confirmation: UpdateConfirmation): void {
    this.#write('confirm.json', confirmation);
  }

  /** Throws `store_failed`. */
  writeWaiting(waiting: UpdateWaiting): void {
    this.#write('waiting.json', waiting);
  }

  /** Removes the archives and their metadata, which only the updater needs. */
  async removeArchives(): Promise<void> {
    for (const name of await readdir(this.dir).catch(() => []))
      if (/^[0-9a-f]{64}\.tar\.gz$/.test(name) || name === 'metadata')
        await rm(join(this.dir, name), { recursive: true, force: true });
  }

  #write(name: string, value: object): void {
    const path = join(this.dir, name);
    try {
      createDirectory(this.dir);
      replaceFile(path, `${JSON.stringify(value)}\n`);
    } catch (cause) {
      rmSync(`${path}.part`, { force: true });
      throw new AgentError('store_failed', `update/${name} cannot be written`, { cause });
    }
  }
}

/** Reads a small JSON file that is not a link. Returns null when it is missing, too large, or not JSON. */
function readJson(path: string): unknown {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    using _closed = { [Symbol.dispose]: () => closeSync(fd) };
    const stats = fstatSync(fd);
    if (!stats.isFile() || stats.size > MAX_UPDATE_FILE_BYTES) return null;
    const buffer = Buffer.alloc(stats.size);
    const sizeBytes = readSync(fd, buffer, 0, buffer.length, 0);
    return JSON.parse(buffer.toString('utf8', 0, sizeBytes)) as unknown;
  } catch {
    return null;
  }
}
