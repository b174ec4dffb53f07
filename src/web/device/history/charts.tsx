import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { SeriesPoint } from '../../../contract/history.ts';
import { toUnit } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { Chart, END_PX, topOf, type ChartLayout, type ChartSpec } from './chart.tsx';
import { Readout, readoutWords } from './readout.tsx';
import { connectNear, rowAt, toGaps, toRows, valueRange, type Row } from './timeline.ts';
import { useColours } from './use-colours.ts';
import type { ShownSeries } from './use-series.ts';

/** Steps of the keys Page Up and Page Down. */
const PAGE_STEPS = 12;
/** Distances of the marks at the side, by the digits that they show. */
const WHOLES = [1, 2, 5, 10, 20, 50];
const HALVES = [0.5, ...WHOLES];
const TENTHS = [0.1, 0.2, ...HALVES];
/** Sizes in rem: they grow with the size of the text. */
const HEIGHTS_REM = { height: 13, other: 5.5, times: 1.8 } as const;
const SIDE_REM = 3.4;
/** The tide is known when a clip was taken, and changes slowly. */
const MAX_TIDE_GAP_MS = 3 * 3_600_000;

/**
 * Height, period, quality and tide over one axis of time. A pointer, or the arrow keys, choose a time, and the readout says what
 * was measured then.
 */
export function Charts({ shown, timeZone }: { readonly shown: ShownSeries; readonly timeZone: string }) {
  const { series, fromMs, toMs } = shown;
  const place = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState({ width: 0, remPx: 16 });
  const [chosenMs, setChosenMs] = useState<number | null>(null);
  const colours = useColours();
  useLayoutEffect(() => {
    const element = place.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => {
      const remPx = parseFloat(getComputedStyle(document.documentElement).fontSize);
      setSize({ width: element.clientWidth, remPx });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const rows = useMemo(() => toRows(series, fromMs, toMs), [series, fromMs, toMs]);
  const gaps = useMemo(() => toGaps(rows), [rows]);
  const chosen = chosenMs === null ? rows.length - 1 : Math.max(0, rowAt(rows, chosenMs));
  const row = rows[chosen] ?? null;
  const { width, remPx } = size;
  const side = Math.round(SIDE_REM * remPx);
  const plots = useMemo(() => specsOf(rows, shown, colours, unit.value), [rows, shown, colours, unit.value]);
  const layoutOf = (heightRem: number, hasTimes: boolean): ChartLayout => ({
    ...{ width, side, hasTimes, timeZone, colours, fontPx: 0.75 * remPx },
    height: Math.round((heightRem + (hasTimes ? HEIGHTS_REM.times : 0)) * remPx),
  });

  const timeAt = (clientX: number): number | null => {
    const box = place.current?.getBoundingClientRect();
    if (!box) return null;
    const share = (clientX - box.left - side) / (box.width - side - END_PX);
    return fromMs + Math.min(1, Math.max(0, share)) * (toMs - fromMs);
  };
  const move = (steps: number): void => {
    const next = rows[Math.min(rows.length - 1, Math.max(0, chosen + steps))];
    if (next) setChosenMs(next.fromMs);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const steps = KEYS[event.key];
    if (steps === undefined) return;
    event.preventDefault();
    move(steps);
  };
  const middleMs = row ? (row.fromMs + row.toMs) / 2 : toMs;
  const cursorPx = side + ((middleMs - fromMs) / (toMs - fromMs)) * Math.max(0, width - side - END_PX);

  return (
    <div class="stack">
      <Readout row={row} gaps={gaps} labels={series.labels} timeZone={timeZone} />
      <div
        ref={place}
        class="charts"
        role="slider"
        tabIndex={0}
        aria-label={text.history.timeInCharts}
        aria-valuemin={0}
        aria-valuemax={Math.max(0, rows.length - 1)}
        aria-valuenow={Math.max(0, chosen)}
        aria-valuetext={readoutWords(row, gaps, timeZone, unit.value)}
        onKeyDown={onKeyDown}
        onPointerMove={(event) => setChosenMs(timeAt(event.clientX))}
        onPointerDown={(event) => setChosenMs(timeAt(event.clientX))}
        onPointerLeave={(event) => {
          // A finger leaves the screen after each touch: the time stays chosen.
          if (event.pointerType === 'mouse') setChosenMs(null);
        }}
        onFocus={() => setChosenMs((before) => before ?? toMs)}
        onBlur={() => setChosenMs(null)}
      >
        {plots.map(({ name, spec }, index) => {
          const heightRem = name === 'height' ? HEIGHTS_REM.height : HEIGHTS_REM.other;
          const layout = layoutOf(heightRem, index === plots.length - 1);
          const value = chosenMs === null ? null : (spec.values[chosen] ?? spec.unmeasured?.[chosen] ?? null);
          return (
            <div key={name}>
              <p class="plot-name small">
                {text.history.plotName(text.history.charts[name], PLOT_UNITS[name] ?? unit.value)}
              </p>
              <div class="plot-area">
                <Chart spec={spec} layout={layout} />
                {value === null ? null : (
                  <div
                    class="plot-dot"
                    style={{
                      left: `${cursorPx.toFixed(1)}px`,
                      top: `${topOf(value, spec, layout).toFixed(1)}px`,
                    }}
                  />
                )}
              </div>
            </div>
          );
        })}
        {width > 0 && row !== null && chosenMs !== null ? (
          <div class="chart-cursor" style={{ left: `${cursorPx.toFixed(1)}px` }} />
        ) : null}
      </div>
    </div>
  );
}

const KEYS: Readonly<Record<string, number>> = {
  ...{ ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 },
  ...{ PageUp: PAGE_STEPS, PageDown: -PAGE_STEPS, Home: -Infinity, End: Infinity },
};

type PlotName = keyof typeof text.history.charts;
/** The others are in the unit of heights. */
const PLOT_UNITS: Readonly<Partial<Record<PlotName, string>>> = { period: 's', quality: '%' };

/** The charts that have something to show; the height always. */
function specsOf(
  rows: readonly Row[],
  { series, fromMs, toMs }: ShownSeries,
  colours: ReturnType<typeof useColours>,
  heightUnit: typeof unit.value,
): readonly { readonly name: PlotName; readonly spec: ChartSpec }[] {
  const atMs = rows.map((row) => (row.fromMs + row.toMs) / 2);
  const column = (value: (point: SeriesPoint) => number | null): (number | null)[] =>
    rows.map(({ point }) => (point ? value(point) : null));
  const inUnit = (metres: number | null): number | null =>
    metres === null ? null : toUnit(metres, heightUnit);
  const time = { fromMs, toMs, atMs };
  const isUsual = (point: SeriesPoint): boolean => point.height_basis === 'site_median';

  const low = column((point) => inUnit(point.low_m));
  const high = column((point) => inUnit(point.high_m));
  const heights = column((point) => inUnit(point.height_m));
  const dots = series.labels.map((label) => ({
    atMs: Date.parse(label.captured_at),
    value: toUnit(label.height_m, heightUnit),
  }));
  const [least, most] = valueRange(
    [...low, ...high, ...heights, ...dots.map(({ value }) => value)],
    [0, toUnit(2, heightUnit)],
    toUnit(1, heightUnit),
  );
  const lastPoint = rows.at(-1)?.point ?? null;
  const newestHeight = lastPoint && inUnit(lastPoint.height_m);
  const newest = newestHeight === null ? null : { atMs: atMs.at(-1) ?? toMs, value: newestHeight };
  const height: ChartSpec = {
    ...time,
    values: column((point) => (isUsual(point) ? null : inUnit(point.height_m))),
    unmeasured: column((point) => (isUsual(point) ? inUnit(point.height_m) : null)),
    ...{ low, high, dots, newest, range: [Math.max(0, least), most] as const, colour: colours.accent },
    steps: heightUnit === 'm' ? TENTHS : HALVES,
    formatValue: (value) => (heightUnit === 'm' ? value.toFixed(1) : String(Math.round(value * 2) / 2)),
    gaps: toGaps(rows),
    gapText: ({ hasRecords, reason }) =>
      hasRecords ? (reason === null ? '' : text.reasons[reason]) : text.history.noRecords,
  };

  const periods = column((point) => point.period_s);
  const periodLow = column((point) => point.period_low_s);
  const periodHigh = column((point) => point.period_high_s);
  const tides = connectNear(
    atMs,
    column((point) => inUnit(point.tide_m)),
    MAX_TIDE_GAP_MS,
  );
  const [leastS, mostS] = valueRange([...periods, ...periodLow, ...periodHigh], [4, 16], 4);
  const others: readonly { readonly name: PlotName; readonly spec: ChartSpec }[] = [
    {
      name: 'period',
      spec: {
        ...time,
        ...{ values: periods, low: periodLow, high: periodHigh, colour: colours.ok },
        range: [Math.max(0, leastS), mostS],
        steps: WHOLES,
        formatValue: (value) => String(Math.round(value)),
      },
    },
    {
      name: 'tide',
      spec: {
        ...time,
        ...{ values: tides, colour: colours.muted, range: valueRange(tides, [-1, 1], toUnit(1, heightUnit)) },
        steps: TENTHS,
        formatValue: (value) => value.toFixed(1).replace('-', '\u2212'),
      },
    },
    {
      name: 'quality',
      spec: {
        ...time,
        ...{ values: column((point) => point.quality), colour: colours.control, range: [0, 1.05] as const },
        steps: [0.1, 0.25, 0.5],
        formatValue: (value) => String(Math.round(value * 100)),
      },
    },
  ];
  const isKnown = ({ spec }: { readonly spec: ChartSpec }): boolean =>
    spec.values.some((value) => value !== null);
  return [{ name: 'height', spec: height }, ...others.filter(isKnown)];
}
