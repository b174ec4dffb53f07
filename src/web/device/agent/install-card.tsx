import type { ModelInstall, ModelShadow } from '../../../contract/model.ts';
import type { ModelState } from '../../../contract/states.ts';
import { formatHeight, formatTime } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { Card } from '../../shared/ui.tsx';
import { modelProgress, timeZone } from '../device-store.ts';
import { ActionResult, ConfirmedAction, useAction } from './action.tsx';
import { agentText } from './agent-text.ts';
import { post } from './model-requests.ts';
import { withProgress } from './progress.ts';
import { ReasonNote } from './reason-note.tsx';
import { TransferSteps } from './transfer-steps.tsx';

const { install: text } = agentText;
const WAY = ['requested', 'downloading', 'verifying', 'testing', 'shadow', 'probation', 'committed'] as const;
const PHASES = [...WAY, 'failed', 'rolled_back'];

/** The current or the last install, live. */
export function InstallCard({
  install: stored,
  active,
}: {
  readonly install: ModelInstall;
  readonly active: ModelState['active'];
}) {
  const action = useAction();
  const install = withProgress(stored, modelProgress.value, PHASES);
  const name = `${install.name} ${install.version}`;
  const isOver = ['committed', 'failed', 'rolled_back'].includes(install.phase);
  return (
    <Card
      title={isOver ? text.last(name) : text.title(name)}
      side={
        <span class="small muted">
          {isOver
            ? text.ended(formatTime(install.at, timeZone.value))
            : text.at(formatTime(install.at, timeZone.value, { timeStyle: 'medium' }))}
        </span>
      }
    >
      <TransferSteps transfer={install} way={WAY} texts={text.phases}>
        {install.probation === null || install.phase === 'shadow' ? null : (
          <p class="small muted number">
            {text.probation(install.probation.answers, install.probation.failures)}
          </p>
        )}
      </TransferSteps>
      {install.reason === null ? null : <ReasonNote reason={install.reason} />}
      {install.shadow === null ? null : <Shadow shadow={install.shadow} />}
      {install.in_progress && !isOver ? (
        <div>
          <ConfirmedAction
            label={text.abort}
            title={text.abortTitle}
            before={text.abortBefore(active === null ? '' : `${active.name} ${active.version}`)}
            confirm={text.abort}
            isDanger
            action={action}
            act={async () => {
              await post('abort');
              return text.abortDone;
            }}
          />
        </div>
      ) : null}
      <ActionResult action={action} />
    </Card>
  );
}

/** How the new model compares with the present one on live frames. */
function Shadow({ shadow }: { readonly shadow: ModelShadow }) {
  const { candidate_p50_ms: newMs, active_p50_ms: oldMs, height_mean_difference_m: meanM } = shadow;
  const parts = [
    text.shadowFrames(shadow.frames),
    ...(newMs === null || oldMs === null ? [] : [text.shadowTimes(milliseconds(newMs), milliseconds(oldMs))]),
    ...(meanM === null ? [] : [text.shadowHeight(formatHeight(Math.abs(meanM), unit.value))]),
    ...(shadow.failures > 0 ? [text.shadowFailures(shadow.failures)] : []),
  ];
  return (
    <div class="stack tight small">
      <p class="number">{parts.join(' · ')}</p>
      <ul class="plain muted">
        {shadow.calibrations.map(({ camera, outcome, labels }) => (
          <li key={camera}>{text.calibration(camera, text.calibrationOutcomes[outcome](labels))}</li>
        ))}
      </ul>
    </div>
  );
}

const milliseconds = (ms: number): string => `${ms.toFixed(0)}\u00a0ms`;
