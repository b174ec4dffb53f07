import { Type, type Static, type TSchema } from '@sinclair/typebox';
import { AgentUpdateResult, AgentVersions } from './agent-update.ts';
import type { CommandName } from './command.ts';
import { ConfigChange, ConfigConfirmed, ConfigView, LogLevelChange, Restarting } from './config.ts';
import { Diagnostics } from './diagnostics.ts';
import { ModelAborted, ModelInstallResult, ModelServes } from './model.ts';
import { Count, Nullable, StringEnum, Time, closed } from './schema-parts.ts';
import { CalibrationSummary, CapturedObservation } from './observation.ts';
import { SeaStateRecord } from './sea-state.ts';
import { Info, ModelState } from './states.ts';
import { TideLevel } from './tide.ts';

export const ImageResult = Type.Object(
  {
    camera: Type.String(),
    topic: Type.String({ description: 'full topic of the JPEG' }),
    size_bytes: Count,
    max_width_px: Type.Integer({ description: 'smaller than requested when the JPEG would be too large' }),
    annotated: Type.Boolean(),
    frame_age_s: Nullable(Type.Number({ minimum: 0 })),
  },
  closed,
);
export type ImageResult = Static<typeof ImageResult>;

export const BackfillResult = Type.Object(
  {
    camera: Type.String(),
    stream: Type.Optional(StringEnum(['observation', 'sea_state'])),
    queued: { ...Count, description: 'records that will be published again on backfill' },
    waiting: { ...Count, description: 'records that were already in the outbox' },
    gone: { ...Count, description: 'records of the range that are no longer stored' },
    gone_ranges: Type.Array(Type.Tuple([Type.Integer(), Type.Integer()]), {
      description: 'their numbers, from and to inclusive; the first hundred ranges',
    }),
    next_seq: Nullable(
      Type.Integer({
        description: 'first number for the next command, because the outbox had no room for the rest',
      }),
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
  capture: CapturedObservation,
  sea_state: SeaStateRecord,
  label: CalibrationSummary,
  'label.remove': CalibrationSummary,
  image: ImageResult,
  backfill: BackfillResult,
  'model.install': ModelInstallResult,
  'model.rollback': ModelServes,
  'model.abort': ModelAborted,
  'model.list': ModelState,
  'model.reload': ModelServes,
  'agent.install': AgentUpdateResult,
  'agent.rollback': AgentUpdateResult,
  'agent.list': AgentVersions,
  'config.get': ConfigView,
  'config.set': ConfigChange,
  'config.confirm': ConfigConfirmed,
  'tide.set': TideLevel,
  'log.level': LogLevelChange,
  restart: Restarting,
};
