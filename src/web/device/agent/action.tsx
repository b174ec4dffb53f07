import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { RequestProblem } from '../../shared/api.ts';
import { Dialog, ProblemNote } from '../../shared/ui.tsx';
import { agentText } from './agent-text.ts';
import { Words } from './words.tsx';

export interface ActionState {
  readonly isRunning: boolean;
  readonly problem: RequestProblem | null;
  /** What happened; null before the end. */
  readonly done: string | null;
  /** `act` resolves with what happened. A second call while the first runs does nothing. */
  readonly run: (act: () => Promise<string>) => void;
}

/** One action of a person at a time, with its result. */
export function useAction(): ActionState {
  const [isRunning, setRunning] = useState(false);
  const [problem, setProblem] = useState<RequestProblem | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const running = useRef(false);
  const run = (act: () => Promise<string>): void => {
    if (running.current) return;
    running.current = true;
    setRunning(true);
    setProblem(null);
    setDone(null);
    act()
      .then(setDone, (thrown: unknown) => {
        if (!(thrown instanceof RequestProblem)) throw thrown;
        setProblem(thrown);
      })
      .finally(() => {
        running.current = false;
        setRunning(false);
      });
  };
  return { isRunning, problem, done, run };
}

/** What became of an action. */
export function ActionResult({ action }: { readonly action: ActionState }) {
  return (
    <div class="result" role="status">
      {action.isRunning ? <p class="muted">{agentText.working}</p> : null}
      {action.done === null ? null : <p class="note">{action.done}</p>}
      {action.problem === null ? null : <ProblemNote problem={action.problem} />}
    </div>
  );
}

/** A button for an action that changes the device: it first says what will happen. */
export function ConfirmedAction({
  confirm,
  act,
  ...button
}: Omit<DialogButtonProps, 'children'> & {
  /** Of the button in the dialog. */
  readonly confirm: string;
  readonly act: () => Promise<string>;
}) {
  const { action, isDanger = false } = button;
  return (
    <DialogButton {...button}>
      <DialogButtons>
        <button
          type="button"
          class={isDanger ? 'danger' : 'primary'}
          onClick={(event) => {
            closeDialogOf(event);
            action.run(act);
          }}
        >
          {confirm}
        </button>
      </DialogButtons>
    </DialogButton>
  );
}

interface DialogButtonProps {
  readonly label: string;
  readonly title: string;
  /** What will happen. */
  readonly before: string;
  readonly action: ActionState;
  readonly isPrimary?: boolean;
  readonly isDanger?: boolean;
  readonly children: ComponentChildren;
}

/** A button that opens a dialog, but not while the action runs. */
export function DialogButton({
  label,
  title,
  before,
  action,
  isPrimary = false,
  isDanger = false,
  children,
}: DialogButtonProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        class={isDanger ? 'danger' : isPrimary ? 'primary' : ''}
        aria-haspopup="dialog"
        aria-disabled={action.isRunning}
        onClick={() => {
          if (!action.isRunning) setOpen(true);
        }}
      >
        {label}
      </button>
      {isOpen ? (
        <Dialog title={title} onClose={() => setOpen(false)}>
          <p>
            <Words text={before} />
          </p>
          {children}
        </Dialog>
      ) : null}
    </>
  );
}

/** The buttons at the end of a dialog; the last one closes it. */
export function DialogButtons({ children }: { readonly children: ComponentChildren }) {
  return (
    <div class="row end">
      <button type="button" onClick={closeDialogOf}>
        {agentText.cancel}
      </button>
      {children}
    </div>
  );
}

/** Closing it, instead of removing it, returns the focus to the button that opened it. */
export function closeDialogOf(event: Event): void {
  if (event.target instanceof Element) event.target.closest('dialog')?.close();
}

/** Reads something when it is first shown, and again when `version` changes; the former result stays until then. */
export function useRead<T>(
  read: (signal: AbortSignal) => Promise<T>,
  version: unknown,
): { readonly value: T | null; readonly problem: RequestProblem | null } {
  const [value, setValue] = useState<T | null>(null);
  const [problem, setProblem] = useState<RequestProblem | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    read(stop.signal).then(
      (result) => {
        setValue(() => result);
        setProblem(null);
      },
      (thrown: unknown) => {
        if (stop.signal.aborted) return;
        if (!(thrown instanceof RequestProblem)) throw thrown;
        setProblem(thrown);
      },
    );
    return () => stop.abort();
  }, [version]);
  return { value, problem };
}
