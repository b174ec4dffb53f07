import { Type, type Static, type TSchema } from '@sinclair/typebox';
import type { CommandName } from './command.ts';
import { ConfigChange, ConfigConfirmed, ConfigView, LogLevelChange, Restarting } from './config.ts';
import { Diagnostics } from './diagnostics.ts';
import { ModelAborted, ModelInstallResult, ModelServes } from './model.ts';
import { Count, Nullable, Time, closed } from './schema-parts.ts';
import { CalibrationSummary, Observation } from './observation.ts';
import { Info, ModelState } from './states.ts';

export const ImageResult = Type.Object(
  {
    camera: Type.String(),
    topic: Type.String({ description: 'where the JPEG went, in full' }),
    size_bytes: Count,
    max_width_px: Type.Integer({ description: 'smaller than asked for when the JPEG had to be shrunk' }),
    annotated: Type.Boolean(),
    frame_age_s: Nullable(Type.Number({ minimum: 0 })),
  },
  closed,
);
export type ImageResult = Static<typeof ImageResult>;

export const BackfillResult = Type.Object(
  {
    camera: Type.String(),
    queued: { ...Count, description: 'records that go out again on backfill' },
    waiting: { ...Count, description: 'records that wait in the outbox anyway' },
    gone: { ...Count, description: 'records of the range that are no longer stored' },
    gone_ranges: Type.Array(Type.Tuple([Type.Integer(), Type.Integer()]), {
      description: 'their numbers: from and to, both included; the first hundred ranges',
    }),
    next_seq: Nullable(
      Type.Integer({ description: 'where to go on later: the outbox had no room for the rest' }),
    ),
  },
  closed,
);
export type BackfillResult = Static<typeof BackfillResult>;

/** The `result` of a command that succeeded, by its name. */
export const COMMAND_RESULTS: Readonly<Record<CommandName, TSchema>> = {
  ping: Type.Object({ pong: Type.Literal(true), at: Time, uptime_s: Type.Number({ minimum: 0 }) }, closed),
  info: Info,
  diagnostics: Diagnostics,
  capture: Observation,
  label: CalibrationSummary,
  'label.remove': CalibrationSummary,
  image: ImageResult,
  backfill: BackfillResult,
  'model.install': ModelInstallResult,
  'model.rollback': ModelServes,
  'model.abort': ModelAborted,
  'model.list': ModelState,
  'model.reload': ModelServes,
  'config.get': ConfigView,
  'config.set': ConfigChange,
  'config.confirm': ConfigConfirmed,
  'log.level': LogLevelChange,
  restart: Restarting,
};
