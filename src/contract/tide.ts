import { Type, type Static } from '@sinclair/typebox';
import { Nullable, Time, closed } from './schema-parts.ts';

const Level = { minimum: -1000, maximum: 1000 } as const;

/** Arguments of `tide.set`. */
export const TideSetArgs = Type.Object(
  {
    offset_m: Type.Optional(
      Type.Number({
        ...Level,
        description: 'mean sea level in the heights of the geometry, in place of geometry.tide.offsetM',
      }),
    ),
    height_m: Type.Optional(
      Type.Number({ minimum: -20, maximum: 20, description: 'level above mean sea level, metres' }),
    ),
    valid_s: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 86_400, description: 'how long `height_m` holds; default 3600' }),
    ),
  },
  { ...closed, anyOf: [{ required: ['offset_m'] }, { required: ['height_m'] }] },
);

/** The level of the water as commands have set it. */
export const TideLevel = Type.Object(
  {
    offset_m: Nullable(Type.Number({ description: 'null: as the configuration says' })),
    height_m: Nullable(Type.Number()),
    valid_until: Nullable({ ...Time, description: 'end of `height_m`' }),
  },
  closed,
);
export type TideLevel = Static<typeof TideLevel>;
