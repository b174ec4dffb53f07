import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { AgentError } from '../../../src/base/errors.ts';
import type { Camera, CaptureOptions, Frame } from '../../../src/camera/camera.ts';
import type { SeaStateRecord } from '../../../src/contract/sea-state.ts';
import { ClipRunner } from '../../../src/observation/clips/clip-runner.ts';
import { FigureFiles } from '../../../src/observation/clips/figure-files.ts';
import { takeClip } from '../../../src/observation/clips/take-clip.ts';
import type { Slot } from '../../../src/schedule/types.ts';
import { SeaStateProcess } from '../../../src/sea-state/process/sea-state-process.ts';
import { WaterLevel } from '../../../src/observation/water-level.ts';
import { MemoryKeyValue } from '../../fixtures/key-value.ts';
import { cameraSettings } from '../../fixtures/capture.ts';
import { leaseOf } from '../../fixtures/lease.ts';
import { randomSea } from '../../fixtures/random-sea.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';

const PERIOD_S = 10;
const sea = randomSea({ trains: [{ periodS: PERIOD_S, amount: 1 }] });
/** Pixels of a cell of the simulated sea. */
const SCALE = { x: 2, y: 4 };
const WIDTH = sea.columns * SCALE.x;
const HEIGHT = sea.rows * SCALE.y;

function pictureAt(sample: number) {
  const luma = Uint8Array.from({ length: WIDTH * HEIGHT }, (_, at) => {
    const row = Math.floor(Math.floor(at / WIDTH) / SCALE.y);
    const column = Math.floor((at % WIDTH) / SCALE.x);
    return sea.values[(sample * sea.rows + row) * sea.columns + column] ?? 0;
  });
  return { luma, width: WIDTH, height: HEIGHT, columns: null };
}

/** Gives the frames of the simulated sea at once, until its failure; the bytes of a frame are its number. */
class SeaCamera implements Camera {
  readonly id = 'north';
  readonly failsAt: number;
  readonly failure: AgentError;

  constructor(failsAt = Infinity, failure = new AgentError('camera_timeout', 'planned')) {
    this.failsAt = failsAt;
    this.failure = failure;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- there is nothing to wait for
  async *capture({ frames, intervalS }: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame> {
    for (let index = 0; index < frames; index += 1) {
      signal.throwIfAborted();
      if (index >= this.failsAt) throw this.failure;
      const bytes = new Uint8Array(Uint16Array.of(index).buffer);
      yield {
        bytes,
        capturedAtMs: Date.now(),
        monoMs: systemClock.monoMs(),
        sceneMs: index * intervalS * 1000,
      };
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const vision = {
  analyze: () => Promise.reject(new Error('a clip is not analysed')),
  shrink: (bytes: Uint8Array) =>
    Promise.resolve(pictureAt(new DataView(bytes.slice().buffer).getUint16(0, true))),
};

const SEA_STATE = {
  ...{ schedule: { everyS: 3600 }, fps: 2, durationS: 256 },
  ...{ lines: null, region: null, keepTimestacks: false },
};

const stop = new AbortController();
const dirs: ReturnType<typeof tempDir>[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) dir.remove();
});

function start(camera: Camera, slots: readonly Slot[] = [], keepTimestacks = false) {
  const records: SeaStateRecord[] = [];
  const dir = tempDir();
  dirs.push(dir);
  const settings = cameraSettings({ id: 'north', kind: 'simulated', seaState: SEA_STATE });
  const runner = new ClipRunner(
    {
      seaState: { ...SEA_STATE, keepTimestacks },
      settings: () => settings,
      context: () => ({
        ...{ site: 's', device: 'd', camera: 'north', bootId: 'b', simulated: true },
        clock: { synced: true, offset_ms: 0 },
      }),
    },
    {
      camera,
      schedule: {
        // eslint-disable-next-line @typescript-eslint/require-await -- the slots are known
        slots: async function* () {
          yield* slots;
        },
        ...{ nextRunAtMs: () => null, wakeMonoMs: null, description: '' },
      },
      lease: () => leaseOf(vision),
      process: new SeaStateProcess({ clock: systemClock, niceness: 0 }),
      files: new FigureFiles({ stateDir: dir.path }),
      waterLevel: new WaterLevel({ clock: systemClock, memory: new MemoryKeyValue() }),
      add: (draft) => {
        const record = {
          ...draft,
          seq: records.length + 1,
          store_id: 'x',
          published_at: null,
          historical: false,
        };
        records.push(record);
        return record;
      },
      ...{ clock: systemClock, log: silentLog },
    },
  );
  return { runner, records, dir };
}

const SLOT: Slot = { dueAtMs: Date.now(), skipped: null };

describe('ClipRunner', () => {
  it('measures the clip of a slot, and reports a lost one', async () => {
    const { runner, records, dir } = start(new SeaCamera(), [SLOT, { ...SLOT, skipped: 'late' }], true);
    await runner.run(stop.signal);
    const [measured, skipped] = records;
    expect(measured).toMatchObject({
      ...{ status: 'measured', reasons: [], simulated: true, method: 'video_spectrum' },
      frames: { wanted: 512, used: 512, gaps: 0 },
      duration_s: 255.5,
    });
    expect(Math.abs((measured?.period.peak_s ?? 0) - PERIOD_S)).toBeLessThan(1);
    expect(skipped).toMatchObject({ status: 'skipped', reasons: ['late'], frames: { wanted: 0, used: 0 } });
    const id = measured?.id ?? '';
    const png = await new FigureFiles({ stateDir: dir.path }).read('north', id, 'timestack');
    expect(
      Buffer.from(png ?? [])
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    expect(await runner.figure(id, 'spectrum')).not.toBeNull();
    expect(await runner.figure(join('..', id), 'spectrum')).toBeNull();
  });

  it.each([
    ['at once', 0, 'camera_timeout', { status: 'failed', reasons: ['camera_timeout'], warnings: [] }],
    ['too early', 300, 'camera_timeout', { status: 'failed', reasons: ['camera_timeout'], warnings: [] }],
    ['late', 400, 'camera_timeout', { status: 'measured', reasons: [], warnings: ['camera_timeout'] }],
    [
      'at the end of a short film',
      90,
      'camera_ended',
      { status: 'rejected', reasons: ['too_short'], warnings: ['camera_ended'] },
    ],
  ] as const)('records a camera that fails %s', async (_, failsAt, code, wanted) => {
    const { runner } = start(new SeaCamera(failsAt, new AgentError(code, 'planned')));
    expect(await runner.measure(null, stop.signal)).toMatchObject(wanted);
  });

  it('takes one clip at a time: a slot during a clip on request is skipped', async () => {
    const { runner, records } = start(new SeaCamera(), [SLOT]);
    const first = runner.measure(null, stop.signal);
    await expect(runner.measure(null, stop.signal)).rejects.toMatchObject({ code: 'sea_state_busy' });
    await runner.run(stop.signal);
    await first;
    expect(records.map(({ status, reasons }) => [status, reasons])).toEqual([
      ['skipped', ['overlap']],
      ['measured', []],
    ]);
  });

  it('leaves no record of a clip that the stop of the agent ends', async () => {
    const { runner, records } = start(new SeaCamera(), [SLOT]);
    const stopping = new AbortController();
    const running = runner.run(stopping.signal);
    stopping.abort();
    await running;
    expect(records).toEqual([]);
  });
});

it('opens a stream that broke again, and knows the gap', async () => {
  let captures = 0;
  const camera: Camera = {
    id: 'north',
    capture: async function* ({ frames, intervalS }) {
      captures += 1;
      for (let index = 0; index < frames; index += 1) {
        if (captures === 1 && index === 3) throw new AgentError('camera_ended', 'planned');
        await systemClock.sleep(intervalS * 1000, stop.signal);
        yield { bytes: Uint8Array.of(0, 0), capturedAtMs: Date.now(), monoMs: systemClock.monoMs() };
      }
    },
    close: () => Promise.resolve(),
  };
  const settings = cameraSettings({ id: 'north', kind: 'http', url: 'http://north' });
  const clip = await takeClip(
    () => settings,
    { ...SEA_STATE, fps: 5, durationS: 3, columns: null },
    { camera, lease: () => leaseOf(vision), clock: systemClock },
    stop.signal,
  );
  expect([captures, clip.cameraFailure, clip.imageFailure]).toEqual([2, null, null]);
  const { timesS } = clip.sampler.samples();
  const longestS = Math.max(...timesS.subarray(1).map((time, index) => time - (timesS[index] ?? 0)));
  expect(longestS).toBeGreaterThan(1);
  expect(clip.sampler.durationS).toBeGreaterThan(2.7);
});
