/** Deeper nesting than any command needs. */
const DEEPEST = 16;
/** Strings, brackets and what tells a key from a value, of a text that is known to be JSON. */
const TOKEN = /"(?:[^"\\]|\\.)*"(?=[\x20\t\r\n]*(:)?)|[{}[\]]/g;

export type StrictJson =
  { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly fault: string };

/**
 * Reads JSON that can be understood in one way only: UTF-8 without faults, no name twice in an object (RFC 7493
 * section 2.3), and not nested deeper than 16.
 */
export function readStrictJson(bytes: Uint8Array): StrictJson {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text) as unknown;
  } catch {
    return { ok: false, fault: 'no JSON' };
  }
  const fault = structureFault(text);
  return fault === null ? { ok: true, value } : { ok: false, fault };
}

function structureFault(text: string): string | null {
  const open: (Set<string> | null)[] = [];
  for (const [token, colon] of text.matchAll(TOKEN)) {
    if (token === '}' || token === ']') open.pop();
    else if (token === '{' || token === '[') {
      if (open.push(token === '{' ? new Set() : null) > DEEPEST) return 'nested too deep';
    } else if (colon !== undefined) {
      // As a reader of the JSON sees it: "a" and "\u0061" are one name.
      const name = JSON.parse(token) as string;
      const names = open.at(-1);
      if (names?.has(name)) return 'a name stands twice in an object';
      names?.add(name);
    }
  }
  return null;
}
