import { useState } from 'preact/hooks';
import { text } from '../../shared/text.ts';
import { Field } from '../../shared/ui.tsx';
import { KINDS, type CameraSettings, type DraftFault, type Kind, type SourceDraft } from './camera-draft.ts';

interface Props {
  readonly before: CameraSettings | null;
  /** Null: the source of the configured camera stays as it is. */
  readonly source: SourceDraft | null;
  readonly fault: DraftFault | undefined;
  readonly onChange: (source: SourceDraft | null) => void;
  readonly onOpen: () => void;
}

/** Where the frames come from. The present address and login are not shown: another source is typed as a whole. */
export function SourceFields({ before, source, fault, onChange, onOpen }: Props) {
  const { form } = text.setup;
  if (source === null && before !== null) return <PresentSource before={before} onOpen={onOpen} />;
  if (source === null) return null;
  const set = (change: Partial<SourceDraft>): void => onChange({ ...source, ...change });
  return (
    <>
      <Field label={form.kind} hint={form.kindHints[source.kind]}>
        {(ids) => (
          <select
            {...ids}
            value={source.kind}
            onChange={(event) => {
              const { value } = event.currentTarget;
              set({ kind: KINDS.find((kind) => kind === value) ?? 'rtsp' });
            }}
          >
            {KINDS.map((kind) => (
              <option key={kind} value={kind}>
                {form.kinds[kind]}
              </option>
            ))}
          </select>
        )}
      </Field>
      {source.kind === 'simulated' ? null : (
        <Address source={source} kind={source.kind} fault={fault} set={set} />
      )}
      {before === null ? null : (
        <button type="button" class="quiet fit" onClick={() => onChange(null)}>
          {form.keepSource}
        </button>
      )}
    </>
  );
}

function PresentSource({ before, onOpen }: { readonly before: CameraSettings; readonly onOpen: () => void }) {
  const { form } = text.setup;
  const isLocked = !KINDS.some((kind) => kind === before.kind);
  return (
    <div class="row spread">
      <p>
        <strong>{form.kinds[before.kind] ?? before.kind}</strong>
        <br />
        <span class="muted address">{before.url ?? (isLocked ? form.localSource : form.noAddress)}</span>
      </p>
      <button type="button" onClick={onOpen}>
        {form.changeSource}
      </button>
    </div>
  );
}

function Address(props: {
  readonly source: SourceDraft;
  readonly kind: Kind;
  readonly fault: DraftFault | undefined;
  readonly set: (change: Partial<SourceDraft>) => void;
}) {
  const { source, kind, fault, set } = props;
  const { form } = text.setup;
  const [isShown, setShown] = useState(false);
  return (
    <>
      <Field label={form.url} hint={form.urlHints[kind] ?? ''} fault={fault ? form.faults[fault] : null}>
        {(ids) => (
          <input
            {...ids}
            type="url"
            value={source.url}
            placeholder={form.urlExamples[kind]}
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => set({ url: event.currentTarget.value })}
          />
        )}
      </Field>
      <div class="pair">
        <Field label={form.username} hint={form.loginHint}>
          {(ids) => (
            <input
              {...ids}
              value={source.username}
              autocomplete="off"
              spellcheck={false}
              onInput={(event) => set({ username: event.currentTarget.value })}
            />
          )}
        </Field>
        <Field label={form.password}>
          {(ids) => (
            <span class="password">
              <input
                {...ids}
                {...(isShown ? { type: 'text' as const } : { type: 'password' as const })}
                value={source.password}
                autocomplete="new-password"
                onInput={(event) => set({ password: event.currentTarget.value })}
              />
              <button type="button" class="quiet" aria-pressed={isShown} onClick={() => setShown(!isShown)}>
                {form.show}
              </button>
            </span>
          )}
        </Field>
      </div>
    </>
  );
}
