import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { formatDuration } from '../shared/format.ts';
import { addressOf, replaceParams, route } from '../shared/route.ts';
import type { DeviceCondition } from '../../contract/conditions.ts';
import { ConditionMark } from './condition-mark.tsx';
import type { Row } from './device-table.ts';
import { openName, selection, shownRows, snapshot } from './fleet-store.ts';
import { fleetText } from './fleet-text.ts';
import { HeightBar, HeightText } from './height-bar.tsx';
import { mainCamera, oldestFrameMs } from './selection.ts';
import { tagsOf } from './tags.ts';

const { columns, never } = fleetText.list;

type ColumnId = keyof typeof columns;
const COLUMNS = Object.keys(columns) as ColumnId[];
const NUMBERS = new Set<ColumnId>(['period', 'frame', 'heartbeat', 'queue', 'disk', 'temperature']);
/** Below this width, rem, each row is a card of two lines. */
const CARD_WIDTH_REM = 44;
const [ROW_REM, CARD_REM] = [3.25, 6.5];
/** Rows outside of the visible part that exist too. */
const SPARE_ROWS = 6;

/** Conditions in which the numbers of a device are old. */
const OLD: ReadonlySet<DeviceCondition> = new Set(['offline', 'stale', 'stopped']);

const [TEMPERATURE_HIGH_C, DISK_HIGH_PCT, QUEUE_HIGH] = [80, 90, 100];

/** All devices that match, of which only the rows in sight exist in the page. */
export function DeviceList() {
  const rows = shownRows.value;
  const body = useRef<HTMLDivElement>(null);
  const { top, height, rowPx, isCards } = useViewport(body);
  const first = Math.max(0, Math.floor(top / rowPx) - SPARE_ROWS);
  const last = Math.min(rows.length, Math.ceil((top + height) / rowPx) + SPARE_ROWS);
  return (
    <div
      class={`devices ${isCards ? 'as-cards' : ''}`}
      role="table"
      aria-label={fleetText.list.label}
      aria-rowcount={rows.length + 1}
    >
      <div class="devices-head" role="rowgroup">
        <div class="device-row" role="row" aria-rowindex={1}>
          {COLUMNS.map((id) => (
            <ColumnHead key={id} id={id} />
          ))}
        </div>
      </div>
      <div class="devices-body" role="rowgroup" ref={body} onKeyDown={moveFocus}>
        <div class="devices-space" style={{ height: `${String(rows.length * rowPx)}px` }} role="presentation">
          {rows.slice(first, last).map((row, index) => (
            <DeviceRow
              key={row.device.name}
              row={row}
              index={first + index}
              topPx={(first + index) * rowPx}
            />
          ))}
        </div>
      </div>
    </div>
  );
}

function ColumnHead({ id }: { readonly id: ColumnId }) {
  const { sort, isReversed } = selection.value;
  const isSorted = sort === id;
  const order = isReversed ? 'descending' : 'ascending';
  return (
    <div role="columnheader" class={`cell ${id}`} aria-sort={isSorted ? order : 'none'}>
      <button
        type="button"
        class="sort"
        title={fleetText.list.sortHint}
        onClick={() =>
          replaceParams({
            sort: id === 'condition' ? null : id,
            dir: isSorted && !isReversed ? 'desc' : null,
          })
        }
      >
        {columns[id]}
        <span class="sort-mark" aria-hidden="true">
          {isSorted ? (isReversed ? '▲' : '▼') : ''}
        </span>
      </button>
    </div>
  );
}

function DeviceRow({
  row,
  index,
  topPx,
}: {
  readonly row: Row;
  readonly index: number;
  readonly topPx: number;
}) {
  const { device, condition, sinceMs, isSinceKnown } = row;
  const { nowMs } = snapshot.value;
  const isOpen = openName.value === device.name;
  const camera = mainCamera(device, nowMs);
  const observation = camera?.observation ?? null;
  const heartbeat = device.heartbeat;
  const age = (ms: number | null): string =>
    ms === null ? never : formatDuration(Math.max(0, nowMs - ms) / 1000);
  const progress = [device.install, device.update].find((one) => one?.isRunning === true) ?? null;
  const cells: Readonly<Record<ColumnId, ComponentChildren>> = {
    condition: (
      <>
        <ConditionMark condition={condition} />
        {condition === 'ok' || condition === 'asleep' || !isSinceKnown ? null : (
          <span class="muted small since">{age(sinceMs)}</span>
        )}
      </>
    ),
    device: (
      <>
        <a
          class="device-name"
          href={addressOf(route.value.view || 'list', { device: isOpen ? null : device.name })}
        >
          <span class="site">{device.site}</span>
          <span class="of-site">{device.device}</span>
        </a>
        <Notes row={row} />
      </>
    ),
    height: (
      <>
        <HeightText observation={observation} />
        {observation === null ? null : <HeightBar observation={observation} />}
      </>
    ),
    period: observation?.periodS == null ? never : `${observation.periodS.toFixed(0)}\u00a0s`,
    frame: age(oldestFrameMs(device, nowMs)),
    heartbeat: age(device.heartbeatMs),
    model: (
      <>
        {device.model === null ? never : `${device.model.name} ${device.model.version}`}
        {progress === null ? null : (
          <span class="small muted">
            → {progress.version} {progress.phase}
          </span>
        )}
      </>
    ),
    agent: device.agentVersion ?? never,
    queue: <Limited value={heartbeat?.queueDepth ?? null} high={QUEUE_HIGH} unit="" />,
    disk: <Limited value={heartbeat?.diskUsedPct ?? null} high={DISK_HIGH_PCT} unit={'\u00a0%'} />,
    temperature: (
      <Limited value={heartbeat?.temperatureC ?? null} high={TEMPERATURE_HIGH_C} unit={'\u00a0°C'} />
    ),
  };
  return (
    <div
      class={`device-row ${isOpen ? 'is-open' : ''} ${OLD.has(condition) ? 'is-old' : ''}`}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={isOpen}
      style={{ transform: `translateY(${String(topPx)}px)` }}
      onClick={(event) => {
        if (!(event.target instanceof Element) || event.target.closest('a') !== null) return;
        location.hash = addressOf(route.value.view || 'list', { device: device.name });
      }}
    >
      {COLUMNS.map((id) => (
        <div key={id} role="cell" class={`cell ${id} ${NUMBERS.has(id) ? 'number' : ''}`}>
          <span class="cell-label" aria-hidden="true">
            {columns[id]}
          </span>
          {cells[id]}
        </div>
      ))}
    </div>
  );
}

/** What is wrong, or the tags: one line below the name. */
function Notes({ row: { device, condition } }: { readonly row: Row }) {
  const { nowMs } = snapshot.value;
  const reasons = device
    .cameras(nowMs)
    .filter(({ standing }) => standing !== 'current' && standing !== 'asleep' && standing !== 'starting')
    .map(({ id, reason, standing }) => `${id}: ${reason ?? fleetText.standings[standing].toLowerCase()}`);
  const codes = (device.heartbeat?.degraded ?? []).filter((code) => !code.startsWith('camera_'));
  const notes = condition === 'ok' || condition === 'asleep' ? [] : [...reasons, ...codes, ...device.invalid];
  const tags = tagsOf(device.name);
  if (notes.length === 0 && tags.length === 0) return null;
  return (
    <span class="notes-line small muted">
      {tags.map((tag) => (
        <span key={tag} class="tag">
          {tag}
        </span>
      ))}
      {notes.join(' · ').replaceAll('_', ' ')}
    </span>
  );
}

function Limited({
  value,
  high,
  unit,
}: {
  readonly value: number | null;
  readonly high: number;
  readonly unit: string;
}) {
  if (value === null) return <>{never}</>;
  return (
    <span
      class={value >= high ? 'too-high' : ''}
    >{`${value.toLocaleString('en', { maximumFractionDigits: 0 })}${unit}`}</span>
  );
}

interface Viewport {
  readonly top: number;
  readonly height: number;
  readonly rowPx: number;
  readonly isCards: boolean;
}

/** The visible part of the list, px, and the height of a row at the present size of text. */
function useViewport(body: { readonly current: HTMLDivElement | null }): Viewport {
  const [viewport, setViewport] = useState<Viewport>({
    top: 0,
    height: 800,
    rowPx: 16 * ROW_REM,
    isCards: false,
  });
  useEffect(() => {
    const element = body.current;
    if (element === null) return;
    const measure = (): void => {
      const remPx = parseFloat(getComputedStyle(document.documentElement).fontSize);
      const isCards = element.clientWidth < CARD_WIDTH_REM * remPx;
      const rowPx = remPx * (isCards ? CARD_REM : ROW_REM);
      const top = Math.floor(element.scrollTop / rowPx) * rowPx;
      const height = element.clientHeight + rowPx;
      setViewport((before) =>
        before.top === top && before.height === height && before.rowPx === rowPx && before.isCards === isCards
          ? before
          : { top, height, rowPx, isCards },
      );
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, []);
  return viewport;
}

/** Arrow keys move from device to device. */
function moveFocus(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target instanceof Element ? event.target.closest('.device-row') : null;
  if (step === undefined || row === null) return;
  const links = [...(row.parentElement?.querySelectorAll<HTMLElement>('.device-name') ?? [])].sort(
    (a, b) => rowIndex(a) - rowIndex(b),
  );
  const next = links.find((link) => rowIndex(link) === Number(row.getAttribute('aria-rowindex')) + step);
  if (next === undefined) return;
  event.preventDefault();
  next.focus();
  next.closest('.device-row')?.scrollIntoView({ block: 'nearest' });
}

const rowIndex = (link: Element): number =>
  Number(link.closest('.device-row')?.getAttribute('aria-rowindex') ?? 0);
