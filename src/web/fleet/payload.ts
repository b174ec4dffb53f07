// Reads payloads that anybody may have published: nothing here throws, and every value that comes out has a bound.

/** Larger payloads are invalid without parsing. The messages of a device with 64 cameras have less than half of it. */
const MAX_PAYLOAD_BYTES = 65_536;
const MAX_CHARS = 200;
const MAX_ITEMS = 64;
/** 2000-01-01 and 2100-01-01. */
const [EARLIEST_MS, LATEST_MS] = [946_684_800_000, 4_102_444_800_000];
/** Control characters and those that hide or turn text, such as U+202E. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

const decoder = new TextDecoder();

/** An object of a payload. Only its own properties are read, so that names such as `constructor` find nothing. */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>>;

  /** Null for a payload that is too large or no JSON object. */
  static parse(payload: Uint8Array): Fields | null {
    if (payload.length > MAX_PAYLOAD_BYTES) return null;
    try {
      return Fields.of(JSON.parse(decoder.decode(payload)));
    } catch {
      return null;
    }
  }

  static of(value: unknown): Fields | null {
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? new Fields(value) : null;
  }

  private constructor(object: object) {
    this.#object = object as Readonly<Record<string, unknown>>;
  }

  #get(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  /** Printable text, shortened; null for anything else. */
  text(name: string, maxChars = MAX_CHARS): string | null {
    return toText(this.#get(name), maxChars);
  }

  /** Null for anything else than a finite number in these bounds. */
  number(name: string, min = -1e9, max = 1e9): number | null {
    const value = this.#get(name);
    return typeof value === 'number' && value >= min && value <= max ? value : null;
  }

  flag(name: string): boolean | null {
    const value = this.#get(name);
    return typeof value === 'boolean' ? value : null;
  }

  /** A time of this century, ms since the epoch. */
  timeMs(name: string): number | null {
    const value = this.#get(name);
    const ms = typeof value === 'string' && value.length <= 40 ? Date.parse(value) : NaN;
    return ms >= EARLIEST_MS && ms < LATEST_MS ? ms : null;
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T | null {
    const value = this.#get(name);
    return values.find((one) => one === value) ?? null;
  }

  object(name: string): Fields | null {
    return Fields.of(this.#get(name));
  }

  /** The objects of a list; null when it is none, or has other items. */
  objects(name: string): readonly Fields[] | null {
    const value = this.#get(name);
    if (!Array.isArray(value)) return null;
    const items = value.slice(0, MAX_ITEMS).map((item) => Fields.of(item));
    return items.every((item) => item !== null) ? items : null;
  }

  /** The texts of a list; null when it is none, or has other items. */
  texts(name: string): readonly string[] | null {
    const value = this.#get(name);
    if (!Array.isArray(value)) return null;
    const items = value.slice(0, MAX_ITEMS).map((item) => toText(item, MAX_CHARS));
    return items.every((item) => item !== null) ? items : null;
  }
}

function toText(value: unknown, maxChars: number): string | null {
  if (typeof value !== 'string') return null;
  // A slice keeps the whole text in memory: replace makes a copy only when something is replaced.
  const cut = value.length > maxChars ? Array.from(value.slice(0, maxChars)).join('') : value;
  return cut.replace(UNPRINTABLE, '\u{FFFD}');
}
