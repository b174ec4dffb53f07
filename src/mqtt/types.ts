/** Topics here are relative to the device's base, such as `camera/cam1/state`. */
export interface PublishOptions {
  readonly qos: 0 | 1;
  readonly retain: boolean;
  /** MQTT 5 message expiry, seconds. */
  readonly expiryS?: number;
}

export interface LinkStats {
  readonly connectedSinceMs: number | null;
  readonly reconnects1h: number;
  /** Round trip of the last acknowledged publish, ms. */
  readonly rttMs: number | null;
  /** host:port, no credentials. */
  readonly broker: string | null;
  readonly protocolVersion: 4 | 5 | null;
}

/** The one connection to the broker, as the other parts see it. */
export interface Link {
  readonly connected: boolean;
  /** Largest payload that may be sent now, bytes. */
  readonly maxPayloadBytes: number;
  /**
   * Sets a retained state: published at once when connected, and again in the birth after every CONNACK.
   * Only the newest value of a topic is kept. Never throws for lack of a link.
   */
  setState(topic: string, payload: unknown, options?: { readonly expiryS?: number }): void;
  /** Resolves on PUBACK (QoS 1) or hand-over (QoS 0). Rejects with `mqtt_*` when there is no link or no answer in time. */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void>;
  stats(): LinkStats;
}
