import './now.css';
import type { Observation } from '../../../contract/observation.ts';
import type { CameraView } from '../../../contract/openapi/views.ts';
import { ageS } from '../../shared/ages.ts';
import { formatDuration, formatHeight, formatHeightRange } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { StateMark } from '../../shared/ui.tsx';
import { camera } from '../device-store.ts';
import { useLatestImage } from './use-latest-image.ts';

/** The newest frame and what the gauge reads in it. */
export function NowView() {
  const shown = camera.value;
  if (shown === null) return null;
  return (
    <div class="now">
      <Frame camera={shown} />
      <section class="card headline" aria-label={text.now.title}>
        <Height camera={shown} />
        <Period camera={shown} />
      </section>
    </div>
  );
}

function Frame({ camera: { id, latest, state } }: { readonly camera: CameraView }) {
  const hasFrame = state.last_frame_age_s !== null || (latest !== null && latest.burst.used > 0);
  const image = useLatestImage(id, hasFrame ? (latest?.id ?? '') : null);
  const age = latest === null ? '' : formatDuration(ageS(latest.captured_at));
  return (
    <figure class="frame">
      {image === null ? (
        <div class="no-frame">{text.now.noFrame}</div>
      ) : (
        <img src={image} alt={text.now.frameOf(id, age)} width="960" height="540" />
      )}
      <figcaption>
        {latest === null ? null : <span class="number">{text.now.frameAge(age)}</span>}
        {latest?.simulated === true ? <StateMark tone="warn">{text.simulated}</StateMark> : null}
      </figcaption>
    </figure>
  );
}

function Height({ camera: { latest, calibration } }: { readonly camera: CameraView }) {
  const wave = latest?.wave;
  const readings = text.now.readings(calibration.labels);
  if (latest == null || wave?.height_m == null) return <NoHeight latest={latest} />;
  const isUsual = wave.height_basis === 'site_median';
  return (
    <div class="reading">
      <h2>{text.now.height}</h2>
      <p class="value number">
        {isUsual
          ? text.now.usual(formatHeight(wave.height_m, unit.value))
          : formatHeight(wave.height_m, unit.value)}
      </p>
      <p class="muted">
        {wave.height_low_m === null || wave.height_high_m === null
          ? null
          : `${formatHeightRange(wave.height_low_m, wave.height_high_m, unit.value)}, `}
        {isUsual
          ? text.now.usualNote(readings)
          : wave.height_basis === 'model_head'
            ? text.now.fromModel
            : text.now.learned(readings)}
      </p>
    </div>
  );
}

function NoHeight({ latest }: { readonly latest: Observation | null | undefined }) {
  return (
    <div class="reading">
      <h2>{text.now.height}</h2>
      <p class="value none">{text.now.noHeight}</p>
      <p class="muted">
        {latest == null ? text.now.noFrame : latest.reasons.map((code) => text.reasons[code]).join('; ')}
      </p>
    </div>
  );
}

function Period({ camera: { latest } }: { readonly camera: CameraView }) {
  const wave = latest?.wave;
  if (wave?.period_s == null) return null;
  const { period_low_s: lowS, period_high_s: highS } = wave;
  return (
    <div class="reading">
      <h2>{text.now.period}</h2>
      <p class="value number">{text.now.seconds(wave.period_s.toFixed(0))}</p>
      {lowS == null || highS == null ? null : (
        <p class="muted number">{text.now.secondsRange(lowS.toFixed(1), highS.toFixed(1))}</p>
      )}
    </div>
  );
}
