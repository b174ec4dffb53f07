import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { Metrics } from '../../../src/health/metrics/metrics.ts';
import { CannedAgent } from '../../fixtures/agent-api.ts';
import { readExposition } from '../../fixtures/exposition.ts';
import { startServer } from '../../fixtures/http-server.ts';

async function startWithMetrics(token: string | null, withMetrics = true): Promise<string> {
  const api = new CannedAgent();
  const metrics = await Metrics.open(
    { version: '0' },
    {
      clock: systemClock,
      heartbeat: { current: api.health },
      link: {
        stats: () => ({
          connectedSinceMs: null,
          reconnects1h: 0,
          rttMs: null,
          broker: null,
          protocolVersion: null,
        }),
      },
      store: { outbox: { stats: () => ({ depth: 0, oldestAgeS: null, droppedTotal: 0 }) } },
      analysis: { stats: () => ({ waiting: 0, requests: 0, heldBytes: 0 }) },
      cache: { stats: () => ({ hits: 0, misses: 0, entries: 0, sizeBytes: 0 }) },
    },
  );
  const { port } = await startServer(
    { token, rateLimit: 1000 },
    { api, ...(withMetrics ? { metrics } : {}) },
  );
  return `http://127.0.0.1:${port}`;
}

const get = (url: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, { headers, signal: AbortSignal.timeout(5000) });

describe('GET /metrics', () => {
  it('counts problems by their code, also those of invalid HTTP', async () => {
    const url = await startWithMetrics('a-token-0123456789');
    await get(`${url}/api/v1/status`);
    await get(`${url}/metrics`, { authorization: 'Bearer wrong' });
    await get(`${url}/nowhere`, { authorization: 'Bearer a-token-0123456789' });
    const socket = connect(Number(new URL(url).port), '127.0.0.1').resume();
    socket.end('this is no HTTP\r\n\r\n');
    await once(socket, 'close');
    const answer = await get(`${url}/metrics`, { authorization: 'Bearer a-token-0123456789' });
    const problems = readExposition(await answer.text()).get('swellsight_http_problems_total')?.samples;
    expect(problems?.map(({ labels, value }) => [labels['code'], value])).toEqual([
      ['request_unauthorized', 2],
      ['request_not_found', 1],
      ['request_invalid', 1],
    ]);
  });

  it('returns the text format, and counts earlier requests by the pattern of their path', async () => {
    const url = await startWithMetrics(null);
    await get(`${url}/live`);
    await get(`${url}/api/v1/cameras/nobody/labels`);
    for (const path of ['a', 'b', 'c']) await get(`${url}/${path}`);
    const answer = await get(`${url}/metrics`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const families = readExposition(await answer.text());
    const requests = families.get('swellsight_http_request_duration_seconds')?.samples ?? [];
    const counts = requests.filter(({ name }) => name.endsWith('_count'));
    expect(counts.map(({ labels, value }) => [labels['route'], labels['code'], value])).toEqual([
      ['/live', '2xx', 1],
      ['/api/v1/cameras/:id/labels', '4xx', 1],
      ['none', '4xx', 3],
    ]);
  });

  it('requires the token like any other path', async () => {
    const url = await startWithMetrics('s3cret');
    expect((await get(`${url}/metrics`)).status).toBe(401);
    expect((await get(`${url}/metrics`, { authorization: 'Bearer wrong' })).status).toBe(401);
    const answer = await get(`${url}/metrics`, { authorization: 'Bearer s3cret' });
    expect(answer.status).toBe(200);
    expect(await answer.text()).not.toContain('s3cret');
  });

  it('does not exist without metrics', async () => {
    expect((await get(`${await startWithMetrics(null, false)}/metrics`)).status).toBe(404);
  });
});
