import type { TargetedKeyboardEvent, TargetedPointerEvent } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { text } from '../../shared/text.ts';
import {
  insertCorner,
  MAX_CORNERS,
  middleOf,
  movePoint,
  pointsOf,
  removePoint,
  type Drawing,
  type Layer,
  type Point,
  type ShapeRef,
} from './drawing.ts';

/** Steps of the arrow keys, as shares of the frame. */
const STEP = 0.005;
const LARGE_STEP = 0.05;

export interface HandlesProps {
  readonly drawing: Drawing;
  readonly shape: ShapeRef;
  /** Moves with the same key are one step. */
  readonly onChange: (drawing: Drawing, key: string | null) => void;
  /** The person leaves the points, or has removed the shape. */
  readonly onEnd: () => void;
  readonly onGrab: (event: TargetedPointerEvent<HTMLElement>, at: number) => void;
  readonly onInsert: (event: TargetedPointerEvent<HTMLElement>, after: number) => void;
}

const percent = (share: number): string => `${String(share * 100)}%`;

/** The points of the selected shape as buttons, and between corners the places of new ones. */
export function Handles({ drawing, shape, onChange, onEnd, onGrab, onInsert }: HandlesProps) {
  const list = useRef<HTMLDivElement>(null);
  const [focusAt, setFocusAt] = useState<number | null>(null);
  useEffect(() => {
    if (focusAt === null) return;
    list.current?.querySelector<HTMLElement>(`[data-point="${String(focusAt)}"]`)?.focus();
    setFocusAt(null);
  }, [focusAt]);
  const points = pointsOf(drawing, shape);
  const name = text.setup.draw.names[shape.layer](shape.index + 1);

  const onKeyDown = (event: TargetedKeyboardEvent<HTMLElement>, at: number): void => {
    const [x, y] = points[at] ?? [0, 0];
    const step = event.shiftKey ? LARGE_STEP : STEP;
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (dx !== 0 || dy !== 0)
      onChange(
        movePoint(drawing, shape, at, [x + dx * step, y + dy * step]),
        `keys-${shape.layer}-${String(shape.index)}-${String(at)}`,
      );
    else if (event.key === 'Delete' || event.key === 'Backspace') {
      const next = removePoint(drawing, shape, at);
      onChange(next, null);
      if (next[shape.layer].length < drawing[shape.layer].length) onEnd();
      else setFocusAt(Math.min(at, points.length - 2));
    } else if (event.key === '+' || event.key === 'Insert') {
      onChange(insertCorner(drawing, shape, at), null);
      setFocusAt(at + 1);
    } else if (event.key === 'Escape') onEnd();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div ref={list} class={`handles ${shape.layer}`} role="group" aria-label={name}>
      {points.map(([x, y], at) => (
        <button
          key={at}
          type="button"
          class="handle"
          data-point={at}
          aria-label={text.setup.draw.point(
            name,
            pointName(shape.layer, at, points.length),
            String(Math.round(x * 100)),
            String(Math.round(y * 100)),
          )}
          aria-describedby="draw-keys"
          style={{ left: percent(x), top: percent(y) }}
          onPointerDown={(event) => onGrab(event, at)}
          onKeyDown={(event) => onKeyDown(event, at)}
        />
      ))}
      {shape.layer === 'lines' || points.length >= MAX_CORNERS
        ? null
        : points.map((_, after) => {
            const [x, y] = middleOf(points, after);
            return (
              <span
                key={`m${String(after)}`}
                class="handle middle"
                aria-hidden="true"
                style={{ left: percent(x), top: percent(y) }}
                onPointerDown={(event) => onInsert(event, after)}
              />
            );
          })}
    </div>
  );
}

const ARROWS: Readonly<Record<string, Point>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function pointName(layer: Layer, at: number, count: number): string {
  if (layer === 'lines') return at === 0 ? text.setup.draw.seaEnd : text.setup.draw.shoreEnd;
  return text.setup.draw.corner(String(at + 1), String(count));
}
