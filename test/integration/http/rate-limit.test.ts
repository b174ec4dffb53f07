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

  it('does not count what a foreign page in a browser sends, which is refused', async () => {
    await using site = await startServer({ rateLimit: 5 }, { metrics });
    const foreign: [string, string, Record<string, string>][] = [
      ['GET', '/api/v1/status', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
      [
        'GET',
        '/api/v1/status',
        { 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': 'iframe', 'sec-fetch-mode': 'navigate' },
      ],
      ['GET', '/metrics', { 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': 'script' }],
      ['POST', '/api/v1/analyze', { origin: 'https://evil.example' }],
      ['GET', '/api/v1/status', { origin: 'null' }],
      [
        'OPTIONS',
        '/api/v1/status',
        { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
      ],
    ];
    for (let round = 0; round < 3; round++)
      for (const [method, path, headers] of foreign)
        expectProblem(await site.ask(method, path, headers), 403, 'request_origin_refused');
    const rebound = { host: 'evil.example' };
    for (let round = 0; round < 10; round++)
      expectProblem(await site.ask('GET', '/api/v1/status', rebound), 403, 'request_host_refused');
    for (let round = 0; round < 5; round++)
      expect((await site.ask('GET', '/api/v1/status')).status).toBe(200);
  });

  it('serves and counts a followed link, the own page, and programs', async () => {
    await using site = await startServer({ rateLimit: 4 }, { metrics });
    const served: Record<string, string>[] = [
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
      { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' },
      { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
      {},
    ];
    for (const headers of served) expect((await site.ask('GET', '/api/v1/status', headers)).status).toBe(200);
    expectProblem(await site.ask('GET', '/api/v1/status'), 429, 'request_too_many');
  });

  it('serves images to every page when http.cors allows every page', async () => {
    await using site = await startServer({ cors: ['*'] }, { metrics });
    const headers = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'no-cors',
      'sec-fetch-dest': 'image',
    };
    expect((await site.ask('GET', '/api/v1/status', headers)).status).toBe(200);
  });
});
