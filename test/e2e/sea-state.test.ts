import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { SeaStateRecord } from '../../src/contract/sea-state.ts';
import { RunningAgent, reasonsOf, type LogLine } from '../fixtures/agent.ts';
import { runCli } from '../fixtures/cli.ts';
import { raiseClipPriority } from '../fixtures/raised-priority.ts';
import { HomeAssistant } from '../fixtures/home-assistant.ts';
import { freePort, until } from '../fixtures/mosquitto.ts';
import { dashboardQueries, Prometheus } from '../fixtures/prometheus.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { RtspServer } from '../fixtures/rtsp.ts';
import { waveDataDir } from '../fixtures/wave-data.ts';

/** A busy machine with two cores needs several minutes for the clips of three cameras. */
const TIMEOUT_MS = 480_000;
const waves = waveDataDir();

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
    const port = await freePort();
    await using agent = await RunningAgent.start({
      cameras,
      mqtt: { embedded: { port }, homeAssistant: { enabled: true } },
    });
    using _raised = raiseClipPriority();
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

    await expectHomeAssistantToShow(records[0], port);
    await expectDashboardsToShow(agent.url);
  },
);

/** Home Assistant that starts now shows the newest clip, from the retained messages. */
async function expectHomeAssistantToShow(record: SeaStateRecord | undefined, port: number): Promise<void> {
  const home = new HomeAssistant();
  const filters = ['homeassistant/#', 'swellsight/v1/#'];
  const recorder = await Recorder.start(`mqtt://127.0.0.1:${port}`, { filters, protocolVersion: 4 });
  onTestFinished(() => recorder.finish());
  const came = (part: string): boolean => recorder.messages.some(({ topic }) => topic.includes(part));
  await until(() => came('boomerang/sea_state/latest') && came('homeassistant/'), 'the retained messages');
  const [discovery, others] = [true, false].map((isDiscovery) =>
    recorder.messages.filter(({ topic }) => topic.startsWith('homeassistant/') === isDiscovery),
  );
  for (const message of [...(discovery ?? []), ...(others ?? [])]) home.receive(message);
  const shown = (id: string): string | undefined => home.states.get(home.find(`boomerang.${id}`));
  expect({
    ...{
      height: shown('breaker_height'),
      low: shown('breaker_height_low'),
      high: shown('breaker_height_high'),
    },
    ...{ tide: shown('tide'), breakers: shown('breakers'), sea_state: shown('sea_state') },
  }).toEqual({
    ...{ height: String(record?.breaker.height_m), low: String(record?.breaker.low_m) },
    ...{ high: String(record?.breaker.high_m), tide: '0', breakers: String(record?.breaking.per_minute) },
    sea_state: 'measured',
  });
  // Cameras without geometry have no height of breakers.
  expect([...home.entities.keys()].filter((id) => id.endsWith('.breaker_height'))).toHaveLength(1);
  expect(home.faults).toEqual([]);
}

/** No panel of clips is empty in the shipped dashboards. */
async function expectDashboardsToShow(agentUrl: string): Promise<void> {
  const prometheus = await Prometheus.start(agentUrl, 'none');
  onTestFinished(() => prometheus.stop());
  const isOfClips = /swellsight_(?:wave_period|sea_state|breaker|white_water|tide)/;
  const emptyOf = async (camera: string): Promise<string[]> => {
    const queries = dashboardQueries(camera).filter(({ expr }) => isOfClips.test(expr));
    expect(queries.length).toBeGreaterThan(15);
    // Fails while Prometheus starts.
    const empty = await prometheus.empty(queries).catch(() => queries);
    return empty.map(({ expr }) => /swellsight_\w+/.exec(expr)?.[0] ?? expr);
  };
  // This sea has one wave train, and the clip of this camera no reasons.
  const none = ['swellsight_sea_state_second_period_seconds', 'swellsight_sea_state_reasons_total'];
  await expect.poll(() => emptyOf('boomerang'), { timeout: 60_000 }).toEqual(none);
  expect(await emptyOf('fuengirola')).not.toContain('swellsight_sea_state_reasons_total');
}

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
    using _raised = raiseClipPriority();
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
