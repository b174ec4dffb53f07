import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import type { Settings } from '../../../src/config/schema.ts';
import { analysis } from '../../fixtures/agent-api.ts';
import { answered, begin, form, FORM_TYPE, image, partHead, post } from '../../fixtures/form.ts';
import { startServer } from '../../fixtures/http-server.ts';

const ANALYZE = '/api/v1/analyze';
const BATCH = `${ANALYZE}/batch`;

const startUploadServer = (more: Partial<Settings['http']> = {}) =>
  startServer({ maxUploadMb: 1, batchMax: 3, rateLimit: 100_000, ...more });

const refused = (status: number, code: string) => ({ status, json: { status, code } });
const wave = (text: string) => Buffer.from(`\xff\xd8\xff ${text}`, 'latin1');

describe('one image', () => {
  it('reaches the agent unchanged, with its digest and the options of query and form', async () => {
    const { agent, port } = await startUploadServer();
    const answer = await post(
      port,
      `${ANALYZE}?camera=north`,
      form([{ name: 'strict', data: 'true' }, image(wave('a'))]),
    );
    expect([answer.status, answer.json]).toEqual([200, analysis]);
    const [sent] = agent.analysed;
    expect(Buffer.from(sent?.bytes ?? [])).toEqual(wave('a'));
    expect(sent?.options).toMatchObject({
      camera: 'north',
      strict: true,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
    expect(agent.reservedBytes).toEqual([]);
  });

  it.each([
    ['no image', () => form([]), 400],
    ['another field', () => form([image(wave('a'), 'files')]), 400],
    ['two of them', () => form([image(wave('a')), image(wave('b'))]), 400],
    ['an unknown field', () => form([{ name: 'starch', data: '1' }, image(wave('a'))]), 400],
    [
      'a field twice',
      () => form([{ name: 'strict', data: '1' }, { name: 'strict', data: '0' }, image(wave('a'))]),
      400,
    ],
    ['a camera that is not an id', () => form([{ name: 'camera', data: '../north' }, image(wave('a'))]), 400],
    [
      'a field that is too long',
      () => form([{ name: 'camera', data: 'a'.repeat(300) }, image(wave('a'))]),
      400,
    ],
    ['a field of the prototype', () => form([{ name: '__proto__', data: '1' }, image(wave('a'))]), 400],
    [
      '10,000 fields',
      () =>
        form([...Array.from({ length: 10_000 }, (_, i) => ({ name: `f${i}`, data: 'x' })), image(wave('a'))]),
      400,
    ],
    ['a truncated form', () => form([image(wave('a'))]).subarray(0, -20), 400],
    [
      'a form truncated in a header',
      () => Buffer.from(partHead({ name: 'file', filename: 'a.jpg' }).slice(0, -6)),
      400,
    ],
    ['an empty body', () => Buffer.alloc(0), 400],
  ])('%s is refused', async (_what, body, status) => {
    const { agent, port } = await startUploadServer();
    expect(await post(port, ANALYZE, body())).toMatchObject(refused(status, 'request_invalid'));
    expect([agent.analysed, agent.reservedBytes]).toEqual([[], []]);
  });

  it.each([['application/json'], ['image/jpeg'], ['text/plain'], ['multipart/mixed; boundary=x'], ['']])(
    'is refused unread as %s',
    async (type) => {
      const { agent, port } = await startUploadServer();
      const answer = await post(port, ANALYZE, Buffer.from('{}'), { 'content-type': type });
      expect(answer).toMatchObject(refused(415, 'request_media_type'));
      expect(agent.reservedBytes).toEqual([]);
    },
  );

  it('is refused without a boundary', async () => {
    const { port } = await startUploadServer();
    const answer = await post(port, ANALYZE, form([image(wave('a'))]), {
      'content-type': 'multipart/form-data',
    });
    expect(answer).toMatchObject(refused(400, 'request_invalid'));
  });

  it('is refused when it is too large, by its header or after it was received', async () => {
    const { agent, port } = await startUploadServer({ maxUploadMb: 0.1 });
    const body = form([image(Buffer.alloc(105_000))]);
    expect(await post(port, ANALYZE, form([image(Buffer.alloc(300_000))]))).toMatchObject(
      refused(413, 'request_too_large'),
    );
    expect(await post(port, ANALYZE, body)).toMatchObject(refused(413, 'image_too_large'));
    const chunked = begin(port, ANALYZE, { 'content-type': FORM_TYPE });
    chunked.write(body.subarray(0, 50_000));
    chunked.end(body.subarray(50_000));
    expect(await answered(chunked)).toMatchObject(refused(413, 'image_too_large'));
    expect((await post(port, ANALYZE, form([image(Buffer.alloc(100_000))]))).status).toBe(200);
    expect(agent.analysed).toHaveLength(1);
  });

  it('is refused before it is received when the budget is used up, without 100 Continue', async () => {
    const { agent, port } = await startUploadServer();
    const busy = new AgentError('vision_busy', 'too many', { context: { retryAfterS: 7 } });
    Object.assign(agent, {
      reserveUpload: () => {
        throw busy;
      },
    });
    const sent = begin(port, ANALYZE, {
      'content-type': FORM_TYPE,
      'content-length': 900_000,
      expect: '100-continue',
    });
    let asked = false;
    sent.once('continue', () => {
      asked = true;
    });
    sent.flushHeaders();
    const answer = await answered(sent);
    sent.destroy();
    expect(answer).toMatchObject(refused(503, 'vision_busy'));
    expect([answer.headers['retry-after'], asked]).toEqual(['7', false]);
  });

  it('is aborted when its client disconnects, and its reservation is released', async () => {
    const { agent, port } = await startUploadServer();
    const given: AbortSignal[] = [];
    Object.assign(agent, {
      analyze: (_bytes: Uint8Array, _options: unknown, signal: AbortSignal) =>
        new Promise((_resolve, reject) => {
          given.push(signal);
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        }),
    });
    const body = form([image(wave('a'))]);
    const sent = begin(port, ANALYZE, { 'content-type': FORM_TYPE, 'content-length': body.length });
    sent.end(body);
    await expect.poll(() => given.length, { timeout: 20_000 }).toBe(1);
    sent.destroy();
    await expect
      .poll(() => [given[0]?.aborted, agent.reservedBytes], { timeout: 20_000 })
      .toEqual([true, []]);
  });
});

describe('a batch', () => {
  const many = (...names: string[]) => names.map((name) => image(wave(name), 'files', `${name}.jpg`));

  it('is answered in the order sent; a bad image fails alone', async () => {
    const { agent, port } = await startUploadServer({ maxUploadMb: 0.01 });
    const { analyze } = agent;
    Object.assign(agent, {
      analyze: (bytes: Uint8Array, options: object, signal: AbortSignal) =>
        Buffer.from(bytes).includes('bad')
          ? Promise.reject(new AgentError('image_corrupt', 'damaged in /var/lib/swellsight/x.jpg'))
          : analyze(bytes, options, signal),
    });
    const large = image(Buffer.alloc(10_001), 'files', 'large.png');
    const { status, json } = await post(port, BATCH, form([...many('bad'), large, ...many('good')]));
    expect(status).toBe(200);
    expect(json).toMatchObject({ total_images: 3, successful_analyses: 1, failed_analyses: 2 });
    expect(json['results']).toMatchObject([
      {
        index: 0,
        filename: 'bad.jpg',
        ok: false,
        error: { code: 'image_corrupt', status: 400, detail: 'damaged in …' },
      },
      { index: 1, filename: 'large.png', ok: false, error: { code: 'image_too_large', status: 413 } },
      { index: 2, filename: 'good.jpg', ok: true, result: analysis },
    ]);
    expect(agent.analysed.map(({ bytes }) => Buffer.from(bytes))).toEqual([wave('good')]);
  });

  it.each([
    ['none', () => form([]), 400, 'request_invalid'],
    ['too many images', () => form(many('a', 'b', 'c', 'd')), 413, 'request_too_large'],
    [
      'more than twice as many images',
      () => form(Array.from({ length: 10 }, () => image(wave('a'), 'files'))),
      413,
      'request_too_large',
    ],
    ['another field', () => form([...many('a'), image(wave('b'))]), 400, 'request_invalid'],
    [
      'an option after an image',
      () => form([...many('a'), { name: 'strict', data: '1' }]),
      400,
      'request_invalid',
    ],
    ['a truncated form', () => form(many('a', 'b')).subarray(0, -30), 400, 'request_invalid'],
  ])('of %s is refused as a whole', async (_what, body, status, code) => {
    const { agent, port } = await startUploadServer();
    expect(await post(port, BATCH, body())).toMatchObject(refused(status, code));
    expect(agent.reservedBytes).toEqual([]);
  });

  it('returns file names as sent, without control characters and of limited length', async () => {
    const { port } = await startUploadServer({ batchMax: 10 });
    const names = [
      'é ü 波.jpg',
      '../../etc/passwd',
      'C:\\x\\y.png',
      'a\u0007b\u009fc.jpg',
      'x'.repeat(400),
      '',
    ];
    const { json } = await post(port, BATCH, form(names.map((name) => image(wave('a'), 'files', name))));
    const got = (json['results'] as { filename: string }[]).map(({ filename }) => filename);
    expect(got.slice(0, 2)).toEqual(['é ü 波.jpg', '../../etc/passwd']);
    expect(got.slice(3)).toEqual(['abc.jpg', 'x'.repeat(255), '']);
  });

  it('fails as a whole for a camera that does not exist', async () => {
    const { agent, port } = await startUploadServer();
    Object.assign(agent, {
      analyze: () => Promise.reject(new AgentError('camera_unknown', 'there is no camera south')),
    });
    expect(await post(port, `${BATCH}?camera=south`, form(many('a', 'b')))).toMatchObject(
      refused(404, 'camera_unknown'),
    );
  });

  it('is not received faster than it is analysed', async () => {
    const { agent, port } = await startUploadServer({ maxUploadMb: 10, batchMax: 20 });
    let free: () => void = () => undefined;
    const first = new Promise<void>((resolve) => {
      free = resolve;
    });
    const { analyze } = agent;
    Object.assign(agent, {
      analyze: async (bytes: Uint8Array, options: object, signal: AbortSignal) => {
        await first;
        return analyze(bytes.subarray(0, 1), options, signal);
      },
    });
    const part = Buffer.concat([
      Buffer.from(partHead({ name: 'files', filename: 'a' })),
      Buffer.alloc(4_000_000),
      Buffer.from('\r\n'),
    ]);
    const body = Buffer.concat([...Array.from({ length: 10 }, () => part), form([])]);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      `POST ${BATCH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: ${FORM_TYPE}\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    let sentBytes = 0;
    const piece = 1_000_000;
    for (let at = 0; at < body.length; at += piece)
      socket.write(body.subarray(at, at + piece), () => {
        sentBytes += piece;
      });
    let before = -1;
    // It stops with the first image at the agent and the kernel buffers full.
    const hasStopped = () => {
      const same = sentBytes === before && sentBytes >= 4_000_000;
      before = sentBytes;
      return same;
    };
    await expect.poll(hasStopped, { interval: 500, timeout: 20_000 }).toBe(true);
    expect(sentBytes).toBeLessThan(28_000_000);
    free();
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toContain('"total_images":10');
    expect(agent.analysed).toHaveLength(10);
  });
});
