import { systemClock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { checkRequirements } from '../bundle/bundle.ts';
import type { FetchJob } from './messages.ts';
import { placesOf } from './places.ts';
import { PartFile } from './part-file.ts';
import { ensureSpace } from './space.ts';
import { changed } from './transfer-fault.ts';
import { Download } from './transfer-download.ts';
import { HttpRepository } from './transfer-http.ts';
import { Trust } from '../trust/trust.ts';
import type { SignedTarget } from '../trust/target.ts';
import type { Progress } from '../types.ts';

export interface FetchDeps {
  readonly onProgress: (progress: Progress) => void;
  readonly onWait: (reason: string, retryInMs: number) => void;
}

/** The repository of the configuration. Throws `model_no_repository`. */
export function repositoryOf({ options, limits }: FetchJob, deps: Pick<FetchDeps, 'onWait'>): HttpRepository {
  const { repositoryUrl, syncedNowMs, maxBytesPerS } = options;
  if (repositoryUrl === null) throw new AgentError('model_no_repository', 'model.repository is not set');
  return new HttpRepository(
    {
      baseUrl: repositoryUrl,
      clockSynced: syncedNowMs !== null,
      tuning: limits.transfer,
      maxBytesPerS,
    },
    { clock: systemClock, onWait: deps.onWait },
  );
}

/** Throws `model_unsigned` when nobody vouches for bundles and that is not allowed. */
export function mustBeSigned({ options }: FetchJob): boolean {
  if (options.trustRoot !== null) return true;
  if (options.allowUnsigned) return false;
  throw new AgentError('model_unsigned', 'there is no root of trust, and unsigned models are not allowed');
}

/**
 * What is signed for the wanted bundle, by the newest metadata of the source. Throws `model_trust_*`, `model_too_large` and
 * `model_requires`.
 */
export async function signedTargetOf(
  { dir, options, limits }: FetchJob,
  source: Parameters<Trust['refresh']>[0],
  signal: AbortSignal,
): Promise<SignedTarget> {
  const { trustRoot, syncedNowMs, request } = options;
  const { trust: trustDir } = placesOf(dir, request.updateId);
  if (trustRoot === null) throw new AgentError('model_unsigned', 'there is no root of trust');
  const trust = new Trust({ dir: trustDir, rootFile: trustRoot, syncedNowMs });
  await trust.refresh(source, signal);
  const target = await trust.target(request.name, request.version);
  if (request.digest !== null && target.bundle.digest !== request.digest)
    throw new AgentError(
      'model_digest_mismatch',
      'the repository signed for another bundle of this name and version',
      {
        context: { signed: target.bundle.digest },
      },
    );
  if (target.sizeBytes > limits.maxBytes)
    throw new AgentError(
      'model_too_large',
      `the archive has ${target.sizeBytes} bytes, ${limits.maxBytes} are allowed`,
    );
  // What cannot run here need not be fetched. The machine's kind is asked for later, by the ladder that knows it.
  if (target.requires !== null) await checkRequirements({ requires: target.requires }, {});
  return target;
}

/** Fetches the archive from the web server into the part. */
export async function download(job: FetchJob, deps: FetchDeps, signal: AbortSignal): Promise<void> {
  const { dir, options, limits } = job;
  const { name, version, updateId } = options.request;
  const { parts } = placesOf(dir, updateId);
  const repository = repositoryOf(job, deps);
  const target = mustBeSigned(job) ? await signedTargetOf(job, repository, signal) : null;
  const path = target?.path ?? `targets/models/${name}/${version}.tar`;
  const part = await PartFile.open(
    { dir: parts, updateId, reserveBytes: limits.reserveBytes },
    { of: `http:${path}`, sha256: target?.sha256 ?? null, sizeBytes: target?.sizeBytes ?? null },
  );
  try {
    // The rest of the archive, and as much again for what is in it.
    const onSize = (sizeBytes: number): Promise<void> =>
      ensureSpace(parts, sizeBytes - part.heldBytes + sizeBytes + limits.reserveBytes);
    const { onProgress } = deps;
    await new Download(repository, part, {
      path,
      expected: target,
      maxBytes: limits.maxBytes,
      onSize,
      onProgress,
    }).run(signal);
  } finally {
    await part.close();
  }
}

/** Holds a part that came by MQTT against the digest that was promised; empties it when it is something else. */
export async function check({ dir, options, limits }: FetchJob, signal: AbortSignal): Promise<void> {
  const { updateId, source } = options.request;
  if (source.kind !== 'mqtt') return;
  const sha256 = source.digest.replace('sha256:', '');
  const place = { dir: placesOf(dir, updateId).parts, updateId, reserveBytes: limits.reserveBytes };
  const part = await PartFile.open(place, { of: 'mqtt:', sha256, sizeBytes: source.sizeBytes });
  try {
    const whole = part.heldBytes === source.sizeBytes;
    if (whole && (await part.hash(signal)).digest('hex') === sha256) return;
    await part.restart({});
    throw changed('the bytes that came by MQTT are not those that were announced');
  } finally {
    await part.close();
  }
}
