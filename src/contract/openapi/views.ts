import { Type, type Static } from '@sinclair/typebox';
import { Health } from '../health.ts';
import { ModelInstall } from '../model.ts';
import { AnyErrorCode, Nullable, StringEnum, Time, closed } from '../schema-parts.ts';
import { CalibrationSummary, Failure, Observation } from '../observation.ts';
import { SeaStateRecord } from '../sea-state.ts';
import { CameraState, Info, ModelState, Status } from '../states.ts';

/** A problem document (RFC 9457) with the agent's stable code and a hint. */
export const Problem = Type.Object(
  {
    type: Type.String({ format: 'uri', description: '`urn:swellsight:error:` and the code' }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String({ maxLength: 500, description: 'what happened, without internal details' }),
    code: AnyErrorCode,
    hint: Type.String({ description: 'what a person can do about it' }),
  },
  { ...closed, title: 'Problem' },
);
export type Problem = Static<typeof Problem>;

const LinkView = Type.Object(
  {
    broker: Nullable(Type.String({ description: 'host:port' })),
    connected_since: Nullable(Time),
    protocol_version: Nullable(Type.Integer({ description: '4 is MQTT 3.1.1' })),
    faults: Health.properties.degraded,
    failure: Nullable(Failure),
  },
  { ...closed, description: 'the connection to the broker at this moment' },
);
export type LinkView = Readonly<Static<typeof LinkView>>;

export const AgentStatus = Type.Object(
  {
    status: Status.properties.state,
    info: Info,
    health: Health,
    model: ModelState,
    cameras: Type.Array(CameraState),
    sea_states: Type.Optional(
      Type.Array(SeaStateRecord, { description: 'the newest sea state of each camera that has one' }),
    ),
    calibrations: Type.Optional(
      Type.Array(Type.Object({ camera: Type.String(), ...CalibrationSummary.properties }, { ...closed }), {
        description: 'the calibration of each camera',
      }),
    ),
    link: Type.Optional(LinkView),
  },
  { ...closed, title: 'AgentStatus' },
);
/** The body of `GET /api/v1/status`. */
export type AgentStatus = Readonly<Static<typeof AgentStatus>>;

export const Live = Type.Object({ live: Type.Boolean() }, { ...closed, title: 'Live' });

const readiness = {
  ready: Type.Boolean(),
  missing: Type.Array(Type.String(), { description: 'missing parts: `model`, `store`' }),
};
export const Ready = Type.Object(readiness, { ...closed, title: 'Ready' });

const Condition = StringEnum(['ok', 'degraded', 'failed']);

export const Condensed = Type.Object(
  { status: Condition, degraded: Health.properties.degraded },
  { ...closed, title: 'Condition' },
);

export const HealthReport = Type.Object(
  { status: Condition, live: Type.Boolean(), ...readiness, health: Health },
  { ...closed, title: 'HealthReport' },
);

export const LogLines = Type.Object(
  { lines: Type.Array(Type.String({ description: 'a JSON object' })) },
  { ...closed, title: 'LogLines' },
);

const Corners = Type.Array(
  Type.Array(Type.Number({ minimum: 0, maximum: 1 }), { minItems: 2, maxItems: 2 }),
  {
    description: 'points [x, y], 0..1 of the frame from its top left',
  },
);

export const CameraView = Type.Object(
  {
    id: Type.String(),
    kind: Type.String(),
    schedule: Type.String({ description: 'human-readable' }),
    state: CameraState,
    next_run_at: Nullable(Time),
    latest: Nullable(Observation),
    sea_state: Type.Optional({ ...Nullable(SeaStateRecord), description: 'the newest one' }),
    calibration: CalibrationSummary,
    failure: Type.Optional({
      ...Nullable(Failure),
      description: 'why the newest observation has no frames, or fewer than wanted; null when it has all',
    }),
    truth: Type.Optional({
      ...Nullable(
        Type.Object({ height_m: Type.Number({ minimum: 0 }), period_s: Type.Number({ minimum: 0 }) }, closed),
      ),
      description: 'the sea of the newest frame of a simulated camera; null for others',
    }),
    time_zone: Type.Optional(Type.String({ description: 'IANA name of the zone of the schedule' })),
    location: Type.Optional(Nullable(Type.Object({ lat: Type.Number(), lon: Type.Number() }, closed))),
    units: Type.Optional(StringEnum(['metric', 'imperial'])),
    roi: Type.Optional({ ...Nullable(Corners), description: 'the region that the model sees; null: all' }),
    privacy_masks: Type.Optional(Type.Array(Corners)),
    shore_lines: Type.Optional(
      Type.Array(Corners, { description: '`seaState.lines`: each from the sea to the shore' }),
    ),
  },
  { ...closed, title: 'Camera' },
);
export type CameraView = Readonly<Static<typeof CameraView>>;

export const CameraList = Type.Object(
  { cameras: Type.Array(CameraView) },
  { ...closed, title: 'CameraList' },
);

export const LabelRecord = Type.Object(
  {
    observation_id: Type.String({ format: 'uuid' }),
    camera: Type.String(),
    height_m: Type.Number({ minimum: 0, maximum: 25 }),
    observer: Nullable(Type.String()),
    note: Nullable(Type.String()),
    height: Nullable(Type.Number({ description: 'what the person said; null: `height_m` itself' })),
    unit: Nullable(StringEnum(['m', 'ft'])),
    scale: Nullable(StringEnum(['face', 'hawaiian'])),
    tide_m: Nullable(Type.Number({ description: 'the tide at that time, metres; null: unknown' })),
    created_at: Time,
  },
  { ...closed, title: 'Label' },
);
export type LabelRecord = Readonly<Static<typeof LabelRecord>>;

export const LabelList = Type.Object({ labels: Type.Array(LabelRecord) }, { ...closed, title: 'LabelList' });

export const Calibrated = Type.Object(
  { calibration: CalibrationSummary },
  { ...closed, title: 'Calibrated', description: 'the current calibration' },
);

export const ObservationPage = Type.Object(
  {
    observations: Type.Array(Observation),
    cursor: Nullable(Type.String({ description: 'returns the next page; null at the end' })),
  },
  { ...closed, title: 'ObservationPage' },
);

export const SeaStatePage = Type.Object(
  { sea_states: Type.Array(SeaStateRecord), cursor: ObservationPage.properties.cursor },
  { ...closed, title: 'SeaStatePage' },
);

export const InstallBegun = Type.Object({ install: ModelInstall }, { ...closed, title: 'InstallBegun' });

export const About = Type.Object(
  {
    name: Type.Literal('swellsight'),
    version: Type.String(),
    about: Type.String(),
    docs: Type.String(),
    openapi: Type.String(),
    paths: Type.Array(Type.String()),
  },
  { ...closed, title: 'About' },
);
