import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { addressOf } from '../../shared/route.ts';
import { conditionGlyph, TONES } from '../condition-mark.tsx';
import { shownRows } from '../fleet-store.ts';
import { fleetText } from '../fleet-text.ts';
import { clusterRows, placeRows, type Cluster } from './clusters.ts';
import { coastPath } from './coast.ts';
import './map.css';
import { fit, isClosest, pan, zoom, type MapView, type Point, type Size } from './projection.ts';

const texts = fleetText.map;
const COAST = coastPath();
/** The land beyond the 180th meridian is drawn again. */
const WORLDS = [-360, 0, 360];
const STEP_PX = 60;
const ZOOM_STEP = 1.7;

/** All devices that match, at their places. Devices that are near each other are one mark, in the colour of the worst. */
export function FleetMap() {
  const box = useRef<HTMLDivElement>(null);
  const size = useSize(box);
  const [chosen, setView] = useState<MapView | null>(null);
  const placed = placeRows(shownRows.value);
  const without = shownRows.value.length - placed.length;
  const points = placed.map(({ point }) => point);
  const fitted = useMemo(() => fit(points, size), [size, points.length]);
  const view = chosen ?? fitted;
  const move = (change: (view: MapView) => MapView): void => setView((before) => change(before ?? fitted));
  useGestures(box, size, move);
  const { center, scale } = view;
  const [x, y] = [size.width / 2 - center[0] * scale, size.height / 2 - center[1] * scale];
  return (
    <div
      class="map"
      ref={box}
      tabIndex={0}
      role="application"
      aria-label={texts.label}
      onKeyDown={(event) => {
        const change = keyChange(event.key, size);
        if (change === null) return;
        event.preventDefault();
        move(change);
      }}
    >
      <svg width={size.width} height={size.height} role="presentation">
        {WORLDS.map((shift) => (
          <path
            key={shift}
            class="land"
            d={COAST}
            transform={`translate(${String(x + shift * scale)} ${String(y)}) scale(${String(scale)})`}
          />
        ))}
        {clusterRows(placed, view, size).map((cluster) => (
          <Mark
            key={cluster.key}
            cluster={cluster}
            onOpen={() => openCluster(cluster, view, size, setView)}
          />
        ))}
      </svg>
      <div class="map-buttons">
        <button
          type="button"
          aria-label={texts.zoomIn}
          onClick={() => move((before) => zoom(before, size, ZOOM_STEP))}
        >
          +
        </button>
        <button
          type="button"
          aria-label={texts.zoomOut}
          onClick={() => move((before) => zoom(before, size, 1 / ZOOM_STEP))}
        >
          −
        </button>
        <button type="button" onClick={() => setView(null)}>
          {texts.fit}
        </button>
      </div>
      <p class="map-note small muted">
        {without === 0 ? '' : `${texts.without(without.toLocaleString('en'))} `}
        {texts.credit}
      </p>
    </div>
  );
}

function Mark({ cluster, onOpen }: { readonly cluster: Cluster; readonly onOpen: () => void }) {
  const { rows, worst, at } = cluster;
  const [first] = rows;
  const label =
    rows.length === 1 && first !== undefined
      ? `${first.device.name}: ${fleetText.conditions[worst]}`
      : texts.place(rows.length.toLocaleString('en'), fleetText.conditions[worst]);
  const radius = rows.length === 1 ? 9 : Math.min(22, 11 + 2.2 * Math.log2(rows.length));
  return (
    <g
      class={`mark ${TONES[worst]}`}
      transform={`translate(${at[0].toFixed(1)} ${at[1].toFixed(1)})`}
      role="button"
      tabIndex={0}
      aria-label={label}
      onClick={onOpen}
      onKeyDown={(event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        event.stopPropagation();
        onOpen();
      }}
    >
      <title>{`${label}\n${siteNames(cluster)}`}</title>
      <circle r={radius} />
      {rows.length === 1 ? (
        <g class="glyph" transform="translate(-5.5 -5.5) scale(0.69)">
          {conditionGlyph(worst)}
        </g>
      ) : (
        <>
          <text dy="0.35em">{rows.length > 999 ? '999+' : rows.length}</text>
          {worst === 'ok' ? null : (
            <g class="badge" transform={`translate(${String(radius * 0.72)} ${String(-radius * 0.72)})`}>
              <circle r="8" />
              <g class="glyph" transform="translate(-4.5 -4.5) scale(0.56)">
                {conditionGlyph(worst)}
              </g>
            </g>
          )}
        </>
      )}
    </g>
  );
}

function siteNames({ rows }: Cluster): string {
  const sites = [...new Set(rows.map(({ device }) => device.site))];
  return sites.length > 4 ? `${sites.slice(0, 4).join(', ')} …` : sites.join(', ');
}

/** One device opens beside the map; more are zoomed in on, and listed when they are too near to be told apart. */
function openCluster(
  { rows, points }: Cluster,
  view: MapView,
  size: Size,
  setView: (view: MapView) => void,
): void {
  const [first] = rows;
  if (first === undefined) return;
  if (rows.length === 1) {
    location.hash = addressOf('map', { device: first.device.name });
    return;
  }
  const closer = fit(points, size);
  if (!isClosest(view) && closer.scale > view.scale * 1.2) setView(closer);
  else location.hash = addressOf('list', { site: first.device.site });
}

function keyChange(key: string, size: Size): ((view: MapView) => MapView) | null {
  const moves: Readonly<Record<string, Point>> = {
    ArrowLeft: [STEP_PX, 0],
    ArrowRight: [-STEP_PX, 0],
    ArrowUp: [0, STEP_PX],
    ArrowDown: [0, -STEP_PX],
  };
  const step = moves[key];
  if (step) return (view) => pan(view, size, step[0], step[1]);
  if (key === '+' || key === '=') return (view) => zoom(view, size, ZOOM_STEP);
  if (key === '-') return (view) => zoom(view, size, 1 / ZOOM_STEP);
  return null;
}

function useSize(box: { readonly current: HTMLElement | null }): Size {
  const [size, setSize] = useState<Size>({ width: 800, height: 500 });
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() =>
      setSize({ width: element.clientWidth, height: element.clientHeight }),
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return size;
}

/** Drag to move, wheel and two fingers to zoom. */
function useGestures(
  box: { readonly current: HTMLElement | null },
  size: Size,
  move: (change: (view: MapView) => MapView) => void,
): void {
  const latest = useRef({ size, move });
  latest.current = { size, move };
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const pointers = new Map<number, Point>();
    const place = (event: MouseEvent): Point => {
      const { left, top } = element.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    const onDown = (event: PointerEvent): void => void pointers.set(event.pointerId, place(event));
    const onUp = (event: PointerEvent): void => void pointers.delete(event.pointerId);
    const onMove = (event: PointerEvent): void => {
      const before = pointers.get(event.pointerId);
      if (before === undefined) return;
      const now = place(event);
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      pointers.set(event.pointerId, now);
      const { size: box, move: change } = latest.current;
      if (other === undefined) change((view) => pan(view, box, now[0] - before[0], now[1] - before[1]));
      else
        change((view) => zoom(view, box, distance(now, other) / Math.max(1, distance(before, other)), other));
    };
    const onWheel = (event: WheelEvent): void => {
      event.preventDefault();
      const { size: box, move: change } = latest.current;
      change((view) => zoom(view, box, Math.exp(-event.deltaY / 400), place(event)));
    };
    element.addEventListener('pointerdown', onDown);
    element.addEventListener('wheel', onWheel, { passive: false });
    addEventListener('pointermove', onMove);
    for (const name of ['pointerup', 'pointercancel'] as const) addEventListener(name, onUp);
    return () => {
      element.removeEventListener('pointerdown', onDown);
      element.removeEventListener('wheel', onWheel);
      removeEventListener('pointermove', onMove);
      for (const name of ['pointerup', 'pointercancel'] as const) removeEventListener(name, onUp);
    };
  }, []);
}

const distance = (a: Point, b: Point): number => Math.hypot(a[0] - b[0], a[1] - b[1]);
