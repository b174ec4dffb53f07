import { createHash, type X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError, ERROR_CODES } from '../../base/errors.ts';
import { NotPem, orderChain, readCertificateFile, readPrivateKeyFile } from '../../base/pem.ts';
import { NotAFile, readRegularFile } from '../../base/regular-file.ts';
import { decodeSecret, NotASecret } from '../../base/secret-text.ts';

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
  /** PEM. `cert`: the certificate of the device first, then its chain; `key`: PKCS#8. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
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

const MAX_PASSWORD_BYTES = 65_536;

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
 * file, and a certificate whose key has not been written yet. Throws `mqtt_refused`, which names the file and its setting
 * but never contains its contents.
 */
export function readCredentials(sources: CredentialSources): Credentials {
  const { username, passwordFile = null } = sources;
  const password = passwordFile === null ? sources.password : readPassword(passwordFile);
  const trusted = readPem('mqtt.ca', sources.ca, readCertificateFile);
  const privateKey = readPem('mqtt.key', sources.key, readPrivateKeyFile);
  let chain = readPem('mqtt.cert', sources.cert, readCertificateFile);
  if (chain && privateKey) {
    chain = orderChain(chain, privateKey);
    if (!chain) throw unusableFile('mqtt.key', sources.key, 'the key does not belong to the certificate');
  }
  const [ca, cert] = [trusted, chain].map((list) => list?.map(String).join('') ?? null) as [
    string | null,
    string | null,
  ];
  const key = privateKey?.export({ type: 'pkcs8', format: 'pem' }).toString() ?? null;
  const validity = chain ? certificateValidity(chain[0]) : null;
  const hash = createHash('sha256');
  for (const part of [username, password, ca, cert, key]) hash.update(part ?? '').update('\0');
  return { username, password, ca, cert, key, validity, digest: hash.digest('hex') };
}

function readPem<T>(setting: string, path: string | null, read: (path: string) => T): T | null {
  if (path === null) return null;
  try {
    return read(path);
  } catch (thrown) {
    throw thrown instanceof NotPem ? unusableFile(setting, path, `wanted ${thrown.message}`, thrown) : thrown;
  }
}

function readPassword(path: string): string {
  const unusable = (reason: string, cause?: unknown): AgentError =>
    unusableFile('mqtt.password_file', path, reason, cause);
  let password: string;
  try {
    password = decodeSecret(readRegularFile(path, MAX_PASSWORD_BYTES));
  } catch (thrown) {
    const isOther = thrown instanceof NotASecret || thrown instanceof NotAFile;
    throw unusable(isOther ? `it is not ${thrown.message}` : (errorCode(thrown) ?? 'unreadable'), thrown);
  }
  if (password === '') throw unusable('it is empty');
  return password;
}

function unusableFile(setting: string, file: string | null, reason: string, cause?: unknown): AgentError {
  return new AgentError('mqtt_refused', 'a certificate, key or password file is unusable', {
    context: { setting, file, reason },
    hint: ERROR_CODES.mqtt_credentials_unusable.hint,
    ...(cause === undefined ? {} : { cause }),
  });
}
