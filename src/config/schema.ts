import { Type, type Static } from '@sinclair/typebox';
import { Id } from '../contract/nullable.ts';

const closed = { additionalProperties: false } as const;

export const Polygon = Type.Array(
  Type.Tuple([Type.Number({ minimum: 0, maximum: 1 }), Type.Number({ minimum: 0, maximum: 1 })]),
  {
    minItems: 3,
    maxItems: 64,
    description: 'corners [x, y], 0..1 of the frame from its top left',
  },
);
export type Polygon = Static<typeof Polygon>;

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

const TimeOfSun = Type.Unsafe<SunEvent>({
  type: 'string',
  enum: ['nightEnd', 'nauticalDawn', 'dawn', 'sunrise', 'sunset', 'dusk', 'nauticalDusk', 'night'],
});
export type SunEvent =
  'nightEnd' | 'nauticalDawn' | 'dawn' | 'sunrise' | 'sunset' | 'dusk' | 'nauticalDusk' | 'night';

export const ScheduleSettings = Type.Object(
  {
    cron: Type.Optional(Type.String({ description: 'five fields; instead of everyS' })),
    everyS: Type.Optional(
      Type.Number({
        minimum: 1,
        maximum: 86_400,
        description: 'seconds between observations; instead of cron',
      }),
    ),
    timezone: Type.Optional(
      Type.String({ description: 'IANA name, for cron and sun; the system zone otherwise' }),
    ),
    sun: Type.Optional(
      Type.Object(
        { from: TimeOfSun, to: TimeOfSun },
        { ...closed, description: 'only between these; needs location' },
      ),
    ),
    jitterS: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 3600,
        description: 'a fixed delay of this device within 0..jitterS',
      }),
    ),
  },
  closed,
);
export type ScheduleSettings = Static<typeof ScheduleSettings>;

export const CameraSettings = Type.Object(
  {
    id: Type.String({
      ...Id,
      description: 'a level of its topics, and a part of file names; 1 to 64 of A-Z a-z 0-9 _ . -',
    }),
    kind: Type.Unsafe<CameraKind>({
      type: 'string',
      enum: [...CAMERA_KINDS],
      description: 'how its frames are fetched',
    }),
    url: Type.Optional(Type.String({ minLength: 1, description: 'rtsp, hls, http' })),
    path: Type.Optional(Type.String({ minLength: 1, description: 'v4l2 device, video file, directory' })),
    command: Type.Optional(
      Type.Array(Type.String(), {
        minItems: 1,
        description: 'program and arguments; writes one image to stdout',
      }),
    ),
    username: Type.Optional(Type.String({ minLength: 1, description: 'rtsp, hls, http' })),
    password: Type.Optional(Type.String({ minLength: 1, description: 'better in a file' })),
    password_file: Type.Optional(
      Type.String({ minLength: 1, description: 'a file that holds the password' }),
    ),
    schedule: Type.Optional(ScheduleSettings),
    burst: Type.Optional(
      Type.Object(
        {
          frames: Type.Optional(
            Type.Integer({ minimum: 1, maximum: 20, description: 'frames of one observation' }),
          ),
          intervalS: Type.Optional(
            Type.Number({ minimum: 0, maximum: 300, description: 'seconds between them' }),
          ),
        },
        closed,
      ),
    ),
    timeoutS: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 300,
        description: 'the longest wait for any one frame, seconds',
      }),
    ),
    roi: Type.Optional(
      Type.Unsafe<Polygon>({
        ...Polygon,
        description:
          'the region that the model looks at: corners [x, y], 0..1 of the frame from its top left',
      }),
    ),
    privacyMasks: Type.Optional(
      Type.Array(Polygon, {
        maxItems: 32,
        description: 'polygons that are painted over before anything else sees the frame',
      }),
    ),
    calibration: Type.Optional(
      Type.Object(
        {
          cameraHeightM: Type.Optional(
            Type.Number({ minimum: 0, maximum: 5000, description: 'metres above mean sea level' }),
          ),
          horizonRow: Type.Optional(
            Type.Number({
              minimum: -1,
              maximum: 2,
              description: 'of the horizon, 0..1 of the frame from its top',
            }),
          ),
          fovDeg: Type.Optional(
            Type.Number({ exclusiveMinimum: 0, maximum: 180, description: 'horizontal field of view' }),
          ),
          tiltDeg: Type.Optional(
            Type.Number({ minimum: -90, maximum: 90, description: 'downwards from level' }),
          ),
        },
        {
          ...closed,
          description: 'the geometry of the view, kept for models that ask for it; none does yet',
        },
      ),
    ),
    location: Type.Optional(
      Type.Object(
        {
          lat: Type.Number({ minimum: -90, maximum: 90, description: 'degrees north' }),
          lon: Type.Number({ minimum: -180, maximum: 180, description: 'degrees east' }),
        },
        { ...closed, description: 'where it stands; for schedule.sun' },
      ),
    ),
    units: Type.Optional(
      Type.Unsafe<'metric' | 'imperial'>({
        type: 'string',
        enum: ['metric', 'imperial'],
        description: 'for people on its page; records always carry both',
      }),
    ),
    replay: Type.Optional(
      Type.Unsafe<'watch' | 'once' | 'loop'>({
        type: 'string',
        enum: ['watch', 'once', 'loop'],
        description: 'directory: newest file, or all in order',
      }),
    ),
    simulation: Type.Optional(
      Type.Object(
        {
          seed: Type.Optional(Type.Integer({ description: 'another seed, another sea' })),
          selfLabel: Type.Optional(
            Type.Boolean({ description: 'label its own bursts with the known truth' }),
          ),
          speed: Type.Optional(
            Type.Number({
              minimum: 1,
              maximum: 10_000,
              description: 'how many times faster than real its sea changes; 600 when not set',
            }),
          ),
        },
        closed,
      ),
    ),
  },
  closed,
);

/** A camera as it stands in the file. */
export type CameraInput = Static<typeof CameraSettings>;

/** A camera with every default filled in and secrets read. */
export interface Camera {
  readonly id: string;
  readonly kind: CameraKind;
  readonly url: string | null;
  readonly path: string | null;
  readonly command: readonly string[] | null;
  readonly username: string | null;
  readonly password: string | null;
  readonly schedule: ScheduleSettings;
  readonly burst: { readonly frames: number; readonly intervalS: number };
  readonly timeoutS: number;
  readonly roi: Polygon | null;
  readonly privacyMasks: readonly Polygon[];
  readonly location: { readonly lat: number; readonly lon: number } | null;
  readonly units: 'metric' | 'imperial';
  readonly replay: 'watch' | 'once' | 'loop';
  readonly simulation: { readonly seed: number; readonly selfLabel: boolean; readonly speed: number };
}

/** The whole configuration, validated, secrets read from their files. Frozen. */
export interface Settings {
  readonly site: string;
  readonly device: string;
  /** Absolute. */
  readonly stateDir: string;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly cameras: readonly Camera[];
  readonly mqtt: {
    /** Empty means the embedded broker. */
    readonly url: readonly string[];
    readonly protocolVersion: 4 | 5;
    readonly clientId: string;
    readonly username: string | null;
    readonly password: string | null;
    /** Absolute path of the file that the password came from: it is read again when it changes. */
    readonly passwordFile: string | null;
    /** Paths of PEM files. */
    readonly ca: string | null;
    readonly cert: string | null;
    readonly key: string | null;
    readonly base: string;
    /** Records a second; 0: no limit. */
    readonly backfillPerS: number;
    readonly homeAssistant: { readonly enabled: boolean; readonly prefix: string };
    /** Where the embedded broker listens. */
    readonly embedded: { readonly host: string; readonly port: number };
  };
  readonly model: {
    /** `name/version` below models/, or null for the shipped one. */
    readonly active: string | null;
    readonly trustRoot: string | null;
    readonly repository: string | null;
    readonly allowUnsigned: boolean;
    /** kB a second that a model may take of the link; null: no limit. */
    readonly maxKbPerS: number | null;
    readonly probation: { readonly observations: number; readonly minutes: number };
  };
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
  readonly heartbeat: { readonly intervalS: number };
  readonly http: {
    readonly host: string;
    readonly port: number;
    readonly token: string | null;
    readonly cors: readonly string[];
    readonly maxUploadMb: number;
    readonly batchMax: number;
    readonly cacheTtlS: number;
    /** Requests a minute and client. */
    readonly rateLimit: number;
  };
}
