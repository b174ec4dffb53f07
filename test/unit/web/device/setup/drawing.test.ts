import { describe, expect, it } from 'vitest';
import {
  addStep,
  redoStep,
  startHistory,
  undoStep,
} from '../../../../../src/web/device/setup/drawing-history.ts';
import {
  addShape,
  addUsualShape,
  EMPTY_DRAWING,
  faultOf,
  insertCorner,
  LAYERS,
  MAX_CORNERS,
  MAX_SHAPES,
  movePoint,
  moveShape,
  removePoint,
  removeShape,
  type Drawing,
  type Layer,
} from '../../../../../src/web/device/setup/drawing.ts';

const MASK = { layer: 'masks', index: 0 } as const;
const LINE = { layer: 'lines', index: 0 } as const;
const add = (layer: Layer, drawing: Drawing = EMPTY_DRAWING): Drawing =>
  addShape(drawing, layer, [0.6, 0.5], [0.2, 0.3])?.drawing ?? drawing;

describe('a drawing', () => {
  it('adds a rectangle with ordered corners, and a line from the sea to the shore', () => {
    expect(add('masks').masks).toEqual([[[0.2, 0.3], [0.6, 0.3], [0.6, 0.5], [0.2, 0.5]]]); // prettier-ignore
    expect(add('lines').lines).toEqual([[[0.6, 0.5], [0.2, 0.3]]]); // prettier-ignore
  });

  it('has as many shapes of each layer as the configuration allows, all valid and in the frame', () => {
    for (const layer of LAYERS) {
      let drawing = EMPTY_DRAWING;
      for (let index = 0; index < MAX_SHAPES[layer]; index += 1)
        drawing = addUsualShape(drawing, layer)?.drawing ?? drawing;
      expect(drawing[layer]).toHaveLength(MAX_SHAPES[layer]);
      expect(addUsualShape(drawing, layer)).toBeNull();
      for (const points of drawing[layer]) {
        expect(faultOf(layer, points)).toBeNull();
        expect(points.flat().every((share) => share >= 0 && share <= 1)).toBe(true);
      }
    }
  });

  it('keeps points and shapes in the frame', () => {
    const moved = movePoint(add('masks'), MASK, 2, [7, -3]);
    expect(moved.masks[0]?.[2]).toEqual([1, 0]);
    const shifted = moveShape(add('masks'), MASK, [-5, 5]);
    expect(shifted.masks[0]).toEqual([[0, 0.8], [0.4, 0.8], [0.4, 1], [0, 1]]); // prettier-ignore
  });

  it('adds corners in the middle of a side, up to the limit, and none to a line', () => {
    expect(insertCorner(add('masks'), MASK, 3).masks[0]?.[4]).toEqual([0.2, 0.4]);
    let drawing = add('masks');
    for (let count = 0; count < 100; count += 1) drawing = insertCorner(drawing, MASK, 0);
    expect(drawing.masks[0]).toHaveLength(MAX_CORNERS);
    expect(insertCorner(add('lines'), LINE, 0)).toEqual(add('lines'));
  });

  it('removes a corner, and the shape when too few are left', () => {
    const triangle = removePoint(add('masks'), MASK, 1);
    expect(triangle.masks[0]).toHaveLength(3);
    expect(removePoint(triangle, MASK, 0).masks).toEqual([]);
    expect(removePoint(add('lines'), LINE, 1).lines).toEqual([]);
    expect(removeShape(add('region'), { layer: 'region', index: 0 })).toEqual(EMPTY_DRAWING);
  });

  it('finds the faults that the agent would refuse', () => {
    const bow = [[0, 0], [1, 1], [1, 0], [0, 1]] as const; // prettier-ignore
    expect(faultOf('masks', bow)).toBe('crossing');
    expect(faultOf('region', [[0, 0], [0.5, 0.5], [1, 1]])).toBe('flat'); // prettier-ignore
    expect(faultOf('lines', [[0.5, 0.5], [0.51, 0.51]])).toBe('short'); // prettier-ignore
    expect(faultOf('lines', [[0.5, 0.5], [0.5, 0.9]])).toBeNull(); // prettier-ignore
  });
});

describe('the history of a drawing', () => {
  it('takes the moves of one drag as one step, and undoes and redoes steps', () => {
    const first = add('masks');
    let history = addStep(startHistory(EMPTY_DRAWING), first);
    for (const x of [0.3, 0.4, 0.5])
      history = addStep(history, movePoint(first, MASK, 0, [x, 0.1]), 'drag-1');
    const last = history.present;
    history = undoStep(history);
    expect(history.present).toBe(first);
    history = undoStep(undoStep(history));
    expect(history.present).toBe(EMPTY_DRAWING);
    history = redoStep(redoStep(redoStep(history)));
    expect(history.present).toBe(last);
    // A new step ends what could be done again.
    history = addStep(undoStep(history), EMPTY_DRAWING, 'drag-1');
    expect([history.future, redoStep(history)]).toEqual([[], history]);
  });

  it('is bounded', () => {
    let history = startHistory(EMPTY_DRAWING);
    for (let count = 0; count < 1000; count += 1)
      history = addStep(history, movePoint(add('masks'), MASK, 0, [count / 1000, 0]));
    expect(history.past.length).toBeLessThanOrEqual(100);
  });
});
