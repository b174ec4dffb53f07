import type { Link, PublishOptions } from '../../src/mqtt/types.ts';

/** Faults of a delivery path, inserted between the real forwarder and the real link. */
export const PLANTS = ['ack-early', 'shuffle', 'alter', 'skip'] as const;
export type Plant = (typeof PLANTS)[number];

const MAX_SHUFFLE_DELAY_MS = 60;
const FAULT_EVERY = 20;

/** Wraps the link and adds one fault, which the run must detect. */
export function plantFault(link: Link, plant: Plant): Link {
  let count = 0;
  const publish = async (
    topic: string,
    payload: string | Uint8Array,
    options: PublishOptions,
  ): Promise<void> => {
    count += 1;
    switch (plant) {
      // Reports success after the write to the socket, before the PUBACK.
      case 'ack-early':
        link.publish(topic, payload, options).catch(() => undefined);
        return;
      // Reorders messages.
      case 'shuffle':
        await new Promise((resolve) => setTimeout(resolve, Math.random() * MAX_SHUFFLE_DELAY_MS));
        return link.publish(topic, payload, options);
      // Changes a field.
      case 'alter':
        return link.publish(
          topic,
          count % FAULT_EVERY === 0 ? String(payload).replace('measured', 'failed') : payload,
          options,
        );
      // Drops a message and reports success.
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
