import { rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { closeAtEnd } from '../base/closing.ts';
import { AgentError } from '../base/errors.ts';
import {
  rollbackVersion,
  type InstalledVersion,
  type Release,
  type UpdateRequest,
  type UpdaterState,
} from '../contract/update-files.ts';
import { parseVersion } from '../model/semver.ts';
import { directorySource } from '../model/trust/metadata-source.ts';
import type { ReleaseArch, SignedRelease } from '../model/trust/release-target.ts';
import { Trust } from '../model/trust/trust.ts';
import type { UpdaterPaths } from './paths.ts';
import { checkPlatform, checkSpace, type Machine } from './platform.ts';
import { runPreflight } from './preflight.ts';
import { checkRelease, DIGEST_FILE } from './release-files.ts';
import { openPath, type RequestDirectory } from './request-directory.ts';
import type { ServiceControl } from './service-control.ts';
import { isBanned, isSameVersion } from './state-file.ts';
import { copyChecked, syncFileSystem, unpackArchive } from './unpack.ts';
import type { Versions } from './versions.ts';

export type PrepareStep = 'verifying' | 'unpacking' | 'preflight';

export interface PrepareDeps {
  readonly paths: UpdaterPaths;
  readonly versions: Versions;
  readonly machine: Machine;
  readonly control: ServiceControl;
  readonly onStep: (step: PrepareStep) => void;
}

const COPY_FILE = 'incoming.tar.gz';
const METADATA_DIR = 'metadata';
/** release.json is in the archive, but not in the sizes that are signed. */
const RELEASE_FILE_BYTES = 4 * 1024 * 1024;

/**
 * Brings the requested version to the disk and proves that it can run here. Nothing that runs is changed. Every step can
 * be repeated after a power cut. Throws an `AgentError` with the reason for a refusal.
 */
export async function prepareInstall(
  request: UpdateRequest,
  directory: RequestDirectory | null,
  state: UpdaterState,
  deps: PrepareDeps,
  signal: AbortSignal,
): Promise<InstalledVersion> {
  const { paths, versions, machine, control, onStep } = deps;
  if (directory === null)
    throw new AgentError('update_request_invalid', 'the directory of the request is missing');
  onStep('verifying');
  const signed = await verifyMetadata(request, directory, deps, signal);
  const version = { version: signed.release.version, digest: signed.sha256 };
  checkOrder(version, state);
  checkPlatform(signed.release, machine);
  await versions.ensureWritable();
  if (!(await hasVersion(version, versions, signal))) {
    onStep('unpacking');
    await checkSpace([
      { dir: paths.state, bytes: signed.sizeBytes, files: 16 },
      { dir: paths.root, bytes: signed.release.unpacked_bytes, files: 2 * signed.release.files },
    ]);
    await unpack(version, signed, directory, deps, signal);
  }
  await checkSchemas(version, state, versions);
  onStep('preflight');
  await runPreflight(version, paths, control, signal);
  return version;
}

/** The version to which a rollback returns, proved as a new one. Throws `update_no_previous`, or why it cannot run. */
export async function prepareRollback(
  state: UpdaterState,
  { paths, versions, control, onStep }: PrepareDeps,
  signal: AbortSignal,
): Promise<InstalledVersion> {
  const version = rollbackVersion(state, (one) => isSameVersion(one, state.running));
  if (version === null)
    throw new AgentError('update_no_previous', 'there is no other version on this device that never failed');
  onStep('verifying');
  await checkRelease(versions.pathOf(version), version, signal);
  await checkSchemas(version, state, versions);
  onStep('preflight');
  await runPreflight(version, paths, control, signal);
  return version;
}

async function verifyMetadata(
  { version, digest }: UpdateRequest,
  directory: RequestDirectory,
  { paths, machine }: PrepareDeps,
  signal: AbortSignal,
): Promise<SignedRelease> {
  const trust = new Trust({
    dir: join(paths.state, METADATA_DIR),
    rootFile: paths.rootFile,
    syncedNowMs: await machine.syncedNowMs(),
  });
  await using metadata = await directory.openDirectory('metadata').catch((cause: unknown) => {
    throw new AgentError('update_request_invalid', 'the metadata of the request are missing', { cause });
  });
  const source = directorySource(openPath(metadata));
  await trust.refresh(
    { fetch: (path, maxBytes, until) => source.fetch(basename(path), maxBytes, until) },
    signal,
  );
  const signed = await trust.release(version ?? '', machine.arch as ReleaseArch);
  if (signed.sha256 !== digest)
    throw new AgentError('model_trust_mismatch', 'the request names another archive than the signed one');
  return signed;
}

/** Throws unless the version is newer than the one that runs, and never failed here. */
function checkOrder(version: InstalledVersion, state: UpdaterState): void {
  if (isBanned(state, version.digest))
    throw new AgentError('update_banned', `${version.version} failed on this device`);
  const [next, running] = [parseVersion(version.version), parseVersion(state.running.version)];
  if (next === null || running === null || next.compare(running) > 0) return;
  throw new AgentError(
    'update_downgrade',
    isSameVersion(version, state.running)
      ? `${version.version} runs already`
      : `${version.version} is not newer than ${state.running.version}, which runs`,
  );
}

/** True when the version is complete on the disk. Removes a damaged copy of it. */
async function hasVersion(
  version: InstalledVersion,
  versions: Versions,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await versions.list()).some((one) => isSameVersion(one, version))) return false;
  try {
    await checkRelease(versions.pathOf(version), version, signal);
    return true;
  } catch {
    signal.throwIfAborted();
    await rm(versions.pathOf(version), { recursive: true, force: true });
    return false;
  }
}

async function unpack(
  version: InstalledVersion,
  signed: SignedRelease,
  directory: RequestDirectory,
  { paths, versions, machine }: PrepareDeps,
  signal: AbortSignal,
): Promise<void> {
  const copy = join(paths.state, COPY_FILE);
  const into = versions.newPath(version);
  await using _copy = closeAtEnd(() => rm(copy, { force: true }));
  await using _unpacked = closeAtEnd(() => rm(into, { recursive: true, force: true }));
  {
    await using archive = await directory.openFile(`${version.digest}.tar.gz`).catch((cause: unknown) => {
      throw new AgentError('update_request_invalid', 'the archive of the request is missing', { cause });
    });
    await copyChecked(archive, copy, signed, signal);
  }
  const { unpacked_bytes, files } = signed.release;
  const bounds = { maxBytes: unpacked_bytes + RELEASE_FILE_BYTES, maxFiles: 2 * files + 64 };
  await unpackArchive(copy, into, bounds, signal);
  const release = await checkRelease(into, version, signal);
  checkPlatform(release, machine);
  await writeFile(join(into, DIGEST_FILE), `${version.digest}\n`);
  await syncFileSystem(into);
  await versions.publish(version);
}

/**
 * Both versions must be able to use the database that the other one leaves: the new one now, and the former one if the
 * trial fails. Throws `update_schema`.
 */
async function checkSchemas(
  version: InstalledVersion,
  { running }: UpdaterState,
  versions: Versions,
): Promise<void> {
  const [next, former] = [await versions.releaseOf(version), await versions.releaseOf(running)];
  if (next === null || former === null) return;
  if (former.schema < oldestReader(next))
    throw new AgentError(
      'update_schema',
      `${running.version} could not use the database after ${version.version}; install a version between them first`,
    );
  if (next.schema < oldestReader(former))
    throw new AgentError('update_schema', `${version.version} is too old for the database of this device`);
}

const oldestReader = ({ schema, compatible_from }: Release): number => compatible_from ?? schema;
