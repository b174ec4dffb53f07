import type { ComponentChildren } from 'preact';
import type { CameraView } from '../../../contract/openapi/views.ts';
import type { SeaStateRecord } from '../../../contract/sea-state.ts';
import { formatDuration, formatHeight, formatHeightRange } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { reasonText, text } from '../../shared/text.ts';
import { Card } from '../../shared/ui.tsx';
import { Age } from './age.tsx';
import { useLastPeriod } from './records.ts';
import { SimulatedMark } from './simulated-mark.tsx';

/** Period, breaking and direction. */
export function SeaCard({ camera }: { readonly camera: CameraView }) {
  const lastPeriod = useLastPeriod(camera);
  const newest = camera.sea_state ?? null;
  const measured = newest?.status === 'measured' ? newest : lastPeriod;
  return (
    <Card class="sea" title={text.now.sea} side={measured?.simulated === true ? <SimulatedMark /> : null}>
      <dl class="stats">
        <Period camera={camera} measured={measured} />
        {measured === null ? null : <Breaking clip={measured} />}
        <Direction camera={camera} />
      </dl>
      <SeaNote camera={camera} newest={newest} measured={measured} />
    </Card>
  );
}

function Stat({
  label,
  children,
  note,
}: {
  readonly label: string;
  readonly children: ComponentChildren;
  readonly note?: ComponentChildren;
}) {
  return (
    <div class="stat">
      <dt>{label}</dt>
      <dd>
        <span class="main number">{children}</span>
        {note === undefined || note === null ? null : <small class="number">{note}</small>}
      </dd>
    </div>
  );
}

function NoPeriod() {
  return (
    <div class="stat">
      <dt>{text.now.period}</dt>
      <dd>
        <span class="none">{text.now.noPeriod}</span>
      </dd>
    </div>
  );
}

function Period({
  camera: { latest },
  measured,
}: {
  readonly camera: CameraView;
  readonly measured: SeaStateRecord | null;
}) {
  const wave = latest?.wave;
  const peak = measured?.period;
  // The record has no period when its clip is too old. The old one is still worth something, with its age.
  const periodS = wave?.period_s ?? peak?.peak_s;
  if (periodS == null) return <NoPeriod />;
  const [lowS, highS] =
    wave?.period_s == null ? [peak?.low_s, peak?.high_s] : [wave.period_low_s, wave.period_high_s];
  const range =
    lowS == null || highS == null ? null : text.now.secondsRange(lowS.toFixed(1), highS.toFixed(1));
  return (
    <Stat label={text.now.period} note={range}>
      {text.now.seconds(periodS.toFixed(periodS < 10 ? 1 : 0))}
    </Stat>
  );
}

function Breaking({ clip: { breaking, breaker, period } }: { readonly clip: SeaStateRecord }) {
  const { white_share: white, per_minute: perMinute, sets, set_interval_s: intervalS } = breaking;
  return (
    <>
      {period.second_s === null ? null : (
        <Stat label={text.now.secondPeriod}>{text.now.seconds(period.second_s.toFixed(0))}</Stat>
      )}
      {perMinute === null ? null : (
        <Stat label={text.now.breaking} note={text.now.perMinute}>
          {perMinute.toFixed(perMinute < 3 ? 1 : 0)}
        </Stat>
      )}
      {white === null ? null : (
        <Stat label={text.now.whiteWater} note={text.now.ofTheWater}>
          {`${(white * 100).toFixed(0)}\u00a0%`}
        </Stat>
      )}
      {sets === null ? null : (
        <Stat
          label={text.now.sets}
          note={intervalS == null ? text.now.inTheClip : text.now.setInterval(formatDuration(intervalS))}
        >
          {sets}
        </Stat>
      )}
      {breaker.height_m === null ? null : (
        <Stat
          label={text.now.breaker}
          note={
            breaker.low_m === null || breaker.high_m === null
              ? null
              : formatHeightRange(breaker.low_m, breaker.high_m, unit.value)
          }
        >
          {formatHeight(breaker.height_m, unit.value)}
        </Stat>
      )}
    </>
  );
}

function Direction({ camera: { latest } }: { readonly camera: CameraView }) {
  if (latest === null) return null;
  const { direction, breaking_type: type } = latest.wave;
  if (direction === null && type === null) return null;
  return (
    <Stat
      label={text.now.direction}
      note={type === null || direction === null ? null : text.now.breakingType[type]}
    >
      {direction === null ? type && text.now.breakingType[type] : text.now.directions[direction]}
    </Stat>
  );
}

/** Of which clip the values are, and why there is no newer one. */
function SeaNote({
  camera,
  newest,
  measured,
}: {
  readonly camera: CameraView;
  readonly newest: SeaStateRecord | null;
  readonly measured: SeaStateRecord | null;
}) {
  if (newest === null)
    return <p class="muted small">{camera.latest?.wave.period_s == null ? text.now.noClip : null}</p>;
  const why = newest === measured ? null : newest.reasons.map(reasonText).join('; ');
  return (
    <p class="muted small">
      {measured === null ? null : (
        <>
          {text.now.clipOf(formatDuration(measured.duration_s))} <Age at={measured.captured_at} />.{' '}
        </>
      )}
      {why === null || why === '' ? null : text.now.newerClip(why)}
    </p>
  );
}
