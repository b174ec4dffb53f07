import { agentText } from './agent-text.ts';
import { adviceOf, sentence } from './code-advice.ts';
import { Words } from './words.tsx';

/** Why something failed, and what to do about it. */
export function ReasonNote({
  reason,
}: {
  readonly reason: { readonly code: string; readonly message: string };
}) {
  const { meaning, remedy } = adviceOf(reason.code);
  return (
    <div class="note bad stack tight">
      <p>{sentence(reason.message === '' ? meaning : reason.message)}</p>
      {remedy === '' ? null : (
        <p>
          <strong>{agentText.todo}: </strong>
          <Words text={remedy} />
        </p>
      )}
      <p class="small muted">
        {agentText.code} <code>{reason.code}</code>
      </p>
    </div>
  );
}

/** What a code means, and what to do about it. */
export function CodeAdvice({ code }: { readonly code: string }) {
  const { meaning, remedy } = adviceOf(code);
  return (
    <>
      <p>{meaning}</p>
      {remedy === '' ? null : (
        <p>
          <strong>{agentText.todo}: </strong>
          <Words text={remedy} />
        </p>
      )}
    </>
  );
}
