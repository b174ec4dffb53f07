import { Header, Pax } from 'tar';
import { AgentError } from '../../base/errors.ts';

export const BLOCK_BYTES = 512;

/** The kinds of header that are allowed in the archive of a bundle. */
export type HeaderKind = 'file' | 'directory' | 'pax' | 'long_name' | 'end';

export interface TarHeader {
  readonly kind: HeaderKind;
  /** The path exactly as it is in the header. */
  readonly path: string;
  /** Size of the body that follows the header, bytes. */
  readonly sizeBytes: number;
}

const KINDS: Readonly<Record<string, HeaderKind>> = {
  File: 'file',
  OldFile: 'file',
  Directory: 'directory',
  ExtendedHeader: 'pax',
  NextFileHasLongPath: 'long_name',
};

/** Pax records that do not change the path or the content of a file. */
const HARMLESS_RECORD = /^(mtime|atime|ctime|uid|gid|uname|gname|comment|LIBARCHIVE\.creationtime)$/;

/** Number of zero bytes that fill the last block of a body. */
export const paddingBytes = (sizeBytes: number): number =>
  (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;

export const refuseArchive = (reason: string, context: Readonly<Record<string, unknown>> = {}): AgentError =>
  new AgentError('model_archive_refused', `the archive is refused: ${reason}`, { context });

/**
 * Parses one header block. Throws `model_archive_refused` for an invalid header, and for every kind that is not
 * allowed: links, devices, sparse files, global headers and others.
 */
export function parseHeader(block: Buffer): TarHeader {
  if (block.every((byte) => byte === 0)) return { kind: 'end', path: '', sizeBytes: 0 };
  let header: Header;
  try {
    header = new Header(block, 0);
  } catch (thrown) {
    // The tar package throws when it cannot represent a number in the header.
    throw refuseArchive(`a header cannot be read: ${thrown instanceof Error ? thrown.message : 'damaged'}`);
  }
  if (!header.cksumValid) throw refuseArchive('a header is damaged, or this is not a tar archive');
  const path = header.path ?? '';
  if (hasTextAfterNul(block, 0, 100) || (isUstar(block) && hasTextAfterNul(block, 345, 475)))
    throw refuseArchive(`${quoted(path)} continues after a NUL`);
  const kind = KINDS[header.type];
  if (kind === undefined) throw refuseArchive(`${quoted(path)} is ${describeType(header.type)}`);
  if (header.linkpath !== undefined && header.linkpath !== '')
    throw refuseArchive(`${quoted(path)} refers to another file`);
  // The tar package sets the size of a directory to 0, but other programs skip as many bytes as the header announces.
  // So read the announced size.
  const sizeBytes = kind === 'directory' ? parseRawSize(block) : header.size;
  if (sizeBytes === undefined || !Number.isSafeInteger(sizeBytes))
    throw refuseArchive(`${quoted(path)} has no size`);
  if (kind === 'directory' && sizeBytes !== 0)
    throw refuseArchive(`the directory ${quoted(path)} has a size`);
  return { kind, path, sizeBytes };
}

/**
 * Returns the path in the body of a pax header; null when the body has none. Refuses records that would change how the
 * content is read.
 */
export function parsePaxPath(body: Buffer): string | null {
  let path: string | null = null;
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(body.toString('latin1', at, space));
    const end = at + length;
    if (!Number.isInteger(length) || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a)
      throw refuseArchive('an extended header is damaged');
    const record = body.toString('utf8', space + 1, end - 1);
    const [key = ''] = record.split('=', 1);
    if (key === 'path') path = record.slice('path='.length);
    else if (!HARMLESS_RECORD.test(key)) throw refuseArchive(`an extended header sets ${quoted(key)}`);
    at = end;
  }
  return path;
}

/** Returns the header block of a plain file. When the name is too long for one block, a pax header comes before it. */
export function writeHeader(path: string, sizeBytes: number): Buffer {
  // Time, owner and mode are fixed, so that the same files give the same bytes on every machine.
  const header = new Header({
    path,
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: sizeBytes,
    mtime: new Date(0),
    type: 'File',
  });
  if (!header.encode()) return header.block ?? Buffer.alloc(BLOCK_BYTES);
  const pax = new Pax({ path, mtime: new Date(0) }).encode();
  return Buffer.concat([pax, header.block ?? Buffer.alloc(BLOCK_BYTES)]);
}

const isUstar = (block: Buffer): boolean => block.toString('latin1', 257, 263) === 'ustar\0';

/**
 * True when a name field has text after a NUL. Some programs end the name at the NUL and others read on, so such a name
 * is refused.
 */
function hasTextAfterNul(block: Buffer, start: number, end: number): boolean {
  const text = block.subarray(start, end);
  const nul = text.indexOf(0);
  return nul >= 0 && text.subarray(nul).some((byte) => byte !== 0);
}

function parseRawSize(block: Buffer): number | undefined {
  const text = block
    .toString('latin1', 124, 136)
    .replace(/[\0 ]+$/, '')
    .trim();
  return text === '' ? 0 : /^[0-7]+$/.test(text) ? parseInt(text, 8) : undefined;
}

function describeType(type: string): string {
  switch (type) {
    case 'Link':
      return 'a hard link';
    case 'SymbolicLink':
      return 'a symbolic link';
    case 'CharacterDevice':
    case 'BlockDevice':
    case 'FIFO':
      return 'a device';
    case 'GlobalExtendedHeader':
      return 'a global header';
    case 'SparseFile':
      return 'a sparse file';
    default:
      return 'of a type that bundles do not have';
  }
}

/** Shortens and escapes a name, because the name may come from an attacker and appears in logs. */
export const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));
