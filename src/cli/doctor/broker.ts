import { createConnection } from 'node:net';
import { redactUrl } from '../../base/log.ts';
import { failed, ok, warn, type DoctorContext, type Finding } from './types.ts';

const WITHIN_MS = 10_000;

/** Each broker is connected to, with the credentials of the agent and a client id of its own. */
export async function* checkBroker({ settings }: DoctorContext): AsyncGenerator<Finding> {
  const { mqtt } = settings;
  if (mqtt.url.length === 0) {
    const { host, port } = mqtt.embedded;
    const at = `${host}:${String(port)}`;
    yield (await answers(host, port))
      ? warn(
          'broker',
          `something listens at ${at} already`,
          'right when an agent runs; else set mqtt.url to it, or another mqtt.embedded.port',
        )
      : ok('broker', `embedded, ${at} is free`);
    return;
  }
  const { probeBroker } = await import('../../mqtt/probe.ts');
  for (const url of mqtt.url) {
    const shown = redactUrl(url);
    const startedMs = performance.now();
    try {
      await probeBroker(url, mqtt, WITHIN_MS);
      yield ok('broker', `${shown} takes us, in ${(performance.now() - startedMs).toFixed(0)} ms`);
    } catch (thrown) {
      yield failed('broker', thrown);
    }
  }
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: host.replace(/^\[|\]$/g, ''), port, timeout: 2000 });
    const settle = (found: boolean) => () => {
      socket.destroy();
      resolve(found);
    };
    socket.once('connect', settle(true)).once('error', settle(false)).once('timeout', settle(false));
  });
}
