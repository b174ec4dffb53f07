import { AgentError } from '../base/errors.ts';
import type { LabelInput } from '../contract/api.ts';
import type { Label, Reading } from './types.ts';

const METRES = { m: 1, ft: 0.3048 } as const;
const FACE = { face: 1, hawaiian: 2 } as const;

/** Metres of face, rounded to millimetres. */
export const faceHeightM = ({ height, unit, scale }: Reading): number =>
  Math.round(height * METRES[unit] * FACE[scale] * 1000) / 1000;

/** Metres of face, and what the person said. Throws `label_refused`. */
export function labelledHeight({
  height_m,
  height,
  unit,
  scale,
}: LabelInput): Pick<Label, 'heightM' | 'height' | 'unit' | 'scale'> {
  if ((height_m === undefined) === (height === undefined))
    throw new AgentError('label_refused', 'give either height_m or height');
  if (height_m !== undefined) {
    if (unit !== undefined || scale !== undefined)
      throw new AgentError('label_refused', 'unit and scale belong to height; height_m is metres of face');
    return { heightM: height_m };
  }
  const reading: Reading = { height: height ?? 0, unit: unit ?? 'm', scale: scale ?? 'face' };
  return { heightM: faceHeightM(reading), ...reading };
}
