import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LabelledBurst } from '../../../src/calibration/types.ts';
import type { Store } from '../../../src/store/store.ts';
import { draft, ManualClock, NOTHING_SEEN, openStore, seen, tempDir } from '../../fixtures/store.ts';

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe('SqliteLabels', () => {
  let dir: ReturnType<typeof tempDir>;
  let clock: ManualClock;
  let store: Store;

  beforeEach(() => {
    dir = tempDir();
    clock = new ManualClock();
    store = openStore(dir.path, clock);
  });
  afterEach(() => {
    store.close();
    dir.remove();
  });

  const label = (observationId: string, heightM = 1) =>
    store.labels.add({ observationId, heightM, observer: null, note: null });

  it('holds one label an observation: a second replaces the first', () => {
    const { id } = store.append(draft(), seen([0.5, -1]));
    expect(label(id, 1)).toMatchObject({ camera: 'north', group: id, createdAtMs: clock.nowMs() });
    label(id, 2);
    expect(store.labels.list('north').map(({ heightM }) => heightM)).toEqual([2]);
    expect(store.labels.bursts('north', 'trunk')).toEqual([
      {
        label: expect.objectContaining({ observationId: id, heightM: 2 }),
        embedding: Float32Array.from([0.5, -1]),
        view: { luma: Uint8Array.from([1, 2, 3, 4]), width: 2, height: 2 },
      },
    ]);
    expect(store.labels.bursts('north', 'another trunk')).toEqual([]);
    expect([store.labels.remove(id), store.labels.remove(id)]).toEqual([true, false]);
  });

  it('refuses what cannot be learned from', () => {
    const { id: failed } = store.append(draft({ status: 'failed' }), NOTHING_SEEN);
    const { id: rejected } = store.append(draft({ status: 'rejected' }), seen([1]));
    const { id: unseen } = store.append(draft(), NOTHING_SEEN);
    const { id: good } = store.append(draft(), seen([1]));
    for (const id of [failed, rejected, unseen]) expect(() => label(id)).toThrow(code('label_refused'));
    for (const heightM of [Number.NaN, -0.1, 31, Infinity])
      expect(() => label(good, heightM)).toThrow(code('label_refused'));
    expect(() => label('00000000-0000-4000-8000-000000000000')).toThrow(code('observation_unknown'));
    expect(store.labels.list('north')).toEqual([]);
  });

  it('outlives its observation, and can still be changed then', () => {
    const old = store.append(draft({ captured_at: '2026-04-01T00:00:00.000Z' }), seen([1]));
    const forgotten = store.append(draft({ captured_at: '2026-04-01T00:00:00.000Z' }), seen([2]));
    label(old.id, 1);
    store.prune();
    expect(store.observations.find(old.id)).toBeNull();
    expect(store.labels.bursts('north', 'trunk')).toHaveLength(1);
    label(old.id, 1.2);
    expect(store.labels.list('north')[0]?.heightM).toBe(1.2);
    expect(() => label(forgotten.id)).toThrow(code('observation_unknown'));
  });

  it('takes the bursts of a portable calibration, into several cameras and again', () => {
    const burst = (id: string, heightM: number): LabelledBurst => ({
      label: {
        observationId: id,
        camera: 'elsewhere',
        heightM,
        observer: 'bo',
        note: null,
        createdAtMs: 5,
        group: 'g',
      },
      embedding: Float32Array.from([heightM, 2]),
      view: null,
    });
    const bursts = [burst('clip-1', 1), burst('clip-2', 2)];
    store.labels.import('north', 'trunk', bursts);
    store.labels.import('south', 'trunk', bursts);
    store.labels.import('north', 'trunk', [burst('clip-1', 1.5)]);
    expect(store.labels.bursts('north', 'trunk').map(({ label }) => label.heightM)).toEqual([1.5, 2]);
    expect(store.labels.list('south').map(({ group, camera }) => [group, camera])).toEqual([
      ['g', 'south'],
      ['g', 'south'],
    ]);
    expect(store.labels.remove('clip-1', 'south')).toBe(true);
    expect(store.labels.list('north')).toHaveLength(2);
    const odd: LabelledBurst[] = [
      { ...burst('x', 1), embedding: new Float32Array(3) },
      { ...burst('x', 1), embedding: Float32Array.from([Number.NaN, 1]) },
      { ...burst('x', 99) },
      { ...burst('', 1) },
      { ...burst('x', 1), view: { luma: new Uint8Array(3), width: 2, height: 2 } },
    ];
    for (const bad of odd)
      expect(() => store.labels.import('north', 'trunk', [burst('y', 1), bad])).toThrow(
        code('calibration_invalid'),
      );
    expect(store.labels.list('north')).toHaveLength(2);
  });
});
