import { useEffect, useState } from 'preact/hooks';
import type { LabelRecord } from '../../../../contract/openapi/views.ts';
import { RequestProblem } from '../../../shared/api.ts';
import { formatTime } from '../../../shared/format.ts';
import { text } from '../../../shared/text.ts';
import { ProblemNote } from '../../../shared/ui.tsx';
import { timeZone } from '../../device-store.ts';
import { frameTimeMs } from './frame-time.ts';
import { closeDialogOf } from './open-dialog.ts';
import { labels, readLabels, removeLabel, restoreLabel } from './readings.ts';
import { labelText } from './said.ts';

const FIRST_ROWS = 25;

/** All readings of a camera, newest first; each can be removed, and the last removed one restored. */
export function ReadingList({ camera }: { readonly camera: string }) {
  const [problem, setProblem] = useState<RequestProblem | null>(null);
  const [removed, setRemoved] = useState<LabelRecord | null>(null);
  const [rows, setRows] = useState(FIRST_ROWS);
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
      setProblem(null);
    } catch (thrown) {
      setProblem(thrown instanceof RequestProblem ? thrown : LOST);
    }
  };
  useEffect(() => {
    void attempt(() => readLabels(camera));
  }, [camera]);
  const list = labels.value?.camera === camera ? labels.value.list.toReversed() : null;
  return (
    <div class="stack">
      {problem === null ? null : <ProblemNote problem={problem} />}
      <div class="outcome" role="status">
        {removed === null ? (
          <p class="muted">
            {list === null ? text.queue.loading : text.list.count(text.now.readings(list.length))}
          </p>
        ) : (
          <div class="row">
            <p class="grow">{text.list.removed(labelText(removed))}</p>
            <button
              type="button"
              onClick={() =>
                void attempt(async () => {
                  await restoreLabel(removed);
                  setRemoved(null);
                })
              }
            >
              {text.label.undo}
            </button>
          </div>
        )}
      </div>
      {list === null || list.length === 0 ? null : (
        <div class="scroll readings">
          <table>
            <thead>
              <tr>
                <th scope="col">{text.list.height}</th>
                <th scope="col">{text.list.frame}</th>
                <th scope="col">{text.list.observer}</th>
                <th scope="col">
                  <span class="hidden-text">{text.list.remove}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.slice(0, rows).map((label) => (
                <Row
                  key={label.observation_id}
                  label={label}
                  onRemove={() =>
                    void attempt(async () => {
                      await removeLabel(label);
                      setRemoved(label);
                    })
                  }
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div class="row spread">
        {list !== null && list.length > rows ? (
          <button type="button" onClick={() => setRows(list.length)}>
            {text.list.all(list.length)}
          </button>
        ) : (
          <span />
        )}
        <button type="button" onClick={closeDialogOf}>
          {text.queue.close}
        </button>
      </div>
    </div>
  );
}

const LOST = new RequestProblem({ code: 'unreachable', detail: text.list.lost, hint: '', status: 0 });

function Row({ label, onRemove }: { readonly label: LabelRecord; readonly onRemove: () => void }) {
  const said = labelText(label);
  const time = formatTime(frameTimeMs(label.observation_id) ?? label.created_at, timeZone.value);
  const observer = label.observer === 'simulation' ? text.label.simulatedObserver : (label.observer ?? '');
  return (
    <tr>
      <td class="number">{said}</td>
      <td class="number">{time}</td>
      <td>
        {observer}
        {label.note === null ? null : <span class="muted small"> {label.note}</span>}
      </td>
      <td>
        <button type="button" class="quiet" aria-label={text.list.removeOne(said, time)} onClick={onRemove}>
          {text.list.remove}
        </button>
      </td>
    </tr>
  );
}
