import { Type, type Static, type TSchema } from '@sinclair/typebox';
import { closed } from '../contract/schema-parts.ts';
import { ClipDuration } from '../contract/sea-state.ts';

const Share = Type.Number({ minimum: 0, maximum: 1 });
const ShoreLine = Type.Tuple([Type.Tuple([Share, Share]), Type.Tuple([Share, Share])]);

/** The keys of `seaState` of a camera that are not shared with other settings. */
const CLIP = {
  fps: Type.Number({ minimum: 0.8, maximum: 5, description: 'frames per second; default 2' }),
  durationS: { ...ClipDuration, description: 'length of a clip, seconds; default 512' },
  lines: Type.Array(ShoreLine, {
    minItems: 1,
    maxItems: 32,
    description:
      'use only these lines, each from the sea to the shore: two points [x, y], 0..1 of the frame from its top left',
  }),
  keepTimestacks: Type.Boolean({
    description: 'keep the time stack and the spectrum of each clip on disk; default false',
  }),
};

/** `seaState` of a camera: clips for the wave period. */
export const seaStateSchema = <Schedule extends TSchema, Region extends TSchema>(
  schedule: Schedule,
  region: Region,
) =>
  Type.Partial(
    Type.Object(
      { schedule, ...CLIP, region },
      { ...closed, description: 'clips for the wave period; without it, none are taken' },
    ),
  );

/** A line from the sea to the shore: two points, 0..1 of the frame from its top left. */
export type ShoreLine = Static<typeof ShoreLine>;
