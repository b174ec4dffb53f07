import { Type, type TNull, type TSchema, type TUnion } from '@sinclair/typebox';
import { ERROR_CODES } from '../base/errors.ts';

/** Payloads never omit an unknown value: it is `null`. */
export const Nullable = <T extends TSchema>(schema: T): TUnion<[T, TNull]> =>
  Type.Union([schema, Type.Null()]);

export const Time = Type.String({ format: 'date-time', description: 'ISO 8601 UTC with milliseconds' });
export const Count = Type.Integer({ minimum: 0 });
export const Milliseconds = Type.Number({ minimum: 0 });
/** A ratio or a probability. */
export const Ratio01 = Type.Number({ minimum: 0, maximum: 1 });

/** One of the listed strings. */
export const StringEnum = <const T extends string>(
  values: readonly T[],
  options: { readonly description?: string } = {},
) => Type.Unsafe<T>({ type: 'string', enum: [...values], ...options });

/** No other properties are allowed; what the agent publishes is open for additions: `openForAdditions`. */
export const closed = { additionalProperties: false } as const;

/** Ids become MQTT topic levels and file names. */
export const Id = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$' });

/** The codes of a schema that `Codes` made. A symbol, as those of TypeBox: validators and JSON do not see it. */
const KNOWN_CODES = Symbol('known codes');

const patternOf = (codes: readonly string[]): string =>
  `^(?:${codes.map((code) => code.replaceAll(/\{\w+\}/g, '.+')).join('|')})$`;

/**
 * One of the listed codes; a part in braces, as in `camera_down:{id}`, stands for any text. Later versions within v1 may add
 * codes, unlike values of a `StringEnum`.
 */
export const Codes = <const T extends string = string>(
  codes: readonly string[],
  options: { readonly description?: string } = {},
) =>
  Type.Unsafe<T>({
    type: 'string',
    ...(codes.some((code) => code.includes('{')) ? { pattern: patternOf(codes) } : { enum: [...codes] }),
    ...options,
    [KNOWN_CODES]: codes,
  });

/** An error code, in schemas that list all of them. */
export const AnyErrorCode = Codes(Object.keys(ERROR_CODES));
/** An error code. */
export const ErrorCodeName = Type.String({ description: 'an error code: docs/generated/codes.md' });

/**
 * The schema as it is published: it accepts the properties and the codes that later versions within v1 may add. The known
 * codes stand in `x-extensible-enum`. The agent and its tests use the strict schema.
 */
export const openForAdditions = <T extends TSchema>(schema: T): T => opened(schema) as T;

function opened(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(opened);
  if (typeof value !== 'object' || value === null) return value;
  const { [KNOWN_CODES]: codes } = value as { readonly [KNOWN_CODES]?: readonly string[] };
  const members = Object.entries(value as Readonly<Record<string, unknown>>);
  if (codes === undefined)
    return Object.fromEntries(
      members
        .filter(([key, inner]) => key !== 'additionalProperties' || inner !== false)
        .map(([key, inner]) => [key, opened(inner)]),
    );
  const open = members.filter(([key]) => key !== 'enum' && key !== 'pattern');
  return { ...Object.fromEntries(open), 'x-extensible-enum': codes };
}
