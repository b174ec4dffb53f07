import { describe, expect, it } from 'vitest';
import { expectProblem, serve } from '../../fixtures/http-server.ts';

const OURS = 'https://ours.example';
const EVIL = 'https://evil.example';
const CAPTURE = '/api/v1/cameras/north/capture';
const preflight = (origin: string) => ({
  origin,
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization,content-type',
});

describe('pages of other origins', () => {
  it('a listed one may read and send, with the token as a header of its own', async () => {
    await using site = await serve({ cors: [OURS], token: 'secret' });
    const question = await site.ask('OPTIONS', CAPTURE, preflight(OURS));
    expect([question.status, question.body.length]).toEqual([204, 0]);
    expect(question.headers).toMatchObject({
      'access-control-allow-origin': OURS,
      'access-control-allow-headers': 'authorization, content-type',
      'access-control-allow-methods': expect.stringContaining('POST') as unknown,
    });
    const authorization = 'Bearer secret';
    const sent = await site.ask('POST', CAPTURE, { origin: OURS, authorization });
    expect([sent.status, sent.headers['access-control-allow-origin']]).toEqual([200, OURS]);
    // Refusals must be readable too, or the page cannot tell what is wrong.
    const refused = await site.ask('POST', CAPTURE, { origin: OURS });
    expectProblem(refused, 401, 'request_unauthorized');
    expect(refused.headers['access-control-allow-origin']).toBe(OURS);
    for (const answer of [question, sent, refused]) {
      expect(answer.headers.vary).toContain('Origin');
      expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
    }
  });

  it('another is refused, whatever it asks, and told nothing that its browser would let it read', async () => {
    await using site = await serve({ cors: [OURS] });
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

  it('without a list, none', async () => {
    await using site = await serve();
    expectProblem(await site.ask('OPTIONS', CAPTURE, preflight(EVIL)), 403, 'request_origin_refused');
    const own = await site.ask('GET', '/api/v1/status', { origin: `http://127.0.0.1:${site.port}` });
    expect([own.status, own.headers['access-control-allow-origin']]).toEqual([200, undefined]);
  });

  it('`*` lets every page look, and send only where a token is wanted; never with credentials', async () => {
    await using open = await serve({ cors: ['*'] });
    const seen = await open.ask('GET', '/api/v1/status', { origin: EVIL });
    expect([seen.status, seen.headers['access-control-allow-origin']]).toEqual([200, '*']);
    expect(seen.headers['access-control-allow-credentials']).toBeUndefined();
    expectProblem(await open.ask('POST', CAPTURE, { origin: EVIL }), 403, 'request_origin_refused');
    await using locked = await serve({ cors: ['*'], token: 'secret' });
    expectProblem(await locked.ask('POST', CAPTURE, { origin: EVIL }), 401, 'request_unauthorized');
    const headers = { origin: EVIL, authorization: 'Bearer secret' };
    expect((await locked.ask('POST', CAPTURE, headers)).status).toBe(200);
  });

  it('a preflight opens no other door', async () => {
    await using site = await serve({ cors: [OURS], token: 'secret' });
    expectProblem(await site.ask('OPTIONS', '/nothing', preflight(OURS)), 404, 'request_not_found');
    expectProblem(await site.ask('GET', '/api/v1/status', preflight(OURS)), 401, 'request_unauthorized');
    expectProblem(await site.ask('OPTIONS', CAPTURE, { origin: OURS }), 401, 'request_unauthorized');
    const rebound = { ...preflight(OURS), host: 'evil.example' };
    expectProblem(await site.ask('OPTIONS', CAPTURE, rebound), 403, 'request_host_refused');
  });
});
