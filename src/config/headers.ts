import { NotASecret } from '../base/secret-text.ts';

/** The names and values of a camera's HTTP request headers. */
export type Headers = Readonly<Record<string, string>>;

export const MAX_HEADERS = 32;
const MAX_VALUE_CHARS = 8192;
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]{1,100}$/;
/** What Node's HTTP client sends unchanged: one byte per character, without control characters except the tab. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** The agent sets them itself, or they would change where the request ends. */
const RESERVED =
  /^(host|content-.*|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|range|if-.*|accept-encoding|proxy-.*|http2-settings)$/i;

export const isHeaderName = (name: string): boolean => TOKEN.test(name);

/** What is wrong with a header, as text after the word "wanted"; null when it may be sent. */
export function describeHeaderFault(name: string, value: string): string | null {
  if (!isHeaderName(name)) return 'a header name of letters, digits and -';
  if (RESERVED.test(name)) return `no ${name} header: the agent sets it`;
  if (!VALUE.test(value)) return 'a value on one line, of characters of ISO 8859-1';
  if (value.length > MAX_VALUE_CHARS) return `a value of at most ${String(MAX_VALUE_CHARS)} characters`;
  return null;
}

/**
 * The headers of a file: one `Name: value` on each line, or one JSON object. Empty lines and lines that begin with `#` are
 * skipped. Throws `NotASecret`, with the number of the line.
 */
export function parseHeaders(text: string): readonly (readonly [string, string])[] {
  if (text.trimStart().startsWith('{')) return parseJson(text);
  return text.split(/\r\n|\n|\r/).flatMap((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return [];
    const colon = line.indexOf(':');
    if (colon < 1 || /^\s/.test(line)) throw new NotASecret(`"Name: value" on line ${String(index + 1)}`);
    return [[line.slice(0, colon).trimEnd(), line.slice(colon + 1).trim()] as const];
  });
}

function parseJson(text: string): readonly (readonly [string, string])[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's message would quote the file.
    throw new NotASecret('lines "Name: value", or a JSON object');
  }
  return Object.entries(parsed as Record<string, unknown>).map(([name, value]) => {
    if (typeof value !== 'string') throw new NotASecret('a JSON object whose values are texts');
    return [name, value.trim()] as const;
  });
}
