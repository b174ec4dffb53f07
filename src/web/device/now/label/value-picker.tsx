import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { observer, scale, unit } from '../../../shared/preferences.ts';
import { text } from '../../../shared/text.ts';
import { heightNumberOf } from './said.ts';
import { allValues, fewValues, middleIndex, mustFollow, parseValue } from './values.ts';

export interface ValuePickerProps<T extends object> {
  /** What the person has seen when this is called. */
  readonly pickTarget: () => T;
  readonly estimateM: number | null;
  /** The value that the target has, in the unit and scale of the page. */
  readonly pressed: number | null;
  /** The target must not change while the person types. */
  readonly onHold: (isHeld: boolean) => void;
  /** `target`: the one that the person saw. */
  readonly onRead: (target: T, value: number) => void;
}

/** Values to tap: some around the estimate, all on demand, or any that is typed. */
export function ValuePicker<T extends object>(props: ValuePickerProps<T>) {
  const { pickTarget, estimateM, pressed, onRead } = props;
  const [isOpen, setOpen] = useState(false);
  const middle = useStableMiddle(estimateM);
  const values = isOpen ? allValues(unit.value) : fewValues(middle, unit.value);
  /** What stood under the finger when it came down. */
  const down = useRef<{ readonly target: T; readonly value: number } | null>(null);
  const read = (value: number): void => {
    const taken = down.current ?? { target: pickTarget(), value };
    down.current = null;
    onRead(taken.target, taken.value);
  };
  return (
    <div class="stack">
      <div class="values" role="group" aria-label={text.label.values}>
        {[0, ...values].map((value) => (
          <button
            key={value}
            type="button"
            class="number"
            aria-pressed={pressed !== null && Math.abs(pressed - value) < 0.01}
            onPointerDown={() => (down.current = { target: pickTarget(), value })}
            onPointerCancel={() => (down.current = null)}
            onClick={() => read(value)}
          >
            {value === 0 ? text.label.flat : heightNumberOf(value, unit.value)}
          </button>
        ))}
        <button type="button" class="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? text.label.fewer : text.label.more}
        </button>
      </div>
      {isOpen ? <ExactEntry {...props} /> : null}
    </div>
  );
}

function ExactEntry<T extends object>({ onHold, onRead, pickTarget }: ValuePickerProps<T>) {
  const id = useId();
  const [typed, setTyped] = useState('');
  const [isWrong, setWrong] = useState(false);
  const held = useRef<T | null>(null);
  // A field that goes away is not left.
  useEffect(() => () => onHold(false), []);
  const submit = (event: Event): void => {
    event.preventDefault();
    const value = parseValue(typed, unit.value, scale.value);
    setWrong(value === null);
    if (value === null) return;
    onRead(held.current ?? pickTarget(), value);
    setTyped('');
  };
  return (
    <form class="exact" onSubmit={submit}>
      <div class="field">
        <label for={`${id}-value`}>{text.label.exact(unit.value)}</label>
        <input
          id={`${id}-value`}
          inputMode="decimal"
          autoComplete="off"
          value={typed}
          aria-invalid={isWrong}
          aria-describedby={`${id}-note`}
          onInput={(event) => setTyped(event.currentTarget.value)}
          onFocus={() => {
            held.current = pickTarget();
            onHold(true);
          }}
          onBlur={() => onHold(false)}
        />
      </div>
      <button type="submit" class="primary">
        {text.label.save}
      </button>
      <div class="field">
        <label for={`${id}-name`}>{text.label.observer}</label>
        <input
          id={`${id}-name`}
          autoComplete="nickname"
          maxLength={100}
          value={observer.value}
          onInput={(event) => (observer.value = event.currentTarget.value)}
        />
      </div>
      <p id={`${id}-note`} class="small muted" role={isWrong ? 'alert' : undefined}>
        {isWrong ? text.label.wrongValue : text.label.observerNote}
      </p>
    </form>
  );
}

/** The middle of the offered values. It follows the estimate only when that has left them. */
function useStableMiddle(estimateM: number | null): number {
  const wanted = middleIndex(estimateM, unit.value, scale.value);
  const [shown, setShown] = useState(wanted);
  const key = `${unit.value} ${scale.value}`;
  const shownKey = useRef(key);
  const next = shownKey.current !== key || mustFollow(shown, wanted) ? wanted : shown;
  useEffect(() => {
    shownKey.current = key;
    setShown(next);
  }, [key, next]);
  return next;
}
