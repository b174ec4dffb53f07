import { beforeEach, describe, expect, it } from 'vitest';
import { loadGeometry } from '../../../src/geometry/camera-geometry.ts';
import { WaterLevel } from '../../../src/observation/water-level.ts';
import { FakeClock } from '../../fixtures/fake-clock.ts';
import { MemoryKeyValue } from '../../fixtures/key-value.ts';

const PLACE = { cameraHeightM: 10, horizonRow: 0.4 };
const NOTHING = { offsetM: null, heightM: null, validS: 3600 };

describe('WaterLevel', () => {
  let clock: FakeClock;
  let memory: MemoryKeyValue;
  let level: WaterLevel;
  beforeEach(() => {
    clock = new FakeClock(Date.UTC(2026, 5, 1));
    memory = new MemoryKeyValue();
    level = new WaterLevel({ clock, memory });
  });

  it('is unknown without a tide and a command', async () => {
    expect(level.levelAt(await loadGeometry(PLACE), clock.nowMs())).toBeNull();
  });

  it('is the height that a command set, for its time, and after a restart', async () => {
    const geometry = await loadGeometry(PLACE);
    const result = level.set({ ...NOTHING, heightM: 0.6, validS: 60 });
    expect(result).toEqual({
      offset_m: null,
      height_m: 0.6,
      valid_until: new Date(clock.nowMs() + 60_000).toISOString(),
    });
    expect(level.levelAt(geometry, null)).toBe(0.6);
    expect(new WaterLevel({ clock, memory }).levelAt(geometry, null)).toBe(0.6);
    clock.pass(60_000);
    expect(level.levelAt(geometry, null)).toBeNull();
  });

  it('adds the height to the offset, of the command or else of the configuration', async () => {
    const geometry = await loadGeometry({ ...PLACE, tide: { offsetM: 2 } });
    expect(level.levelAt(geometry, null)).toBe(2);
    level.set({ ...NOTHING, heightM: 0.5 });
    expect(level.levelAt(geometry, null)).toBe(2.5);
    level.set({ ...NOTHING, offsetM: 3 });
    expect(level.levelAt(geometry, null)).toBe(3.5);
    expect(level.levelAt(await loadGeometry(PLACE), null)).toBe(3.5);
  });

  it('is predicted where it can be, whatever height a command set', async () => {
    const tide = { constituents: [{ name: 'M2', amplitude: 1, phase: 0 }] };
    const geometry = await loadGeometry({ ...PLACE, tide });
    const predicted = level.levelAt(geometry, clock.nowMs()) ?? NaN;
    level.set({ ...NOTHING, heightM: 9 });
    expect(level.levelAt(geometry, clock.nowMs())).toBe(predicted);
    level.set({ ...NOTHING, offsetM: 1 });
    expect(level.levelAt(geometry, clock.nowMs())).toBeCloseTo(predicted + 1, 9);
    expect(level.levelAt(geometry, null)).toBeNull();
  });

  it('is unknown when what was stored is damaged', async () => {
    memory.set('tide', '{"height_m": "high"}');
    expect(level.levelAt(await loadGeometry(PLACE), null)).toBeNull();
  });
});
