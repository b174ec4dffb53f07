import { CAMERA_STATES } from '../../contract/health.ts';
import { BREAKING_TYPES, DIRECTIONS } from '../../contract/observation.ts';
import { DIAGNOSTIC, METRES, PERCENT, SECONDS, button, type DiscoveryInput, type Draft } from './drafts.ts';
import type { Topics } from '../topics.ts';

/** What one camera measures and how it is, with its buttons: by component id. */
export function* cameraEntities(
  camera: string,
  input: DiscoveryInput,
  topics: Topics,
): Generator<readonly [string, Draft]> {
  const latest = topics.absolute(`camera/${camera}/latest`);
  const sensor = (
    id: string,
    name: string,
    value: string,
    more: Partial<Draft>,
  ): readonly [string, Draft] => [
    `${camera}.${id}`,
    {
      platform: 'sensor',
      name: `${camera} ${name}`,
      state_topic: latest,
      value_template: `{{ ${value} }}`,
      ...more,
    },
  ];
  const choice = (options: readonly string[]): Partial<Draft> => ({
    device_class: 'enum',
    options: [...options],
  });
  const waves = 'mdi:waves';
  yield sensor('height', 'wave height', 'value_json.wave.height_m', { ...METRES, icon: waves });
  yield sensor('height_low', 'wave height low', 'value_json.wave.height_low_m', { ...METRES, icon: waves });
  yield sensor('height_high', 'wave height high', 'value_json.wave.height_high_m', {
    ...METRES,
    icon: waves,
  });
  yield sensor('period', 'wave period', 'value_json.wave.period_s', {
    ...SECONDS,
    suggested_display_precision: 1,
  });
  yield sensor('direction', 'wave direction', 'value_json.wave.direction', choice(DIRECTIONS));
  yield sensor('breaking', 'breaking type', 'value_json.wave.breaking_type', choice(BREAKING_TYPES));
  yield sensor('quality', 'image quality', percent('value_json.quality.score'), {
    ...PERCENT,
    icon: 'mdi:image-check',
  });
  yield sensor('confidence', 'confidence', percent('value_json.wave.confidence.overall'), {
    ...PERCENT,
    icon: 'mdi:shield-check',
  });
  yield sensor('observation', 'observation', 'value_json.status', {
    ...choice(['measured', 'rejected', 'failed', 'skipped']),
    json_attributes_topic: latest,
    json_attributes_template: ATTRIBUTES,
  });
  yield sensor('observed', 'observed', 'value_json.captured_at', {
    device_class: 'timestamp',
    ...DIAGNOSTIC,
  });
  yield sensor('state', 'camera', 'value_json.state', {
    ...choice(CAMERA_STATES),
    ...DIAGNOSTIC,
    state_topic: topics.absolute(`camera/${camera}/state`),
    icon: 'mdi:cctv',
  });
  const mine = `value_json.cameras | selectattr('id', 'eq', '${camera}')`;
  yield sensor(
    'frame_age',
    'last frame age',
    `${mine} | map(attribute='last_frame_age_s') | first | default(none)`,
    {
      ...SECONDS,
      ...DIAGNOSTIC,
      state_topic: topics.absolute('health'),
      expire_after: 3 * input.heartbeatIntervalS,
    },
  );
  if (input.commands.includes('capture'))
    yield [
      `${camera}.capture`,
      { ...button(`${camera} capture`, 'capture', { camera }, topics), icon: 'mdi:camera' },
    ];
  if (!input.commands.includes('image')) return;
  const image_topic = topics.absolute(`camera/${camera}/image`);
  yield [
    `${camera}.image`,
    { platform: 'image', name: `${camera} image`, image_topic, content_type: 'image/jpeg' },
  ];
  yield [
    `${camera}.take_image`,
    {
      ...button(`${camera} send image`, 'image', { camera, annotate: true }, topics),
      icon: 'mdi:image-sync',
    },
  ];
}

const percent = (path: string): string => `(${path} * 100) | round(0) if ${path} is not none else none`;

const ATTRIBUTES =
  "{{ {'id': value_json.id, 'reasons': value_json.reasons, 'warnings': value_json.warnings, " +
  "'height_basis': value_json.wave.height_basis, 'interval_coverage': value_json.wave.interval_coverage, " +
  "'extreme': value_json.wave.extreme, 'labels': value_json.calibration.labels} | tojson }}";
