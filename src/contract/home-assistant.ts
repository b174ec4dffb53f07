import { Type, type Static } from '@sinclair/typebox';
import { StringEnum, closed } from './schema-parts.ts';

const Text = Type.String({ minLength: 1 });
const optional = {
  name: Type.Optional(Text),
  icon: Type.Optional(Type.String({ pattern: '^mdi:[a-z0-9-]+$' })),
  entity_category: Type.Optional(StringEnum(['config', 'diagnostic'])),
  enabled_by_default: Type.Optional(Type.Boolean()),
  device_class: Type.Optional(Text),
  state_topic: Type.Optional(Text),
  value_template: Type.Optional(Text),
  json_attributes_topic: Type.Optional(Text),
  json_attributes_template: Type.Optional(Text),
  expire_after: Type.Optional(Type.Integer({ minimum: 1, description: 'seconds' })),
  unit_of_measurement: Type.Optional(Text),
  state_class: Type.Optional(StringEnum(['measurement', 'total_increasing'])),
  suggested_display_precision: Type.Optional(Type.Integer({ minimum: 0 })),
  options: Type.Optional(Type.Array(Text, { minItems: 1 })),
  latest_version_topic: Type.Optional(Text),
  latest_version_template: Type.Optional(Text),
  title: Type.Optional(Text),
  command_topic: Type.Optional(Text),
  command_template: Type.Optional(Text),
  qos: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 })),
  image_topic: Type.Optional(Text),
  content_type: Type.Optional(Text),
};

/** One entity. With `platform` only, it removes the entity. */
export const HomeAssistantComponent = Type.Union([
  Type.Object({ platform: Text }, { ...closed, description: 'removes this entity' }),
  Type.Object({ platform: Text, unique_id: Text, ...optional }, closed),
]);
export type HomeAssistantComponent = Static<typeof HomeAssistantComponent>;

/**
 * `{prefix}/device/{node}/config`, retained: the part of Home Assistant's device discovery that the agent uses.
 * https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
 */
export const HomeAssistantDevice = Type.Object(
  {
    device: Type.Object(
      {
        identifiers: Type.Array(Text, { minItems: 1 }),
        name: Text,
        manufacturer: Text,
        model: Text,
        sw_version: Text,
        configuration_url: Type.Optional(Text),
      },
      closed,
    ),
    origin: Type.Object({ name: Text, sw_version: Text }, closed),
    availability_topic: Text,
    availability_template: Text,
    components: Type.Record(Type.String(), HomeAssistantComponent),
  },
  { ...closed, $id: 'swellsight.home_assistant_device/1', title: 'HomeAssistantDevice' },
);
export type HomeAssistantDevice = Static<typeof HomeAssistantDevice>;
