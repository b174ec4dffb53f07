import './setup.css';
import { useEffect, useRef } from 'preact/hooks';
import { route } from '../../shared/route.ts';
import { text } from '../../shared/text.ts';
import { CameraForm } from './camera-form.tsx';
import { CameraList } from './camera-list.tsx';
import { cameraSettings, config, followTrial, notice, readConfig, setupProblem } from './setup-store.ts';
import { SetupProblem } from './test-result.tsx';
import { TrialBar } from './trial-bar.tsx';

/** Cameras: their list, and the form of one of them, as the address says. */
export function SetupView() {
  useEffect(() => {
    void readConfig();
    return followTrial();
  }, []);
  const { params } = route.value;
  const edited = cameraSettings.value.find(({ id }) => id === params.get('edit')) ?? null;
  const isForm = config.value?.trial === null && (edited !== null || params.has('add'));
  const shown = isForm ? `form ${edited?.id ?? ''}` : config.value?.trial ? 'trial' : 'list';
  const shownBefore = useRef(shown);
  useEffect(() => {
    // Another part of the view: begin at its top, also with the focus.
    if (shownBefore.current !== shown) {
      scrollTo({ top: 0 });
      document.querySelector<HTMLElement>('.setup [data-begin]')?.focus({ preventScroll: true });
    }
    // What happened before is old news in a form.
    if (isForm) notice.value = null;
    shownBefore.current = shown;
  }, [shown]);
  if (config.value === null)
    return setupProblem.value === null ? (
      <p class="muted">{text.setup.loading}</p>
    ) : (
      <SetupProblem problem={setupProblem.value} />
    );
  return (
    <div class="setup">
      <TrialBar />
      {isForm ? (
        <CameraForm key={edited?.id ?? ''} before={edited} />
      ) : (
        <>
          <SetupProblem problem={setupProblem.value} />
          <CameraList />
        </>
      )}
    </div>
  );
}
