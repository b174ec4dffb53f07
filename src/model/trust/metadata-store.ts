import type { Metadata, Root, Snapshot, Timestamp } from '@tufjs/models';
import { LengthOrHashMismatchError, UnsignedMetadataError } from '@tufjs/models/dist/error.js';
import { BadVersionError, EqualVersionError, ExpiredMetadataError } from 'tuf-js/dist/error.js';
import { TrustedMetadataStore } from 'tuf-js/dist/store.js';
import { AgentError } from '../../base/errors.ts';
import type { HighWaterMarks, LearnedMarks } from './cache.ts';
import { checkShape, type TopRole } from './metadata-source.ts';

export interface MetadataStoreOptions {
  /** The time with which expiry dates are compared, ms since the epoch. */
  readonly nowMs: number;
  /** The highest metadata versions verified so far; null when nothing has been verified. */
  readonly marks: HighWaterMarks | null;
  /** True for bytes that the repository sent, false for local copies. Faults of local copies are not reported. */
  readonly isFetched: (bytes: Uint8Array) => boolean;
}

/**
 * The set of trusted metadata of tuf-js, with three additions. It uses the given time instead of the clock of the
 * machine. It rejects a version below the high-water mark (the highest version verified so far), even when the local
 * copies are lost. It keeps the first fault of fetched metadata as an `AgentError`, because tuf-js keeps only the text
 * of the fault.
 */
export class MetadataStore extends TrustedMetadataStore {
  readonly #options: MetadataStoreOptions;
  #fault: AgentError | null = null;
  #timestamp: HighWaterMarks['timestamp'];
  #snapshot: HighWaterMarks['snapshot'];

  private constructor(root: Buffer, options: MetadataStoreOptions) {
    super(root);
    checkKeys(this.root);
    this.#options = options;
    this.#timestamp = options.marks?.timestamp ?? null;
    this.#snapshot = options.marks?.snapshot ?? null;
    // `referenceTime` is a private field of tuf-js, which its constructor sets to the time of the machine. A test
    // checks that tuf-js uses this value.
    Object.assign(this, { referenceTime: new Date(options.nowMs) });
  }

  /** Throws `model_trust_root` when the bytes are not root metadata that are signed with their own keys. */
  static open(root: Buffer, options: MetadataStoreOptions): MetadataStore {
    try {
      checkShape(root, 'root.json');
      return new MetadataStore(root, options);
    } catch (error) {
      throw new AgentError('model_trust_root', 'the root of trust is damaged or not signed by its own keys', {
        cause: error,
      });
    }
  }

  get fault(): AgentError | null {
    return this.#fault;
  }

  /**
   * The highest verified versions, including the versions accepted by this store. Rejected metadata do not change them.
   */
  get learned(): Omit<LearnedMarks, 'floorMs'> {
    const root = Math.max(this.root.signed.version, this.#options.marks?.root ?? 1);
    return { root, timestamp: this.#timestamp, snapshot: this.#snapshot };
  }

  override updateRoot(bytes: Buffer): Metadata<Root> {
    return this.#recordFault('root', bytes, () => {
      const root = super.updateRoot(bytes);
      checkKeys(root);
      return root;
    });
  }

  override updateTimestamp(bytes: Buffer): Metadata<Timestamp> {
    return this.#recordFault('timestamp', bytes, () => {
      const { marks } = this.#options;
      if (marks && this.root.signed.version < marks.root) throw new RollbackError('root', marks.root);
      const equal = catchEqualVersion(() => super.updateTimestamp(bytes));
      const { timestamp } = this;
      if (!timestamp) throw new ReferenceError('no timestamp');
      // When the fetched timestamp has the same version as the stored one, tuf-js keeps the stored one and skips these
      // checks. So check the kept timestamp here.
      if (this.#isExpired(timestamp.signed)) throw new ExpiredMetadataError('timestamp.json is expired');
      const mark = this.#timestamp;
      if (mark && this.#areSignersTrusted('timestamp', mark.signers)) {
        if (timestamp.signed.version < mark.version) throw new RollbackError('timestamp', mark.version);
        if (timestamp.signed.snapshotMeta.version < mark.snapshot)
          throw new RollbackError('snapshot', mark.snapshot);
      }
      this.#timestamp = {
        version: timestamp.signed.version,
        snapshot: timestamp.signed.snapshotMeta.version,
        signers: this.#signersOf('timestamp', timestamp),
      };
      if (equal) throw equal;
      return timestamp;
    });
  }

  override updateSnapshot(bytes: Buffer, trusted = false): Metadata<Snapshot> {
    return this.#recordFault('snapshot', bytes, () => {
      const snapshot = super.updateSnapshot(bytes, trusted);
      const mark = this.#snapshot;
      const targets = snapshot.signed.meta['targets.json']?.version ?? 1;
      if (mark && this.#areSignersTrusted('snapshot', mark.signers) && targets < mark.targets)
        throw new RollbackError('targets', mark.targets);
      this.#snapshot = { targets, signers: this.#signersOf('snapshot', snapshot) };
      return snapshot;
    });
  }

  override updateDelegatedTargets(bytes: Buffer, role: string, delegator: string): void {
    this.#recordFault('targets', bytes, () => super.updateDelegatedTargets(bytes, role, delegator));
  }

  /** Ids of the keys of the role whose signatures on the metadata are valid. */
  #signersOf(role: TopRole, metadata: Metadata<Timestamp | Snapshot>): string[] {
    const { keys, roles } = this.root.signed;
    return (roles[role]?.keyIDs ?? []).filter((id) => {
      try {
        keys[id]?.verifySignature(metadata);
        return keys[id] !== undefined;
      } catch {
        return false;
      }
    });
  }

  /**
   * True when enough of these signers are still keys of the role; only then does a high-water mark apply. After a key
   * rotation, versions may start at 1 again.
   */
  #areSignersTrusted(role: TopRole, signers: readonly string[]): boolean {
    const rule = this.root.signed.roles[role];
    return rule !== undefined && signers.filter((id) => rule.keyIDs.includes(id)).length >= rule.threshold;
  }

  #isExpired(signed: { isExpired(at?: Date): boolean }): boolean {
    return signed.isExpired(new Date(this.#options.nowMs));
  }

  #recordFault<T>(role: TopRole, bytes: Buffer, update: () => T): T {
    try {
      return update();
    } catch (error) {
      if (this.#options.isFetched(bytes) && !(error instanceof EqualVersionError))
        this.#fault ??= toAgentError(role, error);
      throw error;
    }
  }
}

class RollbackError extends BadVersionError {
  constructor(role: TopRole, version: number) {
    super(`${role} is older than version ${version}, which was verified before`);
  }
}

function catchEqualVersion(update: () => unknown): EqualVersionError | null {
  try {
    update();
    return null;
  } catch (error) {
    if (error instanceof EqualVersionError) return error;
    throw error;
  }
}

/** Rejects a root with one key under two ids, because this key would count twice toward a threshold. */
function checkKeys(root: Metadata<Root>): void {
  const values = Object.values(root.signed.keys).map(({ keyVal }) => keyVal['public']?.trim().toLowerCase());
  if (new Set(values).size !== values.length) throw new TypeError('one key has two ids');
}

/** Converts an error of tuf-js to an `AgentError`. The messages of tuf-js contain no file paths. */
function toAgentError(role: TopRole, error: unknown): AgentError {
  const metadata = `${role} metadata`;
  const as = (code: AgentError['code'], text: string): AgentError =>
    new AgentError(code, text, { cause: error });
  const reason = error instanceof Error ? error.message : String(error);
  if (error instanceof ExpiredMetadataError)
    return as(
      'model_trust_expired',
      `the ${reason.startsWith('Final root') ? 'root metadata' : metadata} have expired`,
    );
  if (error instanceof UnsignedMetadataError)
    return as(role === 'root' ? 'model_trust_root' : 'model_trust_signature', `the ${metadata}: ${reason}`);
  if (error instanceof LengthOrHashMismatchError)
    return as('model_trust_mismatch', `the ${metadata} have another length or digest than the signed one`);
  if (error instanceof RollbackError) return as('model_trust_rollback', reason);
  if (error instanceof BadVersionError && !reason.includes('match'))
    return as(role === 'root' ? 'model_trust_root' : 'model_trust_rollback', reason);
  if (reason.startsWith('Missing file'))
    return as('model_trust_rollback', `the ${metadata} lack a file that they listed before`);
  return as(
    role === 'root' ? 'model_trust_root' : 'model_trust_mismatch',
    `the ${metadata} are refused: ${reason}`,
  );
}
