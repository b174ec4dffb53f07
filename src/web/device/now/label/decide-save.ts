import type { LabelRecord } from '../../../../contract/openapi/views.ts';
import type { Scale, Unit } from '../../../shared/preferences.ts';
import { faceM } from './values.ts';

/** What a person said about one frame. */
export interface Reading {
  readonly camera: string;
  readonly observationId: string;
  readonly capturedAt: string | null;
  readonly value: number;
  readonly unit: Unit;
  readonly scale: Scale;
  /** Empty: not given. */
  readonly observer: string;
  /** When the person said it, by the clock of the agent, ms. */
  readonly atMs: number;
}

/** The agent rounds to millimetres. */
const SAME_M = 0.002;

/**
 * What to do with a reading when the frame has this label already. `stored`: an answer was lost, the agent has the reading.
 * `theirs`: somebody read the frame after this person did, while the reading waited for the agent.
 */
export function decideSave(reading: Reading, label: LabelRecord | null): 'send' | 'stored' | 'theirs' {
  if (label === null) return 'send';
  const heightM = faceM(reading.value, reading.unit, reading.scale);
  const isSame = Math.abs(label.height_m - heightM) < SAME_M && (label.observer ?? '') === reading.observer;
  if (isSame) return 'stored';
  return Date.parse(label.created_at) > reading.atMs ? 'theirs' : 'send';
}
