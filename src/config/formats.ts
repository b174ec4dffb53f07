import { parseHostPattern } from '../base/host-pattern.ts';
import { Id } from '../contract/schema-parts.ts';
import { isLoopback } from './schema.ts';
import type { SecretKind } from './secret-kind.ts';

/** The allowed values of a setting. `wanted` completes the sentence "wanted …". */
export interface Format {
  readonly wanted: string;
  readonly accepts: (value: unknown) => boolean;
  /** Set for values that may contain a secret. */
  readonly secret?: SecretKind;
}

const isString = (value: unknown): value is string => typeof value === 'string';

export const text = (wanted = 'text'): Format => ({
  wanted,
  accepts: (value) => isString(value) && value.length > 0 && value.length <= 4096 && !value.includes('\0'),
});

export const pattern = (expression: RegExp, wanted: string): Format => ({
  wanted,
  accepts: (value) => isString(value) && expression.test(value),
});

export const timeOfDay: Format = pattern(/^([01]\d|2[0-3]):[0-5]\d$/, 'a time of day such as 02:30');

export const flag: Format = { wanted: 'true or false', accepts: (value) => typeof value === 'boolean' };

export const integer = (minimum: number, maximum: number): Format => ({
  wanted: `a whole number from ${String(minimum)} to ${String(maximum)}`,
  accepts: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= minimum && value <= maximum,
});

export const number = (minimum: number, maximum: number): Format => ({
  wanted: `a number from ${String(minimum)} to ${String(maximum)}`,
  accepts: (value) => typeof value === 'number' && value >= minimum && value <= maximum,
});

export const oneOf = (values: readonly (string | number)[]): Format => ({
  wanted: `one of ${values.join(', ')}`,
  accepts: (value) => (isString(value) || typeof value === 'number') && values.includes(value),
});

export const either = (word: string, other: Format): Format => ({
  ...other,
  wanted: `"${word}" or ${other.wanted}`,
  accepts: (value) => value === word || other.accepts(value),
});

export const listOf = (item: Format, maximum: number): Format => ({
  ...item,
  wanted: `a list, each ${item.wanted}`,
  accepts: (value) => Array.isArray(value) && value.length <= maximum && value.every(item.accepts),
});

/** Most cameras of a device. */
export const MAX_CAMERAS = 64;

export const cameraList: Format = {
  wanted: `a list of at most ${String(MAX_CAMERAS)} cameras`,
  accepts: (value) => Array.isArray(value) && value.length <= MAX_CAMERAS,
};

export const nonEmptyListOf = (item: Format, maximum: number): Format => ({
  ...item,
  wanted: `a list of one or more, each ${item.wanted}`,
  accepts: (value) => listOf(item, maximum).accepts(value) && Array.isArray(value) && value.length > 0,
});

export const oneOrListOf = (item: Format, maximum: number): Format => ({
  ...item,
  wanted: `${item.wanted}, or a list of them`,
  accepts: (value) => item.accepts(value) || listOf(item, maximum).accepts(value),
});

/** True for a URL with one of the schemes and a host. */
export function isUrl(value: unknown, schemes: readonly string[]): boolean {
  if (!isString(value) || value.length > 2048 || /\s/.test(value)) return false;
  const url = URL.parse(value);
  return url !== null && schemes.includes(url.protocol.slice(0, -1)) && url.hostname !== '';
}

export const url = (schemes: readonly string[]): Format => ({
  wanted: `a URL with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
  accepts: (value) => isUrl(value, schemes),
  secret: 'address',
});

/**
 * The address of a broker. A `/`, `?` or `#` that is not encoded ends the authority: the rest of the password would become a
 * path or a fragment, and a part of it the host.
 */
export const brokerUrl: Format = {
  wanted:
    'a URL with mqtt://, mqtts://, ws:// or wss:// (in user and password, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25)',
  accepts: (value) => {
    if (!isUrl(value, ['mqtt', 'mqtts', 'ws', 'wss'])) return false;
    const { protocol, pathname, search, hash } = new URL(value as string);
    return hash === '' && !(protocol.startsWith('mqtt') && `${pathname}${search}`.includes('@'));
  },
  secret: 'address',
};

/** Text that is never shown. */
export const secretText = (kind: 'text' | 'name'): Format => ({ ...text(), secret: kind });

/** `wanted` of an id, here and in `cameras.ts`. */
export const ID_WANTED = '1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit';
export const id: Format = pattern(new RegExp(Id.pattern ?? ''), ID_WANTED);

/** Topic levels without wildcards, such as `swellsight/v1`. */
export const topicBase: Format = pattern(
  /^[^/+#$\s\0][^/+#\s\0]*(\/[^/+#\s\0]+){0,7}$/,
  'topic levels joined by /, without + # or spaces',
);

export const loopback: Format = {
  wanted: 'a loopback address, such as 127.0.0.1, because the embedded broker has no passwords',
  accepts: (value) => isString(value) && isLoopback(value),
};

export const host: Format = pattern(/^[A-Za-z0-9.:_[\]-]{1,255}$/, 'an address or a host name to listen on');

export const hostPattern: Format = {
  wanted:
    'a host name such as gauge.example.org, gauge.example.org:8443 or *.example.org, without https:// and not * alone',
  accepts: (value) => isString(value) && value.length <= 255 && parseHostPattern(value) !== null,
};

export const origin: Format = {
  wanted: '"*" or an origin such as https://example.org',
  accepts: (value) =>
    value === '*' || (isUrl(value, ['http', 'https']) && URL.parse(value as string)?.origin === value),
};
