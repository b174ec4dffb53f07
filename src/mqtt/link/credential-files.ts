import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { errorCode } from '../../base/disk-errors.ts';
import { decodeSecret, NotASecret } from '../../base/secret-text.ts';
import { AgentError } from '../../base/errors.ts';

/**
 * Where the credentials come from: values, or paths of files. `ca` contains the certificates that the device trusts.
 */
export interface CredentialSources {
  readonly username: string | null;
  readonly password: string | null;
  /** Path of a file that contains the password. It takes precedence over `password`. */
  readonly passwordFile?: string | null;
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

/** One complete and consistent set of credentials. Never logged. */
export interface Credentials {
  readonly username: string | null;
  readonly password: string | null;
  /** Contents of the files `ca`, `cert` and `key`, PEM. */
  readonly ca: Buffer | null;
  readonly cert: Buffer | null;
  readonly key: Buffer | null;
  /** Validity of the device's own certificate; null without one. */
  readonly validity: CertificateValidity | null;
  /** SHA-256 of all values of the set, hex: equal for equal sets. */
  readonly digest: string;
}

/** The period in which a certificate is valid, ms since 1970. */
export interface CertificateValidity {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly fingerprint: string;
}

const MAX_FILE_BYTES = 1_048_576;
const MAX_PASSWORD_BYTES = 65_536;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

const DAY_MS = 86_400_000;
const MAX_WARN_MS = 14 * DAY_MS;
/** Certificates are usually renewed after two thirds of their life. With only a fifth left, the renewal has failed. */
const WARN_FRACTION = 1 / 5;

export function certificateValidity(certificate: X509Certificate): CertificateValidity {
  return {
    fromMs: Date.parse(certificate.validFrom),
    untilMs: Date.parse(certificate.validTo),
    fingerprint: certificate.fingerprint256,
  };
}

/**
 * True in the last 14 days of a certificate, in the last fifth of one that is valid for less than 70 days, and after it
 * has expired.
 */
export function isExpiring({ fromMs, untilMs }: CertificateValidity, nowMs: number): boolean {
  return nowMs > untilMs - Math.min(MAX_WARN_MS, (untilMs - fromMs) * WARN_FRACTION);
}

export interface CredentialFilesState {
  /** Changes when one of the files changes. */
  readonly signature: string;
  /** Wall-clock time of the last change of any file; -Infinity without files. */
  readonly changedAtMs: number;
}

/** Finds out whether files changed, without reading them: one `stat` call for each file. */
export function credentialFilesState(sources: CredentialSources): CredentialFilesState {
  const { passwordFile = null, ca, cert, key } = sources;
  let changedAtMs = -Infinity;
  const parts = [passwordFile, ca, cert, key]
    .filter((path) => path !== null)
    .map((path) => {
      try {
        const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
        changedAtMs = Math.max(changedAtMs, Number(ctimeNs / 1_000_000n));
        return `${path} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
      } catch (thrown) {
        return `${path} ${errorCode(thrown) ?? ''}`;
      }
    });
  return { signature: parts.join('\n'), changedAtMs };
}

/**
 * Reads every file and checks that each file is complete, and that certificate and key match: rejects a half-written
 * file, and a certificate whose key has not been written yet. Throws `mqtt_refused`, which names the file but never
 * contains its contents.
 */
export function readCredentials(sources: CredentialSources): Credentials {
  const { username, passwordFile = null } = sources;
  const password = passwordFile === null ? sources.password : readPassword(passwordFile);
  const [ca, cert, key] = [sources.ca, sources.cert, sources.key].map((path) =>
    path === null ? null : readLimited(path, MAX_FILE_BYTES),
  ) as [Buffer | null, Buffer | null, Buffer | null];
  if (sources.ca !== null && ca !== null) parseCertificates(sources.ca, ca);
  let validity: CertificateValidity | null = null;
  if (sources.cert !== null && cert !== null) {
    const [own] = parseCertificates(sources.cert, cert);
    if (sources.key !== null && key !== null && own) checkKeyMatches(sources.key, key, own);
    validity = own ? certificateValidity(own) : null;
  }
  const hash = createHash('sha256');
  for (const part of [username, password, ca, cert, key]) hash.update(part ?? '').update('\0');
  return { username, password, ca, cert, key, validity, digest: hash.digest('hex') };
}

function readPassword(path: string): string {
  const bytes = readLimited(path, MAX_PASSWORD_BYTES);
  let password: string;
  try {
    password = decodeSecret(bytes);
  } catch (thrown) {
    throw unusableFile(
      path,
      `it is not ${thrown instanceof NotASecret ? thrown.message : 'a secret'}`,
      thrown,
    );
  }
  if (password === '') throw unusableFile(path, 'it is empty');
  return password;
}

function readLimited(path: string, maxBytes: number): Buffer {
  try {
    if (statSync(path).size > maxBytes) throw unusableFile(path, 'it is too large');
    return readFileSync(path);
  } catch (thrown) {
    throw thrown instanceof AgentError ? thrown : unusableFile(path, errorCode(thrown), thrown);
  }
}

function parseCertificates(path: string, pem: Buffer): X509Certificate[] {
  const text = pem.toString('latin1');
  const complete = text.match(CERTIFICATE) ?? [];
  const beginCount = text.split('-----BEGIN ').length - 1;
  if (complete.length === 0 || complete.length < beginCount)
    throw unusableFile(path, 'it does not contain complete certificates');
  try {
    return complete.map((one) => new X509Certificate(one));
  } catch (thrown) {
    throw unusableFile(path, errorCode(thrown), thrown);
  }
}

function checkKeyMatches(path: string, pem: Buffer, certificate: X509Certificate): void {
  let matches: boolean;
  try {
    matches = certificate.checkPrivateKey(createPrivateKey(pem));
  } catch (thrown) {
    throw unusableFile(path, errorCode(thrown), thrown);
  }
  if (!matches) throw unusableFile(path, 'the key does not belong to the certificate');
}

function unusableFile(file: string, reason: string | null, cause?: unknown): AgentError {
  return new AgentError('mqtt_refused', 'a certificate, key or password file is unusable', {
    context: { file, reason: reason ?? 'unreadable' },
    ...(cause === undefined ? {} : { cause }),
  });
}
