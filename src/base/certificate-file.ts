import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { errorCode } from './disk-errors.ts';

const CERTIFICATE =
  /-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END (TRUSTED |X509 )?CERTIFICATE-----/g;

/** Reads a PEM file of certificates. Throws an error whose message says in a few words why it cannot be used. */
export function readCertificateFile(path: string): string {
  let pem: string;
  try {
    pem = readFileSync(path, 'latin1');
  } catch (cause) {
    throw new Error(errorCode(cause) ?? 'unreadable', { cause });
  }
  const certificates = pem.match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new Error('without a PEM certificate');
  try {
    certificates.forEach((one) => new X509Certificate(one));
  } catch (cause) {
    throw new Error('with a damaged certificate', { cause });
  }
  return pem;
}
