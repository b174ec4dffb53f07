import {
  DIAGNOSTIC,
  MEASUREMENT,
  MEBIBYTES,
  MILLISECONDS,
  PERCENT,
  SECONDS,
  button,
  type DiscoveryInput,
  type Draft,
} from './drafts.ts';
import type { Topics } from '../topics.ts';

/** How the device is, its model and its buttons: by component id. */
export function* deviceEntities(input: DiscoveryInput, topics: Topics): Generator<readonly [string, Draft]> {
  const health = topics.absolute('health');
  const sensor = (
    id: string,
    name: string,
    value: string,
    more: Partial<Draft> = {},
  ): readonly [string, Draft] => [
    id,
    {
      platform: 'sensor',
      name,
      state_topic: health,
      value_template: `{{ ${value} }}`,
      expire_after: 3 * input.heartbeatIntervalS,
      ...DIAGNOSTIC,
      ...more,
    },
  ];
  const celsius = { ...MEASUREMENT, device_class: 'temperature', unit_of_measurement: '°C' };
  yield sensor('cpu_temperature', 'CPU temperature', 'value_json.cpu.temp_c', celsius);
  yield sensor('load', 'Load', 'value_json.cpu.load1', { ...MEASUREMENT, icon: 'mdi:gauge' });
  yield sensor('memory', 'Memory', 'value_json.memory.rss_mb', MEBIBYTES);
  yield sensor('vision_memory', 'Vision memory', 'value_json.memory.vision_rss_mb', MEBIBYTES);
  yield sensor('memory_free', 'Memory free', 'value_json.memory.free_mb', MEBIBYTES);
  yield sensor('disk_free', 'Disk free', 'value_json.disk.free_mb', MEBIBYTES);
  yield sensor('disk_used', 'Disk used', 'value_json.disk.used_pct', { ...PERCENT, icon: 'mdi:harddisk' });
  yield sensor('outbox', 'Outbox', 'value_json.outbox.depth', { ...MEASUREMENT, icon: 'mdi:tray-full' });
  yield sensor('outbox_age', 'Outbox oldest', 'value_json.outbox.oldest_age_s', SECONDS);
  yield sensor('outbox_dropped', 'Outbox dropped', 'value_json.outbox.dropped_total', {
    state_class: 'total_increasing',
    icon: 'mdi:tray-remove',
  });
  yield sensor('inference', 'Inference', 'value_json.inference.p50_ms', MILLISECONDS);
  yield sensor('link_round_trip', 'Link round trip', 'value_json.link.rtt_ms', MILLISECONDS);
  yield sensor('link_reconnects', 'Link reconnects in the last hour', 'value_json.link.reconnects_1h', {
    ...MEASUREMENT,
    icon: 'mdi:lan-pending',
  });
  yield sensor('started', 'Started', '', { device_class: 'timestamp', value_template: STARTED });
  yield [
    'degraded',
    {
      platform: 'binary_sensor',
      name: 'Degraded',
      device_class: 'problem',
      state_topic: health,
      value_template: "{{ 'ON' if value_json.degraded else 'OFF' }}",
      json_attributes_topic: health,
      json_attributes_template: "{{ {'codes': value_json.degraded} | tojson }}",
      expire_after: 3 * input.heartbeatIntervalS,
      ...DIAGNOSTIC,
    },
  ];
  yield [
    'model',
    { platform: 'update', name: 'Model', state_topic: topics.absolute('model/state'), value_template: MODEL },
  ];
  if (input.commands.includes('restart')) {
    const name = 'Restart';
    yield [
      'restart',
      { ...button(name, 'restart', {}, topics), device_class: 'restart', entity_category: 'config' },
    ];
  }
}

/** The uptime counts whole seconds: what was shown stays while it differs by no more than that and a clock's drift. */
const STARTED =
  '{% set started = as_timestamp(value_json.at) - value_json.uptime_s %}' +
  '{% set shown = as_timestamp(this.state, 0) %}' +
  '{{ (shown if (started - shown) | abs < 10 else started) | timestamp_utc }}';

/** `latest_version` is what is being installed: the device does not look into its repository unasked. */
const MODEL =
  '{% set last = value_json.install %}' +
  '{% set install = (last if last.in_progress else none) if last else none %}' +
  "{{ {'installed_version': value_json.active.version, " +
  "'latest_version': install.version if install else value_json.active.version, " +
  "'title': install.name if install else value_json.active.name, " +
  "'in_progress': install is not none, " +
  "'update_percentage': install.percent if install else none} | tojson if value_json.active else '' }}";
