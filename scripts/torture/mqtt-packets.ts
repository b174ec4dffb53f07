/** The packets that the proxy parses; it forwards all others unchanged. */
export type Packet =
  | { readonly kind: 'connect'; readonly version: number }
  | { readonly kind: 'publish'; readonly packetId: number; readonly topic: string; readonly payload: string }
  | { readonly kind: 'puback'; readonly packetId: number; readonly reason: number }
  | { readonly kind: 'other' };

const CONNECT = 1;
const PUBLISH = 3;
const PUBACK = 4;

/**
 * Splits one direction of an MQTT connection into packets. Source: MQTT 5.0 sections 2.1 and 3.1 to 3.4.
 * A publish of QoS 0 is 'other', because it has no acknowledgement.
 */
export class PacketReader {
  /** Set from the CONNECT packet. In version 5, publish packets have properties. */
  version = 4;
  #rest: Buffer = Buffer.alloc(0);

  read(bytes: Buffer): { readonly packet: Packet; readonly raw: Buffer }[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const packets: { packet: Packet; raw: Buffer }[] = [];
    for (;;) {
      const length = variable(this.#rest, 1);
      if (length === null || this.#rest.length < length.next + length.value) return packets;
      const end = length.next + length.value;
      const raw = this.#rest.subarray(0, end);
      this.#rest = this.#rest.subarray(end);
      packets.push({ packet: this.#parse(raw, length.next), raw });
    }
  }

  #parse(raw: Buffer, at: number): Packet {
    const head = raw[0] ?? 0;
    switch (head >> 4) {
      case CONNECT:
        this.version = raw[at + 2 + raw.readUInt16BE(at)] ?? 4;
        return { kind: 'connect', version: this.version };
      case PUBACK:
        return { kind: 'puback', packetId: raw.readUInt16BE(at), reason: raw[at + 2] ?? 0 };
      case PUBLISH:
        return (head & 0b110) === 0 ? { kind: 'other' } : this.#publish(raw, at);
      default:
        return { kind: 'other' };
    }
  }

  #publish(raw: Buffer, at: number): Packet {
    const topicEnd = at + 2 + raw.readUInt16BE(at);
    const topic = raw.toString('utf8', at + 2, topicEnd);
    const packetId = raw.readUInt16BE(topicEnd);
    const properties = this.version === 5 ? variable(raw, topicEnd + 2) : { value: 0, next: topicEnd + 2 };
    const payloadAt = properties ? properties.next + properties.value : raw.length;
    return { kind: 'publish', packetId, topic, payload: raw.toString('utf8', payloadAt) };
  }
}

/** Reads a variable byte integer; null when its bytes have not arrived yet. */
function variable(bytes: Buffer, at: number): { readonly value: number; readonly next: number } | null {
  let value = 0;
  for (let n = 0; n < 4; n += 1) {
    const byte = bytes[at + n];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 128 ** n;
    if (byte < 0x80) return { value, next: at + n + 1 };
  }
  throw new Error('invalid MQTT packet');
}
