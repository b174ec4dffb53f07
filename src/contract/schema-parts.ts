import { Type, type TNull, type TSchema, type TUnion } from '@sinclair/typebox';

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

/** No other properties are allowed. */
export const closed = { additionalProperties: false } as const;

/** Ids become MQTT topic levels and file names. */
export const Id = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$' });
