import { once } from 'node:events';
import { fastify } from 'fastify';
import sharp from 'sharp';
import { afterEach, describe, expect, it } from 'vitest';
import { UploadBudget } from '../../../src/analysis/upload-budget.ts';
import { toProblem } from '../../../src/http/problem.ts';
import { analyzeRoutes } from '../../../src/http/routes/analyze.ts';
import { MAX_AHEAD } from '../../../src/vision/protocol.ts';
import { CannedAgent } from '../../fixtures/agent-api.ts';
import { makeAnalyzing, watchLive } from '../../fixtures/analyzing.ts';
import { collect } from '../../fixtures/collect.ts';
import { answered, begin, form, FORM_END, FORM_TYPE, image, partHead, post } from '../../fixtures/form.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';
import { randomFrom } from '../../fixtures/labelled.ts';
import { analyzeOnce } from '../../fixtures/lease.ts';
import { mutate } from '../../fixtures/mutate.ts';
import { Documented } from '../../fixtures/openapi.ts';

const ANALYZE = '/api/v1/analyze';
const BATCH = `${ANALYZE}/batch`;
/** The long form: SWELLSIGHT_MUTATIONS=10000. */
const MUTATIONS = Number(process.env['SWELLSIGHT_MUTATIONS'] ?? 100);
const PER_BATCH = 50;

interface Item {
  readonly ok: boolean;
  readonly error?: { readonly code: string; readonly detail: string };
}

const share = (values: readonly number[], fits: (value: number) => boolean): number =>
  values.filter(fits).length / values.length;

describe('hostile images', () => {
  it(
    `answers or refuses each of ${MUTATIONS} mutated files, without harm to anything else`,
    { timeout: 1_800_000 },
    async () => {
      const { port, serving } = await makeAnalyzing({ model: 'heads' });
      const { pid } = serving;
      const source = sharp(await jpegOf(3, { width: 320, height: 180 }));
      const originals = [
        await source.clone().jpeg().toBuffer(),
        await source.clone().jpeg({ progressive: true }).toBuffer(),
        await source.clone().png({ compressionLevel: 1 }).toBuffer(),
        await source.clone().png({ palette: true, progressive: true }).toBuffer(),
        await source.clone().webp().toBuffer(),
        await source.clone().webp({ lossless: true }).toBuffer(),
      ];
      const { uniform } = randomFrom(20260501);
      const counts = new Map<string, number>();
      const stopWatching = watchLive(port);
      let scheduled = 0;
      for (let sent = 0; sent < MUTATIONS; sent += PER_BATCH) {
        const files = Array.from({ length: Math.min(PER_BATCH, MUTATIONS - sent) }, (_, i) =>
          mutate(originals[(sent + i) % originals.length] ?? Buffer.alloc(0), uniform),
        );
        const batch = post(port, BATCH, form(files.map((file) => image(file, 'files'))));
        const frame = analyzeOnce(serving, originals[0] ?? Buffer.alloc(0), {
          roi: null,
          privacyMasks: [],
          priority: 'schedule',
        });
        expect((await frame).widthPx).toBe(320);
        scheduled += 1;
        const { status, json } = await batch;
        expect([status, json['total_images']]).toEqual([200, files.length]);
        for (const { ok, error } of json['results'] as Item[]) {
          const what = ok ? 'answered' : (error?.code ?? 'none');
          counts.set(what, (counts.get(what) ?? 0) + 1);
          expect(error?.detail ?? '').not.toMatch(/vips|libspng|node_modules|\bat \w+ \(|\/src\//i);
        }
      }
      const liveMs = await stopWatching();
      const known = ['answered', 'image_empty', 'image_corrupt', 'image_unsupported', 'image_too_large'];
      expect([...counts.keys()].filter((what) => !known.includes(what))).toEqual([]);
      expect(counts.get('answered')).toBeGreaterThan(0);
      expect(counts.get('image_corrupt')).toBeGreaterThan(0);
      // None of them crashed the process.
      expect([serving.pid, serving.stats().restarts]).toEqual([pid, 0]);
      expect(scheduled).toBe(Math.ceil(MUTATIONS / PER_BATCH));
      expect(share(liveMs, (ms) => ms < 1000)).toBeGreaterThan(0.98);
    },
  );

  it('refuses everything but JPEG, PNG and WebP, whatever its name; refuses decompression bombs by their headers', async () => {
    const { port, serving } = await makeAnalyzing({ model: 'heads' });
    const { pid } = serving;
    const original = sharp(await jpegOf(3));
    const svg =
      '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>';
    const png = await original.clone().png().toBuffer();
    png.writeUInt32BE(60_000, 16);
    png.writeUInt32BE(60_000, 20);
    const jpeg = await jpegOf(3);
    const at = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    jpeg.writeUInt16BE(65_500, at + 5);
    jpeg.writeUInt16BE(65_500, at + 7);
    const webp = await original.clone().webp({ lossless: true }).toBuffer();
    webp.writeUInt32LE((16_382 | (16_382 << 14)) >>> 0, 21);
    const files: readonly (readonly [Uint8Array | string, string])[] = [
      [svg, 'image_unsupported'],
      [await original.clone().tiff().toBuffer(), 'image_unsupported'],
      [await original.clone().gif().toBuffer(), 'image_unsupported'],
      [
        Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from('ftypheic\0\0\0\0mif1heic')]),
        'image_unsupported',
      ],
      ['%PDF-1.7', 'image_unsupported'],
      [png, 'image_too_large'],
      [jpeg, 'image_too_large'],
      [webp, 'image_too_large'],
      ['', 'image_empty'],
    ];
    const { json } = await post(port, BATCH, form(files.map(([file]) => image(file, 'files', 'wave.jpg'))));
    expect((json['results'] as Item[]).map(({ error }) => error?.code)).toEqual(
      files.map(([, code]) => code),
    );
    const [status] = await Promise.all([
      post(port, ANALYZE, form([image(svg)])).then((answer) => answer.status),
    ]);
    expect([status, serving.pid]).toEqual([415, pid]);
  });
});

describe('many and large images', () => {
  it('never holds the 50 large images of a batch in memory together', async () => {
    const { port } = await makeAnalyzing({ model: 'heads' });
    const frame = await jpegOf(3, { width: 320, height: 180 });
    // Cameras pad their files, and so may an attacker.
    const large = Buffer.concat([frame, Buffer.alloc(4_000_000)]);
    const head = Buffer.from(partHead({ name: 'files', filename: 'large.jpg' }));
    const end = Buffer.from('\r\n');
    const length = 50 * (head.length + large.length + end.length) + FORM_END.length;
    collect();
    const before = process.memoryUsage.rss();
    let peak = before;
    const sent = begin(port, BATCH, { 'content-type': FORM_TYPE, 'content-length': length });
    const stopWatching = watchLive(port);
    const result = answered(sent);
    for (let i = 0; i < 50; i += 1)
      for (const part of [head, large, end]) {
        if (!sent.write(part)) await once(sent, 'drain');
        peak = Math.max(peak, process.memoryUsage.rss());
      }
    sent.end(FORM_END);
    const { status, json } = await result;
    expect([status, json['successful_analyses']]).toEqual([200, 50]);
    // Sender and receiver are one process here, and 200 MB passed through it.
    expect((peak - before) / 1e6).toBeLessThan(120);
    expect(share(await stopWatching(), (ms) => ms < 1000)).toBeGreaterThan(0.95);
  });

  it('a scheduled frame waits for the frames that the vision process has, not for the images of many clients', async () => {
    let requestsDone = 0;
    const { port, serving } = await makeAnalyzing({ onFrame: () => (requestsDone += 1) });
    const frames = await Promise.all(
      Array.from({ length: 4 }, (_, seed) => jpegOf(seed, { width: 640, height: 360 })),
    );
    let asking = true;
    const clients = Array.from({ length: 16 }, async (_, client) => {
      const mine = frames.map((frame, i) => Buffer.concat([frame, Buffer.from([client, i])]));
      while (asking)
        if (client % 2 === 0) await post(port, BATCH, form(mine.map((one) => image(one, 'files'))));
        else for (const one of mine) await post(port, ANALYZE, form([image(one)]));
    });
    const before: number[] = [];
    for (let slot = 0; slot < 8 || requestsDone < 20; slot += 1) {
      const doneBefore = requestsDone;
      const options = { roi: null, privacyMasks: [], priority: 'schedule' } as const;
      using lease = serving.lease();
      // Count as soon as the reply is there: the replies of two frames may arrive together.
      const count = (): void => void before.push(requestsDone - doneBefore);
      await lease.analyze(frames[0] ?? Buffer.alloc(0), options).finally(count);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    asking = false;
    await Promise.all(clients);
    expect(Math.max(...before)).toBeLessThanOrEqual(MAX_AHEAD);
  });

  it('refuses uploads beyond the budget with Retry-After, and accepts them afterwards', async () => {
    const { port, analysis } = await makeAnalyzing({ model: 'heads' });
    const frame = await jpegOf(3, { width: 320, height: 180 });
    const body = form([image(Buffer.concat([frame, Buffer.alloc(8_000_000)]))]);
    const answers = await Promise.all(Array.from({ length: 16 }, () => post(port, ANALYZE, body)));
    const statuses = answers.map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([200, 503]));
    const documented = new Documented();
    for (const { status, headers, text, json } of answers) {
      const contentType = headers['content-type'] ?? null;
      expect(documented.fault('POST', ANALYZE, { status, contentType, body: text, headers })).toBeNull();
      if (status !== 503) continue;
      expect(json['code']).toBe('vision_busy');
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
      expect(Number(headers['retry-after'])).toBeLessThanOrEqual(60);
    }
    expect((await post(port, ANALYZE, body)).status).toBe(200);
    await expect
      .poll(() => analysis.stats(), { timeout: 20_000 })
      .toEqual({ waiting: 0, requests: 0, heldBytes: 0 });
  });
});

describe('slow and broken clients', () => {
  const apps: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()));
  });

  /** Only the routes, with upload limits that expire within a test. */
  async function startWithShortLimits() {
    const app = fastify({ forceCloseConnections: true });
    apps.push(app);
    const budget = new UploadBudget({ budgetBytes: 64_000_000, maxRequests: 64 });
    const agent = Object.assign(new CannedAgent(), {
      reserveUpload: (sizeBytes: number) => budget.reserve(sizeBytes),
    });
    app.setErrorHandler((error, _request, reply) => {
      const problem = toProblem(error);
      void reply.code(problem.status).send(problem);
    });
    const tuning = { idleMs: 400, graceMs: 1200, minBytesPerS: 100_000 };
    analyzeRoutes({ maxUploadMb: 1, batchMax: 3, tuning })(app, {
      api: agent,
      version: '1.2.3',
      stopping: new AbortController().signal,
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const address = app.server.address();
    return { port: typeof address === 'object' && address ? address.port : 0, budget, agent };
  }
  const headers = { 'content-type': FORM_TYPE, 'content-length': 500_000 };

  it('refuses an upload that stops in the middle, and releases its budget', async () => {
    const { port, budget } = await startWithShortLimits();
    const sent = begin(port, ANALYZE, headers);
    sent.write(partHead({ name: 'file', filename: 'a.jpg' }) + 'x'.repeat(1000));
    expect(await answered(sent)).toMatchObject({ status: 408, json: { code: 'request_timeout' } });
    sent.destroy();
    await expect.poll(() => budget.requests, { timeout: 20_000 }).toBe(0);
  });

  it('refuses an upload that is too slow', async () => {
    const { port } = await startWithShortLimits();
    const sent = begin(port, BATCH, headers);
    const drip = setInterval(() => sent.write('y'), 100);
    sent.write(partHead({ name: 'files', filename: 'a.jpg' }));
    expect(await answered(sent)).toMatchObject({ status: 408, json: { code: 'request_timeout' } });
    clearInterval(drip);
    sent.destroy();
  });

  it('refuses a form without end once it is too large', async () => {
    const { port } = await startWithShortLimits();
    const sent = begin(port, ANALYZE, { 'content-type': FORM_TYPE });
    sent.write('preamble without a boundary');
    const flood = setInterval(() => sent.write(Buffer.alloc(200_000, 0x41)), 20);
    const answer = await answered(sent);
    clearInterval(flood);
    sent.destroy();
    expect(answer).toMatchObject({ status: 413, json: { code: 'request_too_large' } });
  });

  it('releases the budget of clients that disconnect', async () => {
    const { port, budget, agent } = await startWithShortLimits();
    const many = Array.from({ length: 20 }, () => {
      const sent = begin(port, ANALYZE, headers);
      sent.write(partHead({ name: 'file', filename: 'a.jpg' }) + 'x'.repeat(1000));
      return sent;
    });
    await expect.poll(() => budget.requests, { timeout: 20_000 }).toBe(20);
    for (const sent of many) sent.destroy();
    await expect.poll(() => [budget.requests, budget.reservedBytes], { timeout: 20_000 }).toEqual([0, 0]);
    expect(agent.analysed).toEqual([]);
  });
});
