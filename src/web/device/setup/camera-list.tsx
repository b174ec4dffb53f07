import { useState } from 'preact/hooks';
import type { CameraView } from '../../../contract/openapi/views.ts';
import { addressOf } from '../../shared/route.ts';
import { text } from '../../shared/text.ts';
import { Dialog, StateMark, type Tone } from '../../shared/ui.tsx';
import { cameras } from '../device-store.ts';
import type { CameraSettings } from './camera-draft.ts';
import { Icon } from './icons.tsx';
import { cameraSettings, config, isBusy, tryChange } from './setup-store.ts';
import { useFrame } from './use-frame.ts';

const FRAME_EVERY_MS = 15_000;
const TONES: Readonly<Record<CameraView['state']['state'], Tone>> = {
  up: 'ok',
  starting: 'off',
  down: 'bad',
  frozen: 'warn',
  obstructed: 'warn',
};

/** All cameras of the device, each with its newest frame. */
export function CameraList() {
  const [removing, setRemoving] = useState<string | null>(null);
  const { list } = text.setup;
  const isTrial = config.value?.trial != null;
  return (
    <section class="stack" aria-label={list.title}>
      <div class="row spread">
        <h2 data-begin tabIndex={-1}>
          {list.title}
        </h2>
        {isTrial ? (
          <span class="small muted">{list.trialFirst}</span>
        ) : (
          <a class="button primary" href={addressOf('setup', { add: '1', edit: null })}>
            <Icon name="plus" /> {list.add}
          </a>
        )}
      </div>
      <ul class="cameras">
        {cameraSettings.value.map((camera) => (
          <CameraCard
            key={camera.id}
            camera={camera}
            isTrial={isTrial}
            onRemove={() => setRemoving(camera.id)}
          />
        ))}
      </ul>
      {cameraSettings.value.length === 0 ? <p class="muted">{list.none}</p> : null}
      {removing === null ? null : (
        <Dialog title={list.removeTitle(removing)} onClose={() => setRemoving(null)}>
          <p>{list.removeText}</p>
          <div class="row">
            <button
              type="button"
              class="danger"
              disabled={isBusy.value}
              onClick={() => {
                setRemoving(null);
                void tryChange({ cameras: [{ id: removing, remove: true }] });
              }}
            >
              {list.removeConfirm}
            </button>
            <button type="button" onClick={() => setRemoving(null)}>
              {text.setup.form.cancel}
            </button>
          </div>
        </Dialog>
      )}
    </section>
  );
}

function CameraCard(props: {
  readonly camera: CameraSettings;
  readonly isTrial: boolean;
  readonly onRemove: () => void;
}) {
  const { camera, isTrial, onRemove } = props;
  const { id, kind, url } = camera;
  const { list, form } = text.setup;
  const view = cameras.value.find((one) => one.id === id);
  // A camera may be observed each second: its picture here is for recognising it.
  const frame = useFrame(id, 480, FRAME_EVERY_MS * Math.ceil(cameras.value.length / 4));
  const isLocal = config.value?.local_cameras?.includes(id) === true;
  return (
    <li class="card camera">
      {frame === null ? (
        <div class="thumb none">{text.now.noFrame}</div>
      ) : (
        <img class="thumb" src={frame} alt={list.frameOf(id)} />
      )}
      <div class="stack camera-text">
        <div class="row spread">
          <h3>{id}</h3>
          {view === undefined ? null : (
            <StateMark tone={TONES[view.state.state]}>{list.states[view.state.state]}</StateMark>
          )}
        </div>
        <p class="small muted address">
          {form.kinds[kind] ?? kind}
          {url === null ? '' : `, ${url}`}
        </p>
        <p class="small">
          {view?.schedule}
          {view?.failure ? (
            <span class="failure">
              {view.failure.message}. {view.failure.hint}
            </span>
          ) : null}
        </p>
        {isTrial ? null : (
          <div class="row">
            <a class="button" href={addressOf('setup', { edit: id, add: null })} aria-label={list.editOf(id)}>
              {list.edit}
            </a>
            {isLocal ? (
              <span class="small muted">{list.local}</span>
            ) : (
              <button type="button" class="danger" aria-label={list.removeOf(id)} onClick={onRemove}>
                {list.remove}
              </button>
            )}
          </div>
        )}
      </div>
    </li>
  );
}
