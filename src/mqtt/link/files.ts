import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { AgentError } from '../../base/errors.ts';
import { validityOf, type Validity } from './validity.ts';

/** Who the device says it is, and by what it knows the broker: values, and paths of files. */
export interface CredentialSources {
  readonly username: string | null;
  readonly password: string | null;
  /** The password's file, when it came from one; it then goes before `password`. */
  readonly passwordFile?: string | null;
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

/** One whole, consistent set. Never logged. */
export interface Credentials {
  readonly username: string | null;
  readonly password: string | null;
  /** PEM. */
  readonly ca: Buffer | null;
  readonly cert: Buffer | null;
  readonly key: Buffer | null;
  /** Of the device's own certificate. */
  readonly validity: Validity | null;
  /** Equal for equal sets. */
  readonly digest: string;
}

const MAX_FILE_BYTES = 1_048_576;
const MAX_PASSWORD_BYTES = 65_536;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

export interface FilesState {
  /** Changes when one of the files does. */
  readonly signature: string;
  /** When the last of them changed, by the wall clock; -Infinity without any. */
  readonly changedAtMs: number;
}

/** Cheap: one `stat` for each file. */
export function filesState(sources: CredentialSources): FilesState {
  let changedAtMs = -Infinity;
  const parts = pathsOf(sources).map((path) => {
    try {
      const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
      changedAtMs = Math.max(changedAtMs, Number(ctimeNs / 1_000_000n));
      return `${path} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    } catch (thrown) {
      return `${path} ${codeOf(thrown)}`;
    }
  });
  return { signature: parts.join('\n'), changedAtMs };
}

/**
 * Reads every file and checks that they are whole and belong together: what is half-written, or a certificate whose key
 * has not come yet, is not used. Throws `mqtt_refused`, which names the file and never what is in it.
 */
export function readCredentials(sources: CredentialSources): Credentials {
  const { username, passwordFile = null } = sources;
  const password = passwordFile === null ? sources.password : readPassword(passwordFile);
  const [ca, cert, key] = [sources.ca, sources.cert, sources.key].map((path) =>
    path === null ? null : readWhole(path, MAX_FILE_BYTES),
  ) as [Buffer | null, Buffer | null, Buffer | null];
  if (sources.ca !== null && ca !== null) certificatesOf(sources.ca, ca);
  let validity: Validity | null = null;
  if (sources.cert !== null && cert !== null) {
    const [own] = certificatesOf(sources.cert, cert);
    if (sources.key !== null && key !== null && own) checkKey(sources.key, key, own);
    validity = own ? validityOf(own) : null;
  }
  const hash = createHash('sha256');
  for (const part of [username, password, ca, cert, key]) hash.update(part ?? '').update('\0');
  return { username, password, ca, cert, key, validity, digest: hash.digest('hex') };
}

function pathsOf({ passwordFile = null, ca, cert, key }: CredentialSources): string[] {
  return [passwordFile, ca, cert, key].filter((path) => path !== null);
}

function readPassword(path: string): string {
  const password = readWhole(path, MAX_PASSWORD_BYTES)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  if (password === '') throw unusable(path, 'it is empty');
  return password;
}

function readWhole(path: string, largestBytes: number): Buffer {
  try {
    if (statSync(path).size > largestBytes) throw unusable(path, 'it is too large');
    return readFileSync(path);
  } catch (thrown) {
    throw thrown instanceof AgentError ? thrown : unusable(path, codeOf(thrown), thrown);
  }
}

function certificatesOf(path: string, pem: Buffer): X509Certificate[] {
  const text = pem.toString('latin1');
  const whole = text.match(CERTIFICATE) ?? [];
  const begun = text.split('-----BEGIN ').length - 1;
  if (whole.length === 0 || whole.length < begun) throw unusable(path, 'it does not hold whole certificates');
  try {
    return whole.map((one) => new X509Certificate(one));
  } catch (thrown) {
    throw unusable(path, codeOf(thrown), thrown);
  }
}

function checkKey(path: string, pem: Buffer, certificate: X509Certificate): void {
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(pem));
  } catch (thrown) {
    throw unusable(path, codeOf(thrown), thrown);
  }
  if (!fits) throw unusable(path, 'the key does not belong to the certificate');
}

function unusable(file: string, reason: string, cause?: unknown): AgentError {
  return new AgentError('mqtt_refused', 'a certificate, key or password file cannot be used', {
    context: { file, reason },
    ...(cause === undefined ? {} : { cause }),
  });
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unreadable';
