import { createHash } from 'node:crypto';
import type { HomeAssistantDevice } from '../../contract/home-assistant.ts';
import type { Topics } from '../topics.ts';
import { cameraEntities, deviceEntities, type DiscoveryInput } from './entities.ts';

/** The id of the device in discovery topics and in Home Assistant's registry. Unique for each topic prefix. */
export function createNodeId(
  { site, device }: Pick<DiscoveryInput, 'site' | 'device'>,
  topics: Topics,
): string {
  const digest = createHash('sha256').update(topics.prefix).digest('hex').slice(0, 8);
  return `swellsight_${site}_${device}_${digest}`.replace(/[^A-Za-z0-9_-]/g, '-');
}

/**
 * Describes the device and its entities in the format of Home Assistant's device discovery. Templates render null as
 * `None`, which Home Assistant shows as unknown.
 */
export function createDiscoveryMessage(input: DiscoveryInput, topics: Topics): HomeAssistantDevice {
  const nodeId = createNodeId(input, topics);
  const entities = new Map([
    ...deviceEntities(input, topics),
    ...input.cameras.flatMap((camera) => [...cameraEntities(camera, input, topics)]),
  ]);
  return {
    device: {
      identifiers: [nodeId],
      name: `SwellSight ${input.device}`,
      manufacturer: 'SwellSight',
      model: input.model ?? 'SwellSight Edge',
      sw_version: input.version,
      ...(input.pageUrl === null ? {} : { configuration_url: input.pageUrl }),
    },
    origin: { name: 'SwellSight Edge', sw_version: input.version },
    availability_topic: topics.status,
    // The states `starting` and `stopped` also mean that the device is not available.
    availability_template: "{{ 'online' if value_json.state == 'online' else 'offline' }}",
    components: Object.fromEntries(
      [...entities].map(([id, entity]) => [id, { ...entity, unique_id: `${nodeId}_${id}` }]),
    ),
  };
}
