import { useEffect, useRef, useState } from 'preact/hooks';
import type { LabelQueue } from '../../../../contract/history.ts';
import { requestImage, requestJson } from '../../../shared/api.ts';
import { formatHeight, formatHeightRange, formatTime } from '../../../shared/format.ts';
import { observer, scale, unit } from '../../../shared/preferences.ts';
import { text } from '../../../shared/text.ts';
import { cameras, timeZone } from '../../device-store.ts';
import { SimulatedMark } from '../simulated-mark.tsx';
import { closeDialogOf } from './open-dialog.ts';
import { OutcomeLine } from './outcome-line.tsx';
import { readingOf, saveReading, undoNewest } from './readings.ts';
import { ValuePicker } from './value-picker.tsx';

const LIMIT = 24;
/** A second tap within this time was not meant for the next frame. */
const DOUBLE_TAP_MS = 300;
type QueuedFrame = LabelQueue['frames'][number];

/** Kept frames without a reading, one after the other: by tap, or by keyboard. */
export function LabelQueueView({ camera }: { readonly camera: string }) {
  const [frames, setFrames] = useState<readonly QueuedFrame[] | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const [index, setIndex] = useState(0);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const stop = new AbortController();
    requestJson<LabelQueue>(
      `/api/v1/cameras/${encodeURIComponent(camera)}/label-queue?limit=${String(LIMIT)}`,
      { signal: stop.signal },
    ).then(
      (queue) => setFrames(queue.frames),
      () => {
        if (!stop.signal.aborted) setFailed(true);
      },
    );
    return () => stop.abort();
  }, [camera]);
  useQueueKeys(root, {
    skip: () => setIndex((at) => Math.min(at + 1, frames?.length ?? 0)),
    back: () => setIndex((at) => Math.max(0, at - 1)),
  });
  const frame = frames?.[index] ?? null;
  const shownSinceMs = useRef(0);
  useEffect(() => {
    shownSinceMs.current = performance.now();
    // Keys reach the dialog only from inside of it.
    if (document.activeElement === document.body) root.current?.focus();
  }, [frame]);
  return (
    <div ref={root} class="stack queue" tabIndex={-1}>
      {hasFailed ? <p class="note bad">{text.queue.failed}</p> : null}
      {frames === null && !hasFailed ? <p class="muted">{text.queue.loading}</p> : null}
      {frames !== null && frame === null ? (
        <p class="note">{frames.length === 0 ? text.queue.empty : text.queue.done}</p>
      ) : null}
      {frame === null || frames === null ? null : (
        <>
          <p class="row spread small muted">
            <span>{text.queue.position(index + 1, frames.length)}</span>
            <span>{text.queue.reasons[frame.reason]}</span>
          </p>
          <QueuedImage frame={frame} next={frames[index + 1]} />
          <Estimate camera={camera} frame={frame} />
        </>
      )}
      <OutcomeLine
        camera={camera}
        idle={<p class="muted small">{frame === null ? '' : text.label.scaleNotes[scale.value]}</p>}
      />
      {frame === null ? null : (
        <ValuePicker
          pickTarget={() => frame}
          estimateM={frame.height_m}
          pressed={null}
          onHold={() => undefined}
          onRead={({ observation_id: observationId, captured_at: capturedAt }, value) => {
            if (performance.now() - shownSinceMs.current < DOUBLE_TAP_MS) return;
            saveReading(
              readingOf(
                { camera, observationId, capturedAt },
                { value, unit: unit.value, scale: scale.value, observer: observer.value.trim() },
              ),
            );
            setIndex(index + 1);
          }}
        />
      )}
      <div class="row spread">
        {frame === null ? (
          <span />
        ) : (
          <button type="button" onClick={() => setIndex(index + 1)}>
            {text.queue.skip}
          </button>
        )}
        <button type="button" onClick={closeDialogOf}>
          {text.queue.close}
        </button>
      </div>
      {frame === null ? null : <p class="small muted keys">{text.queue.keys}</p>}
    </div>
  );
}

function Estimate({ camera, frame }: { readonly camera: string; readonly frame: QueuedFrame }) {
  const isSimulated = cameras.value.find(({ id }) => id === camera)?.kind === 'simulated';
  const { height_m: heightM, low_m: lowM, high_m: highM } = frame;
  const time = formatTime(frame.captured_at, timeZone.value);
  const height = heightM === null ? null : formatHeight(heightM, unit.value);
  const range = lowM === null || highM === null ? null : formatHeightRange(lowM, highM, unit.value);
  return (
    <div class="row">
      <p class="number">
        {time}
        {height === null
          ? null
          : frame.reason === 'usual_height'
            ? `. ${text.queue.usual(height)}`
            : `. ${text.queue.gaugeSays(range === null ? height : `${height} (${range})`)}`}
      </p>
      {isSimulated ? <SimulatedMark /> : null}
    </div>
  );
}

/** The image of a frame. The next one is read ahead. */
function QueuedImage({
  frame,
  next,
}: {
  readonly frame: QueuedFrame;
  readonly next: QueuedFrame | undefined;
}) {
  const images = useRef(new Map<string, Promise<string | null>>());
  const [shown, setShown] = useState<{ readonly id: string; readonly url: string | null } | null>(null);
  useEffect(() => {
    const kept = images.current;
    return () => {
      for (const image of kept.values())
        image.then((url) => url !== null && URL.revokeObjectURL(url)).catch(() => undefined);
    };
  }, []);
  const read = (id: string): Promise<string | null> => {
    const image =
      images.current.get(id) ?? requestImage(`/api/v1/observations/${id}/image.jpg`).catch(() => null);
    images.current.set(id, image);
    return image;
  };
  useEffect(() => {
    let isCurrent = true;
    const id = frame.observation_id;
    void read(id).then((url) => {
      if (isCurrent) setShown({ id, url });
      if (next !== undefined) void read(next.observation_id);
    });
    return () => {
      isCurrent = false;
    };
  }, [frame.observation_id]);
  const isReady = shown?.id === frame.observation_id;
  return (
    <div class="frame">
      {isReady && shown.url !== null ? (
        <img
          src={shown.url}
          alt={text.queue.frameOf(formatTime(frame.captured_at, timeZone.value))}
          width="640"
          height="360"
        />
      ) : (
        <div class="no-frame">{isReady ? text.queue.noImage : ''}</div>
      )}
    </div>
  );
}

/** Arrow keys move between the values, digits choose one, S skips, B goes back, Z undoes. Keys in a text field are text. */
function useQueueKeys(
  root: { readonly current: HTMLDivElement | null },
  { skip, back }: { readonly skip: () => void; readonly back: () => void },
): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
      const values = [...(root.current?.querySelectorAll<HTMLButtonElement>('.values [aria-pressed]') ?? [])];
      const focused = values.findIndex((value) => value === document.activeElement);
      const key = event.key.toLowerCase();
      if (key === 's') skip();
      else if (key === 'b') back();
      else if (key === 'z') void undoNewest();
      else if (/^\d$/.test(key)) values[Number(key)]?.click();
      else if (key === 'arrowright' || key === 'arrowleft') {
        const step = key === 'arrowright' ? 1 : -1;
        const start = focused === -1 ? Math.floor(values.length / 2) - step : focused;
        values[(start + step + values.length) % values.length]?.focus();
      } else return;
      event.preventDefault();
    };
    const dialog = root.current?.closest('dialog');
    dialog?.addEventListener('keydown', onKey);
    return () => dialog?.removeEventListener('keydown', onKey);
  });
}
