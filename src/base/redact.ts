// The functions that remove secrets from texts. Everything that leaves the agent passes through one of them.

/** Stands in the place of a secret. */
export const MASK = '***';

/** Removes secrets from a text. */
export type Scrub = (text: string) => string;

/** The length of the scheme is limited: otherwise the time grows with the square of the length of a word. */
const ADDRESS = /([a-z][a-z0-9+.-]{0,31}):\/\/([^\s"]*)/gi;
/** Punctuation behind an address in a sentence. */
const PUNCTUATION = '\'")}>.,:;';
const HOST = /^(\[[\w:.%]+\]|[\p{L}\p{N}._-]+)(:\d{1,5})?$/u;

/**
 * Reduces each address in a text to scheme, host and port: a user, a path, a query or a fragment may be a secret.
 * `rtsp://me:pass@cam:554/live?token=1` becomes `rtsp://***@cam:554/***`. Addresses of local files stay.
 */
export const redactAddresses: Scrub = (text) =>
  // Most texts have no address.
  text.includes('://')
    ? text.replace(ADDRESS, (address, scheme: string, rest: string) => {
        if (/^file$/i.test(scheme) && rest.startsWith('/')) return address;
        let length = rest.length;
        while (length > 0 && PUNCTUATION.includes(rest.charAt(length - 1))) length -= 1;
        return reduceAddress(scheme, rest.slice(0, length)) + rest.slice(length);
      })
    : text;

/** Reduces known addresses, which may have characters that end an address in a text, and then all others. */
export const createAddressRedaction =
  (known: readonly string[]): Scrub =>
  (text) =>
    redactAddresses(known.reduce((rest, address) => rest.replaceAll(address, redactAddress(address)), text));

/** A setting that must be an address, reduced to scheme, host and port; `***` for any other text. */
export function redactAddress(value: string): string {
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(value) ?? [];
  return scheme === undefined || rest === undefined ? MASK : reduceAddress(scheme, rest);
}

function reduceAddress(scheme: string, rest: string): string {
  if (rest === '') return `${scheme}://`;
  const [authority = ''] = rest.split(/[/?#\\]/, 1);
  const path = rest.slice(authority.length);
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  // A password with "/", "?" or "#" makes a part of itself the host. Then a "@" follows.
  if (!HOST.test(host) || path.includes('@')) return `${scheme}://${MASK}`;
  const login = host === authority ? '' : `${MASK}@`;
  return `${scheme}://${login}${host}${path === '' || path === '/' ? path : `/${MASK}`}`;
}

/** A shorter password or token would match parts of ordinary words. */
const MIN_SECRET_CHARS = 4;
/** The same for a part of an address or of a command, of which most are no secrets. */
const MIN_PART_CHARS = 8;

/** Returns a function that finds each secret as it is, percent-encoded, and as a part of JSON. */
export function createScrub(secrets: readonly (string | null)[]): Scrub {
  const forms = new Set<string>();
  for (const secret of secrets) {
    if (secret === null || secret.length < MIN_SECRET_CHARS) continue;
    for (const form of [
      secret,
      encodeURIComponent(secret.toWellFormed()),
      encodeURI(secret.toWellFormed()),
      JSON.stringify(secret).slice(1, -1),
    ])
      forms.add(form);
  }
  // The longest first, because one secret may be a part of another.
  const longestFirst = [...forms].sort((a, b) => b.length - a.length);
  return (text) => longestFirst.reduce((rest, secret) => rest.replaceAll(secret, MASK), text);
}

const NAMED_VALUE = /(?:pass(?:word|wd)?|pwd|token|secret|key|auth|sig(?:nature)?)=([^&_/?#;,]+)/gi;

/**
 * What an address may contain of secrets: login, path, query, fragment, and values with a telling name. Parts shorter than
 * `minChars`, such as `/live`, are left out unless their name tells.
 */
export function secretsOfAddress(text: string, minChars = MIN_PART_CHARS): string[] {
  const named = [...text.matchAll(NAMED_VALUE)].map(([, value = '']) => value);
  const url = URL.parse(text);
  if (!url) return [text, ...named];
  const { username, password, pathname, search, hash, searchParams } = url;
  const parts = [
    pathname + search + hash,
    pathname + search,
    pathname,
    hash.slice(1),
    ...searchParams.values(),
    username,
  ];
  const long = [...parts, ...parts.map(percentDecode)].filter((part) => part.length >= minChars);
  return [password, percentDecode(password), ...named, ...named.map(percentDecode), ...long];
}

/** The value of a request header, and its parts: a server may repeat one cookie of several, or a token without its scheme. */
export const secretsOfHeader = (value: string): string[] => [
  value,
  ...value
    .split(/[;,\s]+/)
    .flatMap((part) => [part, part.slice(part.indexOf('=') + 1)])
    .filter((part) => part.length >= MIN_PART_CHARS),
];

/** Of the arguments of a program: each one that is no option and no path, its words and their values. */
export function secretsOfArguments(args: readonly string[]): string[] {
  return args.flatMap((arg) => {
    const words = [arg, ...arg.split(/[\s'"]+/)].flatMap((word) => [word, ...word.split(/[=:]/).slice(1)]);
    return [
      ...words.filter((word) => word.length >= MIN_PART_CHARS && !/^(--?[a-z][a-z-]*$|\.{0,2}\/)/.test(word)),
      ...words.filter((word) => word.includes('://')).flatMap((word) => secretsOfAddress(word)),
    ];
  });
}

/** Decodes percent-encoding. Returns the text unchanged when the encoding is invalid. */
export function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Applies a function to every text in a JSON value, keys included. Other objects, such as errors, stay as they are. */
export function mapTexts(value: unknown, map: Scrub): unknown {
  if (typeof value === 'string') return map(value);
  if (Array.isArray(value)) return value.map((item: unknown) => mapTexts(item, map));
  if (typeof value !== 'object' || value === null) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [map(key), mapTexts(inner, map)]));
}

/** Applies a function to every text of a log line in JSON, so that the line stays JSON, or to any other line as a whole. */
export function mapLogLine(line: string, map: Scrub): string {
  try {
    return JSON.stringify(mapTexts(JSON.parse(line), map));
  } catch {
    return map(line);
  }
}
