import type { Log } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import type { EmbeddedBroker } from './embedded.ts';

export interface StartedBroker {
  readonly broker: EmbeddedBroker;
  /** Settings with which a client reaches the broker. */
  readonly settings: Settings['mqtt'];
}

/** Starts the embedded broker when no other one is configured; null otherwise. Rejects with `mqtt_port_taken`. */
export async function startEmbeddedBroker(
  mqtt: Settings['mqtt'],
  { log }: { readonly log: Log },
): Promise<StartedBroker | null> {
  if (mqtt.url.length > 0) return null;
  // Loaded only where it is used: the library costs memory.
  const { EmbeddedBroker } = await import('./embedded.ts');
  const broker = new EmbeddedBroker(mqtt.embedded, { log });
  const { port } = await broker.start();
  return { broker, settings: { ...mqtt, url: [`mqtt://${mqtt.embedded.host}:${port}`], protocolVersion: 4 } };
}
