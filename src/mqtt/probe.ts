import { connectAsync, type IClientOptions } from 'mqtt';
import type { Settings } from '../config/schema.ts';
import { clientOptions } from './link/client-options.ts';
import { readCredentials } from './link/credential-files.ts';
import { connectFailure } from './link/failures.ts';

/**
 * Connects to one broker and disconnects. It uses its own client id and no will message, so it does not disturb a
 * running agent with the same settings. Throws `mqtt_refused` or `mqtt_unreachable`.
 */
export async function probeBroker(url: string, mqtt: Settings['mqtt'], timeoutMs: number): Promise<void> {
  const { url: address, options } = clientOptions({
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
    const client = await connectAsync(address, withoutSession(options), false);
    client.end(true);
  } catch (error) {
    throw connectFailure(error, url).error;
  }
}

/** Returns the options without the will message, and such that the broker stores no session. */
function withoutSession(options: IClientOptions): IClientOptions {
  const remaining: IClientOptions = { ...options, clean: true };
  delete remaining.will;
  delete remaining.properties;
  return remaining;
}
