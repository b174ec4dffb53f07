import { CAMERA_STATES } from '../../contract/health.ts';
import type { HomeAssistantComponent } from '../../contract/home-assistant.ts';
import { BREAKING_TYPES, DIRECTIONS } from '../../contract/observation.ts';
import type { Topics } from '../topics.ts';

export interface ClipFacts {
  /** After this time, the period and the other values of a clip are out of date, seconds. */
  readonly maxAgeS: number;
  /** Whether the camera has `geometry`, without which there is no height of breakers. */
  readonly hasGeometry: boolean;
}

/** The facts about the device that its entities depend on. */
export interface DiscoveryInput {
  readonly site: string;
  readonly device: string;
  readonly version: string;
  /** Hardware model, such as `Raspberry Pi 4 Model B`; null when unknown. */
  readonly model: string | null;
  readonly cameras: readonly string[];
  /** What discovery needs to know about the clips of each camera that takes clips. */
  readonly clips: Readonly<Record<string, ClipFacts>>;
  /** Names of the commands that the device accepts. Only these get buttons. */
  readonly commands: readonly string[];
  readonly heartbeatIntervalS: number;
  /** The web page of the device; null when other machines cannot reach it. */
  readonly pageUrl: string | null;
}

/** An entity without its `unique_id`. */
export type EntityDraft = Omit<Extract<HomeAssistantComponent, { readonly unique_id: string }>, 'unique_id'>;
type Entry = readonly [componentId: string, entity: EntityDraft];

const DIAGNOSTIC = { entity_category: 'diagnostic' } as const;
const MEASUREMENT = { state_class: 'measurement' } as const;
const METRES = {
  ...MEASUREMENT,
  device_class: 'distance',
  unit_of_measurement: 'm',
  suggested_display_precision: 1,
};
const SECONDS = { ...MEASUREMENT, device_class: 'duration', unit_of_measurement: 's' };
const MILLISECONDS = { ...SECONDS, unit_of_measurement: 'ms' };
/** `_mb` in the contract means 2^20 bytes. */
const MEBIBYTES = { ...MEASUREMENT, device_class: 'data_size', unit_of_measurement: 'MiB' };
const PERCENT = { ...MEASUREMENT, unit_of_measurement: '%' };
const CELSIUS = { ...MEASUREMENT, device_class: 'temperature', unit_of_measurement: '°C' };
/** A command that a button sent expires after this time. */
const BUTTON_EXPIRY_S = 120;

/** The sensors, the model and the restart button of the device. */
export function* deviceEntities(input: DiscoveryInput, topics: Topics): Generator<Entry> {
  const health = topics.absolute('health');
  const expire_after = 3 * input.heartbeatIntervalS;
  const healthSensor = (id: string, name: string, value: string, more: Partial<EntityDraft>): Entry =>
    sensor(id, name, health, value, { expire_after, ...DIAGNOSTIC, ...more });
  yield healthSensor('cpu_temperature', 'CPU temperature', 'value_json.cpu.temp_c', CELSIUS);
  yield healthSensor('load', 'Load', 'value_json.cpu.load1', { ...MEASUREMENT, icon: 'mdi:gauge' });
  yield healthSensor('memory', 'Memory', 'value_json.memory.rss_mb', MEBIBYTES);
  yield healthSensor('vision_memory', 'Vision memory', 'value_json.memory.vision_rss_mb', MEBIBYTES);
  yield healthSensor('memory_free', 'Memory free', 'value_json.memory.free_mb', MEBIBYTES);
  yield healthSensor('disk_free', 'Disk free', 'value_json.disk.free_mb', MEBIBYTES);
  yield healthSensor('disk_used', 'Disk used', 'value_json.disk.used_pct', {
    ...PERCENT,
    icon: 'mdi:harddisk',
  });
  yield healthSensor('outbox', 'Outbox', 'value_json.outbox.depth', {
    ...MEASUREMENT,
    icon: 'mdi:tray-full',
  });
  yield healthSensor('outbox_age', 'Outbox oldest', 'value_json.outbox.oldest_age_s', SECONDS);
  yield healthSensor('outbox_dropped', 'Outbox dropped', 'value_json.outbox.dropped_total', {
    state_class: 'total_increasing',
    icon: 'mdi:tray-remove',
  });
  yield healthSensor('inference', 'Inference', 'value_json.inference.p50_ms', MILLISECONDS);
  yield healthSensor('link_round_trip', 'Link round trip', 'value_json.link.rtt_ms', MILLISECONDS);
  yield healthSensor('link_reconnects', 'Link reconnects in the last hour', 'value_json.link.reconnects_1h', {
    ...MEASUREMENT,
    icon: 'mdi:lan-pending',
  });
  yield healthSensor('started', 'Started', '', { device_class: 'timestamp', value_template: STARTED });
  const degraded: EntityDraft = {
    platform: 'binary_sensor',
    name: 'Degraded',
    device_class: 'problem',
    state_topic: health,
    value_template: "{{ 'ON' if value_json.degraded else 'OFF' }}",
    json_attributes_topic: health,
    json_attributes_template: "{{ {'codes': value_json.degraded} | tojson }}",
    expire_after,
    ...DIAGNOSTIC,
  };
  yield ['degraded', degraded];
  const modelState = topics.absolute('model/state');
  yield ['model', { platform: 'update', name: 'Model', state_topic: modelState, value_template: MODEL }];
  if (!input.commands.includes('restart')) return;
  const restart = button('Restart', 'restart', {}, topics);
  yield ['restart', { ...restart, device_class: 'restart', entity_category: 'config' }];
}

/** The sensors, the image and the buttons of one camera. */
export function* cameraEntities(camera: string, input: DiscoveryInput, topics: Topics): Generator<Entry> {
  const latest = topics.absolute(`camera/${camera}/latest`);
  const cameraSensor = (id: string, name: string, value: string, more: Partial<EntityDraft>): Entry =>
    sensor(`${camera}.${id}`, `${camera} ${name}`, latest, value, more);
  const enumOf = (options: readonly string[]): Partial<EntityDraft> => ({
    device_class: 'enum',
    options: [...options],
  });
  const height = { ...METRES, icon: 'mdi:waves' };
  yield cameraSensor('height', 'wave height', 'value_json.wave.height_m', height);
  yield cameraSensor('height_low', 'wave height low', 'value_json.wave.height_low_m', height);
  yield cameraSensor('height_high', 'wave height high', 'value_json.wave.height_high_m', height);
  yield* periodEntities(camera, input, topics);
  yield cameraSensor('direction', 'wave direction', 'value_json.wave.direction', enumOf(DIRECTIONS));
  yield cameraSensor('breaking', 'breaking type', 'value_json.wave.breaking_type', enumOf(BREAKING_TYPES));
  yield cameraSensor('quality', 'image quality', toPercent('value_json.quality.score'), {
    ...PERCENT,
    icon: 'mdi:image-check',
  });
  yield cameraSensor('confidence', 'confidence', toPercent('value_json.wave.confidence.overall'), {
    ...PERCENT,
    icon: 'mdi:shield-check',
  });
  yield cameraSensor('observation', 'observation', 'value_json.status', {
    ...enumOf(['measured', 'rejected', 'failed', 'skipped']),
    json_attributes_topic: latest,
    json_attributes_template: OBSERVATION_ATTRIBUTES,
  });
  yield cameraSensor('observed', 'observed', 'value_json.captured_at', {
    device_class: 'timestamp',
    ...DIAGNOSTIC,
  });
  yield cameraSensor('state', 'camera', 'value_json.state', {
    ...enumOf(CAMERA_STATES),
    ...DIAGNOSTIC,
    state_topic: topics.absolute(`camera/${camera}/state`),
    icon: 'mdi:cctv',
  });
  const inHeartbeat = `value_json.cameras | selectattr('id', 'eq', '${camera}')`;
  const frameAge = `${inHeartbeat} | map(attribute='last_frame_age_s') | first | default(none)`;
  yield cameraSensor('frame_age', 'last frame age', frameAge, {
    ...SECONDS,
    ...DIAGNOSTIC,
    state_topic: topics.absolute('health'),
    expire_after: 3 * input.heartbeatIntervalS,
  });
  if (input.commands.includes('capture')) {
    const capture = button(`${camera} capture`, 'capture', { camera }, topics);
    yield [`${camera}.capture`, { ...capture, icon: 'mdi:camera' }];
  }
  if (!input.commands.includes('image')) return;
  const image_topic = topics.absolute(`camera/${camera}/image`);
  yield [
    `${camera}.image`,
    { platform: 'image', name: `${camera} image`, image_topic, content_type: 'image/jpeg' },
  ];
  const sendImage = button(`${camera} send image`, 'image', { camera, annotate: true }, topics);
  yield [`${camera}.take_image`, { ...sendImage, icon: 'mdi:image-sync' }];
}

/** The period that observations carry, and what else the clips of the camera give. */
function* periodEntities(camera: string, input: DiscoveryInput, topics: Topics): Generator<Entry> {
  const facts = input.clips[camera];
  const expiry = facts === undefined ? {} : { expire_after: facts.maxAgeS };
  const sensorOf = (topic: string) => (id: string, name: string, value: string, more: Partial<EntityDraft>) =>
    sensor(`${camera}.${id}`, `${camera} ${name}`, topics.absolute(`camera/${camera}/${topic}`), value, {
      ...more,
      ...expiry,
    });
  const seconds = { ...SECONDS, suggested_display_precision: 1 };
  const latest = sensorOf('latest');
  yield latest('period', 'wave period', 'value_json.wave.period_s', seconds);
  if (facts === undefined) return;
  yield latest('period_low', 'wave period low', 'value_json.wave.period_low_s | default(none)', seconds);
  yield latest('period_high', 'wave period high', 'value_json.wave.period_high_s | default(none)', seconds);
  const clip = sensorOf('sea_state/latest');
  yield clip('second_period', 'second wave period', 'value_json.period.second_s', seconds);
  if (facts.hasGeometry) {
    const height = { ...METRES, icon: 'mdi:wave-arrow-up' };
    yield clip('breaker_height', 'breaker height', 'value_json.breaker.height_m', height);
    yield clip('breaker_height_low', 'breaker height low', 'value_json.breaker.low_m', height);
    yield clip('breaker_height_high', 'breaker height high', 'value_json.breaker.high_m', height);
    yield clip('tide', 'tide', 'value_json.breaker.tide_m', { ...METRES, icon: 'mdi:waves-arrow-up' });
  }
  yield clip('breakers', 'breaking waves', 'value_json.breaking.per_minute', {
    ...MEASUREMENT,
    unit_of_measurement: '1/min',
    suggested_display_precision: 1,
    icon: 'mdi:waves-arrow-right',
  });
  yield clip('white_water', 'white water', toPercent('value_json.breaking.white_share'), {
    ...PERCENT,
    icon: 'mdi:waves',
  });
  yield clip('set_interval', 'time between sets', 'value_json.breaking.set_interval_s', {
    ...SECONDS,
    suggested_display_precision: 0,
  });
  yield clip('clip_started', 'sea state started', 'value_json.captured_at', {
    device_class: 'timestamp',
    ...DIAGNOSTIC,
  });
  yield clip('sea_state', 'sea state', 'value_json.status', {
    device_class: 'enum',
    options: ['measured', 'rejected', 'failed', 'skipped'],
    json_attributes_topic: topics.absolute(`camera/${camera}/sea_state/latest`),
    json_attributes_template: SEA_STATE_ATTRIBUTES,
  });
  if (!input.commands.includes('sea_state')) return;
  const measure = button(`${camera} measure sea state`, 'sea_state', { camera }, topics);
  yield [`${camera}.measure_sea_state`, { ...measure, icon: 'mdi:sine-wave' }];
}

function sensor(
  id: string,
  name: string,
  stateTopic: string,
  value: string,
  more: Partial<EntityDraft>,
): Entry {
  return [
    id,
    { platform: 'sensor', name, state_topic: stateTopic, value_template: `{{ ${value} }}`, ...more },
  ];
}

/** Each press sends a command with a new id, because a repeated id does not run again. */
function button(name: string, command: string, args: object, topics: Topics): EntityDraft {
  const id = 'ha-{{ now().timestamp() }}-{{ range(10000) | random }}';
  const expiresAt = `{{ (utcnow() + timedelta(seconds=${BUTTON_EXPIRY_S})).strftime('%Y-%m-%dT%H:%M:%S.000Z') }}`;
  return {
    platform: 'button',
    name,
    command_topic: topics.absolute(`cmd/${command}`),
    command_template: JSON.stringify({ id, expires_at: expiresAt, args }),
    qos: 1,
  };
}

const toPercent = (path: string): string => `(${path} * 100) | round(0) if ${path} is not none else none`;

const OBSERVATION_ATTRIBUTES =
  "{{ {'id': value_json.id, 'reasons': value_json.reasons, 'warnings': value_json.warnings, " +
  "'height_basis': value_json.wave.height_basis, 'interval_coverage': value_json.wave.interval_coverage, " +
  "'extreme': value_json.wave.extreme, 'labels': value_json.calibration.labels, " +
  "'simulated': value_json.simulated | default(none)} | tojson }}";

const SEA_STATE_ATTRIBUTES =
  "{{ {'id': value_json.id, 'reasons': value_json.reasons, 'warnings': value_json.warnings, " +
  "'mixed_sea': value_json.period.mixed_sea, 'sets': value_json.breaking.sets, " +
  "'breakers': value_json.breaker.count, 'no_breaker_height': value_json.breaker.reason, " +
  "'simulated': value_json.simulated | default(none)} | tojson }}";

/**
 * The template computes the start time from the uptime, which is rounded to seconds. It keeps the time that is shown
 * while the computed time differs by less than 10 s, because of the rounding and of clock drift.
 */
const STARTED =
  '{% set started = as_timestamp(value_json.at) - value_json.uptime_s %}' +
  '{% set shown = as_timestamp(this.state, 0) %}' +
  '{{ (shown if (started - shown) | abs < 10 else started) | timestamp_utc }}';

/**
 * `latest_version` is the version that is being installed: the device does not search its repository for new versions.
 */
const MODEL =
  '{% set last = value_json.install %}' +
  '{% set install = (last if last.in_progress else none) if last else none %}' +
  "{{ {'installed_version': value_json.active.version, " +
  "'latest_version': install.version if install else value_json.active.version, " +
  "'title': install.name if install else value_json.active.name, " +
  "'in_progress': install is not none, " +
  "'update_percentage': install.percent if install else none} | tojson if value_json.active else '' }}";
