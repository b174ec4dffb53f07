import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Fetcher } from 'tuf-js';
import { DownloadHTTPError } from 'tuf-js/dist/error.js';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { percentDecode } from '../../base/redact.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** The place from which the files of a repository are read: a web server, or a directory that came over MQTT. */
export interface MetadataSource {
  /**
   * Returns the bytes of one small file by its path in the repository, such as `metadata/2.root.json`; null when it
   * does not exist. Of a file larger than `maxBytes`, returns the first `maxBytes + 1` bytes. Throws
   * `model_transfer_failed` when the repository cannot be reached, and the AbortError of the signal.
   */
  fetch(path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | null>;
}

/** Reads a repository from a local directory. Refuses links and special files, and never waits for the writer of a pipe. */
export function directorySource(dir: string): MetadataSource {
  return {
    fetch: async (path, maxBytes, signal) => {
      signal.throwIfAborted();
      try {
        await using file = await open(join(dir, path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        if (!(await file.stat()).isFile()) throw new TypeError(`${path} is not a plain file`);
        // `end` is inclusive.
        return await buffer(file.createReadStream({ end: maxBytes, autoClose: false }));
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return null;
        throw new AgentError('model_transfer_failed', 'a file of the repository cannot be read', {
          cause: error,
        });
      }
    },
  };
}

/**
 * Largest allowed size of each metadata file, bytes: far above the size of real files, but small enough for a small
 * board.
 */
export const MAX_METADATA_BYTES = {
  root: 128 * 1024,
  timestamp: 16 * 1024,
  snapshot: 64 * 1024,
  targets: 4 * 1024 * 1024,
} as const;
export type TopRole = keyof typeof MAX_METADATA_BYTES;
export const TOP_ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const satisfies readonly TopRole[];

/**
 * Most new root versions that one refresh accepts. Verified versions are stored, so a later refresh continues after
 * them.
 */
export const MAX_NEW_ROOTS = 128;

/**
 * Limits for the JSON of metadata: the time that tuf-js takes is quadratic in the number of members of an object, and
 * its stack grows with the nesting depth.
 */
const MAX_DEPTH = 16;
const MAX_MEMBERS = 4096;
const MAX_NODES = 200_000;

/** tuf-js requires a base URL. Only the path after it is used. */
export const METADATA_BASE_URL = 'http://repository.invalid/metadata';

/**
 * Downloads metadata from a source for tuf-js. Limits the size, the nesting and the number of files. Keeps the error of
 * a failed download, because tuf-js keeps only the text of the error.
 */
export class MetadataFetcher implements Fetcher {
  readonly #source: MetadataSource;
  readonly #signal: AbortSignal;
  readonly #fetched = new WeakSet<Uint8Array>();
  #newRoots = 0;
  #error: unknown = null;

  constructor(source: MetadataSource, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
  }

  /** The error of the last failed download; null when no download has failed. */
  get error(): unknown {
    return this.#error;
  }

  /** True for bytes that came from the source; false for bytes of local copies. */
  isFetched(bytes: Uint8Array): boolean {
    return this.#fetched.has(bytes);
  }

  async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    const path = percentDecode(new URL(url).pathname.slice(1));
    const file = path.slice(path.lastIndexOf('/') + 1);
    try {
      return await this.#download(path, file, maxLength);
    } catch (error) {
      if (!(error instanceof DownloadHTTPError)) this.#error = error;
      throw error;
    }
  }

  /** tuf-js never calls this here: `HttpDownload` downloads the targets, because it can resume a download. */
  downloadFile(): Promise<never> {
    return Promise.reject(new AgentError('internal', 'the metadata client does not download targets'));
  }

  async #download(path: string, file: string, maxLength: number): Promise<Buffer> {
    const role = TOP_ROLES.find((name) => file === `${name}.json` || file.endsWith(`.${name}.json`));
    if (!role) throw new AgentError('model_trust_mismatch', 'the metadata name a file of an unknown role');
    const maxBytes = Math.min(maxLength, MAX_METADATA_BYTES[role]);
    const content = await this.#source.fetch(path, maxBytes, this.#signal);
    this.#signal.throwIfAborted();
    if (content === null) {
      // tuf-js takes a 404 as the statement that there is no newer root.
      if (role === 'root') throw new DownloadHTTPError('not found', 404);
      throw missingFile(role, file);
    }
    if (content.length > maxBytes)
      throw new AgentError('model_trust_mismatch', `${file} is larger than ${maxBytes} bytes`);
    if (role === 'root' && (this.#newRoots += 1) > MAX_NEW_ROOTS)
      throw new AgentError('model_trust_root', `more than ${MAX_NEW_ROOTS} new roots at once`);
    const bytes = Buffer.from(content);
    checkShape(bytes, file);
    this.#fetched.add(bytes);
    return bytes;
  }
}

const missingFile = (role: TopRole, file: string): AgentError =>
  role === 'timestamp'
    ? new AgentError('model_transfer_failed', `the repository has no ${file}`)
    : new AgentError('model_trust_mismatch', `the metadata refer to ${file}, which is not in the repository`);

/** Throws `model_trust_mismatch` unless the bytes are JSON within the limits of size and depth. */
export function checkShape(bytes: Uint8Array, file: string): void {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new AgentError('model_trust_mismatch', `${file} is not JSON`, { cause: asAgentError(error) });
  }
  let nodes = 0;
  const stack: { value: unknown; depth: number }[] = [{ value, depth: 0 }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    if (typeof next.value !== 'object' || next.value === null) continue;
    const members = Object.values(next.value);
    nodes += members.length;
    if (next.depth >= MAX_DEPTH || members.length > MAX_MEMBERS || nodes > MAX_NODES)
      throw new AgentError('model_trust_mismatch', `${file} is nested too deeply or has too many members`);
    for (const member of members) stack.push({ value: member, depth: next.depth + 1 });
  }
}
