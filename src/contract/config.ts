import { Type, type Static } from '@sinclair/typebox';
import { Nullable, StringEnum, Time, closed } from './schema-parts.ts';

const Keys = Type.Array(Type.String(), {
  description: 'dotted keys; keys of a camera contain its id: cameras.north.schedule',
});

const Mask = Type.Array(Type.Array(Type.Number(), { minItems: 2, maxItems: 2 }));

/** A change that is undone automatically unless it is confirmed. */
export const ConfigTrial = Type.Object(
  {
    id: Type.String(),
    changed: Keys,
    in_force: Type.Boolean({ description: 'false while the change cannot be confirmed yet' }),
    confirm_by: { ...Time, description: 'by the clock of the time when the change was set' },
    seconds_left: Type.Number({ minimum: 0 }),
  },
  closed,
);
export type ConfigTrial = Static<typeof ConfigTrial>;

/** The result of `config.get`, without secrets. */
export const ConfigView = Type.Object(
  {
    settings: Type.Record(Type.String(), Type.Unknown(), { description: 'all settings in force' }),
    overlay: Type.Record(Type.String(), Type.Unknown(), {
      description: 'settings that remote commands have set',
    }),
    config_digest: Type.String({ description: 'as in info' }),
    trial: Nullable(ConfigTrial),
    local_keys: Type.Array(Type.String(), { description: 'keys that only the local configuration may set' }),
    local_cameras: Type.Optional(
      Type.Array(Type.String(), {
        description:
          'ids of the cameras of the local configuration: remote commands change them, but cannot remove them',
      }),
    ),
    local_masks: Type.Optional(
      Type.Record(Type.String(), Type.Array(Mask), {
        description: 'by camera: the privacy masks that remote commands cannot remove',
      }),
    ),
  },
  closed,
);
export type ConfigView = Static<typeof ConfigView>;

/** The result of `config.set`. It is sent before changes that interrupt the connection begin. */
export const ConfigChange = Type.Object(
  {
    trial: Nullable(Type.String({ description: 'the id for config.confirm; null when nothing changes' })),
    changed: Keys,
    live: { ...Keys, description: 'changed keys that apply without interruption' },
    link: { ...Keys, description: 'changed keys that apply with a new connection to the broker' },
    restart: { ...Keys, description: 'changed keys that apply with a restart of all parts' },
    on_confirm: {
      ...Keys,
      description: 'changed keys that apply only after the confirmation, because they cannot be undone',
    },
    confirm_by: Nullable(Time),
    confirm_within_s: Nullable(Type.Number()),
    config_digest: Type.String({ description: 'digest of the settings with the change' }),
  },
  closed,
);
export type ConfigChange = Static<typeof ConfigChange>;

/** The result of `config.confirm`. */
export const ConfigConfirmed = Type.Object(
  { trial: Type.String(), changed: Keys, config_digest: Type.String() },
  closed,
);
export type ConfigConfirmed = Static<typeof ConfigConfirmed>;

/** The result of `DELETE /api/v1/config/trial`. It is sent before changes that interrupt the connection begin. */
export const ConfigWithdrawn = Type.Object(
  {
    trial: Type.String(),
    changed: { ...Keys, description: 'keys that get their former values back' },
    config_digest: Type.String({ description: 'digest of the settings without the change' }),
  },
  { ...closed, title: 'ConfigWithdrawn' },
);
export type ConfigWithdrawn = Static<typeof ConfigWithdrawn>;

/** The result of `DELETE /api/v1/config/remote`. */
export const ConfigDropped = Type.Object(
  {
    dropped: { ...Keys, description: 'keys that no longer have a remote value' },
    live: { ...Keys, description: 'changed keys that apply without interruption' },
    link: { ...Keys, description: 'changed keys that apply with a new connection to the broker' },
    restart: { ...Keys, description: 'changed keys that apply with a restart of all parts' },
    config_digest: Type.String({ description: 'digest of the settings without the dropped ones' }),
  },
  { ...closed, title: 'ConfigDropped' },
);
export type ConfigDropped = Static<typeof ConfigDropped>;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevelName = (typeof LOG_LEVELS)[number];
export const LogLevelArg = StringEnum(LOG_LEVELS);

export const LogLevelChange = Type.Object({ level: LogLevelArg, before: LogLevelArg }, closed);
export type LogLevelChange = Static<typeof LogLevelChange>;

export const Restarting = Type.Object({ restarting: Type.Literal(true) }, closed);
export type Restarting = Static<typeof Restarting>;

/** Range and default of `confirm_within_s` of `config.set`, seconds. */
export const CONFIRM_WITHIN_S = { minimum: 5, maximum: 3600, usual: 120 } as const;

/** A result that must be delivered before the work begins, because the work interrupts the connection. */
export interface Deferred<T> {
  readonly answer: T;
  /** Call this when the result is delivered or cannot be delivered. After some seconds the work begins automatically. */
  readonly begin: () => void;
}
