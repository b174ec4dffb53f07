import { useEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { formatTime } from '../../shared/format.ts';
import type { Gap } from './timeline.ts';
import type { Colours } from './use-colours.ts';

/** A value at a time. */
export interface Dot {
  readonly atMs: number;
  readonly value: number;
}

export interface ChartSpec {
  readonly fromMs: number;
  readonly toMs: number;
  /** Times of the values, ms, rising. */
  readonly atMs: readonly number[];
  readonly values: readonly (number | null)[];
  /** Drawn broken: they are not measured. */
  readonly unmeasured?: readonly (number | null)[];
  readonly low?: readonly (number | null)[];
  readonly high?: readonly (number | null)[];
  readonly range: readonly [number, number];
  /** Possible distances of the marks at the side, rising: those that `formatValue` shows exactly. */
  readonly steps: readonly number[];
  readonly formatValue: (value: number) => string;
  readonly colour: string;
  readonly gaps?: readonly Gap[];
  /** Short text in a gap; not drawn where there is no room. */
  readonly gapText?: (gap: Gap) => string;
  readonly dots?: readonly Dot[];
  readonly newest?: Dot | null;
}

export interface ChartLayout {
  readonly width: number;
  readonly height: number;
  /** Width of the scale at the side. */
  readonly side: number;
  readonly fontPx: number;
  readonly hasTimes: boolean;
  readonly timeZone: string;
  readonly colours: Colours;
}

/** Room at the end of the charts, CSS pixels. */
export const END_PX = 12;
/** Room above and below the values, CSS pixels. */
const EDGE_PX = 8;
/** Height of the axis of time, in sizes of its font. */
const TIMES_SIZE = 2;
const HATCH_PX = 8;
/** Half the width of a label of the axis of time, in sizes of its font. */
const HALF_LABEL = 2.3;
const DAY_S = 86_400;

/** One chart on a canvas. It has no cursor of its own: all charts of the view share one. */
export function Chart({ spec, layout }: { readonly spec: ChartSpec; readonly layout: ChartLayout }) {
  const place = useRef<HTMLDivElement>(null);
  const current = useRef(spec);
  current.current = spec;
  const chart = useRef<UPlot | null>(null);
  const { width, height, side, fontPx, hasTimes, timeZone, colours } = layout;
  useEffect(() => {
    if (place.current === null || width === 0) return;
    const made = new UPlot(chartOptions(current, layout), dataOf(current.current), place.current);
    chart.current = made;
    return () => {
      chart.current = null;
      made.destroy();
    };
  }, [width, height, side, fontPx, hasTimes, timeZone, colours, spec.colour]);
  useEffect(() => chart.current?.setData(dataOf(spec)), [spec]);
  return <div ref={place} class="chart" style={{ height: `${String(height)}px` }} />;
}

/** How far a value is below the top of its chart, CSS pixels. */
export function topOf(value: number, { range: [least, most] }: ChartSpec, layout: ChartLayout): number {
  const belowPx = layout.hasTimes ? layout.fontPx * TIMES_SIZE : EDGE_PX;
  return EDGE_PX + ((most - value) / (most - least)) * (layout.height - EDGE_PX - belowPx);
}

const dataOf = ({ atMs, values, unmeasured, low, high }: ChartSpec): UPlot.AlignedData => {
  const none = values.map(() => null);
  return [
    atMs.map((at) => at / 1000),
    [...values],
    [...(unmeasured ?? none)],
    [...(low ?? none)],
    [...(high ?? none)],
  ];
};

function chartOptions(current: { readonly current: ChartSpec }, layout: ChartLayout): UPlot.Options {
  const { width, height, side, fontPx, hasTimes, timeZone, colours } = layout;
  const family = getComputedStyle(document.body).fontFamily;
  const font = `${String(fontPx)}px ${family}`;
  const { colour } = current.current;
  const axis = {
    font,
    stroke: colours.muted,
    ticks: { show: false },
    grid: { stroke: colours.line, width: 1 },
  };
  const line = {
    stroke: colour,
    width: 2,
    spanGaps: false,
    points: { filter: isolated, size: 5, fill: colour },
  };
  const edge = { stroke: 'transparent', width: 0, spanGaps: false, points: { show: false } };
  return {
    ...{ width, height, padding: [EDGE_PX, END_PX, hasTimes ? 0 : EDGE_PX, 0] },
    cursor: { show: false },
    legend: { show: false },
    tzDate: (atS) => UPlot.tzDate(new Date(atS * 1000), timeZone),
    scales: {
      x: { range: () => [current.current.fromMs / 1000, current.current.toMs / 1000] },
      y: { range: () => [...current.current.range] },
    },
    axes: [
      {
        ...axis,
        size: hasTimes ? fontPx * TIMES_SIZE : 0,
        space: fontPx * 6,
        values: (_chart, splits, _axis, _space, stepS) =>
          splits.map((atS) =>
            hasTimes && hasLabelRoom(atS * 1000, current.current, layout)
              ? timeLabel(atS * 1000, stepS, timeZone)
              : '',
          ),
      },
      {
        ...axis,
        size: side,
        incrs: [...current.current.steps],
        space: fontPx * 1.8,
        values: (_chart, splits) => splits.map((value) => current.current.formatValue(value)),
      },
    ],
    series: [{}, line, { ...line, dash: [4, 4], stroke: colours.muted }, edge, edge],
    bands: [{ series: [4, 3], fill: withAlpha(colour, 0.2) }],
    hooks: {
      drawClear: [(chart) => drawGaps(chart, current.current, layout)],
      draw: [
        (chart) => {
          drawGapTexts(chart, current.current, layout, family);
          drawSingleIntervals(chart, current.current);
          drawDots(chart, current.current, colours);
        },
      ],
    },
  };
}

/** Values without a neighbour: no line shows them. */
function isolated(chart: UPlot, index: number): number[] {
  const values = chart.data[index] ?? [];
  return [...values.keys()].filter(
    (at) => values[at] != null && values[at - 1] == null && values[at + 1] == null,
  );
}

/** Whether a label at a time ends before the end of the chart. */
function hasLabelRoom(
  atMs: number,
  { fromMs, toMs }: ChartSpec,
  { width, side, fontPx }: ChartLayout,
): boolean {
  const leftPx = ((atMs - fromMs) / (toMs - fromMs)) * (width - side - END_PX);
  return leftPx + HALF_LABEL * fontPx <= width - side;
}

function timeLabel(atMs: number, stepS: number, timeZone: string): string {
  const day = formatTime(atMs, timeZone, { day: 'numeric', month: 'short' });
  if (stepS >= DAY_S) return day;
  const isMidnight =
    formatTime(atMs, timeZone, { hour: 'numeric', minute: 'numeric', hourCycle: 'h23' }) === '00:00';
  return isMidnight ? day : formatTime(atMs, timeZone, { hour: 'numeric', minute: '2-digit' });
}

const withAlpha = (colour: string, alpha: number): string =>
  colour.startsWith('rgb(') ? colour.replace(')', ` / ${String(alpha)})`).replaceAll(',', ' ') : colour;

/** The gaps with their left and right end, canvas pixels. Neighbours with other reasons stand apart. */
function placedGaps(chart: UPlot, { gaps = [] }: ChartSpec) {
  const { bbox } = chart;
  return gaps.flatMap((gap) => {
    const left = Math.max(bbox.left, chart.valToPos(gap.fromMs / 1000, 'x', true) + UPlot.pxRatio);
    const end = Math.min(bbox.left + bbox.width, chart.valToPos(gap.toMs / 1000, 'x', true) - UPlot.pxRatio);
    return end - left < 1 ? [] : [{ gap, left, widthPx: end - left }];
  });
}

/** Hatches the times without a height. */
function drawGaps(chart: UPlot, spec: ChartSpec, { colours }: ChartLayout): void {
  const { ctx, bbox } = chart;
  const apart = HATCH_PX * UPlot.pxRatio;
  for (const { left, widthPx } of placedGaps(chart, spec)) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, widthPx, bbox.height);
    ctx.clip();
    ctx.strokeStyle = colours.line;
    ctx.lineWidth = 1.5 * UPlot.pxRatio;
    ctx.beginPath();
    const first = Math.floor((left - bbox.height) / apart) * apart;
    for (let x = first; x < left + widthPx; x += apart) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
}

/** Writes the reason into each gap that has room for it. */
function drawGapTexts(chart: UPlot, spec: ChartSpec, { colours, fontPx }: ChartLayout, family: string): void {
  const { ctx, bbox } = chart;
  const sizePx = fontPx * UPlot.pxRatio;
  ctx.save();
  ctx.font = `${String(sizePx)}px ${family}`;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  for (const { gap, left, widthPx } of placedGaps(chart, spec)) {
    const words = spec.gapText?.(gap) ?? '';
    const wordsPx = ctx.measureText(words).width + sizePx;
    if (words === '' || wordsPx + sizePx > widthPx) continue;
    const [x, y] = [left + widthPx / 2, bbox.top + bbox.height / 2];
    ctx.fillStyle = colours.surface;
    ctx.beginPath();
    ctx.roundRect(x - wordsPx / 2, y - sizePx, wordsPx, 2 * sizePx, sizePx);
    ctx.fill();
    ctx.fillStyle = colours.muted;
    ctx.fillText(words, x, y);
  }
  ctx.restore();
}

/** The interval of a value without neighbours: a band needs two. */
function drawSingleIntervals(chart: UPlot, { low = [], high = [], atMs, colour }: ChartSpec): void {
  const { ctx } = chart;
  ctx.save();
  ctx.strokeStyle = withAlpha(colour, 0.45);
  ctx.lineWidth = 3 * UPlot.pxRatio;
  for (const [index, at] of atMs.entries()) {
    const [lowValue, highValue] = [low[index], high[index]];
    if (lowValue == null || highValue == null || low[index - 1] != null || low[index + 1] != null) continue;
    const x = chart.valToPos(at / 1000, 'x', true);
    ctx.beginPath();
    ctx.moveTo(x, chart.valToPos(lowValue, 'y', true));
    ctx.lineTo(x, chart.valToPos(highValue, 'y', true));
    ctx.stroke();
  }
  ctx.restore();
}

/** The readings of people, and the newest record as a ring. */
function drawDots(chart: UPlot, { dots = [], newest, colour }: ChartSpec, colours: Colours): void {
  const { ctx, bbox } = chart;
  const ratio = UPlot.pxRatio;
  const circle = ({ atMs, value }: Dot, radius: number): boolean => {
    const x = chart.valToPos(atMs / 1000, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width + 1) return false;
    ctx.beginPath();
    ctx.arc(x, chart.valToPos(value, 'y', true), radius * ratio, 0, 2 * Math.PI);
    return true;
  };
  ctx.save();
  for (const dot of dots) {
    if (!circle(dot, 5)) continue;
    ctx.fillStyle = colours.warn;
    ctx.strokeStyle = colours.surface;
    ctx.lineWidth = 2 * ratio;
    ctx.stroke();
    ctx.fill();
  }
  if (newest && circle(newest, 4.5)) {
    ctx.fillStyle = colours.surface;
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2.5 * ratio;
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}
