import { describe, expect, it } from 'vitest';
import type { AgentApi } from '../../../src/contract/api.ts';
import type { Operation } from '../../../src/contract/openapi/operation.ts';
import { OPERATIONS } from '../../../src/contract/openapi/emit-openapi.ts';
import { AgentError, type ErrorCode } from '../../../src/base/errors.ts';
import { CONNECTION_LIMITS } from '../../../src/http/connections.ts';
import { Feed, type FeedSource } from '../../../src/http/feed.ts';
import { createLog } from '../../../src/base/log.ts';
import { CannedAgent, OBSERVATION_ID, observation } from '../../fixtures/agent-api.ts';
import { sendRawForAnswer, startServer, type HttpAnswer } from '../../fixtures/http-server.ts';
import { Documented } from '../../fixtures/openapi.ts';
import { head, sample } from '../../fixtures/samples.ts';

const EMPTY: FeedSource = {
  observations: { after: () => [], rowIdOf: () => null, newestRow: () => null },
  events: { after: () => [], newestSeq: () => 0 },
};
const UNCOUNTED = { rateLimit: 1_000_000 };

/** The operation under test, and the error that it must fail with. */
interface Fault {
  code: ErrorCode;
  operation: string;
}

/** An agent whose methods all throw, except `cameras`, which other operations use to look up their camera. */
function failing(fault: Fault): AgentApi {
  const fail = (): never => {
    throw new AgentError(fault.code, 'it failed at /var/lib/swellsight/agent.db');
  };
  return new Proxy(new CannedAgent(), {
    get: (agent, name, receiver) =>
      name === 'cameras' && fault.operation !== 'cameras'
        ? (Reflect.get(agent, name, receiver) as unknown)
        : fail,
  });
}

const operations = Object.entries<Operation>(OPERATIONS);
const interruptible = operations.filter(([, { always }]) => always !== true);
const documented = new Documented();
/** The variable part of the path of a sample. */
const SUBJECT = new RegExp(`north|start\\.js|${OBSERVATION_ID}`);

/** Checks a problem against the document, and returns its code. */
function codeOf(method: string, path: string, { status, headers, text, json }: HttpAnswer): unknown {
  const contentType = headers['content-type'] ?? null;
  expect(documented.fault(method, path, { status, contentType, body: text, headers })).toBeNull();
  expect(text).not.toMatch(/\/var\/lib|node_modules|\bat \w+ \(|\/src\//);
  return json()['code'];
}

type Site = Awaited<ReturnType<typeof startServer>>;

/** Sends a valid request of the operation, and returns the code of the problem. */
async function sendSample(
  site: Site,
  [id, operation]: readonly [string, Operation],
  more: Record<string, string> = {},
): Promise<unknown> {
  const { path, headers, body } = sample(id, operation);
  const answer = await site.ask(operation.method, path, { ...headers, ...more }, body);
  return [id, codeOf(operation.method, path, answer)];
}

/** Sends raw bytes, and returns the code of the problem. */
async function sendBytes(
  { port }: Site,
  [id, operation]: readonly [string, Operation],
  bytes: string,
): Promise<unknown> {
  return [id, codeOf(operation.method, sample(id, operation).path, await sendRawForAnswer(port, bytes))];
}

/** Makes captures wait until `finish`. */
function holdCaptures(site: Site) {
  const finish: (() => void)[] = [];
  site.agent.captured = () => new Promise((resolve) => finish.push(() => resolve(observation)));
  return {
    begin: async (count: number) => {
      const asked = Array.from({ length: count }, () => site.ask('POST', '/api/v1/cameras/north/capture'));
      await expect.poll(() => finish.length, { timeout: 60_000 }).toBe(count);
      return asked;
    },
    finish: () => {
      for (const finishOne of finish) finishOne();
    },
  };
}

describe('errors of the agent', () => {
  it('match the document, for each code of each operation', async () => {
    const fault: Fault = { code: 'internal', operation: '' };
    const api = failing(fault);
    const feed = new Feed({}, { source: EMPTY, log: createLog('silent'), states: () => api.status() });
    const metrics = {
      contentType: 'text/plain',
      text: () => Promise.reject(new TypeError('no metrics at /var/lib/swellsight')),
      countRequest: () => undefined,
      countProblem: () => undefined,
      countStream: () => () => undefined,
    };
    await using server = await startServer(UNCOUNTED, { api, feed, metrics });
    for (const [id, operation] of operations) {
      if (operation.tag === 'pages') continue;
      for (const code of [...operation.errors, 'internal'] as const) {
        Object.assign(fault, { code, operation: id });
        expect(await sendSample(server, [id, operation])).toEqual([id, code]);
      }
    }
  });

  it('match the document before a route is called', async () => {
    const broken = new Proxy<string[]>([], {
      get: () => {
        throw new TypeError('Cannot read /var/lib/swellsight/secret.db of undefined');
      },
    });
    await using server = await startServer({ ...UNCOUNTED, cors: broken });
    for (const one of operations) expect(await sendSample(server, one)).toEqual([one[0], 'internal']);
  });
});

describe('refusals by the server', () => {
  it('match the document for every operation', async () => {
    await using guarded = await startServer({ ...UNCOUNTED, token: 'secret' });
    await using busy = await startServer({ rateLimit: 1, token: 'secret' });
    await busy.ask('GET', '/');
    const token = { authorization: 'Bearer secret' };
    const foreign = { ...token, host: 'evil.example' };
    for (const one of operations) {
      // Without a feed and metrics, some paths do not exist; the guard refuses the request before that matters.
      const [id, { open, method }] = one;
      if (open !== true) expect(await sendSample(guarded, one)).toEqual([id, 'request_unauthorized']);
      expect(await sendSample(guarded, one, foreign)).toEqual([id, 'request_host_refused']);
      if (method !== 'GET')
        expect(await sendSample(guarded, one, { ...token, origin: 'https://evil.example' })).toEqual([
          id,
          'request_origin_refused',
        ]);
      // Requests to unlimited paths count only when their token is refused.
      if (open !== true) expect(await sendSample(busy, one)).toEqual([id, 'request_too_many']);
    }
  });

  it('match the document for invalid input', async () => {
    await using server = await startServer(UNCOUNTED);
    const wrong = async (
      method: string,
      path: string,
      status: number,
      headers: Record<string, string> = {},
      body?: string,
    ): Promise<void> => {
      const answer = await server.ask(method, path, headers, body);
      codeOf(method, path, answer);
      expect([method, path.slice(0, 60), answer.status]).toEqual([method, path.slice(0, 60), status]);
    };
    for (const [id, operation] of operations) {
      const { path } = sample(id, operation);
      const { method } = operation;
      if (operation.params?.properties['id']) await wrong(method, path.replace(SUBJECT, '%20'), 400);
      if (operation.params)
        await wrong(
          method,
          path.replace(SUBJECT, (name) => name.repeat(100)),
          413,
        );
      if (operation.query && method === 'GET') await wrong(method, `${path}?no_such=1`, 400);
      if (operation.body?.contentType === 'application/json') await wrong(method, path, 400, {}, '{');
      // node:http sends no content-length for DELETE.
      const text = { 'content-type': 'text/plain', 'content-length': '1' };
      if (method !== 'GET') await wrong(method, path, 415, text, 'x');
      if (operation.body?.contentType === 'application/json' && operation.body.checkedByOperation !== true)
        await wrong(method, path, 413, {}, `{}${' '.repeat(100_000)}`);
    }
    await wrong('GET', '/nothing', 404);
    await wrong('PUT', '/api/v1/cameras////calibration', 404, {}, '{');
    await wrong('PATCH', '/api/v1/cameras', 405, {}, '{');
    await wrong('DELETE', '/live', 405);
    await wrong('GET', '/docs/package.json', 404);
    await wrong('GET', '/docs/..%2f..%2fpackage.json', 404);
    await wrong('GET', '/assets/nothing.js', 404);
    await wrong('GET', '/assets/..%2findex.html', 404);
    await wrong('GET', '/api/v1/observations?from=2026-06-30T23:59:60Z', 400);
    await wrong('GET', '/api/v1/observations.csv?from=2026-06-30T00:00:00Z&to=2026-06-29T00:00:00Z', 400);
  });

  it('match the document for invalid headers, on every path', async () => {
    await using server = await startServer(UNCOUNTED);
    for (const one of operations) {
      const [id, { method, body }] = one;
      expect(await sendBytes(server, one, head(...one, 'host: localhost'))).toEqual([id, 'request_invalid']);
      const long = `x: ${'y'.repeat(20_000)}`;
      expect(await sendBytes(server, one, head(...one, long))).toEqual([id, 'request_too_large']);
      const json = body?.contentType === 'multipart/form-data' ? [] : ['content-type: application/json'];
      const large = head(...one, ...json, 'content-length: 99999999999');
      if (method !== 'GET') expect(await sendBytes(server, one, large)).toEqual([id, 'request_too_large']);
    }
  });

  it('match the document for slow senders, on every path', async () => {
    await using server = await startServer(UNCOUNTED);
    const late = operations.map(async (one) => {
      const bytes = head(...one).slice(0, -2);
      expect(await sendBytes(server, one, bytes)).toEqual([one[0], 'request_timeout']);
    });
    const stuck = operations.map(async (one) => {
      const [id, { method, body }] = one;
      if (method === 'GET') return;
      const json = body?.contentType === 'multipart/form-data' ? [] : ['content-type: application/json'];
      const bytes = `${head(...one, ...json, 'content-length: 99')}{`;
      expect(await sendBytes(server, one, bytes)).toEqual([id, 'request_timeout']);
    });
    await Promise.all([...late, ...stuck]);
  });

  it('match the document when there are too many connections', async () => {
    await using server = await startServer(UNCOUNTED);
    const captures = holdCaptures(server);
    const asked = await captures.begin(CONNECTION_LIMITS.maxConnections);
    for (const one of interruptible)
      expect(await sendSample(server, one)).toEqual([one[0], 'request_overload']);
    expect((await server.ask('GET', '/live')).status).toBe(200);
    captures.finish();
    for (const { status } of await Promise.all(asked)) expect(status).toBe(200);
  });

  it('match the document while the server stops', async () => {
    await using server = await startServer(UNCOUNTED);
    const captures = holdCaptures(server);
    const [asked] = await captures.begin(1);
    const stopped = server.server.stop();
    const refused = await Promise.all(interruptible.map((one) => sendSample(server, one)));
    expect(refused).toEqual(interruptible.map(([id]) => [id, 'request_stopping']));
    expect((await server.ask('GET', '/live')).status).toBe(200);
    captures.finish();
    expect((await asked)?.status).toBe(200);
    await stopped;
  });
});

describe('the OpenAPI document', () => {
  it('contains no error that the tests above did not provoke', () => {
    const failures = documented.failures();
    expect(failures.length).toBeGreaterThan(400);
    expect(failures.filter((one) => !documented.seen.has(one))).toEqual([]);
  });

  it('contains every path of the server', async () => {
    await using server = await startServer();
    const paths = (await server.ask('GET', '/')).json()['paths'] as string[];
    expect(new Set(paths)).toEqual(new Set(Object.keys(documented.document.paths)));
  });
});
