import type { Metadata, Root, Snapshot, Timestamp } from '@tufjs/models';
import { LengthOrHashMismatchError, UnsignedMetadataError } from '@tufjs/models/dist/error.js';
import { BadVersionError, EqualVersionError, ExpiredMetadataError } from 'tuf-js/dist/error.js';
import { TrustedMetadataStore } from 'tuf-js/dist/store.js';
import { AgentError } from '../../base/errors.ts';
import type { Marks } from './marks.ts';
import { checkShape, type TopRole } from './fetcher.ts';

export interface StoreOptions {
  /** What expiry is held against, ms since the epoch. */
  readonly nowMs: number;
  /** The highest versions that were ever verified here; null when nothing is known. */
  readonly marks: Marks | null;
  /** True for bytes that the repository sent: only their faults are told. */
  readonly isFetched: (bytes: Uint8Array) => boolean;
}

/**
 * The library's set of trusted metadata, with three things more: its clock is given and not read; a version below the
 * highest that was ever verified is refused even where the local copies are lost; and the first fault of what the repository
 * sent is kept with its code, of which the library keeps only the text.
 */
export class JudgedStore extends TrustedMetadataStore {
  readonly #options: StoreOptions;
  #fault: AgentError | null = null;
  #timestamp: Marks['timestamp'];
  #snapshot: Marks['snapshot'];

  private constructor(root: Buffer, options: StoreOptions) {
    super(root);
    checkKeys(this.root);
    this.#options = options;
    this.#timestamp = options.marks?.timestamp ?? null;
    this.#snapshot = options.marks?.snapshot ?? null;
    // A private field of the library, set by its constructor to the machine's time; a test holds that it is still read.
    Object.assign(this, { referenceTime: new Date(options.nowMs) });
  }

  /** Throws `model_trust_root` when the bytes are no root that is signed by itself. */
  static open(root: Buffer, options: StoreOptions): JudgedStore {
    try {
      checkShape(root, 'root.json');
      return new JudgedStore(root, options);
    } catch (error) {
      throw new AgentError('model_trust_root', 'the root of trust is damaged or not signed by itself', {
        cause: error,
      });
    }
  }

  get fault(): AgentError | null {
    return this.#fault;
  }

  /** The highest versions, with those that passed here. What was refused has no part in them. */
  get learned(): Pick<Marks, 'root' | 'timestamp' | 'snapshot'> {
    const root = Math.max(this.root.signed.version, this.#options.marks?.root ?? 1);
    return { root, timestamp: this.#timestamp, snapshot: this.#snapshot };
  }

  override updateRoot(bytes: Buffer): Metadata<Root> {
    return this.#judge('root', bytes, () => {
      const root = super.updateRoot(bytes);
      checkKeys(root);
      return root;
    });
  }

  override updateTimestamp(bytes: Buffer): Metadata<Timestamp> {
    return this.#judge('timestamp', bytes, () => {
      const known = this.#options.marks;
      if (known && this.root.signed.version < known.root) throw new OlderError('root', known.root);
      const equal = equalVersion(() => super.updateTimestamp(bytes));
      const { timestamp } = this;
      if (!timestamp) throw new ReferenceError('no timestamp');
      // An equal version ends the update for the library; the one that it stays with must bear the same questions.
      if (this.#expired(timestamp.signed)) throw new ExpiredMetadataError('timestamp.json is expired');
      const mark = this.#timestamp;
      if (mark && this.#inForce('timestamp', mark.signers)) {
        if (timestamp.signed.version < mark.version) throw new OlderError('timestamp', mark.version);
        if (timestamp.signed.snapshotMeta.version < mark.snapshot)
          throw new OlderError('snapshot', mark.snapshot);
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
    return this.#judge('snapshot', bytes, () => {
      const snapshot = super.updateSnapshot(bytes, trusted);
      const mark = this.#snapshot;
      const targets = snapshot.signed.meta['targets.json']?.version ?? 1;
      if (mark && this.#inForce('snapshot', mark.signers) && targets < mark.targets)
        throw new OlderError('targets', mark.targets);
      this.#snapshot = { targets, signers: this.#signersOf('snapshot', snapshot) };
      return snapshot;
    });
  }

  override updateDelegatedTargets(bytes: Buffer, role: string, delegator: string): void {
    this.#judge('targets', bytes, () => super.updateDelegatedTargets(bytes, role, delegator));
  }

  /** Keys of the role that signed this, checked again. */
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

  /** What was verified holds while those who signed it could sign it today: changed keys free a role from its past. */
  #inForce(role: TopRole, signers: readonly string[]): boolean {
    const rule = this.root.signed.roles[role];
    return rule !== undefined && signers.filter((id) => rule.keyIDs.includes(id)).length >= rule.threshold;
  }

  #expired(signed: { isExpired(at?: Date): boolean }): boolean {
    return signed.isExpired(new Date(this.#options.nowMs));
  }

  #judge<T>(role: TopRole, bytes: Buffer, update: () => T): T {
    try {
      return update();
    } catch (error) {
      if (this.#options.isFetched(bytes) && !(error instanceof EqualVersionError))
        this.#fault ??= faultOf(role, error);
      throw error;
    }
  }
}

class OlderError extends BadVersionError {
  constructor(role: TopRole, version: number) {
    super(`${role} is older than version ${version}, which was seen before`);
  }
}

function equalVersion(update: () => unknown): EqualVersionError | null {
  try {
    update();
    return null;
  } catch (error) {
    if (error instanceof EqualVersionError) return error;
    throw error;
  }
}

/** One key under two names would count twice against a threshold. */
function checkKeys(root: Metadata<Root>): void {
  const values = Object.values(root.signed.keys).map(({ keyVal }) => keyVal['public']?.trim().toLowerCase());
  if (new Set(values).size !== values.length) throw new TypeError('one key stands under two names');
}

/** What the library threw, by code. Its texts hold no paths. */
function faultOf(role: TopRole, error: unknown): AgentError {
  const file = `${role} metadata`;
  const as = (code: AgentError['code'], text: string): AgentError =>
    new AgentError(code, text, { cause: error });
  const said = error instanceof Error ? error.message : String(error);
  if (error instanceof ExpiredMetadataError)
    return as(
      'model_trust_expired',
      `the ${said.startsWith('Final root') ? 'root metadata' : file} have expired`,
    );
  if (error instanceof UnsignedMetadataError)
    return as(role === 'root' ? 'model_trust_root' : 'model_trust_signature', `the ${file}: ${said}`);
  if (error instanceof LengthOrHashMismatchError)
    return as('model_trust_mismatch', `the ${file} are not what was promised`);
  if (error instanceof OlderError) return as('model_trust_rollback', said);
  if (error instanceof BadVersionError && !said.includes('match'))
    return as(role === 'root' ? 'model_trust_root' : 'model_trust_rollback', said);
  if (said.startsWith('Missing file'))
    return as('model_trust_rollback', `the ${file} lack what they had before`);
  return as(
    role === 'root' ? 'model_trust_root' : 'model_trust_mismatch',
    `the ${file} are refused: ${said}`,
  );
}
