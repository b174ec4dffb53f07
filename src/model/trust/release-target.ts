import type { TargetFile } from '@tufjs/models';
import { Type, type Static } from '@sinclair/typebox';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { Release } from '../../contract/update-files.ts';

/** The `custom` field of the TUF target of a release: what a device checks before it downloads or unpacks the archive. */
export const ReleaseCustom = Type.Object({
  release: Type.Object({
    version: Release.properties.version,
    arch: Release.properties.arch,
    glibc: Release.properties.glibc,
    /** Number of the newest migration of the database. */
    schema: Release.properties.schema,
    /** Size of all unpacked files, and their number. */
    unpacked_bytes: Type.Integer({ minimum: 0 }),
    files: Type.Integer({ minimum: 0 }),
  }),
});
type ReleaseCustom = Static<typeof ReleaseCustom>;

const isReleaseCustom = schemaChecker({ strict: true }).compile<ReleaseCustom>(ReleaseCustom);

/** The signed archive of a version of the agent. */
export interface SignedRelease {
  /** Path in the repository, with the digest in the file name. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Digest of the archive, 64 hexadecimal digits. */
  readonly sha256: string;
  readonly release: ReleaseCustom['release'];
}

export type ReleaseArch = SignedRelease['release']['arch'];

/** The architecture of this process. Throws `update_platform` when the agent does not run on it. */
export function releaseArch(arch: string = process.arch): ReleaseArch {
  if (arch === 'x64') return 'amd64';
  if (arch === 'arm64') return 'arm64';
  throw new AgentError('update_platform', `there is no agent for the architecture ${arch}`);
}

const NAME = /^agent\/([^/]+)\/swellsight-([^/]+)-(amd64|arm64)\.tar\.gz$/;

/** The name of the archive of a version in the targets metadata. */
export const releaseTargetName = (version: string, arch: ReleaseArch): string =>
  `agent/${version}/swellsight-${version}-${arch}.tar.gz`;

/** The path of the archive in the repository. `sha256` is null for a repository without consistent snapshots. */
export const releaseTargetPath = (version: string, arch: ReleaseArch, sha256: string | null): string =>
  `targets/agent/${version}/${sha256 === null ? '' : `${sha256}.`}swellsight-${version}-${arch}.tar.gz`;

/**
 * Returns the signed archive of one version. Throws `model_trust_target` when the targets metadata do not list it or
 * describe it incompletely.
 */
export function signedRelease(
  targets: Readonly<Record<string, TargetFile>>,
  version: string,
  arch: ReleaseArch,
  consistentSnapshot: boolean,
): SignedRelease {
  const key = releaseTargetName(version, arch);
  const entry = Object.hasOwn(targets, key) ? targets[key] : undefined;
  if (!entry)
    throw new AgentError('model_trust_target', `the repository has no agent ${version} for ${arch}`);
  const { custom } = entry;
  const sha256 = entry.hashes['sha256'];
  if (
    !isReleaseCustom(custom) ||
    custom.release.version !== version ||
    custom.release.arch !== arch ||
    sha256 === undefined ||
    !/^[0-9a-f]{64}$/.test(sha256) ||
    !Number.isSafeInteger(entry.length)
  )
    throw new AgentError(
      'model_trust_target',
      `the entry of agent ${version} in the targets metadata is not a release`,
    );
  return {
    path: releaseTargetPath(version, arch, consistentSnapshot ? sha256 : null),
    sizeBytes: entry.length,
    sha256,
    release: custom.release,
  };
}

/** The versions in the targets metadata for one architecture, in the order of the metadata. */
export function releaseVersions(
  targets: Readonly<Record<string, TargetFile>>,
  arch: ReleaseArch,
): readonly string[] {
  return Object.keys(targets).flatMap((name) => {
    const [, version = '', inFile, ofArch] = NAME.exec(name) ?? [];
    return version === inFile && ofArch === arch ? [version] : [];
  });
}
