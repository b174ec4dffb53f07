import { describe, expect, it } from 'vitest';
import {
  buildPatch,
  buildTest,
  findFaults,
  newSource,
  startDraft,
  startDrawing,
  type CameraDraft,
  type CameraSettings,
  type DraftContext,
} from '../../../../../src/web/device/setup/camera-draft.ts';
import { EMPTY_DRAWING, type Drawing } from '../../../../../src/web/device/setup/drawing.ts';

const SQUARE = [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2], [0.1, 0.2]] as const; // prettier-ignore
const OTHER = [[0.5, 0.5], [0.6, 0.5], [0.6, 0.6]] as const; // prettier-ignore
const NORTH: CameraSettings = {
  id: 'north',
  kind: 'rtsp',
  url: 'rtsp://***@10.0.0.9:554/***',
  username: null,
  schedule: { everyS: 60, timezone: 'Europe/Lisbon', sun: { from: 'sunrise', to: 'sunset' } },
  roi: null,
  privacyMasks: [SQUARE, OTHER],
  seaState: null,
  location: { lat: 38.7, lon: -9.4 },
  units: 'metric',
};

/** The patch of a change of the form of `NORTH`, whose first mask is a local one. */
function patchOf(
  change: Partial<CameraDraft>,
  draw: (drawing: Drawing) => Drawing = (drawing) => drawing,
  more: Partial<DraftContext> = {},
) {
  const before = more.before === undefined ? NORTH : more.before;
  const drawingBefore = startDrawing(before, [SQUARE]);
  const context = { before, isLocal: true, drawingBefore, ...more };
  return buildPatch({ ...startDraft(before), ...change }, draw(drawingBefore), context);
}

describe('the patch of a camera', () => {
  it('is empty without a change, and has only what differs: no login is lost', () => {
    expect(patchOf({})).toBeNull();
    expect(patchOf({ everyS: '30' })).toEqual({ id: 'north', schedule: { everyS: 30 } });
    expect(patchOf({ units: 'imperial' })).toEqual({ id: 'north', units: 'imperial' });
    expect(patchOf({ lat: '38,71' })).toEqual({ id: 'north', location: { lat: 38.71, lon: -9.4 } });
  });

  it('replaces one rhythm by the other, and removes what the form leaves empty', () => {
    expect(patchOf({ rhythm: 'cron', cron: '0 * * * *' })).toEqual({
      id: 'north',
      schedule: { cron: '0 * * * *', everyS: null },
    });
    expect(patchOf({ hours: 'all', timezone: '' })).toEqual({
      id: 'north',
      schedule: { sun: null, timezone: null },
    });
    const byCron = { ...NORTH, schedule: { cron: '0 * * * *' } };
    expect(patchOf({ rhythm: 'every', everyS: '20' }, undefined, { before: byCron })).toEqual({
      id: 'north',
      schedule: { everyS: 20, cron: null },
    });
  });

  it('keeps times of the sun that the form does not know', () => {
    const before = { ...NORTH, schedule: { everyS: 60, sun: { from: 'night', to: 'noon' } } };
    expect(startDraft(before).hours).toBe('other');
    expect(patchOf({ units: 'imperial' }, undefined, { before })).toEqual({ id: 'north', units: 'imperial' });
  });

  it('has another source as a whole, with its login', () => {
    const source = { ...newSource('rtsp'), url: ' rtsp://cam/2 ', username: 'me', password: '' };
    expect(patchOf({ source })).toEqual({ id: 'north', url: 'rtsp://cam/2', username: 'me', password: '' });
    expect(patchOf({ source: { ...source, kind: 'simulated' } })).toEqual({ id: 'north', kind: 'simulated' });
  });

  it('never has a mask of the device, and shows the whole frame where a local region would return', () => {
    expect(patchOf({}, (drawing) => ({ ...drawing, masks: [] }))).toEqual({
      id: 'north',
      privacyMasks: null,
    });
    expect(patchOf({}, (drawing) => ({ ...drawing, masks: [OTHER, OTHER] }))).toEqual({
      id: 'north',
      privacyMasks: [OTHER, OTHER],
    });
    const before = { ...NORTH, roi: SQUARE };
    const clear = (drawing: Drawing) => ({ ...drawing, region: [] });
    expect(patchOf({}, clear, { before })?.['roi']).toHaveLength(4);
    expect(patchOf({}, clear, { before, isLocal: false })).toEqual({ id: 'north', roi: null });
    // That whole frame is no region in the form.
    expect(startDrawing({ ...NORTH, roi: [[0, 0], [1, 0], [1, 1], [0, 1]] }, []).region).toEqual([]); // prettier-ignore
  });

  it('of a new camera has its kind and all that was typed', () => {
    const draft = {
      ...startDraft(null),
      id: 'pier',
      source: { kind: 'hls', url: 'https://beach.example/live.m3u8', username: '', password: '' },
    } as const;
    const line = [[0.4, 0.4], [0.5, 0.9]] as const; // prettier-ignore
    const drawing = { ...EMPTY_DRAWING, lines: [line] };
    const context = { before: null, isLocal: false, drawingBefore: EMPTY_DRAWING };
    expect(buildPatch(draft, drawing, context)).toEqual({
      id: 'pier',
      kind: 'hls',
      url: 'https://beach.example/live.m3u8',
      schedule: { everyS: 60 },
      seaState: { lines: [line] },
    });
  });

  it('for a test leaves the masks out that the page may move, and needs no name yet', () => {
    expect(buildTest(startDraft(NORTH), NORTH)).toEqual({ id: 'north', privacyMasks: null });
    expect(buildTest({ ...startDraft(null), id: 'no name' }, null)).toMatchObject({ id: 'new-camera' });
  });
});

describe('the faults of a form', () => {
  const faultsOf = (change: Partial<CameraDraft>, isNew = true) =>
    findFaults({ ...startDraft(isNew ? null : NORTH), ...change }, { isNew, ids: ['north'] });

  it('names each wrong field', () => {
    expect(faultsOf({})).toEqual({ id: 'missing', url: 'missing' });
    expect(faultsOf({ id: 'North' })).toMatchObject({ id: 'taken' });
    expect(faultsOf({ id: 'a b' })).toMatchObject({ id: 'id' });
    expect(faultsOf({ source: { ...newSource('rtsp'), url: 'http://cam/1' } })).toMatchObject({ url: 'url' });
    expect(faultsOf({ source: { ...newSource('http'), url: 'javascript:alert(1)' } })).toMatchObject({
      url: 'url',
    });
    const known = (change: Partial<CameraDraft>) => faultsOf(change, false);
    expect(known({})).toEqual({});
    expect(known({ everyS: 'often' })).toEqual({ everyS: 'number' });
    expect(known({ everyS: '0' })).toEqual({ everyS: 'seconds' });
    expect(known({ lat: '', lon: '' })).toEqual({ hours: 'place' });
    expect(known({ lat: '91', lon: 'x' })).toEqual({ lat: 'lat', lon: 'lon' });
    expect(known({ timezone: 'Mars/Olympus' })).toEqual({ timezone: 'zone' });
    expect(known({ rhythm: 'cron', cron: ' ' })).toEqual({ cron: 'missing' });
  });
});
