import type { Health } from '../../../contract/health.ts';
import { ageS } from '../../shared/ages.ts';
import { degradedText } from '../../shared/degraded-text.ts';
import { formatDuration } from '../../shared/format.ts';
import { text } from '../../shared/text.ts';
import { Card, StateMark } from '../../shared/ui.tsx';
import { cameras, health } from '../device-store.ts';
import { agentText } from './agent-text.ts';
import { sentence } from './code-advice.ts';
import { DoctorCard } from './doctor-card.tsx';
import { OutboxCard } from './outbox-card.tsx';
import { ReportCard } from './report-card.tsx';
import { verdictOf, vitalsOf } from './vitals.ts';
import { Words } from './words.tsx';

/** Whether the agent is well, what is wrong and what to do about it. */
export function HealthPart() {
  const heartbeat = health.value;
  if (heartbeat === null) return <p class="muted">{agentText.waitsForAgent}</p>;
  return (
    <>
      <Verdict health={heartbeat} />
      <Problems codes={heartbeat.degraded} />
      <Vitals health={heartbeat} />
      <div class="grid">
        <DoctorCard />
        <div class="stack wide-gap">
          <OutboxCard version={heartbeat.seq} />
          <ReportCard />
        </div>
      </div>
    </>
  );
}

function Verdict({ health: { degraded, at } }: { readonly health: Health }) {
  const { tone, count } = verdictOf(degraded);
  const { verdict } = agentText;
  const [title, note] = {
    ok: [verdict.ok, verdict.okNote],
    warn: [verdict.warn(count), verdict.warnNote],
    bad: [verdict.bad(count), verdict.badNote],
  }[tone];
  return (
    <section class={`card verdict ${tone}`} aria-label={agentText.parts.health}>
      <div>
        <h2>{title}</h2>
        <p>{note}</p>
      </div>
      <p class="small number">{verdict.asOf(formatDuration(ageS(at)))}</p>
    </section>
  );
}

function Problems({ codes }: { readonly codes: Health['degraded'] }) {
  if (codes.length === 0) return null;
  return (
    <Card title={agentText.problems.title}>
      <ul class="problems">
        {worstFirst(codes).map((code) => (
          <Problem key={code} code={code} />
        ))}
      </ul>
    </Card>
  );
}

const worstFirst = (codes: readonly string[]): readonly string[] =>
  codes.toSorted((a, b) => Number(degradedText(b).tone === 'bad') - Number(degradedText(a).tone === 'bad'));

function Problem({ code }: { readonly code: string }) {
  const { tone, title, meaning, remedy } = degradedText(code);
  const reason = cameraReason(code);
  return (
    <li class={`problem ${tone}`}>
      <div class="row spread">
        <h3>{title}</h3>
        <StateMark tone={tone}>{agentText.tones[tone]}</StateMark>
      </div>
      <p>
        <Words text={meaning} />
      </p>
      {reason === null ? null : (
        <p>
          {agentText.problems.reason}: {reason}
        </p>
      )}
      {remedy === '' ? null : (
        <p class="todo">
          <strong>{agentText.todo}: </strong>
          <Words text={remedy} />
        </p>
      )}
      <p class="small muted">
        {agentText.code} <code>{code}</code>
      </p>
    </li>
  );
}

/** Why a camera is down, in its own words; null for other codes. */
function cameraReason(code: string): string | null {
  const [name, id] = code.split(':');
  if (name !== 'camera_down') return null;
  const found = cameras.value.find((one) => one.id === id);
  if (found === undefined) return null;
  if (found.failure != null) return sentence(found.failure.message);
  const { reason } = found.state;
  return reason === null || !(reason in text.reasons)
    ? null
    : sentence(text.reasons[reason as keyof typeof text.reasons]);
}

function Vitals({ health: heartbeat }: { readonly health: Health }) {
  return (
    <section aria-label={agentText.vitals.title}>
      <ul class="vitals">
        {vitalsOf(heartbeat, ageS).map(({ area, tone, sentence: words, notes, used01 }) => (
          <li key={area} class="card vital">
            <div class="row spread">
              <h3>{agentText.areas[area]}</h3>
              <StateMark tone={tone}>{agentText.tones[tone]}</StateMark>
            </div>
            <p class="number strong">{words}</p>
            {used01 === null ? null : <UsedBar used01={used01} tone={tone} />}
            <p class="small muted number">{notes.join(' · ')}</p>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The sentence beside it says the same. */
function UsedBar({ used01, tone }: { readonly used01: number; readonly tone: string }) {
  const width = Math.min(1, Math.max(0, used01)) * 100;
  return (
    <svg class={`bar ${tone}`} viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      <rect class="rest" width="100" height="4" />
      <rect class="used" width={width} height="4" />
    </svg>
  );
}
