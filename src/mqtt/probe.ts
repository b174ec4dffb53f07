import { connectAsync, type IClientOptions } from 'mqtt';
import type { Settings } from '../config/schema.ts';
import { brokerName } from './link/broker-url.ts';
import { clientOptions } from './link/client-options.ts';
import { connectFailure } from './link/connect-failure.ts';
import { readCredentials } from './link/files.ts';

/**
 * Connects to one broker and leaves again: a session of its own, without a will, so that a running agent with the same
 * settings does not notice. Throws `mqtt_refused` or `mqtt_unreachable`.
 */
export async function probeBroker(url: string, mqtt: Settings['mqtt'], timeoutMs: number): Promise<void> {
  const options = clientOptions({
    url,
    protocolVersion: mqtt.protocolVersion,
    clientId: `${mqtt.clientId}-probe-${String(process.pid)}`,
    credentials: readCredentials(mqtt),
    will: { topic: 'none', payload: '' },
    keepAliveS: 30,
    connectTimeoutMs: timeoutMs / 2,
    ackTimeoutMs: timeoutMs,
    window: 1,
    maxPayloadBytes: 1024,
  });
  try {
    const client = await connectAsync(url, { ...plain(options), clean: true }, false);
    client.end(true);
  } catch (error) {
    throw connectFailure(error, brokerName(url)).error;
  }
}

/** Without the will, and without a session that the broker would keep. */
function plain(options: IClientOptions): IClientOptions {
  const kept = { ...options };
  delete kept.will;
  delete kept.properties;
  return kept;
}
