import { describe, expect, it } from 'vitest';
import type { AgentApi } from '../../../src/contract/api.ts';
import type { Operation } from '../../../src/contract/openapi/operation.ts';
import { OPERATIONS } from '../../../src/contract/openapi/emit-openapi.ts';
import { AgentError, type ErrorCode } from '../../../src/base/errors.ts';
import { CONNECTION_LIMITS } from '../../../src/http/connections.ts';
import { Feed, type FeedSource } from '../../../src/http/feed.ts';
import { createLog } from '../../../src/base/log.ts';
import { CannedAgent, observation } from '../../fixtures/agent-api.ts';
import { answerTo, serve, type Answer } from '../../fixtures/http-server.ts';
import { Documented } from '../../fixtures/openapi.ts';
import { head, sample } from '../../fixtures/samples.ts';

const EMPTY: FeedSource = {
  observations: { after: () => [], rowIdOf: () => null, newestRow: () => null },
  events: { after: () => [], newestSeq: () => 0 },
};
const UNCOUNTED = { rateLimit: 1_000_000 };

/** What is asked for now, and what it shall fail with. */
interface Fault {
  code: ErrorCode;
  operation: string;
}

/** An agent of which nothing works but the list of cameras, where another path looks its camera up. */
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

/** The code of a failure that is told as the document says. */
function codeOf(method: string, path: string, { status, headers, text, json }: Answer): unknown {
  const contentType = headers['content-type'] ?? null;
  expect(documented.fault(method, path, { status, contentType, body: text, headers })).toBeNull();
  expect(text).not.toMatch(/\/var\/lib|node_modules|\bat \w+ \(|\/src\//);
  return json()['code'];
}

type Site = Awaited<ReturnType<typeof serve>>;

/** What an operation says to a request that it would take. */
async function refusal(
  site: Site,
  [id, operation]: readonly [string, Operation],
  more: Record<string, string> = {},
): Promise<unknown> {
  const { path, headers, body } = sample(id, operation);
  const answer = await site.ask(operation.method, path, { ...headers, ...more }, body);
  return [id, codeOf(operation.method, path, answer)];
}

/** What an operation says to bytes. */
async function rawRefusal(
  { port }: Site,
  [id, operation]: readonly [string, Operation],
  bytes: string,
): Promise<unknown> {
  return [id, codeOf(operation.method, sample(id, operation).path, await answerTo(port, bytes))];
}

/** Captures that are not done before they are told to be. */
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
      for (const one of finish) one();
    },
  };
}

describe('failures of the agent', () => {
  it('are told as the document says, each code of each operation', async () => {
    const fault: Fault = { code: 'internal', operation: '' };
    const api = failing(fault);
    const feed = new Feed({}, { source: EMPTY, log: createLog('silent'), states: () => api.status() });
    const metrics = {
      contentType: 'text/plain',
      text: () => Promise.reject(new TypeError('no figures at /var/lib/swellsight')),
      countRequest: () => undefined,
      countProblem: () => undefined,
      countStream: () => () => undefined,
    };
    await using server = await serve(UNCOUNTED, { api, feed, metrics });
    for (const [id, operation] of operations) {
      if (operation.tag === 'pages') continue;
      for (const code of [...operation.errors, 'internal'] as const) {
        Object.assign(fault, { code, operation: id });
        expect(await refusal(server, [id, operation])).toEqual([id, code]);
      }
    }
  });

  it('are told so even where no operation has begun', async () => {
    const broken = new Proxy<string[]>([], {
      get: () => {
        throw new TypeError('Cannot read /var/lib/swellsight/secret.db of undefined');
      },
    });
    await using server = await serve({ ...UNCOUNTED, cors: broken });
    for (const one of operations) expect(await refusal(server, one)).toEqual([one[0], 'internal']);
  });
});

describe('refusals of the server', () => {
  it('are told as the document says, of every operation', async () => {
    await using guarded = await serve({ ...UNCOUNTED, token: 'secret' });
    await using busy = await serve({ rateLimit: 1 });
    await busy.ask('GET', '/');
    const token = { authorization: 'Bearer secret' };
    const foreign = { ...token, host: 'evil.example' };
    for (const one of operations) {
      // Without a feed, and without figures, there are no such paths; that the guard comes first is all the same.
      const [id, { open, method }] = one;
      if (open !== true) expect(await refusal(guarded, one)).toEqual([id, 'request_unauthorized']);
      expect(await refusal(guarded, one, foreign)).toEqual([id, 'request_host_refused']);
      if (method !== 'GET')
        expect(await refusal(guarded, one, { ...token, origin: 'https://evil.example' })).toEqual([
          id,
          'request_origin_refused',
        ]);
      // Supervisors and Prometheus are counted only where they are refused.
      expect(await refusal(busy, one, foreign)).toEqual([id, 'request_too_many']);
    }
  });

  it('are told as the document says where the input is wrong', async () => {
    await using server = await serve(UNCOUNTED);
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
      if (operation.params?.properties['id']) await wrong(method, path.replace('north', '%20'), 400);
      if (operation.params)
        await wrong(
          method,
          path.replace(/north|start\.js/, (name) => name.repeat(100)),
          413,
        );
      if (operation.query && method === 'GET') await wrong(method, `${path}?no_such=1`, 400);
      if (operation.body?.contentType === 'application/json') await wrong(method, path, 400, {}, '{');
      // node:http tells no length of a DELETE by itself.
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
    await wrong('GET', '/api/v1/observations?from=2026-06-30T23:59:60Z', 400);
    await wrong('GET', '/api/v1/observations.csv?from=2026-06-30T00:00:00Z&to=2026-06-29T00:00:00Z', 400);
  });

  it('are told as the document says where the head is wrong, on every path', async () => {
    await using server = await serve(UNCOUNTED);
    for (const one of operations) {
      const [id, { method, body }] = one;
      expect(await rawRefusal(server, one, head(...one, 'host: localhost'))).toEqual([id, 'request_invalid']);
      const long = `x: ${'y'.repeat(20_000)}`;
      expect(await rawRefusal(server, one, head(...one, long))).toEqual([id, 'request_too_large']);
      const json = body?.contentType === 'multipart/form-data' ? [] : ['content-type: application/json'];
      const large = head(...one, ...json, 'content-length: 99999999999');
      if (method !== 'GET') expect(await rawRefusal(server, one, large)).toEqual([id, 'request_too_large']);
    }
  });

  it('are told as the document says to who sends too slowly, on every path', async () => {
    await using server = await serve(UNCOUNTED);
    const late = operations.map(async (one) => {
      const bytes = head(...one).slice(0, -2);
      expect(await rawRefusal(server, one, bytes)).toEqual([one[0], 'request_timeout']);
    });
    const stuck = operations.map(async (one) => {
      const [id, { method, body }] = one;
      if (method === 'GET') return;
      const json = body?.contentType === 'multipart/form-data' ? [] : ['content-type: application/json'];
      const bytes = `${head(...one, ...json, 'content-length: 99')}{`;
      expect(await rawRefusal(server, one, bytes)).toEqual([id, 'request_timeout']);
    });
    await Promise.all([...late, ...stuck]);
  });

  it('are told as the document says while there is no room for another connection', async () => {
    await using server = await serve(UNCOUNTED);
    const captures = holdCaptures(server);
    const asked = await captures.begin(CONNECTION_LIMITS.maxConnections);
    for (const one of interruptible) expect(await refusal(server, one)).toEqual([one[0], 'request_overload']);
    expect((await server.ask('GET', '/live')).status).toBe(200);
    captures.finish();
    for (const { status } of await Promise.all(asked)) expect(status).toBe(200);
  });

  it('are told as the document says while the server stops', async () => {
    await using server = await serve(UNCOUNTED);
    const captures = holdCaptures(server);
    const [asked] = await captures.begin(1);
    const stopped = server.server.stop();
    const refused = await Promise.all(interruptible.map((one) => refusal(server, one)));
    expect(refused).toEqual(interruptible.map(([id]) => [id, 'request_stopping']));
    expect((await server.ask('GET', '/live')).status).toBe(200);
    captures.finish();
    expect((await asked)?.status).toBe(200);
    await stopped;
  });
});

describe('the document', () => {
  it('names no failure that was not seen above, of any operation', () => {
    const failures = documented.failures();
    expect(failures.length).toBeGreaterThan(400);
    expect(failures.filter((one) => !documented.seen.has(one))).toEqual([]);
  });

  it('lacks no path', async () => {
    await using server = await serve();
    const paths = (await server.ask('GET', '/')).json()['paths'] as string[];
    expect(new Set(paths)).toEqual(new Set(Object.keys(documented.document.paths)));
  });
});
