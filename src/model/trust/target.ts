import type { TargetFile } from '@tufjs/models';
import { Type, type Static } from '@sinclair/typebox';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { digestFile } from '../bundle/files.ts';
import { Manifest } from '../manifest.ts';

const Digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' });

/** The `custom` field of a TUF target: the facts about a bundle that a device knows before it downloads the bundle. */
export const TargetCustom = Type.Object({
  bundle: Type.Object({
    name: Manifest.properties.name,
    version: Manifest.properties.version,
    digest: Digest,
  }),
  requires: Type.Optional(Manifest.properties.requires),
});
export type TargetCustom = Static<typeof TargetCustom>;

const isTargetCustom = schemaChecker({ strict: true }).compile<TargetCustom>(TargetCustom);

/** The signed archive of a bundle. */
export interface SignedTarget {
  /** Path in the repository, with the digest in the file name: `targets/models/{name}/{sha256}.{version}.tar`. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Digest of the archive, 64 hexadecimal digits. */
  readonly sha256: string;
  /** The bundle in the archive. `digest` has the meaning of `Bundle.digest`. */
  readonly bundle: { readonly name: string; readonly version: string; readonly digest: string };
  readonly requires: Manifest['requires'] | null;
}

/** The name of a bundle's archive in the targets metadata. */
export const targetName = (name: string, version: string): string => `models/${name}/${version}.tar`;

/**
 * The path of a bundle's archive in the repository. `sha256` is null for a repository without consistent snapshots
 * (without digests in file names).
 */
export const targetPath = (name: string, sha256: string | null, version: string): string =>
  `targets/models/${name}/${sha256 === null ? '' : `${sha256}.`}${version}.tar`;

/**
 * Returns the signed target of one bundle. Throws `model_trust_target` when the targets metadata do not list the bundle
 * or describe it incompletely.
 */
export function signedTarget(
  targets: Readonly<Record<string, TargetFile>>,
  name: string,
  version: string,
  consistentSnapshot: boolean,
): SignedTarget {
  const label = `${name} ${version}`;
  const key = targetName(name, version);
  const entry = Object.hasOwn(targets, key) ? targets[key] : undefined;
  if (!entry) throw new AgentError('model_trust_target', `the repository has no ${label}`);
  const { custom } = entry;
  const sha256 = entry.hashes['sha256'];
  if (
    !isTargetCustom(custom) ||
    custom.bundle.name !== name ||
    custom.bundle.version !== version ||
    sha256 === undefined ||
    !/^[0-9a-f]{64}$/.test(sha256) ||
    !Number.isSafeInteger(entry.length)
  )
    throw new AgentError(
      'model_trust_target',
      `the entry of ${label} in the targets metadata is not a model`,
    );
  return {
    path: targetPath(name, consistentSnapshot ? sha256 : null, version),
    sizeBytes: entry.length,
    sha256,
    bundle: custom.bundle,
    requires: custom.requires ?? null,
  };
}

/** Throws `model_trust_mismatch` unless the file has the signed size and digest. */
export async function checkTarget(
  path: string,
  sizeBytes: number,
  target: SignedTarget,
  signal?: AbortSignal,
): Promise<void> {
  if (sizeBytes === target.sizeBytes && (await digestFile(path, signal)) === `sha256:${target.sha256}`)
    return;
  throw new AgentError('model_trust_mismatch', `the archive of ${target.bundle.name} is not the signed one`);
}
