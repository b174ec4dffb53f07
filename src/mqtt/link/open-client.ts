import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { connect, type IConnackPacket, type MqttClient } from 'mqtt';
import { withAbort } from '../../base/abort.ts';
import { AgentError } from '../../base/errors.ts';
import { clientOptions, type SessionOptions } from './client-options.ts';
import { certificateValidity, type CertificateValidity } from './credential-files.ts';
import { brokerName, HungUpError, OversizedPacketError } from './failures.ts';
import { PacketLimit } from './packet-limit.ts';
import type { CommandPacket } from '../types.ts';

/** Larger packets end the connection: mqtt.js buffers a packet in memory until it is complete. */
const MAX_INCOMING_BYTES = 1_048_576;

export interface ReceivedMessage extends CommandPacket {
  readonly topic: string;
  readonly qos: number;
}

/** Starts to connect. From the first byte on, the device is protected against harmful packets from the broker. */
export function openClient(options: SessionOptions): { readonly client: MqttClient; readonly inbox: Inbox } {
  const { url, options: clientSettings } = clientOptions(options);
  const client = connect(url, clientSettings);
  const { acknowledges } = options;
  // mqtt.js sends no acknowledgement for a message whose handler fails.
  if (acknowledges)
    client.handleMessage = ({ topic }, done) =>
      done(acknowledges(topic) ? undefined : new Error('not acknowledged'));
  // An error event without a listener would end the process.
  client.on('error', () => undefined);
  // Create the inbox now: messages that the broker had queued arrive directly after CONNACK.
  const inbox = new Inbox(client);
  // With Nagle's algorithm, a small packet waits for the acknowledgement of the previous one: 40 ms on most systems.
  if (client.stream instanceof Socket) client.stream.setNoDelay(true);
  const limit = new PacketLimit(MAX_INCOMING_BYTES);
  limit.on('error', () => client.emit('error', new OversizedPacketError()));
  client.stream.pipe(limit).resume();
  client.on('packetreceive', (packet) => {
    // The agent subscribes with QoS 1 only; mqtt.js would keep QoS 2 messages until the broker releases them.
    if (packet.cmd === 'publish' && packet.qos === 2)
      client.emit('error', new Error('the broker sent a message with QoS 2'));
  });
  return { client, inbox };
}

/**
 * Waits for CONNACK, and calls `onConnack` in the same turn of the event loop, so that the caller
 * misses no later event of the client. Rejects with the cause when no CONNACK arrives.
 */
export async function awaitConnack<T>(
  client: MqttClient,
  options: SessionOptions,
  signal: AbortSignal,
  onConnack: (connack: IConnackPacket) => T,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timeout = new AgentError('mqtt_timeout', 'the broker did not answer', {
    context: { broker: brokerName(options.url) },
  });
  const timer = setTimeout(() => reject(timeout), options.connectTimeoutMs);
  client.once('connect', (connack) => resolve(onConnack(connack)));
  client.once('error', reject);
  client.once('close', () => reject(new HungUpError('the broker closed the connection before CONNACK')));
  try {
    return await withAbort(promise, signal);
  } finally {
    clearTimeout(timer);
  }
}

/** The validity of the broker's certificate; null without TLS, and over WebSocket, where it is not accessible. */
export function brokerCertificateOf({ stream }: MqttClient): CertificateValidity | null {
  const certificate = stream instanceof TLSSocket ? stream.getPeerX509Certificate() : undefined;
  return certificate ? certificateValidity(certificate) : null;
}

/** Keeps incoming messages until there is a listener. */
export class Inbox {
  #waiting: ReceivedMessage[] = [];
  #listener: ((message: ReceivedMessage) => void) | null = null;

  constructor(client: MqttClient) {
    client.on('message', (topic, payload, packet) => {
      const message: ReceivedMessage = {
        topic,
        payload,
        qos: packet.qos,
        retain: packet.retain,
        responseTopic: packet.properties?.responseTopic ?? null,
        correlationData: packet.properties?.correlationData ?? null,
      };
      if (this.#listener) this.#listener(message);
      else this.#waiting.push(message);
    });
  }

  /** Calls the listener for every message, including those that arrived before this call. */
  listen(listener: (message: ReceivedMessage) => void): void {
    this.#listener = listener;
    for (const message of this.#waiting.splice(0)) listener(message);
  }
}
