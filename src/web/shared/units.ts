/** Units of heights. */
export const UNITS = ['m', 'ft'] as const;
export type Unit = (typeof UNITS)[number];
