import { useEffect, useRef, useState } from 'preact/hooks';
import type { LabelRecord } from '../../../contract/openapi/views.ts';
import { agentNow, jsonBody, request, requestJson, RequestProblem } from '../../shared/api.ts';
import { formatHeight, formatTime } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { Card, ProblemNote } from '../../shared/ui.tsx';
import { idTimeMs } from './days.ts';

const FIRST_SHOWN = 8;

/** What people read in the frames of the camera. Each reading can be removed, and the removal undone. */
export function Readings({
  camera,
  timeZone,
  version,
  onChange,
}: {
  readonly camera: string;
  readonly timeZone: string;
  /** The list is read again when it changes. */
  readonly version: unknown;
  /** A reading was removed, or a removal undone. */
  readonly onChange: () => void;
}) {
  const path = `/api/v1/cameras/${encodeURIComponent(camera)}/labels`;
  const [labels, setLabels] = useState<readonly LabelRecord[] | null>(null);
  /** Removed readings, which still stand at their place. */
  const [removed, setRemoved] = useState<ReadonlyMap<string, LabelRecord>>(new Map());
  const [problem, setProblem] = useState<RequestProblem | null>(null);
  const [showsAll, setShowsAll] = useState(false);
  useEffect(() => {
    const stop = new AbortController();
    requestJson<{ labels: readonly LabelRecord[] }>(path, { signal: stop.signal }).then(
      (found) => setLabels(found.labels),
      (thrown: unknown) => {
        if (thrown instanceof RequestProblem) setProblem(thrown);
      },
    );
    return () => stop.abort();
  }, [path, version]);

  const attempt = async (
    work: Promise<unknown>,
    removedAfter: ReadonlyMap<string, LabelRecord>,
  ): Promise<void> => {
    try {
      await work;
      setRemoved(removedAfter);
      setProblem(null);
      onChange();
    } catch (thrown) {
      if (!(thrown instanceof RequestProblem)) throw thrown;
      setProblem(thrown);
    }
  };
  const remove = (label: LabelRecord): Promise<void> =>
    attempt(
      request(`${path}?observation_id=${encodeURIComponent(label.observation_id)}`, { method: 'DELETE' }),
      new Map(removed).set(label.observation_id, label),
    );
  const undo = (label: LabelRecord): Promise<void> => {
    const rest = new Map(removed);
    rest.delete(label.observation_id);
    return attempt(request(path, jsonBody('POST', labelRequest(label))), rest);
  };

  const words = text.history.readings;
  const listed = [
    ...(labels ?? []).filter((one) => !removed.has(one.observation_id)),
    ...removed.values(),
  ].toSorted((a, b) => timeOf(b) - timeOf(a));
  const shown = showsAll ? listed : listed.slice(0, FIRST_SHOWN);
  return (
    <Card
      title={words.title}
      side={labels === null ? null : <span class="muted number">{listed.length - removed.size}</span>}
    >
      {problem === null ? null : <ProblemNote problem={problem} />}
      {labels !== null && listed.length === 0 ? <p class="muted">{words.none}</p> : null}
      <ul class="readings">
        {shown.map((label) => (
          <Reading
            key={label.observation_id}
            label={label}
            timeZone={timeZone}
            isRemoved={removed.has(label.observation_id)}
            onRemove={() => remove(label)}
            onUndo={() => undo(label)}
          />
        ))}
      </ul>
      {listed.length > FIRST_SHOWN ? (
        <button type="button" class="quiet" aria-expanded={showsAll} onClick={() => setShowsAll(!showsAll)}>
          {showsAll ? words.showFew : words.showAll(listed.length)}
        </button>
      ) : null}
    </Card>
  );
}

function Reading({
  label,
  timeZone,
  isRemoved,
  onRemove,
  onUndo,
}: {
  readonly label: LabelRecord;
  readonly timeZone: string;
  readonly isRemoved: boolean;
  readonly onRemove: () => Promise<void>;
  readonly onUndo: () => Promise<void>;
}) {
  const [isBusy, setBusy] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const wasRemoved = useRef(isRemoved);
  // The button of the other action takes the focus that the former one had.
  useEffect(() => {
    if (wasRemoved.current !== isRemoved) button.current?.focus();
    wasRemoved.current = isRemoved;
  }, [isRemoved]);
  const words = text.history.readings;
  const height = formatHeight(label.height_m, unit.value);
  const time = formatTime(timeOf(label), timeZone, timeFormat(timeOf(label)));
  const act = (): void => {
    setBusy(true);
    void (isRemoved ? onUndo() : onRemove()).finally(() => setBusy(false));
  };
  return (
    <li class={isRemoved ? 'is-removed' : ''}>
      <span class="number reading-height">{height}</span>
      <span class="reading-about" role={isRemoved ? 'status' : undefined}>
        <span>{isRemoved ? words.removed : time}</span>
        <span class="small muted">
          {[observerText(label), saidText(label), label.note].filter(Boolean).join(' · ')}
        </span>
      </span>
      <button
        ref={button}
        type="button"
        class="quiet"
        aria-disabled={isBusy}
        aria-label={isRemoved ? words.undoOf(height, time) : words.removeOf(height, time)}
        onClick={isBusy ? undefined : act}
      >
        {isRemoved ? words.undo : words.remove}
      </button>
    </li>
  );
}

/** When the frame was taken; of imported readings, when they were stored. */
const timeOf = ({ observation_id: id, created_at: at }: LabelRecord): number =>
  idTimeMs(id) ?? Date.parse(at);

/** With the year only where it is another one. */
const timeFormat = (atMs: number): Intl.DateTimeFormatOptions => ({
  ...{ weekday: 'short', day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' },
  ...(new Date(atMs).getFullYear() === new Date(agentNow()).getFullYear() ? {} : { year: 'numeric' }),
});

function observerText({ observer }: LabelRecord): string {
  if (observer === 'simulation') return text.history.readings.bySimulation;
  return observer ?? '';
}

/** What the person said, where it was not metres of face. */
function saidText({ height, unit: said, scale }: LabelRecord): string {
  if (height === null || said === null) return '';
  return text.history.readings.said(`${String(height)}\u00a0${said}`, scale === 'hawaiian');
}

/** The request that stores a reading again. */
function labelRequest(label: LabelRecord): object {
  const { observation_id, height_m, height, unit: said, scale, tide_m, observer, note } = label;
  return {
    observation_id,
    ...(height === null ? { height_m } : { height, unit: said ?? 'm', scale: scale ?? 'face' }),
    ...(tide_m === null ? {} : { tide_m }),
    ...(observer === null ? {} : { observer }),
    ...(note === null ? {} : { note }),
  };
}
