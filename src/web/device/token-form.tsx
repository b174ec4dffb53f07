import { useState } from 'preact/hooks';
import { hasToken, setToken } from '../shared/api.ts';
import { text } from '../shared/text.ts';
import { Field } from '../shared/ui.tsx';

/** Asks for the token of the agent. */
export function TokenForm() {
  const [token, setText] = useState('');
  const fault = hasToken() ? text.token.wrong : null;
  return (
    <main class="token">
      <form
        class="card stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim() !== '') setToken(token.trim());
        }}
      >
        <h1>{text.token.title}</h1>
        <Field label={text.token.label} hint={text.token.hint} fault={fault}>
          {(ids) => (
            <input
              {...ids}
              type="password"
              autocomplete="off"
              value={token}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </Field>
        <button type="submit" class="primary">
          {text.token.submit}
        </button>
      </form>
    </main>
  );
}
