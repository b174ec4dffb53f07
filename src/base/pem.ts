import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { errorCode } from './disk-errors.ts';
import { NotAFile, readRegularFile } from './regular-file.ts';
import { decodeText, NotASecret } from './secret-text.ts';

/** Why a file does not contain what is needed, as text that completes the sentence "wanted …". */
export class NotPem extends Error {}

const MAX_FILE_BYTES = 1_048_576;
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([^]*?)-----END \1-----/g;
const CERTIFICATE_LABEL = /^(X509 |TRUSTED )?CERTIFICATE$/;
const KEY_LABEL = /PRIVATE KEY$/;
const NO_PASSPHRASE = 'a private key without a passphrase (openssl pkey -in FILE -out NEW_FILE removes it)';

interface Block {
  readonly label: string;
  readonly isEncrypted: boolean;
  /** The block with regular line breaks and without indentation. */
  readonly pem: string;
}

/**
 * The certificates of a PEM file, in the order of the file. Accepts what editors and openssl add: a byte order mark, UTF-16,
 * CRLF, indentation, text around the blocks ("Bag Attributes"), and blocks of other kinds. Throws `NotPem`.
 */
export function readCertificateFile(path: string): readonly [X509Certificate, ...X509Certificate[]] {
  const bytes = readLimited(path);
  const blocks = parseBlocks(bytes, 'a certificate in PEM');
  const [first, ...others] = blocks
    .filter(({ label }) => CERTIFICATE_LABEL.test(label))
    .map(({ pem }) => {
      try {
        return new X509Certificate(pem);
      } catch (cause) {
        throw new NotPem('complete certificates: a certificate in this file is damaged', { cause });
      }
    });
  if (!first) throw new NotPem(`a certificate in PEM${describeOther(bytes, blocks)}`);
  return [first, ...others];
}

/**
 * The first private key of a PEM file: PKCS#8, PKCS#1 or SEC 1 (EC). Accepts the same surroundings as
 * `readCertificateFile`. Throws `NotPem`, also for a key with a passphrase.
 */
export function readPrivateKeyFile(path: string): KeyObject {
  const bytes = readLimited(path);
  const blocks = parseBlocks(bytes, 'a private key in PEM');
  const block = blocks.find(({ label }) => KEY_LABEL.test(label));
  if (!block) throw new NotPem(`a private key in PEM${describeOther(bytes, blocks)}`);
  if (block.isEncrypted) throw new NotPem(NO_PASSPHRASE);
  if (block.label.startsWith('OPENSSH'))
    throw new NotPem(
      'a private key in PEM; this one has the format of OpenSSH (ssh-keygen -p -m PEM -f FILE converts it)',
    );
  try {
    return createPrivateKey(block.pem);
  } catch (cause) {
    throw new NotPem('a complete private key: the key in this file is damaged', { cause });
  }
}

/**
 * The certificates with the one of this key first, followed by its chain, whatever their order was in the file. Null when
 * the key belongs to none of them.
 */
export function orderChain(
  certificates: readonly X509Certificate[],
  key: KeyObject,
): readonly [X509Certificate, ...X509Certificate[]] | null {
  const own = certificates.find((one) => one.checkPrivateKey(key));
  if (!own) return null;
  const rest = certificates.filter((one) => one !== own);
  const chain: [X509Certificate, ...X509Certificate[]] = [own];
  for (let last: X509Certificate | undefined = own; last;) {
    const subject: X509Certificate = last;
    const at = rest.findIndex((one) => subject.checkIssued(one));
    last = at < 0 ? undefined : rest.splice(at, 1)[0];
    if (last) chain.push(last);
  }
  return [...chain, ...rest];
}

/** Throws `NotPem` for a file that cannot be read or is too large. */
function readLimited(path: string): Buffer {
  try {
    return readRegularFile(path, MAX_FILE_BYTES);
  } catch (cause) {
    const wanted =
      cause instanceof NotAFile ? cause.message : `a readable file (${errorCode(cause) ?? 'unreadable'})`;
    throw new NotPem(wanted, { cause });
  }
}

/** The complete blocks. Throws `NotPem` when a block has no end: the file is not completely written. */
function parseBlocks(bytes: Buffer, wanted: string): readonly Block[] {
  if (bytes.length === 0) throw new NotPem(`${wanted}; the file is empty`);
  const text = textOf(bytes);
  const blocks = [...text.matchAll(BLOCK)].map(([, label = '', body = '']) => {
    // A file that was made from an environment variable may have `\n` as two characters.
    const lines = body.split(/[\r\n]+|\\n/);
    const [headers, data] = [true, false].map((isHeader) =>
      lines.filter((line) => line.includes(':') === isHeader).join(''),
    ) as [string, string];
    return {
      label,
      isEncrypted: label.startsWith('ENCRYPTED') || headers.includes('ENCRYPTED'),
      pem: `-----BEGIN ${label}-----\n${wrap(data.replace(/\s/g, ''))}-----END ${label}-----\n`,
    };
  });
  if (text.split('-----BEGIN ').length - 1 > blocks.length)
    throw new NotPem(`${wanted}; the file is incomplete: a block has no END line`);
  return blocks;
}

/** Lines of 64 characters: the parser of OpenSSL refuses long lines. */
const wrap = (base64: string): string => base64.replace(/.{1,64}/g, '$&\n');

/** Text in any encoding: what surrounds the blocks may be in an old 8-bit encoding. */
function textOf(bytes: Buffer): string {
  try {
    return decodeText(bytes);
  } catch (thrown) {
    if (thrown instanceof NotASecret) return bytes.toString('latin1');
    throw thrown;
  }
}

/** What the file contains instead, with the remedy; starts with a semicolon. */
function describeOther(bytes: Buffer, blocks: readonly Block[]): string {
  const labels = blocks.map(({ label }) => label);
  const has = (label: RegExp): boolean => labels.some((one) => label.test(one));
  if (has(KEY_LABEL)) return '; this file contains a private key: are certificate and key exchanged?';
  if (has(CERTIFICATE_LABEL)) return '; this file contains a certificate: are certificate and key exchanged?';
  if (has(/CERTIFICATE REQUEST$/)) return '; this file contains a request (CSR) that a CA has not signed yet';
  if (has(/^(PKCS7|CMS)$/)) return '; this file is PKCS#7 (openssl pkcs7 -print_certs -in FILE converts it)';
  if (labels.length > 0) return `; this file contains: ${labels.join(', ').toLowerCase()}`;
  return describeDer(bytes);
}

function describeDer(bytes: Buffer): string {
  // An ASN.1 sequence: every DER file begins with it.
  if (bytes[0] !== 0x30) return '';
  const parses = (parse: () => unknown): boolean => {
    try {
      parse();
      return true;
    } catch {
      return false;
    }
  };
  if (parses(() => new X509Certificate(bytes)))
    return '; this file is a certificate in DER (openssl x509 -inform DER -in FILE -out NEW_FILE converts it)';
  const isKey = (['pkcs8', 'pkcs1', 'sec1'] as const).some((type) =>
    parses(() => createPrivateKey({ key: bytes, format: 'der', type })),
  );
  return isKey
    ? '; this file is a private key in DER (openssl pkey -inform DER -in FILE -out NEW_FILE converts it)'
    : '; this file is binary, such as PKCS#12 (openssl pkcs12 -in FILE -nodes -out NEW_FILE converts it)';
}
