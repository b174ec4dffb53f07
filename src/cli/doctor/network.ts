import { createServer } from 'node:net';
import { deadlineSignal } from '../../base/deadline.ts';
import { localUrl } from '../agent/local-client.ts';
import { failFinding, okFinding, type Finding } from '../../control/doctor/finding.ts';
import type { DoctorContext } from './context.ts';

const AGENT_TIMEOUT_MS = 5000;

/** The port must be free, or in use by a running agent. */
export async function* checkHttp({ settings }: DoctorContext): AsyncGenerator<Finding> {
  const { host, port } = settings.http;
  const address = `${host}:${String(port)}`;
  const code = await tryListen(host, port);
  if (code === null) yield okFinding('http', `${address} is free`);
  else if (code === 'EADDRINUSE')
    yield (await isAgent(localUrl(settings.http)))
      ? okFinding('http', `an agent runs at ${address}`)
      : failFinding('http', `${address} is used by another program`, 'set another http.port');
  else yield failFinding('http', `cannot listen on ${address} (${code})`, 'set http.host and http.port');
}

/** Resolves with the error code; null if listening works. It finds a port that another program has bound, but not opened. */
export function tryListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, withoutBrackets(host), () => server.close(() => resolve(null)));
  });
}

async function isAgent(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/live`, { signal: deadlineSignal(AGENT_TIMEOUT_MS) });
    const body = (await answer.json()) as Record<string, unknown>;
    return typeof body['live'] === 'boolean';
  } catch {
    return false;
  }
}

/** `[::1]` as `::1`. */
const withoutBrackets = (host: string): string => host.replace(/^\[|\]$/g, '');
