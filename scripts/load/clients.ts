import { randomBytes } from 'node:crypto';
import { Agent, request, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface LoadOptions {
  readonly port: number;
  readonly clients: number;
  readonly durationMs: number;
  /** Each client waits so long between two requests on average. */
  readonly thinkMs: number;
  readonly camera: string;
  /** Images that the clients send; every other time with other bytes, so that no cache knows them. */
  readonly pictures: readonly Uint8Array[];
  /** The longest that a client heeds `Retry-After`. */
  readonly patienceMs: number;
}

/** What the clients were answered. */
export interface LoadTally {
  requests: number;
  /** By status, or by the error's code where there was no answer. */
  readonly answers: Map<string, number>;
  /** Answers and ends that must not be: what was asked, and what came. */
  readonly faults: string[];
  /** Milliseconds to the last byte, by what was asked. */
  readonly tookMs: Map<string, number[]>;
}

interface Question {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body?: Buffer;
  readonly weight: number;
}

const BOUNDARY = 'swellsight-load';
const MAX_FAULTS = 100;

/** Clients of many kinds at once, each with a connection of its own that it keeps. */
export async function putUnderLoad(options: LoadOptions, signal: AbortSignal): Promise<LoadTally> {
  const tally: LoadTally = { requests: 0, answers: new Map(), faults: [], tookMs: new Map() };
  const agent = new Agent({ keepAlive: true, maxSockets: options.clients });
  const endMs = performance.now() + options.durationMs;
  const client = async (): Promise<void> => {
    await delay(Math.random() * Math.min(1000, options.durationMs / 4));
    while (performance.now() < endMs && !signal.aborted) {
      const waitMs = await ask(choose(options), options, agent, tally);
      const thinkMs = -Math.log(1 - Math.random()) * options.thinkMs;
      await delay(Math.min(Math.max(waitMs, thinkMs), Math.max(0, endMs - performance.now())));
    }
  };
  await Promise.all(Array.from({ length: options.clients }, client));
  agent.destroy();
  return tally;
}

function choose({ camera, pictures }: LoadOptions): Question {
  const all: readonly Question[] = [
    { name: 'live', method: 'GET', path: '/live', weight: 1 },
    { name: 'status', method: 'GET', path: '/api/v1/status', weight: 2 },
    { name: 'observations', method: 'GET', path: '/api/v1/observations?limit=50', weight: 2 },
    { name: 'cameras', method: 'GET', path: '/api/v1/cameras', weight: 2 },
    { name: 'metrics', method: 'GET', path: '/metrics', weight: 0.5 },
    { name: 'latest.jpg', method: 'GET', path: `/api/v1/cameras/${camera}/latest.jpg`, weight: 0.5 },
    { name: 'analyze', method: 'POST', path: '/api/v1/analyze', weight: pictures.length > 0 ? 2 : 0 },
  ];
  let at = Math.random() * all.reduce((sum, { weight }) => sum + weight, 0);
  const chosen = all.find(({ weight }) => (at -= weight) < 0) ?? all[0];
  if (!chosen) throw new Error('nothing to ask');
  return chosen.name === 'analyze' ? { ...chosen, body: form(pictures) } : chosen;
}

function form(pictures: readonly Uint8Array[]): Buffer {
  const picture = pictures[Math.floor(Math.random() * pictures.length)] ?? new Uint8Array();
  return Buffer.concat([
    Buffer.from(
      `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="sea.jpg"\r\ncontent-type: image/jpeg\r\n\r\n`,
    ),
    picture,
    // Behind the end of the image: another file, and the same picture.
    Math.random() < 0.5 ? randomBytes(8) : Buffer.alloc(0),
    Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
  ]);
}

/** Resolves with how long the answer says to wait, ms. */
async function ask(
  { name, method, path, body }: Question,
  { port, patienceMs }: LoadOptions,
  agent: Agent,
  tally: LoadTally,
): Promise<number> {
  const begunMs = performance.now();
  tally.requests += 1;
  const count = (answer: string): void => {
    tally.answers.set(answer, (tally.answers.get(answer) ?? 0) + 1);
  };
  const fault = (what: string): void => {
    if (tally.faults.length < MAX_FAULTS) tally.faults.push(`${name}: ${what}`);
  };
  try {
    const response = await send(port, method, path, body, agent);
    const text: Buffer[] = [];
    for await (const chunk of response) text.push(chunk as Buffer);
    const status = response.statusCode ?? 0;
    count(String(status));
    const took = tally.tookMs.get(name) ?? [];
    tally.tookMs.set(name, took);
    took.push(performance.now() - begunMs);
    const retryAfterS = response.headers['retry-after'];
    const refused = (status === 503 || status === 429) && retryAfterS !== undefined;
    if (status !== 200 && !refused) fault(`${status} ${Buffer.concat(text).toString().slice(0, 300)}`);
    return refused ? Math.min(Number(retryAfterS) * 1000, patienceMs) : 0;
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown);
    count(code);
    fault(code);
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
      // The server may close a connection that is idle just as it is used again (RFC 9112 section 9.3.1).
      if (sent.reusedSocket && 'code' in error && error.code === 'ECONNRESET' && method === 'GET')
        send(port, method, path, body, agent).then(resolve, reject);
      else reject(error);
    });
    sent.end(body);
  });
}
