import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { connect, type IConnackPacket, type MqttClient } from 'mqtt';
import { AgentError } from '../../base/errors.ts';
import { brokerName } from './broker-url.ts';
import { clientOptions, type SessionOptions } from './client-options.ts';
import { HungUp, Overlong } from './connect-failure.ts';
import { validityOf, type Validity } from './validity.ts';
import { PacketLimit } from './packet-limit.ts';
import { Inbox } from './session-inbox.ts';
import './lean-packets.ts';

/** A broker that sends more in one packet is not listened to: what comes in is gathered in memory. */
const MAX_INCOMING_BYTES = 1_048_576;

/** Begins to connect. The client is guarded against what a hostile broker could send, from the first byte. */
export function openClient(options: SessionOptions): { readonly client: MqttClient; readonly inbox: Inbox } {
  const client = connect(options.url, clientOptions(options));
  // An error event without a listener would end the process.
  client.on('error', () => undefined);
  // What waited at the broker comes right behind the CONNACK, before anyone can listen.
  const inbox = new Inbox(client);
  // A small packet must not wait for the acknowledgement of the one before: 40 ms each on most systems.
  if (client.stream instanceof Socket) client.stream.setNoDelay(true);
  const limit = new PacketLimit(MAX_INCOMING_BYTES);
  limit.on('error', () => client.emit('error', new Overlong()));
  client.stream.pipe(limit).resume();
  client.on('packetreceive', (packet) => {
    // Nothing is subscribed to with QoS 2; the library would keep such messages until they are released.
    if (packet.cmd === 'publish' && packet.qos === 2) client.emit('error', new Error('a message with QoS 2'));
  });
  return { client, inbox };
}

/** What is made of the CONNACK, at once; rejects with why there is none. */
export function answer<T>(
  client: MqttClient,
  options: SessionOptions,
  signal: AbortSignal,
  make: (connack: IConnackPacket) => T,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const silent = new AgentError('mqtt_timeout', 'the broker did not answer', {
      context: { broker: brokerName(options.url) },
    });
    const timer = setTimeout(() => finish(() => reject(silent)), options.connectTimeoutMs);
    const onAbort = (): void => finish(() => reject(signal.reason as Error));
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    client.once('connect', (connack) => finish(() => resolve(make(connack))));
    client.once('error', (error) => finish(() => reject(error)));
    client.once('close', () => finish(() => reject(new HungUp('closed before CONNACK'))));
  });
}

/** Of the certificate that the broker showed. */
export function validityOfPeer({ stream }: MqttClient): Validity | null {
  const certificate = stream instanceof TLSSocket ? stream.getPeerX509Certificate() : undefined;
  return certificate ? validityOf(certificate) : null;
}
