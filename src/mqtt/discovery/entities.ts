import { createHash } from 'node:crypto';
import type { HomeAssistantDevice } from '../../contract/home-assistant.ts';
import { cameraEntities } from './camera.ts';
import { deviceEntities } from './device.ts';
import type { DiscoveryInput, Draft } from './drafts.ts';
import type { Topics } from '../topics.ts';

/** Names the device in discovery topics and in the registry of Home Assistant: unique by the topic of the device. */
export function discoveryNode(
  { site, device }: Pick<DiscoveryInput, 'site' | 'device'>,
  topics: Topics,
): string {
  const digest = createHash('sha256').update(topics.prefix).digest('hex').slice(0, 8);
  return `swellsight_${site}_${device}_${digest}`.replace(/[^A-Za-z0-9_-]/g, '-');
}

/**
 * The device with all its entities, in the form of Home Assistant's device discovery. What is `null` on the wire
 * renders as `None`, which Home Assistant shows as unknown.
 */
export function describeForHomeAssistant(input: DiscoveryInput, topics: Topics): HomeAssistantDevice {
  const node = discoveryNode(input, topics);
  const entities = new Map<string, Draft>([
    ...deviceEntities(input, topics),
    ...input.cameras.flatMap((camera) => [...cameraEntities(camera, input, topics)]),
  ]);
  return {
    device: {
      identifiers: [node],
      name: `SwellSight ${input.device}`,
      manufacturer: 'SwellSight',
      model: input.model ?? 'SwellSight Edge',
      sw_version: input.version,
      ...(input.pageUrl === null ? {} : { configuration_url: input.pageUrl }),
    },
    origin: { name: 'SwellSight Edge', sw_version: input.version },
    availability_topic: topics.status,
    // `starting` and `stopped` are no less away than `offline`.
    availability_template: "{{ 'online' if value_json.state == 'online' else 'offline' }}",
    components: Object.fromEntries(
      [...entities].map(([id, entity]) => [id, { ...entity, unique_id: `${node}_${id}` }]),
    ),
  };
}
