import { useState } from 'preact/hooks';
import { Logo } from '../shared/logo.tsx';
import { route } from '../shared/route.ts';
import { Field } from '../shared/ui.tsx';
import { link } from './connection.ts';
import { fleetText } from './fleet-text.ts';
import { openLogin, suggestedLogin } from './login.ts';
import { served } from './served.ts';

const { connect } = fleetText;

/** Asks for the broker and the login. */
export function ConnectForm() {
  const [form, setForm] = useState(() => suggestedLogin(route.value.params));
  const [fault, setFault] = useState<string | null>(null);
  const isPlain = served === null && /^ws:\/\/(?!localhost|127\.|\[::1\])/i.test(form.broker);
  const submit = (event: Event): void => {
    event.preventDefault();
    if (served === null && !isBrokerAddress(form.broker)) {
      setFault(connect.brokerFault);
      return;
    }
    openLogin({ ...form, broker: form.broker.trim(), base: form.base.trim().replace(/\/+$/, '') });
  };
  return (
    <main class="connect" id="content">
      <form class="card stack" onSubmit={submit}>
        <div class="brand">
          <Logo />
          <h1>{connect.title}</h1>
        </div>
        <p class="muted">{connect.explanation}</p>
        {link.value.kind === 'failed' ? (
          <p class="note bad" role="alert">
            {link.value.reason}
          </p>
        ) : null}
        {served === null ? (
          <Field label={connect.broker} hint={connect.brokerHint} fault={fault}>
            {(ids) => (
              <input
                {...ids}
                type="url"
                inputMode="url"
                autocomplete="url"
                placeholder="wss://"
                value={form.broker}
                onInput={(event) => {
                  setFault(null);
                  setForm({ ...form, broker: event.currentTarget.value });
                }}
              />
            )}
          </Field>
        ) : (
          <div class="field">
            <span class="label">{connect.broker}</span>
            <p>{served.broker}</p>
            <p class="small muted">{connect.brokerServed}</p>
          </div>
        )}
        {isPlain ? <p class="note warn small">{connect.plainNote}</p> : null}
        <div class="pair">
          <Field label={connect.username}>
            {(ids) => (
              <input
                {...ids}
                type="text"
                autocomplete="username"
                autocapitalize="none"
                spellcheck={false}
                value={form.username}
                onInput={(event) => setForm({ ...form, username: event.currentTarget.value })}
              />
            )}
          </Field>
          <Field label={connect.password} hint={connect.passwordHint}>
            {(ids) => (
              <input
                {...ids}
                type="password"
                autocomplete="current-password"
                value={form.password}
                onInput={(event) => setForm({ ...form, password: event.currentTarget.value })}
              />
            )}
          </Field>
        </div>
        <details>
          <summary>{connect.more}</summary>
          <Field label={connect.base}>
            {(ids) => (
              <input
                {...ids}
                type="text"
                spellcheck={false}
                value={form.base}
                onInput={(event) => setForm({ ...form, base: event.currentTarget.value })}
              />
            )}
          </Field>
        </details>
        <button type="submit" class="primary">
          {connect.submit}
        </button>
        {served === null ? (
          <p class="small muted">
            {connect.noWebSocket} <code>swellsight fleet serve --broker mqtts://…</code>
          </p>
        ) : null}
      </form>
    </main>
  );
}

const isBrokerAddress = (text: string): boolean => {
  const url = URL.parse(text.trim());
  return url !== null && /^wss?:$/.test(url.protocol) && url.hostname !== '';
};
