/** When the frame of an observation was captured, ms: the time in its id. Null for ids without a time, of imported readings. */
export function frameTimeMs(observationId: string): number | null {
  const digits = observationId.replaceAll('-', '');
  return /^[0-9a-f]{12}7[0-9a-f]{19}$/.test(digits) ? parseInt(digits.slice(0, 12), 16) : null;
}
