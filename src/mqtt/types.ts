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
  /** Sent only while no message that is not bulk waits; for the backlog of the outbox. */
  readonly bulk?: boolean;
}

export interface StateOptions extends Pick<PublishOptions, 'expiryS' | 'absolute'> {
  /** On a connected link, publish every value and not only the newest one; default false. */
  readonly each?: boolean;
}

/** A message on `cmd/{name}`, not parsed. */
export interface CommandPacket {
  readonly payload: Uint8Array;
  readonly retain: boolean;
  /** Absolute topic, MQTT 5 only. */
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
}

/** A fault of the link other than a lost connection; docs/health.md explains each code. */
export type LinkFault =
  | 'link_refused'
  | 'link_contested'
  | 'commands_refused'
  | 'certificate_expiring:device'
  | 'certificate_expiring:broker'
  | 'credentials_unusable';

export interface LinkStats {
  /** Null without a connection. */
  readonly connectedSinceMs: number | null;
  readonly reconnects1h: number;
  /** Round trip of the last acknowledged publish, ms. */
  readonly rttMs: number | null;
  /** host:port, without credentials. */
  readonly broker: string | null;
  readonly protocolVersion: 4 | 5 | null;
  readonly faults?: readonly LinkFault[];
}

/** The one connection to the broker. Other stages see the link only through this interface. */
export interface Link {
  readonly connected: boolean;
  /** Maximum size of a payload on the current connection, bytes. */
  readonly maxPayloadBytes: number;
  /**
   * Sets a retained state. It is published at once on a connected link, and again in each birth, which follows CONNACK.
   * Only the newest value of a topic is kept; null clears the topic. Does not throw without a link.
   * Order in a birth: `info`, then absolute topics (discovery), then the others in the order of their first call.
   */
  setState(topic: string, payload: unknown, options?: StateOptions): void;
  /**
   * Resolves on PUBACK (QoS 1), or when the message is passed to the socket (QoS 0). Rejects with `mqtt_unreachable`
   * without a link, `mqtt_timeout` without an acknowledgement in time, `mqtt_busy` when the broker refuses temporarily,
   * and `mqtt_too_large` or `mqtt_publish_refused` when it refuses finally.
   */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void>;
  stats(): LinkStats;
}
