import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Camera, Frame } from '../../../src/camera/camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { isSameConnection, isSameSource } from '../../../src/config/change.ts';
import { CameraRunner } from '../../../src/observation/camera-runner.ts';
import type { Slot } from '../../../src/schedule/types.ts';
import type { ObservationDraft } from '../../../src/store/types.ts';
import { cameraSettings } from '../../fixtures/capture.ts';
import { leaseOf } from '../../fixtures/lease.ts';
import { silentLog } from '../../fixtures/store.ts';

const SETTINGS = cameraSettings({
  id: 'north',
  kind: 'http',
  url: 'http://h/1.jpg',
  schedule: { everyS: 60 },
  timeoutS: 5,
});

const CHANGED = new AgentError('capture_busy', 'the camera was changed');

/** A camera that is held until it is let go, and a schedule whose slots the test gives. */
class Rig {
  readonly log: string[] = [];
  readonly #name: string;
  #give: (slot: Slot) => void = () => undefined;
  #release: () => void = () => undefined;
  closed = false;

  constructor(name: string) {
    this.#name = name;
  }

  readonly camera: Camera = {
    id: 'north',
    capture: (_options, signal) => {
      this.log.push('capture');
      const held = new Promise<Frame>((_resolve, reject) => {
        this.#release = () => reject(new AgentError('camera_no_frame', 'nothing'));
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
      return {
        [Symbol.asyncIterator]: () => ({ next: () => held.then((value) => ({ value, done: false })) }),
      };
    },
    close: () => {
      this.closed = true;
      return Promise.resolve();
    },
  };

  readonly schedule = {
    slots: (signal: AbortSignal) => slotsOf(signal, (give) => (this.#give = give)),
    nextRunAtMs: () => null,
    wakeMonoMs: null,
    description: 'by hand',
  };

  get name(): string {
    return this.#name;
  }
  slot(): void {
    this.#give({ dueAtMs: 1, skipped: null });
  }
  release(): void {
    this.#release();
  }
}

async function* slotsOf(
  signal: AbortSignal,
  listen: (give: (slot: Slot) => void) => void,
): AsyncGenerator<Slot> {
  while (!signal.aborted) {
    const slot = await new Promise<Slot | null>((resolve) => {
      listen(resolve);
      signal.addEventListener('abort', () => resolve(null), { once: true });
    });
    if (slot) yield slot;
  }
}

describe('CameraRunner that is replaced', () => {
  const stop = { now: new AbortController() };
  let appended: ObservationDraft[] = [];

  beforeEach(() => {
    stop.now = new AbortController();
    appended = [];
  });
  afterEach(() => stop.now.abort());

  function runner(rig: Rig, settings: CameraSettings = SETTINGS, before?: CameraRunner): CameraRunner {
    const context = () => ({
      site: 's',
      device: 'd',
      bootId: 'b',
      model: null,
      provider: null,
      clock: { synced: true, offset_ms: 0 },
    });
    return new CameraRunner(
      { settings, context, ...(before ? { before } : {}) },
      {
        camera: rig.camera,
        schedule: rig.schedule,
        lease: () => leaseOf({ analyze: () => Promise.reject(new Error('this camera gives no frame')) }),
        calibration: () => null,
        clock: systemClock,
        log: silentLog,
        append: (draft: ObservationDraft) => {
          appended.push(draft);
          return { ...draft, seq: appended.length, published_at: null, historical: false };
        },
        raise: () => undefined,
        onObserved: () => undefined,
        onState: () => undefined,
      },
    );
  }
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

  it('finishes its observation before the replacing runner starts', async () => {
    const [old, next] = [new Rig('old'), new Rig('next')];
    const before = runner(old);
    const ended = before.run(stop.now.signal);
    await settle();
    old.slot();
    await settle();
    const after = runner(next, { ...SETTINGS, schedule: { everyS: 10 } }, before);
    before.leave(10_000, CHANGED);
    void after.run(stop.now.signal);
    const captured = after.capture(stop.now.signal);
    await settle();
    expect([old.log, next.log, appended.length, old.closed]).toEqual([['capture'], [], 0, false]);
    old.release();
    await ended;
    await settle();
    expect([appended.length, old.closed, next.log]).toEqual([1, true, ['capture']]);
    // It goes on with what the former one knew of the same source.
    expect(after.latest?.seq).toBe(1);
    expect(after.state().state).toBe(before.state().state);
    next.release();
    expect((await captured).seq).toBe(2);
  });

  it('abandons its observation when it does not end in time', async () => {
    const [old, next] = [new Rig('old'), new Rig('next')];
    const before = runner(old);
    const ended = before.run(stop.now.signal);
    await settle();
    old.slot();
    await settle();
    const after = runner(next, SETTINGS, before);
    before.leave(50, CHANGED);
    void after.run(stop.now.signal);
    await ended;
    await settle();
    expect([appended.length, old.closed]).toEqual([0, true]);
    next.slot();
    await settle();
    expect(next.log).toEqual(['capture']);
  });

  it.each<[string, (before: CameraRunner) => void]>([
    ['its time to leave is over', (before) => before.leave(50, CHANGED)],
    [
      'the agent stops while it leaves',
      (before) => {
        before.leave(600_000, CHANGED);
        stop.now.abort();
      },
    ],
  ])('refuses the captures that run and wait when %s', async (_name, leave) => {
    const [old, next] = [new Rig('old'), new Rig('next')];
    const before = runner(old);
    const ended = before.run(stop.now.signal);
    await settle();
    const captures = [1, 2, 3].map(() => before.capture(new AbortController().signal));
    const outcomes = Promise.allSettled(captures);
    await settle();
    expect(old.log).toEqual(['capture']);
    const after = runner(next, SETTINGS, before);
    leave(before);
    await ended;
    expect(await outcomes).toEqual(captures.map(() => ({ status: 'rejected', reason: CHANGED })));
    await expect(before.capture(new AbortController().signal)).rejects.toBe(CHANGED);
    expect([old.log, appended.length, old.closed]).toEqual([['capture'], 0, true]);
    if (stop.now.signal.aborted) return;
    void after.run(stop.now.signal);
    await settle();
    next.slot();
    await settle();
    expect(next.log).toEqual(['capture']);
  });

  it('ends at once when no observation runs', async () => {
    const old = new Rig('old');
    const before = runner(old);
    const ended = before.run(stop.now.signal);
    await settle();
    before.leave(10_000, CHANGED);
    await ended;
    expect(old.closed).toBe(true);
  });
});

it('tells a change of source from a change of connection', () => {
  const roi: CameraSettings = { ...SETTINGS, roi: [[0, 0], [1, 0], [1, 1]], burst: { frames: 2, intervalS: 1 } }; // prettier-ignore
  expect([isSameConnection(SETTINGS, roi), isSameSource(SETTINGS, roi)]).toEqual([true, true]);
  const pace: CameraSettings = { ...SETTINGS, schedule: { everyS: 10 } };
  expect([isSameConnection(SETTINGS, pace), isSameSource(SETTINGS, pace)]).toEqual([false, true]);
  const login: CameraSettings = { ...SETTINGS, username: 'u' };
  expect([isSameConnection(SETTINGS, login), isSameSource(SETTINGS, login)]).toEqual([false, false]);
});
