import type { ComponentChildren } from 'preact';
import { formatBytes } from '../../shared/format.ts';
import { agentText } from './agent-text.ts';
import { stepsOf, type Transfer } from './progress.ts';

const MARKS = { done: '✓', now: '', ahead: '', failed: '✕' } as const;

/**
 * The way of an install or an update through its phases. `texts`: name and explanation of each phase. `children`: more
 * about the present phase.
 */
export function TransferSteps({
  transfer,
  way,
  texts,
  children,
}: {
  readonly transfer: Transfer;
  readonly way: readonly string[];
  readonly texts: Readonly<Record<string, readonly [string, string] | undefined>>;
  readonly children?: ComponentChildren;
}) {
  const [name, explanation] = texts[transfer.phase] ?? [transfer.phase, ''];
  const hasBar = transfer.percent !== null && transfer.phase !== way.at(-1);
  return (
    <div class="transfer stack">
      {/* A failed transfer does not say how far it came. */}
      <ol class="steps">
        {stepsOf(transfer.phase, way).map(({ phase, state }) => (
          <li key={phase} class={state} aria-current={state === 'now' ? 'step' : undefined}>
            <span class="mark" aria-hidden="true">
              {MARKS[state]}
            </span>
            <span class="name">{texts[phase]?.[0] ?? phase}</span>
          </li>
        ))}
      </ol>
      <p role="status">
        {way.includes(transfer.phase) ? <strong>{name}: </strong> : null}
        {explanation}
      </p>
      {hasBar ? (
        <div class="stack tight">
          <progress max={100} value={transfer.percent} aria-label={name} />
          <p class="small muted number">
            {transfer.total_bytes === null || transfer.phase !== 'downloading'
              ? `${String(transfer.percent)}\u00a0%`
              : agentText.install.bytes(formatBytes(transfer.bytes), formatBytes(transfer.total_bytes))}
          </p>
        </div>
      ) : null}
      {children}
    </div>
  );
}
