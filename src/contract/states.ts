import { Type, type Static } from '@sinclair/typebox';
import { STATE_REASONS } from './codes.ts';
import { EVENT_CODE_NAMES, EVENT_TYPES } from './events.ts';
import { CameraCondition } from './health.ts';
import { ModelInstall, RefusedModel } from './model.ts';
import { ModelRef, REASONS, StoreId } from './observation.ts';
import { Codes, Nullable, StringEnum, Time, closed } from './schema-parts.ts';

/** `…/status`, retained; also the will, with state `offline`. */
export const Status = Type.Object(
  {
    state: StringEnum(['starting', 'online', 'stopped', 'offline']),
    session: Type.String({ description: 'id of one run of the agent' }),
    at: {
      ...Time,
      description:
        'when the device sent this status; in `offline`, the will, when it connected: the broker has the text of the ' +
        'will from then on, and publishes it when the connection is lost',
    },
  },
  { ...closed, $id: 'swellsight.status/1', title: 'Status' },
);
export type Status = Static<typeof Status>;

/** `…/camera/{cam}/state`, retained. */
export const CameraState = Type.Object(
  {
    schema: Type.Literal('swellsight.camera_state/1'),
    camera: Type.String(),
    state: CameraCondition,
    reason: Nullable(
      Codes([...REASONS, ...Object.keys(STATE_REASONS)], {
        description:
          'why it is not up; `agent_stopped` after a clean stop of the agent, and on a broker that it has left',
      }),
    ),
    since: Time,
    last_frame_age_s: Nullable(
      Type.Number({
        minimum: 0,
        description: 'when this state was published; the heartbeat has the present age',
      }),
    ),
  },
  { ...closed, $id: 'swellsight.camera_state/1', title: 'CameraState' },
);
export type CameraState = Static<typeof CameraState>;

/** `…/model/state`, retained. */
export const ModelState = Type.Object(
  {
    schema: Type.Literal('swellsight.model_state/1'),
    active: Nullable(ModelRef),
    candidate: Nullable(ModelRef),
    previous: Nullable(ModelRef),
    phase: Type.String(),
    slots: Type.Object(
      {
        factory: Nullable(ModelRef),
        previous: Nullable(ModelRef),
        active: Nullable(ModelRef),
        candidate: Nullable(ModelRef),
      },
      closed,
    ),
    install: Type.Optional(Nullable(ModelInstall)),
    refused: Type.Optional(Type.Array(RefusedModel)),
    pinned: Type.Optional(
      Type.Boolean({ description: '`model.active` is set: this model is active, and installs are refused' }),
    ),
    trusted: Type.Optional(
      Type.Boolean({ description: 'the active model has a valid signature or is the shipped one' }),
    ),
    expiry_checked: Type.Optional(
      Type.Boolean({
        description:
          'false: the signatures of the active model may have expired before its install, because the clock of the device had ' +
          'never been synchronised',
      }),
    ),
  },
  { ...closed, $id: 'swellsight.model_state/1', title: 'ModelState' },
);
export type ModelState = Static<typeof ModelState>;

/** `…/info`, retained. */
export const Info = Type.Object(
  {
    schema: Type.Literal('swellsight.info/1'),
    site: Type.String(),
    device: Type.String(),
    session: Type.String(),
    boot_id: Type.String(),
    at: { ...Time, description: 'when this description last changed' },
    agent_version: Type.String(),
    node_version: Type.String(),
    time_zone: Type.String({ description: 'IANA name of the zone of the device, for cron and sun' }),
    hardware: Type.Object(
      {
        kind: Type.String(),
        arch: Type.String(),
        model: Nullable(Type.String()),
        cpu: Nullable(Type.String()),
        cores: Type.Integer({ minimum: 1 }),
        memory_mb: Type.Number(),
        accelerators: Type.Array(Type.String()),
        os: Nullable(Type.String()),
        board: Type.Optional(
          Nullable(Type.String({ description: 'such as raspberry_pi_5 or jetson_orin_nano' })),
        ),
        module: Type.Optional(Nullable(Type.String({ description: 'Jetson: part number and name' }))),
        soc: Type.Optional(Nullable(Type.String({ description: 'such as tegra234 or rk3588' }))),
        l4t: Type.Optional(Nullable(Type.String({ description: 'Jetson: version of Jetson Linux' }))),
        jetpack: Type.Optional(Nullable(Type.String())),
        compute_capability: Type.Optional(Nullable(Type.String({ description: 'Jetson: of its GPU' }))),
        page_size_bytes: Type.Optional(Nullable(Type.Integer({ minimum: 1 }))),
      },
      closed,
    ),
    providers: Type.Array(
      Type.Object(
        {
          provider: Type.String(),
          outcome: Type.String(),
          threads: Type.Integer(),
          median_ms: Nullable(Type.Number()),
          reason: Nullable(Type.String()),
        },
        closed,
      ),
    ),
    cameras: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          kind: Type.String(),
          schedule: Type.String(),
          time_zone: Type.String({ description: 'IANA name of the zone of this schedule' }),
          calibration_labels: Type.Integer({ minimum: 0 }),
          location: Type.Optional(
            Nullable(
              Type.Object(
                {
                  lat: Type.Number({ minimum: -90, maximum: 90 }),
                  lon: Type.Number({ minimum: -180, maximum: 180 }),
                },
                { ...closed, description: '`location` of the camera, for maps' },
              ),
            ),
          ),
        },
        closed,
      ),
    ),
    model: Nullable(ModelRef),
    capabilities: Type.Object(
      { commands: Type.Array(Type.String()), heads: Type.Array(Type.String()) },
      closed,
    ),
    config_digest: Type.String(),
    schemas: Type.Array(Type.String({ description: 'identifiers of the payload schemas of this agent' })),
  },
  { ...closed, $id: 'swellsight.info/1', title: 'Info' },
);
export type Info = Static<typeof Info>;

/** `…/event/{type}`: sent through the outbox, numbered by its own `seq`. */
export const Event = Type.Object(
  {
    schema: Type.Literal('swellsight.event/1'),
    id: Type.String({ format: 'uuid' }),
    seq: Type.Integer({ minimum: 1 }),
    store_id: Type.Optional(StoreId),
    at: Time,
    type: Codes(Object.keys(EVENT_TYPES)),
    severity: StringEnum(['info', 'warning', 'error']),
    code: Codes(EVENT_CODE_NAMES),
    message: Type.String(),
    context: Type.Record(Type.String(), Type.Unknown()),
  },
  { ...closed, $id: 'swellsight.event/1', title: 'Event' },
);
export type Event = Static<typeof Event>;

/** An event without the fields that the store adds. */
export type EventDraft = Omit<Event, 'schema' | 'id' | 'seq' | 'store_id' | 'at'>;
