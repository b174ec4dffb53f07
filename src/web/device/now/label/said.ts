import type { LabelRecord } from '../../../../contract/openapi/views.ts';
import type { Scale, Unit } from '../../../shared/preferences.ts';
import { text } from '../../../shared/text.ts';
import { valueOf } from './values.ts';

/** A reading in the unit and scale of the page. */
export const saidValue = ({ height_m: heightM }: LabelRecord, unit: Unit, scale: Scale): number =>
  valueOf(heightM, unit, scale);

/** `1.2 m`, `flat`, `2 ft Hawaiian`. */
export function valueText(value: number, unit: Unit, scale: Scale): string {
  if (value === 0) return text.label.flat;
  const shown = `${heightNumberOf(value, unit)}\u00a0${unit}`;
  return scale === 'hawaiian' ? text.label.hawaiian(shown) : shown;
}

/** A value as people say it: `0.8`, `1.25`, `10`. */
export function heightNumberOf(value: number, unit: Unit): string {
  const short = String(Number(value.toFixed(2)));
  return unit === 'm' && !short.includes('.') && value < 10 ? `${short}.0` : short;
}

/** A reading as the person said it. */
export function labelText({ height, unit, scale, height_m: heightM }: LabelRecord): string {
  return height === null ? valueText(heightM, 'm', 'face') : valueText(height, unit ?? 'm', scale ?? 'face');
}
