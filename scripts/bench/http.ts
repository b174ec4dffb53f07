import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { Bundle } from '../../src/model/manifest.ts';
import { InProcessVision } from '../../src/vision/in-process.ts';
import { openBare } from './frame-to-record.ts';
import { LoadClient } from './http-client.ts';
import { seaPictures } from './picture.ts';
import { childrenOf, rssMb } from './process-figures.ts';
import { start, stop, type Running } from './running-agent.ts';
import { budgetRow, floorRow, median, pairedRow, type Row } from './table.ts';

const THREADS = 1;
const SINGLE_PAIRS = 60;
const WARM_UP = 5;
const RATE_ROUNDS = 9;
const RATE_IMAGES = 40;
const SATURATING_CLIENTS = 4;
const CACHED_IMAGES = 16;
const CACHED_CLIENTS = 4;
const CACHED_ROUND = 2500;
const CACHED_ROUNDS = 20;
/** What the agent has made room for by then is not given back. */
const SETTLED_AFTER_ROUNDS = 4;
const NO_ROI = { roi: null, privacyMasks: [] } as const;

/** An agent whose camera leaves the model alone, and a client that may ask as often as it likes. */
const startQuiet = (pictures: readonly Uint8Array[], cacheTtlS: number): Promise<Running> =>
  start(
    pictures.slice(0, 1),
    { schedule: { everyS: 3600 }, burst: { frames: 1, intervalS: 0 } },
    { cacheTtlS, rateLimit: 1_000_000 },
  );

function save({ dir }: Running, pictures: readonly Uint8Array[]): readonly string[] {
  return pictures.map((bytes, index) => {
    const path = join(dir, `sent-${String(index)}.jpg`);
    writeFileSync(path, bytes);
    return path;
  });
}

/** Images over HTTP, beside the same images in one process. */
export async function http(bundle: Bundle, pictures: readonly Uint8Array[]): Promise<readonly Row[]> {
  return [...(await analysed(bundle, pictures)), ...(await cached())];
}

async function analysed(bundle: Bundle, pictures: readonly Uint8Array[]): Promise<readonly Row[]> {
  const agent = await startQuiet(pictures, 0);
  const client = new LoadClient();
  const single = await InProcessVision.open(
    { bundle, plan: { provider: 'cpu', threads: THREADS } },
    { clock: systemClock },
  );
  try {
    const files = save(agent, pictures);
    const bare = await openBare(bundle, THREADS);
    const over = async (index: number): Promise<number> => {
      const file = files[index % files.length] ?? '';
      const { clientMs } = await client.run({ port: agent.httpPort, files: [file], clients: 1, requests: 1 });
      return clientMs[0] ?? Number.NaN;
    };
    const vision = async (picture: Uint8Array): Promise<number> => {
      const startedMs = performance.now();
      await single.analyze(picture, NO_ROI);
      return performance.now() - startedMs;
    };
    /** In turn, each first as often as the other. */
    const beside = async (
      reference: (picture: Uint8Array) => Promise<number>,
    ): Promise<[number, number][]> => {
      const pairs: [number, number][] = [];
      for (let round = 0; round < WARM_UP + SINGLE_PAIRS; round++) {
        const picture = pictures[round % pictures.length] ?? new Uint8Array();
        const first = round % 2 === 0 ? await over(round) : await reference(picture);
        const second = round % 2 === 0 ? await reference(picture) : await over(round);
        if (round >= WARM_UP) pairs.push(round % 2 === 0 ? [first, second] : [second, first]);
      }
      return pairs;
    };
    const besideVision = await beside(vision);
    const besideBare = await beside(bare);
    const rates: [number, number][] = [];
    for (let round = 0; round < RATE_ROUNDS; round++) {
      const { tookMs } = await client.run({
        port: agent.httpPort,
        files,
        clients: SATURATING_CLIENTS,
        requests: RATE_IMAGES,
      });
      const startedMs = performance.now();
      for (let index = 0; index < RATE_IMAGES; index++)
        await single.analyze(pictures[index % pictures.length] ?? new Uint8Array(), NO_ROI);
      const inProcessMs = performance.now() - startedMs;
      rates.push([(1000 * RATE_IMAGES) / tookMs, (1000 * RATE_IMAGES) / inProcessMs]);
    }
    return [
      pairedRow(
        'POST /analyze, 2560x1440 JPEG, one client',
        'ms',
        besideVision,
        'vision in one process',
        1.3,
      ),
      pairedRow('the same', 'ms', besideBare, 'sharp + session.run', null),
      pairedRow('analyses over HTTP at saturation', '1/s', rates, 'in one process', 0.85, 'at_least'),
      budgetRow('resident memory, vision, at saturation', 'MB', visionMb(agent), null),
    ];
  } finally {
    client.close();
    await single.close();
    await stop(agent);
  }
}

async function cached(): Promise<readonly Row[]> {
  const pictures = seaPictures(CACHED_IMAGES, 960, 540);
  const agent = await startQuiet(pictures, 3600);
  const client = new LoadClient();
  try {
    const files = save(agent, pictures);
    const job = { port: agent.httpPort, files, clients: CACHED_CLIENTS };
    await client.run({ ...job, requests: CACHED_IMAGES });
    const rates: number[] = [];
    const serverMs: number[] = [];
    const mainMb: number[] = [];
    for (let round = 0; round < CACHED_ROUNDS; round++) {
      const answer = await client.run({ ...job, requests: CACHED_ROUND });
      if (answer.cached !== CACHED_ROUND) throw new Error('an answer was not cached');
      rates.push((1000 * CACHED_ROUND) / answer.tookMs);
      serverMs.push(median(answer.serverMs));
      mainMb.push(rssMb(agent.pid));
    }
    const settled = mainMb[SETTLED_AFTER_ROUNDS - 1] ?? Number.NaN;
    const sizeKb = (pictures[0]?.length ?? 0) / 1000;
    const requests = (CACHED_ROUNDS * CACHED_ROUND).toLocaleString('en');
    return [
      floorRow(`cached answers over HTTP, ${sizeKb.toFixed(0)} kB JPEG`, '1/s', rates, 1000),
      budgetRow('server time of a cached answer, median', 'ms', serverMs, 1),
      budgetRow(`resident memory, main, after ${requests} requests`, 'MB', mainMb.slice(-3), null),
      pairedRow(
        'resident memory, main, at the end',
        'MB',
        mainMb.slice(-3).map((mb) => [mb, settled] as const),
        `after the first ${String(SETTLED_AFTER_ROUNDS * CACHED_ROUND)} requests`,
        1.05,
      ),
    ];
  } finally {
    client.close();
    await stop(agent);
  }
}

const visionMb = (agent: Running): readonly number[] =>
  childrenOf(agent.pid)
    .filter(({ command }) => command.includes('vision/child/process'))
    .map(({ pid }) => rssMb(pid));
