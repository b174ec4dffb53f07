import type { CameraView } from '../../../contract/openapi/views.ts';
import { formatTime } from '../../shared/format.ts';
import { text } from '../../shared/text.ts';
import { StateMark } from '../../shared/ui.tsx';
import { timeZone } from '../device-store.ts';
import { Age } from './age.tsx';
import { isHeld, shownFrame, useNewestFrame } from './shown-frame.ts';

/** The newest frame with its age. Its space does not depend on the image, so that nothing moves when it arrives. */
export function Frame({ camera }: { readonly camera: CameraView }) {
  useNewestFrame(camera);
  const frame = shownFrame.value;
  const shown = frame?.camera === camera.id ? frame : null;
  const at = shown?.record?.captured_at;
  const time = at === undefined ? '' : formatTime(at, timeZone.value);
  return (
    <figure class="frame">
      {shown === null ? (
        <div class="no-frame">{text.now.noFrame}</div>
      ) : (
        <img src={shown.url} alt={text.now.frameOf(camera.id, time)} width="1280" height="720" />
      )}
      <figcaption>
        {at === undefined ? null : (
          <span class="number">
            {text.now.frameAge} <Age at={at} />
          </span>
        )}
        {isHeld.value ? <StateMark tone="off">{text.now.held}</StateMark> : null}
        {camera.kind === 'simulated' ? <StateMark tone="warn">{text.simulated}</StateMark> : null}
      </figcaption>
    </figure>
  );
}
