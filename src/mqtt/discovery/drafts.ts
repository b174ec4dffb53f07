import type { HomeAssistantComponent } from '../../contract/home-assistant.ts';
import type { Topics } from '../topics.ts';

/** What of the device Home Assistant is told. */
export interface DiscoveryInput {
  readonly site: string;
  readonly device: string;
  readonly version: string;
  /** Such as `Raspberry Pi 4 Model B`; null when it is not known. */
  readonly model: string | null;
  readonly cameras: readonly string[];
  /** Names of the commands that the device takes: a button is shown for none other. */
  readonly commands: readonly string[];
  readonly heartbeatIntervalS: number;
  /** The device's own page, when others can reach it. */
  readonly pageUrl: string | null;
}

type Entity = Extract<HomeAssistantComponent, { readonly unique_id: string }>;
export type Draft = Omit<Entity, 'unique_id'>;

export const DIAGNOSTIC = { entity_category: 'diagnostic' } as const;
export const MEASUREMENT = { state_class: 'measurement' } as const;
export const METRES = {
  ...MEASUREMENT,
  device_class: 'distance',
  unit_of_measurement: 'm',
  suggested_display_precision: 1,
};
export const SECONDS = { ...MEASUREMENT, device_class: 'duration', unit_of_measurement: 's' };
export const MILLISECONDS = { ...SECONDS, unit_of_measurement: 'ms' };
/** The `_mb` of the contract are 2^20 bytes. */
export const MEBIBYTES = { ...MEASUREMENT, device_class: 'data_size', unit_of_measurement: 'MiB' };
export const PERCENT = { ...MEASUREMENT, unit_of_measurement: '%' };
/** A press that reaches the device later than this is not wanted any more. */
const PRESS_GOOD_FOR_S = 120;

/** A press is a command with an id of its own, for one that comes again is not run. */
export function button(name: string, command: string, args: object, topics: Topics): Draft {
  const id = 'ha-{{ now().timestamp() }}-{{ range(10000) | random }}';
  const until = `{{ (utcnow() + timedelta(seconds=${PRESS_GOOD_FOR_S})).strftime('%Y-%m-%dT%H:%M:%S.000Z') }}`;
  return {
    platform: 'button',
    name,
    command_topic: topics.absolute(`cmd/${command}`),
    command_template: JSON.stringify({ id, expires_at: until, args }),
    qos: 1,
  };
}
