import { chmodSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { create } from 'tar';
import { AgentError, asAgentError, isAbort } from '../../base/errors.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { mapLogLine, mapTexts, type Scrub } from '../../base/redact.ts';
import { toJson } from '../terminal.ts';

/** Of one part before it is packed: 17 such parts and the log stay below 5 MB even when nothing can be compressed. */
const MAX_PART_BYTES = 192 * 1024;
export const MAX_LOG_BYTES = 1024 * 1024;

/** The file `manifest.json` of the archive. */
export interface Manifest {
  readonly schema: 'swellsight.diagnostics-archive/1';
  readonly at: string;
  readonly agent_version: string;
  readonly parts: readonly {
    readonly file: string;
    readonly size_bytes: number;
    /** Only the end of the text is there. */
    readonly shortened: boolean;
  }[];
  readonly missing: readonly { readonly file: string; readonly reason: string }[];
}

/** One file of the archive. */
export interface Part {
  /** A name that ends in `.json` needs a value, any other one a text. */
  readonly file: string;
  readonly maxBytes?: number;
  /** May throw: the reason then stands in the manifest. */
  readonly read: () => unknown;
}

/** Collects redacted parts and writes them as one `.tar.gz`. */
export class DiagnosticsArchive {
  readonly #redact: Scrub;
  readonly #files = new Map<string, string>();
  readonly #parts: Manifest['parts'][number][] = [];
  readonly #missing: Manifest['missing'][number][] = [];

  constructor(redact: Scrub) {
    this.#redact = redact;
  }

  /** Rejects only when the signal has fired. */
  async add({ file, maxBytes = MAX_PART_BYTES, read }: Part, signal: AbortSignal): Promise<void> {
    try {
      const content = await read();
      signal.throwIfAborted();
      const text = file.endsWith('.json')
        ? `${toJson(mapTexts(content, this.#redact)).join('\n')}\n`
        : String(content)
            .split('\n')
            .map((line) => mapLogLine(line, this.#redact))
            .join('\n');
      this.#store(file, text, maxBytes);
    } catch (thrown) {
      signal.throwIfAborted();
      this.addMissing(file, describeReason(thrown));
    }
  }

  addMissing(file: string, reason: string): void {
    this.#missing.push({ file, reason: this.#redact(reason) });
  }

  #store(file: string, text: string, maxBytes: number): void {
    const bytes = Buffer.from(text);
    if (bytes.length <= maxBytes) this.#keep(file, text, false);
    else if (file.endsWith('.json')) this.addMissing(file, `larger than ${String(maxBytes)} bytes`);
    else {
      const end = bytes.subarray(-maxBytes).toString();
      this.#keep(file, end.slice(end.indexOf('\n') + 1), true);
    }
  }

  #keep(file: string, text: string, isShortened: boolean): void {
    this.#files.set(file, text);
    this.#parts.push({ file, size_bytes: Buffer.byteLength(text), shortened: isShortened });
  }

  manifest(at: string, version: string): Manifest {
    return {
      schema: 'swellsight.diagnostics-archive/1',
      at,
      agent_version: version,
      parts: this.#parts,
      missing: this.#missing,
    };
  }

  /**
   * Replaces `path`, which only its owner can read. Needs space in its directory for the files and the archive. Returns the
   * size in bytes. Throws `usage` when the directory cannot be written.
   */
  write(path: string, manifest: Manifest): number {
    let scratch: string | null = null;
    using _scratch = {
      [Symbol.dispose]: () => {
        if (scratch !== null) rmSync(scratch, { recursive: true, force: true });
      },
    };
    try {
      // Beside the archive: all other file systems may be read-only.
      scratch = mkdtempSync(join(dirname(path), '.swellsight-diagnostics-'));
      const files = new Map([['manifest.json', `${toJson(manifest).join('\n')}\n`], ...this.#files]);
      for (const [name, text] of files) writeFileSync(join(scratch, name), text, { mode: 0o600 });
      const packed = join(scratch, 'archive.tar.gz');
      create({ cwd: scratch, file: packed, gzip: true, portable: true, sync: true, mode: 0o600 }, [
        ...files.keys(),
      ]);
      chmodSync(packed, 0o600);
      renameSync(packed, path);
      return statSync(path).size;
    } catch (cause) {
      throw new AgentError('usage', `${path} cannot be written (${errorCode(cause) ?? 'unknown'})`, {
        cause,
      });
    }
  }
}

function describeReason(thrown: unknown): string {
  if (isAbort(thrown)) return 'no answer in time';
  const { code, message, context } = asAgentError(thrown);
  const reason = context['reason'];
  return `${message}${typeof reason === 'string' ? ` (${reason})` : ''}${code === 'internal' ? '' : ` [${code}]`}`;
}
