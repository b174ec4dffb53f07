import { Type, type TSchema, type TUnion, type TNull } from '@sinclair/typebox';

/** On the wire nothing is left out: what is not known is `null`. */
export const Nullable = <T extends TSchema>(schema: T): TUnion<[T, TNull]> =>
  Type.Union([schema, Type.Null()]);

export const Time = Type.String({ format: 'date-time', description: 'ISO 8601 UTC with milliseconds' });

export const closed = { additionalProperties: false } as const;

/** Ids become MQTT topic levels and file names. */
export const Id = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$' });
