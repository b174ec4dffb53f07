import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isoTime } from '../../../src/base/clock.ts';
import { timeOrderedUuid } from '../../../src/base/uuid.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import type { EventPage, FramePage, LabelQueue, Series } from '../../../src/contract/history.ts';
import type { AgentApi } from '../../../src/contract/api.ts';
import { createHistoryApi } from '../../../src/control/history.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { LabelledImages } from '../../../src/observation/labelled-images.ts';
import { NO_WAVE } from '../../../src/observation/record.ts';
import { WaterLevel } from '../../../src/observation/water-level.ts';
import { InProcessVision } from '../../../src/vision/in-process.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { CannedAgent } from '../../fixtures/agent-api.ts';
import { factoryBundleDir } from '../../fixtures/bundles.ts';
import { expectProblem, startServer } from '../../fixtures/http-server.ts';
import { leaseOf } from '../../fixtures/lease.ts';
import { burstFeatures, draft, silentLog } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const START_MS = Date.UTC(2026, 5, 1);
const MINUTE_MS = 60_000;
const MASK = [
  [0, 0],
  [1, 0],
  [1, 1],
  [0, 1],
];
const settingsOf = (privacyMasks: unknown = []): CameraSettings =>
  ({ id: 'north', roi: null, privacyMasks }) as unknown as CameraSettings;

describe('the history over HTTP', () => {
  const state = useStore({}, { inMemory: true, startMs: START_MS + 6 * 3_600_000 });
  let vision: InProcessVision;
  let frame: Buffer;
  let images: LabelledImages;
  let settings: CameraSettings;

  beforeAll(async () => {
    vision = await InProcessVision.open(
      { bundle: await openBundle(factoryBundleDir) },
      { clock: systemClock },
    );
    frame = await sharp({ create: { width: 1280, height: 720, channels: 3, background: '#4a8' } })
      .jpeg()
      .toBuffer();
  });
  afterAll(() => vision.close());
  beforeEach(() => {
    settings = settingsOf();
    const server = { lease: () => leaseOf(vision) };
    images = new LabelledImages(
      { stateDir: state.dir },
      {
        clock: state.clock,
        log: silentLog,
        server,
        store: state.store,
        signal: new AbortController().signal,
      },
    );
  });

  async function serve() {
    const real = createHistoryApi({
      ...{ clock: state.clock, store: state.store, images, server: { lease: () => leaseOf(vision) } },
      waterLevel: new WaterLevel({ clock: state.clock, memory: state.store.keyValue }),
      settingsOf: (camera) => (camera === 'north' ? settings : null),
    });
    const api: AgentApi = Object.assign(new CannedAgent(), real);
    return startServer({ rateLimit: 100_000 }, { api });
  }
  /** A measured record of a minute. */
  const append = (minute: number, over: Parameters<typeof draft>[0] = {}): string => {
    const capturedAtMs = START_MS + minute * MINUTE_MS;
    const wave = { ...NO_WAVE, height_m: 1, height_low_m: 0.5, height_high_m: 1.5 };
    return state.store.append(
      draft({ id: timeOrderedUuid(capturedAtMs), captured_at: isoTime(capturedAtMs), wave, ...over }),
      burstFeatures([minute]),
    ).id;
  };
  const keep = (id: string): Promise<void> => images.keep(settings, id, frame, true);

  it('has one record by its id', async () => {
    const id = append(1);
    const { ask } = await serve();
    expect((await ask('GET', `/api/v1/observations/${id}`)).json()).toMatchObject({
      id,
      camera: 'north',
      seq: 1,
    });
    expectProblem(await ask('GET', `/api/v1/observations/${timeOrderedUuid(5)}`), 404, 'observation_unknown');
    for (const wrong of ['latest', '1', '..%2f..%2fetc%2fpasswd', "'%20OR%201=1--"])
      expectProblem(await ask('GET', `/api/v1/observations/${wrong}`), 400, 'request_invalid');
  });

  it('has the kept image of an observation, smaller on request, and none of another observation', async () => {
    const kept = append(1);
    const other = append(2);
    await keep(kept);
    const { ask } = await serve();
    const sizeOf = async (query = ''): Promise<(number | undefined)[]> => {
      const { status, headers, body } = await ask('GET', `/api/v1/observations/${kept}/image.jpg${query}`);
      expect([status, headers['content-type'], headers['cache-control']]).toEqual([
        ...[200, 'image/jpeg', 'private, max-age=3600'],
      ]);
      const { width, height } = await sharp(body).metadata();
      return [width, height];
    };
    expect(await sizeOf()).toEqual([640, 360]);
    expect(await sizeOf('?max_width_px=160')).toEqual([160, 90]);
    expect(await sizeOf('?max_width_px=4096')).toEqual([640, 360]);
    expectProblem(
      await ask('GET', `/api/v1/observations/${other}/image.jpg`),
      404,
      'observation_image_missing',
    );
    expectProblem(
      await ask('GET', `/api/v1/observations/${timeOrderedUuid(5)}/image.jpg`),
      404,
      'observation_unknown',
    );
  });

  it('returns no image that was made with other privacy masks, or of a camera that was removed', async () => {
    const before = append(1);
    await keep(before);
    // As an agent that crashed between the change of the masks and the deletion leaves it.
    settings = settingsOf([MASK]);
    const after = append(2);
    await keep(after);
    const { ask } = await serve();
    expectProblem(
      await ask('GET', `/api/v1/observations/${before}/image.jpg`),
      404,
      'observation_image_missing',
    );
    const masked = await ask('GET', `/api/v1/observations/${after}/image.jpg`);
    const { channels } = await sharp(masked.body).stats();
    // One grey, without the picture.
    expect(Math.max(...channels.map(({ stdev }) => stdev))).toBeLessThan(1);
    expect(channels[1]?.mean).not.toBeCloseTo(0xaa, -1);
    const { frames } = (await ask('GET', '/api/v1/cameras/north/frames')).json() as unknown as FramePage;
    expect(frames.map(({ observation_id }) => observation_id)).toEqual([after]);

    const foreign = append(3, { camera: 'removed' });
    const digest = createHash('sha256').update('[]').digest('hex').slice(0, 8);
    mkdirSync(join(state.dir, 'pictures/removed'), { recursive: true });
    writeFileSync(join(state.dir, 'pictures/removed', `${digest}-${foreign}.jpg`), frame);
    expectProblem(
      await ask('GET', `/api/v1/observations/${foreign}/image.jpg`),
      404,
      'observation_image_missing',
    );
    expectProblem(await ask('GET', '/api/v1/cameras/removed/frames'), 404, 'camera_unknown');
    expectProblem(await ask('GET', '/api/v1/cameras/removed/label-queue'), 404, 'camera_unknown');
  });

  it('pages through the kept frames of a time, newest first', async () => {
    const ids: string[] = [];
    for (let minute = 0; minute < 7; minute += 1) {
      ids.push(append(minute));
      if (minute !== 3) await keep(ids.at(-1) ?? '');
    }
    state.store.labels.add({ observationId: ids[5] ?? '', heightM: 1.2, observer: null, note: null });
    const { ask } = await serve();
    const pages: string[][] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const query = `limit=2&to=${isoTime(START_MS + 6 * MINUTE_MS)}&from=${isoTime(START_MS + MINUTE_MS)}`;
      const page = (
        await ask('GET', `/api/v1/cameras/north/frames?${query}${cursor && `&cursor=${cursor}`}`)
      ).json() as unknown as FramePage;
      pages.push(
        page.frames.map(
          ({ observation_id, labelled }) => `${ids.indexOf(observation_id)}${labelled ? ' labelled' : ''}`,
        ),
      );
      ({ cursor } = page);
    }
    expect(pages).toEqual([
      ['5 labelled', '4'],
      ['2', '1'],
    ]);
    expectProblem(await ask('GET', '/api/v1/cameras/north/frames?cursor=nonsense'), 400, 'usage');
  });

  it('queues kept frames without a label for a reading', async () => {
    const ids = [0, 1, 300].map((minute) => append(minute));
    const withoutImage = append(200);
    const rejected = append(250, { status: 'rejected', wave: NO_WAVE, reasons: ['fog'] });
    for (const id of [...ids, rejected]) await keep(id);
    const [first = '', , last = ''] = ids;
    const { ask } = await serve();
    const queue = async (): Promise<LabelQueue['frames']> =>
      ((await ask('GET', '/api/v1/cameras/north/label-queue')).json() as unknown as LabelQueue).frames;
    const before = await queue();
    expect(before.map(({ observation_id }) => observation_id)[0]).toBe(last);
    expect(before).toHaveLength(3);
    expect(before.some(({ observation_id }) => observation_id === withoutImage)).toBe(false);
    expect(before[0]).toMatchObject({ reason: 'wide_interval', height_m: 1, labelled: false });
    state.store.labels.add({ observationId: last, heightM: 1.2, observer: null, note: null });
    const [next] = await queue();
    expect([first, ids[1]]).toContain(next?.observation_id);
  });

  it('has the series of a camera, also of one that was removed, by default of the last day', async () => {
    append(1, { camera: 'removed' });
    const id = append(2);
    state.store.labels.add({ observationId: id, heightM: 1.4, observer: 'ana', note: null });
    const { ask } = await serve();
    const series = async (camera: string, query = ''): Promise<Series> =>
      (await ask('GET', `/api/v1/cameras/${camera}/series${query}`)).json() as unknown as Series;
    expect(await series('north')).toMatchObject({
      ...{ camera: 'north', bucket_s: 300, from: '2026-05-31T06:00:00.000Z', to: '2026-06-01T06:00:00.000Z' },
      points: [{ at: '2026-06-01T00:00:00.000Z', observations: 1, height_m: 1, tide_m: null }],
      labels: [{ height_m: 1.4, observer: 'ana' }],
    });
    expect((await series('removed', '?points=10')).points).toHaveLength(1);
    const path = '/api/v1/cameras/north/series';
    expectProblem(await ask('GET', '/api/v1/cameras/none/series'), 404, 'camera_unknown');
    const range = `from=${isoTime(START_MS)}&to=${isoTime(START_MS)}`;
    for (const query of [
      range,
      'points=9',
      'points=1001',
      'from=yesterday',
      `from=${isoTime(START_MS + 1e11)}`,
    ])
      expectProblem(await ask('GET', `${path}?${query}`), 400, 'request_invalid');
    // The whole of time.
    const everything = await series('north', '?from=0001-01-01T00:00:00Z&to=9999-12-31T00:00:00Z&points=10');
    expect(everything.points).toHaveLength(1);
  });

  it('has the predicted tide of a camera with constituents', async () => {
    append(2);
    const constituents = [{ name: 'M2', amplitude: 1, phase: 0 }];
    settings = {
      ...settings,
      geometry: { cameraHeightM: 10, horizonRow: 0.3, tide: { constituents } },
    };
    const { ask } = await serve();
    const { points } = (await ask('GET', '/api/v1/cameras/north/series')).json() as unknown as Series;
    expect(points[0]?.tide_m).toEqual(expect.any(Number));
    expect(Math.abs(points[0]?.tide_m ?? 9)).toBeLessThanOrEqual(1.1);
  });

  it('pages through stored events, of a severity or worse', async () => {
    for (let n = 1; n <= 450; n += 1)
      state.store.raise({
        ...{ type: 'camera_state', code: 'camera_timeout', message: String(n), context: {} },
        severity: n % 100 === 0 ? 'error' : n % 10 === 0 ? 'warning' : 'info',
      });
    const { ask } = await serve();
    const page = async (query: string): Promise<EventPage> =>
      (await ask('GET', `/api/v1/event-log?${query}`)).json() as unknown as EventPage;
    const messages = ({ events }: EventPage): number[] => events.map(({ message }) => Number(message));
    expect(messages(await page('limit=2'))).toEqual([450, 449]);
    expect(messages(await page('severity=error'))).toEqual([400, 300, 200, 100]);
    const first = await page('severity=warning&limit=3');
    expect(messages(first)).toEqual([450, 440, 430]);
    expect(messages(await page(`severity=warning&limit=3&before=${String(first.cursor)}`))).toEqual([
      420, 410, 400,
    ]);
    expect((await page('before=1')).cursor).toBeNull();
    for (const query of ['limit=0', 'limit=501', 'before=0', 'before=x', 'severity=loud'])
      expectProblem(await ask('GET', `/api/v1/event-log?${query}`), 400, 'request_invalid');
  });
});
