import type { ModelState } from '../../../contract/states.ts';
import { formatTime } from '../../shared/format.ts';
import { Card, StateMark } from '../../shared/ui.tsx';
import { model, timeZone } from '../device-store.ts';
import { ActionResult, ConfirmedAction, useAction, type ActionState } from './action.tsx';
import { agentText } from './agent-text.ts';
import { InstallCard } from './install-card.tsx';
import { InstallDialog, type Wanted } from './install-dialog.tsx';
import { post } from './model-requests.ts';
import { ProvidersCard } from './providers-card.tsx';
import { CodeAdvice } from './reason-note.tsx';
import { Words } from './words.tsx';

type Ref = NonNullable<ModelState['active']>;
const { model: text } = agentText;
const SLOTS = ['active', 'candidate', 'previous', 'factory'] as const;

const nameOf = ({ name, version }: Pick<Ref, 'name' | 'version'>): string => `${name} ${version}`;

/** The models on the device, and what can be done with them. */
export function ModelPart() {
  const state = model.value;
  const action = useAction();
  if (state === null) return <p class="muted">{agentText.waitsForAgent}</p>;
  return (
    <div class="grid">
      <div class="stack wide-gap">
        <SlotsCard state={state} action={action} />
        <RefusedCard refused={state.refused ?? []} action={action} />
      </div>
      <div class="stack wide-gap">
        {state.install == null ? null : <InstallCard install={state.install} active={state.active} />}
        <ProvidersCard digest={state.active?.digest ?? null} />
      </div>
    </div>
  );
}

function SlotsCard({ state, action }: { readonly state: ModelState; readonly action: ActionState }) {
  const { active, previous, slots } = state;
  const isSigned = state.trusted !== false;
  return (
    <Card
      title={text.title}
      side={
        active === null ? null : (
          <StateMark tone={isSigned ? 'ok' : 'warn'}>{isSigned ? text.trusted : text.untrusted}</StateMark>
        )
      }
    >
      <dl class="slots">
        {SLOTS.filter((slot) => slot !== 'candidate' || slots.candidate !== null).map((slot) => {
          const [name, note] = text.slots[slot];
          const ref = slots[slot];
          return (
            <div key={slot} class={`slot ${slot}`}>
              <dt>
                <strong>{name}</strong> <span class="small muted">{note}</span>
              </dt>
              <dd>
                {ref === null ? (
                  <span class="muted">{text.none}</span>
                ) : (
                  <>
                    <span class="strong">{nameOf(ref)}</span>{' '}
                    <code class="small muted digest" title={ref.digest}>
                      {ref.digest.slice(0, 19)}…
                    </code>
                  </>
                )}
              </dd>
            </div>
          );
        })}
      </dl>
      {state.pinned === true ? (
        <p class="note warn">
          <Words text={text.pinned} />
        </p>
      ) : null}
      <div class="row">
        <InstallDialog
          label={text.install}
          title={text.installTitle}
          before={text.installBefore}
          name={active?.name ?? ''}
          isRefused={(name, version) =>
            (state.refused ?? []).some((one) => one.name === name && one.version === version)
          }
          action={action}
          install={installModel}
        />
        {active === null ? null : (
          <ConfirmedAction
            label={text.reload}
            title={text.reloadTitle}
            before={text.reloadBefore}
            confirm={text.reload}
            action={action}
            act={async () => {
              const { model: served } = await post<{ model: Ref }>('reload');
              return text.reloadDone(nameOf(served));
            }}
          />
        )}
        {previous === null ? null : (
          <ConfirmedAction
            label={text.rollback(nameOf(previous))}
            title={text.rollbackTitle}
            before={text.rollbackBefore(active === null ? text.none : nameOf(active), nameOf(previous))}
            confirm={text.rollback(nameOf(previous))}
            action={action}
            act={async () => {
              const { model: served } = await post<{ model: Ref }>('rollback');
              return text.rollbackDone(nameOf(served));
            }}
          />
        )}
      </div>
      {previous === null ? <p class="small muted">{text.noPrevious}</p> : null}
      <ActionResult action={action} />
    </Card>
  );
}

async function installModel(wanted: Wanted): Promise<string> {
  await post('install', wanted);
  return text.started(nameOf(wanted));
}

function RefusedCard({
  refused,
  action,
}: {
  readonly refused: NonNullable<ModelState['refused']>;
  readonly action: ActionState;
}) {
  if (refused.length === 0) return null;
  const { refused: words } = agentText;
  return (
    <Card title={words.title}>
      <p class="muted">{words.note}</p>
      <ul class="problems">
        {refused.map((one) => (
          <li key={one.digest} class="problem warn">
            <h3>{nameOf(one)}</h3>
            <CodeAdvice code={one.code} />
            <p class="small muted">
              {words.failedAt(formatTime(one.at, timeZone.value))} · <code>{one.code}</code>
            </p>
            <div>
              <ConfirmedAction
                label={words.again}
                title={text.installTitle}
                before={text.installBefore}
                confirm={words.again}
                isDanger
                action={action}
                act={() =>
                  installModel({
                    name: one.name,
                    version: one.version,
                    digest: one.digest,
                    clear_failed: true,
                  })
                }
              />
            </div>
          </li>
        ))}
      </ul>
    </Card>
  );
}
