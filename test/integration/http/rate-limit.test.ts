import { describe, expect, it } from 'vitest';
import { expectProblem, startServer } from '../../fixtures/http-server.ts';

const metrics = {
  contentType: 'text/plain',
  text: () => Promise.resolve('up 1\n'),
  countRequest: () => undefined,
  countProblem: () => undefined,
  countStream: () => () => undefined,
};

describe('rate limit', () => {
  it('responds with 429 and Retry-After; does not count supervisors and Prometheus', async () => {
    await using site = await startServer({ rateLimit: 5 }, { metrics });
    for (let round = 0; round < 20; round++)
      for (const path of ['/live', '/ready', '/metrics'])
        expect((await site.ask('GET', path)).status).toBe(200);
    for (let round = 0; round < 5; round++)
      expect((await site.ask('GET', '/api/v1/status')).status).toBe(200);
    const refused = await site.ask('GET', '/api/v1/status');
    expectProblem(refused, 429, 'request_too_many');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(12);
    expectProblem(await site.ask('GET', '/nothing'), 429, 'request_too_many');
    expect((await site.ask('GET', '/live')).status).toBe(200);
  });

  it('counts wrong tokens on all paths, so that nobody can guess one', async () => {
    await using site = await startServer({ rateLimit: 5, token: 'secret' }, { metrics });
    for (let guess = 0; guess < 5; guess++)
      expect((await site.ask('GET', '/metrics', { authorization: `Bearer ${guess}` })).status).toBe(401);
    expect((await site.ask('GET', '/metrics', { authorization: 'Bearer 5' })).status).toBe(429);
    expect((await site.ask('GET', '/metrics', { authorization: 'Bearer secret' })).status).toBe(200);
  });
});
