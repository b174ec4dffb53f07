import { useMemo, useState } from 'preact/hooks';
import { addressOf } from '../../shared/route.ts';
import { text } from '../../shared/text.ts';
import { Card, Field } from '../../shared/ui.tsx';
import {
  buildPatch,
  buildTest,
  findFaults,
  isDrawingValid,
  newSource,
  startDraft,
  startDrawing,
  type CameraDraft,
  type CameraSettings,
} from './camera-draft.ts';
import { DrawingEditor } from './drawing-editor.tsx';
import { startHistory } from './drawing-history.ts';
import type { Points } from './drawing.ts';
import { Icon } from './icons.tsx';
import { ScheduleFields } from './schedule-fields.tsx';
import { cameraSettings, config, isBusy, setupProblem, tryChange } from './setup-store.ts';
import { SourceFields } from './source-fields.tsx';
import { SetupProblem, TestResult } from './test-result.tsx';
import { useFrame } from './use-frame.ts';
import { useTest } from './use-test.ts';

/** Adds a camera, or changes one: source, test, drawing, schedule and place. `before` is null for a new camera. */
export function CameraForm({ before }: { readonly before: CameraSettings | null }) {
  const isNew = before === null;
  const lockedMasks = (before && config.value?.local_masks?.[before.id]) ?? NO_MASKS;
  const isLocal = before !== null && config.value?.local_cameras?.includes(before.id) === true;
  const drawingBefore = useMemo(() => startDrawing(before, lockedMasks as readonly Points[]), []);
  const [draft, setDraft] = useState<CameraDraft>(() => startDraft(before));
  const [history, setHistory] = useState(() => startHistory(drawingBefore));
  const [isChecked, setChecked] = useState(false);
  const { test, isTesting, runTest } = useTest();
  const frame = useFrame(isNew ? null : before.id, 1280);
  const image = test?.result?.image ?? frame;
  const form = text.setup.form;

  const faults = findFaults(draft, { isNew, ids: cameraSettings.value.map(({ id }) => id) });
  const shown = isChecked ? faults : {};
  const set = (change: Partial<CameraDraft>): void => setDraft((now) => ({ ...now, ...change }));
  const patch = buildPatch(draft, history.present, { before, isLocal, drawingBefore });
  const isValid = Object.keys(faults).length === 0 && isDrawingValid(history.present);

  const save = async (): Promise<void> => {
    setChecked(true);
    if (!isValid || patch === null) {
      requestAnimationFrame(() => document.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
      return;
    }
    if (await tryChange({ cameras: [patch] })) location.hash = addressOf('setup', { edit: null, add: null });
  };

  return (
    <form
      class="camera-form"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <div class="row form-head">
        <a class="button quiet" href={addressOf('setup', { edit: null, add: null })}>
          <Icon name="back" /> {form.back}
        </a>
        <h2 data-begin tabIndex={-1}>
          {isNew ? form.addTitle : form.editTitle(before.id)}
        </h2>
      </div>
      <div class="form-columns">
        <div class="stack wide">
          <Card title={form.source}>
            {isNew ? (
              <Field label={form.name} hint={form.nameHint} fault={shown.id ? form.faults[shown.id] : null}>
                {(ids) => (
                  <input
                    {...ids}
                    value={draft.id}
                    maxLength={64}
                    autocomplete="off"
                    spellcheck={false}
                    onInput={(event) => set({ id: event.currentTarget.value })}
                  />
                )}
              </Field>
            ) : null}
            <SourceFields
              before={before}
              source={draft.source}
              fault={shown.url}
              onChange={(source) => set({ source })}
              onOpen={() => set({ source: newSource(before?.kind ?? 'rtsp') })}
            />
            <div class="row">
              <button
                type="button"
                disabled={isTesting}
                onClick={() => {
                  if (faults.url === undefined) void runTest(buildTest(draft, before));
                  else setChecked(true);
                }}
              >
                <Icon name="camera" /> {isTesting ? form.testing : form.test}
              </button>
              <span class="small muted">{form.testHint}</span>
            </div>
            <TestResult test={test} isTesting={isTesting} />
          </Card>
          <Card title={form.drawing}>
            <DrawingEditor
              image={image}
              alt={form.frameAlt(isNew ? draft.id : before.id)}
              history={history}
              onHistory={setHistory}
              lockedMasks={lockedMasks as readonly Points[]}
              hasClips={before?.seaState != null}
            />
          </Card>
        </div>
        <div class="stack">
          <ScheduleFields draft={draft} faults={shown} onChange={set} />
        </div>
      </div>
      <div class="save-bar">
        <SetupProblem problem={setupProblem.value} />
        {isChecked && !isValid ? (
          <p class="note bad" role="alert">
            {form.notValid}
          </p>
        ) : null}
        <div class="row spread">
          <p class="small muted">{patch === null ? form.unchanged : form.saveHint}</p>
          <div class="row">
            <a class="button" href={addressOf('setup', { edit: null, add: null })}>
              {form.cancel}
            </a>
            <button type="submit" class="primary" disabled={isBusy.value || patch === null}>
              {isNew ? form.add : form.save}
            </button>
          </div>
        </div>
      </div>
    </form>
  );
}

const NO_MASKS: readonly Points[] = [];
