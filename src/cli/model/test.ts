import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { closeAtEnd } from '../../base/closing.ts';
import { systemClock } from '../../base/clock.ts';
import type { Settings } from '../../config/schema.ts';
import { createLog } from '../../base/log.ts';
import type { Bundle } from '../../model/manifest.ts';
import type { HeadValues, ProviderReport } from '../../vision/protocol.ts';
import { loadCommandSettings } from '../config.ts';
import { formatCount, formatTable } from '../format.ts';
import { tryProviders } from '../open-model.ts';
import type { ConfigOptions } from '../options.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import { withBundle } from './bundle.ts';

export interface ModelTestOptions extends ConfigOptions {
  readonly json?: boolean;
}

const EXPLORE_MS = 120_000;
const MIN_FRAMES = 20;

interface TestResult {
  readonly report: ProviderReport;
  /** From the start of the process until the verified model waits for frames. */
  readonly openMs: number;
  readonly frameP50Ms: number | null;
  readonly rssMb: number;
  readonly readings: readonly { readonly image: string; readonly heads: HeadValues | null }[];
}

/**
 * `model test`: starts the bundle like a device: tries each provider in an own process, verifies the golden outputs,
 * measures times, and analyses the golden images with the best provider. Throws the first fault of the bundle.
 */
export async function testModel(
  path: string,
  options: ModelTestOptions,
  terminal: Terminal,
): Promise<number> {
  const { inference } = await loadCommandSettings(options, terminal);
  return withBundle(path, terminal, async (dir) => {
    const { openBundle } = await import('../../model/bundle/bundle.ts');
    const bundle = await openBundle(dir, { signal: terminal.signal });
    const result = await runBundle(bundle, inference, terminal.signal);
    if (options.json === true) terminal.out(toJson(toDocument(bundle, result)));
    else terminal.out(formatTable(toRows(bundle, result)));
    return EXIT.ok;
  });
}

/**
 * Starts the bundle as `model test` does, with the default settings, until it has reproduced its golden outputs. Throws the
 * first fault.
 */
export async function tryBundle(path: string, terminal: Terminal): Promise<void> {
  const { signal } = terminal;
  const { inference } = await loadCommandSettings({}, { ...terminal, env: {} });
  await withBundle(path, terminal, async (dir) => {
    const { openBundle } = await import('../../model/bundle/bundle.ts');
    await tryProviders(await openBundle(dir, { signal }), inference, { exploreMs: 0, signal });
  });
}

async function runBundle(
  bundle: Bundle,
  inference: Settings['inference'],
  signal: AbortSignal,
): Promise<TestResult> {
  const { plan, report } = await tryProviders(bundle, inference, { exploreMs: EXPLORE_MS, signal });
  const { VisionProcess } = await import('../../vision/vision-process.ts');
  const { timeoutS, maxRssMb } = inference;
  const vision = new VisionProcess(
    { bundle, plan, timeoutS, maxRssMb, queueMax: 1 },
    { clock: systemClock, log: createLog('silent'), onEvent: () => undefined },
  );
  const startedMs = systemClock.monoMs();
  await vision.start(signal);
  const openMs = systemClock.monoMs() - startedMs;
  await using _closed = closeAtEnd(() => vision.close());
  const { golden } = bundle.manifest;
  const readings: TestResult['readings'][number][] = [];
  for (let frame = 0; frame < Math.max(MIN_FRAMES, golden.length); frame++) {
    const { image } = golden[frame % golden.length] ?? { image: '' };
    const bytes = await readFile(join(bundle.dir, image));
    const options = { roi: null, privacyMasks: [], ignoreGate: true };
    const { heads } = await vision.analyze(bytes, options, signal);
    if (frame < golden.length) readings.push({ image, heads });
  }
  const { p50Ms, rssMb } = vision.stats();
  return { report, openMs, frameP50Ms: p50Ms, rssMb, readings };
}

function toDocument({ manifest, digest }: Bundle, result: TestResult): unknown {
  const { provider, threads, attempts } = result.report;
  return {
    ok: true,
    name: manifest.name,
    version: manifest.version,
    digest,
    provider,
    threads,
    attempts: attempts.map(({ medianMs, ...attempt }) => ({ ...attempt, median_ms: medianMs })),
    golden: manifest.golden.length,
    open_ms: Math.round(result.openMs),
    frame_p50_ms: result.frameP50Ms,
    rss_mb: result.rssMb,
    readings: result.readings.map(({ image, heads }) => ({
      image,
      wave_height_m: heads?.waveHeight?.heightM ?? null,
      wave_direction: heads?.waveDirection?.label ?? null,
      breaking_type: heads?.breakingType?.label ?? null,
    })),
  };
}

function toRows({ manifest, digest }: Bundle, result: TestResult): string[][] {
  const { provider, threads, attempts } = result.report;
  const chosen = `${provider}, ${formatCount(threads, 'thread')}`;
  const frame = result.frameP50Ms === null ? '?' : result.frameP50Ms.toFixed(1);
  return [
    ['model', `${manifest.name} ${manifest.version}  ${digest}`],
    ...attempts.map((attempt) => [
      'provider',
      `${attempt.provider}, ${String(attempt.threads)}: ${attempt.outcome.replaceAll('_', ' ')}${
        attempt.medianMs === null ? '' : `, ${attempt.medianMs.toFixed(1)} ms`
      }${attempt.reason === null ? '' : ` (${attempt.reason})`}`,
    ]),
    ['golden', `all ${String(manifest.golden.length)} reproduced`],
    [
      'selected',
      `${chosen}: opened in ${result.openMs.toFixed(0)} ms, ${frame} ms per frame, ${String(result.rssMb)} MB`,
    ],
    ...result.readings.map(({ image, heads }) => ['result', `${image}: ${describeHeads(heads)}`]),
  ];
}

function describeHeads(heads: HeadValues | null): string {
  const values = [
    ...(heads?.waveHeight ? [`${heads.waveHeight.heightM.toFixed(2)} m`] : []),
    ...(heads?.waveDirection ? [heads.waveDirection.label] : []),
    ...(heads?.breakingType ? [heads.breakingType.label] : []),
    ...(heads?.embedding ? [`an embedding of ${String(heads.embedding.length)} values`] : []),
  ];
  return values.length === 0 ? 'no output that the agent reports' : values.join(', ');
}
