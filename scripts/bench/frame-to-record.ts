import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Camera } from '../../src/camera/camera.ts';
import { SiteCalibration } from '../../src/calibration/site-calibration.ts';
import { systemClock } from '../../src/base/clock.ts';
import { loadSettings } from '../../src/config/load.ts';
import { createLog } from '../../src/base/log.ts';
import type { Bundle } from '../../src/model/manifest.ts';
import type { Schedule } from '../../src/schedule/types.ts';
import { CameraRunner } from '../../src/observation/camera-runner.ts';
import { Store } from '../../src/store/store.ts';
import { VisionProcess } from '../../src/vision/vision-process.ts';
import { leaseOf } from '../../test/fixtures/lease.ts';
import { InProcessVision } from '../../src/vision/in-process.ts';
import { budgetRow, pairedRow, type Row } from './table.ts';

const WARM_UP = 10;
const PAIRS = 120;
const log = createLog('silent');

/** The reference: decode with sharp and inference with onnxruntime in one process, nothing else. */
export async function openReference(
  bundle: Bundle,
  threads: number,
): Promise<(jpeg: Uint8Array) => Promise<number>> {
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  const { default: sharp } = await import('sharp');
  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  const stage = bundle.manifest.stages[0];
  const input = stage?.inputs[0];
  if (!stage || !input) throw new Error('the bundle has no stage');
  const session = await InferenceSession.create(join(bundle.dir, stage.file), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  sharp.cache(false);
  sharp.concurrency(1);
  return async (jpeg) => {
    const startedMs = performance.now();
    const pixels = await sharp(jpeg)
      .resize(input.width, input.height, { fit: 'fill' })
      .removeAlpha()
      .raw()
      .toBuffer();
    await session.run({
      [input.name]: new Tensor('uint8', new Uint8Array(pixels), [1, input.height, input.width, 3]),
    });
    return performance.now() - startedMs;
  };
}

/** A camera that returns a frame from memory: the capture takes no time. */
function memoryCamera(next: () => Uint8Array): Camera {
  return {
    id: 'bench',
    capture: async function* () {
      await Promise.resolve();
      yield { bytes: next(), capturedAtMs: Date.now(), monoMs: systemClock.monoMs() };
    },
    close: () => Promise.resolve(),
  };
}

const NO_SCHEDULE: Schedule = {
  slots: async function* () {},
  nextRunAtMs: () => null,
  wakeMonoMs: null,
  description: 'none',
};

/**
 * Measures the time from the encoded frame to the record on the disk against two references: decode and `session.run`,
 * and the same quality gate, view check, model and SQLite commit in one process. All have the same buffers, one
 * inference thread and one libvips thread. The first ratio is the cost of gate and record, the second that of the
 * separate vision process.
 */
export async function measureFrameToRecord(
  bundle: Bundle,
  frames: readonly Uint8Array[],
): Promise<readonly Row[]> {
  const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-bench-'));
  const store = Store.open(
    { stateDir, retentionDays: 30, maxMb: 512, outbox: { maxMessages: 100_000, maxAgeDays: 30 } },
    { clock: systemClock, log },
  );
  const threads = 1;
  const vision = new VisionProcess(
    { bundle, plan: { provider: 'cpu', threads }, timeoutS: 30, maxRssMb: 400, queueMax: 8 },
    { clock: systemClock, log, onEvent: () => undefined },
  );
  await vision.start(new AbortController().signal);
  const reference = await openReference(bundle, threads);
  let frame = frames[0] ?? new Uint8Array();
  const [settings] = loadSettings({ file: null, env: {}, cwd: stateDir }).cameras;
  if (!settings) throw new Error('no default camera');
  const calibration = new SiteCalibration({
    camera: 'bench',
    embeddingDigest: bundle.embeddingDigest ?? '',
    sessionHours: 6,
  });
  const runner = new CameraRunner(
    {
      settings: { ...settings, id: 'bench', burst: { frames: 1, intervalS: 0 } },
      context: () => ({
        site: 's',
        device: 'd',
        bootId: 'b',
        model: null,
        provider: 'cpu',
        clock: { synced: true, offset_ms: 0 },
      }),
    },
    {
      camera: memoryCamera(() => frame),
      schedule: NO_SCHEDULE,
      lease: () => leaseOf(vision, { provider: 'cpu', embeddingDigest: bundle.embeddingDigest }),
      calibration: () => calibration,
      append: (draft, memory) => store.append(draft, memory),
      clock: systemClock,
      log,
      raise: () => undefined,
      onObserved: () => undefined,
      onState: () => undefined,
    },
  );
  const signal = new AbortController().signal;
  const runAgentPath = async (): Promise<number> => {
    const startedMs = performance.now();
    const { status, reasons } = await runner.capture(signal);
    if (status !== 'measured') throw new Error(`the frame was ${status}: ${reasons.join()}`);
    return performance.now() - startedMs;
  };
  const inProcess = await InProcessVision.open(
    { bundle, plan: { provider: 'cpu', threads } },
    { clock: systemClock },
  );
  const runInOneProcess = async (jpeg: Uint8Array): Promise<number> => {
    const startedMs = performance.now();
    const { heads, view } = await inProcess.analyze(jpeg, { roi: null, privacyMasks: [] });
    const { latest } = runner;
    if (!latest) throw new Error('no observation');
    store.append(
      { ...latest, id: crypto.randomUUID() },
      { embedding: heads?.embedding ?? null, embeddingDigest: bundle.embeddingDigest, view },
    );
    return performance.now() - startedMs;
  };
  const rows = [
    pairedRow(
      'frame to record, 2560x1440 JPEG',
      'ms',
      await measureInTurn(runAgentPath, reference, frames, (next) => (frame = next)),
      'sharp + session.run',
      1.15,
    ),
    pairedRow(
      'frame to record, 2560x1440 JPEG',
      'ms',
      await measureInTurn(runAgentPath, runInOneProcess, frames, (next) => (frame = next)),
      'the same work in one process',
      null,
    ),
    measureStore(store, runner),
  ];
  await inProcess.close();
  await vision.close();
  store.close();
  rmSync(stateDir, { recursive: true, force: true });
  return rows;
}

/** Processes a frame; resolves with the time that it took, ms. */
type TimedRun = (jpeg: Uint8Array) => Promise<number>;

/** Runs both in turn, each first in every other round, so that changes of the machine affect both equally. */
async function measureInTurn(
  ours: TimedRun,
  reference: TimedRun,
  frames: readonly Uint8Array[],
  setFrame: (frame: Uint8Array) => void,
): Promise<readonly (readonly [number, number])[]> {
  const pairs: [number, number][] = [];
  for (let round = 0; round < WARM_UP + PAIRS; round++) {
    const frame = frames[round % frames.length] ?? new Uint8Array();
    setFrame(frame);
    const [first, second] = round % 2 === 0 ? [ours, reference] : [reference, ours];
    const a = await first(frame);
    const b = await second(frame);
    if (round >= WARM_UP) pairs.push(round % 2 === 0 ? [a, b] : [b, a]);
  }
  return pairs;
}

function measureStore(store: Store, runner: CameraRunner): Row {
  const { latest } = runner;
  if (!latest) throw new Error('no observation');
  const values: number[] = [];
  for (let index = 0; index < 300; index++) {
    const startedMs = performance.now();
    store.append(
      { ...latest, id: crypto.randomUUID() },
      { embedding: null, embeddingDigest: null, view: null },
    );
    values.push(1000 / (performance.now() - startedMs));
  }
  return budgetRow('records into SQLite, one per transaction, FULL', '1/s', values, null);
}
