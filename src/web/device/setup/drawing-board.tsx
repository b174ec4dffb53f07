import { useRef, useState } from 'preact/hooks';
import type { TargetedPointerEvent } from 'preact';
import { text } from '../../shared/text.ts';
import {
  addShape,
  faultOf,
  insertCorner,
  LAYERS,
  MAX_SHAPES,
  movePoint,
  moveShape,
  pointsOf,
  type Drawing,
  type Layer,
  type Point,
  type Points,
  type ShapeRef,
} from './drawing.ts';
import { Handles } from './drawing-handles.tsx';

/** A shorter drag on the frame is a click. */
const MIN_DRAG = 0.02;
const USUAL_RATIO = 16 / 9;
/** Units of the SVG along the width. */
const WIDTH = 1000;

interface Drag {
  readonly kind: 'point' | 'shape' | 'new';
  /** Null for a new shape. */
  readonly shape: ShapeRef | null;
  readonly at: number;
  readonly from: Point;
  /** The drawing when the drag began: each move starts from it. */
  readonly origin: Drawing;
  /** The moves of one drag are one step of the history. */
  readonly key: string;
}

let dragCount = 0;

export interface DrawingBoardProps {
  readonly image: string | null;
  readonly alt: string;
  readonly drawing: Drawing;
  /** Masks that only the device itself may change. */
  readonly lockedMasks: readonly Points[];
  readonly layer: Layer;
  readonly selected: ShapeRef | null;
  readonly onSelect: (shape: ShapeRef | null) => void;
  /** Moves with the same key are one step. */
  readonly onChange: (drawing: Drawing, key: string | null) => void;
  /** Escape leaves the points. */
  readonly onLeave: () => void;
}

/** The frame of a camera with its region, masks and shore lines. Points follow fingers, the mouse and the arrow keys. */
export function DrawingBoard(props: DrawingBoardProps) {
  const { image, alt, drawing, lockedMasks, layer, selected, onSelect, onChange, onLeave } = props;
  const board = useRef<HTMLDivElement>(null);
  const drag = useRef<Drag | null>(null);
  const [ratio, setRatio] = useState(USUAL_RATIO);
  const height = WIDTH / ratio;

  const place = (event: PointerEvent): Point => {
    const box = board.current?.getBoundingClientRect();
    if (!box || box.width === 0) return [0, 0];
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const begin = (
    event: TargetedPointerEvent<Element>,
    started: Pick<Drag, 'kind' | 'shape' | 'at'>,
    origin = drawing,
  ): void => {
    if (event.button !== 0) return;
    event.stopPropagation();
    dragCount += 1;
    drag.current = { ...started, origin, from: place(event), key: `drag-${String(dragCount)}` };
    board.current?.setPointerCapture(event.pointerId);
  };
  const move = (event: TargetedPointerEvent<HTMLDivElement>): void => {
    if (drag.current === null) return;
    const { kind, shape, at, from, origin, key } = drag.current;
    const to = place(event);
    const delta: Point = [to[0] - from[0], to[1] - from[1]];
    if (kind === 'new') {
      const added = Math.hypot(...delta) < MIN_DRAG ? null : addShape(origin, layer, from, to);
      if (added === null) return;
      onChange(added.drawing, key);
      onSelect(added.shape);
    } else if (shape !== null && kind === 'shape') onChange(moveShape(origin, shape, delta), key);
    else if (shape !== null) {
      const [x, y] = pointsOf(origin, shape)[at] ?? [0, 0];
      onChange(movePoint(origin, shape, at, [x + delta[0], y + delta[1]]), key);
    }
  };
  const end = (): void => {
    drag.current = null;
  };

  const isFull = drawing[layer].length >= MAX_SHAPES[layer];
  return (
    <div
      ref={board}
      class={`board ${isFull ? '' : 'can-draw'}`}
      style={{ aspectRatio: String(ratio) }}
      onPointerDown={(event) => {
        onSelect(null);
        // A finger on the frame scrolls the page: it adds a shape with the button.
        if (event.pointerType !== 'touch' && !isFull) begin(event, { kind: 'new', shape: null, at: 0 });
      }}
      onPointerMove={move}
      onPointerUp={end}
      onPointerCancel={end}
    >
      {image === null ? (
        <p class="board-empty">{text.setup.draw.noFrame}</p>
      ) : (
        <img
          src={image}
          alt={alt}
          draggable={false}
          onLoad={({ currentTarget: { naturalWidth: w, naturalHeight: h } }) => {
            if (w > 0 && h > 0) setRatio(w / h);
          }}
        />
      )}
      <svg viewBox={`0 0 ${String(WIDTH)} ${String(height)}`} preserveAspectRatio="none" aria-hidden="true">
        <Patterns />
        <Outside region={drawing.region[0] ?? null} height={height} />
        {lockedMasks.map((points, index) => (
          <polygon key={index} class="mask locked" points={toSvg(points, height)} />
        ))}
        {LAYERS.flatMap((one) =>
          drawing[one].map((points, index) => (
            <Shape
              key={`${one}${String(index)}`}
              layer={one}
              points={points}
              height={height}
              isActive={one === layer}
              isSelected={selected?.layer === one && selected.index === index}
              onPointerDown={(event) => {
                if (one !== layer) return;
                onSelect({ layer: one, index });
                begin(event, { kind: 'shape', shape: { layer: one, index }, at: 0 });
              }}
            />
          )),
        )}
      </svg>
      {selected === null ? null : (
        <Handles
          drawing={drawing}
          shape={selected}
          onChange={onChange}
          onEnd={() => {
            onSelect(null);
            onLeave();
          }}
          onGrab={(event, at) => begin(event, { kind: 'point', shape: selected, at })}
          onInsert={(event, after) => {
            const inserted = insertCorner(drawing, selected, after);
            begin(event, { kind: 'point', shape: selected, at: after + 1 }, inserted);
            onChange(inserted, drag.current?.key ?? null);
          }}
        />
      )}
    </div>
  );
}

const toSvg = (points: Points, height: number): string =>
  points.map(([x, y]) => `${String(x * WIDTH)},${String(y * height)}`).join(' ');

function Patterns() {
  return (
    <defs>
      <pattern
        id="mask-stripes"
        width="14"
        height="14"
        patternUnits="userSpaceOnUse"
        patternTransform="rotate(45)"
      >
        <rect width="14" height="14" class="stripe-ground" />
        <rect width="6" height="14" class="stripe" />
      </pattern>
      <marker
        id="shore-arrow"
        viewBox="0 0 10 10"
        refX="8"
        refY="5"
        markerWidth="5"
        markerHeight="5"
        orient="auto"
      >
        <path d="M0 0 10 5 0 10z" class="arrow" />
      </marker>
    </defs>
  );
}

/** Darkens what the model does not see. */
function Outside({ region, height }: { readonly region: Points | null; readonly height: number }) {
  if (region === null) return null;
  const inner = region.map(([x, y]) => `${String(x * WIDTH)} ${String(y * height)}`).join(' L');
  const frame = `M0 0H${String(WIDTH)}V${String(height)}H0z`;
  return <path class="outside" fill-rule="evenodd" d={`${frame} M${inner}z`} />;
}

function Shape(props: {
  readonly layer: Layer;
  readonly points: Points;
  readonly height: number;
  readonly isActive: boolean;
  readonly isSelected: boolean;
  readonly onPointerDown: (event: TargetedPointerEvent<SVGElement>) => void;
}) {
  const { layer, points, height, isActive, isSelected, onPointerDown } = props;
  const states = [isActive ? 'active' : 'passive', isSelected ? 'selected' : ''];
  const fault = faultOf(layer, points) === null ? '' : 'faulty';
  const shape = { points: toSvg(points, height) };
  const name = { region: 'region', masks: 'mask', lines: 'line' }[layer];
  return (
    <g class={[name, ...states, fault].join(' ')} onPointerDown={onPointerDown}>
      {layer === 'lines' ? (
        <>
          <polyline class="grip" {...shape} />
          <polyline class="casing" {...shape} />
          <polyline class="edge" marker-end="url(#shore-arrow)" {...shape} />
        </>
      ) : (
        <>
          <polygon class="casing" {...shape} />
          <polygon class="edge" {...shape} />
        </>
      )}
    </g>
  );
}
