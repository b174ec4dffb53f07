import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { Camera, Frame } from '../../../src/camera/camera.ts';
import { CameraRunner, type CameraRunnerDeps } from '../../../src/observation/camera-runner.ts';
import { pruneRegularly } from '../../../src/store/prune-regularly.ts';
import type { ObservationDraft } from '../../../src/store/types.ts';
import { cameraSettings, eventually } from '../../fixtures/capture.ts';
import { leaseOf } from '../../fixtures/lease.ts';
import { silentLog } from '../../fixtures/store.ts';

const timeout = (): Error => new DOMException('a deadline of its own', 'TimeoutError');
const abort = (): Error => new DOMException('a signal of its own', 'AbortError');

/** A runner with three slots. `part` replaces parts of it; `failing` is true during the first slot only. */
class Rig {
  readonly appended: ObservationDraft[] = [];
  readonly logged: string[] = [];
  readonly stop = new AbortController();
  readonly runner: CameraRunner;
  failing = true;
  closed = false;

  constructor(part: (rig: Rig) => Partial<CameraRunnerDeps>) {
    const write = (line: string): void => void this.logged.push((JSON.parse(line) as { msg: string }).msg);
    const camera: Camera = {
      id: 'north',
      async *capture(): AsyncGenerator<Frame> {
        yield await Promise.resolve({ bytes: Buffer.from('x'), capturedAtMs: 1, monoMs: 1 });
      },
      close: () => {
        this.closed = true;
        return Promise.resolve();
      },
    };
    const slots = this.#slots.bind(this);
    this.runner = new CameraRunner(
      {
        settings: cameraSettings({ id: 'north', kind: 'http', url: 'http://h/1.jpg' }),
        context: () => ({
          ...{ site: 's', device: 'd', bootId: 'b', model: null, provider: null },
          clock: { synced: true, offset_ms: 0 },
        }),
      },
      {
        camera,
        schedule: { slots, nextRunAtMs: () => null, wakeMonoMs: null, description: 'three' },
        lease: () => leaseOf({ analyze: () => Promise.reject(new Error('no model')) }),
        calibration: () => null,
        clock: systemClock,
        log: pino({}, { write }),
        append: (draft) => this.append(draft),
        raise: () => undefined,
        onObserved: () => undefined,
        onState: () => undefined,
        ...part(this),
      },
    );
  }

  async *#slots(signal: AbortSignal) {
    for (let n = 1; n <= 3; n += 1) {
      yield { dueAtMs: n, skipped: null };
      this.failing = false;
    }
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }

  readonly append = (draft: ObservationDraft) => {
    this.appended.push(draft);
    return { ...draft, seq: this.appended.length, published_at: null, historical: false };
  };

  /** Runs the slots, and stops. */
  async run(until: () => boolean): Promise<void> {
    const running = this.runner.run(this.stop.signal);
    await eventually('the slots', until);
    expect(this.closed).toBe(false);
    this.stop.abort();
    await running;
    expect(this.closed).toBe(true);
  }
}

describe('an AbortError or a TimeoutError of a part of one observation', () => {
  it.each([
    ['the lease of the model', timeout],
    ['the lease of the model', abort],
  ])('from %s does not end the camera', async (_, error) => {
    const rig = new Rig((self) => ({
      lease: () => {
        if (self.failing) throw error();
        return leaseOf({ analyze: () => Promise.reject(new Error('no model')) });
      },
    }));
    await rig.run(() => rig.appended.length === 2);
    expect(rig.logged).toContain('observation lost');
  });

  it('from the store does not end the camera', async () => {
    const rig = new Rig((self) => ({
      append: (draft) => {
        if (self.failing) throw timeout();
        return self.append(draft);
      },
    }));
    await rig.run(() => rig.appended.length === 2);
  });

  it('from the camera or from the model is a failure of that observation', async () => {
    let bursts = 0;
    const rig = new Rig((self) => ({
      camera: {
        id: 'north',
        async *capture(): AsyncGenerator<Frame> {
          await Promise.resolve();
          bursts += 1;
          if (self.failing) throw timeout();
          yield { bytes: Buffer.from('x'), capturedAtMs: 1, monoMs: 1 };
        },
        close: () => {
          self.closed = true;
          return Promise.resolve();
        },
      },
      lease: () => leaseOf({ analyze: () => Promise.reject(abort()) }),
    }));
    await rig.run(() => rig.appended.length === 3);
    expect(bursts).toBe(3);
    expect(rig.appended.map(({ status, reasons }) => [status, reasons])).toEqual([
      ['failed', ['internal']],
      ['failed', ['internal']],
      ['failed', ['internal']],
    ]);
  });

  it('from a capture on request reaches its client unchanged', async () => {
    const rig = new Rig(() => ({
      lease: () => {
        throw timeout();
      },
    }));
    await expect(rig.runner.capture(new AbortController().signal)).rejects.toThrow('a deadline of its own');
  });

  it('from one pruning does not end the later ones', async () => {
    let prunings = 0;
    const stop = new AbortController();
    const store = {
      prune: () => {
        prunings += 1;
        if (prunings === 3) stop.abort();
        throw timeout();
      },
    };
    const sleep = (_: number, signal?: AbortSignal): Promise<void> => {
      signal?.throwIfAborted();
      return Promise.resolve();
    };
    await expect(
      pruneRegularly(store, { clock: { ...systemClock, sleep }, log: silentLog }, stop.signal),
    ).rejects.toMatchObject({ name: 'AbortError' });
    expect(prunings).toBe(3);
  });
});

describe('a stored observation', () => {
  it.each(['onObserved', 'onState', 'raise'] as const)(
    'is not reported as lost when %s fails, and the other steps run',
    async (step) => {
      const ran = new Set<string>();
      const note =
        (name: string) =>
        (...values: readonly unknown[]): void => {
          if (name === step) throw new Error(`${name} failed: ${values.length}`);
          ran.add(name);
        };
      const rig = new Rig(() => ({
        // The first burst without a frame is a transition of the camera, which raises an event.
        camera: {
          id: 'north',
          capture: () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(timeout()) }) }),
          close: () => Promise.resolve(),
        },
        onObserved: note('onObserved'),
        onState: note('onState'),
        raise: note('raise'),
      }));
      const observation = await rig.runner.capture(new AbortController().signal);
      expect(observation.seq).toBe(1);
      expect(rig.runner.latest).toBe(observation);
      expect(ran.has(step === 'onObserved' ? 'raise' : 'onObserved')).toBe(true);
      expect(rig.logged).toEqual(['observation stored, but a later step failed']);
    },
  );
});
