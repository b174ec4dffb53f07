import { describe, expect, it } from 'vitest';
import type { HeightEstimate } from '../../../src/calibration/types.ts';
import { AgentError } from '../../../src/base/errors.ts';
import {
  burstView,
  meanEmbedding,
  observeBurst,
  usedResults,
  type Burst,
} from '../../../src/observation/burst.ts';
import { buildRecord, NO_WAVE, type RecordInput } from '../../../src/observation/record.ts';
import type { ClassValue, FrameResult, HeadValues } from '../../../src/vision/protocol.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { contractFault } from '../../fixtures/contract.ts';

const CONTEXT = {
  site: 's',
  device: 'd',
  camera: 'north',
  bootId: 'b',
  model: null,
  provider: 'cpu',
  clock: { synced: true, offset_ms: 0 },
};
const SUMMARY = {
  labels: 0,
  labels_wanted: 8,
  loo_mae_m: null,
  loo_median_mae_m: null,
  view: 'unknown',
} as const;
const UNCALIBRATED: HeightEstimate = {
  heightM: null,
  lowM: null,
  highM: null,
  coverage: null,
  basis: null,
  reason: 'uncalibrated',
  medianM: null,
  summary: SUMMARY,
};
const CALIBRATED: HeightEstimate = {
  ...UNCALIBRATED,
  heightM: 1.2346,
  lowM: -0.1,
  highM: 2,
  coverage: 0.8,
  basis: 'site_calibrated',
  reason: null,
};

const heads = (more: Partial<HeadValues> = {}): HeadValues => ({
  waveHeight: null,
  waveDirection: null,
  breakingType: null,
  embedding: Float32Array.of(1, 3),
  quality: null,
  ...more,
});

function result(more: Partial<FrameResult> = {}): FrameResult {
  return {
    widthPx: 1280,
    heightPx: 720,
    quality: {
      score01: 0.9,
      reasons: [],
      signals: {
        glare01: 0.01,
        meanLuma: 120,
        stdLuma: 40,
        laplacianVariance: 100,
        blockStd: 12,
        obstruction01: 0,
        damage01: 0,
        sharpness01: 1,
        covered01: 0,
      },
      severity01: {},
    },
    view: { luma: Uint8Array.of(10, 20), width: 2, height: 1 },
    heads: heads(),
    preview: null,
    timingMs: { decode: 10, preprocess: 1, inference: 8 },
    ...more,
  } as FrameResult;
}

const rejectedBy = (reason: 'glare' | 'fog'): FrameResult =>
  result({ heads: null, quality: { ...result().quality, reasons: [reason] } });

function burst(results: readonly FrameResult[], failures: readonly AgentError[] = []): Burst {
  const frames = results.map((_, index) => ({
    capturedAtMs: 1000 * index,
    monoMs: 5000 + 1000 * index,
  }));
  return {
    frames,
    lastFrame: null,
    results,
    failures,
    frameFaults: [],
    cameraFailure: failures[0] ?? null,
    captureMs: 100,
    totalMs: 120,
  };
}

const record = (more: Partial<RecordInput>) =>
  buildRecord(CONTEXT, {
    dueAtMs: 0,
    dueMonoMs: 1,
    framesRequested: 3,
    burst: null,
    skipped: null,
    covers: 1,
    frozen: null,
    moved: null,
    estimate: UNCALIBRATED,
    ...more,
  });

/** As it goes over the wire, checked against the contract. */
function onWire(draft: ReturnType<typeof record>): void {
  const payload = JSON.stringify({ ...draft, seq: 1, published_at: null, historical: false });
  expect(contractFault('swellsight/v1/s/d/camera/north/observation', Buffer.from(payload))).toBeNull();
}

describe('buildRecord', () => {
  it('has nulls and a reason, never zeros, when nothing was measured', () => {
    const drafts = [
      record({ skipped: 'overlap' }),
      record({ burst: burst([], [new AgentError('camera_unreachable', 'x')]) }),
      record({ burst: burst([rejectedBy('glare'), rejectedBy('glare'), rejectedBy('fog')]) }),
      record({ burst: burst([result()]), frozen: true }),
    ];
    expect(drafts.map(({ status, reasons }) => [status, reasons])).toEqual([
      ['skipped', ['overlap']],
      ['failed', ['camera_unreachable']],
      ['rejected', ['glare', 'fog']],
      ['rejected', ['frozen']],
    ]);
    for (const draft of drafts) {
      expect(draft.wave).toEqual(NO_WAVE);
      onWire(draft);
    }
  });

  it('is measured without a height, with reason uncalibrated, before the first label', () => {
    const draft = record({ burst: burst([result(), result(), result()]) });
    expect(draft).toMatchObject({
      status: 'measured',
      has_height: false,
      reasons: ['uncalibrated'],
      wave: { height_m: null, height_ft: null, extreme: null },
    });
    onWire(draft);
  });

  it('takes the height of the site calibration and cuts its interval at zero', () => {
    const draft = record({ burst: burst([result()]), estimate: CALIBRATED });
    expect(draft.wave).toMatchObject({
      height_m: 1.235,
      height_ft: 4.05,
      height_low_m: 0,
      height_high_m: 2,
      height_basis: 'site_calibrated',
      extreme: false,
    });
    expect(draft.warnings).toContain('partial_burst');
    onWire(draft);
  });

  it('prefers the height of the model head: the median of the burst', () => {
    const height = (heightM: number) =>
      result({
        heads: heads({ waveHeight: { heightM, lowM: heightM - 1, highM: heightM + 1, coverage: 0.9 } }),
      });
    const draft = record({ burst: burst([height(4.2), height(9), height(4)]), estimate: CALIBRATED });
    expect(draft.wave).toMatchObject({
      height_m: 4.2,
      height_low_m: 3.2,
      height_high_m: 5.2,
      interval_coverage: 0.9,
      height_basis: 'model_head',
      extreme: true,
    });
    onWire(draft);
  });

  it('selects direction and breaking type by the mean probability', () => {
    const all = (left: number): ClassValue => ({
      label: 'LEFT',
      probability01: left,
      all: [
        { label: 'LEFT', probability01: left },
        { label: 'RIGHT', probability01: 1 - left },
      ],
    });
    const draft = record({
      burst: burst([0.6, 0.6, 0.1].map((left) => result({ heads: heads({ waveDirection: all(left) }) }))),
    });
    expect(draft.wave).toMatchObject({
      direction: 'RIGHT',
      breaking_type: null,
      confidence: { direction: 0.567, breaking: null },
    });
    onWire(draft);
  });

  it('says how many missed slots it represents', () => {
    expect(record({ skipped: 'late', covers: 40 }).warnings).toEqual(['stands_for_40_slots']);
  });

  it('uses the accepted frames of a burst and warns about the others', () => {
    const draft = record({
      burst: burst([result(), rejectedBy('glare')], [new AgentError('image_corrupt', 'x')]),
    });
    expect(draft.status).toBe('measured');
    expect(draft.burst.used).toBe(1);
    expect(draft.warnings).toEqual(
      expect.arrayContaining(['partial_burst', 'frames_rejected', 'image_corrupt']),
    );
  });
});

describe('observeBurst and its results', () => {
  it('averages embeddings and takes the median view, which removes moving water', () => {
    const view = (a: number) => ({ luma: Uint8Array.of(a, 100), width: 2, height: 1 });
    const used = usedResults(
      burst([
        result({ view: view(10) }),
        result({ view: view(250), heads: heads({ embedding: Float32Array.of(4, 0) }) }),
        result({ view: view(12) }),
      ]),
    );
    expect([...(meanEmbedding(used) ?? [])]).toEqual([2, 2]);
    expect([...(burstView(used)?.luma ?? [])]).toEqual([12, 100]);
  });

  it('keeps the frames that came before the camera failed', async () => {
    const settings = { burst: { frames: 3, intervalS: 0 }, timeoutS: 1, roi: null, privacyMasks: [] };
    const made = await observeBurst(
      settings as unknown as Parameters<typeof observeBurst>[0],
      {
        camera: {
          id: 'c',
          capture: async function* () {
            yield await Promise.resolve({ bytes: new Uint8Array(1), capturedAtMs: 0, monoMs: 0 });
            throw new AgentError('camera_ended', 'gone');
          },
          close: () => Promise.resolve(),
        },
        vision: { analyze: () => Promise.resolve(result()) },
        clock: systemClock,
      },
      new AbortController().signal,
    );
    expect([made.frames.length, made.results.length, made.cameraFailure?.code]).toEqual([
      1,
      1,
      'camera_ended',
    ]);
  });
});
