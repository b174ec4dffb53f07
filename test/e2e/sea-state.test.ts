import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import type { SeaStateRecord } from '../../src/contract/sea-state.ts';
import { restorePriority } from '../../src/base/process-priority.ts';
import { RunningAgent, reasonsOf, type LogLine } from '../fixtures/agent.ts';
import { runCli } from '../fixtures/cli.ts';
import { descendants } from '../fixtures/capture.ts';
import { RtspServer } from '../fixtures/rtsp.ts';
import { waveDataDir } from '../fixtures/wave-data.ts';

const TIMEOUT_MS = 240_000;
const waves = waveDataDir();

/** The processes of the lowest priority may get nothing while other tests run. */
async function raisePriorities(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const pid of descendants('sea-state/process/child')) restorePriority(pid);
    await delay(200);
  }
}

it.skipIf(waves === null)(
  'measures the period of real waves in the whole agent, and refuses films that cannot show one (needs shared/waves or SWELLSIGHT_WAVES)',
  { timeout: TIMEOUT_MS + 60_000 },
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-clips-'));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    const pose = join(dir, 'pose.json');
    const points = ['calibrate-camera', join(waves ?? '', 'boomerang-gcp.csv'), '--size', '2048x1080'];
    const lens = ['--lens', join(waves ?? '', 'boomerang-lens.json')];
    expect((await runCli([...points, ...lens, '--out', pose])).code).toBe(0);
    const video = (id: string, film: string, replay: 'once' | 'loop') => ({
      ...{ id, kind: 'video', path: join(waves ?? '', film), replay, schedule: { everyS: 20 } },
      burst: { frames: 1 },
      seaState: { durationS: 256, schedule: { everyS: 3600 }, keepTimestacks: id === 'boomerang' },
      ...(id === 'boomerang' ? { geometry: { pose, tide: { offsetM: 0 } } } : {}),
    });
    const cameras = [
      video('boomerang', 'boomerang-2fps.mp4', 'once'),
      video('fuengirola', 'fuengirola.mp4', 'once'),
      video('loop', 'fuengirola.mp4', 'loop'),
    ];
    await using agent = await RunningAgent.start({ cameras, mqtt: { embedded: { port: 0 } } });
    const done = new AbortController();
    using _done = { [Symbol.dispose]: () => done.abort() };
    void raisePriorities(done.signal);
    const of = (camera: string): Promise<LogLine> =>
      agent.waitFor(
        `sea state of ${camera}`,
        (line) => line.msg === 'sea state' && line['camera'] === camera,
        TIMEOUT_MS,
      );
    const [boomerang, fuengirola, loop] = await Promise.all(cameras.map(({ id }) => of(id)));
    expect(boomerang).toMatchObject({ status: 'measured' });
    const periodS = Number(boomerang?.['period_s']);
    expect(Math.abs(periodS - 13.7)).toBeLessThan(0.6);
    const { sea_states: records } = (await agent.json('/api/v1/cameras/boomerang/sea-state?limit=1')) as {
      sea_states: SeaStateRecord[];
    };
    const breaker = records[0]?.breaker;
    expect(breaker).toMatchObject({ reason: null, tide_m: 0 });
    expect(breaker?.height_m).toBeGreaterThan(1.2);
    expect(breaker?.height_m).toBeLessThan(3.5);
    expect([fuengirola?.['status'], fuengirola?.['reasons']]).toEqual(['rejected', 'too_short']);
    expect([loop?.['status'], loop?.['reasons']]).toEqual(['rejected', 'repeated']);

    // The figures of the clip were kept, and are drawn for the others.
    for (const path of ['boomerang/sea-state/latest/timestack.png', 'loop/sea-state/latest/timestack.png']) {
      const response = await fetch(`${agent.url}/api/v1/cameras/${path}`);
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/png']);
    }

    // The bursts that follow carry the period. None was late because of the clips.
    const from = agent.lines.length;
    const next = await agent.observation((line) => line['camera'] === 'boomerang', 60_000, from);
    const { observations } = (await agent.json('/api/v1/observations?camera=boomerang&limit=1')) as {
      observations: { id: string; wave: { period_s: number; period_basis: string } }[];
    };
    expect(observations[0]).toMatchObject({
      id: next['id'],
      wave: { period_s: periodS, period_basis: 'video_spectrum' },
    });
    const bursts = agent.lines.filter(({ msg }) => msg === 'observation');
    expect(bursts.filter((line) => reasonsOf(line) === 'late')).toEqual([]);
  },
);

const isLong = process.env['SWELLSIGHT_RTSP_CLIP'] !== undefined;
it.skipIf(waves === null || !isLong)(
  'measures the same period from a real RTSP server in real time (5 minutes: SWELLSIGHT_RTSP_CLIP=1; needs shared/waves)',
  { timeout: 900_000 },
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-rtsp-clip-'));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    const film = join(waves ?? '', 'boomerang-2fps.mp4');
    execFileSync('ffmpeg', ['-v', 'error', '-i', film, '-q:v', '3', join(dir, '%04d.jpg')]);
    // Each image is shown for half a second, as in the film.
    const server = await RtspServer.start({
      dir,
      fps: 4,
      hold: 2,
      gop: 4,
      size: { width: 1280, height: 676 },
    });
    onTestFinished(() => server.stop());
    const camera = {
      ...{
        id: 'rtsp',
        kind: 'rtsp',
        url: server.url,
        schedule: { everyS: 10 },
        burst: { frames: 2, intervalS: 1 },
      },
      seaState: { durationS: 256, schedule: { everyS: 3600 } },
    };
    await using agent = await RunningAgent.start({ cameras: [camera], mqtt: { embedded: { port: 0 } } });
    const done = new AbortController();
    using _done = { [Symbol.dispose]: () => done.abort() };
    void raisePriorities(done.signal);
    const line = await agent.waitFor('a sea state', ({ msg }) => msg === 'sea state', 700_000);
    expect(line).toMatchObject({ status: 'measured' });
    expect(Math.abs(Number(line['period_s']) - 13.7)).toBeLessThan(0.6);
    expect((await server.send('state')).clients).toBe(1);
    const bursts = agent.lines.filter(({ msg }) => msg === 'observation');
    expect(bursts.length).toBeGreaterThan(20);
    expect(bursts.map(reasonsOf).filter((reason) => reason === 'late' || reason === 'overlap')).toEqual([]);
    console.log(`period ${String(line['period_s'])} s, ${String(bursts.length)} bursts`);
  },
);
