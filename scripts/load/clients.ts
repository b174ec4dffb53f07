import { randomBytes } from 'node:crypto';
import { Agent, request, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface LoadOptions {
  readonly port: number;
  readonly clients: number;
  readonly durationMs: number;
  /** Mean pause of a client between two requests. */
  readonly thinkMs: number;
  readonly camera: string;
  /** Images that the clients send; half of the requests change the bytes, so that they miss the cache. */
  readonly images: readonly Uint8Array[];
  /** Upper limit for `Retry-After`. */
  readonly maxRetryAfterMs: number;
}

/** The responses to all clients. */
export interface LoadTally {
  requests: number;
  /** Count by status, or by error code where there was no response. */
  readonly answers: Map<string, number>;
  /** Unexpected responses and errors, with the name of the request. */
  readonly faults: string[];
  /** Time to the last byte by name of the request, ms. */
  readonly tookMs: Map<string, number[]>;
}

interface LoadRequest {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body?: Buffer;
  readonly weight: number;
}

const BOUNDARY = 'swellsight-load';
const MAX_FAULTS = 100;

/** Runs the clients, each with its own keep-alive connection and random requests. */
export async function runClients(options: LoadOptions, signal: AbortSignal): Promise<LoadTally> {
  const tally: LoadTally = { requests: 0, answers: new Map(), faults: [], tookMs: new Map() };
  const agent = new Agent({ keepAlive: true, maxSockets: options.clients });
  const endMs = performance.now() + options.durationMs;
  const client = async (): Promise<void> => {
    await delay(Math.random() * Math.min(1000, options.durationMs / 4));
    while (performance.now() < endMs && !signal.aborted) {
      const waitMs = await sendRequest(chooseRequest(options), options, agent, tally);
      const thinkMs = -Math.log(1 - Math.random()) * options.thinkMs;
      await delay(Math.min(Math.max(waitMs, thinkMs), Math.max(0, endMs - performance.now())));
    }
  };
  await Promise.all(Array.from({ length: options.clients }, client));
  agent.destroy();
  return tally;
}

function chooseRequest({ camera, images }: LoadOptions): LoadRequest {
  const all: readonly LoadRequest[] = [
    { name: 'live', method: 'GET', path: '/live', weight: 1 },
    { name: 'status', method: 'GET', path: '/api/v1/status', weight: 2 },
    { name: 'observations', method: 'GET', path: '/api/v1/observations?limit=50', weight: 2 },
    { name: 'cameras', method: 'GET', path: '/api/v1/cameras', weight: 2 },
    { name: 'metrics', method: 'GET', path: '/metrics', weight: 0.5 },
    { name: 'latest.jpg', method: 'GET', path: `/api/v1/cameras/${camera}/latest.jpg`, weight: 0.5 },
    { name: 'analyze', method: 'POST', path: '/api/v1/analyze', weight: images.length > 0 ? 2 : 0 },
  ];
  let at = Math.random() * all.reduce((sum, { weight }) => sum + weight, 0);
  const chosen = all.find(({ weight }) => (at -= weight) < 0) ?? all[0];
  if (!chosen) throw new Error('no request to choose');
  return chosen.name === 'analyze' ? { ...chosen, body: makeForm(images) } : chosen;
}

function makeForm(images: readonly Uint8Array[]): Buffer {
  const image = images[Math.floor(Math.random() * images.length)] ?? new Uint8Array();
  return Buffer.concat([
    Buffer.from(
      `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="sea.jpg"\r\ncontent-type: image/jpeg\r\n\r\n`,
    ),
    image,
    // Bytes after the end of the JPEG: another digest, the same image.
    Math.random() < 0.5 ? randomBytes(8) : Buffer.alloc(0),
    Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
  ]);
}

/** Sends a request and adds its response to the tally. Resolves with the time to wait before the next one, ms. */
async function sendRequest(
  { name, method, path, body }: LoadRequest,
  { port, maxRetryAfterMs }: LoadOptions,
  agent: Agent,
  tally: LoadTally,
): Promise<number> {
  const startedMs = performance.now();
  tally.requests += 1;
  const countAnswer = (answer: string): void => {
    tally.answers.set(answer, (tally.answers.get(answer) ?? 0) + 1);
  };
  const addFault = (description: string): void => {
    if (tally.faults.length < MAX_FAULTS) tally.faults.push(`${name}: ${description}`);
  };
  try {
    const response = await send(port, method, path, body, agent);
    const text: Buffer[] = [];
    for await (const chunk of response) text.push(chunk as Buffer);
    const status = response.statusCode ?? 0;
    countAnswer(String(status));
    const durationsMs = tally.tookMs.get(name) ?? [];
    tally.tookMs.set(name, durationsMs);
    durationsMs.push(performance.now() - startedMs);
    const retryAfterS = response.headers['retry-after'];
    const isRefused = (status === 503 || status === 429) && retryAfterS !== undefined;
    if (status !== 200 && !isRefused) addFault(`${status} ${Buffer.concat(text).toString().slice(0, 300)}`);
    return isRefused ? Math.min(Number(retryAfterS) * 1000, maxRetryAfterMs) : 0;
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown);
    countAnswer(code);
    addFault(code);
    return 100;
  }
}

function send(
  port: number,
  method: string,
  path: string,
  body: Buffer | undefined,
  agent: Agent,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string | number> = { 'accept-encoding': 'gzip' };
    if (body) {
      headers['content-type'] = `multipart/form-data; boundary=${BOUNDARY}`;
      headers['content-length'] = body.length;
    }
    const sent = request({ host: '127.0.0.1', port, method, path, headers, agent }, resolve);
    sent.on('error', (error) => {
      // The server may close an idle connection at the moment of its next use: retry (RFC 9112 section 9.3.1).
      if (sent.reusedSocket && 'code' in error && error.code === 'ECONNRESET' && method === 'GET')
        send(port, method, path, body, agent).then(resolve, reject);
      else reject(error);
    });
    sent.end(body);
  });
}
