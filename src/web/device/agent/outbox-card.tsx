import type { OutboxView } from '../../../contract/outbox.ts';
import { ageS } from '../../shared/ages.ts';
import { requestJson } from '../../shared/api.ts';
import { formatBytes, formatDuration } from '../../shared/format.ts';
import { Card, ProblemNote, StateMark } from '../../shared/ui.tsx';
import { useRead } from './action.tsx';
import { agentText } from './agent-text.ts';

const { outbox: text } = agentText;
/** Messages in the list; the number of the others stands below it. */
const MAX_SHOWN = 8;

/** Messages that wait for the broker, and those that it rejected. `version`: of the heartbeat. */
export function OutboxCard({ version }: { readonly version: number }) {
  const { value: outbox, problem } = useRead(
    (signal) => requestJson<OutboxView>('/api/v1/outbox', { signal }),
    version,
  );
  return (
    <Card title={text.title}>
      {problem === null ? null : <ProblemNote problem={problem} />}
      {outbox === null ? null : (
        <>
          {outbox.depth === 0 ? <p class="muted">{text.empty}</p> : <Waiting outbox={outbox} />}
          {outbox.rejected.count > 0 ? <Rejected rejected={outbox.rejected} /> : null}
        </>
      )}
    </Card>
  );
}

function Waiting({ outbox: { depth, next } }: { readonly outbox: OutboxView }) {
  const shown = next.slice(0, MAX_SHOWN);
  return (
    <>
      <p class="small muted">{text.waiting}</p>
      <ul class="plain small">
        {shown.map(({ stream, seq, topic, size_bytes: sizeBytes, queued_at: at }) => (
          <li key={`${stream} ${String(seq)}`}>
            <code>{topic}</code> {seq}, {formatBytes(sizeBytes)}, {text.waits(formatDuration(ageS(at)))}
          </li>
        ))}
      </ul>
      {depth > shown.length ? <p class="small muted">{text.more(depth - shown.length)}</p> : null}
    </>
  );
}

function Rejected({ rejected: { count, newest } }: { readonly rejected: OutboxView['rejected'] }) {
  const shown = newest.slice(0, MAX_SHOWN);
  return (
    <div class="problem warn">
      <div class="row spread">
        <h3>{text.rejected(count)}</h3>
        <StateMark tone="warn">{agentText.tones.warn}</StateMark>
      </div>
      <p class="small">{text.rejectedNote}</p>
      <ul class="plain small">
        {shown.map((message, index) => (
          <li key={index}>
            <code>{message.topic}</code> {message.seq}, {formatBytes(message.size_bytes)}: {message.reason}
          </li>
        ))}
      </ul>
      {count > shown.length ? <p class="small muted">{text.more(count - shown.length)}</p> : null}
    </div>
  );
}
