import type { CameraView } from '../../../../contract/openapi/views.ts';
import { toUnit } from '../../../shared/format.ts';
import { unit } from '../../../shared/preferences.ts';
import { text } from '../../../shared/text.ts';
import { SimulatedMark } from '../simulated-mark.tsx';
import { progressOf } from './progress.ts';

/** How far the calibration is, as a picture and in words. */
export function CalibrationProgress({
  camera: { calibration, kind, latest },
}: {
  readonly camera: CameraView;
}) {
  const { read, wanted, kept } = progressOf(calibration);
  if (latest?.wave.height_basis === 'model_head') return <p class="muted small">{text.label.modelReads}</p>;
  if (calibration.view === 'changed')
    return <p class="note warn">{text.label.viewChanged(text.now.readings(kept))}</p>;
  return (
    <div class="progress stack">
      <div>
        <ol class="visits" aria-hidden="true">
          {Array.from({ length: wanted }, (_, index) => (
            <li key={index} class={index < read ? 'read' : ''} />
          ))}
        </ol>
        <p class="small">
          {read < wanted
            ? text.label.visits(text.now.readings(calibration.labels), read, wanted)
            : text.label.visitsDone(text.now.readings(calibration.labels), calibration.sessions ?? read)}
        </p>
      </div>
      <Errors
        ridgeM={calibration.loo_mae_m}
        medianM={calibration.loo_median_mae_m}
        isSimulated={kind === 'simulated'}
      />
    </div>
  );
}

/** The error of the gauge beside that of somebody who always says the usual height. */
function Errors({
  ridgeM,
  medianM,
  isSimulated,
}: {
  readonly ridgeM: number | null;
  readonly medianM: number | null;
  readonly isSimulated: boolean;
}) {
  if (ridgeM === null || medianM === null) return null;
  const greatest = Math.max(ridgeM, medianM, 0.01);
  const error = (metres: number): string =>
    unit.value === 'm' ? `${metres.toFixed(2)}\u00a0m` : `${toUnit(metres, unit.value).toFixed(1)}\u00a0ft`;
  const rows = [
    { name: text.label.gauge, errorM: ridgeM, kind: 'gauge' },
    { name: text.label.guess, errorM: medianM, kind: 'guess' },
  ];
  return (
    <div>
      <div class="row spread">
        <h3>{text.label.errorTitle}</h3>
        {isSimulated ? <SimulatedMark /> : null}
      </div>
      <dl class="errors">
        {rows.map(({ name, errorM, kind }) => (
          <div key={kind} class={kind}>
            <dt>{name}</dt>
            <dd>
              <span class="bar" style={{ width: `${((errorM / greatest) * 100).toFixed(0)}%` }} />
              <span class="number">{error(errorM)}</span>
            </dd>
          </div>
        ))}
      </dl>
      <p class="small muted">
        {ridgeM < medianM
          ? text.label.isBetter(`${((1 - ridgeM / medianM) * 100).toFixed(0)}\u00a0%`)
          : text.label.isNotBetter}
      </p>
    </div>
  );
}
