import type { AgentError } from '../base/errors.ts';

/** Topics are relative to the topic of the device, such as `camera/cam1/state`, unless they are called absolute. */
export interface PublishOptions {
  readonly qos: 0 | 1;
  readonly retain: boolean;
  /** MQTT 5 message expiry, seconds. */
  readonly expiryS?: number;
  /** MQTT 5: the correlation data of the command that this message answers. */
  readonly correlationData?: Uint8Array;
  /** The topic is absolute, such as a discovery topic of Home Assistant. */
  readonly absolute?: boolean;
  /** Low priority: sent only while no message without this flag waits. Used for old records and for rejections. */
  readonly bulk?: boolean;
}

export interface StateOptions extends Pick<PublishOptions, 'expiryS' | 'absolute'> {
  /** While connected, publish every value and not only the newest one; default false. */
  readonly each?: boolean;
  /** If the broker retains nothing, publish all other states and `online` again with this one; default false. */
  readonly withOthers?: boolean;
}

/** A message on `cmd/{name}` that was not parsed yet. */
export interface CommandPacket {
  readonly payload: Uint8Array;
  readonly retain: boolean;
  /** Absolute topic, MQTT 5 only. */
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
}

/** A fault of the connection to the broker, other than its loss. docs/generated/codes.md explains each code. */
export type LinkFault =
  | 'link_refused'
  | 'link_contested'
  | 'commands_refused'
  | 'certificate_expiring:device'
  | 'certificate_expiring:broker'
  | 'credentials_unusable'
  | `broker_limits:${BrokerLimit}`;

/** What the broker does not support, or only to a small extent. docs/brokers.md says what is lost. */
export type BrokerLimit =
  'retain' | 'session_expiry' | 'wildcards' | 'qos' | 'receive_maximum' | 'packet_size';

export interface LinkStats {
  /** Null without a connection. */
  readonly connectedSinceMs: number | null;
  readonly reconnects1h: number;
  /** Round trip of the last acknowledged publish, ms. */
  readonly rttMs: number | null;
  /** host:port of the broker, without credentials. */
  readonly broker: string | null;
  readonly protocolVersion: 4 | 5 | null;
  readonly faults?: readonly LinkFault[];
  /** Why there is no connection; null while there is one. */
  readonly failure?: AgentError | null;
}

/** The one connection to the broker. The other parts of the agent use it only through this interface. */
export interface Link {
  readonly connected: boolean;
  /** Maximum size of a payload on the current connection, bytes. */
  readonly maxPayloadBytes: number;
  /**
   * Sets a retained state. While connected, the link publishes it at once. It publishes all states again after each
   * CONNACK, in this order: `info`, then absolute topics (discovery), then the others in the order of their first call.
   * Only the newest value of a topic is kept; null clears the topic. Does not throw without a connection.
   */
  setState(topic: string, payload: unknown, options?: StateOptions): void;
  /**
   * Resolves on PUBACK (QoS 1), or when the message is passed to the socket (QoS 0). Rejects with `mqtt_unreachable`
   * without a connection, `mqtt_timeout` without an acknowledgement in time, `mqtt_busy` when the broker refuses
   * temporarily, and `mqtt_too_large` or `mqtt_publish_refused` when it refuses finally.
   */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void>;
  stats(): LinkStats;
}
