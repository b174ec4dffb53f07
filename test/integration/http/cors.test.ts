import { describe, expect, it } from 'vitest';
import { expectProblem, startServer } from '../../fixtures/http-server.ts';

const OURS = 'https://ours.example';
const EVIL = 'https://evil.example';
const CAPTURE = '/api/v1/cameras/north/capture';
const preflight = (origin: string) => ({
  origin,
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization,content-type',
});

describe('pages of other origins', () => {
  it('may read and send when they are listed, with the token as a header', async () => {
    await using site = await startServer({ cors: [OURS], token: 'secret' });
    const allowed = await site.ask('OPTIONS', CAPTURE, preflight(OURS));
    expect([allowed.status, allowed.body.length]).toEqual([204, 0]);
    expect(allowed.headers).toMatchObject({
      'access-control-allow-origin': OURS,
      'access-control-allow-headers': 'authorization, content-type',
      'access-control-allow-methods': expect.stringContaining('POST') as unknown,
    });
    const authorization = 'Bearer secret';
    const sent = await site.ask('POST', CAPTURE, { origin: OURS, authorization });
    expect([sent.status, sent.headers['access-control-allow-origin']]).toEqual([200, OURS]);
    // The page must be able to read a refusal too.
    const refused = await site.ask('POST', CAPTURE, { origin: OURS });
    expectProblem(refused, 401, 'request_unauthorized');
    expect(refused.headers['access-control-allow-origin']).toBe(OURS);
    for (const answer of [allowed, sent, refused]) {
      expect(answer.headers.vary).toContain('Origin');
      expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
    }
  });

  it('are refused when they are not listed, without CORS headers', async () => {
    await using site = await startServer({ cors: [OURS] });
    for (const origin of [EVIL, `${OURS}.evil.example`, 'https://ours.example:444', 'null', 'HTTPS://'])
      for (const [method, path] of [
        ['GET', '/api/v1/status'],
        ['POST', CAPTURE],
        ['OPTIONS', CAPTURE],
      ] as const) {
        const headers = method === 'OPTIONS' ? preflight(origin) : { origin };
        const answer = await site.ask(method, path, headers);
        expectProblem(answer, 403, 'request_origin_refused');
        expect(answer.headers['access-control-allow-origin']).toBeUndefined();
        expect(answer.headers.vary).toContain('Origin');
      }
  });

  it('are all refused without a list', async () => {
    await using site = await startServer();
    expectProblem(await site.ask('OPTIONS', CAPTURE, preflight(EVIL)), 403, 'request_origin_refused');
    const own = await site.ask('GET', '/api/v1/status', { origin: `http://127.0.0.1:${site.port}` });
    expect([own.status, own.headers['access-control-allow-origin']]).toEqual([200, undefined]);
  });

  it('may all read with `*`, and send only with a token; never with credentials', async () => {
    await using open = await startServer({ cors: ['*'] });
    const seen = await open.ask('GET', '/api/v1/status', { origin: EVIL });
    expect([seen.status, seen.headers['access-control-allow-origin']]).toEqual([200, '*']);
    expect(seen.headers['access-control-allow-credentials']).toBeUndefined();
    expectProblem(await open.ask('POST', CAPTURE, { origin: EVIL }), 403, 'request_origin_refused');
    await using locked = await startServer({ cors: ['*'], token: 'secret' });
    expectProblem(await locked.ask('POST', CAPTURE, { origin: EVIL }), 401, 'request_unauthorized');
    const headers = { origin: EVIL, authorization: 'Bearer secret' };
    expect((await locked.ask('POST', CAPTURE, headers)).status).toBe(200);
  });

  it('cannot use a preflight to pass other checks', async () => {
    await using site = await startServer({ cors: [OURS], token: 'secret' });
    expectProblem(await site.ask('OPTIONS', '/nothing', preflight(OURS)), 404, 'request_not_found');
    expectProblem(await site.ask('GET', '/api/v1/status', preflight(OURS)), 401, 'request_unauthorized');
    expectProblem(await site.ask('OPTIONS', CAPTURE, { origin: OURS }), 401, 'request_unauthorized');
    const rebound = { ...preflight(OURS), host: 'evil.example' };
    expectProblem(await site.ask('OPTIONS', CAPTURE, rebound), 403, 'request_host_refused');
  });
});
