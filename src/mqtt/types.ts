/** Topics here are relative to the device's base, such as `camera/cam1/state`, unless they are said to be absolute. */
export interface PublishOptions {
  readonly qos: 0 | 1;
  readonly retain: boolean;
  /** MQTT 5 message expiry, seconds. */
  readonly expiryS?: number;
  /** MQTT 5: given back to whoever sent the command that this answers. */
  readonly correlationData?: Uint8Array;
  /** The topic is a whole one, such as one of Home Assistant's discovery. */
  readonly absolute?: boolean;
  /** Waits its turn behind everything that is not bulk: the outbox. */
  readonly bulk?: boolean;
}

export interface StateOptions extends Pick<PublishOptions, 'expiryS' | 'absolute'> {
  /** Values that follow each other quickly while there is a link are sent each, and not the newest alone; default false. */
  readonly each?: boolean;
}

/** A message on `cmd/{name}` as it came. */
export interface CommandPacket {
  readonly payload: Uint8Array;
  readonly retain: boolean;
  /** Absolute topic, MQTT 5 only. */
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
}

/** What is wrong with the link beside its being down; docs/health.md says what each means. */
export type LinkTrouble =
  | 'link_refused'
  | 'link_contested'
  | 'commands_refused'
  | 'certificate_expiring:device'
  | 'certificate_expiring:broker'
  | 'credentials_unusable';

export interface LinkStats {
  readonly connectedSinceMs: number | null;
  readonly reconnects1h: number;
  /** Round trip of the last acknowledged publish, ms. */
  readonly rttMs: number | null;
  /** host:port, no credentials. */
  readonly broker: string | null;
  readonly protocolVersion: 4 | 5 | null;
  readonly troubles?: readonly LinkTrouble[];
}

/** The one connection to the broker, as the other parts see it. */
export interface Link {
  readonly connected: boolean;
  /** Largest payload that may be sent now, bytes. */
  readonly maxPayloadBytes: number;
  /**
   * Sets a retained state: published at once when connected, and again in the birth after every CONNACK.
   * Only the newest value of a topic is kept. Null clears the topic. Never throws for lack of a link.
   * In the birth `info` comes first, then absolute topics (discovery), then the others in the order of their first call.
   */
  setState(topic: string, payload: unknown, options?: StateOptions): void;
  /**
   * Resolves on PUBACK (QoS 1) or hand-over (QoS 0). Rejects with `mqtt_unreachable` or `mqtt_timeout` when there is no
   * link or no answer in time, `mqtt_busy` when the broker refuses for now, and `mqtt_too_large` or
   * `mqtt_publish_refused` when it never will take it.
   */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void>;
  stats(): LinkStats;
}
