import { formatHeight, heightNumber } from '../shared/format.ts';
import { unit } from '../shared/preferences.ts';
import type { ObservationPart } from './camera-parts.ts';
import { fleetText } from './fleet-text.ts';

/** The bars of all devices have one scale, so that they can be compared: higher waves reach its end. */
const SCALE_M = 5;
const WIDTH = 60;

/** The interval of a height as a bar, with the height as a line on it. */
export function HeightBar({ observation }: { readonly observation: ObservationPart }) {
  const { heightM, lowM, highM, basis } = observation;
  if (heightM === null) return null;
  const x = (metres: number): number => Math.min(1, metres / SCALE_M) * WIDTH;
  const [from, to] = [x(lowM ?? heightM), x(highM ?? heightM)];
  return (
    <svg
      class={`height-bar ${basis === 'site_median' ? 'is-usual' : ''}`}
      viewBox={`0 0 ${String(WIDTH)} 12`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <rect class="track" x="0" y="5" width={WIDTH} height="2" rx="1" />
      <rect class="interval" x={from} y="3" width={Math.max(2, to - from)} height="6" rx="3" />
      <rect class="height" x={Math.max(0, x(heightM) - 1)} y="1" width="2.500" height="10" rx="1" />
    </svg>
  );
}

/** `1.2 m` and `0.9–1.5`. */
export function HeightText({ observation }: { readonly observation: ObservationPart | null }) {
  const heightM = observation?.heightM ?? null;
  if (observation === null || heightM === null) return <span class="muted">{fleetText.list.never}</span>;
  const { lowM, highM, basis, isSimulated } = observation;
  const notes = [
    ...(basis === 'site_median' ? [fleetText.list.usual] : []),
    ...(isSimulated ? [fleetText.list.simulated] : []),
  ];
  return (
    <>
      <strong>{formatHeight(heightM, unit.value)}</strong>
      {lowM === null || highM === null ? null : (
        <span class="muted range">
          {heightNumber(lowM, unit.value)}–{heightNumber(highM, unit.value)}
        </span>
      )}
      {notes.map((note) => (
        <em key={note} class="muted">
          {note}
        </em>
      ))}
    </>
  );
}
