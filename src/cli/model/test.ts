import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import type { Settings } from '../../config/schema.ts';
import { createLog } from '../../base/log.ts';
import type { Bundle } from '../../model/manifest.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import type { KeyValue } from '../../store/types.ts';
import type { HeadValues, ProviderReport } from '../../vision/protocol.ts';
import { withBundle } from './source.ts';
import { table } from '../phrases.ts';
import { settingsFor, type ConfigOptions } from '../settings.ts';
import { EXIT, jsonText, type Terminal } from '../terminal.ts';

export interface TestOptions extends ConfigOptions {
  readonly json?: boolean;
}

/** A provider may build for minutes: the agent goes on trying in the background, the command does not. */
const EXPLORE_WITHIN_MS = 120_000;
const FRAMES = 20;

interface Tested {
  readonly report: ProviderReport;
  /** From nothing to a proved model that waits for frames. */
  readonly openMs: number;
  readonly frameP50Ms: number | null;
  readonly rssMb: number;
  readonly readings: readonly { readonly image: string; readonly heads: HeadValues | null }[];
}

/**
 * `model test`: the bundle as a device would start it: each provider tried in a process of its own, proved on the golden
 * outputs and timed, then golden pictures as frames through the best. Throws what is wrong with it.
 */
export async function modelTest(path: string, options: TestOptions, terminal: Terminal): Promise<number> {
  const { inference } = await settingsFor(options, terminal);
  return withBundle(path, terminal, async (dir) => {
    const { openBundle } = await import('../../model/bundle/bundle.ts');
    const bundle = await openBundle(dir, { signal: terminal.signal });
    const tested = await tryBundle(bundle, inference, terminal.signal);
    if (options.json === true) terminal.out(jsonText(documentOf(bundle, tested)));
    else terminal.out(table(rowsOf(bundle, tested)));
    return EXIT.ok;
  });
}

async function tryBundle(
  bundle: Bundle,
  inference: Settings['inference'],
  signal: AbortSignal,
): Promise<Tested> {
  const { probeHardware } = await import('../../vision/hardware/probe.ts');
  const { ProviderLadder } = await import('../../vision/providers/select-provider.ts');
  const { VisionProcess } = await import('../../vision/vision-process.ts');
  const hardware = await probeHardware(signal);
  const log = createLog('silent');
  const ladder = new ProviderLadder(
    { bundle, inference, hardware },
    { memory: forgetful(), clock: systemClock, log },
  );
  const first = await ladder.first(signal);
  const better = await ladder.explore(deadlineSignal(EXPLORE_WITHIN_MS, signal)).catch(() => {
    signal.throwIfAborted();
    return null;
  });
  const plan = better ?? first;
  const { timeoutS, maxRssMb } = inference;
  const vision = new VisionProcess(
    { bundle, plan, timeoutS, maxRssMb, queueMax: 1 },
    { clock: systemClock, log, onEvent: () => undefined },
  );
  const startedMs = systemClock.monoMs();
  await vision.start(signal);
  const openMs = systemClock.monoMs() - startedMs;
  try {
    const readings: Tested['readings'][number][] = [];
    for (let frame = 0; frame < Math.max(FRAMES, bundle.manifest.golden.length); frame++) {
      const { image } = bundle.manifest.golden[frame % bundle.manifest.golden.length] ?? { image: '' };
      const bytes = await readFile(join(bundle.dir, image));
      const given = { roi: null, privacyMasks: [], ignoreGate: true };
      const { heads } = await vision.analyze(bytes, given, signal);
      if (frame < bundle.manifest.golden.length) readings.push({ image, heads });
    }
    const { p50Ms, rssMb } = vision.stats();
    const report = ladder.report() ?? { ...plan, attempts: [], remembered: false };
    return { report, openMs, frameP50Ms: p50Ms, rssMb, readings };
  } finally {
    await vision.close();
  }
}

function documentOf({ manifest, digest }: Bundle, tested: Tested): unknown {
  const { provider, threads, attempts } = tested.report;
  return {
    ok: true,
    name: manifest.name,
    version: manifest.version,
    digest,
    provider,
    threads,
    attempts: attempts.map(({ medianMs, ...attempt }) => ({ ...attempt, median_ms: medianMs })),
    golden: manifest.golden.length,
    open_ms: Math.round(tested.openMs),
    frame_p50_ms: tested.frameP50Ms,
    rss_mb: tested.rssMb,
    readings: tested.readings.map(({ image, heads }) => ({
      image,
      wave_height_m: heads?.waveHeight?.heightM ?? null,
      wave_direction: heads?.waveDirection?.label ?? null,
      breaking_type: heads?.breakingType?.label ?? null,
    })),
  };
}

function rowsOf({ manifest, digest }: Bundle, tested: Tested): string[][] {
  const { provider, threads, attempts } = tested.report;
  const chosen = `${provider}, ${String(threads)} ${threads === 1 ? 'thread' : 'threads'}`;
  const frame = tested.frameP50Ms === null ? '?' : tested.frameP50Ms.toFixed(1);
  return [
    ['model', `${manifest.name} ${manifest.version}  ${digest}`],
    ...attempts.map((attempt) => [
      'provider',
      `${attempt.provider}, ${String(attempt.threads)}: ${attempt.outcome.replaceAll('_', ' ')}${
        attempt.medianMs === null ? '' : `, ${attempt.medianMs.toFixed(1)} ms`
      }${attempt.reason === null ? '' : ` (${attempt.reason})`}`,
    ]),
    ['golden', `all of ${String(manifest.golden.length)} reproduced`],
    [
      'serves',
      `${chosen}: opened in ${tested.openMs.toFixed(0)} ms, ${frame} ms a frame, ${String(tested.rssMb)} MB`,
    ],
    ...tested.readings.map(({ image, heads }) => ['reads', `${image}: ${headsPhrase(heads)}`]),
  ];
}

function headsPhrase(heads: HeadValues | null): string {
  const said = [
    ...(heads?.waveHeight ? [`${heads.waveHeight.heightM.toFixed(2)} m`] : []),
    ...(heads?.waveDirection ? [heads.waveDirection.label] : []),
    ...(heads?.breakingType ? [heads.breakingType.label] : []),
    ...(heads?.embedding ? [`an embedding of ${String(heads.embedding.length)}`] : []),
  ];
  return said.length === 0 ? 'nothing that the agent reports' : said.join(', ');
}

/** Nothing of these trials is remembered: the running agent makes its own. */
function forgetful(): KeyValue {
  const values = new Map<string, string>();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => void values.set(key, value),
    delete: (key) => void values.delete(key),
  };
}
