import { describe, expect, it } from 'vitest';
import { formatFault } from '../../../src/config/faults.ts';
import { configView } from '../../../src/config/messages.ts';
import { checkPatch } from '../../../src/config/patch.ts';
import { computeConfigDigest, redactOverlay } from '../../../src/config/redact.ts';
import type { CameraInput } from '../../../src/config/schema.ts';
import { createRedact } from '../../../src/config/secret-keys.ts';
import { useSettingsDir } from '../../fixtures/settings.ts';

const dir = useSettingsDir();
const PIN = 'AB:'.repeat(31) + 'CD';
const HTTPS = { id: 'a', kind: 'http', url: 'https://h/snap.jpg' } as const;

const load = (camera: Partial<CameraInput>, overlay: object = {}) =>
  dir.load({ file: 'file', document: { cameras: [{ ...HTTPS, ...camera }] }, overlay });
const faultsOf = (camera: Partial<CameraInput>): string[] =>
  dir.getFaults({ file: 'file', document: { cameras: [{ ...HTTPS, ...camera }] } }).map(formatFault);

describe('tls of a camera', () => {
  it('is strict by default', () => {
    expect(load({}).cameras[0]?.tls).toEqual({ ca: null, fingerprint256: null, insecure: false });
  });

  it.each([PIN, PIN.toLowerCase(), PIN.replaceAll(':', ''), PIN.replaceAll(':', '').toLowerCase()])(
    'takes the fingerprint %s',
    (fingerprint256) => {
      expect(load({ tls: { fingerprint256 } }).cameras[0]?.tls.fingerprint256).toBe(PIN);
    },
  );

  it.each<[string, Partial<CameraInput>, RegExp]>([
    [
      'a short fingerprint',
      { tls: { fingerprint256: 'AB:CD' } },
      /cameras\[0\]\.tls\.fingerprint256.*64 hex/,
    ],
    ['a SHA-1 fingerprint', { tls: { fingerprint256: 'AB'.repeat(20) } }, /tls\.fingerprint256/],
    ['a CA file that is missing', { tls: { ca: 'none.pem' } }, /cameras\[0\]\.tls\.ca: given .*none\.pem/],
    [
      'a CA file without a certificate',
      { tls: { ca: '/etc/hostname' } },
      /tls\.ca.*wanted a certificate in PEM/,
    ],
    ['insecure with a pin', { tls: { insecure: true, fingerprint256: PIN } }, /tls\.insecure/],
    ['an unknown key', { tls: { verify: false } as object }, /cameras\[0\]\.tls\.verify/],
    [
      'a kind without a network',
      { kind: 'simulated', url: undefined, tls: {} } as never,
      /cameras\[0\]\.tls/,
    ],
    ['RTSPS by UDP', { kind: 'rtsp', url: 'rtsps://h/1', transport: 'udp' }, /transport.*wanted tcp/],
    ['RTSP without TLS', { kind: 'rtsp', url: 'rtsp://h/1', tls: { insecure: true } }, /rtsps:\/\//],
  ])('is a fault with its key: %s', (_, camera, fault) => {
    expect(faultsOf(JSON.parse(JSON.stringify(camera)) as CameraInput).join('\n')).toMatch(fault);
  });

  it('may be changed remotely with the url and without the CA file; then local credentials are not sent', () => {
    const patch = (tls: object) => checkPatch({ cameras: [{ id: 'a', tls }] }, new Set(['a']));
    expect(() => patch({ ca: '/etc/passwd' })).toThrow(/cameras\[0\]\.tls\.ca/);
    const local = { username: 'u', password: 'p', headers: { Cookie: 'c=1' } };
    const change = { id: 'a', url: HTTPS.url, tls: { fingerprint256: PIN } };
    const [camera] = load(local, { cameras: [change] }).cameras;
    expect(camera).toMatchObject({ username: null, password: null, headers: {} });
    expect(load(local, { cameras: [{ id: 'a', url: 'https://other/' }] }).cameras[0]?.headers).toEqual({});
    expect(load(local, { cameras: [{ id: 'a', timeoutS: 3 }] }).cameras[0]?.headers).toEqual(local.headers);
  });
});

describe('headers of a camera', () => {
  const file = (content: string | Uint8Array): string => dir.writeFile(content, 'txt');

  it.each<[string, string | Uint8Array]>([
    ['lines', 'Cookie: id=1; x=y\nX-API-Key: k:1\n'],
    ['Windows lines, comments, spaces', '# from the vendor\r\n\r\nCookie:   id=1; x=y  \r\nX-API-Key:k:1'],
    ['a byte order mark', '\uFEFFCookie: id=1; x=y\nX-API-Key: k:1'],
    ['UTF-16', Buffer.from('\uFEFFCookie: id=1; x=y\r\nX-API-Key: k:1\r\n', 'utf16le')],
    ['JSON', '{"Cookie": "id=1; x=y", "X-API-Key": "k:1"}'],
  ])('come from a file with %s', (_, content) => {
    expect(
      load({ headers_file: file(content), headers: { Referer: 'https://h/' } }).cameras[0]?.headers,
    ).toEqual({
      Referer: 'https://h/',
      Cookie: 'id=1; x=y',
      'X-API-Key': 'k:1',
    });
  });

  const MARKER = 'mark3r-secret';
  it.each<[string, Partial<CameraInput>, RegExp]>([
    [
      'a line break in a value',
      { headers: { 'X-A': `a\r\nX-B: ${MARKER}` } },
      /cameras\[0\]\.headers.*X-A.*one line/,
    ],
    ['a null byte', { headers: { 'X-A': `a\0${MARKER}` } }, /cameras\[0\]\.headers/],
    ['a line break in a name', { headers: { [`X-A: ${MARKER}\r\nX-B`]: 'a' } }, /a header name/],
    ['an empty name', { headers: { '': MARKER } }, /a header name/],
    ['Host', { headers: { host: MARKER } }, /no host header/],
    ['Content-Length', { headers: { 'Content-Length': '5' } }, /no Content-Length/],
    ['Transfer-Encoding', { headers: { 'transfer-encoding': 'chunked' } }, /no transfer-encoding/],
    ['Connection', { headers: { Connection: 'keep-alive' } }, /no Connection/],
    ['one header twice', { headers: { Cookie: MARKER, cookie: MARKER } }, /each header once/],
    ['a number', { headers: { 'X-A': 5 } } as never, /cameras\[0\]\.headers\.X-A.*wanted text/],
    ['Authorization and a login', { headers: { Authorization: MARKER }, username: 'u' }, /one of the two/],
    ['another kind', { kind: 'rtsp', url: 'rtsps://h/1', headers: { Cookie: MARKER } }, /no headers/],
    ['a value beyond ISO 8859-1', { headers: { 'X-A': `€${MARKER}` } }, /ISO 8859-1/],
  ])('are a fault with its key and without the value: %s', (_, camera, fault) => {
    const faults = faultsOf(camera).join('\n');
    expect(faults).toMatch(fault);
    expect(faults).not.toContain(MARKER);
  });

  it.each<[string, string, RegExp]>([
    ['a line without a colon', `Cookie: a\n${MARKER}\n`, /headers_file.*line 2/],
    ['a folded line', `Cookie: a\n  ${MARKER}: b\n`, /headers_file.*line 2/],
    ['broken JSON', `{"Cookie": "${MARKER}`, /headers_file.*JSON/],
    ['JSON of other values', `{"Cookie": ["${MARKER}"]}`, /headers_file.*texts/],
    ['a reserved header', `Host: ${MARKER}`, /headers_file.*no Host/],
  ])('in a file are a fault: %s', (_, content, fault) => {
    const faults = faultsOf({ headers_file: file(content) }).join('\n');
    expect(faults).toMatch(fault);
    expect(faults).not.toContain(MARKER);
  });

  it('show no value in views, and are secrets of every text', () => {
    const headers = { 'X-API-Key': MARKER, Cookie: `a=1; session=${MARKER}2` };
    const settings = load({ headers });
    const overlay = { cameras: [{ id: 'a', headers }] };
    const view = configView({ settings, overlay, trial: null, connected: true, local: settings });
    expect(JSON.stringify([view, redactOverlay(overlay)])).not.toContain(MARKER);
    expect(view.settings).toMatchObject({ cameras: [{ headers: { 'X-API-Key': '***', Cookie: '***' } }] });
    expect(createRedact(settings)(`got ${MARKER} and ${MARKER}2`)).toBe('got *** and ***');
    expect(computeConfigDigest(settings)).toBe(
      computeConfigDigest(load({ headers: { 'X-API-Key': 'x', Cookie: 'y' } })),
    );
  });
});
