import type { ComponentChildren } from 'preact';
import { formatDuration } from '../shared/format.ts';
import { Logo } from '../shared/logo.tsx';
import { PageChoices } from '../shared/page-choices.tsx';
import { route } from '../shared/route.ts';
import { text } from '../shared/text.ts';
import { StateMark } from '../shared/ui.tsx';
import { camera, cameras, dataAgeS, isDisconnected, liveness, selectCamera, status } from './device-store.ts';

/** Name of the gauge, whether its data are live, the views, and the choices of this browser. */
export function Header({ children }: { readonly children: ComponentChildren }) {
  const info = status.value?.info;
  return (
    <header class="head">
      <div class="brand">
        <Logo />
        <h1>{info ? info.site : text.title}</h1>
        <LiveMark />
      </div>
      {children}
      <div class="head-choices">
        {cameras.value.length > 1 && !hasCameraStrip() ? (
          <select
            aria-label={text.head.camera}
            value={camera.value?.id}
            onChange={(event) => selectCamera(event.currentTarget.value)}
          >
            {cameras.value.map(({ id }) => (
              <option key={id} value={id}>
                {id}
              </option>
            ))}
          </select>
        ) : null}
        <PageChoices />
      </div>
    </header>
  );
}

/** The first view shows all cameras itself. */
const hasCameraStrip = (): boolean => ['', 'now'].includes(route.value.view);

function LiveMark() {
  if (liveness.value === 'connecting') return <StateMark tone="off">{text.live.connecting}</StateMark>;
  if (liveness.value === 'stale')
    return <StateMark tone="bad">{text.live.stale(formatDuration(dataAgeS.value))}</StateMark>;
  if (isDisconnected.value) return <StateMark tone="warn">{text.live.reconnecting}</StateMark>;
  return <StateMark tone="ok">{text.live.live}</StateMark>;
}
