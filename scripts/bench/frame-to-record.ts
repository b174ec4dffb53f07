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

/** sharp and onnxruntime in one process, nothing else: what the numbers of a bare program would be. */
export async function openBare(
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
    const started = performance.now();
    const pixels = await sharp(jpeg)
      .resize(input.width, input.height, { fit: 'fill' })
      .removeAlpha()
      .raw()
      .toBuffer();
    await session.run({
      [input.name]: new Tensor('uint8', new Uint8Array(pixels), [1, input.height, input.width, 3]),
    });
    return performance.now() - started;
  };
}

/** A camera that has the picture at hand, so that only what comes after it is measured. */
function cameraOf(next: () => Uint8Array): Camera {
  return {
    id: 'bench',
    capture: async function* () {
      await Promise.resolve();
      yield { bytes: next(), capturedAtMs: Date.now(), monoMs: systemClock.monoMs() };
    },
    close: () => Promise.resolve(),
  };
}

const NO_SCHEDULE: Schedule = { slots: async function* () {}, nextRunAtMs: () => null, description: 'none' };

/**
 * From the encoded frame to the record on the disk, beside two references: bare decode and `session.run`, and the same
 * gate, view, model and SQLite commit in one process. All get the same buffers, one inference thread and one libvips
 * thread. The first ratio is what judging and keeping a frame costs, the second what a process of its own costs.
 */
export async function frameToRecord(
  bundle: Bundle,
  pictures: readonly Uint8Array[],
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
  const bare = await openBare(bundle, threads);
  let picture = pictures[0] ?? new Uint8Array();
  const [settings] = loadSettings({ file: null, env: {}, cwd: stateDir }).cameras;
  if (!settings) throw new Error('no default camera');
  const calibration = new SiteCalibration({ camera: 'bench', embeddingDigest: bundle.embeddingDigest ?? '' });
  const station = new CameraRunner(
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
      camera: cameraOf(() => picture),
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
  const ours = async (): Promise<number> => {
    const started = performance.now();
    const { status, reasons } = await station.capture(signal);
    if (status !== 'measured') throw new Error(`the bench picture was ${status}: ${reasons.join()}`);
    return performance.now() - started;
  };
  const single = await InProcessVision.open(
    { bundle, plan: { provider: 'cpu', threads } },
    { clock: systemClock },
  );
  const together = async (jpeg: Uint8Array): Promise<number> => {
    const started = performance.now();
    const { heads, view } = await single.analyze(jpeg, { roi: null, privacyMasks: [] });
    const { latest } = station;
    if (!latest) throw new Error('nothing was observed');
    store.append(
      { ...latest, id: crypto.randomUUID() },
      { embedding: heads?.embedding ?? null, embeddingDigest: bundle.embeddingDigest, view },
    );
    return performance.now() - started;
  };
  const rows = [
    pairedRow(
      'frame to record, 2560x1440 JPEG',
      'ms',
      await inTurn(ours, bare, pictures, (next) => (picture = next)),
      'sharp + session.run',
      1.15,
    ),
    pairedRow(
      'frame to record, 2560x1440 JPEG',
      'ms',
      await inTurn(ours, together, pictures, (next) => (picture = next)),
      'the same work in one process',
      null,
    ),
    storeRow(store, station),
  ];
  await single.close();
  await vision.close();
  store.close();
  rmSync(stateDir, { recursive: true, force: true });
  return rows;
}

type Timed = (jpeg: Uint8Array) => Promise<number>;

/** Times of both in ms. In turn, and each first every other time: a machine that drifts strikes both. */
async function inTurn(
  ours: Timed,
  reference: Timed,
  pictures: readonly Uint8Array[],
  show: (picture: Uint8Array) => void,
): Promise<readonly (readonly [number, number])[]> {
  const pairs: [number, number][] = [];
  for (let round = 0; round < WARM_UP + PAIRS; round++) {
    const picture = pictures[round % pictures.length] ?? new Uint8Array();
    show(picture);
    const [first, second] = round % 2 === 0 ? [ours, reference] : [reference, ours];
    const a = await first(picture);
    const b = await second(picture);
    if (round >= WARM_UP) pairs.push(round % 2 === 0 ? [a, b] : [b, a]);
  }
  return pairs;
}

function storeRow(store: Store, station: CameraRunner): Row {
  const { latest } = station;
  if (!latest) throw new Error('nothing was observed');
  const values: number[] = [];
  for (let index = 0; index < 300; index++) {
    const started = performance.now();
    store.append(
      { ...latest, id: crypto.randomUUID() },
      { embedding: null, embeddingDigest: null, view: null },
    );
    values.push(1000 / (performance.now() - started));
  }
  return budgetRow('records into SQLite, one per transaction, FULL', '1/s', values, null);
}
