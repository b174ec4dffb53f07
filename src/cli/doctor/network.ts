import { createConnection, createServer } from 'node:net';
import { deadlineSignal } from '../../base/deadline.ts';
import { redactUrl } from '../../base/log.ts';
import {
  errorFinding,
  failFinding,
  okFinding,
  warnFinding,
  type DoctorContext,
  type Finding,
} from './finding.ts';

const BROKER_TIMEOUT_MS = 10_000;
const PORT_TIMEOUT_MS = 2000;
const AGENT_TIMEOUT_MS = 5000;

/** Connects to each broker with the credentials of the agent, but another client id. */
export async function* checkBroker({ settings }: DoctorContext): AsyncGenerator<Finding> {
  const { mqtt } = settings;
  if (mqtt.url.length === 0) {
    const { host, port } = mqtt.embedded;
    const at = `${host}:${String(port)}`;
    yield (await isPortOpen(host, port))
      ? warnFinding(
          'broker',
          `a program already listens at ${at}`,
          'expected while an agent runs; else set mqtt.url to it, or set another mqtt.embedded.port',
        )
      : okFinding('broker', `embedded, ${at} is free`);
    return;
  }
  const { probeBroker } = await import('../../mqtt/probe.ts');
  for (const url of mqtt.url) {
    const shown = redactUrl(url);
    const startedMs = performance.now();
    try {
      await probeBroker(url, mqtt, BROKER_TIMEOUT_MS);
      yield okFinding('broker', `connected to ${shown} in ${(performance.now() - startedMs).toFixed(0)} ms`);
    } catch (thrown) {
      yield errorFinding('broker', thrown);
    }
  }
}

function isPortOpen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: withoutBrackets(host), port, timeout: PORT_TIMEOUT_MS });
    const settle = (isOpen: boolean) => () => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', settle(true)).once('error', settle(false)).once('timeout', settle(false));
  });
}

/** The port must be free, or in use by a running agent. */
export async function* checkHttp({ settings }: DoctorContext): AsyncGenerator<Finding> {
  const { host, port } = settings.http;
  const address = `${host}:${String(port)}`;
  const code = await tryListen(host, port);
  if (code === null) yield okFinding('http', `${address} is free`);
  else if (code === 'EADDRINUSE')
    yield (await isAgent(host, port))
      ? okFinding('http', `an agent runs at ${address}`)
      : failFinding('http', `${address} is used by another program`, 'set another http.port');
  else yield failFinding('http', `cannot listen on ${address} (${code})`, 'set http.host and http.port');
}

/** Resolves with the error code; null if listening works. */
function tryListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, withoutBrackets(host), () => server.close(() => resolve(null)));
  });
}

async function isAgent(host: string, port: number): Promise<boolean> {
  const name = /^(0\.0\.0\.0|::|\[::\])$/.test(host) ? '127.0.0.1' : host;
  try {
    const answer = await fetch(`http://${name}:${String(port)}/live`, {
      signal: deadlineSignal(AGENT_TIMEOUT_MS),
    });
    const body = (await answer.json()) as Record<string, unknown>;
    return typeof body['live'] === 'boolean';
  } catch {
    return false;
  }
}

/** `[::1]` as `::1`. */
const withoutBrackets = (host: string): string => host.replace(/^\[|\]$/g, '');
