import './now.css';
import { camera, status } from '../device-store.ts';
import { text } from '../../shared/text.ts';
import { CameraNote } from './camera-note.tsx';
import { CameraStrip } from './camera-strip.tsx';
import { Frame } from './frame.tsx';
import { HeightCard } from './height-card.tsx';
import { LabelCard } from './label/label-card.tsx';
import { SeaCard } from './sea-card.tsx';

/** The newest frame, what the gauge reads in it, and what a person sees in it. */
export function NowView() {
  const shown = camera.value;
  // The notes of the page say why nothing came.
  if (shown === null) return status.value === null ? null : <p class="note">{text.now.noCamera}</p>;
  return (
    <>
      <CameraStrip />
      <div class="now">
        <div class="now-frame">
          <CameraNote camera={shown} />
          <Frame camera={shown} />
        </div>
        <HeightCard camera={shown} />
        <SeaCard camera={shown} />
        <LabelCard key={shown.id} camera={shown} />
      </div>
    </>
  );
}
