import { useState } from 'preact/hooks';
import { Field } from '../../shared/ui.tsx';
import { closeDialogOf, DialogButton, DialogButtons, type ActionState } from './action.tsx';
import { agentText } from './agent-text.ts';

const { model: text } = agentText;

export interface Wanted {
  readonly name: string;
  readonly version: string;
  readonly digest?: string;
  readonly clear_failed?: true;
}

/** The forms that the agent accepts: src/contract/model.ts. It checks again. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const VERSION = /^\d{1,9}\.\d{1,9}\.\d{1,9}([-+][0-9A-Za-z.+-]+)?$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** A button, and the dialog that says what an install does and asks what to install. */
export function InstallDialog({
  label,
  title,
  before,
  name: usualName,
  isRefused,
  action,
  install,
}: {
  readonly label: string;
  readonly title: string;
  readonly before: string;
  /** The name that most want; null: the thing to install has no name. */
  readonly name: string | null;
  readonly isRefused: (name: string, version: string) => boolean;
  readonly action: ActionState;
  readonly install: (wanted: Wanted) => Promise<string>;
}) {
  return (
    <DialogButton label={label} title={title} before={before} action={action} isPrimary>
      <InstallForm
        usualName={usualName}
        isRefused={isRefused}
        onSubmit={(wanted) => action.run(() => install(wanted))}
      />
    </DialogButton>
  );
}

function InstallForm({
  usualName,
  isRefused,
  onSubmit,
}: {
  readonly usualName: string | null;
  readonly isRefused: (name: string, version: string) => boolean;
  readonly onSubmit: (wanted: Wanted) => void;
}) {
  const [name, setName] = useState(usualName ?? '');
  const [version, setVersion] = useState('');
  const [digest, setDigest] = useState('');
  const [clearFailed, setClearFailed] = useState(false);
  const [isTried, setTried] = useState(false);
  const faults = {
    name: usualName === null || NAME.test(name.trim()) ? null : text.nameFault,
    version: VERSION.test(version.trim()) ? null : text.versionFault,
    digest: digest.trim() === '' || DIGEST.test(digest.trim()) ? null : text.digestFault,
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    setTried(true);
    if (Object.values(faults).some((fault) => fault !== null)) return;
    closeDialogOf(event);
    onSubmit({
      name: name.trim(),
      version: version.trim(),
      ...(digest.trim() === '' ? {} : { digest: digest.trim() }),
      ...(clearFailed ? { clear_failed: true as const } : {}),
    });
  };
  const input = (value: string, set: (value: string) => void, placeholder?: string) =>
    function Input(ids: Readonly<Record<string, string | boolean>>) {
      return (
        <input
          {...ids}
          value={value}
          placeholder={placeholder}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          onInput={(event) => set(event.currentTarget.value)}
        />
      );
    };
  return (
    <form class="stack" noValidate onSubmit={submit}>
      {usualName === null ? null : (
        <Field label={text.name} fault={isTried ? faults.name : null}>
          {input(name, setName)}
        </Field>
      )}
      <Field label={text.version} hint={text.versionHint} fault={isTried ? faults.version : null}>
        {input(version, setVersion)}
      </Field>
      <Field label={text.digest} hint={text.digestHint} fault={isTried ? faults.digest : null}>
        {input(digest, setDigest)}
      </Field>
      {isRefused(name.trim(), version.trim()) ? (
        <label class="row check">
          <input
            type="checkbox"
            checked={clearFailed}
            onChange={(event) => setClearFailed(event.currentTarget.checked)}
          />
          {text.clearFailed}
        </label>
      ) : null}
      <DialogButtons>
        <button type="submit" class="primary">
          {text.start}
        </button>
      </DialogButtons>
    </form>
  );
}
