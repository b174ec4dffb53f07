import { Type, type Static } from '@sinclair/typebox';
import { DEGRADED_CODES } from './codes.ts';
import { Codes, Count, Nullable, StringEnum, Time, closed } from './schema-parts.ts';

export const CAMERA_STATES = ['starting', 'up', 'down', 'frozen', 'obstructed'] as const;
export const CameraCondition = StringEnum(CAMERA_STATES);
export type CameraCondition = Static<typeof CameraCondition>;

export const Health = Type.Object(
  {
    schema: Type.Literal('swellsight.health/1'),
    boot_id: Type.String(),
    seq: Type.Integer({ minimum: 1, description: 'number of the heartbeat in this run' }),
    at: Time,
    uptime_s: Type.Number({ minimum: 0 }),
    agent_version: Type.String(),
    cpu: Type.Object(
      { load1: Type.Number(), temp_c: Nullable(Type.Number()), throttled: Nullable(Type.Boolean()) },
      closed,
    ),
    memory: Type.Object(
      { rss_mb: Type.Number(), vision_rss_mb: Nullable(Type.Number()), free_mb: Type.Number() },
      closed,
    ),
    disk: Type.Object(
      {
        free_mb: Nullable(Type.Number()),
        used_pct: Nullable(Type.Number()),
        written_mb_day: Nullable(Type.Number()),
        life_used_pct: Type.Optional(
          Nullable(Type.Number({ description: 'eMMC: used part of the expected life; 110: exceeded' })),
        ),
        pre_eol: Type.Optional(Nullable(StringEnum(['normal', 'warning', 'urgent']))),
        volatile: Type.Optional(
          Type.Boolean({ description: 'the state directory is in memory: the next boot loses it' }),
        ),
      },
      closed,
    ),
    power: Type.Optional(
      Type.Object(
        {
          under_voltage: Nullable(Type.Boolean({ description: 'without short alarms' })),
          hot_surface: Nullable(Type.Boolean({ description: 'Jetson: too hot to touch' })),
          over_current_1h: Nullable(Type.Integer({ minimum: 0, description: 'Jetson: events' })),
        },
        closed,
      ),
    ),
    capture: Type.Optional(
      Type.Object(
        {
          slowdown: Type.Integer({
            minimum: 1,
            description: 'cameras with an interval schedule observe every n-th slot',
          }),
          reason: Nullable(StringEnum(['heat', 'low_power'])),
        },
        closed,
      ),
    ),
    clock: Type.Object({ synced: Type.Boolean(), offset_ms: Nullable(Type.Number()) }, closed),
    link: Type.Object(
      {
        connected_since: Nullable(Time),
        reconnects_1h: Count,
        rtt_ms: Nullable(Type.Number()),
        broker: Nullable(Type.String()),
      },
      closed,
    ),
    cameras: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          state: CameraCondition,
          last_frame_age_s: Nullable(Type.Number()),
          failures_1h: Count,
          next_run_at: Nullable(Time),
        },
        closed,
      ),
    ),
    inference: Type.Object(
      {
        provider: Nullable(Type.String()),
        p50_ms: Nullable(Type.Number()),
        p95_ms: Nullable(Type.Number()),
        failures_1h: Count,
        restarts: Count,
      },
      closed,
    ),
    model: Type.Object(
      {
        name: Nullable(Type.String()),
        version: Nullable(Type.String()),
        digest: Nullable(Type.String()),
        phase: Type.String(),
      },
      closed,
    ),
    outbox: Type.Object(
      { depth: Count, oldest_age_s: Nullable(Type.Number()), dropped_total: Count },
      closed,
    ),
    degraded: Type.Array(Codes(Object.keys(DEGRADED_CODES)), {
      description: 'docs/generated/codes.md explains each code',
    }),
  },
  { ...closed, $id: 'swellsight.health/1', title: 'Health' },
);
export type Health = Static<typeof Health>;
