import { useEffect } from 'preact/hooks';
import type {
  AgentRelease,
  AgentUpdate,
  AgentVersions,
  UpdatePhase,
} from '../../../contract/agent-update.ts';
import { jsonBody, requestJson } from '../../shared/api.ts';
import { formatTime } from '../../shared/format.ts';
import { Card, ProblemNote, StateMark } from '../../shared/ui.tsx';
import { agentProgress, agentVersions, status, timeZone } from '../device-store.ts';
import { ActionResult, ConfirmedAction, useAction, useRead, type ActionState } from './action.tsx';
import { agentText } from './agent-text.ts';
import { InstallDialog, type Wanted } from './install-dialog.tsx';
import { withProgress } from './progress.ts';
import { CodeAdvice, ReasonNote } from './reason-note.tsx';
import { TransferSteps } from './transfer-steps.tsx';

const { software: text } = agentText;
const WAY = ['requested', 'downloading', 'verifying', 'installing', 'trial', 'committed'];
/** Those of src/contract/agent-update.ts, in its order: the pages import its types only. */
const PHASES: readonly UpdatePhase[] = [
  'requested',
  'downloading',
  'verifying',
  'waiting',
  'installing',
  'trial',
  'committed',
  'failed',
  'returned',
];

/** The versions of the agent on the device, and updates. */
export function SoftwarePart() {
  // The event stream sends changes only; the status is read again after each connection.
  const { value, problem } = useRead(
    (signal) => requestJson<AgentVersions>('/api/v1/agent', { signal }),
    status.value,
  );
  useEffect(() => {
    if (value !== null) agentVersions.value = value;
  }, [value]);
  const versions = agentVersions.value;
  if (versions === null) return problem === null ? null : <ProblemNote problem={problem} />;
  return (
    <div class="grid">
      <VersionsCard versions={versions} />
      {versions.update === null && versions.banned.length === 0 ? null : (
        <div class="stack wide-gap">
          {versions.update === null ? null : <UpdateCard update={versions.update} />}
          <BannedCard banned={versions.banned} />
        </div>
      )}
    </div>
  );
}

function VersionsCard({ versions }: { readonly versions: AgentVersions }) {
  const action = useAction();
  const { available, auto } = versions;
  return (
    <Card title={text.title}>
      <dl class="slots">
        <Release words={text.running} release={versions.running} isActive />
        <Release words={text.lastGood} release={versions.last_good} />
        <Release words={text.factory} release={versions.factory} />
      </dl>
      {available ? (
        <p class="muted">
          {auto.enabled
            ? text.auto(auto.newest)
            : auto.newest === null
              ? text.manual
              : `${text.newest(auto.newest)} ${text.manual}`}
        </p>
      ) : (
        <div class="note">
          <p>{text.unavailable}</p>
          <p class="small">{text.unavailableHint}</p>
        </div>
      )}
      {auto.error === null ? null : <ReasonNote reason={auto.error} />}
      {available ? <Buttons versions={versions} action={action} /> : null}
      <ActionResult action={action} />
    </Card>
  );
}

function Release({
  words: [name, note],
  release,
  isActive = false,
}: {
  readonly words: readonly [string, string];
  readonly release: AgentRelease | null;
  readonly isActive?: boolean;
}) {
  if (release === null) return null;
  return (
    <div class={`slot ${isActive ? 'active' : ''}`}>
      <dt>
        <strong>{name}</strong> <span class="small muted">{note}</span>
      </dt>
      <dd>
        <span class="strong">{release.version}</span>{' '}
        {release.digest === null ? null : (
          <code class="small muted digest" title={release.digest}>
            {release.digest.slice(0, 19)}…
          </code>
        )}
      </dd>
    </div>
  );
}

function Buttons({ versions, action }: { readonly versions: AgentVersions; readonly action: ActionState }) {
  const hasFormer = versions.installed.some(({ version }) => version !== versions.running.version);
  return (
    <>
      <div class="row">
        <InstallDialog
          label={text.install}
          title={text.installTitle}
          before={text.installBefore}
          name={null}
          isRefused={() => false}
          action={action}
          install={install}
        />
        {hasFormer ? (
          <ConfirmedAction
            label={text.rollback}
            title={text.rollbackTitle}
            before={text.rollbackBefore(versions.running.version)}
            confirm={text.rollback}
            isDanger
            action={action}
            act={async () => {
              const { update } = await requestJson<{ update: AgentUpdate }>('/api/v1/agent/rollback', {
                method: 'POST',
              });
              noteUpdate(update);
              return text.rollbackStarted(update.version);
            }}
          />
        ) : null}
      </div>
      {hasFormer ? null : <p class="small muted">{text.noFormer}</p>}
    </>
  );
}

async function install({ version, digest }: Wanted): Promise<string> {
  const body = digest === undefined ? { version } : { version, digest };
  const { update } = await requestJson<{ update: AgentUpdate }>(
    '/api/v1/agent/install',
    jsonBody('POST', body),
  );
  noteUpdate(update);
  return text.started(update.version);
}

function noteUpdate(update: AgentUpdate): void {
  if (agentVersions.value !== null) agentVersions.value = { ...agentVersions.value, update };
}

/** The current or the last update, live. */
function UpdateCard({ update: stored }: { readonly update: AgentUpdate }) {
  const update = withProgress(stored, agentProgress.value, PHASES);
  const title = update.action === 'rollback' ? text.back(update.version) : text.update(update.version);
  const way =
    update.action === 'rollback'
      ? WAY.filter((phase) => phase !== 'downloading' && phase !== 'verifying')
      : WAY;
  const waits = update.waiting_for.map((one) => text.waits[one] ?? one);
  return (
    <Card
      title={update.in_progress ? title : text.lastUpdate(title)}
      side={<span class="small muted">{formatTime(update.at, timeZone.value)}</span>}
    >
      {update.automatic ? <p class="small muted">{text.automatic}</p> : null}
      <TransferSteps
        transfer={update}
        way={update.phase === 'waiting' ? WAY.toSpliced(3, 0, 'waiting') : way}
        texts={text.phases}
      >
        {update.phase === 'trial' && waits.length > 0 ? (
          <p class="small muted">{text.waitsFor(waits.join(', '))}</p>
        ) : null}
      </TransferSteps>
      {update.reason === null ? null : <ReasonNote reason={update.reason} />}
    </Card>
  );
}

function BannedCard({ banned }: { readonly banned: AgentVersions['banned'] }) {
  if (banned.length === 0) return null;
  return (
    <Card title={text.banned}>
      <p class="muted">{text.bannedNote}</p>
      <ul class="problems">
        {banned.map((one) => (
          <li key={one.digest} class="problem warn">
            <div class="row spread">
              <h3>{one.version}</h3>
              <StateMark tone="warn">{text.isBanned}</StateMark>
            </div>
            <CodeAdvice code={one.reason} />
            <p class="small muted">{formatTime(one.at, timeZone.value)}</p>
          </li>
        ))}
      </ul>
    </Card>
  );
}
