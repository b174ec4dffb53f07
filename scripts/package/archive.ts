import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, createReadStream, createWriteStream, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/**
 * Packs all that is in `stage` as `file`, a gzipped tar archive with a directory entry before each directory's files.
 * The same files give the same bytes on every machine: sorted names, one time, owner 0, and GNU gzip, whose output has
 * not changed in decades; that of zlib depends on its version and on the processor. `isFast`: a larger file in less time.
 */
export async function packDirectory(
  stage: string,
  file: string,
  timeS: number,
  { isFast = false }: { readonly isFast?: boolean } = {},
): Promise<void> {
  for (const entry of readdirSync(stage, { withFileTypes: true, recursive: true }))
    if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), 0o755);
  const tar = spawn(
    'tar',
    [
      ...['--create', '--format=ustar', '--sort=name', `--mtime=@${timeS}`],
      ...['--owner=0', '--group=0', '--numeric-owner', '--directory', stage],
      // First, so that a reader of the archive knows what it is before the large parts.
      'release.json',
      ...readdirSync(stage)
        .filter((name) => name !== 'release.json')
        .sort(),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, LC_ALL: 'C' } },
  );
  const gzip = spawn('gzip', ['--no-name', isFast ? '-1' : '-6'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await Promise.all([
    pipeline(tar.stdout, gzip.stdin),
    pipeline(gzip.stdout, createWriteStream(file)),
    untilSuccess(tar, 'tar'),
    untilSuccess(gzip, 'gzip'),
  ]);
}

async function untilSuccess(child: ReturnType<typeof spawn>, name: string): Promise<void> {
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${name} exited with ${code ?? 'a signal'}`);
}

/** The SHA-256 of a file in hexadecimal digits. */
export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
