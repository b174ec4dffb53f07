import { Type, type Static } from '@sinclair/typebox';
import { closed } from '../contract/schema-parts.ts';

const Constituent = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 20, description: 'M2, S2, K1, …' }),
    amplitude: Type.Number({ minimum: 0, maximum: 20, description: 'metres' }),
    phase: Type.Number({ minimum: -360, maximum: 360, description: 'Greenwich phase lag, degrees' }),
  },
  closed,
);

const Tide = Type.Partial(
  Type.Object(
    {
      station: Type.String({
        minLength: 1,
        description: 'file of a tide station: JSON with harmonic_constituents',
      }),
      constituents: Type.Array(Constituent, { minItems: 1, maxItems: 500 }),
      offsetM: Type.Number({
        minimum: -1000,
        maximum: 1000,
        description: 'mean sea level in the heights of the geometry, metres; default 0',
      }),
    },
    { ...closed, description: 'the level of the water; without it, only by the command tide.set' },
  ),
);

/** `geometry` of a camera: where it is, so that pixels of the water become metres. */
export const GeometrySchema = Type.Partial(
  Type.Object(
    {
      pose: Type.String({ minLength: 1, description: 'file that `swellsight calibrate-camera` wrote' }),
      cameraHeightM: Type.Number({
        exclusiveMinimum: 0,
        maximum: 5000,
        description: 'height of the camera above mean sea level, metres',
      }),
      horizonRow: Type.Number({
        minimum: -1,
        maximum: 1,
        description: 'height of the horizon in the frame, 0..1 from its top; negative above it',
      }),
      tiltDeg: Type.Number({
        minimum: -20,
        maximum: 90,
        description: 'angle of the view below the horizon, degrees',
      }),
      fovDeg: Type.Number({
        exclusiveMinimum: 0,
        maximum: 150,
        description: 'horizontal field of view, degrees; default 60 with horizonRow',
      }),
      tide: Tide,
    },
    { ...closed, description: 'place of the camera, for the height of breakers; without it, there is none' },
  ),
);
export type GeometrySettings = Static<typeof GeometrySchema>;
