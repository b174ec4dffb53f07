import { describe, expect, it } from 'vitest';
import type { LabelledBurst } from '../../../src/calibration/types.ts';
import { burstFeatures, draft, NO_FEATURES, openCopy } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe('SqliteLabels', () => {
  const state = useStore();

  const label = (observationId: string, heightM = 1) =>
    state.store.labels.add({ observationId, heightM, observer: null, note: null });

  it('keeps one label for each observation: a second replaces the first', () => {
    const { id, captured_at } = state.store.append(draft(), burstFeatures([0.5, -1]));
    expect(label(id, 1)).toMatchObject({ camera: 'north', group: id, createdAtMs: state.clock.nowMs() });
    label(id, 2);
    expect(state.store.labels.list('north').map(({ heightM }) => heightM)).toEqual([2]);
    expect(state.store.labels.bursts('north', 'trunk')).toEqual([
      {
        label: expect.objectContaining({ observationId: id, heightM: 2 }),
        embedding: Float32Array.from([0.5, -1]),
        view: { luma: Uint8Array.from([6, 12, 18, 24]), width: 2, height: 2 },
        capturedAtMs: Date.parse(captured_at),
      },
    ]);
    expect(state.store.labels.bursts('north', 'another trunk')).toEqual([]);
    expect([state.store.labels.remove(id), state.store.labels.remove(id)]).toEqual([true, false]);
  });

  it('keeps what a person said and the tide, and forgets them with the label', () => {
    const { id } = state.store.append(draft(), burstFeatures([1]));
    const source = { observationId: id, observer: 'ana', note: null };
    const reading = { height: 3, unit: 'ft', scale: 'hawaiian', tideM: -0.4 } as const;
    state.store.labels.add({ ...source, heightM: 1.829, ...reading });
    expect(state.store.labels.list('north')).toMatchObject([{ heightM: 1.829, ...reading }]);
    const [burst] = state.store.labels.bursts('north', 'trunk');
    expect(burst?.label).toMatchObject(reading);
    state.store.labels.import('south', 'trunk', burst ? [burst] : []);
    expect(state.store.labels.list('south')).toMatchObject([reading]);
    const none = { height: null, unit: null, scale: null, tideM: null };
    state.store.labels.add({ ...source, heightM: 2 });
    expect(state.store.labels.list('north')).toMatchObject([{ heightM: 2, ...none }]);
    state.store.labels.add({ ...source, heightM: 1.829, ...reading });
    state.store.labels.remove(id);
    label(id, 1);
    expect(state.store.labels.list('north')).toMatchObject([{ heightM: 1, ...none }]);
  });

  it('refuses labels of observations without an embedding, and heights out of range', () => {
    const { id: failed } = state.store.append(draft({ status: 'failed' }), NO_FEATURES);
    const { id: rejected } = state.store.append(draft({ status: 'rejected' }), burstFeatures([1]));
    const { id: withoutFeatures } = state.store.append(draft(), NO_FEATURES);
    const { id: good } = state.store.append(draft(), burstFeatures([1]));
    for (const id of [failed, rejected, withoutFeatures])
      expect(() => label(id)).toThrow(code('label_refused'));
    for (const heightM of [Number.NaN, -0.1, 31, Infinity])
      expect(() => label(good, heightM)).toThrow(code('label_refused'));
    expect(() => label('00000000-0000-4000-8000-000000000000')).toThrow(code('observation_unknown'));
    expect(state.store.labels.list('north')).toEqual([]);
  });

  it('keeps a label after retention deletes its observation, and allows changes', () => {
    const old = state.store.append(draft({ captured_at: '2026-04-01T00:00:00.000Z' }), burstFeatures([1]));
    const unlabelled = state.store.append(
      draft({ captured_at: '2026-04-01T00:00:00.000Z' }),
      burstFeatures([2]),
    );
    label(old.id, 1);
    state.store.prune();
    expect(state.store.observations.find(old.id)).toBeNull();
    expect(state.store.labels.bursts('north', 'trunk')).toHaveLength(1);
    label(old.id, 1.2);
    expect(state.store.labels.list('north')[0]?.heightM).toBe(1.2);
    expect(() => label(unlabelled.id)).toThrow(code('observation_unknown'));
  });

  it('stores bursts packed, and unpacks the one that gets a label', () => {
    const count = (table: string): unknown =>
      openCopy(state.dir).prepare(`SELECT count(*) FROM ${table}`).pluck().get();
    const ids = [1, 2, 3].map((value) => state.store.append(draft(), burstFeatures([value, 0])).id);
    expect([count('recent_bursts'), count('bursts')]).toEqual([3, 0]);
    label(ids[1] ?? '');
    expect([count('recent_bursts'), count('bursts')]).toEqual([3, 1]);
    expect(state.store.labels.bursts('north', 'trunk')[0]?.embedding).toEqual(Float32Array.of(2, 0));
    expect(state.store.labels.remove(ids[1] ?? '')).toBe(true);
    label(ids[1] ?? '', 1.5);
    expect(state.store.labels.bursts('north', 'trunk')).toHaveLength(1);
    state.clock.advance(15 * 86_400_000);
    state.store.prune();
    expect([count('recent_bursts'), count('bursts')]).toEqual([0, 1]);
    expect(() => label(ids[0] ?? '')).toThrow(code('label_refused'));
  });

  it('keeps bursts of records with a wrong time until later ones are old', () => {
    const at = (time: string): string =>
      state.store.append(draft({ captured_at: time }), burstFeatures([1])).id;
    const [early, recent] = [at('1970-01-01T00:00:05.000Z'), at('2026-05-31T00:00:00.000Z')];
    state.store.prune();
    expect(label(early).camera).toBe('north');
    expect(state.store.labels.remove(early)).toBe(true);
    const next = at('1970-01-01T00:00:06.000Z');
    state.clock.advance(16 * 86_400_000);
    state.store.prune();
    expect(() => label(recent)).toThrow(code('label_refused'));
    expect(label(next).camera).toBe('north');
  });

  it('imports the bursts of a portable calibration into several cameras, more than once', () => {
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
      capturedAtMs: null,
    });
    const bursts = [burst('clip-1', 1), burst('clip-2', 2)];
    state.store.labels.import('north', 'trunk', bursts);
    state.store.labels.import('south', 'trunk', bursts);
    state.store.labels.import('north', 'trunk', [burst('clip-1', 1.5)]);
    expect(state.store.labels.bursts('north', 'trunk').map(({ label }) => label.heightM)).toEqual([1.5, 2]);
    expect(state.store.labels.list('south').map(({ group, camera }) => [group, camera])).toEqual([
      ['g', 'south'],
      ['g', 'south'],
    ]);
    expect(state.store.labels.remove('clip-1', 'south')).toBe(true);
    expect(state.store.labels.list('north')).toHaveLength(2);
    const invalid: LabelledBurst[] = [
      { ...burst('x', 1), embedding: new Float32Array(3) },
      { ...burst('x', 1), embedding: Float32Array.from([Number.NaN, 1]) },
      { ...burst('x', 99) },
      { ...burst('', 1) },
      { ...burst('x', 1), view: { luma: new Uint8Array(3), width: 2, height: 2 } },
    ];
    for (const bad of invalid)
      expect(() => state.store.labels.import('north', 'trunk', [burst('y', 1), bad])).toThrow(
        code('calibration_invalid'),
      );
    expect(state.store.labels.list('north')).toHaveLength(2);
  });

  it('reads the newest 250 bursts, oldest first, with the times of their images', () => {
    const bursts = Array.from({ length: 252 }, (_, i): LabelledBurst => {
      const id = `old-${String(i).padStart(3, '0')}`;
      const source = { camera: 'north', observer: null, note: null };
      return {
        label: { ...source, observationId: id, heightM: 1, createdAtMs: 1000 + i, group: id },
        embedding: Float32Array.of(i, 1),
        view: null,
        capturedAtMs: i,
      };
    });
    state.store.labels.import('north', 'trunk', bursts);
    expect(state.store.labels.bursts('north', 'trunk')).toMatchObject(bursts.slice(2));
  });
});
