import { Key, Signature } from '@tufjs/models';
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { putFile, type Role } from './files.ts';

/** A private key with its public side as TUF writes it. */
export interface SigningKey {
  readonly key: Key;
  readonly sign: (bytes: Buffer) => Signature;
}

/** Source: TUF 1.0.33 section 4.2; the id is the SHA-256 of the key in canonical JSON. */
function publicKey(privateKey: KeyObject): Key {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const hex = spki.subarray(-32).toString('hex');
  const canonical = `{"keytype":"ed25519","keyval":{"public":"${hex}"},"scheme":"ed25519"}`;
  const keyID = createHash('sha256').update(canonical).digest('hex');
  return new Key({ keyID, keyType: 'ed25519', scheme: 'ed25519', keyVal: { public: hex } });
}

function signingKey(privateKey: KeyObject): SigningKey {
  const key = publicKey(privateKey);
  return {
    key,
    sign: (bytes) => new Signature({ keyID: key.keyID, sig: sign(null, bytes, privateKey).toString('hex') }),
  };
}

/** A new ed25519 key, in memory. */
export function newSigningKey(): { readonly made: SigningKey; readonly privateKey: KeyObject } {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { made: signingKey(privateKey), privateKey };
}

const fileOf = (role: Role, keyId: string): string => `${role}-${keyId.slice(0, 16)}.pem`;

export interface KeyFolders {
  /** Keys that sign often: targets, snapshot, timestamp. */
  readonly online: string;
  /** Keys of the root role: kept apart, and away from the machine while they are not needed. */
  readonly root: string;
}

/** The operator's private keys: PKCS #8 files that only their owner may read, under a passphrase if there is one. */
export class KeyRing {
  readonly #folders: KeyFolders;
  readonly #passphrase: string | null;

  constructor(folders: KeyFolders, passphrase: string | null) {
    this.#folders = folders;
    this.#passphrase = passphrase;
  }

  #folder(role: Role): string {
    return role === 'root' ? this.#folders.root : this.#folders.online;
  }

  /** A new ed25519 key, stored. */
  create(role: Role): SigningKey {
    const { made, privateKey } = newSigningKey();
    const pem = privateKey.export({
      format: 'pem',
      type: 'pkcs8',
      ...(this.#passphrase !== null && { cipher: 'aes-256-cbc', passphrase: this.#passphrase }),
    });
    putFile(join(this.#folder(role), fileOf(role, made.key.keyID)), pem, 0o600);
    return made;
  }

  /** Where the key's file lies; null when it is not here. */
  async find(role: Role, keyId: string): Promise<string | null> {
    const suffix = `-${keyId.slice(0, 16)}.pem`;
    for (const folder of new Set([this.#folder(role), this.#folders.online, this.#folders.root])) {
      const names = await readdir(folder).catch(() => []);
      const name = names.find((one) => one.endsWith(suffix));
      if (name !== undefined) return join(folder, name);
    }
    return null;
  }

  /**
   * The keys of a role that are here. Throws `repo_keys` when they are fewer than the threshold, cannot be read, or need
   * another passphrase.
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
      `${role} needs ${threshold} of its ${keyIds.length} keys to sign, ${found.length} are here`,
      { context: { folder: this.#folder(role) } },
    );
  }

  async #load(path: string, keyId: string): Promise<SigningKey> {
    const pem = await readFile(path, 'utf8');
    let key: SigningKey;
    try {
      const passphrase = this.#passphrase;
      key = signingKey(createPrivateKey({ key: pem, ...(passphrase !== null && { passphrase }) }));
    } catch (error) {
      const locked = pem.includes('ENCRYPTED');
      const why = locked ? 'needs its passphrase, or another than was given' : 'is no private key';
      throw new AgentError('repo_keys', `${path} ${why}`, { cause: error });
    }
    if (key.key.keyID === keyId) return key;
    throw new AgentError('repo_keys', `${path} holds another key than its name says`);
  }

  /** Files of private keys that others than their owner may read. */
  async exposed(): Promise<string[]> {
    const open: string[] = [];
    for (const folder of new Set(Object.values(this.#folders) as string[])) {
      for (const name of await readdir(folder).catch(() => [])) {
        const path = join(folder, name);
        if (name.endsWith('.pem') && ((await stat(path)).mode & 0o077) !== 0) open.push(path);
      }
    }
    return open;
  }
}
