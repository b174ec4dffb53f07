import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { requests, type FuzzRequest } from '../fixtures/http-fuzz.ts';
import { Documented, type Seen } from '../fixtures/openapi.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';

/** The long form: SWELLSIGHT_FUZZ_REQUESTS=12000. */
const REQUESTS = Number(process.env['SWELLSIGHT_FUZZ_REQUESTS'] ?? 600);
const REQUEST_TIMEOUT_MS = 60_000;
/** Internal details that a problem document must not contain. */
const INTERNALS =
  /node_modules|\bat \S+ \(|FST_|HPE_|ERR_|\bE[A-Z]{4,}\b|\/(src|dist|tmp|root|home|var|etc)\/|TypeError|RangeError/;
const LIBRARIES = /sqlite|fastify|\bajv\b|sharp|onnx|libvips|busboy|undici/i;

const documented = new Documented();
const connections = new Agent({ keepAlive: true, maxSockets: 4 });
let agent: RunningAgent;
let camera: TestServer;

beforeAll(async () => {
  camera = await seaCamera();
  agent = await RunningAgent.start(
    {
      logLevel: 'warn',
      mqtt: { embedded: { port: 0 } },
      cameras: [snapshotsOf('sea', camera, 5)],
    },
    { env: { SWELLSIGHT_HTTP_RATE_LIMIT: '1000000' } },
  );
});
afterAll(async () => {
  connections.destroy();
  await agent[Symbol.asyncDispose]();
  await camera.stop();
});

async function send({ method, path, headers, body }: FuzzRequest): Promise<Seen> {
  const sent = request(new URL(agent.url), {
    agent: connections,
    method,
    path,
    headers: { ...headers, ...(body ? { 'content-length': String(body.length) } : {}) },
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  sent.end(body ?? undefined);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const contentType = response.headers['content-type'] ?? null;
  const chunks: Buffer[] = [];
  // The event stream does not end.
  if (contentType === 'text/event-stream') sent.destroy();
  else for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, contentType, body: Buffer.concat(chunks).toString() };
}

const rssMb = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${String(agent.pid)}/status`, 'utf8'))?.[1]) / 1024;

const median = (values: readonly number[]): number =>
  [...values].sort((one, another) => one - another)[values.length >> 1] ?? Number.NaN;

it(`withstands ${String(REQUESTS)} generated requests`, { timeout: 3_600_000 }, async () => {
  const end = Date.now() + 90_000;
  let observations: { readonly id: string }[] = [];
  while (observations.length < 2 && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const page = await agent.json('/api/v1/observations?status=measured').catch(() => ({ observations: [] }));
    observations = page['observations'] as typeof observations;
  }
  const snapshot = await fetch(`${agent.url}/api/v1/cameras/sea/latest.jpg?max_width_px=320`);
  const known = {
    cameras: ['sea'],
    observations: observations.map(({ id }) => id),
    jpeg: Buffer.from(await snapshot.arrayBuffer()),
  };
  expect([known.observations.length > 0, snapshot.status]).toEqual([true, 200]);

  const statuses = new Map<number, number>();
  const rss: number[] = [];
  await fc.assert(
    fc.asyncProperty(requests(documented.document, known), async (asked) => {
      const seen = await send(asked);
      statuses.set(seen.status, (statuses.get(seen.status) ?? 0) + 1);
      rss.push(rssMb());
      expect(seen.status).not.toBe(500);
      expect(documented.fault(asked.method, asked.path, seen)).toBeNull();
      if (seen.contentType !== 'application/problem+json') return;
      expect(seen.body).not.toMatch(INTERNALS);
      expect(seen.body).not.toMatch(LIBRARIES);
    }),
    { numRuns: REQUESTS, endOnFailure: true },
  );
  const quarter = Math.floor(rss.length / 4);
  const [second, last] = [median(rss.slice(quarter, 2 * quarter)), median(rss.slice(-quarter))];
  process.stdout.write(
    `fuzz: ${JSON.stringify(Object.fromEntries(statuses))}, resident ${second.toFixed(1)} MB in the second quarter, ` +
      `${last.toFixed(1)} MB in the last\n`,
  );
  // In a short run, the garbage collector may not have run yet.
  expect(last - second).toBeLessThan(REQUESTS >= 10_000 ? 8 : 30);
  expect(statuses.get(200)).toBeGreaterThan(REQUESTS / 10);
  expect((await agent.json('/live'))['live']).toBe(true);
  // The log contains no internal error.
  const failures = agent.lines.filter(({ msg }) => msg === 'request failed');
  expect(failures).toEqual([]);
});
