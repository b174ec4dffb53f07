import { useEffect, useState } from 'preact/hooks';
import type { EventPage } from '../../../contract/history.ts';
import type { Event } from '../../../contract/states.ts';
import { requestJson } from '../../shared/api.ts';
import { formatTime } from '../../shared/format.ts';
import { Card, Choice, ProblemNote, StateMark } from '../../shared/ui.tsx';
import { events as liveEvents, status, timeZone } from '../device-store.ts';
import { useAction } from './action.tsx';
import { agentText } from './agent-text.ts';
import { eventRemedy, sentence } from './code-advice.ts';
import { mergeEvents } from './event-list.ts';
import { LogCard } from './log-card.tsx';
import { Words } from './words.tsx';

type Severity = Event['severity'];
const { events: text } = agentText;
const SEVERITIES: readonly Severity[] = ['info', 'warning', 'error'];
const PAGE_EVENTS = 25;

/** What the agent reported, and its log. */
export function EventsPart() {
  return (
    <div class="stack wide-gap">
      <EventsCard />
      <LogCard />
    </div>
  );
}

interface Loaded {
  readonly events: readonly Event[];
  /** Of the next page; null at the end, undefined before the first. */
  readonly cursor: number | null | undefined;
}
const NONE: Loaded = { events: [], cursor: undefined };

function EventsCard() {
  const [severity, setSeverity] = useState<Severity>('info');
  const [loaded, setLoaded] = useState<Loaded>(NONE);
  const action = useAction();
  // After a lost connection some events may not have come.
  const reads = status.value;
  useEffect(() => {
    const stop = new AbortController();
    void readPage(severity, null, stop.signal).then(
      ({ events, cursor }) => setLoaded({ events, cursor }),
      // The button below asks again, and shows the problem.
      () => undefined,
    );
    return () => stop.abort();
  }, [severity, reads]);
  const older = (): void =>
    action.run(async () => {
      const page = await readPage(severity, loaded.cursor ?? null);
      setLoaded({ events: [...loaded.events, ...page.events], cursor: page.cursor });
      return '';
    });
  const shown = mergeEvents(liveEvents.value, loaded.events, severity);
  return (
    <Card
      title={text.title}
      side={
        <Choice
          label={text.filter}
          choices={SEVERITIES.map((value) => ({ value, text: text.filters[value] }))}
          value={severity}
          onChange={(value) => {
            setSeverity(value);
            setLoaded(NONE);
          }}
        />
      }
    >
      {shown.length === 0 ? (
        <p class="muted">{loaded.cursor === undefined ? text.loading : text.none}</p>
      ) : (
        <ol class="events">
          {shown.map((event) => (
            <EventRow key={event.id} event={event} />
          ))}
        </ol>
      )}
      {action.problem === null ? null : <ProblemNote problem={action.problem} />}
      {loaded.cursor === null ? null : (
        <div>
          <button type="button" aria-disabled={action.isRunning} onClick={older}>
            {action.isRunning ? text.loading : text.older}
          </button>
        </div>
      )}
    </Card>
  );
}

function readPage(severity: Severity, before: number | null, signal?: AbortSignal): Promise<EventPage> {
  const query = new URLSearchParams({ severity, limit: String(PAGE_EVENTS) });
  if (before !== null) query.set('before', String(before));
  return requestJson<EventPage>(`/api/v1/event-log?${query.toString()}`, signal ? { signal } : {});
}

function EventRow({ event }: { readonly event: Event }) {
  const [word, tone] = text.severities[event.severity];
  const remedy = event.severity === 'info' ? '' : eventRemedy(event);
  const context = Object.entries(event.context);
  return (
    <li class={`event ${tone}`}>
      <StateMark tone={tone}>{word}</StateMark>
      <div class="stack tight">
        <p class="message">{sentence(event.message)}</p>
        {remedy === '' ? null : (
          <p class="small">
            <strong>{agentText.todo}: </strong>
            <Words text={remedy} />
          </p>
        )}
        <details class="small muted">
          <summary>
            <time dateTime={event.at}>{formatTime(event.at, timeZone.value)}</time>
            {' · '}
            <code>{event.code === event.type ? event.type : `${event.type} ${event.code}`}</code>
          </summary>
          <dl class="context">
            {context.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{typeof value === 'string' ? value : JSON.stringify(value)}</dd>
              </div>
            ))}
          </dl>
        </details>
      </div>
    </li>
  );
}
