import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import type { RequestProblem } from './api.ts';
import type { Tone } from './tone.ts';

export type { Tone };

/** Circle, triangle, square, ring: states can be told apart without colour. */
const SHAPES: Readonly<Record<Tone, JSX.Element>> = {
  ok: <circle cx="8" cy="8" r="7" />,
  warn: <path d="M8 1 15.5 15H.5z" />,
  bad: <path d="M1 1h14v14H1z" />,
  off: <path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8z" />,
};

/** A state: a word with a shape and a colour. */
export function StateMark({ tone, children }: { readonly tone: Tone; readonly children: ComponentChildren }) {
  return (
    <span class={`state ${tone}`}>
      <svg viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">
        {SHAPES[tone]}
      </svg>
      {children}
    </span>
  );
}

/** A part of a view with a heading. */
export function Card({
  title,
  side,
  class: className = '',
  children,
}: {
  readonly title: ComponentChildren;
  readonly side?: ComponentChildren;
  readonly class?: string;
  readonly children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section class={`card stack ${className}`} aria-labelledby={id}>
      <div class="row spread">
        <h2 id={id}>{title}</h2>
        {side}
      </div>
      {children}
    </section>
  );
}

/** One of few choices, as a segmented control. */
export function Choice<T extends string>({
  label,
  choices,
  value,
  onChange,
}: {
  readonly label: string;
  readonly choices: readonly { readonly value: T; readonly text: string }[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}) {
  const name = useId();
  return (
    <div class="choice" role="radiogroup" aria-label={label}>
      {choices.map((choice) => (
        <label key={choice.value}>
          <input
            type="radio"
            name={name}
            value={choice.value}
            checked={choice.value === value}
            onChange={() => onChange(choice.value)}
          />
          {choice.text}
        </label>
      ))}
    </div>
  );
}

/** A labelled input. `hint` stands below it, `fault` replaces the hint. */
export function Field({
  label,
  hint,
  fault,
  children,
}: {
  readonly label: string;
  readonly hint?: string;
  readonly fault?: string | null;
  readonly children: (ids: {
    readonly id: string;
    readonly 'aria-describedby': string;
    readonly 'aria-invalid': boolean;
  }) => ComponentChildren;
}) {
  const id = useId();
  const note = fault ?? hint;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, 'aria-describedby': `${id}-note`, 'aria-invalid': fault != null })}
      <p id={`${id}-note`} class="small muted" role={fault == null ? undefined : 'alert'}>
        {note}
      </p>
    </div>
  );
}

/** A problem with what a person can do about it. */
export function ProblemNote({ problem }: { readonly problem: RequestProblem }) {
  return (
    <div class="note bad" role="alert">
      <p>{problem.message}</p>
      {problem.hint === '' ? null : <p class="small">{problem.hint}</p>}
    </div>
  );
}

/** A modal dialog. Escape and the backdrop close it. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}) {
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === event.currentTarget) event.currentTarget.close();
      }}
    >
      <div class="stack">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}
