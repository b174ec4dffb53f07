import { describe, expect, it } from 'vitest';
import type { AgentApi } from '../../../src/contract/api.ts';
import type { Operation } from '../../../src/contract/openapi/operation.ts';
import { OPERATIONS } from '../../../src/contract/openapi/operations.ts';
import { AgentError, type ErrorCode } from '../../../src/errors.ts';
import { Feed, type FeedSource } from '../../../src/http/feed.ts';
import { createLog } from '../../../src/log.ts';
import { CannedAgent, OBSERVATION_ID } from '../../fixtures/agent-api.ts';
import { serve, type Answer } from '../../fixtures/http-server.ts';
import { Documented } from '../../fixtures/openapi.ts';

const JPEG = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0xff, 0xd9]);
const EMPTY: FeedSource = {
  observations: { after: () => [], rowOf: () => null, newestRow: () => null },
  events: { after: () => [], newestSeq: () => 0 },
};

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

interface Sample {
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
}

function multipart(field: string): Pick<Sample, 'headers' | 'body'> {
  const boundary = 'b0undary';
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="${field}"; filename="a.jpg"\r\n\r\n`;
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: `${head}${JPEG.toString('latin1')}\r\n--${boundary}--\r\n`,
  };
}

/** A request that the operation takes. */
function sample(id: string, { path, body }: Operation): Sample {
  const url = path.replace('{id}', 'north').replace('{file}', 'start.js');
  const query = id === 'removeLabel' ? `?observation_id=${OBSERVATION_ID}` : '';
  if (body?.contentType === 'multipart/form-data')
    return { path: url, ...multipart(body.fileField ?? 'file') };
  const bodies: Record<string, unknown> = {
    addLabel: { observation_id: OBSERVATION_ID, height_m: 1.2 },
    modelInstall: { name: 'gauge', version: '1.1.0' },
    importCalibration: { any: 'thing' },
  };
  const wanted = bodies[id];
  return {
    path: url + query,
    headers: {},
    ...(wanted === undefined ? {} : { body: JSON.stringify(wanted) }),
  };
}

const seen = ({ status, headers, text }: Answer) => ({
  status,
  contentType: headers['content-type'] ?? null,
  body: text,
});
const operations = Object.entries<Operation>(OPERATIONS);
const documented = new Documented();

describe('failures of the agent', () => {
  it('are told as the document says, each code of each operation', async () => {
    const fault: Fault = { code: 'internal', operation: '' };
    const api = failing(fault);
    const feed = new Feed({}, { source: EMPTY, log: createLog('silent'), states: () => api.status() });
    await using server = await serve({ rateLimit: 100_000 }, { api, feed });
    const told: string[] = [];
    for (const [id, operation] of operations) {
      if (operation.tag === 'pages') continue;
      for (const code of operation.errors) {
        Object.assign(fault, { code, operation: id });
        const { path, headers, body } = sample(id, operation);
        const answer = await server.ask(operation.method, path, headers, body);
        expect(documented.fault(operation.method, path, seen(answer))).toBeNull();
        expect([id, answer.json()['code']]).toEqual([id, code]);
        expect(answer.text).not.toContain('/var/lib');
        told.push(`${id} ${code}`);
      }
    }
    expect(told.length).toBeGreaterThan(100);
  });
});

describe('refusals of the server', () => {
  it('are told as the document says, of every operation', async () => {
    await using guarded = await serve({ token: 'secret', rateLimit: 100_000 });
    await using busy = await serve({ rateLimit: 1 });
    await busy.ask('GET', '/');
    for (const [id, operation] of operations) {
      const { path, headers, body } = sample(id, operation);
      const { method } = operation;
      const ask = async (server: typeof guarded, more: Record<string, string>): Promise<string> => {
        const answer = await server.ask(method, path, { ...headers, ...more }, body);
        // Without a feed, and without figures, there are no such paths; that the guard comes first is all the same.
        expect(documented.fault(method, path, seen(answer))).toBeNull();
        return String(answer.json()['code']);
      };
      const token = { authorization: 'Bearer secret' };
      if (operation.open !== true) expect([id, await ask(guarded, {})]).toEqual([id, 'request_unauthorized']);
      expect([id, await ask(guarded, { ...token, host: 'evil.example' })]).toEqual([
        id,
        'request_host_refused',
      ]);
      if (method !== 'GET')
        expect([id, await ask(guarded, { ...token, origin: 'https://evil.example' })]).toEqual([
          id,
          'request_origin_refused',
        ]);
      if (!['/live', '/ready', '/metrics'].includes(path))
        expect([id, await ask(busy, {})]).toEqual([id, 'request_too_many']);
    }
  });

  it('are told as the document says where the input is wrong', async () => {
    await using server = await serve({ rateLimit: 100_000 });
    const wrong = async (
      method: string,
      path: string,
      status: number,
      headers: Record<string, string> = {},
      body?: string,
    ): Promise<void> => {
      const answer = await server.ask(method, path, headers, body);
      expect(documented.fault(method, path, seen(answer))).toBeNull();
      expect([method, path.slice(0, 60), answer.status]).toEqual([method, path.slice(0, 60), status]);
    };
    for (const [id, operation] of operations) {
      const { path } = sample(id, operation);
      const { method } = operation;
      if (operation.params?.properties['id']) {
        await wrong(method, path.replace('north', '%20'), 400);
        await wrong(method, path.replace('north', 'n'.repeat(300)), 413);
      }
      if (operation.query && method === 'GET') await wrong(method, `${path}?no_such=1`, 400);
      if (operation.body?.contentType === 'application/json') {
        await wrong(method, path, 400, {}, '{');
        await wrong(method, path, 415, { 'content-type': 'text/plain' }, 'x');
      }
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

  it('has no path that the document lacks', async () => {
    await using server = await serve();
    const paths = (await server.ask('GET', '/')).json()['paths'] as string[];
    expect(new Set(paths)).toEqual(new Set(Object.keys(documented.document.paths)));
  });
});
