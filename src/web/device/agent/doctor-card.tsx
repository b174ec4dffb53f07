import { useState } from 'preact/hooks';
import type { DoctorReport } from '../../../contract/doctor.ts';
import { requestJson } from '../../shared/api.ts';
import { formatTime } from '../../shared/format.ts';
import { Card, ProblemNote, StateMark } from '../../shared/ui.tsx';
import { timeZone } from '../device-store.ts';
import { useAction } from './action.tsx';
import { agentText } from './agent-text.ts';
import { sentence } from './code-advice.ts';
import { Words } from './words.tsx';

type Finding = DoctorReport['checks'][number];
const { doctor: text } = agentText;

/** The examination of the device, on request: it costs the device some work. */
export function DoctorCard() {
  const [report, setReport] = useState<DoctorReport | null>(null);
  const action = useAction();
  const examine = (): void =>
    action.run(async () => {
      const read = await requestJson<DoctorReport>('/api/v1/doctor');
      setReport(read);
      const faults = read.checks.filter(({ state }) => state !== 'ok').length;
      return faults === 0 ? text.allGood : text.found(faults);
    });
  return (
    <Card title={text.title}>
      <p class="muted">{text.note}</p>
      <div>
        <button type="button" aria-disabled={action.isRunning} onClick={examine}>
          {action.isRunning ? text.running : report === null ? text.run : text.again}
        </button>
      </div>
      <div role="status">
        {action.problem === null ? null : <ProblemNote problem={action.problem} />}
        {action.done === null ? null : <p class="strong">{action.done}</p>}
      </div>
      {report === null ? null : <Report report={report} />}
    </Card>
  );
}

function Report({ report: { checks, at } }: { readonly report: DoctorReport }) {
  const wrong = checks
    .filter(({ state }) => state !== 'ok')
    .sort((a, b) => Number(b.state === 'fail') - Number(a.state === 'fail'));
  const good = checks.filter(({ state }) => state === 'ok');
  return (
    <>
      <FindingList findings={wrong} />
      <details>
        <summary>{text.good(good.length)}</summary>
        <FindingList findings={good} />
      </details>
      <p class="small muted">{text.at(formatTime(at, timeZone.value))}</p>
    </>
  );
}

function FindingList({ findings }: { readonly findings: readonly Finding[] }) {
  if (findings.length === 0) return null;
  return (
    <ul class="problems">
      {findings.map(({ check, state, detail, mend }, index) => {
        const [word, tone] = text.findings[state];
        return (
          <li key={index} class={`problem ${tone}`}>
            <div class="row spread">
              <h3>{sentence(check).replace(/\.$/, '')}</h3>
              <StateMark tone={tone}>{word}</StateMark>
            </div>
            <p>{sentence(detail)}</p>
            {mend === null ? null : (
              <p class="todo">
                <strong>{agentText.todo}: </strong>
                <Words text={sentence(mend)} />
              </p>
            )}
          </li>
        );
      })}
    </ul>
  );
}
