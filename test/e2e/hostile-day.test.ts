import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Health } from '../../src/contract/health.ts';
import { reasonsOf, RunningAgent, type LogLine } from '../fixtures/agent.ts';
import { bundleDir } from '../fixtures/bundles.ts';
import { httpServer, tcpServer, type TestServer } from '../fixtures/camera-server.ts';
import { childPids, isGone } from '../fixtures/children.ts';
import { freePort, Mosquitto, type Message } from '../fixtures/mosquitto.ts';
import { pngOf } from '../fixtures/png.ts';
import { Proxy } from '../fixtures/proxy.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { RtspServer } from '../fixtures/rtsp.ts';

const sea = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../fixtures/sea', name));
const good = sea('sea-small.jpg');
/** Served in turn, so that two successive frames always differ. */
const changingFrames = [good, sea('sea-big.jpg')];

/** A valid PNG of 20000 x 10000 grey pixels, one bit each, in a few kilobytes. */
function hugePng(): Buffer {
  const [width, height] = [20_000, 10_000];
  return pngOf({ width, height, bits: 1, colourType: 0 }, Buffer.alloc((1 + width / 8) * height));
}

function damagedJpeg(): Buffer {
  const bytes = Buffer.from(good);
  bytes.fill(0, bytes.length >> 1, (bytes.length >> 1) + 4096);
  return bytes;
}

const fromCamera =
  (camera: string, matches: (line: LogLine) => boolean) =>
  (line: LogLine): boolean =>
    line['camera'] === camera && matches(line);
const hasReason =
  (code: string) =>
  (line: LogLine): boolean =>
    reasonsOf(line).includes(code);

describe('Agent with failing cameras and a late broker', () => {
  const schedule = { everyS: 3 };
  /** For cameras that start an ffmpeg at each attempt. */
  const rareSchedule = { everyS: 10 };
  const burst = { frames: 1 };
  let agent: RunningAgent;
  let broker: Mosquitto;
  /** Between agent and broker: refuses connections while the broker is "down". */
  let proxy: Proxy;
  let recorder: Recorder;
  let messages: readonly Message[];
  let dying: RtspServer;
  let freezing: RtspServer;
  let guarded: RtspServer;
  let silent: TestServer;
  let snapshots: TestServer;
  /** The reply of the snapshot camera; null for the changing frames. */
  let nextReply: Buffer | null = null;
  let servedCount = 0;
  const clipDir = mkdtempSync(join(tmpdir(), 'swellsight-clip-'));

  const heartbeats = (): Health[] =>
    messages
      .filter(({ topic }) => topic.endsWith('/health'))
      .map(({ payload }) => JSON.parse(payload.toString()) as Health);
  const cameraState = (camera: string): string | undefined =>
    messages
      .filter(({ topic }) => topic.endsWith(`/camera/${camera}/state`))
      .map(({ payload }) => (JSON.parse(payload.toString()) as { state: string }).state)
      .at(-1);

  beforeAll(async () => {
    dying = await RtspServer.start({ fps: 5 });
    changingFrames.forEach((bytes, index) => writeFileSync(join(clipDir, `${index}.jpg`), bytes));
    freezing = await RtspServer.start({ dir: clipDir, fps: 5, hold: 8, size: { width: 640, height: 360 } });
    guarded = await RtspServer.start({ fps: 5, credentials: { username: 'viewer', password: 'right' } });
    silent = await tcpServer(() => undefined);
    snapshots = await httpServer((_, response) => {
      const bytes = nextReply ?? changingFrames[servedCount++ % changingFrames.length];
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(bytes);
    });
    broker = await Mosquitto.start();
    // The recorder must be subscribed before the agent drains its outbox.
    recorder = await Recorder.start(broker.url);
    messages = recorder.messages;
    proxy = await Proxy.to(broker.port);
    await proxy.refuse();
    agent = await RunningAgent.start({
      mqtt: { url: proxy.url },
      heartbeat: { intervalS: 1 },
      cameras: [
        { id: 'dying', kind: 'rtsp', url: dying.url, schedule, burst, timeoutS: 5 },
        { id: 'freezing', kind: 'rtsp', url: freezing.url, schedule, burst, timeoutS: 5 },
        {
          id: 'guarded',
          kind: 'rtsp',
          url: guarded.url,
          username: 'viewer',
          password: 'wrong',
          schedule: rareSchedule,
          burst,
          timeoutS: 5,
        },
        {
          id: 'silent',
          kind: 'rtsp',
          url: silent.url.replace('http', 'rtsp'),
          schedule: rareSchedule,
          burst,
          timeoutS: 3,
        },
        {
          id: 'snapshots',
          kind: 'http',
          url: `${snapshots.url}/now.jpg`,
          schedule: { everyS: 2 },
          burst,
          timeoutS: 5,
        },
      ],
    });
    await agent.observation(() => true, 60_000);
    await proxy.accept();
    await agent.waitFor('connection', (line) => line.msg === 'connected', 60_000);
    await agent.observation(
      fromCamera('freezing', (line) => line['status'] !== 'failed'),
      60_000,
    );
    await freezing.send('freeze');
  }, 240_000);

  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    recorder.finish();
    await Promise.all([
      dying.stop(),
      freezing.stop(),
      guarded.stop(),
      silent.stop(),
      snapshots.stop(),
      broker.stop(),
    ]);
    proxy.stop();
    rmSync(clipDir, { recursive: true, force: true });
  });

  it('delivers observations that were recorded before the broker was reachable', async () => {
    await expect
      .poll(() => messages.some(({ topic }) => topic.endsWith('/backfill')), { timeout: 60_000 })
      .toBe(true);
  });

  it('reports a camera down when its server dies, and up when the server is back', async () => {
    await agent.observation(
      fromCamera('dying', (line) => line['status'] !== 'failed'),
      60_000,
    );
    const from = agent.lines.length;
    await dying.stop();
    await agent.observation(
      fromCamera('dying', (line) => line['status'] === 'failed'),
      60_000,
      from,
    );
    await expect.poll(() => cameraState('dying'), { timeout: 60_000 }).toBe('down');
    dying = await RtspServer.start({ fps: 5, port: dying.port });
    await expect.poll(() => cameraState('dying'), { timeout: 90_000 }).toBe('up');
  }, 240_000);

  it('fails within the deadline at each attempt when a server accepts but does not answer', async () => {
    await agent.observation(
      fromCamera('silent', (line) => line['status'] === 'failed' && Number(line['seq']) >= 2),
      60_000,
    );
    expect(cameraState('silent')).toBe('down');
  }, 240_000);

  it('reports camera_auth for a wrong password', async () => {
    await agent.observation(fromCamera('guarded', hasReason('camera_auth')), 60_000);
  });

  it('gives each bad image its reason, and measures the next good one', async () => {
    const cases: [string, Buffer, RegExp][] = [
      ['truncated', good.subarray(0, good.length / 3), /image_corrupt|camera_no_frame|camera_codec|damaged/],
      ['damaged', damagedJpeg(), /image_corrupt|damaged/],
      ['200 megapixels', hugePng(), /image_too_large/],
      ['empty', Buffer.alloc(0), /image_empty|camera_no_frame|camera_codec/],
      [
        'no image',
        Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'),
        /image_unsupported|camera_codec|camera_no_frame/,
      ],
    ];
    for (const [name, bytes, expectedReason] of cases) {
      let from = agent.lines.length;
      nextReply = bytes;
      const line = await agent.observation(
        fromCamera('snapshots', (one) => expectedReason.test(reasonsOf(one))),
        60_000,
        from,
      );
      expect(line['height_m'], name).toBeNull();
      from = agent.lines.length;
      nextReply = null;
      await agent.observation(
        fromCamera('snapshots', (one) => one['status'] === 'measured'),
        60_000,
        from,
      );
    }
  }, 240_000);

  it('reports a frozen stream as frozen, and as up when it moves again', async () => {
    await agent.observation(fromCamera('freezing', hasReason('frozen')), 120_000);
    await expect.poll(() => cameraState('freezing'), { timeout: 60_000 }).toBe('frozen');
    await freezing.send('thaw');
    await expect.poll(() => cameraState('freezing'), { timeout: 60_000 }).toBe('up');
  }, 240_000);

  it.each(['vision/child/process', 'ffmpeg'])(
    'recovers from kill -9 of %s',
    async (program) => {
      const pids = childPids(program, agent.pid);
      expect(pids.length).toBeGreaterThan(0);
      for (const pid of pids) process.kill(pid, 'SIGKILL');
      const from = agent.lines.length;
      const camera = program === 'ffmpeg' ? 'dying' : 'snapshots';
      await agent.observation(
        fromCamera(camera, (line) => ['measured', 'rejected'].includes(String(line['status']))),
        60_000,
        from,
      );
      expect(pids.every(isGone)).toBe(true);
    },
    240_000,
  );

  it('sends heartbeats without a gap during all of this', () => {
    // A state that is set during a birth may be sent twice, with the same sequence number.
    const all = heartbeats().filter(({ seq }, index, list) => seq !== list[index - 1]?.seq);
    const gapsS = all
      .slice(1)
      .map((beat, index) => (Date.parse(beat.at) - Date.parse(all[index]?.at ?? beat.at)) / 1000);
    expect(all.length).toBeGreaterThan(20);
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, index) => index + (all[0]?.seq ?? 0)));
    expect(Math.max(...gapsS)).toBeLessThan(15);
    console.log(`${all.length} heartbeats, longest gap ${Math.max(...gapsS).toFixed(1)} s`);
  });
});

describe('Agent with a model that never returns for a red image', () => {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-loop-'));
  let agent: RunningAgent;
  let snapshots: TestServer;
  let frame: Buffer = good;

  beforeAll(async () => {
    snapshots = await httpServer((_, response) =>
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(frame),
    );
    const manifest = JSON.parse(readFileSync(join(bundleDir('loop-when-red'), 'model.json'), 'utf8')) as {
      name: string;
      version: string;
    };
    const installed = join(dir, 'var', 'models', manifest.name, manifest.version);
    mkdirSync(installed, { recursive: true });
    cpSync(bundleDir('loop-when-red'), installed, { recursive: true });
    agent = await RunningAgent.start(
      {
        model: { active: `${manifest.name}/${manifest.version}`, allowUnsigned: true },
        inference: { timeoutS: 2, providers: ['cpu'], threads: 1 },
        heartbeat: { intervalS: 1 },
        mqtt: { embedded: { port: await freePort() } },
        cameras: [
          {
            id: 'cam',
            kind: 'http',
            url: `${snapshots.url}/now.jpg`,
            schedule: { everyS: 1 },
            burst: { frames: 1 },
          },
        ],
      },
      { stateDir: dir },
    );
  });

  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    await snapshots.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('loses only the red frame', async () => {
    await agent.observation((line) => line['status'] === 'measured', 60_000);
    let from = agent.lines.length;
    frame = await sharp(good).tint({ r: 255, g: 0, b: 0 }).jpeg().toBuffer();
    await agent.observation(hasReason('vision_timeout'), 60_000, from);
    frame = good;
    from = agent.lines.length;
    await agent.observation((line) => line['status'] === 'measured', 60_000, from);
    const health = await agent.json('/health/detailed');
    expect(health).toMatchObject({ live: true });
  }, 240_000);
});
