import { useEffect, useState } from 'preact/hooks';
import { formatDuration } from '../shared/format.ts';
import { text } from '../shared/text.ts';
import { askForPicture } from './commands.ts';
import { StandingMark } from './condition-mark.tsx';
import type { FleetCamera } from './device-cameras.ts';
import type { FleetDevice } from './device.ts';
import { fleetText } from './fleet-text.ts';
import { HeightBar, HeightText } from './height-bar.tsx';

const texts = fleetText.device;

/** One camera: its state, its latest observation, and its newest picture on request. */
export function CameraCard({
  device,
  camera,
  nowMs,
  isPresent,
}: {
  readonly device: FleetDevice;
  readonly camera: FleetCamera;
  readonly nowMs: number;
  /** False when the device is away: the state of the camera is then unknown. */
  readonly isPresent: boolean;
}) {
  const { observation, observedMs, lastFrameMs, dueMs } = camera;
  const reasons = observation?.reasons ?? [];
  const facts = [
    lastFrameMs === null ? null : texts.frame(formatDuration((nowMs - lastFrameMs) / 1000)),
    dueMs === null || dueMs < nowMs ? null : texts.nextSlot(formatDuration((dueMs - nowMs) / 1000)),
    observation?.quality01 == null || observation.heightM === null
      ? null
      : texts.quality(`${(100 * observation.quality01).toFixed(0)}\u00a0%`),
    observation?.labels == null || observation.labels === 0
      ? null
      : texts.readings(String(observation.labels)),
    camera.kind,
  ].filter((fact) => fact !== null);
  return (
    <div class="camera stack tight">
      <div class="row spread">
        <h3>{camera.id}</h3>
        {isPresent ? <StandingMark standing={camera.standing} /> : null}
      </div>
      {camera.reason === null || !isPresent ? null : <p>{reasonText(camera.reason)}</p>}
      <div class="readings">
        {observation?.heightM == null ? null : (
          <p class="reading">
            <HeightText observation={observation} />
            <HeightBar observation={observation} />
          </p>
        )}
        {observation?.periodS == null ? null : (
          <p class="reading">
            <strong>{text.now.seconds(observation.periodS.toFixed(1))}</strong>
            {observation.periodLowS === null || observation.periodHighS === null ? null : (
              <span class="muted range">
                {observation.periodLowS.toFixed(1)}–{observation.periodHighS.toFixed(1)}
              </span>
            )}
          </p>
        )}
        {observedMs === null || observation?.heightM == null ? null : (
          <p class="muted small">{formatDuration((nowMs - observedMs) / 1000)}</p>
        )}
      </div>
      {observation !== null && observation.heightM === null && reasons.length > 0 ? (
        <p class="muted">
          {texts.noHeight}: {reasons.map(reasonText).join('; ')}
        </p>
      ) : null}
      <p class="muted small">{facts.join(' · ')}</p>
      {device.info?.commands.includes('image') === true && isPresent ? (
        <Picture device={device} camera={camera.id} />
      ) : null}
    </div>
  );
}

const REASONS: Readonly<Record<string, string>> = text.reasons;
const reasonText = (code: string): string =>
  Object.hasOwn(REASONS, code) ? (REASONS[code] ?? code) : code.replaceAll('_', ' ');

/** The newest picture of the camera, which the device sends when it is asked. */
function Picture({ device, camera }: { readonly device: FleetDevice; readonly camera: string }) {
  const [state, setState] = useState<'idle' | 'asking' | 'shown' | 'failed'>('idle');
  const [address, setAddress] = useState('');
  useEffect(
    () => () => {
      if (address !== '') URL.revokeObjectURL(address);
    },
    [address],
  );
  const ask = (): void => {
    setState('asking');
    askForPicture(device.name, camera).then(
      (jpeg) => {
        setAddress(URL.createObjectURL(jpeg));
        setState('shown');
      },
      () => setState('failed'),
    );
  };
  return (
    <>
      {state === 'shown' ? <img class="picture" src={address} alt={texts.picture(camera)} /> : null}
      <div class="row">
        <button type="button" disabled={state === 'asking'} onClick={ask}>
          {state === 'asking' ? texts.asking : texts.askPicture}
        </button>
        {state === 'failed' ? <span role="alert">{texts.noAnswer}</span> : null}
      </div>
    </>
  );
}
