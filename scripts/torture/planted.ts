import type { Link, PublishOptions } from '../../src/mqtt/types.ts';

/** Faults that a delivery path could have, put between the real forwarder and the real link. */
export const PLANTS = ['ack-early', 'shuffle', 'alter', 'skip'] as const;
export type Plant = (typeof PLANTS)[number];

const SHUFFLED_WITHIN_MS = 60;
const FAULT_EVERY = 20;

/** The link as the forwarder sees it, with one fault. What the torture must find. */
export function planted(link: Link, plant: Plant): Link {
  let count = 0;
  const publish = async (
    topic: string,
    payload: string | Uint8Array,
    options: PublishOptions,
  ): Promise<void> => {
    count += 1;
    switch (plant) {
      // Takes the hand-over to the socket for the broker's word.
      case 'ack-early':
        link.publish(topic, payload, options).catch(() => undefined);
        return;
      // Lets a message overtake another.
      case 'shuffle':
        await new Promise((resolve) => setTimeout(resolve, Math.random() * SHUFFLED_WITHIN_MS));
        return link.publish(topic, payload, options);
      // Changes a field on the way.
      case 'alter':
        return link.publish(
          topic,
          count % FAULT_EVERY === 0 ? String(payload).replace('measured', 'failed') : payload,
          options,
        );
      // Forgets one, and says that it was sent.
      case 'skip':
        return count % FAULT_EVERY === 0 ? undefined : link.publish(topic, payload, options);
    }
  };
  return {
    get connected() {
      return link.connected;
    },
    get maxPayloadBytes() {
      return link.maxPayloadBytes;
    },
    setState: (...args) => link.setState(...args),
    stats: () => link.stats(),
    publish,
  };
}
