import { useComputed } from '@preact/signals';
import type { CameraView } from '../../../contract/openapi/views.ts';
import { ageS } from '../../shared/ages.ts';
import { formatHeight, formatHeightRange, formatTime } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { Card } from '../../shared/ui.tsx';
import { health, timeZone } from '../device-store.ts';
import { Age } from './age.tsx';
import { bodyHeight, headlineOf, type Headline } from './headline.ts';
import { HeightScale } from './height-scale.tsx';
import { useCourse, useLastMeasured } from './records.ts';
import { SimulatedMark } from './simulated-mark.tsx';
import { TrendLine } from './trend-line.tsx';

/** From this age on a height says little about the sea of now, s. */
const OLD_S = 1800;
/** From this pause on a person may wonder whether the camera still works, ms. */
const LONG_PAUSE_MS = 900_000;

/** The height with its interval, where it comes from, and its course. */
export function HeightCard({ camera }: { readonly camera: CameraView }) {
  const headline = headlineOf(camera.latest, useLastMeasured(camera), camera.calibration.labels);
  const course = useCourse(camera);
  const { record } = headline;
  const isOld = useComputed(() => record !== null && ageS(record.captured_at) > OLD_S).value;
  return (
    <Card
      class={`height ${isOld ? 'is-old' : ''}`}
      title={text.now.height}
      side={camera.kind === 'simulated' ? <SimulatedMark truthM={camera.truth?.height_m} /> : null}
    >
      {headline.heightM === null ? (
        <NoHeight why={headline.why} />
      ) : (
        <Height headline={headline} heightM={headline.heightM} truthM={camera.truth?.height_m ?? null} />
      )}
      <Source headline={headline} isOld={isOld} />
      {headline.kind === 'measured' && !isOld ? <TrendLine course={course} /> : null}
      <NextFrame camera={camera} />
    </Card>
  );
}

function NoHeight({ why }: { readonly why: string | null }) {
  return (
    <div>
      <p class="value none">{text.now.noHeight}</p>
      <p class="muted">{why}</p>
    </div>
  );
}

function Height({
  headline: { kind, lowM, highM, source },
  heightM,
  truthM,
}: {
  readonly headline: Headline;
  readonly heightM: number;
  readonly truthM: number | null;
}) {
  const range = lowM === null || highM === null ? null : formatHeightRange(lowM, highM, unit.value);
  return (
    <>
      <div>
        {kind === 'usual' ? <p class="lead">{text.now.usual}</p> : null}
        <p class="value number">
          {formatHeight(heightM, unit.value)} <small>{bodyHeight(heightM)}</small>
        </p>
        <p class="muted">{range === null || kind === 'usual' ? source : `${range}, ${source}`}</p>
      </div>
      <HeightScale heightM={heightM} lowM={lowM} highM={highM} truthM={truthM} isUsual={kind === 'usual'} />
    </>
  );
}

/** When the height was measured, and why there is no newer one. Its line is always there: most reasons last for seconds. */
function Source({
  headline: { kind, record, why },
  isOld,
}: {
  readonly headline: Headline;
  readonly isOld: boolean;
}) {
  if (record === null) return null;
  return (
    <p class={isOld ? 'note warn' : 'muted small'}>
      {kind === 'usual' ? text.now.frameAge : text.now.measuredAgo} <Age at={record.captured_at} />.{' '}
      {why === null ? null : text.now.nothingNewer(why)}
    </p>
  );
}

function NextFrame({ camera }: { readonly camera: CameraView }) {
  const nextAt = health.value?.cameras.find(({ id }) => id === camera.id)?.next_run_at ?? camera.next_run_at;
  if (nextAt === null || camera.latest === null) return null;
  if (Date.parse(nextAt) - Date.parse(camera.latest.captured_at) < LONG_PAUSE_MS) return null;
  return <p class="muted small">{text.now.nextFrame(formatTime(nextAt, timeZone.value))}</p>;
}
