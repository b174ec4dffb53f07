import { CAMERA_STATES, type Health } from '../../contract/health.ts';
import type { Observation } from '../../contract/observation.ts';
import type { SeaStateRecord } from '../../contract/sea-state.ts';

export type MetricLabels = Readonly<Record<string, string>>;
/** One value of a metric. A metric with null, an unknown value, is absent. */
export type MetricSample = readonly [labels: MetricLabels, value: number | null];

export interface HeartbeatMetric {
  /** Without the prefix `swellsight_`. */
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (health: Health) => readonly MetricSample[];
}

const BYTES_PER_MB = 2 ** 20;
const DAY_S = 86_400;

const toBytes = (mb: number | null): number | null => (mb === null ? null : mb * BYTES_PER_MB);
const toSeconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);
const toFlag = (value: boolean | null): number | null => (value === null ? null : Number(value));
const toUnixTimeS = (iso: string | null): number | null => (iso === null ? null : Date.parse(iso) / 1000);

function deviceMetric(
  name: string,
  help: string,
  value: (health: Health) => number | null,
  type: 'gauge' | 'counter' = 'gauge',
): HeartbeatMetric {
  return { name, type, help, labels: [], samples: (health) => [[{}, value(health)]] };
}

function cameraMetric(
  name: string,
  help: string,
  value: (camera: Health['cameras'][number]) => number | null,
): HeartbeatMetric {
  const samples = ({ cameras }: Health): MetricSample[] =>
    cameras.map((camera) => [{ camera: camera.id }, value(camera)]);
  return { name, type: 'gauge', help, labels: ['camera'], samples };
}

/** Metrics of the heartbeat, in base units. The configuration and lists in the code bound their labels. */
export const HEARTBEAT_METRICS: readonly HeartbeatMetric[] = [
  deviceMetric('heartbeat_timestamp_seconds', 'Unix time of the heartbeat that gave the values.', ({ at }) =>
    toUnixTimeS(at),
  ),
  deviceMetric('uptime_seconds', 'Time since the start of the agent.', (health) => health.uptime_s),
  deviceMetric('load1', 'Load average of the machine over one minute.', ({ cpu }) => cpu.load1),
  deviceMetric('cpu_temperature_celsius', 'Temperature of the processor.', ({ cpu }) => cpu.temp_c),
  deviceMetric(
    'cpu_throttled',
    '1 while the board throttles the processor, or its voltage is too low.',
    ({ cpu }) => toFlag(cpu.throttled),
  ),
  deviceMetric('under_voltage', '1 while the supply voltage of the board is too low.', ({ power }) =>
    toFlag(power?.under_voltage ?? null),
  ),
  deviceMetric(
    'capture_slowdown_factor',
    'Cameras with an interval schedule observe every n-th slot.',
    ({ capture }) => capture?.slowdown ?? null,
  ),
  deviceMetric('vision_resident_memory_bytes', 'Resident memory of the vision process.', ({ memory }) =>
    toBytes(memory.vision_rss_mb),
  ),
  deviceMetric(
    'memory_available_bytes',
    'Available memory of the machine, or within the cgroup.',
    ({ memory }) => toBytes(memory.free_mb),
  ),
  deviceMetric(
    'disk_available_bytes',
    'Free space of the file system with the state directory.',
    ({ disk }) => toBytes(disk.free_mb),
  ),
  deviceMetric('disk_used_ratio', 'Used part of that file system, 0 to 1.', ({ disk }) =>
    disk.used_pct === null ? null : disk.used_pct / 100,
  ),
  deviceMetric(
    'disk_written_bytes_per_second',
    'Bytes written to the disk, on average over at most the last day.',
    ({ disk }) => (disk.written_mb_day === null ? null : (disk.written_mb_day * BYTES_PER_MB) / DAY_S),
  ),
  deviceMetric(
    'disk_life_used_ratio',
    'Used part of the expected life of the eMMC, 0.1 to 1.1.',
    ({ disk }) => (disk.life_used_pct == null ? null : disk.life_used_pct / 100),
  ),
  deviceMetric('clock_synced', '1 while the clock is synchronised with a time source.', ({ clock }) =>
    toFlag(clock.synced),
  ),
  deviceMetric(
    'clock_offset_seconds',
    'Offset of the clock that is still being corrected; positive when the clock is behind.',
    ({ clock }) => toSeconds(clock.offset_ms),
  ),
  deviceMetric(
    'link_connected_timestamp_seconds',
    'Unix time of the connection to the broker; absent without a connection.',
    ({ link }) => toUnixTimeS(link.connected_since),
  ),
  deviceMetric(
    'link_round_trip_seconds',
    'Time until the broker acknowledged the last message.',
    ({ link }) => toSeconds(link.rtt_ms),
  ),
  deviceMetric(
    'link_reconnects_last_hour',
    'Reconnections within the last hour.',
    ({ link }) => link.reconnects_1h,
  ),
  deviceMetric(
    'inference_failures_last_hour',
    'Analyses that failed within the last hour.',
    ({ inference }) => inference.failures_1h,
  ),
  deviceMetric(
    'vision_restarts_total',
    'Restarts of the vision process.',
    ({ inference }) => inference.restarts,
    'counter',
  ),
  {
    name: 'inference_latency_seconds',
    type: 'gauge',
    help: 'Time of one analysis: median and 95th percentile of the latest ones.',
    labels: ['percentile'],
    samples: ({ inference }) => [
      [{ percentile: '50' }, toSeconds(inference.p50_ms)],
      [{ percentile: '95' }, toSeconds(inference.p95_ms)],
    ],
  },
  {
    name: 'model_info',
    type: 'gauge',
    help: 'The active model and its execution provider; always 1.',
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
    help: '1 for each reason why the agent is degraded; absent when everything is normal.',
    labels: ['code'],
    samples: ({ degraded }) => degraded.map((code) => [{ code }, 1]),
  },
  {
    name: 'camera_state',
    type: 'gauge',
    help: '1 for the current state of the camera, 0 for the others.',
    labels: ['camera', 'state'],
    samples: ({ cameras }) =>
      cameras.flatMap(({ id, state }) =>
        CAMERA_STATES.map((possible): MetricSample => [
          { camera: id, state: possible },
          Number(possible === state),
        ]),
      ),
  },
  cameraMetric(
    'camera_last_frame_age_seconds',
    'Age of the newest frame at the heartbeat.',
    (camera) => camera.last_frame_age_s,
  ),
  cameraMetric(
    'camera_failures_last_hour',
    'Captures that failed within the last hour.',
    (camera) => camera.failures_1h,
  ),
  cameraMetric('camera_next_run_timestamp_seconds', 'Unix time of the next slot.', (camera) =>
    toUnixTimeS(camera.next_run_at),
  ),
];

/** Metrics of the newest record of a camera, by name. */
export const READINGS = {
  wave_height_meters: ['Significant wave height of the newest record.', ({ wave }) => wave.height_m],
  wave_height_low_meters: ['Lower bound of the height interval.', ({ wave }) => wave.height_low_m],
  wave_height_high_meters: ['Upper bound of the height interval.', ({ wave }) => wave.height_high_m],
  wave_period_seconds: ['Wave period of the newest record.', ({ wave }) => wave.period_s],
  wave_period_low_seconds: ['Lower bound of the period interval.', ({ wave }) => wave.period_low_s ?? null],
  wave_period_high_seconds: ['Upper bound of the period interval.', ({ wave }) => wave.period_high_s ?? null],
  camera_simulated: [
    '1 for a simulated camera, whose values are no measurements of a sea.',
    ({ simulated }) => toFlag(simulated ?? null),
  ],
  image_quality_ratio: ['Quality of the newest frames, 0 to 1.', ({ quality }) => quality.score],
} as const satisfies Record<string, readonly [help: string, value: (newest: Observation) => number | null]>;

/** Metrics of the newest sea state of a camera, by name. */
export const SEA_STATE_READINGS = {
  sea_state_timestamp_seconds: [
    'Unix time of the start of the newest clip.',
    (s) => toUnixTimeS(s.captured_at),
  ],
  sea_state_peak_period_seconds: ['Peak period that the newest clip gave.', ({ period }) => period.peak_s],
  sea_state_energy_period_seconds: ['Energy period of the newest clip.', ({ period }) => period.energy_s],
  sea_state_second_period_seconds: ['Period of a second wave train in it.', ({ period }) => period.second_s],
  white_water_ratio: ['Share of white water in the zone of breaking waves.', (s) => s.breaking.white_share],
  breakers_per_minute: ['Breaking waves in a minute.', (s) => s.breaking.per_minute],
  breaker_height_meters: ['Significant breaker height of the newest clip.', (s) => s.breaker.height_m],
  breaker_height_low_meters: ['Lower bound of the interval of this height.', (s) => s.breaker.low_m],
  breaker_height_high_meters: ['Upper bound of the interval of this height.', (s) => s.breaker.high_m],
  tide_meters: ['Level of the water that the newest clip used.', (s) => s.breaker.tide_m],
} as const satisfies Record<
  string,
  readonly [help: string, value: (newest: SeaStateRecord) => number | null]
>;
