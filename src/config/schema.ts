// Longer than 300 lines because it is the shape of the whole configuration.
import { Type, type Static } from '@sinclair/typebox';
import { MAX_EVERY_S } from '../base/cron-pattern.ts';
import type { LogLevelName } from '../contract/config.ts';
import { Id, StringEnum, closed } from '../contract/schema-parts.ts';
import { ConnectionSettings, type TlsSettings } from './connection-schema.ts';
import type { Headers } from './headers.ts';
import { GeometrySchema, type GeometrySettings } from './geometry-schema.ts';
import { seaStateSchema, type ShoreLine } from './sea-state-schema.ts';
import { secret } from './secret-kind.ts';

export type { GeometrySettings } from './geometry-schema.ts';

export const Polygon = Type.Array(
  Type.Tuple([Type.Number({ minimum: 0, maximum: 1 }), Type.Number({ minimum: 0, maximum: 1 })]),
  {
    minItems: 3,
    maxItems: 64,
    description: 'corners [x, y], 0..1 of the frame from its top left',
  },
);
export type Polygon = Static<typeof Polygon>;

/** True for a host that only this machine can reach. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|\[::1\])$/i.test(host);

export const CAMERA_KINDS = [
  'simulated',
  'rtsp',
  'hls',
  'http',
  'v4l2',
  'video',
  'directory',
  'command',
] as const;
export type CameraKind = (typeof CAMERA_KINDS)[number];

const TimeOfSun = StringEnum([
  'nightEnd',
  'nauticalDawn',
  'dawn',
  'sunrise',
  'sunset',
  'dusk',
  'nauticalDusk',
  'night',
]);
export type SunEvent = Static<typeof TimeOfSun>;

export const ScheduleSettings = Type.Partial(
  Type.Object(
    {
      cron: Type.String({ description: 'five fields; replaces everyS' }),
      everyS: Type.Number({
        minimum: 1,
        maximum: MAX_EVERY_S,
        description: 'seconds between observations; replaces cron',
      }),
      timezone: Type.String({
        description: 'IANA name, for cron and sun; default: the time zone of the system',
      }),
      sun: Type.Object(
        { from: TimeOfSun, to: TimeOfSun },
        { ...closed, description: 'observe only between these times; needs location' },
      ),
      jitterS: Type.Number({
        minimum: 0,
        maximum: 3600,
        description: 'adds a delay of 0..jitterS seconds, fixed for each device',
      }),
    },
    closed,
  ),
);
export type ScheduleSettings = Static<typeof ScheduleSettings>;

export const CameraSettings = Type.Object(
  {
    id: Type.String({
      ...Id,
      description: 'a level of its MQTT topics and a part of file names; 1 to 64 of A-Z a-z 0-9 _ . -',
    }),
    kind: StringEnum(CAMERA_KINDS, { description: 'how the agent gets frames' }),
    ...Type.Partial(
      Type.Object({
        url: Type.String({
          minLength: 1,
          description: 'address of the stream or image (rtsp, hls, http)',
          ...secret('address'),
        }),
        path: Type.String({ minLength: 1, description: 'v4l2 device, video file or directory' }),
        command: Type.Array(Type.String(), {
          minItems: 1,
          description: 'program and arguments; must write one image to stdout',
          ...secret('command'),
        }),
        username: Type.String({ minLength: 1, description: 'login (rtsp, hls, http)', ...secret('name') }),
        password: Type.String({
          description: 'the password of the login, may be empty; password_file is safer',
          ...secret('text'),
        }),
        password_file: Type.String({ minLength: 1, description: 'a file that holds the password' }),
        ...ConnectionSettings.properties,
        schedule: ScheduleSettings,
        burst: Type.Partial(
          Type.Object(
            {
              frames: Type.Integer({ minimum: 1, maximum: 20, description: 'frames per observation' }),
              intervalS: Type.Number({ minimum: 0, maximum: 300, description: 'seconds between two frames' }),
            },
            closed,
          ),
        ),
        timeoutS: Type.Number({
          exclusiveMinimum: 0,
          maximum: 300,
          description: 'longest wait for one frame, seconds',
        }),
        roi: Type.Unsafe<Polygon>({
          ...Polygon,
          description: 'the region that the model sees: corners [x, y], 0..1 of the frame from its top left',
        }),
        privacyMasks: Type.Array(Polygon, {
          maxItems: 32,
          description: 'polygons that are painted over before the frame is used',
        }),
        seaState: seaStateSchema(
          Type.Unsafe<ScheduleSettings>({
            ...ScheduleSettings,
            description: 'when a clip begins; default: every 1800 s, with timezone and sun of the schedule',
          }),
          Type.Unsafe<Polygon>({
            ...Polygon,
            description:
              'use only this part of the frame: corners [x, y], 0..1 of the frame from its top left',
          }),
        ),
        geometry: GeometrySchema,
        calibration: Type.Partial(
          Type.Object(
            {
              cameraHeightM: Type.Number({
                minimum: 0,
                maximum: 5000,
                description: 'metres above mean sea level',
              }),
              horizonRow: Type.Number({
                minimum: -1,
                maximum: 2,
                description: 'height of the horizon in the frame, 0..1 from its top',
              }),
              fovDeg: Type.Number({
                exclusiveMinimum: 0,
                maximum: 180,
                description: 'horizontal field of view, degrees',
              }),
              tiltDeg: Type.Number({ minimum: -90, maximum: 90, description: 'downward tilt, degrees' }),
            },
            {
              ...closed,
              description: 'geometry of the view; reserved for future models, not used yet',
            },
          ),
        ),
        location: Type.Object(
          {
            lat: Type.Number({ minimum: -90, maximum: 90, description: 'degrees north' }),
            lon: Type.Number({ minimum: -180, maximum: 180, description: 'degrees east' }),
          },
          { ...closed, description: 'location of the camera, for schedule.sun' },
        ),
        units: StringEnum(['metric', 'imperial'], {
          description: 'units for people; records always have both',
        }),
        transport: StringEnum(['auto', 'tcp', 'udp'], {
          description:
            'how frames come: auto tries TCP, then UDP, and keeps the one that works; default auto (rtsp)',
        }),
        recursive: Type.Boolean({
          description: 'directory: also read the images of subdirectories, to a depth of 8; default false',
        }),
        replay: StringEnum(['watch', 'once', 'loop'], {
          description:
            'directory: watch reads the newest file, once and loop read all in order; video: once stops at the end',
        }),
        simulation: Type.Partial(
          Type.Object(
            {
              seed: Type.Integer({ description: 'seed of the simulated sea' }),
              selfLabel: Type.Boolean({ description: 'label its bursts with the true height' }),
              speed: Type.Number({
                minimum: 1,
                maximum: 10_000,
                description: 'speed of changes of the simulated sea, relative to a real sea; default 3600',
              }),
            },
            closed,
          ),
        ),
      }),
    ).properties,
  },
  closed,
);

/** How the clips of a camera are taken. */
export interface SeaStateSettings {
  readonly schedule: ScheduleSettings;
  /** Frames per second. */
  readonly fps: number;
  readonly durationS: number;
  /** Null: a grid over the region. */
  readonly lines: readonly ShoreLine[] | null;
  /** Null: the whole frame. */
  readonly region: Polygon | null;
  readonly keepTimestacks: boolean;
}

/** A camera as written in the file. */
export type CameraInput = Static<typeof CameraSettings>;

/** A camera with all defaults, and secrets read from their files. */
export interface Camera {
  readonly id: string;
  readonly kind: CameraKind;
  readonly url: string | null;
  readonly path: string | null;
  readonly command: readonly string[] | null;
  readonly username: string | null;
  readonly password: string | null;
  /** HTTP request headers by name. The values are secret. */
  readonly headers: Headers;
  readonly tls: TlsSettings;
  /** How the packets of an RTSP stream come. */
  readonly transport: 'auto' | 'tcp' | 'udp';
  readonly schedule: ScheduleSettings;
  readonly burst: { readonly frames: number; readonly intervalS: number };
  readonly timeoutS: number;
  readonly roi: Polygon | null;
  readonly privacyMasks: readonly Polygon[];
  /** Clips for the wave period; null: none. */
  readonly seaState: SeaStateSettings | null;
  /** Place of the camera; null: unknown. File names are absolute. */
  readonly geometry: GeometrySettings | null;
  readonly location: { readonly lat: number; readonly lon: number } | null;
  readonly units: 'metric' | 'imperial';
  /** Only for `directory`. */
  readonly recursive: boolean;
  readonly replay: 'watch' | 'once' | 'loop';
  readonly simulation: { readonly seed: number; readonly selfLabel: boolean; readonly speed: number };
}

/** The whole configuration: validated, with secrets read from their files, frozen. */
export interface Settings {
  readonly site: string;
  readonly device: string;
  /** Absolute. */
  readonly stateDir: string;
  readonly logLevel: LogLevelName;
  readonly cameras: readonly Camera[];
  readonly mqtt: {
    /** Empty: use the embedded broker. */
    readonly url: readonly string[];
    readonly protocolVersion: 4 | 5;
    readonly clientId: string;
    readonly username: string | null;
    readonly password: string | null;
    /** Absolute path of the password file. The agent reads it again when it changes. */
    readonly passwordFile: string | null;
    /** Paths of PEM files. */
    readonly ca: string | null;
    readonly cert: string | null;
    readonly key: string | null;
    readonly base: string;
    /** Records per second; 0: no limit. */
    readonly backfillPerS: number;
    readonly homeAssistant: { readonly enabled: boolean; readonly prefix: string };
    readonly embedded: { readonly host: string; readonly port: number };
  };
  readonly model: {
    /** `name/version` in models/; null: the shipped model. */
    readonly active: string | null;
    readonly trustRoot: string | null;
    readonly repository: string | null;
    readonly allowUnsigned: boolean;
    /** Limit of a model download, kilobytes per second; null: no limit. */
    readonly maxKbPerS: number | null;
    readonly probation: { readonly observations: number; readonly minutes: number };
  };
  readonly update: {
    readonly trustRoot: string | null;
    readonly repository: string | null;
    readonly auto: boolean;
    /** Local times, `HH:MM`. */
    readonly window: { readonly from: string; readonly to: string };
    readonly probation: { readonly observations: number; readonly minutes: number };
  };
  /** Hosts that remote commands may give to cameras although a local camera has privacy masks; see `HostPattern`. */
  readonly remote: { readonly cameraHosts: readonly string[] };
  readonly inference: {
    readonly providers: 'auto' | readonly string[];
    readonly threads: 'auto' | number;
    readonly timeoutS: number;
    readonly maxRssMb: number;
  };
  readonly store: {
    readonly retentionDays: number;
    readonly maxMb: number;
    readonly outbox: { readonly maxMessages: number; readonly maxAgeDays: number; readonly maxMb: number };
  };
  readonly calibration: { readonly sessionHours: number };
  readonly heartbeat: { readonly intervalS: number };
  readonly health: {
    /** MiB per day; 0: no limit. */
    readonly maxWrittenMbDay: number;
    /** Largest factor of the interval between observations under heat or low power; 1: never slower. */
    readonly maxSlowdown: number;
  };
  readonly http: {
    readonly host: string;
    readonly port: number;
    readonly token: string | null;
    readonly cors: readonly string[];
    /** Host names that clients may use, besides those of the loopback; see `HostPattern`. */
    readonly allowedHosts: readonly string[];
    readonly maxUploadMb: number;
    readonly batchMax: number;
    readonly cacheTtlS: number;
    /** Requests per minute and client. */
    readonly rateLimit: number;
  };
}
