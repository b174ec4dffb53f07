import type { TargetFile } from '@tufjs/models';
import { Type, type Static } from '@sinclair/typebox';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { digestFile } from '../bundle/files.ts';
import { Manifest } from '../manifest.ts';

const Digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' });

/** The `custom` field of a target: what a device may know of a bundle before it fetches it. */
export const TargetCustom = Type.Object({
  bundle: Type.Object({
    name: Manifest.properties.name,
    version: Manifest.properties.version,
    digest: Digest,
  }),
  requires: Type.Optional(Manifest.properties.requires),
});
export type TargetCustom = Static<typeof TargetCustom>;

const isCustom = schemaChecker({ strict: true }).compile<TargetCustom>(TargetCustom);

/** A bundle's archive as the operator signed for it. */
export interface SignedTarget {
  /** In the repository, with the digest in its name: `targets/models/{name}/{sha256}.{version}.tar`. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Of the archive, 64 hex digits. */
  readonly sha256: string;
  /** What is inside; `digest` as `Bundle.digest`. */
  readonly bundle: { readonly name: string; readonly version: string; readonly digest: string };
  readonly requires: Manifest['requires'] | null;
}

/** The name of a bundle's archive in the targets metadata. */
export const targetName = (name: string, version: string): string => `models/${name}/${version}.tar`;

/**
 * What the signed metadata say of one bundle. Throws `model_trust_target` when they do not name it, or when what they say is
 * of no use.
 */
export function signedTarget(
  found: TargetFile | undefined,
  name: string,
  version: string,
  consistentSnapshot: boolean,
): SignedTarget {
  const label = `${name} ${version}`;
  if (!found) throw new AgentError('model_trust_target', `the repository has no ${label}`);
  const { custom } = found;
  const sha256 = found.hashes['sha256'];
  if (
    !isCustom(custom) ||
    custom.bundle.name !== name ||
    custom.bundle.version !== version ||
    sha256 === undefined ||
    !/^[0-9a-f]{64}$/.test(sha256) ||
    !Number.isSafeInteger(found.length)
  )
    throw new AgentError('model_trust_target', `what the repository says of ${label} is no model`);
  return {
    path: `targets/models/${name}/${consistentSnapshot ? `${sha256}.` : ''}${version}.tar`,
    sizeBytes: found.length,
    sha256,
    bundle: custom.bundle,
    requires: custom.requires ?? null,
  };
}

/** Throws `model_trust_mismatch` unless the file is what was signed for. */
export async function checkTarget(
  path: string,
  sizeBytes: number,
  target: SignedTarget,
  signal?: AbortSignal,
): Promise<void> {
  if (sizeBytes === target.sizeBytes && (await digestFile(path, signal)) === `sha256:${target.sha256}`)
    return;
  throw new AgentError(
    'model_trust_mismatch',
    `the archive of ${target.bundle.name} is not the one that was signed`,
  );
}
