import { useRef, useState } from 'preact/hooks';
import { text } from '../../shared/text.ts';
import { Choice } from '../../shared/ui.tsx';
import { DrawingBoard } from './drawing-board.tsx';
import { addStep, redoStep, undoStep, type DrawingHistory } from './drawing-history.ts';
import {
  addUsualShape,
  faultOf,
  LAYERS,
  MAX_SHAPES,
  removeShape,
  type Layer,
  type Points,
  type ShapeRef,
} from './drawing.ts';
import { Icon } from './icons.tsx';

export interface DrawingEditorProps {
  readonly image: string | null;
  readonly alt: string;
  readonly history: DrawingHistory;
  readonly onHistory: (change: (history: DrawingHistory) => DrawingHistory) => void;
  readonly lockedMasks: readonly Points[];
  /** The camera takes no clips yet: shore lines switch them on. */
  readonly hasClips: boolean;
}

/** The frame with its shapes, and the tools for them. */
export function DrawingEditor({ image, alt, history, onHistory, lockedMasks, hasClips }: DrawingEditorProps) {
  const [layer, setLayer] = useState<Layer>('masks');
  const [selected, setSelected] = useState<ShapeRef | null>(null);
  const root = useRef<HTMLDivElement>(null);
  const drawing = history.present;
  const shapes = drawing[layer];
  const draw = text.setup.draw;

  const focusAfterDrawing = (selector: string): void => {
    requestAnimationFrame(() => root.current?.querySelector<HTMLElement>(selector)?.focus());
  };
  const add = (): void => {
    const added = addUsualShape(drawing, layer);
    if (added === null) return;
    onHistory((before) => addStep(before, added.drawing));
    setSelected(added.shape);
    focusAfterDrawing('[data-point="0"]');
  };
  const remove = (index: number): void => {
    onHistory((before) => addStep(before, removeShape(before.present, { layer, index })));
    setSelected(null);
    focusAfterDrawing('.add-shape');
  };
  const step = (change: (history: DrawingHistory) => DrawingHistory): void => {
    onHistory(change);
    setSelected(null);
  };

  return (
    <div
      ref={root}
      class="drawing stack"
      onKeyDown={(event) => {
        if (!(event.ctrlKey || event.metaKey)) return;
        const key = event.key.toLowerCase();
        if (key === 'y' || (key === 'z' && event.shiftKey)) step(redoStep);
        else if (key === 'z') step(undoStep);
        else return;
        event.preventDefault();
      }}
    >
      <div class="row spread">
        <Choice
          label={draw.layer}
          choices={LAYERS.map((value) => ({ value, text: draw.layers[value] }))}
          value={layer}
          onChange={(value) => {
            setLayer(value);
            setSelected(null);
          }}
        />
        <div class="row tools">
          <button
            type="button"
            class="icon"
            aria-label={draw.undo}
            title={draw.undo}
            disabled={history.past.length === 0}
            onClick={() => step(undoStep)}
          >
            <Icon name="undo" />
          </button>
          <button
            type="button"
            class="icon"
            aria-label={draw.redo}
            title={draw.redo}
            disabled={history.future.length === 0}
            onClick={() => step(redoStep)}
          >
            <Icon name="redo" />
          </button>
        </div>
      </div>
      <p class="small muted">
        {draw.about[layer]} {layer === 'lines' && !hasClips ? draw.switchesClipsOn : ''}
      </p>
      <DrawingBoard
        image={image}
        alt={alt}
        drawing={drawing}
        lockedMasks={lockedMasks}
        layer={layer}
        selected={selected}
        onSelect={setSelected}
        onChange={(next, key) => onHistory((before) => addStep(before, next, key))}
        onLeave={() => focusAfterDrawing('.add-shape')}
      />
      <div class="shapes">
        {shapes.map((points, index) => {
          const isSelected = selected?.layer === layer && selected.index === index;
          const fault = faultOf(layer, points);
          return (
            <div key={index} class={`shape-chip ${layer} ${isSelected ? 'selected' : ''}`}>
              <button
                type="button"
                aria-pressed={isSelected}
                onClick={() => {
                  setSelected(isSelected ? null : { layer, index });
                  if (!isSelected) focusAfterDrawing('[data-point="0"]');
                }}
              >
                {draw.names[layer](index + 1)}
              </button>
              <button
                type="button"
                class="remove"
                aria-label={draw.remove(draw.names[layer](index + 1))}
                onClick={() => remove(index)}
              >
                <Icon name="close" />
              </button>
              {fault === null ? null : <p class="fault small">{draw.faults[fault]}</p>}
            </div>
          );
        })}
        {layer === 'masks' && lockedMasks.length > 0 ? (
          <span class="shape-chip locked small">
            <Icon name="lock" /> {draw.locked(lockedMasks.length)}
          </span>
        ) : null}
        <button type="button" class="add-shape" disabled={shapes.length >= MAX_SHAPES[layer]} onClick={add}>
          <Icon name="plus" /> {draw.add[layer]}
        </button>
      </div>
      <p id="draw-keys" class="small muted keys">
        {draw.keys}
      </p>
    </div>
  );
}
