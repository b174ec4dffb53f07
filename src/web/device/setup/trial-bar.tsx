import { text } from '../../shared/text.ts';
import { Icon } from './icons.tsx';
import {
  config,
  CONFIRM_WITHIN_S,
  isBusy,
  keepChange,
  notice,
  secondsLeft,
  undoChange,
} from './setup-store.ts';

/** The change on trial with its countdown, or how the last one ended. */
export function TrialBar() {
  const trial = config.value?.trial ?? null;
  const setup = text.setup.trial;
  if (trial === null) return <NoticeBar />;
  const left = Math.ceil(secondsLeft.value ?? trial.seconds_left);
  return (
    <section class="trial" aria-label={setup.title} data-begin tabIndex={-1}>
      <div class="trial-text">
        <p>
          <strong>{setup.title}</strong>{' '}
          <span class="muted">{trial.changed.map(describeKey).join(', ')}</span>
        </p>
        <p class="small">
          {setup.undoneIn}{' '}
          <strong class="number" role="timer" data-seconds={left}>
            {formatLeft(left)}
          </strong>
        </p>
      </div>
      <div class="row">
        <button type="button" class="primary" disabled={isBusy.value} onClick={() => void keepChange()}>
          <Icon name="check" /> {setup.keep}
        </button>
        <button type="button" disabled={isBusy.value} onClick={() => void undoChange()}>
          <Icon name="undo" /> {setup.undo}
        </button>
      </div>
      <span class="time-left" aria-hidden="true" style={{ width: `${(100 * left) / CONFIRM_WITHIN_S}%` }} />
    </section>
  );
}

function NoticeBar() {
  const shown = notice.value;
  const setup = text.setup.trial;
  const message =
    shown === null
      ? null
      : shown.kind === 'undone'
        ? (setup.undone[shown.reason ?? ''] ?? setup.undoneUnknown)
        : setup[shown.kind];
  const isBad = shown?.kind === 'undone' && shown.reason !== 'withdrawn';
  return (
    <div role="status" class="notice">
      {message === null ? null : (
        <div class={`note row spread ${isBad ? 'warn' : ''}`}>
          <p>{message}</p>
          <button type="button" class="quiet" onClick={() => (notice.value = null)}>
            {setup.dismiss}
          </button>
        </div>
      )}
    </div>
  );
}

/** `1:05`. */
const formatLeft = (seconds: number): string =>
  `${String(Math.floor(seconds / 60))}:${String(seconds % 60).padStart(2, '0')}`;

/** `cameras.north.roi` as `north: region`; other keys as they are. */
function describeKey(key: string): string {
  const [, id = '', name = ''] = /^cameras\.(.+?)(?:\.([A-Za-z]+))?$/.exec(key) ?? [];
  if (id === '') return key;
  const known = text.setup.trial.keys[name];
  return name === '' ? id : `${id}: ${known ?? name}`;
}
