import { connectAsync, type MqttClient } from 'mqtt';
import { brokerName } from './link/broker-url.ts';
import { connectFailure } from './link/connect-failure.ts';
import './link/lean-packets.ts';

export interface OperatorOptions {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly ca: string | null;
}

export type OnMessage = (topic: string, payload: Buffer, retain: boolean) => void;

/** An operator's connection: comes back by itself, and keeps nothing at the broker. */
export class OperatorClient {
  readonly #client: MqttClient;

  /** Throws `mqtt_refused` or `mqtt_unreachable`. */
  static async connect(options: OperatorOptions): Promise<OperatorClient> {
    const { url, username, password, ca } = options;
    const given = Object.entries({ username, password, ca }).filter(([, value]) => value !== null);
    try {
      const client = await connectAsync(
        url,
        { ...Object.fromEntries(given), protocolVersion: 5, clean: true, reconnectPeriod: 1000 },
        false,
      );
      // An error event without a listener would end the process; it connects again by itself.
      client.on('error', () => undefined);
      return new OperatorClient(client);
    } catch (error) {
      throw connectFailure(error, brokerName(url)).error;
    }
  }

  private constructor(client: MqttClient) {
    this.#client = client;
  }

  /** What is retained comes first. */
  async subscribe(filters: readonly string[], onMessage: OnMessage): Promise<void> {
    this.#client.on('message', (topic, payload, packet) => onMessage(topic, payload, packet.retain));
    await this.#client.subscribeAsync([...filters], { qos: 1 });
  }

  /** QoS 1, not retained. Waits for the link while there is none. */
  async publish(topic: string, payload: string | Buffer): Promise<void> {
    await this.#client.publishAsync(topic, payload, { qos: 1 });
  }

  close(): void {
    this.#client.end(true);
  }
}
