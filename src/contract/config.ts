import { Type, type Static } from '@sinclair/typebox';
import { Nullable, StringEnum, Time, closed } from './schema-parts.ts';

const Keys = Type.Array(Type.String(), {
  description: 'dotted keys, those of a camera under its id: cameras.north.schedule',
});

/** A change that undoes itself unless it is confirmed. */
export const ConfigTrial = Type.Object(
  {
    id: Type.String(),
    changed: Keys,
    in_force: Type.Boolean({ description: 'false until it may be confirmed' }),
    confirm_by: { ...Time, description: 'by the clock as it was when the change was set' },
    seconds_left: Type.Number({ minimum: 0 }),
  },
  closed,
);
export type ConfigTrial = Static<typeof ConfigTrial>;

/** The result of `config.get`. No secret is in it. */
export const ConfigView = Type.Object(
  {
    settings: Type.Record(Type.String(), Type.Unknown(), { description: 'all that are in force' }),
    overlay: Type.Record(Type.String(), Type.Unknown(), { description: 'what remote commands have set' }),
    config_digest: Type.String({ description: 'as in info' }),
    trial: Nullable(ConfigTrial),
    local_keys: Type.Array(Type.String(), { description: 'what only the local configuration may set' }),
  },
  closed,
);
export type ConfigView = Static<typeof ConfigView>;

/** The result of `config.set`. It comes before what cuts connections is begun. */
export const ConfigChange = Type.Object(
  {
    trial: Nullable(Type.String({ description: 'the id to confirm; null when nothing changes' })),
    changed: Keys,
    live: { ...Keys, description: 'of these: taken over while everything runs' },
    link: { ...Keys, description: 'of these: by a new connection to the broker' },
    restart: { ...Keys, description: 'of these: by a new start of all parts' },
    on_confirm: { ...Keys, description: 'of these: not before it is confirmed, for it could not be undone' },
    confirm_by: Nullable(Time),
    confirm_within_s: Nullable(Type.Number()),
    config_digest: Type.String({ description: 'of the settings with the change' }),
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

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevelName = (typeof LOG_LEVELS)[number];
export const LogLevelArg = StringEnum(LOG_LEVELS);

export const LogLevelChange = Type.Object({ level: LogLevelArg, before: LogLevelArg }, closed);
export type LogLevelChange = Static<typeof LogLevelChange>;

export const Restarting = Type.Object({ restarting: Type.Literal(true) }, closed);
export type Restarting = Static<typeof Restarting>;

/** Seconds that `config.set` takes for `confirm_within_s`. */
export const CONFIRM_WITHIN_S = { minimum: 5, maximum: 3600, usual: 120 } as const;

/** An answer that must be out before what it tells of begins: that would cut off the way it takes. */
export interface Deferred<T> {
  readonly answer: T;
  /** To be called when the answer has been delivered, or cannot be. Some seconds later it happens by itself. */
  readonly begin: () => void;
}
