import { connectAsync, type MqttClient } from 'mqtt';
import { AgentError } from '../base/errors.ts';
import { brokerLogin } from './broker-login.ts';
import './disable-packet-id-cache.ts';
import { connectFailure, publishFailure } from './link/failures.ts';

export interface OperatorOptions {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly ca: string | null;
}

export type OnOperatorMessage = (topic: string, payload: Buffer, retain: boolean) => void;

/** The connection of an operator's command line. It reconnects automatically and leaves no session at the broker. */
export class OperatorClient {
  readonly #client: MqttClient;

  /** Uses MQTT 5, or 3.1.1 if the broker does not support it. Throws `mqtt_refused` or `mqtt_unreachable`. */
  static async connect(options: OperatorOptions, protocolVersion: 4 | 5 = 5): Promise<OperatorClient> {
    const { url, username, password } = brokerLogin(options.url, options);
    const { ca } = options;
    const present = Object.entries({ username, password, ca }).filter(([, value]) => value !== null);
    try {
      const client = await connectAsync(
        url,
        { ...Object.fromEntries(present), protocolVersion, clean: true, reconnectPeriod: 1000 },
        false,
      );
      // An error event without a listener would end the process. The client reconnects automatically.
      client.on('error', () => undefined);
      return new OperatorClient(client);
    } catch (thrown) {
      const { kind, error } = connectFailure(thrown, options.url);
      if (kind === 'version' && protocolVersion === 5) return await OperatorClient.connect(options, 4);
      throw error;
    }
  }

  private constructor(client: MqttClient) {
    this.#client = client;
  }

  /** Subscribes with QoS 1. The retained messages arrive first. Throws `mqtt_refused`. */
  async subscribe(filters: readonly string[], onMessage: OnOperatorMessage): Promise<void> {
    this.#client.on('message', (topic, payload, packet) => onMessage(topic, payload, packet.retain));
    try {
      await this.#client.subscribeAsync([...filters], { qos: 1 });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AgentError('mqtt_refused', `the broker refused the subscription (${reason})`, {
        hint: 'let this user read the topics of the devices (docs/mqtt.md, "Access rules")',
        cause,
      });
    }
  }

  /**
   * Publishes with QoS 1. Without a connection, the message waits for the next connection. The broker keeps it for
   * `expiryS` at most, with MQTT 5. Throws `mqtt_publish_refused`, `mqtt_busy` or `mqtt_too_large`.
   */
  async publish(
    topic: string,
    payload: string | Buffer,
    { retain = false, expiryS }: { readonly retain?: boolean; readonly expiryS?: number } = {},
  ): Promise<void> {
    const properties = expiryS === undefined ? {} : { properties: { messageExpiryInterval: expiryS } };
    try {
      await this.#client.publishAsync(topic, payload, { qos: 1, retain, ...properties });
    } catch (thrown) {
      throw publishFailure(thrown, topic);
    }
  }

  close(): void {
    this.#client.end(true);
  }
}
