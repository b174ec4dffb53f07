import type { CameraView } from '../../../contract/openapi/views.ts';
import { formatHeight } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { addressOf } from '../../shared/route.ts';
import { text } from '../../shared/text.ts';
import { StateMark, type Tone } from '../../shared/ui.tsx';
import { camera, cameras } from '../device-store.ts';

const TONES: Readonly<Record<CameraView['state']['state'], Tone>> = {
  up: 'ok',
  starting: 'off',
  frozen: 'warn',
  obstructed: 'warn',
  down: 'bad',
};

/** All cameras with their heights, to choose one. */
export function CameraStrip() {
  if (cameras.value.length < 2) return null;
  return (
    <nav class="camera-strip" aria-label={text.head.camera}>
      {cameras.value.map((one) => (
        <a
          key={one.id}
          href={addressOf('now', { camera: one.id })}
          aria-current={one.id === camera.value?.id ? 'true' : undefined}
        >
          <span class="name">{one.id}</span>
          <CameraHeight camera={one} />
        </a>
      ))}
    </nav>
  );
}

function CameraHeight({ camera: { latest, state } }: { readonly camera: CameraView }) {
  if (state.state !== 'up')
    return <StateMark tone={TONES[state.state]}>{text.now.cameraStates[state.state]}</StateMark>;
  const wave = latest?.wave;
  if (wave?.height_m == null) return <span class="muted">{text.now.noHeight}</span>;
  const isUsual = wave.height_basis === 'site_median';
  const notes = [
    ...(isUsual ? [text.now.usualShort] : []),
    ...(latest?.simulated === true ? [text.simulated.toLowerCase()] : []),
  ];
  return (
    <span class="number">
      <strong class={isUsual ? 'muted' : ''}>{formatHeight(wave.height_m, unit.value)}</strong>
      {notes.length === 0 ? null : <small class="muted"> {notes.join(', ')}</small>}
    </span>
  );
}
