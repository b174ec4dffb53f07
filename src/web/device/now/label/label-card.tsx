import './label.css';
import { useEffect, useRef } from 'preact/hooks';
import type { CameraView } from '../../../../contract/openapi/views.ts';
import { formatTime } from '../../../shared/format.ts';
import { lazyView } from '../../../shared/lazy-view.tsx';
import { observer, SCALES, scale, unit } from '../../../shared/preferences.ts';
import { reasonText, text } from '../../../shared/text.ts';
import { Card, Choice } from '../../../shared/ui.tsx';
import { timeZone } from '../../device-store.ts';
import { isHeld, shownFrame, type ShownFrame } from '../shown-frame.ts';
import { CalibrationProgress } from './calibration-progress.tsx';
import { openDialog } from './open-dialog.ts';
import { OutcomeLine } from './outcome-line.tsx';
import { labels, readingOf, readLabels, saveReading } from './readings.ts';
import { saidValue } from './said.ts';
import { ValuePicker } from './value-picker.tsx';
import { seenAt, type Seen } from './values.ts';

const Dialogs = lazyView(() => import('./dialogs.tsx').then(({ LabelDialogs }) => LabelDialogs));

/** "I see … m": one tap labels the frame that the person sees. */
export function LabelCard({ camera }: { readonly camera: CameraView }) {
  const frame = shownFrame.value?.camera === camera.id ? shownFrame.value : null;
  const { labels: count } = camera.calibration;
  useEffect(() => {
    readLabels(camera.id).catch(() => undefined);
  }, [camera.id, count]);
  useEffect(() => () => void (isHeld.value = false), []);
  const pickFrame = useSeenFrame(frame);
  const known = labels.value?.camera === camera.id ? labels.value.list : [];
  const label = known.find((one) => one.observation_id === frame?.observationId) ?? null;
  return (
    <Card
      class="label"
      title={text.label.title(unit.value)}
      side={
        <Choice
          label={text.label.scale}
          choices={SCALES.map((value) => ({ value, text: text.label.scales[value] }))}
          value={scale.value}
          onChange={(value) => (scale.value = value)}
        />
      }
    >
      <OutcomeLine idle={<Invitation frame={frame} isRead={label !== null} />} camera={camera.id} />
      {frame !== null && canBeRead(frame) ? (
        <ValuePicker
          pickTarget={pickFrame}
          estimateM={frame.record?.wave.height_m ?? camera.latest?.wave.height_m ?? null}
          pressed={label === null ? null : saidValue(label, unit.value, scale.value)}
          onHold={(isOn) => (isHeld.value = isOn)}
          onRead={(target, value) =>
            saveReading(
              readingOf(
                {
                  camera: target.camera,
                  observationId: target.observationId,
                  capturedAt: target.record?.captured_at ?? null,
                },
                { value, unit: unit.value, scale: scale.value, observer: observer.value.trim() },
              ),
            )
          }
        />
      ) : null}
      <div class="label-actions">
        <button type="button" onClick={() => openDialog('queue', camera.id)}>
          {text.label.openQueue}
        </button>
        <button type="button" onClick={() => openDialog('list', camera.id)}>
          {text.label.openList(known.length === 0 ? '' : String(known.length))}
        </button>
      </div>
      <CalibrationProgress camera={camera} />
      <Dialogs />
    </Card>
  );
}

const canBeRead = ({ record }: ShownFrame): boolean => record?.status === 'measured';

/** Which frame a tap labels, or why it cannot be labelled. */
function Invitation({ frame, isRead }: { readonly frame: ShownFrame | null; readonly isRead: boolean }) {
  if (frame === null) return <p class="muted">{text.label.noFrame}</p>;
  const { record } = frame;
  if (record === null || !canBeRead(frame))
    return <p class="muted">{text.label.notReadable((record?.reasons ?? []).map(reasonText).join('; '))}</p>;
  const time = formatTime(record.captured_at, timeZone.value, { timeStyle: 'medium' });
  return (
    <p class="muted">
      <strong class="number">{text.label.frameOf(time)}</strong>{' '}
      {isRead ? text.label.isRead : text.label.invite} {text.label.scaleNotes[scale.value]}
    </p>
  );
}

/** The frame that the person has seen: a tap just after a change is meant for the one before. */
function useSeenFrame(frame: ShownFrame | null): () => ShownFrame {
  const seen = useRef<readonly Seen<ShownFrame>[]>([]);
  if (frame !== null && seen.current.at(-1)?.value !== frame)
    seen.current = [...seen.current.slice(-3), { value: frame, sinceMs: performance.now() }];
  return () => {
    const seenFrame = seenAt(seen.current, performance.now());
    if (seenFrame === null) throw new Error('there is no frame to read');
    return seenFrame;
  };
}
