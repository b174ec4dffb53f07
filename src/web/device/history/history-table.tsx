import type { SeriesPoint } from '../../../contract/history.ts';
import { formatHeight, formatTime } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { intervalText, percent, periodText, tideText } from './readout.tsx';
import { toRows, type Row } from './timeline.ts';
import type { ShownSeries } from './use-series.ts';

/** The data of the charts, newest first. */
export function HistoryTable({
  shown: { series, fromMs, toMs },
  timeZone,
  isVisible,
}: {
  readonly shown: ShownSeries;
  readonly timeZone: string;
  /** False: for screen readers only. */
  readonly isVisible: boolean;
}) {
  const rows = toRows(series, fromMs, toMs).toReversed();
  const { table } = text.history;
  return (
    <div
      class={isVisible ? 'scroll history-table' : 'hidden-text'}
      // To scroll by keyboard.
      tabIndex={isVisible ? 0 : undefined}
      role="region"
      aria-label={text.history.tableOf(series.camera)}
    >
      <table>
        <caption class="hidden-text">{text.history.tableOf(series.camera)}</caption>
        <thead>
          <tr>
            {[
              table.time,
              table.height,
              table.interval,
              table.period,
              table.quality,
              table.tide,
              table.records,
            ].map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody class="number">
          {rows.map((row) => (
            <TableRow key={row.fromMs} row={row} timeZone={timeZone} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function TableRow({ row: { fromMs, point }, timeZone }: { readonly row: Row; readonly timeZone: string }) {
  const time = <th scope="row">{formatTime(fromMs, timeZone)}</th>;
  if (point === null)
    return (
      <tr>
        {time}
        <td colSpan={6} class="muted">
          {text.history.noRecordsLong}
        </td>
      </tr>
    );
  return (
    <tr>
      {time}
      {point.height_m === null ? (
        <td colSpan={2} class="muted">
          {reasonsText(point)}
        </td>
      ) : (
        <>
          <td>
            {formatHeight(point.height_m, unit.value)}
            {point.height_basis === 'site_median' ? (
              <span class="muted"> {text.history.usualHeight}</span>
            ) : null}
          </td>
          <td>{intervalText(point, unit.value)}</td>
        </>
      )}
      <td>{periodText(point)}</td>
      <td>{point.quality === null ? '' : percent(point.quality)}</td>
      <td>{point.tide_m === null ? '' : tideText(point.tide_m, unit.value)}</td>
      <td>{point.observations}</td>
    </tr>
  );
}

const reasonsText = ({ reasons }: SeriesPoint): string =>
  text.history.noHeight(
    reasons.length === 0 ? text.history.noReason : reasons.map(({ code }) => text.reasons[code]).join(', '),
  );
