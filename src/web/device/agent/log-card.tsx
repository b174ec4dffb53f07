import { useState } from 'preact/hooks';
import { requestJson } from '../../shared/api.ts';
import { formatTime } from '../../shared/format.ts';
import { Card, ProblemNote } from '../../shared/ui.tsx';
import { timeZone } from '../device-store.ts';
import { useAction } from './action.tsx';
import { agentText } from './agent-text.ts';
import { parseLogLines, searchLines, type LogLine } from './log-lines.ts';

const { log: text } = agentText;

/** The lines of the log, on request. */
export function LogCard() {
  const [lines, setLines] = useState<readonly LogLine[] | null>(null);
  const [search, setSearch] = useState('');
  const action = useAction();
  const read = (): void =>
    action.run(async () => {
      setLines(parseLogLines((await requestJson<{ lines: readonly string[] }>('/api/v1/log')).lines));
      return '';
    });
  const found = lines === null ? [] : searchLines(lines, search);
  return (
    <Card title={text.title}>
      <p class="muted">{text.note}</p>
      <div class="row">
        <button type="button" aria-disabled={action.isRunning} onClick={read}>
          {lines === null ? text.show : text.again}
        </button>
        {lines === null ? null : (
          <input
            class="search"
            type="search"
            aria-label={text.search}
            placeholder={text.search}
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        )}
      </div>
      {action.problem === null ? null : <ProblemNote problem={action.problem} />}
      {lines === null ? null : (
        <>
          <p class="small muted" role="status">
            {text.lines(found.length)}
          </p>
          {/* A person scrolls it with the keyboard too. */}
          <div class="log" role="region" aria-label={text.label} tabIndex={0}>
            <ol>
              {found.map((line, index) => (
                <li key={index} class={line.level}>
                  <span class="muted">
                    {formatTime(line.at, timeZone.value, { timeStyle: 'medium' })} {line.level} {line.part}
                  </span>{' '}
                  <span class="message">{line.message}</span> <span class="rest">{line.rest}</span>
                </li>
              ))}
            </ol>
          </div>
        </>
      )}
    </Card>
  );
}
