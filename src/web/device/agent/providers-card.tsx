import type { Info } from '../../../contract/states.ts';
import { requestJson } from '../../shared/api.ts';
import { Card, ProblemNote, StateMark } from '../../shared/ui.tsx';
import { useRead } from './action.tsx';
import { agentText } from './agent-text.ts';
import { sentence } from './code-advice.ts';

const { providers: text } = agentText;

/** Which execution provider runs the model, and why not another one. `digest`: of the active model. */
export function ProvidersCard({ digest }: { readonly digest: string | null }) {
  const { value: info, problem } = useRead((signal) => requestJson<Info>('/api/v1/info', { signal }), digest);
  return (
    <Card title={text.title}>
      {problem === null ? null : <ProblemNote problem={problem} />}
      {info === null ? null : (
        <>
          <p class="muted">
            {[info.hardware.model, info.hardware.cpu].filter((part) => part !== null).join(' · ')}
          </p>
          {info.providers.length === 0 ? <p>{text.none}</p> : <Providers providers={info.providers} />}
          <p class="small muted">{text.note}</p>
        </>
      )}
    </Card>
  );
}

function Providers({ providers }: { readonly providers: Info['providers'] }) {
  return (
    <ul class="plain providers">
      {providers.map(({ provider, threads, outcome, median_ms: medianMs, reason }, index) => {
        const [word, tone, meaning] = text.outcomes[outcome] ?? [outcome, 'off', ''];
        return (
          <li key={index}>
            <div class="row spread">
              <h3>
                {provider}, {text.threads(threads)}
              </h3>
              <StateMark tone={tone}>{word}</StateMark>
            </div>
            <p class="small muted">
              {medianMs === null ? '' : `${medianMs.toFixed(1)}\u00a0ms. `}
              {meaning} {reason === null ? '' : sentence(reason)}
            </p>
          </li>
        );
      })}
    </ul>
  );
}
