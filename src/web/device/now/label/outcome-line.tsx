import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { formatTime } from '../../../shared/format.ts';
import { text } from '../../../shared/text.ts';
import { timeZone } from '../../device-store.ts';
import type { Reading } from './decide-save.ts';
import { dropUnsent, newest, undoNewest, unsentCount, type Outcome } from './readings.ts';
import { labelText, valueText } from './said.ts';

/** How long a reading can be undone here; afterwards it can be removed in the list. */
const SHOWN_MS = 12_000;

/** What became of the newest reading, with its undo; else `idle`. Its space does not depend on the text. */
export function OutcomeLine({ camera, idle }: { readonly camera: string; readonly idle: ComponentChildren }) {
  const shown = newest.value?.reading.camera === camera ? newest.value : null;
  const [ended, setEnded] = useState<Outcome | null>(null);
  const outcome = shown?.outcome ?? null;
  useEffect(() => {
    if (outcome === null || !isFinal(outcome)) return undefined;
    const timer = setTimeout(() => setEnded(outcome), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const isOver = outcome === null || outcome === ended;
  return (
    <div class="outcome">
      <div role="status">
        {shown === null || isOver ? null : <Message reading={shown.reading} outcome={shown.outcome} />}
      </div>
      {isOver ? idle : null}
    </div>
  );
}

const isFinal = ({ state }: Outcome): boolean => !['sending', 'waiting', 'undoing'].includes(state);

function Message({ reading, outcome }: { readonly reading: Reading; readonly outcome: Outcome }) {
  const said = valueText(reading.value, reading.unit, reading.scale);
  const frame =
    reading.capturedAt === null
      ? said
      : text.label.ofFrame(said, formatTime(reading.capturedAt, timeZone.value, { timeStyle: 'medium' }));
  switch (outcome.state) {
    case 'sending':
      return <p>{text.label.sending(frame)}</p>;
    case 'saved':
      return (
        <div class="row">
          <p class="grow">
            <strong>{text.label.saved(frame)}</strong>{' '}
            {outcome.before === null ? null : text.label.replaces(byWhom(outcome.before))}
          </p>
          <button type="button" onClick={() => void undoNewest()}>
            {text.label.undo}
          </button>
        </div>
      );
    case 'waiting':
      return (
        <div class="row note warn">
          <p class="grow">{text.label.waiting(frame, unsentCount.value)}</p>
          <button type="button" onClick={() => dropUnsent(reading)}>
            {text.label.drop}
          </button>
        </div>
      );
    case 'theirs':
      return <p class="note warn">{text.label.theirs(byWhom(outcome.theirs))}</p>;
    case 'refused':
      return (
        <p class="note bad">
          {text.label.refused(frame)} {refusal(outcome.problem)}
        </p>
      );
    case 'undoing':
      return <p>{text.label.undoing}</p>;
    case 'undone':
      return <p>{text.label.undone(frame)}</p>;
    case 'undo_failed':
      return <p class="note bad">{text.label.undoFailed(frame)}</p>;
  }
}

const byWhom = (label: Parameters<typeof labelText>[0]): string =>
  text.label.by(
    labelText(label),
    label.observer === 'simulation' ? text.label.simulatedObserver : label.observer,
  );

function refusal({ code, message }: { readonly code: string; readonly message: string }): string {
  return Object.entries(text.label.refusals).find(([name]) => name === code)?.[1] ?? message;
}
