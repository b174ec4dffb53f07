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
import { metadataPath, newestRoot, putFile, readIfThere, type Role } from './files.ts';
import { readSettings, writeSettings, type Settings } from './settings.ts';

export interface RepositoryOptions {
  /** The folder that a web server shows. */
  readonly dir: string;
  /** The operator's folder: online keys, settings, and the root of trust as last signed. Never in `dir`. */
  readonly keysDir: string;
  /** Folder of the root keys; `{keysDir}/root` by default. */
  readonly rootKeysDir: string;
  readonly passphrase: string | null;
  /** Now, ms since the epoch. */
  readonly nowMs: number;
}

/** What is signed at present. */
export interface Current {
  readonly root: Metadata<Root>;
  readonly targets: Metadata<Targets>;
  readonly snapshot: Metadata<Snapshot>;
  readonly timestamp: Metadata<Timestamp>;
}

type AnyMetadata = Metadata<Root> | Metadata<Targets> | Metadata<Snapshot> | Metadata<Timestamp>;

/** The operator's view of a repository: reads what is there, and believes it only under its own root of trust. */
export class Repository {
  readonly dir: string;
  readonly keys: KeyRing;
  readonly settings: Settings;
  readonly #options: RepositoryOptions;

  private constructor(options: RepositoryOptions, settings: Settings) {
    this.dir = options.dir;
    this.keys = keyRing(options);
    this.settings = settings;
    this.#options = options;
  }

  /** Throws `repo_missing`. */
  static async open(options: RepositoryOptions): Promise<Repository> {
    const settings = await readSettings(options.keysDir);
    if (!settings || (await newestRoot(options.dir)) === 0)
      throw new AgentError('repo_missing', `${options.dir} with keys in ${options.keysDir} is no repository`);
    return new Repository(options, settings);
  }

  /** One that is being made. */
  static begin(options: RepositoryOptions, settings: Settings): Repository {
    return new Repository(options, settings);
  }

  /**
   * Everything that is signed at present, checked from the operator's own root on, so that a web server that was broken into
   * gets nothing signed. Throws `repo_damaged`.
   */
  async read(): Promise<Current> {
    const roots = await this.#roots();
    const root = roots.at(-1);
    if (!root) throw damaged('the root of trust');
    const believed = (await this.#isRotating(root)) ? roots : [root];
    const timestamp = await this.#signed('timestamp', null, MetadataKind.Timestamp, believed);
    const { snapshotMeta } = timestamp.signed;
    const snapshot = await this.#signed('snapshot', snapshotMeta, MetadataKind.Snapshot, believed);
    const targetsMeta = snapshot.signed.meta['targets.json'];
    if (!targetsMeta) throw damaged(metadataPath('snapshot', snapshotMeta.version));
    const targets = await this.#signed('targets', targetsMeta, MetadataKind.Targets, believed);
    const { published } = this.settings;
    if (root.signed.version < published.root || timestamp.signed.version < published.timestamp)
      throw new AgentError(
        'repo_damaged',
        `the repository is older than what was last signed here (timestamp ${timestamp.signed.version} of ${published.timestamp})`,
      );
    return { root, targets, snapshot, timestamp };
  }

  /** The newest root alone, from the operator's own on. */
  async root(): Promise<Metadata<Root>> {
    const root = (await this.#roots()).at(-1);
    if (!root) throw damaged('the root of trust');
    return root;
  }

  /** `days` from now on, by the settings, as TUF writes times. */
  expires(role: Role): string {
    const days = this.settings.expires_days[role];
    return timeText(this.#options.nowMs + days * 86_400_000);
  }

  /** The keys of a role under this root that are here; throws `repo_keys` below the threshold. */
  async signers(root: Metadata<Root>, role: Role): Promise<SigningKey[]> {
    const rule = root.signed.roles[role];
    return rule ? this.keys.signers(role, rule.keyIDs, rule.threshold) : [];
  }

  /** Writes one signed file where the web server shows it. */
  write(role: Role, metadata: AnyMetadata): void {
    putFile(join(this.dir, metadataPath(role, metadata.signed.version)), textOf(metadata), 0o644);
  }

  /** Before a root that takes keys away from what is signed at present. */
  async beginRotation(root: Metadata<Root>): Promise<void> {
    const rotating = { root: root.signed.version, timestamp_sha256: await this.#timestampDigest() };
    writeSettings(this.#options.keysDir, { ...this.settings, rotating });
  }

  /** Remembers what was signed last, so that an older copy of the folder is not taken for the present one. */
  remember(root: Metadata<Root>, timestamp: Metadata<Timestamp>): void {
    putFile(join(this.#options.keysDir, 'root.json'), textOf(root), 0o644);
    const published = { root: root.signed.version, timestamp: timestamp.signed.version };
    const { format, expires_days } = this.settings;
    writeSettings(this.#options.keysDir, { format, expires_days, published });
  }

  /** A rotation from here ended between its root and what the new keys sign, and nothing changed since. */
  async #isRotating(root: Metadata<Root>): Promise<boolean> {
    const { rotating } = this.settings;
    return (
      rotating?.root === root.signed.version && rotating.timestamp_sha256 === (await this.#timestampDigest())
    );
  }

  async #timestampDigest(): Promise<string> {
    const bytes = await readIfThere(join(this.dir, metadataPath('timestamp', 0)));
    return createHash('sha256')
      .update(bytes ?? '')
      .digest('hex');
  }

  /** The operator's own root, then every newer one in the folder that its forerunner vouches for. */
  async #roots(): Promise<Metadata<Root>[]> {
    const own = await readIfThere(join(this.#options.keysDir, 'root.json'));
    if (!own) throw new AgentError('repo_missing', 'the folder of keys has no root.json');
    const roots = [this.#parse('root.json', own, MetadataKind.Root)];
    for (;;) {
      const last = roots.at(-1);
      if (!last) return roots;
      const path = metadataPath('root', last.signed.version + 1);
      const bytes = await readIfThere(join(this.dir, path));
      if (!bytes) break;
      const next = this.#parse(path, bytes, MetadataKind.Root);
      verify(path, last, 'root', next);
      verify(path, next, 'root', next);
      if (next.signed.version !== last.signed.version + 1) throw damaged(path);
      roots.push(next);
    }
    return roots.slice(-2);
  }

  async #signed<K extends Exclude<Role, 'root'>>(
    role: K,
    meta: MetaFile | null,
    kind: MetadataKind,
    roots: readonly Metadata<Root>[],
  ): Promise<Current[K]> {
    const path = metadataPath(role, meta?.version ?? 0);
    const bytes = await readIfThere(join(this.dir, path));
    if (!bytes) throw damaged(path);
    try {
      meta?.verify(bytes);
    } catch (error) {
      throw damaged(path, error);
    }
    const metadata = this.#parse(path, bytes, kind);
    if (meta && metadata.signed.version !== meta.version) throw damaged(path);
    if (!roots.some((root) => vouchesFor(root, role, metadata))) throw damaged(path);
    return metadata as unknown as Current[K];
  }

  #parse(path: string, bytes: Buffer, kind: MetadataKind): Metadata<Root> {
    try {
      const data = JSON.parse(bytes.toString('utf8')) as Parameters<typeof Metadata.fromJSON>[1];
      return Metadata.fromJSON(kind as MetadataKind.Root, data);
    } catch (error) {
      throw damaged(path, error);
    }
  }
}

export const SPEC_VERSION = '1.0.31';

export const keyRing = (options: RepositoryOptions): KeyRing =>
  new KeyRing({ online: options.keysDir, root: options.rootKeysDir }, options.passphrase);

/** Without milliseconds: source, TUF 1.0.33 section 4.1. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');

export const textOf = (metadata: AnyMetadata): string => `${JSON.stringify(metadata.toJSON())}\n`;

/** Signs with all keys that are given; the former signatures go. */
export function signWith<T extends AnyMetadata>(metadata: T, signers: readonly SigningKey[]): T {
  metadata.signatures = {};
  const done = new Set<string>();
  for (const signer of signers) {
    if (done.has(signer.key.keyID)) continue;
    done.add(signer.key.keyID);
    metadata.sign(signer.sign, true);
  }
  return metadata;
}

function verify(path: string, root: Metadata<Root>, role: Role, metadata: AnyMetadata): void {
  try {
    root.verifyDelegate(role, metadata);
  } catch (error) {
    throw damaged(path, error);
  }
}

function vouchesFor(root: Metadata<Root>, role: Role, metadata: AnyMetadata): boolean {
  try {
    root.verifyDelegate(role, metadata);
    return true;
  } catch {
    return false;
  }
}

const damaged = (what: string, cause?: unknown): AgentError =>
  new AgentError('repo_damaged', `${what} is missing, damaged or not signed as it should be`, { cause });
