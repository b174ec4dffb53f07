import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { errorCode } from '../base/disk-errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import {
  MAX_UPDATE_FILE_BYTES,
  UpdateConfirmation,
  UpdateRequest,
  UpdateWaiting,
} from '../contract/update-files.ts';

const checker = schemaChecker({ strict: true, validateFormats: false });
const isRequest = checker.compile<UpdateRequest>(UpdateRequest);
const isConfirmation = checker.compile<UpdateConfirmation>(UpdateConfirmation);
const isWaiting = checker.compile<UpdateWaiting>(UpdateWaiting);
const isId = checker.compile<string>(UpdateRequest.properties.id);

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;

/** What the file of a request contains. `invalid`: it has an id, but the rest is not a request. */
export type ReadRequest =
  | { readonly kind: 'none' }
  | { readonly kind: 'invalid'; readonly id: string }
  | { readonly kind: 'request'; readonly request: UpdateRequest };

/**
 * The directory in which the agent writes requests. The service user owns it and may replace any name by a link at any
 * moment. So it is opened once, without links, and every file is opened below this open directory.
 */
export class RequestDirectory {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Null when it does not exist or is not a directory. */
  static async open(path: string): Promise<RequestDirectory | null> {
    try {
      return new RequestDirectory(await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    } catch {
      return null;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  get #path(): string {
    return openPath(this.#handle);
  }

  /** Opens a plain file; never waits for the writer of a pipe. Throws when it is not one. */
  async openFile(name: string): Promise<FileHandle> {
    const file = await open(`${this.#path}/${name}`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    throw new TypeError(`${name} is not a plain file`);
  }

  /** Opens a directory that is no link; it may be renamed afterwards. Throws when it is not one. */
  openDirectory(name: string): Promise<FileHandle> {
    return open(`${this.#path}/${name}`, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  }

  async readRequest(): Promise<ReadRequest> {
    const value = await this.#readJson('request.json');
    if (isRequest(value) && isConsistent(value)) return { kind: 'request', request: value };
    const id = (value as { readonly id?: unknown } | null)?.id;
    return isId(id) ? { kind: 'invalid', id } : { kind: 'none' };
  }

  /** Removes the request, and makes the removal durable. A directory in its place is no request and stays. */
  async removeRequest(): Promise<void> {
    await unlink(`${this.#path}/request.json`).catch((error: unknown) => {
      if (!/^(ENOENT|EISDIR)$/.test(errorCode(error) ?? '')) throw error;
    });
    await this.#handle.sync();
  }

  async readConfirmation(): Promise<UpdateConfirmation | null> {
    const value = await this.#readJson('confirm.json');
    return isConfirmation(value) ? value : null;
  }

  async readWaiting(): Promise<UpdateWaiting | null> {
    const value = await this.#readJson('waiting.json');
    return isWaiting(value) ? value : null;
  }

  /** Null when the file is missing, too large or not JSON. */
  async #readJson(name: string): Promise<unknown> {
    try {
      await using file = await this.openFile(name);
      const bytes = Buffer.alloc(MAX_UPDATE_FILE_BYTES + 1);
      let size = 0;
      for (;;) {
        const { bytesRead } = await file.read(bytes, size, bytes.length - size, size);
        size += bytesRead;
        if (bytesRead === 0 || size === bytes.length) break;
      }
      return size > MAX_UPDATE_FILE_BYTES ? null : (JSON.parse(bytes.toString('utf8', 0, size)) as unknown);
    } catch {
      return null;
    }
  }
}

/** Path of an open directory, also after it was renamed. */
export const openPath = ({ fd }: FileHandle): string => `/proc/self/fd/${fd}`;

/** An install names its archive; the schema alone cannot require this. */
function isConsistent({ action, version, digest, archive, metadata }: UpdateRequest): boolean {
  if (action === 'rollback') return true;
  return version !== null && digest !== null && archive === `${digest}.tar.gz` && metadata !== null;
}

/** The request of an operator who runs `node main.js rollback`. */
export const operatorRollback = (): UpdateRequest => ({
  format: 1,
  id: randomUUID(),
  action: 'rollback',
  version: null,
  digest: null,
  archive: null,
  metadata: null,
  requested_at: new Date().toISOString(),
});
