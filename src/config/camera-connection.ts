import { resolve } from 'node:path';
import { NotPem, readCertificateFile } from '../base/pem.ts';
import { decodeSecretLines } from '../base/secret-text.ts';
import { hasLogin } from './camera-rules.ts';
import type { ConfigFault } from './faults.ts';
import { describeHeaderFault, isHeaderName, MAX_HEADERS, parseHeaders, type Headers } from './headers.ts';
import type { TlsSettings } from './connection-schema.ts';
import type { CameraInput } from './schema.ts';
import { readSecretFile, type SecretPlaces } from './sources.ts';

/** How the agent connects to a camera: its request headers, and the certificates that it accepts. */
export interface CameraConnection {
  readonly headers: Headers;
  readonly tls: TlsSettings;
}

/** Reads the headers and certificates of a camera. `key` is the key of the camera. Use the result only if no fault was added. */
export function readConnection(
  camera: CameraInput,
  key: string,
  origin: string,
  places: SecretPlaces,
  faults: ConfigFault[],
): CameraConnection {
  const addFault = (name: string, given: string, wanted: string): null => {
    faults.push({ key: `${key}.${name}`, given, wanted, origin });
    return null;
  };
  const { ca, fingerprint256, insecure = false } = camera.tls ?? {};
  const caFile = ca === undefined ? null : resolve(places.cwd, ca);
  try {
    if (caFile !== null) readCertificateFile(caFile);
  } catch (thrown) {
    if (!(thrown instanceof NotPem)) throw thrown;
    addFault('tls.ca', caFile ?? '', thrown.message);
  }
  return {
    headers: readHeaders(camera, places, addFault),
    tls: {
      ca: caFile,
      fingerprint256: fingerprint256 === undefined ? null : normalizeFingerprint(fingerprint256),
      insecure,
    },
  };
}

const normalizeFingerprint = (text: string): string =>
  text.replaceAll(':', '').toUpperCase().match(/../g)?.join(':') ?? '';

function readHeaders(
  { headers = {}, headers_file: file, username, url }: CameraInput,
  places: SecretPlaces,
  addFault: (name: string, given: string, wanted: string) => null,
): Headers {
  const fromFile =
    file === undefined
      ? []
      : readSecretFile(
          file,
          places,
          (given, wanted) => addFault('headers_file', given, wanted),
          (bytes) => parseHeaders(decodeSecretLines(bytes)),
        );
  const seen = new Set<string>();
  const sources = [
    ['headers', Object.entries(headers)],
    ['headers_file', fromFile ?? []],
  ] as const;
  for (const [source, entries] of sources)
    for (const [name, value] of entries) {
      const lowerName = name.toLowerCase();
      const wanted = seen.has(lowerName) ? 'each header once' : describeHeaderFault(name, value);
      seen.add(lowerName);
      // An invalid name may be the value of a header whose line was broken: only the place is shown.
      if (wanted !== null)
        addFault(source, isHeaderName(name) ? `the header ${name}` : 'a header name', wanted);
    }
  if (seen.has('authorization') && (username !== undefined || hasLogin(url)))
    addFault('headers', 'a login and an Authorization header', 'one of the two');
  const all = sources.flatMap(([, entries]) => entries);
  if (all.length > MAX_HEADERS)
    addFault('headers', `${String(all.length)} headers`, `at most ${String(MAX_HEADERS)}`);
  return Object.fromEntries(all);
}
