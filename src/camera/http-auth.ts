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
 * Answers HTTP challenges for one camera: Digest (RFC 7616: SHA-256 and MD5, their `-sess` forms, `qop=auth` and the
 * older form without) before Basic (RFC 7617). Remembers the challenge, so that the next request is right at once;
 * a camera that rotates its nonce costs one request more.
 */
export class HttpAuth {
  readonly #credentials: Credentials;
  #challenge: Challenge | null = null;
  #count = 0;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  /** The value of `Authorization`, or null as long as no challenge is known. */
  header(method: string, target: string): string | null {
    const challenge = this.#challenge;
    if (challenge === null) return null;
    if (challenge.scheme === 'basic') return `Basic ${basic(this.#credentials)}`;
    this.#count += 1;
    return digestHeader(challenge.params, this.#credentials, { method, target, count: this.#count });
  }

  /** Takes `WWW-Authenticate` of a 401; false when it holds no challenge that can be answered. */
  challenged(header: string | null): boolean {
    const challenges = parseChallenges(header ?? '');
    const digests = challenges.filter(isAnswerableDigest);
    this.#challenge =
      digests.find(({ params }) => (params.get('algorithm') ?? '').toUpperCase().startsWith('SHA-256')) ??
      digests[0] ??
      challenges.find(({ scheme }) => scheme === 'basic') ??
      null;
    this.#count = 0;
    return this.#challenge !== null;
  }

  /** Takes `Authentication-Info` of a good answer: the nonce to use from now on. */
  accepted(header: string | null): void {
    const next = parseChallenges(`digest ${header ?? ''}`)[0]?.params.get('nextnonce');
    if (next === undefined || this.#challenge?.scheme !== 'digest') return;
    this.#challenge = { scheme: 'digest', params: new Map([...this.#challenge.params, ['nonce', next]]) };
    this.#count = 0;
  }
}

const basic = ({ username, password }: Credentials): string =>
  Buffer.from(`${username}:${password}`).toString('base64');

const algorithmOf = (params: Challenge['params']): string => (params.get('algorithm') ?? 'MD5').toUpperCase();

const hashOf = (algorithm: string): string | undefined => HASHES[algorithm.replace(/-SESS$/, '')];

function isAnswerableDigest({ scheme, params }: Challenge): boolean {
  const qop = params.get('qop');
  return (
    scheme === 'digest' &&
    params.has('nonce') &&
    hashOf(algorithmOf(params)) !== undefined &&
    (qop === undefined || /(^|[\s,])auth($|[\s,])/.test(qop))
  );
}

/** RFC 7616, section 3.4.1. */
function digestHeader(
  params: Challenge['params'],
  { username, password }: Credentials,
  request: { readonly method: string; readonly target: string; readonly count: number },
): string {
  const algorithm = algorithmOf(params);
  const hash = (text: string): string =>
    createHash(hashOf(algorithm) ?? 'md5')
      .update(text)
      .digest('hex');
  const realm = params.get('realm') ?? '';
  const nonce = params.get('nonce') ?? '';
  const cnonce = randomBytes(8).toString('hex');
  const count = request.count.toString(16).padStart(8, '0');
  const user = hash(`${username}:${realm}:${password}`);
  const a1 = algorithm.endsWith('-SESS') ? hash(`${user}:${nonce}:${cnonce}`) : user;
  const a2 = hash(`${request.method}:${request.target}`);
  const withQop = params.has('qop');
  const response = hash(withQop ? `${a1}:${nonce}:${count}:${cnonce}:auth:${a2}` : `${a1}:${nonce}:${a2}`);
  const parts = [
    `username="${escape(username)}"`,
    `realm="${escape(realm)}"`,
    `nonce="${escape(nonce)}"`,
    `uri="${request.target}"`,
    `response="${response}"`,
  ];
  const named = params.get('algorithm');
  if (named !== undefined) parts.push(`algorithm=${named}`);
  const opaque = params.get('opaque');
  if (opaque !== undefined) parts.push(`opaque="${escape(opaque)}"`);
  if (withQop) parts.push('qop=auth', `nc=${count}`);
  if (withQop || algorithm.endsWith('-SESS')) parts.push(`cnonce="${cnonce}"`);
  return `Digest ${parts.join(', ')}`;
}

const escape = (text: string): string => text.replace(/[\\"]/g, String.raw`\$&`);

/**
 * Splits a challenge list (RFC 9110, section 11.6.1). Several challenges may share one header, parted by the same
 * commas that part their parameters.
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
