import { TargetFile } from '@tufjs/models';
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, mkdirSync, renameSync } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { list, type ReadEntry } from 'tar';
import { closeAtEnd } from '../../base/closing.ts';
import { syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { Release } from '../../contract/update-files.ts';
import {
  releaseTargetName,
  releaseTargetPath,
  type ReleaseArch,
  type SignedRelease,
} from '../trust/release-target.ts';

export interface PublishedAgent {
  readonly version: string;
  readonly arch: ReleaseArch;
  /** `sha256:…` of the archive. */
  readonly digest: string;
  readonly sizeBytes: number;
  readonly outcome: 'published' | 'unchanged' | 'withdrawn';
}

const ARCHES: readonly ReleaseArch[] = ['amd64', 'arm64'];
const RELEASE_FILE = 'release.json';
const MAX_RELEASE_BYTES = 4 * 1024 * 1024;
const isRelease = schemaChecker({ strict: false, validateFormats: false }).compile<Release>(Release);

type Targets = Record<string, TargetFile>;

/**
 * Reads release.json of an archive that `npm run package` built, copies the archive into the repository and adds its
 * target. A version is published once for each architecture: other bytes throw `repo_version_taken`. Throws `usage` for a
 * file that is no such archive.
 */
export async function addAgent(
  dir: string,
  files: Targets,
  path: string,
  signal: AbortSignal,
): Promise<PublishedAgent> {
  const release = await readRelease(path);
  const { version, arch, glibc, schema } = release;
  if (version.includes('+'))
    throw new AgentError('usage', `${version}: a published version must not have build metadata after "+"`);
  const name = releaseTargetName(version, arch);
  const known = Object.hasOwn(files, name) ? files[name] : undefined;
  const { sha256, sizeBytes } = await storeArchive(dir, path, release, known, signal);
  const sizes = Object.values(release.files).map(({ size }) => size);
  const custom: SignedRelease['release'] = {
    version,
    arch,
    glibc,
    schema,
    unpacked_bytes: sizes.reduce((sum, size) => sum + size, 0),
    files: sizes.length,
  };
  files[name] = new TargetFile({
    path: name,
    length: sizeBytes,
    hashes: { sha256 },
    unrecognizedFields: { custom: { release: custom } },
  });
  const outcome = known ? 'unchanged' : 'published';
  return { version, arch, digest: `sha256:${sha256}`, sizeBytes, outcome };
}

/** Removes a version for all architectures. Throws `usage` when the repository does not have it. */
export function withdrawAgent(files: Targets, version: string): PublishedAgent[] {
  const withdrawn: PublishedAgent[] = [];
  for (const arch of ARCHES) {
    const name = releaseTargetName(version, arch);
    const file = Object.hasOwn(files, name) ? files[name] : undefined;
    if (!file) continue;
    const digest = `sha256:${file.hashes['sha256'] ?? ''}`;
    withdrawn.push({ version, arch, digest, sizeBytes: file.length, outcome: 'withdrawn' });
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a plain record of the signed targets
    delete files[name];
  }
  if (withdrawn.length > 0) return withdrawn;
  throw new AgentError('usage', `the repository has no agent ${JSON.stringify(version)}`);
}

async function readRelease(path: string): Promise<Release> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  try {
    await list({
      file: path,
      strict: true,
      onReadEntry: (entry: ReadEntry) => {
        if (entry.path.replace(/^\.\//, '') === RELEASE_FILE)
          entry.on('data', (piece: Buffer) => {
            sizeBytes += piece.length;
            if (sizeBytes <= MAX_RELEASE_BYTES) pieces.push(piece);
          });
        else entry.resume();
      },
    });
    const release: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
    if (isRelease(release)) return release;
  } catch (cause) {
    throw new AgentError('usage', `${path} is not an archive of the agent (npm run package)`, { cause });
  }
  throw new AgentError('usage', `${path} has no valid ${RELEASE_FILE}`);
}

/** Copies the archive under its final name. It is on the disk when this returns, which is before it is signed. */
async function storeArchive(
  dir: string,
  path: string,
  { version, arch }: Release,
  known: TargetFile | undefined,
  signal: AbortSignal,
): Promise<{ sha256: string; sizeBytes: number }> {
  const into = join(dir, dirname(releaseTargetPath(version, arch, null)));
  mkdirSync(into, { recursive: true, mode: 0o755 });
  // Remove the files of an interrupted run.
  for (const leftover of (await readdir(into)).filter((entry) => entry.startsWith('.')))
    await rm(join(into, leftover), { force: true });
  const part = join(into, `.${randomUUID()}`);
  await using _removed = closeAtEnd(() => rm(part, { force: true }));
  const hash = createHash('sha256');
  let sizeBytes = 0;
  {
    await using out = await open(part, 'wx', 0o644);

    for await (const piece of createReadStream(path, { signal }) as AsyncIterable<Buffer>) {
      hash.update(piece);
      sizeBytes += piece.length;
      await out.writeFile(piece);
    }
    await out.sync();
  }
  const sha256 = hash.digest('hex');
  if (known && known.hashes['sha256'] !== sha256)
    throw new AgentError(
      'repo_version_taken',
      `agent ${version} for ${arch} is already published with other bytes`,
    );
  renameSync(part, join(dir, releaseTargetPath(version, arch, sha256)));
  syncDirectory(into);
  return { sha256, sizeBytes };
}
