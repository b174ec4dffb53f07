import { CAMERA_STATES, type Health } from '../../contract/health.ts';
import type { Observation } from '../../contract/observation.ts';

export type Labels = Readonly<Record<string, string>>;
/** Values of one metric; null for what is not known, which gives no line at all. */
export type Sample = readonly [labels: Labels, value: number | null];

export interface HeartbeatMetric {
  /** After `swellsight_`. */
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (health: Health) => readonly Sample[];
}

const BYTES_PER_MB = 2 ** 20;
const DAY_S = 86_400;

const bytes = (mb: number | null): number | null => (mb === null ? null : mb * BYTES_PER_MB);
const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);
const flag = (yes: boolean | null): number | null => (yes === null ? null : Number(yes));
const time = (iso: string | null): number | null => (iso === null ? null : Date.parse(iso) / 1000);

function one(
  name: string,
  help: string,
  value: (health: Health) => number | null,
  type: 'gauge' | 'counter' = 'gauge',
): HeartbeatMetric {
  return { name, type, help, labels: [], samples: (health) => [[{}, value(health)]] };
}

function each(
  name: string,
  help: string,
  value: (camera: Health['cameras'][number]) => number | null,
): HeartbeatMetric {
  const samples = ({ cameras }: Health): Sample[] =>
    cameras.map((camera) => [{ camera: camera.id }, value(camera)]);
  return { name, type: 'gauge', help, labels: ['camera'], samples };
}

/** What the heartbeat knows, in base units. Labels are bounded by the configuration and by lists in the code. */
export const HEARTBEAT_METRICS: readonly HeartbeatMetric[] = [
  one('heartbeat_timestamp_seconds', 'Unix time of the heartbeat that the values come from.', ({ at }) =>
    time(at),
  ),
  one('uptime_seconds', 'How long the agent has been running.', (health) => health.uptime_s),
  one('load1', 'Load average of the machine over one minute.', ({ cpu }) => cpu.load1),
  one('cpu_temperature_celsius', 'Temperature of the processor.', ({ cpu }) => cpu.temp_c),
  one('cpu_throttled', '1 while the processor is slowed down by heat or voltage.', ({ cpu }) =>
    flag(cpu.throttled),
  ),
  one('vision_resident_memory_bytes', 'Resident memory of the vision process.', ({ memory }) =>
    bytes(memory.vision_rss_mb),
  ),
  one('memory_available_bytes', 'Memory that is left, for the machine or within the cgroup.', ({ memory }) =>
    bytes(memory.free_mb),
  ),
  one('disk_available_bytes', 'Free space where the state is kept.', ({ disk }) => bytes(disk.free_mb)),
  one('disk_used_ratio', 'Used part of that file system, 0 to 1.', ({ disk }) =>
    disk.used_pct === null ? null : disk.used_pct / 100,
  ),
  one(
    'disk_written_bytes_per_second',
    'Bytes written to the disk, as the average of the last day at most.',
    ({ disk }) => (disk.written_mb_day === null ? null : (disk.written_mb_day * BYTES_PER_MB) / DAY_S),
  ),
  one('clock_synced', '1 while a time source keeps the clock.', ({ clock }) => flag(clock.synced)),
  one(
    'clock_offset_seconds',
    'What is still being corrected; positive when the clock is behind.',
    ({ clock }) => seconds(clock.offset_ms),
  ),
  one(
    'link_connected_timestamp_seconds',
    'Unix time since when the broker is connected; absent without a link.',
    ({ link }) => time(link.connected_since),
  ),
  one('link_round_trip_seconds', 'Time to the acknowledgement of the last message.', ({ link }) =>
    seconds(link.rtt_ms),
  ),
  one('link_reconnects_last_hour', 'Reconnections within the last hour.', ({ link }) => link.reconnects_1h),
  one(
    'inference_failures_last_hour',
    'Analyses that failed within the last hour.',
    ({ inference }) => inference.failures_1h,
  ),
  one(
    'vision_restarts_total',
    'Restarts of the vision process.',
    ({ inference }) => inference.restarts,
    'counter',
  ),
  {
    name: 'inference_latency_seconds',
    type: 'gauge',
    help: 'Time of one analysis: median and 95th percentile of the last ones.',
    labels: ['percentile'],
    samples: ({ inference }) => [
      [{ percentile: '50' }, seconds(inference.p50_ms)],
      [{ percentile: '95' }, seconds(inference.p95_ms)],
    ],
  },
  {
    name: 'model_info',
    type: 'gauge',
    help: 'The model that runs, and on what; always 1.',
    labels: ['name', 'version', 'digest', 'phase', 'provider'],
    samples: ({ model, inference }) => [
      [
        {
          name: model.name ?? '',
          version: model.version ?? '',
          digest: model.digest ?? '',
          phase: model.phase,
          provider: inference.provider ?? '',
        },
        model.name === null ? null : 1,
      ],
    ],
  },
  {
    name: 'degraded',
    type: 'gauge',
    help: 'A line of 1 for each reason why the agent is not quite well; none when all is well.',
    labels: ['code'],
    samples: ({ degraded }) => degraded.map((code) => [{ code }, 1]),
  },
  {
    name: 'camera_state',
    type: 'gauge',
    help: '1 for the state that the camera is in, 0 for the others.',
    labels: ['camera', 'state'],
    samples: ({ cameras }) =>
      cameras.flatMap(({ id, state }) =>
        CAMERA_STATES.map((possible): Sample => [
          { camera: id, state: possible },
          Number(possible === state),
        ]),
      ),
  },
  each(
    'camera_last_frame_age_seconds',
    'Age of the newest frame at the heartbeat.',
    (camera) => camera.last_frame_age_s,
  ),
  each(
    'camera_failures_last_hour',
    'Captures that failed within the last hour.',
    (camera) => camera.failures_1h,
  ),
  each('camera_next_run_timestamp_seconds', 'Unix time of the next slot.', (camera) =>
    time(camera.next_run_at),
  ),
];

/** What the newest record of a camera measured, by metric name. */
export const READINGS = {
  wave_height_meters: [
    'Significant wave height of the newest record.',
    ({ wave }: Observation) => wave.height_m,
  ],
  wave_height_low_meters: [
    'Lower end of the interval of the height.',
    ({ wave }: Observation) => wave.height_low_m,
  ],
  wave_height_high_meters: [
    'Upper end of the interval of the height.',
    ({ wave }: Observation) => wave.height_high_m,
  ],
  wave_period_seconds: ['Wave period of the newest record.', ({ wave }: Observation) => wave.period_s],
  image_quality_ratio: ['Quality of the newest frames, 0 to 1.', ({ quality }: Observation) => quality.score],
} as const;
