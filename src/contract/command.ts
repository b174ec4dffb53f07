import { Type, type Static } from '@sinclair/typebox';
import { ERROR_CODES } from '../base/errors.ts';
import { AgentInstallArgs } from './agent-update.ts';
import { REJECTIONS } from './codes.ts';
import { CONFIRM_WITHIN_S, LogLevelArg } from './config.ts';
import { ModelInstallArgs } from './model.ts';
import { ClipDuration } from './sea-state.ts';
import { TideSetArgs } from './tide.ts';
import { AnyErrorCode, Codes, Nullable, StringEnum, Time, closed } from './schema-parts.ts';

/** `…/cmd/{name}`. */
export const Command = Type.Object(
  {
    id: Type.String({
      minLength: 1,
      maxLength: 128,
      pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]*$',
      description: 'chosen by the sender, unique for each command; no control characters',
    }),
    issued_at: Type.Optional(Time),
    expires_at: Type.Optional({ ...Time, description: 'the command is not started after this time' }),
    receipt: Type.Optional(
      Type.Boolean({
        description:
          'default true; false: no receipt `accepted`, so that the first answer is the final one: the result, or `rejected`',
      }),
    ),
    args: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  },
  { ...closed, $id: 'swellsight.command/1', title: 'Command' },
);
export type Command = Static<typeof Command>;

export const CommandReceipt = Type.Object(
  {
    id: Nullable(Type.String()),
    status: StringEnum(['accepted', 'rejected']),
    reason: Nullable(Codes([...Object.keys(REJECTIONS), ...Object.keys(ERROR_CODES)])),
    duplicate: Type.Optional(Type.Boolean()),
  },
  { ...closed, $id: 'swellsight.command_receipt/1', title: 'CommandReceipt' },
);
export type CommandReceipt = Static<typeof CommandReceipt>;

const CommandError = Type.Object(
  { code: AnyErrorCode, message: Type.String(), hint: Type.Optional(Type.String()) },
  { ...closed, $id: 'swellsight.command_error/1', title: 'CommandError' },
);

export const CommandResult = Type.Object(
  {
    id: Type.String(),
    status: StringEnum(['succeeded', 'failed', 'expired']),
    result: Type.Optional(Type.Unknown()),
    error: Type.Optional(CommandError),
    duration_ms: Type.Number({ minimum: 0 }),
    duplicate: Type.Optional(Type.Boolean()),
  },
  { ...closed, $id: 'swellsight.command_result/1', title: 'CommandResult' },
);
export type CommandResult = Static<typeof CommandResult>;

const Camera = Type.String({ minLength: 1, maxLength: 64 });
const ObservationId = Type.String({ format: 'uuid' });
const Seq = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

/** Arguments of all commands, by name. */
export const COMMAND_ARGS = {
  ping: Type.Object({}, closed),
  info: Type.Object({}, closed),
  diagnostics: Type.Object({}, closed),
  capture: Type.Object({ camera: Camera }, closed),
  sea_state: Type.Object(
    {
      camera: Camera,
      durationS: Type.Optional({
        ...ClipDuration,
        description: 'default: `seaState.durationS` of the camera',
      }),
    },
    closed,
  ),
  label: Type.Object(
    {
      observation_id: ObservationId,
      height_m: Type.Optional(
        Type.Number({ minimum: 0, maximum: 25, description: 'metres of face; or give `height`' }),
      ),
      height: Type.Optional(
        Type.Number({
          minimum: 0,
          maximum: 85,
          description: 'the reading in `unit` and `scale`, instead of `height_m`',
        }),
      ),
      unit: Type.Optional(StringEnum(['m', 'ft'], { description: 'of `height`; default: m' })),
      scale: Type.Optional(
        StringEnum(['face', 'hawaiian'], {
          description: 'of `height`; default: face, from trough to crest; hawaiian is half of it',
        }),
      ),
      tide_m: Type.Optional(
        Type.Number({ minimum: -20, maximum: 20, description: 'the tide at that time, metres' }),
      ),
      observer: Type.Optional(Type.String({ maxLength: 100 })),
      note: Type.Optional(Type.String({ maxLength: 1000 })),
    },
    { ...closed, oneOf: [{ required: ['height_m'] }, { required: ['height'] }] },
  ),
  'label.remove': Type.Object({ observation_id: ObservationId }, closed),
  image: Type.Object(
    {
      camera: Camera,
      max_width_px: Type.Optional(Type.Integer({ minimum: 64, maximum: 4096, description: 'default 640' })),
      annotate: Type.Optional(
        Type.Boolean({ description: 'draw the region and the newest reading into the image' }),
      ),
    },
    closed,
  ),
  'model.install': ModelInstallArgs,
  'model.rollback': Type.Object({}, closed),
  'model.abort': Type.Object({}, closed),
  'model.list': Type.Object({}, closed),
  'model.reload': Type.Object({}, closed),
  'agent.install': AgentInstallArgs,
  'agent.rollback': Type.Object({}, closed),
  'agent.list': Type.Object({}, closed),
  'config.get': Type.Object({}, closed),
  'config.set': Type.Object(
    {
      patch: Type.Record(Type.String(), Type.Unknown(), {
        description: 'a part of the configuration; null removes a remotely set value; cameras by their id',
      }),
      confirm_within_s: Type.Optional(
        Type.Number({
          minimum: CONFIRM_WITHIN_S.minimum,
          maximum: CONFIRM_WITHIN_S.maximum,
          description: `default ${CONFIRM_WITHIN_S.usual}; without config.confirm the change is undone after this time`,
        }),
      ),
    },
    closed,
  ),
  'config.confirm': Type.Object(
    {
      trial: Type.Optional(Type.String({ maxLength: 64, description: 'default: the change on trial' })),
    },
    closed,
  ),
  'tide.set': TideSetArgs,
  'log.level': Type.Object({ level: LogLevelArg }, closed),
  restart: Type.Object({}, closed),
  backfill: Type.Object(
    {
      camera: Camera,
      from_seq: Seq,
      to_seq: { ...Seq, description: 'inclusive; at most 10,000 records' },
      stream: Type.Optional(
        StringEnum(['observation', 'sea_state'], {
          description: 'default observation; each has its own `seq`',
        }),
      ),
    },
    closed,
  ),
} as const;
export type CommandName = keyof typeof COMMAND_ARGS;
export type CommandArgs<N extends CommandName> = Static<(typeof COMMAND_ARGS)[N]>;
