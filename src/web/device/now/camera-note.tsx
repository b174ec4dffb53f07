import type { CameraView } from '../../../contract/openapi/views.ts';
import { formatTime } from '../../shared/format.ts';
import { reasonText, text } from '../../shared/text.ts';
import { timeZone } from '../device-store.ts';

/** What is wrong with the camera, and what a person can do about it. */
export function CameraNote({ camera: { state, failure } }: { readonly camera: CameraView }) {
  if (state.state === 'up' || state.state === 'starting') return null;
  const reason = state.reason === null ? text.now.cameraStates[state.state] : reasonText(state.reason);
  return (
    <div class={`note ${state.state === 'down' ? 'bad' : 'warn'}`} role="status">
      <p>{text.now.cameraFault(reason, formatTime(state.since, timeZone.value))}</p>
      {failure == null || failure.hint === '' ? null : <p class="small">{failure.hint}</p>}
    </div>
  );
}
