import type { Fetcher } from 'tuf-js';
import { DownloadHTTPError } from 'tuf-js/dist/error.js';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { MetadataSource } from './source.ts';

/** Bounds of one metadata file, in bytes: far above any honest one, far below what troubles a small board. */
export const METADATA_LIMITS = {
  root: 128 * 1024,
  timestamp: 16 * 1024,
  snapshot: 64 * 1024,
  targets: 4 * 1024 * 1024,
} as const;
export type TopRole = keyof typeof METADATA_LIMITS;
export const TOP_ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const satisfies readonly TopRole[];

/** New roots that are taken in one go; what was verified is kept, so that a later try goes on from there. */
export const MAX_NEW_ROOTS = 128;

/** Bounds of the JSON itself: the library's time grows with the square of an object's members, its stack with the depth. */
const MAX_DEPTH = 16;
const MAX_MEMBERS = 4096;
const MAX_NODES = 200_000;

/** Only its path is used. */
export const METADATA_BASE_URL = 'http://repository.invalid/metadata';

/** The library's way to the source: bounded in size, shape and number; remembers why it failed. */
export class SourceFetcher implements Fetcher {
  readonly #source: MetadataSource;
  readonly #signal: AbortSignal;
  readonly #fetched = new WeakSet<Uint8Array>();
  #newRoots = 0;
  #fault: unknown = null;

  constructor(source: MetadataSource, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
  }

  /** What the last download failed with; the library keeps only its text. */
  get fault(): unknown {
    return this.#fault;
  }

  /** True for bytes that came from the source and not from the local copies. */
  isFetched(bytes: Uint8Array): boolean {
    return this.#fetched.has(bytes);
  }

  async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    const path = decodeURIComponent(new URL(url).pathname.slice(1));
    const file = path.slice(path.lastIndexOf('/') + 1);
    try {
      return await this.#download(path, file, maxLength);
    } catch (error) {
      if (!(error instanceof DownloadHTTPError)) this.#fault = error;
      throw error;
    }
  }

  /** Targets are downloaded by the transfer, which resumes; the library never does. */
  downloadFile(): Promise<never> {
    return Promise.reject(new AgentError('internal', 'targets are not downloaded by the metadata client'));
  }

  async #download(path: string, file: string, maxLength: number): Promise<Buffer> {
    const role = TOP_ROLES.find((name) => file === `${name}.json` || file.endsWith(`.${name}.json`));
    if (!role) throw new AgentError('model_trust_mismatch', 'the metadata name a file of no known role');
    const maxBytes = Math.min(maxLength, METADATA_LIMITS[role]);
    const found = await this.#source.fetch(path, maxBytes, this.#signal);
    this.#signal.throwIfAborted();
    if (found === null) {
      if (role === 'root') throw new DownloadHTTPError('not there', 404);
      throw missing(role, file);
    }
    if (found.length > maxBytes)
      throw new AgentError('model_trust_mismatch', `${file} is larger than ${maxBytes} bytes`);
    if (role === 'root' && (this.#newRoots += 1) > MAX_NEW_ROOTS)
      throw new AgentError('model_trust_root', `more than ${MAX_NEW_ROOTS} new roots at once`);
    const bytes = Buffer.from(found);
    checkShape(bytes, file);
    this.#fetched.add(bytes);
    return bytes;
  }
}

const missing = (role: TopRole, file: string): AgentError =>
  role === 'timestamp'
    ? new AgentError('model_transfer_failed', `the repository has no ${file}`)
    : new AgentError('model_trust_mismatch', `${file} is promised, but is not in the repository`);

/** Throws `model_trust_mismatch` unless the bytes are JSON of a bearable size and depth. */
export function checkShape(bytes: Uint8Array, file: string): void {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new AgentError('model_trust_mismatch', `${file} is no JSON`, { cause: asAgentError(error) });
  }
  let nodes = 0;
  const open: { value: unknown; depth: number }[] = [{ value, depth: 0 }];
  for (let next = open.pop(); next; next = open.pop()) {
    if (typeof next.value !== 'object' || next.value === null) continue;
    const members = Object.values(next.value);
    nodes += members.length;
    if (next.depth >= MAX_DEPTH || members.length > MAX_MEMBERS || nodes > MAX_NODES)
      throw new AgentError('model_trust_mismatch', `${file} is too deep or holds too much`);
    for (const member of members) open.push({ value: member, depth: next.depth + 1 });
  }
}
