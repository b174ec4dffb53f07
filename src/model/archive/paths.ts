/** `bundle`: a bundle's files and `golden/`. `repository`: `metadata/` and `targets/` of a signed repository. */
export type ArchiveLayout = 'bundle' | 'repository';

/** No separators, no dot in front, nothing that a shell, a terminal or another file system reads in its own way. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,191}$/;
/** `targets/models/{name}/{sha256}.{version}.tar` has four. */
const MAX_SEGMENTS = 6;

/** Names that Windows takes for devices, whatever ends they have. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * The segments of a path in an archive, a leading `./` taken away; empty for `.` itself. Null for one that this layout
 * does not have: absolute, with `..`, NUL, a backslash, odd characters, too long or too deep.
 */
export function segmentsOf(path: string, kind: 'file' | 'folder', layout: ArchiveLayout): string[] | null {
  const bare = (path.startsWith('./') ? path.slice(2) : path).replace(kind === 'folder' ? /\/$/ : /$^/, '');
  if (bare === '' || bare === '.') return kind === 'folder' ? [] : null;
  const segments = bare.split('/');
  if (segments.length > MAX_SEGMENTS) return null;
  if (!segments.every((segment) => NAME.test(segment) && !DEVICE.test(segment) && !segment.endsWith('.')))
    return null;
  return belongs(segments, kind, layout) ? segments : null;
}

function belongs(segments: readonly string[], kind: 'file' | 'folder', layout: ArchiveLayout): boolean {
  const [first = '', ...rest] = segments;
  if (layout === 'repository') {
    const depth = kind === 'folder' ? 0 : 1;
    return (first === 'metadata' || first === 'targets') && rest.length >= depth;
  }
  if (kind === 'folder') return first === 'golden' && rest.length === 0;
  return rest.length === 0 || (first === 'golden' && rest.length === 1);
}
