import { createHash, randomBytes } from 'node:crypto';

interface Challenge {
  /** Lower case: `basic`, `digest`, … */
  readonly scheme: string;
  readonly params: ReadonlyMap<string, string>;
}

interface Credentials {
  readonly username: string;
  readonly password: string;
}

const HASHES: Readonly<Record<string, string>> = { 'SHA-256': 'sha256', MD5: 'md5' };

/**
 * HTTP authentication for one camera. Uses Digest (RFC 7616: SHA-256 and MD5, their `-sess` variants, with `qop=auth`
 * and without qop) if the camera offers it, otherwise Basic (RFC 7617). Keeps the last challenge, so that the next
 * request succeeds at the first attempt; if the camera has changed its nonce, one more request is needed.
 */
export class HttpAuth {
  readonly #credentials: Credentials;
  #challenge: Challenge | null = null;
  /** Number of requests with the current nonce (`nc` in the header). */
  #nonceCount = 0;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  /** The value of the `Authorization` header; null before the first challenge. */
  authorize(method: string, target: string): string | null {
    const challenge = this.#challenge;
    if (challenge === null) return null;
    if (challenge.scheme === 'basic') return `Basic ${encodeBasic(this.#credentials)}`;
    this.#nonceCount += 1;
    return formatDigest(challenge.params, this.#credentials, {
      method,
      target,
      nonceCount: this.#nonceCount,
    });
  }

  /** Stores the challenge of a `WWW-Authenticate` header. Returns false when the header has no supported challenge. */
  acceptChallenge(header: string | null): boolean {
    const challenges = parseChallenges(header ?? '');
    const digests = challenges.filter(isSupportedDigest);
    this.#challenge =
      digests.find(({ params }) => (params.get('algorithm') ?? '').toUpperCase().startsWith('SHA-256')) ??
      digests[0] ??
      challenges.find(({ scheme }) => scheme === 'basic') ??
      null;
    this.#nonceCount = 0;
    return this.#challenge !== null;
  }

  /** Stores the next nonce from the `Authentication-Info` header of a successful response. */
  acceptInfo(header: string | null): void {
    const next = parseChallenges(`digest ${header ?? ''}`)[0]?.params.get('nextnonce');
    if (next === undefined || this.#challenge?.scheme !== 'digest') return;
    this.#challenge = { scheme: 'digest', params: new Map([...this.#challenge.params, ['nonce', next]]) };
    this.#nonceCount = 0;
  }
}

const encodeBasic = ({ username, password }: Credentials): string =>
  Buffer.from(`${username}:${password}`).toString('base64');

const algorithmOf = (params: Challenge['params']): string => (params.get('algorithm') ?? 'MD5').toUpperCase();

const hashOf = (algorithm: string): string | undefined => HASHES[algorithm.replace(/-SESS$/, '')];

function isSupportedDigest({ scheme, params }: Challenge): boolean {
  const qop = params.get('qop');
  return (
    scheme === 'digest' &&
    params.has('nonce') &&
    hashOf(algorithmOf(params)) !== undefined &&
    (qop === undefined || /(^|[\s,])auth($|[\s,])/.test(qop))
  );
}

/** RFC 7616, section 3.4.1. */
function formatDigest(
  params: Challenge['params'],
  { username, password }: Credentials,
  request: { readonly method: string; readonly target: string; readonly nonceCount: number },
): string {
  const algorithm = algorithmOf(params);
  const hash = (text: string): string =>
    createHash(hashOf(algorithm) ?? 'md5')
      .update(text)
      .digest('hex');
  const realm = params.get('realm') ?? '';
  const nonce = params.get('nonce') ?? '';
  const cnonce = randomBytes(8).toString('hex');
  const nc = request.nonceCount.toString(16).padStart(8, '0');
  const userHash = hash(`${username}:${realm}:${password}`);
  const a1 = algorithm.endsWith('-SESS') ? hash(`${userHash}:${nonce}:${cnonce}`) : userHash;
  const a2 = hash(`${request.method}:${request.target}`);
  const hasQop = params.has('qop');
  const response = hash(hasQop ? `${a1}:${nonce}:${nc}:${cnonce}:auth:${a2}` : `${a1}:${nonce}:${a2}`);
  const parts = [
    `username="${quote(username)}"`,
    `realm="${quote(realm)}"`,
    `nonce="${quote(nonce)}"`,
    `uri="${request.target}"`,
    `response="${response}"`,
  ];
  const givenAlgorithm = params.get('algorithm');
  if (givenAlgorithm !== undefined) parts.push(`algorithm=${givenAlgorithm}`);
  const opaque = params.get('opaque');
  if (opaque !== undefined) parts.push(`opaque="${quote(opaque)}"`);
  if (hasQop) parts.push('qop=auth', `nc=${nc}`);
  if (hasQop || algorithm.endsWith('-SESS')) parts.push(`cnonce="${cnonce}"`);
  return `Digest ${parts.join(', ')}`;
}

/** A quoted string, one byte per character. Text beyond ISO 8859-1 is sent as UTF-8: cut to bytes, it could end the line. */
const quote = (text: string): string =>
  (/[^\0-\xff]/.test(text) ? Buffer.from(text).toString('latin1') : text)
    // The configuration refuses control characters, and a server that sends them cannot be answered.
    .replace(/[^\t\x20-\x7e\x80-\xff]/g, '')
    .replace(/[\\"]/g, String.raw`\$&`);

/**
 * Parses a list of challenges (RFC 9110, section 11.6.1). One header may hold several challenges, separated by the same
 * commas that separate their parameters.
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  const item =
    /\s*(?:([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))|([\w!#$%&'*+.^`|~-]+))[\s,]*/gy;
  for (const [, name, quoted, plain, scheme] of header.slice(0, 8192).matchAll(item)) {
    if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), params: new Map() });
    else if (name !== undefined)
      challenges.at(-1)?.params.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
  }
  return challenges;
}
