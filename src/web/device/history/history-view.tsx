import './history.css';
import { useId, useState } from 'preact/hooks';
import { hasToken, request } from '../../shared/api.ts';
import { replaceParams, route } from '../../shared/route.ts';
import { text } from '../../shared/text.ts';
import { Card, Choice, ProblemNote, StateMark } from '../../shared/ui.tsx';
import { camera, timeZone } from '../device-store.ts';
import { Charts } from './charts.tsx';
import { HistoryTable } from './history-table.tsx';
import { Readings } from './readings.tsx';
import { TimeLapse } from './time-lapse.tsx';
import { useSeries, type ShownSeries } from './use-series.ts';

const DAYS = ['1', '7', '30'] as const;

/** What the gauge has read in the last day, week or month. */
export function HistoryView() {
  const shownCamera = camera.value;
  return shownCamera === null ? null : <CameraHistory key={shownCamera.id} id={shownCamera.id} />;
}

function CameraHistory({ id }: { readonly id: string }) {
  const wanted = route.value.params.get('days');
  const days = DAYS.find((one) => one === wanted) ?? '1';
  const zone = knownZone(timeZone.value);
  const [changes, setChanges] = useState(0);
  const [showsTable, setShowsTable] = useState(false);
  const labels = camera.value?.calibration.labels ?? 0;
  const version = `${String(labels)} ${String(changes)}`;
  const { shown, problem } = useSeries(id, days, version);
  const tableId = useId();
  return (
    <div class="history">
      <Card
        class="history-charts"
        title={text.history.title}
        side={
          <div class="row">
            {shown?.series.simulated === true ? <StateMark tone="warn">{text.simulated}</StateMark> : null}
            <Choice
              label={text.history.range}
              choices={DAYS.map((value) => ({ value, text: text.history.ranges[value] }))}
              value={days}
              onChange={(value) => replaceParams({ days: value })}
            />
          </div>
        }
      >
        {problem === null ? null : <ProblemNote problem={problem} />}
        {shown === null ? (
          <div class="history-wait muted">{problem === null ? text.history.loading : ''}</div>
        ) : (
          <>
            <Charts shown={shown} timeZone={zone} />
            <Legend hasUsual={shown.series.points.some((one) => one.height_basis === 'site_median')} />
            <div class="row">
              <button
                type="button"
                aria-pressed={showsTable}
                aria-controls={tableId}
                onClick={() => setShowsTable(!showsTable)}
              >
                {text.history.showTable}
              </button>
              <CsvLink camera={id} shown={shown} />
            </div>
            <div id={tableId}>
              <HistoryTable shown={shown} timeZone={zone} isVisible={showsTable} />
            </div>
          </>
        )}
      </Card>
      <TimeLapse camera={id} timeZone={zone} isSimulated={camera.value?.kind === 'simulated'} />
      <Readings camera={id} timeZone={zone} version={version} onChange={() => setChanges(changes + 1)} />
    </div>
  );
}

function Legend({ hasUsual }: { readonly hasUsual: boolean }) {
  const { legend } = text.history;
  return (
    <ul class="legend small muted" aria-hidden="true">
      <li class="key-line">{legend.height}</li>
      <li class="key-band">{legend.interval}</li>
      {hasUsual ? <li class="key-usual">{text.history.usualHeight}</li> : null}
      <li class="key-dot">{legend.reading}</li>
      <li class="key-gap">{legend.gap}</li>
    </ul>
  );
}

/** All records of the shown time, as a table for other programs. */
function CsvLink({
  camera: id,
  shown: { fromMs, toMs },
}: {
  readonly camera: string;
  readonly shown: ShownSeries;
}) {
  const query = new URLSearchParams({
    camera: id,
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs + 1).toISOString(),
  });
  const path = `/api/v1/observations.csv?${query.toString()}`;
  const name = `${id}.csv`;
  return (
    <a
      class="button"
      href={`.${path}`}
      download={name}
      onClick={(event) => {
        // A link cannot send the token.
        if (!hasToken()) return;
        event.preventDefault();
        void download(path, name);
      }}
    >
      {text.history.csv}
    </a>
  );
}

async function download(path: string, name: string): Promise<void> {
  const response = await request(path).catch(() => null);
  if (response === null) return;
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The zone if this browser knows it, else UTC. */
function knownZone(name: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return 'UTC';
  }
}
