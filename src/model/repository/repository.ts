import {
  Metadata,
  MetadataKind,
  type MetaFile,
  type Root,
  type Snapshot,
  type Targets,
  type Timestamp,
} from '@tufjs/models';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { KeyRing, type SigningKey } from './keys.ts';
import {
  metadataPath,
  newestRootVersion,
  readIfExists,
  readSettings,
  writeFileAtomic,
  writeSettings,
  type Role,
  type Settings,
} from './files.ts';

export interface RepositoryOptions {
  /** The published directory, which a web server serves. */
  readonly dir: string;
  /**
   * The operator's private directory: the online keys, the settings, and the root metadata that were signed last. Never
   * inside `dir`.
   */
  readonly keysDir: string;
  /** Directories of the root keys, such as several removable disks. The default is `{keysDir}/root`. */
  readonly rootKeysDirs: readonly string[];
  readonly passphrase: string | null;
  /** The present time, ms since the epoch. */
  readonly nowMs: number;
}

/** The metadata that are published at present. */
export interface CurrentMetadata {
  readonly root: Metadata<Root>;
  readonly targets: Metadata<Targets>;
  readonly snapshot: Metadata<Snapshot>;
  readonly timestamp: Metadata<Timestamp>;
}

export type RoleMetadata = Metadata<Root> | Metadata<Targets> | Metadata<Snapshot> | Metadata<Timestamp>;

/**
 * A repository as the operator writes it. It trusts the published files only if they are verified with the operator's
 * own copy of the root metadata.
 */
export class Repository {
  readonly dir: string;
  readonly keys: KeyRing;
  readonly settings: Settings;
  readonly #options: RepositoryOptions;

  /** Does not read or write files. */
  constructor(options: RepositoryOptions, settings: Settings) {
    this.dir = options.dir;
    this.keys = openKeyRing(options);
    this.settings = settings;
    this.#options = options;
  }

  /** Opens an existing repository. Throws `repo_missing`. */
  static async open(options: RepositoryOptions): Promise<Repository> {
    const settings = await readSettings(options.keysDir);
    if (!settings || (await newestRootVersion(options.dir)) === 0)
      throw new AgentError(
        'repo_missing',
        `${options.dir} with keys in ${options.keysDir} is not a repository`,
      );
    return new Repository(options, settings);
  }

  /**
   * Reads the published metadata and verifies them, beginning with the operator's own root. So the operator never signs
   * content that an attacker changed on the web server. Throws `repo_damaged`.
   */
  async read(): Promise<CurrentMetadata> {
    const { root, former } = await this.#readRoots();
    const trustedRoots = (await this.#isRotating(root)) ? [former, root] : [root];
    const timestamp = await this.#readSigned('timestamp', null, MetadataKind.Timestamp, trustedRoots);
    const { snapshotMeta } = timestamp.signed;
    const snapshot = await this.#readSigned('snapshot', snapshotMeta, MetadataKind.Snapshot, trustedRoots);
    const targetsMeta = snapshot.signed.meta['targets.json'];
    if (!targetsMeta) throw damaged(metadataPath('snapshot', snapshotMeta.version));
    const targets = await this.#readSigned('targets', targetsMeta, MetadataKind.Targets, trustedRoots);
    const { published } = this.settings;
    if (root.signed.version < published.root || timestamp.signed.version < published.timestamp)
      throw new AgentError(
        'repo_damaged',
        `the repository is older than the last signed state (timestamp ${timestamp.signed.version} of ${published.timestamp})`,
      );
    return { root, targets, snapshot, timestamp };
  }

  /** Reads only the newest root, and verifies it, beginning with the operator's own root. */
  async readRoot(): Promise<Metadata<Root>> {
    return (await this.#readRoots()).root;
  }

  /** Expiry time of a signature that is made now, in the time format of TUF. */
  expires(role: Role): string {
    const days = this.settings.expires_days[role];
    return tufTime(this.#options.nowMs + days * 86_400_000);
  }

  /** Loads the available keys of a role under this root. Throws `repo_keys` when they are fewer than the threshold. */
  async signers(root: Metadata<Root>, role: Role): Promise<SigningKey[]> {
    const rule = root.signed.roles[role];
    return rule ? this.keys.signers(role, rule.keyIDs, rule.threshold) : [];
  }

  /** Writes one signed file into the published directory. */
  write(role: Role, metadata: RoleMetadata): void {
    const path = join(this.dir, metadataPath(role, metadata.signed.version));
    writeFileAtomic(path, metadataText(metadata), 0o644);
  }

  /** Call this before writing a root that removes keys with which the published metadata are signed. */
  async beginRotation(root: Metadata<Root>): Promise<void> {
    const rotating = { root: root.signed.version, timestamp_sha256: await this.#timestampDigest() };
    writeSettings(this.#options.keysDir, { ...this.settings, rotating });
  }

  /** Stores the metadata versions that were signed last, so that an older copy of the directory is recognised. */
  rememberPublished(root: Metadata<Root>, timestamp: Metadata<Timestamp>): void {
    writeFileAtomic(join(this.#options.keysDir, 'root.json'), metadataText(root), 0o644);
    const published = { root: root.signed.version, timestamp: timestamp.signed.version };
    const { format, expires_days } = this.settings;
    writeSettings(this.#options.keysDir, { format, expires_days, published });
  }

  /**
   * True when a key rotation was interrupted after its root was written, and the timestamp file has not changed since.
   */
  async #isRotating(root: Metadata<Root>): Promise<boolean> {
    const { rotating } = this.settings;
    return (
      rotating?.root === root.signed.version && rotating.timestamp_sha256 === (await this.#timestampDigest())
    );
  }

  async #timestampDigest(): Promise<string> {
    const bytes = await readIfExists(join(this.dir, metadataPath('timestamp', 0)));
    return createHash('sha256')
      .update(bytes ?? '')
      .digest('hex');
  }

  /**
   * Reads the operator's own root, then each newer published root that the root before it signed. Returns the last two,
   * which are the same without a newer root.
   */
  async #readRoots(): Promise<{ readonly root: Metadata<Root>; readonly former: Metadata<Root> }> {
    const ownRoot = await readIfExists(join(this.#options.keysDir, 'root.json'));
    if (!ownRoot) throw new AgentError('repo_missing', 'the keys directory has no root.json');
    let root = parseMetadata('root.json', ownRoot, MetadataKind.Root);
    for (let former = root; ;) {
      const path = metadataPath('root', root.signed.version + 1);
      const bytes = await readIfExists(join(this.dir, path));
      if (!bytes) return { root, former };
      const next = parseMetadata(path, bytes, MetadataKind.Root);
      const isSigned = isSignedBy(root, 'root', next) && isSignedBy(next, 'root', next);
      if (!isSigned || next.signed.version !== root.signed.version + 1) throw damaged(path);
      [former, root] = [root, next];
    }
  }

  async #readSigned<K extends Exclude<Role, 'root'>>(
    role: K,
    meta: MetaFile | null,
    kind: MetadataKind,
    roots: readonly Metadata<Root>[],
  ): Promise<CurrentMetadata[K]> {
    const path = metadataPath(role, meta?.version ?? 0);
    const bytes = await readIfExists(join(this.dir, path));
    if (!bytes) throw damaged(path);
    try {
      meta?.verify(bytes);
    } catch (error) {
      throw damaged(path, error);
    }
    const metadata = parseMetadata(path, bytes, kind);
    if (meta && metadata.signed.version !== meta.version) throw damaged(path);
    if (!roots.some((root) => isSignedBy(root, role, metadata))) throw damaged(path);
    return metadata as unknown as CurrentMetadata[K];
  }
}

export const openKeyRing = (options: RepositoryOptions): KeyRing =>
  new KeyRing({ online: options.keysDir, root: options.rootKeysDirs }, options.passphrase);

/** A time in the format of TUF, without milliseconds. Source: TUF 1.0.33 section 4.1. */
export const tufTime = (ms: number): string => new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');

/** The text of a metadata file. */
export const metadataText = (metadata: RoleMetadata): string => `${JSON.stringify(metadata.toJSON())}\n`;

/** True when enough keys of the role, as listed in this root, have signed the metadata. */
export function isSignedBy(root: Metadata<Root>, role: Role, metadata: RoleMetadata): boolean {
  try {
    root.verifyDelegate(role, metadata);
    return true;
  } catch {
    return false;
  }
}

function parseMetadata(path: string, bytes: Buffer, kind: MetadataKind): Metadata<Root> {
  try {
    const data = JSON.parse(bytes.toString('utf8')) as Parameters<typeof Metadata.fromJSON>[1];
    return Metadata.fromJSON(kind as MetadataKind.Root, data);
  } catch (error) {
    throw damaged(path, error);
  }
}

const damaged = (what: string, cause?: unknown): AgentError =>
  new AgentError('repo_damaged', `${what} is missing, damaged or not correctly signed`, { cause });
