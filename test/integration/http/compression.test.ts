import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { observation } from '../../fixtures/agent-api.ts';
import { startServer } from '../../fixtures/http-server.ts';

const gzip = { 'accept-encoding': 'gzip, deflate, br' };

describe('compression', () => {
  it('compresses long JSON when the client accepts gzip, with the same content', async () => {
    await using site = await startServer();
    const many = Array.from({ length: 50 }, () => observation);
    site.agent.observations = () => ({ observations: many, cursor: 'next' });
    const packed = await site.ask('GET', '/api/v1/observations', gzip);
    const plain = await site.ask('GET', '/api/v1/observations');
    expect([packed.headers['content-encoding'], plain.headers['content-encoding']]).toEqual([
      'gzip',
      undefined,
    ]);
    expect(packed.json()).toEqual(plain.json());
    expect(packed.body.length).toBeLessThan(plain.body.length / 10);
    expect(Number(packed.headers['content-length'])).toBe(packed.body.length);
    for (const answer of [packed, plain]) expect(answer.headers.vary).toContain('Accept-Encoding');
    const head = await site.ask('HEAD', '/api/v1/observations', gzip);
    expect([head.status, head.body.length]).toEqual([200, 0]);
  });

  it('does not compress short responses and images', async () => {
    await using site = await startServer();
    site.agent.image = new Uint8Array(100_000).fill(7);
    const jpeg = await site.ask('GET', '/api/v1/cameras/north/latest.jpg', gzip);
    expect([jpeg.headers['content-encoding'], jpeg.body.length]).toEqual([undefined, 100_000]);
    expect((await site.ask('GET', '/live', gzip)).headers['content-encoding']).toBeUndefined();
  });

  it('sends responses over the concurrency limit uncompressed', async () => {
    await using site = await startServer();
    const many = Array.from({ length: 200 }, () => observation);
    site.agent.observations = () => ({ observations: many, cursor: 'next' });
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => site.ask('GET', '/api/v1/observations', gzip)),
    );
    for (const answer of answers) expect((answer.json()['observations'] as unknown[]).length).toBe(200);
  });

  it('compresses a streamed table, also after other clients disconnected in the middle', async () => {
    await using site = await startServer();
    let pages = 0;
    const many = Array.from({ length: 200 }, () => observation);
    site.agent.observations = () => {
      pages += 1;
      return { observations: many, cursor: pages % 25 === 0 ? null : 'next' };
    };
    const headers = { ...gzip, host: 'localhost' };
    for (let client = 0; client < 8; client++) {
      pages = 0;
      const left = request({ host: '127.0.0.1', port: site.port, path: '/api/v1/observations.csv', headers });
      left.on('error', () => undefined).end();
      const [response] = (await once(left, 'response')) as [IncomingMessage];
      expect(response.headers['content-encoding']).toBe('gzip');
      left.destroy();
      await delay(20);
    }
    pages = 0;
    const packed = await site.ask('GET', '/api/v1/observations.csv', gzip);
    pages = 0;
    const plain = await site.ask('GET', '/api/v1/observations.csv');
    expect([packed.headers['content-encoding'], plain.headers['content-encoding']]).toEqual([
      'gzip',
      undefined,
    ]);
    expect(packed.text).toBe(plain.text);
    expect(packed.text.split('\n').length).toBeGreaterThan(5000);
  });
});
