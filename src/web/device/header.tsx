import type { ComponentChildren } from 'preact';
import { formatDuration } from '../shared/format.ts';
import { theme, THEMES, unit, UNITS } from '../shared/preferences.ts';
import { route } from '../shared/route.ts';
import { text } from '../shared/text.ts';
import { Choice, StateMark } from '../shared/ui.tsx';
import { camera, cameras, dataAgeS, isDisconnected, liveness, selectCamera, status } from './device-store.ts';

/** Name of the gauge, whether its data are live, the views, and the choices of this browser. */
export function Header({ children }: { readonly children: ComponentChildren }) {
  const info = status.value?.info;
  return (
    <header class="head">
      <div class="brand">
        <svg class="logo" viewBox="0 0 64 64" aria-hidden="true">
          <path
            class="foam"
            d="M8 43.5c7 0 7-4.5 14-4.5s7 4.5 14 4.5 7-4.5 14-4.5 5 2.2 6 3v8c-3-2-4-3-6-3-7 0-7 4.5-14 4.5s-7-4.5-14-4.5-7 4.5-14 4.5z"
          />
          <path
            class="wave"
            d="M8 33.5c7.5 0 12-3.500 15.500-9 3.250-5.100 7.750-9.500 15.500-9.500 8.250 0 14 5.250 14 12.250 0 2-.5 3.750-1.250 5.250-1-4-4.750-7-9.500-7-5.500 0-8.250 3.750-8.250 8 0 1 .125 1.750.375 2.500-1.250.375-2.500.500-3.875.500-7 0-7-2.500-11.500-2.500s-5.500 2.500-11 2.500z"
          />
        </svg>
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
        <Choice
          label={text.head.unit}
          choices={UNITS.map((value) => ({ value, text: value }))}
          value={unit.value}
          onChange={(value) => (unit.value = value)}
        />
        <select
          aria-label={text.head.theme}
          value={theme.value}
          onChange={(event) =>
            (theme.value = THEMES.find((one) => one === event.currentTarget.value) ?? 'auto')
          }
        >
          {THEMES.map((value) => (
            <option key={value} value={value}>
              {text.head.themes[value]}
            </option>
          ))}
        </select>
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
