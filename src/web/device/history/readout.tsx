import type { Series, SeriesPoint } from '../../../contract/history.ts';
import { formatHeight, formatHeightRange, formatTime } from '../../shared/format.ts';
import { unit, type Unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { gapAt, type Gap, type Row } from './timeline.ts';

/** More readings of one time are shown as their range. */
const MAX_READINGS = 3;
const HOUR: Intl.DateTimeFormatOptions = { hour: 'numeric', minute: '2-digit' };
const DAY: Intl.DateTimeFormatOptions = { weekday: 'short', day: 'numeric', month: 'short' };

/** What was measured at the chosen time, or why nothing was. */
export function Readout({
  row,
  gaps,
  labels,
  timeZone,
}: {
  readonly row: Row | null;
  readonly gaps: readonly Gap[];
  readonly labels: Series['labels'];
  readonly timeZone: string;
}) {
  if (row === null) return <div class="readout">{text.history.nothing}</div>;
  const { point } = row;
  const read = labels.filter(
    ({ captured_at: at }) => Date.parse(at) >= row.fromMs && Date.parse(at) < row.toMs,
  );
  const period = periodText(point);
  return (
    <div class="readout" data-testid="readout">
      <p class="muted small number">{timeText(row, gaps, timeZone)}</p>
      <p class="readout-main number">
        {point?.height_m == null ? (
          <span class="readout-none">{gapWords(row, gaps)}</span>
        ) : (
          <>
            <strong>{formatHeight(point.height_m, unit.value)}</strong>{' '}
            <span>{intervalText(point, unit.value)}</span>
            {point.height_basis === 'site_median' ? (
              <span class="muted"> {text.history.usualHeight}</span>
            ) : null}
          </>
        )}
        {readingWords(read).map((words) => (
          <span key={words} class="readout-reading">
            {words}
          </span>
        ))}
      </p>
      <p class="small muted number readout-rest">
        {period === '' ? null : <span>{`${text.history.charts.period} ${period}`}</span>}
        {point?.tide_m == null ? null : (
          <span>{`${text.history.charts.tide} ${tideText(point.tide_m, unit.value)}`}</span>
        )}
        {point?.quality == null ? null : (
          <span>{`${text.history.charts.quality} ${percent(point.quality)}`}</span>
        )}
      </p>
    </div>
  );
}

/** Each reading, or their number and range when there are many. */
function readingWords(read: Series['labels']): readonly string[] {
  if (read.length <= MAX_READINGS)
    return read.map(({ height_m: heightM, observer }) =>
      text.history.readingBy(formatHeight(heightM, unit.value), observer),
    );
  const heights = read.map(({ height_m: heightM }) => heightM);
  return [
    text.history.readingsBetween(
      read.length,
      formatHeightRange(Math.min(...heights), Math.max(...heights), unit.value),
    ),
  ];
}

/** The same in one line, for screen readers. */
export function readoutWords(
  row: Row | null,
  gaps: readonly Gap[],
  timeZone: string,
  heightUnit: Unit,
): string {
  if (row === null) return text.history.nothing;
  const { point } = row;
  const height =
    point?.height_m == null
      ? gapWords(row, gaps)
      : [formatHeight(point.height_m, heightUnit), intervalText(point, heightUnit)]
          .filter(Boolean)
          .join(', ');
  const period = periodText(point);
  return [
    timeText(row, gaps, timeZone),
    height,
    ...(period === '' ? [] : [`${text.history.charts.period} ${period}`]),
  ].join('; ');
}

export function intervalText({ low_m: lowM, high_m: highM }: SeriesPoint, heightUnit: Unit): string {
  return lowM === null || highM === null ? '' : formatHeightRange(lowM, highM, heightUnit);
}

export function periodText(point: SeriesPoint | null): string {
  if (point?.period_s == null) return '';
  const { period_low_s: low, period_high_s: high } = point;
  const range =
    low === null || high === null ? '' : ` (${text.now.secondsRange(low.toFixed(1), high.toFixed(1))})`;
  return `${text.now.seconds(point.period_s.toFixed(1))}${range}`;
}

/** With a minus sign, not a hyphen. */
export const tideText = (metres: number, heightUnit: Unit): string =>
  formatHeight(metres, heightUnit)
    .replace(/^-(?!0(?:\.0)?\u00a0)/, '\u2212')
    .replace('-', '');

export const percent = (share: number): string => `${String(Math.round(share * 100))}\u00a0%`;

/** The whole gap, where the row is in one: the hatched part of the chart. */
function timeText(row: Row, gaps: readonly Gap[], timeZone: string): string {
  const { fromMs, toMs } = gapAt(gaps, row.fromMs) ?? row;
  const [from, to] = [fromMs, toMs].map((at) => formatTime(at, timeZone, HOUR));
  const [fromDay, toDay] = [fromMs, toMs - 1].map((at) => formatTime(at, timeZone, DAY));
  return fromDay === toDay
    ? text.history.timeRange(`${fromDay ?? ''}, ${from ?? ''}`, to ?? '')
    : text.history.timeRange(`${fromDay ?? ''}, ${from ?? ''}`, `${toDay ?? ''}, ${to ?? ''}`);
}

/** Why there is no height. */
export function gapWords(row: Row, gaps: readonly Gap[]): string {
  const gap = gapAt(gaps, row.fromMs);
  if (gap === null || !gap.hasRecords) return text.history.noRecordsLong;
  return text.history.noHeight(gap.reason === null ? text.history.noReason : text.reasons[gap.reason]);
}
