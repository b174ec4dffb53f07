import { useEffect, useState } from 'preact/hooks';
import type { FramePage, KeptFrame } from '../../../contract/history.ts';
import { agentNow, requestJson, RequestProblem } from '../../shared/api.ts';
import { formatHeight, formatTime } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { Card, ProblemNote, StateMark } from '../../shared/ui.tsx';
import { dayEndMs, lastDays } from './days.ts';
import { FrameImages } from './frame-images.ts';

/** Frames are kept for a week. */
const DAYS = 7;
const MAX_FRAMES = 500;
/** More frames of a day are thinned out. */
const MAX_SHOWN = 200;
const FRAME_MS = 1000 / 6;
const REFRESH_MS = 120_000;
const HOUR: Intl.DateTimeFormatOptions = { hour: 'numeric', minute: '2-digit' };

/** The kept frames of a day, one after another. */
export function TimeLapse({
  camera,
  timeZone,
  isSimulated,
}: {
  readonly camera: string;
  readonly timeZone: string;
  readonly isSimulated: boolean;
}) {
  const [today, setToday] = useState(() => lastDays(agentNow(), timeZone, DAYS));
  const [day, setDay] = useState(0);
  const startMs = today[day] ?? 0;
  const { frames, problem, images } = useFrames(camera, startMs, timeZone);
  const ids = frames?.map(({ observation_id: id }) => id) ?? [];
  const last = ids.length - 1;
  /** Null: the newest frame. */
  const [at, setAt] = useState<number | null>(null);
  const index = Math.min(at ?? last, last);
  const frame = frames?.[index] ?? null;
  const image = frame && images.get(frame.observation_id);
  const [isPlaying, setPlaying] = useState(false);

  // The first image is that of the chosen frame; the others follow when somebody plays or moves.
  useEffect(() => {
    if (frame === null) return;
    const rest = isPlaying || at !== null ? [...ids.slice(index), ...ids.slice(0, index)] : [];
    images.want([frame.observation_id, ...rest]);
  }, [frame?.observation_id, isPlaying, ids.length]);
  const next = frames?.[index + 1];
  const isNextLoaded = next !== undefined && images.get(next.observation_id) !== null;
  useEffect(() => {
    if (!isPlaying) return;
    if (next === undefined) setPlaying(false);
    // The next frame waits for its image.
    if (!isNextLoaded) return;
    const timer = setTimeout(() => setAt(index + 1), FRAME_MS);
    return () => clearTimeout(timer);
  }, [isPlaying, index, isNextLoaded]);
  const play = (): void => {
    if (!isPlaying && index === last) setAt(0);
    setPlaying(!isPlaying);
  };
  const chooseDay = (value: number): void => {
    setToday(lastDays(agentNow(), timeZone, DAYS));
    setDay(value);
    setAt(null);
    setPlaying(false);
  };

  const words = text.history.lapse;
  const time = frame && formatTime(frame.captured_at, timeZone, HOUR);
  const height = frame && heightOf(frame);
  const loaded = images.count(ids);
  return (
    <Card
      title={words.title}
      side={
        <select
          class="lapse-day"
          aria-label={words.day}
          value={day}
          onChange={(event) => chooseDay(Number(event.currentTarget.value))}
        >
          {today.map((dayMs, value) => (
            <option key={dayMs} value={value}>
              {words.days[value] ??
                formatTime(dayMs, timeZone, { weekday: 'long', day: 'numeric', month: 'short' })}
            </option>
          ))}
        </select>
      }
    >
      {problem === null ? null : <ProblemNote problem={problem} />}
      <figure class="lapse">
        {image?.state === 'shown' ? (
          <img src={image.url} alt={words.frameOf(camera, time ?? '')} width="640" height="360" />
        ) : (
          <div class={`lapse-none ${frames?.length === 0 ? 'is-empty' : ''}`}>
            {frames === null || (frame !== null && image === null)
              ? words.loading
              : frame === null
                ? words.none
                : image?.state === 'failed'
                  ? words.failed
                  : words.missing}
          </div>
        )}
        {frame === null ? null : (
          <figcaption class="number">
            <span>{time}</span>
            <span>{height}</span>
            {isSimulated ? <StateMark tone="warn">{text.simulated}</StateMark> : null}
          </figcaption>
        )}
      </figure>
      {ids.length < 2 ? (
        <p class="small muted">{words.note}</p>
      ) : (
        <>
          <div class="lapse-controls">
            <button type="button" class="primary" onClick={play}>
              <svg viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">
                {isPlaying ? <path d="M3 2h4v12H3zM9 2h4v12H9z" /> : <path d="M3 1.5v13l11-6.5z" />}
              </svg>
              {isPlaying ? words.pause : words.play}
            </button>
            <input
              type="range"
              min={0}
              max={last}
              value={index}
              aria-label={words.scrub}
              aria-valuetext={`${time ?? ''}, ${height ?? ''}`}
              onInput={(event) => {
                setPlaying(false);
                setAt(Number(event.currentTarget.value));
              }}
            />
          </div>
          <p class="small muted number">
            {words.position(index + 1, ids.length)}
            {isPlaying && loaded < ids.length ? ` · ${words.progress(loaded, ids.length)}` : ''}
          </p>
        </>
      )}
    </Card>
  );
}

function heightOf({ height_m: heightM, height_basis: basis }: KeptFrame): string {
  if (heightM === null) return text.now.noHeight;
  const height = formatHeight(heightM, unit.value);
  return basis === 'site_median' ? `${height}, ${text.history.usualHeight}` : height;
}

/** The kept frames of a day, oldest first; null before they are known. Read again now and then: the day may go on. */
function useFrames(camera: string, startMs: number, timeZone: string) {
  const [found, setFound] = useState<{ readonly key: string; readonly frames: readonly KeptFrame[] } | null>(
    null,
  );
  const [problem, setProblem] = useState<RequestProblem | null>(null);
  const [, setArrived] = useState(0);
  const [images] = useState(() => new FrameImages(() => setArrived((count) => count + 1)));
  useEffect(() => () => images.close(), []);
  const key = `${camera} ${String(startMs)}`;
  useEffect(() => {
    const stop = new AbortController();
    const read = (): void => {
      if (document.visibilityState === 'hidden') return;
      const query = new URLSearchParams({
        from: new Date(startMs).toISOString(),
        to: new Date(dayEndMs(startMs, timeZone)).toISOString(),
        limit: String(MAX_FRAMES),
      });
      const path = `/api/v1/cameras/${encodeURIComponent(camera)}/frames?${query.toString()}`;
      requestJson<FramePage>(path, { signal: stop.signal }).then(
        ({ frames }) => {
          setFound({ key, frames: thinOut(frames.toReversed()) });
          setProblem(null);
        },
        (thrown: unknown) => {
          if (thrown instanceof RequestProblem) setProblem(thrown);
        },
      );
    };
    read();
    const timer = setInterval(read, REFRESH_MS);
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [key]);
  return { frames: found?.key === key ? found.frames : null, problem, images };
}

/** At most `MAX_SHOWN` frames, evenly chosen, with the last one. */
function thinOut(frames: readonly KeptFrame[]): readonly KeptFrame[] {
  if (frames.length <= MAX_SHOWN) return frames;
  const step = frames.length / MAX_SHOWN;
  return Array.from({ length: MAX_SHOWN }, (_, index) => frames[Math.ceil((index + 1) * step) - 1]).filter(
    (frame) => frame !== undefined,
  );
}
