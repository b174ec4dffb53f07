import type { JSX } from 'preact';
import type { DeviceCondition } from '../../contract/conditions.ts';
import type { FleetCamera } from './device-cameras.ts';
import type { Tone } from '../shared/ui.tsx';
import { fleetText } from './fleet-text.ts';

export const TONES: Readonly<Record<DeviceCondition, Tone>> = {
  offline: 'bad',
  stale: 'bad',
  camera_fault: 'bad',
  degraded: 'warn',
  unreadable: 'warn',
  unknown: 'off',
  stopped: 'off',
  starting: 'off',
  updating: 'off',
  asleep: 'off',
  ok: 'ok',
};

const STANDING_TONES: Readonly<Record<FleetCamera['standing'], Tone>> = {
  overdue: 'bad',
  down: 'bad',
  frozen: 'bad',
  obstructed: 'warn',
  starting: 'off',
  asleep: 'off',
  current: 'ok',
};

/** A shape for each condition, so that they differ without colour. */
const SHAPES: Readonly<Record<DeviceCondition, JSX.Element>> = {
  // A square with a cross.
  offline: (
    <path
      fill-rule="evenodd"
      d="M1 1h14v14H1zM4.3 5.7 6.6 8l-2.3 2.3 1.4 1.4L8 9.4l2.3 2.3 1.4-1.4L9.4 8l2.3-2.3-1.4-1.4L8 6.6 5.7 4.3z"
    />
  ),
  // An hour glass.
  stale: <path d="M2 1h12v2L9.5 8 14 13v2H2v-2l4.5-5L2 3z" />,
  // A camera with a line through it.
  camera_fault: (
    <path fill-rule="evenodd" d="M1 4h8.5v8H1zM10.5 7 15 4v8l-4.5-3zM3 5.5v5h1.5v-5zm3 0v5h1.5v-5z" />
  ),
  // A triangle with an exclamation mark.
  degraded: <path fill-rule="evenodd" d="M8 .8 15.8 15H.2zM7.2 6v4.5h1.6V6zm0 5.6v1.6h1.6v-1.6z" />,
  // A diamond.
  unreadable: <path d="M8 .5 15.5 8 8 15.5.5 8z" />,
  unknown: (
    <path
      fill-rule="evenodd"
      d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9z"
    />
  ),
  // A square.
  stopped: <path d="M2.5 2.5h11v11h-11z" />,
  // A half circle.
  starting: <path fill-rule="evenodd" d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 2v10A5 5 0 0 0 8 3z" />,
  // An arrow that points down, to a line.
  updating: <path d="M6.3 1h3.4v6h3.8L8 12.5 2.5 7h3.8zM2 13.5h12V15H2z" />,
  // A crescent.
  asleep: <path d="M10.5 1.2A7 7 0 1 0 15 9.8 6 6 0 0 1 10.5 1.2z" />,
  // A circle.
  ok: <circle cx="8" cy="8" r="6.5" />,
};

/** The shape in a box of 16 by 16. */
export const conditionGlyph = (condition: DeviceCondition): JSX.Element => SHAPES[condition];

export function ConditionShape({ condition }: { readonly condition: DeviceCondition }) {
  return (
    <svg viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">
      {SHAPES[condition]}
    </svg>
  );
}

/** The condition of a device: a word with a shape and a colour. */
export function ConditionMark({ condition }: { readonly condition: DeviceCondition }) {
  return (
    <span class={`state ${TONES[condition]}`}>
      <ConditionShape condition={condition} />
      {fleetText.conditions[condition]}
    </span>
  );
}

const STANDING_SHAPES: Readonly<Record<FleetCamera['standing'], DeviceCondition>> = {
  overdue: 'stale',
  down: 'camera_fault',
  frozen: 'camera_fault',
  obstructed: 'camera_fault',
  starting: 'starting',
  asleep: 'asleep',
  current: 'ok',
};

/** The state of a camera. */
export function StandingMark({ standing }: { readonly standing: FleetCamera['standing'] }) {
  return (
    <span class={`state ${STANDING_TONES[standing]}`}>
      <ConditionShape condition={STANDING_SHAPES[standing]} />
      {fleetText.standings[standing]}
    </span>
  );
}
