import { Header, Pax } from 'tar';
import { AgentError } from '../../base/errors.ts';

export const BLOCK_BYTES = 512;

/** What the next header says, once it is one that a bundle may have. */
export type HeaderKind = 'file' | 'folder' | 'pax' | 'long_name' | 'end';

export interface HeaderRead {
  readonly kind: HeaderKind;
  /** As it stands in the header. */
  readonly path: string;
  /** Of the body that follows, bytes. */
  readonly sizeBytes: number;
}

const KINDS: Readonly<Record<string, HeaderKind>> = {
  File: 'file',
  OldFile: 'file',
  Directory: 'folder',
  ExtendedHeader: 'pax',
  NextFileHasLongPath: 'long_name',
};

/** Records that say nothing of where and what the bytes are. */
const HARMLESS = /^(mtime|atime|ctime|uid|gid|uname|gname|comment|LIBARCHIVE\.creationtime)$/;

/** Zeros that fill the last block of a body. */
export const paddingOf = (sizeBytes: number): number =>
  (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;

export const refuseArchive = (why: string, context: Readonly<Record<string, unknown>> = {}): AgentError =>
  new AgentError('model_archive_refused', `the archive is refused: ${why}`, { context });

/**
 * Reads one header block. Throws `model_archive_refused` for what is no header, or one of a link, a device, a sparse file,
 * a global header or any other kind.
 */
export function readHeader(block: Buffer): HeaderRead {
  if (block.every((byte) => byte === 0)) return { kind: 'end', path: '', sizeBytes: 0 };
  let header: Header;
  try {
    header = new Header(block, 0);
  } catch (thrown) {
    // The library's refusal of a number that it cannot hold.
    throw refuseArchive(`a header cannot be read: ${thrown instanceof Error ? thrown.message : 'damaged'}`);
  }
  if (!header.cksumValid) throw refuseArchive('a header is damaged, or this is no tar archive');
  const path = header.path ?? '';
  if (hidesText(block, 0, 100) || (isUstar(block) && hidesText(block, 345, 475)))
    throw refuseArchive(`${quoted(path)} goes on behind a NUL`);
  const kind = KINDS[header.type];
  if (kind === undefined) throw refuseArchive(`${quoted(path)} is ${told(header.type)}`);
  if (header.linkpath !== undefined && header.linkpath !== '')
    throw refuseArchive(`${quoted(path)} names another file`);
  // The library makes a folder's size 0, and others skip as many bytes as it says.
  const sizeBytes = kind === 'folder' ? rawSize(block) : header.size;
  if (sizeBytes === undefined || !Number.isSafeInteger(sizeBytes))
    throw refuseArchive(`${quoted(path)} has no size`);
  if (kind === 'folder' && sizeBytes !== 0) throw refuseArchive(`the folder ${quoted(path)} has a size`);
  return { kind, path, sizeBytes };
}

/** The path of a pax header's body, or null without one; refuses records that would change what the bytes mean. */
export function paxPath(body: Buffer): string | null {
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
    else if (!HARMLESS.test(key)) throw refuseArchive(`an extended header sets ${quoted(key)}`);
    at = end;
  }
  return path;
}

/** The header block, or blocks where the name is too long for one, of a plain file. */
export function writeHeader(path: string, sizeBytes: number): Buffer {
  // No time, no owner, one mode: the same files give the same bytes wherever they are packed.
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
  const extended = new Pax({ path, mtime: new Date(0) }).encode();
  return Buffer.concat([extended, header.block ?? Buffer.alloc(BLOCK_BYTES)]);
}

const isUstar = (block: Buffer): boolean => block.toString('latin1', 257, 263) === 'ustar\0';

/** Readers end a text at its first NUL; bytes behind it are there to be read in another way by another reader. */
function hidesText(block: Buffer, start: number, end: number): boolean {
  const text = block.subarray(start, end);
  const nul = text.indexOf(0);
  return nul >= 0 && text.subarray(nul).some((byte) => byte !== 0);
}

function rawSize(block: Buffer): number | undefined {
  const text = block
    .toString('latin1', 124, 136)
    .replace(/[\0 ]+$/, '')
    .trim();
  return text === '' ? 0 : /^[0-7]+$/.test(text) ? parseInt(text, 8) : undefined;
}

function told(type: string): string {
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
      return 'a header for all files';
    case 'SparseFile':
      return 'a sparse file';
    default:
      return 'of a kind that bundles do not have';
  }
}

/** Cut short and escaped: the name may come from a stranger and ends in logs. */
export const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));
