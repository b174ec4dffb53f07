import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { Bundle } from '../../src/model/manifest.ts';
import { InProcessVision } from '../../src/vision/in-process.ts';
import { openReference } from './frame-to-record.ts';
import { LoadClient } from './http-client.ts';
import { drawSeaImages } from './sea-images.ts';
import { childrenOf, rssMb } from './process-figures.ts';
import { startAgent, stopAgent, type MeasuredAgent } from './running-agent.ts';
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
/** By then the agent has allocated the memory that it keeps. */
const SETTLED_AFTER_ROUNDS = 4;
const NO_ROI = { roi: null, privacyMasks: [] } as const;

/** Starts an agent whose camera takes one frame an hour, and without a rate limit. */
const startQuietAgent = (images: readonly Uint8Array[], cacheTtlS: number): Promise<MeasuredAgent> =>
  startAgent(
    images.slice(0, 1),
    { schedule: { everyS: 3600 }, burst: { frames: 1, intervalS: 0 } },
    { cacheTtlS, rateLimit: 1_000_000 },
  );

function saveImages({ dir }: MeasuredAgent, images: readonly Uint8Array[]): readonly string[] {
  return images.map((bytes, index) => {
    const path = join(dir, `sent-${String(index)}.jpg`);
    writeFileSync(path, bytes);
    return path;
  });
}

/** Measures images over HTTP, and the same images in one process. */
export async function measureHttp(bundle: Bundle, images: readonly Uint8Array[]): Promise<readonly Row[]> {
  return [...(await measureAnalysis(bundle, images)), ...(await measureCache())];
}

async function measureAnalysis(bundle: Bundle, images: readonly Uint8Array[]): Promise<readonly Row[]> {
  const agent = await startQuietAgent(images, 0);
  const client = new LoadClient();
  const inProcess = await InProcessVision.open(
    { bundle, plan: { provider: 'cpu', threads: THREADS } },
    { clock: systemClock },
  );
  try {
    const files = saveImages(agent, images);
    const reference = await openReference(bundle, THREADS);
    const overHttp = async (index: number): Promise<number> => {
      const file = files[index % files.length] ?? '';
      const { clientMs } = await client.run({ port: agent.httpPort, files: [file], clients: 1, requests: 1 });
      return clientMs[0] ?? Number.NaN;
    };
    const vision = async (image: Uint8Array): Promise<number> => {
      const startedMs = performance.now();
      await inProcess.analyze(image, NO_ROI);
      return performance.now() - startedMs;
    };
    /** Runs both in turn, each first in every other round. */
    const measurePairs = async (run: (image: Uint8Array) => Promise<number>): Promise<[number, number][]> => {
      const pairs: [number, number][] = [];
      for (let round = 0; round < WARM_UP + SINGLE_PAIRS; round++) {
        const image = images[round % images.length] ?? new Uint8Array();
        const first = round % 2 === 0 ? await overHttp(round) : await run(image);
        const second = round % 2 === 0 ? await run(image) : await overHttp(round);
        if (round >= WARM_UP) pairs.push(round % 2 === 0 ? [first, second] : [second, first]);
      }
      return pairs;
    };
    const visionPairs = await measurePairs(vision);
    const referencePairs = await measurePairs(reference);
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
        await inProcess.analyze(images[index % images.length] ?? new Uint8Array(), NO_ROI);
      const inProcessMs = performance.now() - startedMs;
      rates.push([(1000 * RATE_IMAGES) / tookMs, (1000 * RATE_IMAGES) / inProcessMs]);
    }
    return [
      pairedRow('POST /analyze, 2560x1440 JPEG, one client', 'ms', visionPairs, 'vision in one process', 1.3),
      pairedRow('the same', 'ms', referencePairs, 'sharp + session.run', null),
      pairedRow('analyses over HTTP at saturation', '1/s', rates, 'in one process', 0.85, 'at_least'),
      budgetRow('resident memory, vision, at saturation', 'MB', visionRssMb(agent), null),
    ];
  } finally {
    client.close();
    await inProcess.close();
    await stopAgent(agent);
  }
}

async function measureCache(): Promise<readonly Row[]> {
  const images = drawSeaImages(CACHED_IMAGES, 960, 540);
  const agent = await startQuietAgent(images, 3600);
  const client = new LoadClient();
  try {
    const files = saveImages(agent, images);
    const job = { port: agent.httpPort, files, clients: CACHED_CLIENTS };
    await client.run({ ...job, requests: CACHED_IMAGES });
    const rates: number[] = [];
    const serverMs: number[] = [];
    const mainMb: number[] = [];
    for (let round = 0; round < CACHED_ROUNDS; round++) {
      const answer = await client.run({ ...job, requests: CACHED_ROUND });
      if (answer.cachedCount !== CACHED_ROUND) throw new Error('an answer was not cached');
      rates.push((1000 * CACHED_ROUND) / answer.tookMs);
      serverMs.push(median(answer.serverMs));
      mainMb.push(rssMb(agent.pid));
    }
    const settled = mainMb[SETTLED_AFTER_ROUNDS - 1] ?? Number.NaN;
    const sizeKb = (images[0]?.length ?? 0) / 1000;
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
    await stopAgent(agent);
  }
}

const visionRssMb = (agent: MeasuredAgent): readonly number[] =>
  childrenOf(agent.pid)
    .filter(({ command }) => command.includes('vision/child/process'))
    .map(({ pid }) => rssMb(pid));
