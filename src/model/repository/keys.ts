import { Key, Signature } from '@tufjs/models';
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { writeFileAtomic, type Role } from './files.ts';

/** A private key, together with its public key in the format of TUF. */
export interface SigningKey {
  readonly key: Key;
  readonly sign: (bytes: Buffer) => Signature;
}

/** Source: TUF 1.0.33 section 4.2. The id of a key is the SHA-256 of the key as canonical JSON. */
function tufPublicKey(privateKey: KeyObject): Key {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const hex = spki.subarray(-32).toString('hex');
  const canonical = `{"keytype":"ed25519","keyval":{"public":"${hex}"},"scheme":"ed25519"}`;
  const keyID = createHash('sha256').update(canonical).digest('hex');
  return new Key({ keyID, keyType: 'ed25519', scheme: 'ed25519', keyVal: { public: hex } });
}

function toSigningKey(privateKey: KeyObject): SigningKey {
  const key = tufPublicKey(privateKey);
  return {
    key,
    sign: (bytes) => new Signature({ keyID: key.keyID, sig: sign(null, bytes, privateKey).toString('hex') }),
  };
}

/** Generates an ed25519 key without storing it. */
export function generateSigningKey(): { readonly signingKey: SigningKey; readonly privateKey: KeyObject } {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { signingKey: toSigningKey(privateKey), privateKey };
}

/** The first digits of the id: they suffice for the name of a file. */
const shortId = (keyId: string): string => keyId.slice(0, 16);

export interface KeyDirs {
  /** Directory of the keys that sign often: targets, snapshot, timestamp. */
  readonly online: string;
  /** Directories of the keys of the root role, at least one. They may be on removable disks. */
  readonly root: readonly string[];
}

/** Throws `usage` when one of several directories would get enough of the new root keys to sign a root. */
export function checkRootDirs(dirs: readonly string[], count: number, threshold: number): void {
  if (dirs.length < 2 || Math.ceil(count / dirs.length) < threshold) return;
  throw new AgentError(
    'usage',
    `${dirs.length} directories for ${count} root keys: one would have enough of them to sign`,
    { hint: 'name a directory for each root key with --root-keys' },
  );
}

/**
 * The operator's private keys. They are PKCS #8 files that only their owner can read, and are encrypted if there is a
 * passphrase.
 */
export class KeyRing {
  readonly #dirs: KeyDirs;
  readonly #passphrase: string | null;

  constructor(dirs: KeyDirs, passphrase: string | null) {
    this.#dirs = dirs;
    this.#passphrase = passphrase;
  }

  #dirsOf(role: Role): readonly string[] {
    return role === 'root' ? this.#dirs.root : [this.#dirs.online];
  }

  get #allDirs(): Set<string> {
    return new Set([this.#dirs.online, ...this.#dirs.root]);
  }

  /**
   * The directory of the next new key: for a root key the one with the fewest keys, so that no disk has enough of them.
   * Throws `repo_keys` when one of several disks is not there: the key would be written to the disk of this machine.
   */
  #nextDir(role: Role): string {
    const dirs = this.#dirsOf(role);
    const [first = this.#dirs.online] = dirs;
    if (dirs.length < 2) return first;
    const missing = dirs.find((dir) => !existsSync(dir));
    if (missing !== undefined)
      throw new AgentError('repo_keys', `${missing} does not exist`, {
        hint: 'connect the disk, or leave its directory out; a new disk needs the directory first',
      });
    const countKeys = (dir: string): number =>
      readdirSync(dir).filter((name) => name.startsWith(`${role}-`)).length;
    return dirs.reduce((best, dir) => (countKeys(dir) < countKeys(best) ? dir : best));
  }

  /** Generates an ed25519 key and stores it. */
  create(role: Role): SigningKey {
    const { signingKey, privateKey } = generateSigningKey();
    const pem = privateKey.export({
      format: 'pem',
      type: 'pkcs8',
      ...(this.#passphrase !== null && { cipher: 'aes-256-cbc', passphrase: this.#passphrase }),
    });
    const name = `${role}-${shortId(signingKey.key.keyID)}.pem`;
    writeFileAtomic(join(this.#nextDir(role), name), pem, 0o600);
    return signingKey;
  }

  /** Returns the path of a private key; null when the key is not on this machine. */
  async find(role: Role, keyId: string): Promise<string | null> {
    const suffix = `-${shortId(keyId)}.pem`;
    for (const dir of new Set([...this.#dirsOf(role), ...this.#allDirs])) {
      const names = await readdir(dir).catch(() => []);
      const name = names.find((entry) => entry.endsWith(suffix));
      if (name !== undefined) return join(dir, name);
    }
    return null;
  }

  /**
   * Loads the available keys of a role. Throws `repo_keys` when fewer keys than the threshold are available, when a key
   * cannot be read, or when it needs another passphrase.
   */
  async signers(role: Role, keyIds: readonly string[], threshold: number): Promise<SigningKey[]> {
    const found: SigningKey[] = [];
    for (const keyId of keyIds) {
      const path = await this.find(role, keyId);
      if (path !== null) found.push(await this.#load(path, keyId));
    }
    if (found.length >= threshold) return found;
    throw new AgentError(
      'repo_keys',
      `${role} needs ${threshold} of its ${keyIds.length} keys to sign, ${found.length} are available`,
      { context: { dirs: this.#dirsOf(role) } },
    );
  }

  /** Loads every key of the root role in its directories. Throws `repo_keys` when there is none. */
  async rootKeys(): Promise<SigningKey[]> {
    const found: SigningKey[] = [];
    for (const dir of this.#dirs.root) {
      for (const name of await readdir(dir).catch(() => [])) {
        const [, keyId] = /^root-([0-9a-f]{16})\.pem$/.exec(name) ?? [];
        if (keyId !== undefined) found.push(await this.#load(join(dir, name), keyId));
      }
    }
    if (found.length > 0) return found;
    throw new AgentError('repo_keys', `there is no root key in ${this.#dirs.root.join(', ')}`);
  }

  /** `keyId`: the complete id, or the start of it. */
  async #load(path: string, keyId: string): Promise<SigningKey> {
    const pem = await readFile(path, 'utf8');
    let signingKey: SigningKey;
    try {
      const passphrase = this.#passphrase;
      signingKey = toSigningKey(createPrivateKey({ key: pem, ...(passphrase !== null && { passphrase }) }));
    } catch (error) {
      const reason = pem.includes('ENCRYPTED')
        ? 'needs a passphrase, or another one than the given one'
        : 'is not a private key';
      throw new AgentError('repo_keys', `${path} ${reason}`, { cause: error });
    }
    if (signingKey.key.keyID.startsWith(keyId)) return signingKey;
    throw new AgentError('repo_keys', `${path} contains another key than its name states`);
  }

  /** The files of private keys that other users can read. */
  async exposedFiles(): Promise<string[]> {
    const exposed: string[] = [];
    for (const dir of this.#allDirs) {
      for (const name of await readdir(dir).catch(() => [])) {
        const path = join(dir, name);
        if (name.endsWith('.pem') && ((await stat(path)).mode & 0o077) !== 0) exposed.push(path);
      }
    }
    return exposed;
  }
}
