import { same } from './change.ts';
import type { Camera } from './schema.ts';

const SOURCE_KEYS = [
  'kind',
  'url',
  'path',
  'command',
  'username',
  'password',
  'replay',
  'simulation',
] as const;

/** Whether the frames come from the same place. */
export const sameSource = (a: Camera, b: Camera): boolean => SOURCE_KEYS.every((key) => same(a[key], b[key]));

/** Whether one set of settings can take the other's place between two observations. */
export const sameConnection = (a: Camera, b: Camera): boolean =>
  sameSource(a, b) && (['schedule', 'location', 'timeoutS'] as const).every((key) => same(a[key], b[key]));
