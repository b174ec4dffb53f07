import { describe, expect, it } from 'vitest';
import { expectProblem, startServer } from '../../fixtures/http-server.ts';

const CONFIG = '/api/v1/config';
const CHANGES = [
  ['PATCH', CONFIG, '{"patch": {"logLevel": "debug"}}'],
  ['POST', `${CONFIG}/confirm`, '{}'],
  ['DELETE', `${CONFIG}/trial`, undefined],
  ['DELETE', `${CONFIG}/remote`, undefined],
  ['POST', '/api/v1/cameras/test', '{"camera": {"id": "north"}}'],
] as const;

describe('the configuration over HTTP', () => {
  it('can be changed by no page of another site', async () => {
    await using site = await startServer();
    await using open = await startServer({ cors: ['*'] });
    await using guarded = await startServer({ cors: ['https://ours.example'], token: 'secret' });
    for (const [method, path, body] of CHANGES) {
      const evil = { origin: 'https://evil.example' };
      expectProblem(await site.ask(method, path, evil, body), 403, 'request_origin_refused');
      expectProblem(await site.ask(method, path, { origin: 'null' }, body), 403, 'request_origin_refused');
      expectProblem(
        await site.ask(method, path, { 'sec-fetch-site': 'cross-site' }, body),
        403,
        'request_origin_refused',
      );
      expectProblem(
        await site.ask(method, path, { host: 'evil.example' }, body),
        403,
        'request_host_refused',
      );
      expectProblem(await open.ask(method, path, evil, body), 403, 'request_origin_refused');
      const listed = { origin: 'https://ours.example' };
      expectProblem(await guarded.ask(method, path, listed, body), 401, 'request_unauthorized');
      const allowed = await guarded.ask(method, path, { ...listed, authorization: 'Bearer secret' }, body);
      expect([method, path, allowed.status]).toEqual([method, path, 200]);
      const preflight = { ...listed, 'access-control-request-method': method };
      const { headers } = await guarded.ask('OPTIONS', path, preflight);
      expect(headers['access-control-allow-methods']).toContain(method);
      if (body !== undefined) {
        const plain = await site.ask(method, path, { 'content-type': 'text/plain' }, body);
        expectProblem(plain, 415, 'request_media_type');
      }
    }
    expect(site.agent.withdrawn).toEqual([]);
  });

  it('begins a change when its response is sent, and passes the patch on as it is', async () => {
    const { agent, ask } = await startServer();
    const calls: unknown[] = [];
    const { answer } = agent.setConfig({}, 60);
    agent.setConfig = (patch, withinS) => {
      calls.push(patch, withinS);
      return { answer, begin: () => void calls.push('begin') };
    };
    const patch = { heartbeat: { intervalS: '10' }, cameras: [{ id: 'a', roi: null, timeoutS: '5' }] };
    const body = JSON.stringify({ patch, confirm_within_s: 60 });
    expect((await ask('PATCH', CONFIG, {}, body)).json()).toEqual(answer);
    await expect.poll(() => calls).toEqual([patch, 60, 'begin']);
    await ask('PATCH', CONFIG, {}, '{"patch": {}}');
    await expect.poll(() => calls.slice(3)).toEqual([{}, 120, 'begin']);
    await ask('DELETE', `${CONFIG}/trial?trial=abc`);
    await expect.poll(() => agent.withdrawn).toEqual(['abc']);
  });

  it.each([
    ['no patch', '{}'],
    ['a list', '{"patch": []}'],
    ['a text', '{"patch": "logLevel"}'],
    ['a null', '{"patch": null}'],
    ['another key', '{"patch": {}, "token": "x"}'],
    ['too short a time', '{"patch": {}, "confirm_within_s": 1}'],
    ['too long a time', '{"patch": {}, "confirm_within_s": 1e9}'],
    ['a prototype', '{"patch": {"__proto__": {"x": 1}}}'],
    ['no JSON', '{"patch": '],
    ['no body', ''],
  ])('refuses %s', async (_, body) => {
    const { ask } = await startServer();
    expectProblem(
      await ask('PATCH', CONFIG, { 'content-type': 'application/json' }, body),
      400,
      'request_invalid',
    );
  });

  it('refuses a patch that is too large', async () => {
    const { ask } = await startServer();
    const body = JSON.stringify({ patch: { site: 'x'.repeat(100_000) } });
    expectProblem(await ask('PATCH', CONFIG, {}, body), 413, 'request_too_large');
  });
});
