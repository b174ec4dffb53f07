import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NotPem, orderChain, readCertificateFile, readPrivateKeyFile } from '../../../src/base/pem.ts';
import { tempDir } from '../../fixtures/store.ts';

let dir: ReturnType<typeof tempDir>;
const pathOf = (name: string): string => join(dir.path, name);
const text = (name: string): string => readFileSync(pathOf(name), 'utf8');

function openssl(...args: string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { cwd: dir.path, encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`);
}

/** A root, an intermediate and a device certificate; the key of the device in every form; other files by mistake. */
beforeAll(() => {
  dir = tempDir();
  writeFileSync(pathOf('ca.ext'), 'basicConstraints=critical,CA:true\n');
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'root.key',
    '-out',
    'root.crt',
    '-subj',
    '/CN=root',
  );
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'mid.key',
    '-out',
    'mid.csr',
    '-subj',
    '/CN=mid',
  );
  const byRoot = ['-CA', 'root.crt', '-CAkey', 'root.key', '-CAcreateserial'];
  openssl('x509', '-req', '-in', 'mid.csr', ...byRoot, '-extfile', 'ca.ext', '-out', 'mid.crt');
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', 'sec1.key');
  openssl('pkcs8', '-topk8', '-nocrypt', '-in', 'sec1.key', '-out', 'own.key');
  openssl('req', '-new', '-key', 'own.key', '-subj', '/CN=pi', '-out', 'own.csr');
  const byMid = ['-CA', 'mid.crt', '-CAkey', 'mid.key', '-CAcreateserial'];
  openssl('x509', '-req', '-in', 'own.csr', ...byMid, '-out', 'own.crt');
  openssl('genrsa', '-traditional', '-out', 'pkcs1.key', '2048');
  openssl('pkcs8', '-topk8', '-nocrypt', '-in', 'pkcs1.key', '-out', 'rsa.key');
  openssl('genpkey', '-algorithm', 'ed25519', '-out', 'ed25519.key');
  openssl('pkcs8', '-topk8', '-in', 'own.key', '-passout', 'pass:secret', '-out', 'encrypted.key');
  openssl(
    'rsa',
    '-in',
    'rsa.key',
    '-traditional',
    '-aes128',
    '-passout',
    'pass:secret',
    '-out',
    'legacy.key',
  );
  openssl('x509', '-in', 'own.crt', '-trustout', '-addtrust', 'clientAuth', '-out', 'trusted.crt');
  openssl('x509', '-in', 'own.crt', '-text', '-out', 'text.crt');
  openssl('x509', '-in', 'own.crt', '-outform', 'DER', '-out', 'der.crt');
  openssl('pkey', '-in', 'own.key', '-outform', 'DER', '-out', 'der.key');
  openssl('rsa', '-in', 'rsa.key', '-traditional', '-outform', 'DER', '-out', 'der-pkcs1.key');
  const store = ['pkcs12', '-export', '-in', 'own.crt', '-inkey', 'own.key', '-passout', 'pass:'];
  openssl(...store, '-name', 'pi', '-out', 'store.p12');
  openssl('pkcs12', '-in', 'store.p12', '-passin', 'pass:', '-nodes', '-out', 'bag.pem');
  openssl('crl2pkcs7', '-nocrl', '-certfile', 'own.crt', '-out', 'own.p7b');
  openssl('pkey', '-in', 'own.key', '-pubout', '-out', 'public.key');
});
afterAll(() => dir.remove());

const BOM = '\uFEFF';
const utf16 = (content: string): Buffer => Buffer.from(BOM + content, 'utf16le');
const indented = (content: string): string => content.replaceAll(/^/gm, '    ');
const oneLine = (content: string): string => content.trim().replaceAll('\n', '\\n');

/** Form of the certificate file, and its content. */
const CERTIFICATES: readonly [string, () => string | Buffer][] = [
  ['as openssl writes it', () => text('own.crt')],
  ['Windows line ends', () => text('own.crt').replaceAll('\n', '\r\n')],
  ['line ends of old Macs', () => text('own.crt').replaceAll('\n', '\r')],
  ['a byte order mark', () => BOM + text('own.crt')],
  ['UTF-16 of an editor on Windows', () => utf16(text('own.crt').replaceAll('\n', '\r\n'))],
  ['no line break at the end', () => text('own.crt').trimEnd()],
  ['indentation, copied from YAML', () => indented(text('own.crt'))],
  ['\\n as two characters, from an environment variable', () => oneLine(text('own.crt'))],
  ['one long line', () => text('own.crt').replaceAll(/(?<!-)\n(?!-)/g, '')],
  ['Bag Attributes and the key, from PKCS#12', () => text('bag.pem')],
  ['the text of `openssl x509 -text`', () => text('text.crt')],
  ['a name in Latin-1 before it', () => Buffer.from(`subject=Jos\xe9\n${text('own.crt')}`, 'latin1')],
  ['BEGIN TRUSTED CERTIFICATE', () => text('trusted.crt')],
  ['BEGIN X509 CERTIFICATE', () => text('own.crt').replaceAll(' CERT', ' X509 CERT')],
  ['the key in the same file, before it', () => text('own.key') + text('own.crt')],
  ['its chain', () => text('own.crt') + text('mid.crt') + text('root.crt')],
  ['its chain in the wrong order', () => text('root.crt') + text('mid.crt') + text('own.crt')],
];

/** Form of the key file, and its content. */
const KEYS: readonly [string, () => string | Buffer][] = [
  ['PKCS#8, EC', () => text('own.key')],
  ['PKCS#8, RSA', () => text('rsa.key')],
  ['PKCS#8, Ed25519', () => text('ed25519.key')],
  ['PKCS#1', () => text('pkcs1.key')],
  ['SEC 1 with EC PARAMETERS', () => text('sec1.key')],
  ['Windows line ends', () => text('pkcs1.key').replaceAll('\n', '\r\n')],
  ['a byte order mark', () => BOM + text('own.key')],
  ['UTF-16', () => utf16(text('own.key'))],
  ['indentation', () => indented(text('sec1.key'))],
  ['\\n as two characters', () => oneLine(text('own.key'))],
  ['Bag Attributes and the certificate', () => text('bag.pem')],
  ['the certificate before it', () => text('own.crt') + text('own.key')],
];

const bytes = (name: string) => (): Buffer => readFileSync(pathOf(name));
const damaged = (name: string) => (): string => text(name).replace(/\n[\w+/]{20}/, '\n!');

/** What the file is by mistake, its content, and what the fault says. */
const NO_CERTIFICATES: readonly [string, () => string | Buffer, RegExp][] = [
  ['DER', bytes('der.crt'), /certificate in DER.*openssl x509 -inform DER/],
  ['PKCS#12', bytes('store.p12'), /PKCS#12.*openssl pkcs12/],
  ['PKCS#7', bytes('own.p7b'), /PKCS#7.*openssl pkcs7 -print_certs/],
  ['a request', bytes('own.csr'), /request \(CSR\) that a CA has not signed/],
  ['the key', bytes('own.key'), /a private key: are certificate and key exchanged\?/],
  ['an encrypted key', bytes('encrypted.key'), /a private key: are certificate and key exchanged\?/],
  ['a public key', bytes('public.key'), /this file contains: public key/],
  ['a cut file', () => text('own.crt').slice(0, 300), /incomplete: a block has no END line/],
  ['a chain that is cut', () => text('own.crt') + text('mid.crt').slice(0, 300), /incomplete/],
  ['a damaged certificate', damaged('own.crt'), /damaged/],
  ['some text', () => 'certificate', /^a certificate in PEM$/],
  ['an empty file', () => '', /the file is empty/],
  ['a large file', () => Buffer.alloc(1_048_577), /at most 1 MiB/],
];

const NO_KEYS: readonly [string, () => string | Buffer, RegExp][] = [
  ['DER', bytes('der.key'), /private key in DER.*openssl pkey -inform DER/],
  ['PKCS#1 in DER', bytes('der-pkcs1.key'), /private key in DER/],
  ['PKCS#12', bytes('store.p12'), /PKCS#12/],
  [
    'a key with a passphrase',
    bytes('encrypted.key'),
    /without a passphrase \(openssl pkey -in FILE -out NEW_FILE/,
  ],
  ['an old key with a passphrase', bytes('legacy.key'), /without a passphrase/],
  [
    'a key of ssh-keygen',
    () => text('own.key').replaceAll('PRIVATE', 'OPENSSH PRIVATE'),
    /ssh-keygen -p -m PEM/,
  ],
  ['the certificate', bytes('own.crt'), /a certificate: are certificate and key exchanged\?/],
  ['the certificate in DER', bytes('der.crt'), /this file is a certificate in DER/],
  ['a public key', bytes('public.key'), /this file contains: public key/],
  ['a cut file', () => text('own.key').slice(0, 80), /incomplete/],
  ['a damaged key', damaged('own.key'), /damaged/],
  ['an empty file', () => '', /the file is empty/],
];

function write(content: string | Buffer): string {
  writeFileSync(pathOf('input'), content);
  return pathOf('input');
}

function faultOf(read: () => unknown): string {
  try {
    read();
  } catch (thrown) {
    if (thrown instanceof NotPem) return thrown.message;
    throw thrown;
  }
  return '';
}

describe('readCertificateFile', () => {
  it.each(CERTIFICATES)('accepts %s', (_form, content) => {
    const chain = orderChain(readCertificateFile(write(content())), readPrivateKeyFile(pathOf('own.key')));
    const subjects = chain?.map(({ subject }) => subject);
    expect(subjects?.[0]).toBe('CN=pi');
    if (subjects && subjects.length > 1) expect(subjects).toEqual(['CN=pi', 'CN=mid', 'CN=root']);
  });

  it.each(NO_CERTIFICATES)('names the cause for %s', (_mistake, content, wanted) => {
    expect(faultOf(() => readCertificateFile(write(content())))).toMatch(wanted);
  });

  it('names the cause for a missing file and a directory', () => {
    expect(faultOf(() => readCertificateFile(pathOf('missing')))).toBe('a readable file (ENOENT)');
    mkdirSync(pathOf('directory'));
    expect(faultOf(() => readCertificateFile(pathOf('directory')))).toMatch('a regular file');
  });
});

describe('readPrivateKeyFile', () => {
  it.each(KEYS)('accepts %s', (_form, content) => {
    expect(readPrivateKeyFile(write(content())).type).toBe('private');
  });

  it.each(NO_KEYS)('names the cause for %s', (_mistake, content, wanted) => {
    expect(faultOf(() => readPrivateKeyFile(write(content())))).toMatch(wanted);
  });
});

describe('orderChain', () => {
  it('is null for a key of another certificate', () => {
    const key = readPrivateKeyFile(pathOf('rsa.key'));
    expect(orderChain(readCertificateFile(pathOf('own.crt')), key)).toBeNull();
  });
});
