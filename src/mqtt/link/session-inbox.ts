import type { MqttClient } from 'mqtt';

export interface Received {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly retain: boolean;
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
}

/** Incoming messages, kept until someone listens. */
export class Inbox {
  #waiting: Received[] = [];
  #listener: ((message: Received) => void) | null = null;

  constructor(client: MqttClient) {
    client.on('message', (topic, payload, packet) => {
      const message: Received = {
        topic,
        payload,
        retain: packet.retain,
        responseTopic: packet.properties?.responseTopic ?? null,
        correlationData: packet.properties?.correlationData ?? null,
      };
      if (this.#listener) this.#listener(message);
      else this.#waiting.push(message);
    });
  }

  listen(listener: (message: Received) => void): void {
    this.#listener = listener;
    for (const message of this.#waiting.splice(0)) listener(message);
  }
}
